"""What this machine does in a second: the rates with which times are predicted for it."""

from __future__ import annotations

import os
import secrets
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial

import numpy as np

from ..ir.types import fixed64
from ..lang import elementwise, function
from ..lang.array import Array, Settings
from ..lang.session import Session
from ..net.zeromq import ZeroMQ
from ..protocols.base import Protocol, available
from ..run.execute import Party
from ..run.rehearse import Machine, Report
from .party import keep_pages

PARTIES, PROTOCOL = 3, "helper"


@cache
def measured() -> Machine:
    """This machine's rates, from three small runs of three parties in threads, in about a second.

    Processor time is what counts, so that others who use the machine disturb little.
    """
    keep_pages()
    protocol = available()[PROTOCOL]
    runs = [_matmul(protocol), _relu(protocol), _loop(protocol)]
    counts = [session.cost(result) for session, result in runs]
    spent = _spent(protocol, runs)
    # Each run is dominated by one of the three: three equations.
    table = np.array([_counts(cost) for cost in counts], float)
    multiplication, word, turn = (max(float(x), 1e-12) for x in np.linalg.solve(table, spent))
    return Machine(1 / multiplication, 1 / word, turn, os.cpu_count() or 1)


def _counts(cost: Report) -> tuple[int, int, int]:
    return cost.multiplications, cost.words, cost.rounds * cost.processes


def _session(protocol: type[Protocol]) -> Session:
    return Session(protocol, PROTOCOL, PARTIES, None, Settings("dither", fixed64(16)))


def _matmul(protocol: type[Protocol]) -> tuple[Session, Array]:
    session, values = _session(protocol), np.linspace(-1, 1, 384 * 384).reshape(384, 384)
    return session, session.input(values, 0) @ session.input(values, 1)


def _relu(protocol: type[Protocol]) -> tuple[Session, Array]:
    session = _session(protocol)
    return session, elementwise.relu(session.input(np.linspace(-1, 1, 1 << 17), 0))


def _loop(protocol: type[Protocol]) -> tuple[Session, Array]:
    session = _session(protocol)
    start = session.input(np.linspace(-1, 1, 8), 0)
    return session, function.fori(0, 60, lambda i, x: elementwise.relu(x * 0.5), start)


def _spent(protocol: type[Protocol], runs: Sequence[tuple[Session, Array]]) -> list[float]:
    """Processor seconds of each run: the least of three."""
    gate, token = threading.Barrier(PARTIES + 1), secrets.token_bytes(16)
    programs = [(session.equations([result]), partial(session.needs, [result])) for session, result in runs]

    def party(me: int, folder: str) -> None:
        with ZeroMQ(me, PARTIES, lambda a, b: f"ipc://{folder}/{a}-{b}", token) as channel:
            computes = Party(me, PARTIES, protocol, channel)
            for epoch in range(3 * len(runs)):
                program, needs = programs[epoch % len(runs)]
                gate.wait()
                computes.run(program, [], needs(me)[1], epoch + 1)
                gate.wait()

    found: list[float] = []
    with tempfile.TemporaryDirectory(prefix="mpc-") as folder, ThreadPoolExecutor(PARTIES) as pool:
        parties = [pool.submit(party, me, folder) for me in range(PARTIES)]
        for _ in range(3 * len(runs)):
            gate.wait()
            begun = time.process_time()
            gate.wait()
            found.append(time.process_time() - begun)
        for done in parties:
            done.result()
    return [min(found[k :: len(runs)]) for k in range(len(runs))]
