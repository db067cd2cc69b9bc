"""Layers refuse what does not fit, in the user's words. Their values are in tests/operations.py."""

import numpy as np
import pytest

import mpc
from mpc.errors import ShapeMismatch, UsageError

from ..memory import open_session


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        (lambda x: mpc.nn.max_pool2d(x[0]), "images"),
        (lambda x: mpc.nn.max_pool2d(x, 9), "larger than the images"),
        (lambda x: mpc.nn.avg_pool2d(x, (2, 7)), "larger than the images"),
        (lambda x: mpc.nn.conv2d(x, np.zeros((4, 2, 3, 3))), "do not fit"),
        (lambda x: mpc.nn.conv2d(x, np.zeros((4, 3, 8, 8))), "larger than the images"),
        (lambda x: mpc.nn.conv2d(x, np.zeros((4, 3, 3, 3)), groups=3), "do not fit"),
    ],
)
def test_what_does_not_fit_is_said_at_the_users_line(layer, says):
    with open_session("helper", 3) as s:
        x = s.input(np.zeros((2, 3, 6, 5)), owner=0)
        with pytest.raises(ShapeMismatch, match=says) as caught:
            layer(x)
        assert "test_layers.py:" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((np.sin, 2.0, 2.0), "low < high"),
        ((np.sin, 0.0, 1.0, 0.0), "tol > 0"),
        ((np.log, 0.0, 1.0), "finite"),
        ((np.sin, 0.0, 1.0, 1e-3, "clamp"), "constant or relu"),
        ((np.sign, -1.0, 1.0, 1e-9), "error of 1e-09"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_approximate_refuses_what_it_cannot_do(arguments, says):
    with pytest.raises(UsageError, match=says):
        mpc.approximate(*arguments)


@pytest.mark.parametrize(("protocol", "n"), [("helper", 3), ("additive", 2), ("additive", 3), ("replicated", 3), ("plain", 1)])
def test_fused_products_round_as_separate_ones(protocol, n):
    """relu of a truncated product, and products chained on what a truncation opened: floor or ceiling, step by step."""
    ulp, rng = 2.0**-16, np.random.default_rng(7)
    x, y = (np.rint(rng.uniform(-90, 90, 20_000) / ulp) * ulp for _ in range(2))
    x[:9], y[:9] = [0, ulp, -ulp, ulp, -ulp, 1, -1, 90, -90], [1, 0.5, 0.5, -1 / 4, 1, 1, 1, 90, 90]
    with open_session(protocol, n) as s:
        a, b = s.input(x, owner=0), s.input(y, owner=n - 1)
        product, rectified, chained = s.reveal(a * b, mpc.nn.relu(a * b), a * b * (b * (1 / 64)))
    exact = x * y
    for got, low, high in (
        (product, np.floor(exact / ulp) * ulp, np.ceil(exact / ulp) * ulp),
        (rectified, np.maximum(np.floor(exact / ulp) * ulp, 0), np.maximum(np.ceil(exact / ulp) * ulp, 0)),
    ):
        assert ((got == low) | (got == high)).all()
    assert np.abs(chained - exact * (y / 64)).max() <= (1 + np.abs(exact).max() + np.abs(y / 64).max()) * ulp
