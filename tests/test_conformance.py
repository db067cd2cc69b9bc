"""Every operation of the language on every protocol against NumPy. A new protocol file is found by itself."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import mpc
from mpc.lang.session import Session

from .memory import open_session, settings
from .operations import OPERATIONS, ULP, Operation, results

SETTINGS = settings()
each_setting = pytest.mark.parametrize(("protocol", "n"), SETTINGS, ids=lambda v: str(v))


def test_three_parties_add_and_compare():
    with open_session("helper", 3) as s:
        x, y = s.input([1.0, -2.5], owner=0), s.input([3.0, 4.0], owner=1)
        assert ((x + y) * 2).reveal().tolist() == [8.0, 3.0]
        assert (x < y).reveal().tolist() == [True, True]


def evaluate(s: Session, operation: Operation) -> list[np.ndarray]:
    """The operation's results in one run; every party owns an input in turn."""
    arrays = [s.input(x, owner=i % s.n) for i, x in enumerate(operation.inputs)]
    return s.reveal(*results(operation.f(*arrays)))


def check(found: list[np.ndarray], operation: Operation) -> None:
    wanted = operation.oracle()
    assert len(found) == len(wanted)
    for k, (got, want) in enumerate(zip(found, map(np.asarray, wanted), strict=True)):
        assert got.shape == want.shape, f"result {k} has shape {got.shape}, not {want.shape}"
        bound = np.broadcast_to(operation.bound(), want.shape)
        if not np.any(bound):
            assert got.dtype == want.dtype, f"result {k} has dtype {got.dtype}, not {want.dtype}"
            wrong = got != want
        else:
            wrong = ~(np.abs(got - want) <= bound)
        assert not wrong.any(), (
            f"result {k}: {np.count_nonzero(wrong)} of {want.size} are wrong, the first at {tuple(np.argwhere(wrong)[0])}: "
            f"{got[wrong][0]!r}, not {want[wrong][0]!r}"
        )


@each_setting
@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_operation(operation: Operation, protocol: str, n: int):
    with open_session(protocol, n) as s:
        check(evaluate(s, operation), operation)
