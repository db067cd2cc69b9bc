"""A farm (farm.py) of parties without a command line: each joins a session at once and runs one loop of ReLUs.

Words of a job: one JSON object {"me", "ports", "keys", "times", "options", "spin"}.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import mpc
from mpc.errors import MPCError
from mpc.lang.array import Settings
from mpc.lang.program import Program
from mpc.lang.session import Session, decode_output
from mpc.net import ZeroMQ
from mpc.net.curve import Curve
from mpc.protocols.base import available
from mpc.run.execute import Party
from tests.e2e.farm import serve

A, B = np.array([0.25, -0.5, 1.0]), np.array([4.0, -2.0, 0.5])
SESSION = b"of warm parties!"
SCHEME = available()["helper"]


def loop(times: int) -> Program:
    @mpc.program
    def main(a: mpc.Input("hospital_a"), b: mpc.Input("hospital_b")) -> mpc.Output("hospital_a", "hospital_b"):  # type: ignore[valid-type]
        return mpc.fori(0, times, lambda i, c: mpc.nn.relu(c * 0.5 + a), b)

    return main


def spinning(after: int) -> Callable[..., None]:
    """Spins for ever from this round on: the process answers heartbeats, and nothing comes of it."""

    def progress(rounds: int, moved: int, eqn: Any) -> None:
        while rounds >= after:
            pass

    return progress


def work(words: list[str]) -> None:
    job = json.loads(words[0])
    me, keys = job["me"], job["keys"]
    peers = {p: k[0] for p, k in enumerate(keys) if p != me}
    curve = Curve(me, *keys[me], peers, {p: "127.0.0.1" for p in peers})
    session = Session(SCHEME, "helper", 3, None, Settings("dither", mpc.fixed64(16)), ("hospital_a", "hospital_b", "lab"))
    plan = loop(job["times"]).plan(session, {"a": A, "b": B})
    try:
        with ZeroMQ(
            me, 3, lambda a, b: f"tcp://127.0.0.1:{job['ports'][a + b - 1]}", SESSION, security=curve, **job["options"]
        ) as channel:
            party = Party(me, 3, SCHEME, channel)
            sys.stderr.write("runs\n")
            sys.stderr.flush()
            progress = spinning(1) if job["spin"] else None
            values, _ = party.run(plan.equations, [], plan.needs(me)[1], 1, progress)
    except MPCError as error:
        sys.stderr.write(f"{type(error).__name__} {getattr(error, 'party', '')}: {error}\n")
        sys.exit(error.exit_code)
    if values[0] is not None:
        sys.stdout.write(json.dumps(decode_output(values[0], plan.results[0].dtype).tolist()))


if __name__ == "__main__":
    serve(work)
