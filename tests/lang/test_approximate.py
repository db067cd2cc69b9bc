"""`mpc.approximate`: any real function of one variable, within the error that was asked for; what cannot be is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import mpc
from mpc.errors import UsageError

from ..memory import open_session

ULP = 2.0**-16
few_settings = pytest.mark.parametrize(("protocol", "n"), [("helper", 3), ("additive", 3), ("replicated", 3), ("plain", 1)])


def test_a_function_of_ones_own():
    swish = mpc.approximate(lambda v: v / (1 + np.exp(-2 * v)), -8, 8, outside="relu")
    with open_session("helper", 3) as s:
        found = swish(s.input([-100.0, 0.0, 1.0, 100.0])).reveal()
    assert np.abs(found - [0, 0, 1 / (1 + np.exp(-2.0)), 100]).max() < 2.0**-13 + 2 * ULP


# ---- the bound ----
FUNCTIONS: dict[str, tuple[dict[str, Any], Any, Any]] = {  # the arguments, the oracle inside, the oracle outside
    "sin": ({"f": np.sin, "low": -3.0, "high": 3.5}, np.sin, None),
    "one point at a time": ({"f": math.atan, "low": -2.0, "high": 8.0, "tol": 2.0**-11}, np.arctan, None),
    "fails outside": ({"f": math.log, "low": 0.25, "high": 8.0, "tol": 2.0**-12}, np.log, None),
    "fails at the end, but for NumPy": ({"f": np.sqrt, "low": 0.0, "high": 4.0, "tol": 2.0**-8}, np.sqrt, None),
    "a kink": ({"f": np.abs, "low": -1.0, "high": 2.0, "tol": 2.0**-6}, np.abs, None),
    "small tol": ({"f": np.cos, "low": -1.0, "high": 1.0, "tol": 2.0**-18}, np.cos, None),
    "large values": ({"f": lambda v: 1000 * v**2, "low": -2.0, "high": 2.0, "tol": 0.01}, lambda v: 1000 * v**2, None),
    "one piece": ({"f": lambda v: 3 - v, "low": -1.0, "high": 1.0}, lambda v: 3 - v, None),
    "narrow": ({"f": np.exp, "low": 0.5, "high": 0.5 + 2.0**-6}, np.exp, None),
    "linear outside": (
        {"f": lambda v: np.logaddexp(0, 4 * v) / 4, "low": -4.0, "high": 4.0, "outside": "relu"},
        lambda v: np.logaddexp(0, 4 * v) / 4,
        lambda v: np.maximum(v, 0),
    ),
}


@few_settings
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_error_is_within_tol_everywhere(name: str, protocol: str, n: int):
    """2,000 points, both ends and their neighbours; beyond them the value of the end, or a line, however far."""
    arguments, inside, outside = FUNCTIONS[name]
    low, high = arguments["low"], arguments["high"]
    ends = [low, low + ULP, high - ULP, high, low - ULP, high + ULP]
    far = [s * v for v in (100, 2.0**13, 20_001.5, 2.0**20, 2.0**28, 2.0**44) for s in (1, -1)]
    x = np.rint(np.concatenate([np.random.default_rng(6).uniform(low, high, 2000), ends, far]) / ULP) * ULP
    clipped = np.clip(x, low, high)
    wanted = inside(clipped)
    if outside is not None:
        wanted = np.where(x == clipped, wanted, outside(x))
    with open_session(protocol, n) as s:
        error = np.abs(mpc.approximate(**arguments)(s.input(x)).reveal() - wanted)
    bound = arguments.get("tol", 2.0**-13) + 2 * ULP
    assert error.max() <= bound, f"{error.max()} at {x[error.argmax()]}"


@few_settings
@pytest.mark.parametrize("truncation", ["floor", "nearest"])
def test_exact_rounding_and_integers(protocol: str, n: int, truncation: str):
    square = mpc.approximate(lambda v: v * v, -4, 4, outside="relu")
    with open_session(protocol, n, truncation) as s:
        found = square(s.input(np.array([-9, -3, 0, 2, 3, 20_001, 1 << 44]))).reveal()
    assert np.abs(found - [0, 9, 0, 4, 9, 20_001, 1 << 44]).max() <= 2.0**-13 + 2 * ULP


# ---- refusals ----
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((np.sin, 1.0, 1.0), "low < high"),
        ((np.sin, 2.0, 1.0), "low < high"),
        ((np.sin, math.nan, 1.0), "low < high"),
        ((np.tanh, -math.inf, 1.0), "finite low < high"),
        ((np.tanh, 0.0, math.inf), "finite low < high"),
        ((np.sin, 0.0, 1.0, 0.0), "tol > 0"),
        ((np.sin, 0.0, 1.0, -1e-3), "tol > 0"),
        ((np.sin, 0.0, 1.0, math.nan), "tol > 0"),
        ((np.sin, 0.0, 1.0, 1e-3, "linear"), "choose constant or relu"),
        ((np.log, 0.0, 1.0), "-inf at 0.0 .*choose a range where it is finite"),
        ((math.log, 0.0, 1.0), "nan at 0.0 .*choose a range where it is finite"),
        ((lambda v: 1 / v, 0.0, 1.0), "choose a range where it is finite"),
        ((np.sin, -1.0, 1.0, 1e-30), "choose a larger tol or a narrower range"),
        ((np.sign, -1.0, 1.0), "choose a larger tol or a narrower range"),
        ((lambda v: np.sqrt(v * v - 1), -2.0, 2.0), "choose a larger tol or a narrower range"),  # not a number in between
        ((np.exp, 0.0, 40.0), "choose a larger tol or a narrower range"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_refusals_say_what_to_write(arguments: tuple[Any, ...], says: str):
    with pytest.raises(UsageError, match=says):
        mpc.approximate(*arguments)
