"""What an operation on one element costs besides its arithmetic: counted, since time depends on the machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from tests import memory

# Calls of this project's functions at a party for one product, and for one sum: generators count each time they go on.
MOST = {"helper": (57, 11), "replicated": (60, 16), "additive": (57, 11)}


def counted(protocol: str, parties: int, step: Callable[[Any, Any], Any], times: int) -> tuple[int, int, int]:
    """(calls, messages, rounds) of all parties in a chain of operations."""
    with memory.open_session(protocol, parties) as s:
        x, y = s.input([0.5]), s.input([0.99])
        for _ in range(times):
            x = step(x, y)
        calls = 0
        plain = memory.lockstep

        def call(frame: FrameType, event: str, _: object) -> None:
            nonlocal calls
            calls += event == "call" and "/mpc/" in frame.f_code.co_filename.replace("\\", "/")

        def watched(*args: Any) -> Any:
            sys.setprofile(call)
            try:
                return plain(*args)
            finally:
                sys.setprofile(None)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(memory, "lockstep", watched)
            x.reveal()
        return calls, s._backend.messages, s._backend.rounds


@pytest.mark.parametrize(("protocol", "parties"), [("helper", 3), ("replicated", 3), ("additive", 2)])
def test_a_tiny_operation_makes_few_calls(protocol: str, parties: int):
    """Three processes in each of these."""

    def of_one(step: Callable[[Any, Any], Any]) -> tuple[float, ...]:
        few, many = counted(protocol, parties, step, 10), counted(protocol, parties, step, 30)
        return tuple((b - a) / 20 for a, b in zip(few, many, strict=True))

    product, total = of_one(lambda x, y: x * y), of_one(lambda x, y: x + y)
    assert product[1:] == (3, 1)  # each evaluator opens a word, the dealer sends one message; one round
    assert total[1:] == (0, 0)
    calls = product[0] / 3, total[0] / 3
    assert calls[0] <= MOST[protocol][0]
    assert calls[1] <= MOST[protocol][1]
