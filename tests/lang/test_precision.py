"""More fraction bits make functions more exact: at 20 and 26 bits, by gates, by comparisons, and with exact rounding."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import mpc
from mpc.lang import elementwise
from mpc.lang.piecewise import Curve, Tail, fit, plan

from ..memory import open_session

erf = np.vectorize(math.erf, otypes=[float])
# function, float64, domain, log2 of the error relative to max(1, |y|) for each precision
FUNCTIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any], float, float, dict[int, float]]] = {
    "sigmoid": (mpc.nn.sigmoid, lambda v: 1 / (1 + np.exp(-v)), -30, 30, {20: -17, 26: -23}),
    "tanh": (mpc.tanh, np.tanh, -20, 20, {20: -17, 26: -23}),
    "gelu": (mpc.nn.gelu, lambda v: v * (1 + erf(v / 2**0.5)) / 2, -20, 20, {20: -16.5, 26: -22.5}),
    "silu": (mpc.nn.silu, lambda v: v / (1 + np.exp(-v)), -40, 40, {20: -16, 26: -22}),
    "softplus": (mpc.nn.softplus, lambda v: np.logaddexp(0, v), -40, 40, {20: -16, 26: -22}),
    "erf": (mpc.erf, erf, -9, 9, {20: -17, 26: -23}),
    "exp": (mpc.exp, np.exp, -30, 6, {20: -17.5, 26: -23.5}),
    "sin": (mpc.sin, np.sin, -30, 30, {20: -17, 26: -17}),  # by the curve; the gate reaches the resolution
    "reciprocal": (mpc.reciprocal, np.reciprocal, 0.05, 1000, {20: -19, 26: -20}),
    "rsqrt": (mpc.rsqrt, lambda v: v**-0.5, 0.05, 1000, {20: -19, 26: -20}),
    "sqrt": (mpc.sqrt, np.sqrt, 0.05, 1000, {20: -19, 26: -20}),
    "log": (mpc.log, np.log, 0.05, 1000, {20: -18.5, 26: -20}),
}


@pytest.mark.parametrize(
    ("protocol", "n", "rounding"), [("helper", 3, "dither"), ("additive", 3, "dither"), ("helper", 3, "nearest")]
)
@pytest.mark.parametrize("f", [20, 26])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors_shrink_with_the_resolution(name: str, f: int, protocol: str, n: int, rounding: str):
    private, plain, low, high, bounds = FUNCTIONS[name]
    v = np.rint(np.linspace(low, high, 501) * 2.0**f) / 2.0**f
    with open_session(protocol, n, rounding, mpc.fixed64(f)) as s:
        y = private(s.input(v)).reveal()
    exact = plain(v)
    assert np.abs((y - exact) / np.maximum(1, np.abs(exact))).max() < 2.0 ** bounds[f]


@pytest.mark.parametrize("f", [20, 26])
def test_values_outside_are_the_documented_ones(f: int):
    with open_session("helper", 3, dtype=mpc.fixed64(f)) as s:
        x = s.input([0.0, -1.0, 2.0**15, 2.0**20, -(2.0**30)])
        inverse, rsqrt, sqrt, log, sigmoid = s.reveal(1 / x, mpc.rsqrt(x), mpc.sqrt(x), mpc.log(x), mpc.nn.sigmoid(x))
        high = elementwise.exp_ends(f)[1]
        exp = mpc.exp(s.input([float(high), high + 1.0, 2.0**20, -50.0])).reveal()
    unit = 2.0**-f
    assert np.allclose(inverse, [2.0 ** min(f, 23), -1, 0, 0, 0], rtol=0, atol=2.0**-19)
    assert np.allclose(rsqrt, [2.0 ** (f / 2)] * 2 + [2.0**-7.5] * 2 + [2.0 ** (f / 2)], rtol=0, atol=unit)
    assert np.allclose(sqrt, [0, 0, 2.0**7.5, 2.0**7.5, 0], rtol=0, atol=unit)
    assert np.allclose(log, [-f * np.log(2)] * 2 + [15 * np.log(2)] * 2 + [-f * np.log(2)], rtol=0, atol=unit)
    assert np.allclose(sigmoid, [0.5, 1 / (1 + np.e), 1, 1, 0], rtol=0, atol=2.0 ** (3 - f))
    assert np.allclose(exp, [np.exp(high)] * 3 + [0], rtol=2.0**-16, atol=2 * unit)


@pytest.mark.parametrize("f", [16, 20, 26])
def test_approximate_keeps_its_tolerance(f: int):
    for g, low, high, tol in ((np.arctan, -8, 8, 2.0 ** (3 - f)), (np.cbrt, 0.5, 4, 2.0 ** (2 - f)), (np.cos, -3, 3, 2.0**-9)):
        curve = mpc.approximate(g, low, high, tol)
        v = np.rint(np.linspace(low - 1, high + 1, 301) * 2.0**f) / 2.0**f
        with open_session("helper", 3, dtype=mpc.fixed64(f)) as s:
            assert np.abs(curve(s.input(v)).reveal() - g(np.clip(v, low, high))).max() < tol + 4 * 2.0**-f


def test_more_bits_than_a_word_can_use():
    v = np.linspace(-4, 4, 101)
    with open_session("helper", 3, dtype=mpc.fixed64(34)) as s:
        x = s.input(v)
        assert np.abs(mpc.nn.sigmoid(x).reveal() - 1 / (1 + np.exp(-v))).max() < 2.0**-23
        assert np.abs(mpc.exp(x).reveal() - np.exp(v)).max() < 2.0**-17
        assert np.abs(mpc.sin(x).reveal() - np.sin(v)).max() < 2.0**-25
        assert np.abs(mpc.reciprocal(x + 5).reveal() - 1 / (v + 5)).max() < 2.0**-20


def test_pieces_are_chosen_by_cost():
    """Few pieces of a low degree where that is enough, a higher degree where pieces would abound."""
    assert plan(elementwise.SIGMOID, 16).pieces.coefficients.shape[1] == 4
    fine = Curve(np.tanh, -9.0, 9.0, 2.0**-24, (Tail(-1), Tail(1)))
    chosen = plan(fine, 26)
    assert chosen.pieces.coefficients.shape[1] > 4
    assert len(chosen.pieces.knots) < len(fit(fine, 3).knots) / 2
    assert chosen.fraction >= 26
    with pytest.raises(ValueError, match="fraction bits"):
        plan(Curve(np.exp, 0.0, 1.0, 2.0**-30), 38)
