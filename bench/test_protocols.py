"""Whole operations between real processes: seconds, rounds, bytes, error, and the ratio to NumPy in the clear.

    make bench                                   # everything
    .venv/bin/python -m pytest bench/test_protocols.py -p benchmark --benchmark-only -k "relu or matmul"

The jobs are those of `mpc bench` (mpc/bench/jobs.py), which also tells offline and online apart; here they stand beside the
kernels. All parties and the dealer run on this machine, preprocessing included, over ZeroMQ ipc without encryption. Medians
after one warm-up.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
import pytest

import mpc
from mpc.bench.jobs import JOBS
from mpc.bench.measure import Work
from mpc.protocols.base import Exchange, Steps
from mpc.run.interpret import interpret
from tests import memory

REPEAT = 5
LONG = 1000  # dependent operations, where one is too short to time
SETTINGS = [("helper", 3), ("replicated", 3), ("additive", 2)]
ROWS: list[str] = []


@pytest.fixture(scope="module", params=SETTINGS, ids=lambda v: f"{v[0]}{v[1]}")
def session(request: pytest.FixtureRequest) -> Any:
    protocol, parties = request.param
    with mpc.local(parties=parties, protocol=protocol) as s:
        yield s


@pytest.mark.parametrize("name", JOBS)
def test_operation(name: str, session: mpc.Session, benchmark: Any) -> None:
    job = JOBS[name]
    data = job.inputs(name)
    work, seconds = Work(session, job, data), list[float]()

    def run(*arrays: mpc.Array) -> np.ndarray:
        value: np.ndarray = job.private(*arrays).reveal()
        seconds.append(work.seconds())
        return value

    value = benchmark.pedantic(run, setup=lambda: (work.prepare(), {}), rounds=REPEAT, warmup_rounds=1)
    start = time.perf_counter()
    plain = job.plain(*data)
    clear = time.perf_counter() - start
    median = statistics.median(seconds[1:])
    sent = [sum(m.sent.values()) for m in session.measured]
    dealt = 0 if session.protocol.cycle > 1 else sent.pop()  # where parties take turns at dealing it counts as sent
    error = float(np.max(np.abs(value.astype(float) - plain.astype(float))))
    extra = ""
    if name.startswith("matmul"):
        words = [d.astype(np.int64).view(np.uint64) for d in data]
        start = time.perf_counter()
        np.matmul(*words)
        extra = f"   NumPy uint64 in the clear takes {(time.perf_counter() - start) / median:.1f} times as long"
    benchmark.extra_info.update(protocol=session.protocol_name, seconds=median, rounds=session.measured[0].rounds, error=error)
    ROWS.append(
        f"{name:15} {session.protocol_name:9} {median * 1e3:9.2f} ms {session.measured[0].rounds:5} rounds "
        f"{max(sent) / 1e6:8.2f} MB sent {dealt / 1e6:8.2f} MB dealt   error {error:.1e}   "
        f"NumPy {clear * 1e3:8.2f} ms{extra}"
    )


class Timed:
    """A party's steps, and the processor time spent in them."""

    def __init__(self, steps: Steps[Any]) -> None:
        self.steps, self.seconds = steps, 0.0

    def send(self, inbox: Any) -> Exchange:
        start = time.thread_time()
        try:
            return self.steps.send(inbox)
        finally:
            self.seconds += time.thread_time() - start


@pytest.mark.parametrize(("protocol", "parties"), SETTINGS)
def test_tiny_operation(protocol: str, parties: int, benchmark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processor time that one of 1,000 dependent products of one element takes at each party. All parties are in this process,
    in turn: no message travels and nobody waits."""
    steps: list[Timed] = []

    def timed(*args: Any) -> Timed:
        steps.append(Timed(interpret(*args)))
        return steps[-1]

    def chain(x: mpc.Array, y: mpc.Array) -> list[float]:
        for _ in range(LONG):
            x = x * y
        steps.clear()
        x.reveal()
        return [s.seconds / LONG for s in steps]

    monkeypatch.setattr(memory, "interpret", timed)
    taken: list[list[float]] = []
    with memory.open_session(protocol, parties) as s:
        benchmark.pedantic(
            lambda *arrays: taken.append(chain(*arrays)),
            setup=lambda: ((s.input([1.0]), s.input([0.999])), {}),
            rounds=REPEAT,
            warmup_rounds=1,
        )
    least = [min(times) for times in zip(*taken, strict=True)]
    benchmark.extra_info.update(protocol=protocol, seconds=least)
    ROWS.append(f"{'tiny product':15} {protocol:9} {'  '.join(f'{t * 1e6:.0f}' for t in least)} us of processor time a party")


@pytest.fixture(scope="module", autouse=True)
def table() -> Any:
    yield
    print("\n\n" + "\n".join(ROWS))
