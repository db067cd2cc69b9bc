"""Numbers brought into [1, 4) by a power of four that a lookup chooses: the gate, and the words that it replaces."""

from __future__ import annotations

import numpy as np
import pytest

import mpc
from mpc.lang import trigonometry, wide
from mpc.lang.piecewise import window
from mpc.lang.wide import WORK, Column, Scaling, rescale

from ..memory import open_session

each_setting = pytest.mark.parametrize(
    ("protocol", "n"), [("plain", 1), ("additive", 2), ("additive", 3), ("helper", 3), ("replicated", 3)]
)
BITS, FOUR = 31, 4 << WORK.fraction
POWERS = np.array([1 << k for k in range(45)])
NUMBERS = np.unique(np.concatenate([POWERS - 1, POWERS, POWERS + 1, POWERS * 3 // 2]))


def place(x: int, first: int) -> int:
    """How many powers 2^first 4^j, j = 1 .., it reaches."""
    return max(0, (abs(x).bit_length() - 1 - first) // 2)


def check(unit: np.ndarray, x: np.ndarray, scales: list[int], inside: np.ndarray, end: int) -> None:
    """x scales / 2^(end-2) by at most a unit, from 1 to 4; 0 or 4 outside."""
    outside = np.unique(unit[~inside])
    assert outside.size <= 1 and set(outside) <= {0, FOUR}
    exact = np.array([int(v) * s for v, s in zip(x[inside], np.array(scales)[inside], strict=True)], float) / 2.0 ** (end - 2)
    found = unit[inside] / 2.0**WORK.fraction
    assert (found >= 1).all() and (found <= 4).all()
    assert np.abs(found - exact).max() <= 2.0**-WORK.fraction


@each_setting
def test_numbers_with_a_sign(protocol: str, n: int):
    """0 outside, -1 below zero, 3 about zero, 1 above it."""
    first = 2
    x = np.concatenate([NUMBERS, -NUMBERS])
    end, scales = wide._scales(first, BITS, WORK)
    signs, levels = (0, -1, 0, 1), (0, 0, 3, 0)
    columns = Column(scales, signs, (0,) * 4), Column(tuple(range(5, 5 + len(scales))), signs, levels)
    states = (1 - (1 << BITS), 1 - (1 << first), 1 << first, 1 << BITS)
    with open_session(protocol, n) as s:
        found = rescale(s.input(x, owner=0), Scaling(first, BITS, columns, states, True, (0, 1)), end)
        unit, factor, chosen = (mpc.astype(v, mpc.int64).reveal() if k else v.reveal() for k, v in enumerate(found))
    unit = np.rint(unit * 2.0**WORK.fraction).astype(np.int64)
    inside = (np.abs(x) >= 1 << first) & (np.abs(x) < 1 << BITS)
    places = [min(place(int(v), first), len(scales) - 1) for v in x]
    sign = np.where(inside, np.sign(x), 0)
    assert np.array_equal(factor, sign * np.array([scales[p] for p in places]))
    assert np.array_equal(chosen, np.where(np.abs(x) < 1 << first, 3, sign * (5 + np.array(places))))
    check(unit, np.abs(x), [scales[p] for p in places], inside, end)


@each_setting
def test_numbers_above_zero(protocol: str, n: int):
    """Below 1 and from 2^BITS on the table has a value for all."""
    x = np.concatenate([NUMBERS, -NUMBERS])
    end, scales = wide._scales(0, BITS, WORK)
    columns = Column(scales, (0, 1, 0), (0,) * 3), Column(tuple(range(len(scales))), (0, 1, 0), (70, 0, 90))
    with open_session(protocol, n) as s:
        found = rescale(s.input(x, owner=0), Scaling(0, BITS, columns, (1, 1 << BITS), False, (1,)), end)
        unit, chosen = (v.reveal() for v in found)
    unit = np.rint(unit * 2.0**WORK.fraction).astype(np.int64)
    inside = (x >= 1) & (x < 1 << BITS)
    places = np.array([min(place(int(v), 0), len(scales) - 1) for v in x])
    assert np.array_equal(chosen, np.where(inside, places, np.where(x < 1, 70, 90)))
    check(unit, x, [scales[p] for p in places], inside, end)


@pytest.mark.parametrize("bits", [64, 128])
@pytest.mark.parametrize("finest", [11, 19, 22])
def test_curves_have_tables_that_go_on_at_four(bits: int, finest: int):
    """What the gate makes of numbers outside is 0, and their window has 4 units: a curve must be there what it is at 4."""
    for curve in (wide.RECIPROCAL, wide.SQRT, wide.RSQRT, wide.LOG, trigonometry.CBRT):
        found = window(curve._replace(tol=2.0**-finest), WORK.fraction, bits)
        assert found is not None
        assert found.k + found.t == WORK.fraction + 2
        piece = -found.centre % FOUR
        assert piece % (1 << found.t) == 0
        value = found.tables[0][piece >> found.t] / 2.0**found.fraction_out
        assert abs(value - curve.f(np.array(4.0))) < 2.0**-finest
