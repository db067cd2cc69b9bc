"""Convolutions of every dimension against their definitions."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from mpc import nn
from mpc.errors import ShapeMismatch
from mpc.ir.ranges import annotate
from mpc.lang.array import bind
from mpc.run.shadow import REFERENCES

from ..memory import open_session
from .conftest import ULP, fixed


def convolved(x, w, b, stride, padding, dilation, groups):
    """Every result pixel as a sum over a window."""
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    space = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(x.shape[2:], w.shape[2:], stride, dilation, strict=True)]
    out = np.zeros((x.shape[0], w.shape[0], *space))
    for o, *at in product(*map(range, out.shape[1:])):
        first = o // (w.shape[0] // groups) * w.shape[1]
        window = [
            slice(s * i, s * i + d * (k - 1) + 1, d) for i, s, d, k in zip(at, stride, dilation, w.shape[2:], strict=True)
        ]
        seen = x[(slice(None), slice(first, first + w.shape[1]), *window)]
        out[(slice(None), o, *at)] = (seen * w[o]).reshape(x.shape[0], -1).sum(1) + b[o]
    return out


def spread(x, w, b, stride, padding, dilation, groups, extra):
    """Every pixel adds its multiple of a filter to the result, whose rim is cut off."""
    sides = list(zip(x.shape[2:], w.shape[2:], stride, dilation, extra, strict=True))
    whole = np.zeros((x.shape[0], w.shape[1] * groups, *((n - 1) * s + d * (k - 1) + 1 + e for n, k, s, d, e in sides)))
    for c, *at in product(*map(range, x.shape[1:])):
        first = c // (x.shape[1] // groups) * w.shape[1]
        window = [slice(s * i, s * i + d * (k - 1) + 1, d) for i, (_, k, s, d, _) in zip(at, sides, strict=True)]
        pixel = x[(slice(None), c, *at)].reshape(-1, *[1] * (w.ndim - 1))
        whole[(slice(None), slice(first, first + w.shape[1]), *window)] += pixel * w[c]
    rim = tuple(slice(p, n - p) for p, n in zip(padding, whole.shape[2:], strict=True))
    return whole[(slice(None), slice(None), *rim)] + b.reshape(-1, *[1] * len(rim))


GEOMETRIES = [  # x, outputs, kernel, stride, padding, dilation, groups
    ((2, 3, 9), 4, (3,), (1,), (0,), (1,), 1),
    ((1, 4, 10), 6, (3,), (2,), (3,), (2,), 2),
    ((2, 4, 6, 5), 4, (3, 2), (2, 1), (1, 1), (1, 2), 4),
    ((1, 2, 4, 5, 4), 3, (2, 3, 1), (1, 1, 1), (0, 0, 0), (1, 1, 1), 1),
    ((2, 4, 5, 4, 6), 2, (3, 2, 2), (2, 1, 2), (2, 1, 0), (1, 2, 1), 2),
]
CONV = {1: nn.conv1d, 2: nn.conv2d, 3: nn.conv3d}
TRANSPOSED = {1: nn.conv_transpose1d, 2: nn.conv_transpose2d, 3: nn.conv_transpose3d}


@pytest.mark.parametrize("case", GEOMETRIES, ids=str)
def test_convolution(close, rng, case):
    shape, outputs, kernel, stride, padding, dilation, groups = case
    x, w, b = fixed(rng, *shape), fixed(rng, outputs, shape[1] // groups, *kernel), fixed(rng, outputs)
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    f, want = CONV[len(kernel)], convolved(x, w, b, **geometry)
    close(lambda x, w, b: f(x, w, b, **geometry), want, x, w, b, tol=ULP)
    close(lambda x: f(x, w, b, **geometry), want, x, tol=ULP)
    close(lambda w: f(x, w, b, **geometry), want, w, tol=ULP)
    exact = REFERENCES["conv"].f(x, w, **geometry) + b.reshape(-1, *[1] * len(kernel))
    assert np.allclose(exact, want)


@pytest.mark.parametrize("case", GEOMETRIES, ids=str)
def test_transposed_convolution(close, rng, case):
    shape, outputs, kernel, stride, padding, dilation, groups = case
    padding = tuple(min(p, 1) for p in padding)
    x, w, b = fixed(rng, *shape), fixed(rng, shape[1], outputs // groups, *kernel), fixed(rng, outputs)
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    f, row = TRANSPOSED[len(kernel)], b.reshape(-1, *[1] * len(kernel))
    for extra in {(0,) * len(kernel), tuple(s - 1 for s in stride)}:
        want, sides = spread(x, w, b, **geometry, extra=extra), {**geometry, "output_padding": extra}
        close(lambda x, w, b, sides=sides: f(x, w, b, **sides), want, x, w, b, tol=ULP)
        close(lambda x, sides=sides: f(x, w, b, **sides), want, x, tol=ULP)
        assert np.allclose(REFERENCES["conv_transposed"].f(x, w, extra=extra, **geometry) + row, want)


def test_a_rehearsal_costs_what_a_run_does(rng):
    with open_session("helper", 3) as s:
        x, w = s.input(fixed(rng, 1, 2, 4, 4, 4)), s.input(fixed(rng, 2, 3, 2, 2, 2), owner=1)
        y = nn.conv3d(nn.conv_transpose3d(x, w, stride=2), s.input(fixed(rng, 1, 3, 3, 3, 3)))
        links = s.cost(y).links
        y.reveal()
        assert {k: v for k, v in links.items() if v and 2 != k[0]} == {k: v for k, v in s._backend.links.items() if k[0] != 2}


@pytest.mark.parametrize(
    ("f", "says"),
    [
        (lambda x: nn.conv1d(x, np.ones((1, 2, 3))), "do not fit"),
        (lambda x: nn.conv2d(x, np.ones((1, 2, 9, 9))), "larger than the images"),
        (lambda x: nn.conv2d(x, np.ones((1, 2, 3, 3)), stride=(1, 1, 1)), "give one number or 2"),
        (lambda x: nn.conv2d(x, np.ones((1, 2, 3, 3)), stride=0), "must be positive"),
        (lambda x: nn.conv2d(x, np.ones((1, 2, 3, 3)), dilation=(1, -1)), "must be positive"),
        (lambda x: nn.conv2d(x, np.ones((1, 2, 3, 3)), groups=0), "must be positive"),
        (lambda x: nn.conv2d(x, np.ones((1, 2, 3, 3)), padding=-1), "must be positive"),
        (lambda x: nn.conv_transpose2d(x, np.ones((2, 1, 3, 3)), output_padding=-1), "must be positive"),
        (lambda x: nn.conv_transpose2d(x, np.ones((1, 1, 3, 3))), "do not fit"),
        (lambda x: nn.conv_transpose2d(x, np.ones((2, 1, 1, 1)), padding=3), "leaves nothing"),
        (lambda x: nn.conv2d(x, np.ones((1, 2, 3, 3)), padding=(1,)), "give one number or 2"),
    ],
)
def test_what_does_not_fit_is_said(f, says):
    with open_session("plain", 1) as s, pytest.raises(ShapeMismatch, match=says) as caught:
        f(s.input(np.zeros((1, 2, 5, 5))))
    assert "test_convolution.py:" in str(caught.value)


def test_sides_of_other_dimensions_are_refused():
    geometry = {"padding": [], "dilation": [1], "groups": 1, "bits": 16, "rounding": "dither"}
    with open_session("plain", 1) as s, pytest.raises(ShapeMismatch, match="one to three dimensions"):
        bind("conv", *[s.input(np.zeros((1, 1, 2)))] * 2, stride=[1], **geometry)


def test_declared_ranges_of_convolutions_hold(rng):
    """The inferred range covers the extremes that inputs of the declared range reach."""
    x, w = rng.choice([-1.0, 2.0], (1, 2, 4, 4)), fixed(rng, 2, 3, 3, 3)
    with open_session("plain", 1) as s:
        secret = s.input(x, low=-1, high=2)
        results = [
            nn.conv_transpose2d(secret, w, stride=2, padding=1),
            nn.conv_transpose2d(secret, s.input(w, low=-2, high=2), groups=2),
            nn.conv2d(secret, w[:, :2], padding=1),
        ]
        _, ranges = annotate(s.equations(results), [])
        values = s.reveal(*results)
    for reach, found in zip(ranges, values, strict=True):
        assert reach.low <= found.min() / ULP
        assert found.max() / ULP <= reach.high
