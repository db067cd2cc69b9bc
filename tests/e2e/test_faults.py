"""Parties that are killed, paused or kept busy at any moment, many times: who ends, when, and whom they name."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import zmq

from ..scale import nightly
from .hosts import Farm, Process, free_ports
from .test_hosts import nothing_runs
from .warm import A, B

FOREVER, SHORT = 10_000_000, 60  # iterations
QUICK = {"heartbeat": 0.3, "silence": 1.2, "deadline": 1.5, "connect_deadline": 30.0}  # seconds
LIMIT = 30.0  # seconds after which a process hangs


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    farm = Farm(tmp_path_factory.mktemp("warm"), "warm.py")
    yield farm
    farm.close()


@dataclass
class Trial:
    """One session, what is done to one of its parties, and when (seconds of the monotonic clock)."""

    kind: str
    victim: int
    processes: list[Process]
    done: float = 0.0
    wake: float = 0.0  # when a paused party goes on

    def over(self) -> bool:
        """Whether a paused party may go on: after its pause, or when all others have given it up."""
        return time.monotonic() > self.wake or all(p.code is not None for i, p in enumerate(self.processes) if i != self.victim)

    def seconds(self) -> list[float]:
        """From the fault to the end of each of the others."""
        return [p.ended - self.done for i, p in enumerate(self.processes) if i != self.victim]


def begin(farm: Farm, kind: str, rng: random.Random) -> Trial:
    keys = [[k.decode() for k in zmq.curve_keypair()] for _ in range(3)]
    base, victim = free_ports(["127.0.0.1"] * 3), rng.randrange(3)
    times = SHORT if kind == "pause" else FOREVER
    jobs = [
        {"me": me, "ports": [base, base + 1, base + 2], "keys": keys, "times": times, "options": QUICK,
         "spin": kind == "spin" and me == victim}
        for me in range(3)
    ]  # fmt: skip
    return Trial(kind, victim, [farm.start(farm.folder, [json.dumps(job)], 0) for job in jobs])


def wait(farm: Farm, what: Callable[[], bool], limit: float) -> None:
    end = time.monotonic() + limit
    while not what() and time.monotonic() < end:
        farm.listen(0.01)


def trials(farm: Farm, kinds: Sequence[str], at_once: int, seed: int) -> list[Trial]:
    """One session for each kind of fault, some at a time."""
    rng, found = random.Random(seed), []  # type: ignore[var-annotated]
    for start in range(0, len(kinds), at_once):
        batch = [begin(farm, kind, rng) for kind in kinds[start : start + at_once]]
        processes = [p for t in batch for p in t.processes]
        wait(farm, lambda ps=processes: all(("runs" in p.err or p.code is not None) for p in ps), LIMIT)
        for trial in batch:
            strike(trial, rng)
        sleeping = [t for t in batch if t.wake]
        while sleeping:
            trial = min(sleeping, key=lambda t: t.wake)
            wait(farm, trial.over, LIMIT)
            trial.processes[trial.victim].kill(signal.SIGCONT)
            sleeping.remove(trial)
        ends = [p for t in batch for i, p in enumerate(t.processes) if (t.kind, i) != ("spin", t.victim)]
        wait(farm, lambda ps=ends: all(p.code is not None for p in ps), LIMIT)
        for trial in batch:
            if trial.kind == "spin":
                trial.processes[trial.victim].kill(signal.SIGKILL)
        wait(farm, lambda ps=processes: all(p.code is not None for p in ps), 5)
        found += batch
    return found


def strike(trial: Trial, rng: random.Random) -> None:
    victim = trial.processes[trial.victim]
    time.sleep(0.05 * rng.random())
    trial.done = time.monotonic()
    if trial.kind == "kill":
        victim.kill(signal.SIGKILL)
    elif trial.kind != "spin":
        victim.kill(signal.SIGSTOP)
        trial.wake = trial.done + (0.1 + 0.2 * rng.random() if trial.kind == "pause" else 4.0)


def judge(found: Sequence[Trial], figures: Callable[[str, object], None]) -> None:
    """Every survivor ends, says who was lost, and reveals nothing; a short pause changes nothing."""
    wanted = B
    for _ in range(SHORT):
        wanted = np.maximum(wanted * 0.5 + A, 0)
    for k, trial in enumerate(found):
        texts = [(p.code, p.err) for p in trial.processes]
        for i, p in enumerate(trial.processes):
            assert p.code is not None, ("hangs", k, trial.kind, trial.victim, texts)
            if trial.kind == "pause":
                assert p.code == 0, (k, trial.victim, texts)
                assert not p.out or json.loads(p.out) == pytest.approx(wanted.tolist(), abs=1e-2)
            elif i != trial.victim:
                assert p.code == 3 and not p.out, (k, trial.kind, trial.victim, texts)
                assert f"party {trial.victim}" in p.err, (k, trial.kind, trial.victim, texts)
            elif trial.kind != "pause":
                assert not p.out
        nothing_runs(trial.processes)
    for kind in sorted({t.kind for t in found}):
        of = [t for t in found if t.kind == kind]
        seconds = np.sort([s for t in of for s in t.seconds()])
        figures(f"{kind}: sessions, 0 hangs, 0 wrong, all named", len(of))
        figures(f"{kind}: seconds, median, 99 %, most", [round(float(np.quantile(seconds, q)), 3) for q in (0.5, 0.99, 1.0)])


PAUSES = ["pause"] * 6 + ["stop"] * 3 + ["spin"]


def test_fifty_killed_parties(warm: Farm, record_property: Callable[[str, object], None]):
    judge(trials(warm, ["kill"] * 50, 4, 1), record_property)


def test_fifty_paused_stopped_and_spinning_parties(warm: Farm, record_property: Callable[[str, object], None]):
    judge(trials(warm, PAUSES * 5, 10, 2), record_property)


@pytest.mark.slow
def test_a_thousand_killed_parties(warm: Farm, record_property: Callable[[str, object], None]):
    judge(trials(warm, ["kill"] * nightly(1000), 4, 3), record_property)


@pytest.mark.slow
def test_a_thousand_paused_stopped_and_spinning_parties(warm: Farm, record_property: Callable[[str, object], None]):
    judge(trials(warm, PAUSES * nightly(100), 10, 4), record_property)
