"""Processor time of an operation on one element, at each party: what the interpreter and a protocol's text cost."""

from __future__ import annotations

import time
from typing import Any

import pytest

import mpc
from mpc.protocols.base import Exchange, Steps
from mpc.run.interpret import interpret
from tests import memory

REPEAT = 5
LONG = 1000  # dependent operations, where one is too short to time
SETTINGS = [("helper", 3), ("replicated", 3), ("additive", 2)]
ROWS: list[str] = []


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
