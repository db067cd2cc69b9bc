"""A protocol in one file outside the package: found, conformant, and costing what its rehearsal says."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import mpc
import mpc.protocols as package
from mpc.protocols.base import Protocol, available
from mpc.run.rehearse import rehearse

from .memory import open_session
from .operations import OPERATIONS, Operation
from .test_conformance import check, evaluate

Found = type[Protocol]


@pytest.fixture
def star() -> Iterator[Found]:
    """What `available` finds when the file lies in the folder of protocols."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(package, "__path__", [*package.__path__, str(Path(__file__).parent / "fourth")])
        yield available()["star"]
    sys.modules.pop("mpc.protocols.star")
    del package.star


SOME = [pytest.param(op, id=str(op), marks=[pytest.mark.slow] if k % 3 else []) for k, op in enumerate(OPERATIONS)]


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("operation", SOME)
def test_operation(operation: Operation, n: int, star: Found):
    with open_session(star, n) as s:
        check(evaluate(s, operation), operation)
        report, backend = rehearse(s._backend.programs[-1], star, n), s._backend
        assert (report.rounds, report.messages) == (backend.rounds, backend.messages)
        assert {link: b for link, b in report.links.items() if b} == {link: b for link, b in backend.links.items() if b}


def test_chunks(star: Found):
    X = np.random.default_rng(1).integers(-(1 << 20), 1 << 20, 150_000) / 2**10
    with open_session(star, 3) as s:
        x = s.input(X)
        relu, less = s.reveal(mpc.nn.relu(x), x < 1)
        assert np.array_equal(relu, np.maximum(X, 0))
        assert np.array_equal(less, X < 1)


def test_messages_in_place_of_rounds(star: Found):
    """Five parties open something: 8 messages in 2 rounds, where everybody to everybody takes 20 in 1."""
    costs = {}
    for protocol in (star, available()["additive"]):
        with open_session(protocol, 5) as s:
            x, y = s.input(np.ones(10)), s.input(np.ones(10), owner=1)
            costs[protocol] = rehearse(s.equations([x * y]), protocol, 5)
    spread, direct = costs[star], costs[available()["additive"]]
    revealed, dealt = 20, 1
    assert (spread.rounds, direct.rounds) == (2 * 2 + 1, 2 + 1)  # operands, truncation; and the result
    assert spread.messages == 2 * 8 + dealt + revealed
    assert direct.messages == 2 * 20 + dealt + revealed
