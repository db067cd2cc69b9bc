"""Pools against NumPy's windows."""

from __future__ import annotations

import numpy as np
import pytest

from mpc import nn
from mpc.errors import ShapeMismatch

from ..memory import open_session
from .conftest import ULP, fixed


def pooled(f, x, size, stride, padding, fill):
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)], constant_values=fill)
    axes = tuple(range(2, x.ndim))
    windows = np.lib.stride_tricks.sliding_window_view(x, size, axes)
    windows = windows[(slice(None), slice(None), *(slice(None, None, s) for s in stride))]
    return f(windows, axis=tuple(range(x.ndim, windows.ndim)))


CASES = [  # shape, size, stride, padding
    ((2, 3, 9), (3,), (3,), (0,)),
    ((1, 2, 8), (3,), (2,), (1,)),
    ((2, 3, 6, 5), (2, 2), (2, 2), (0, 0)),
    ((1, 2, 7, 6), (3, 2), (2, 1), (1, 1)),
]


@pytest.mark.parametrize(("shape", "size", "stride", "padding"), CASES, ids=str)
def test_even_windows(close, rng, shape, size, stride, padding):
    x = fixed(rng, *shape)
    largest, mean = (nn.max_pool1d, nn.avg_pool1d) if len(size) == 1 else (nn.max_pool2d, nn.avg_pool2d)
    want = pooled(np.max, x, size, stride, padding, -np.inf)
    close(lambda x: largest(x, size, stride, padding), want, x, tol=0)
    close(lambda x: mean(x, size, stride, padding), pooled(np.mean, x, size, stride, padding, 0), x, tol=3 * ULP)


@pytest.mark.parametrize(
    ("shape", "size"), [((2, 3, 9), (3,)), ((1, 2, 7), (3,)), ((1, 2, 7, 5), (3, 2)), ((1, 1, 4, 3), (1, 3))]
)
def test_adaptive_windows(close, rng, shape, size):
    """Part i of n positions in m parts is [floor(i n / m), ceil((i + 1) n / m))."""
    x, flat = fixed(rng, *shape), len(size) == 1
    parts = [[slice(i * n // m, -(-(i + 1) * n // m)) for i in range(m)] for n, m in zip(shape[2:], size, strict=True)]
    for f, private in (
        (np.max, nn.adaptive_max_pool1d if flat else nn.adaptive_max_pool2d),
        (np.mean, nn.adaptive_avg_pool1d if flat else nn.adaptive_avg_pool2d),
    ):
        want = np.zeros((*shape[:2], *size))
        for at in np.ndindex(*size):
            part = x[(slice(None), slice(None), *(p[i] for p, i in zip(parts, at, strict=True)))]
            want[(slice(None), slice(None), *at)] = f(part.reshape(*shape[:2], -1), axis=2)
        close(lambda x, g=private: g(x, size), want, x, tol=0 if f is np.max else 3 * ULP)


def test_global_pools(close, rng):
    x = fixed(rng, 2, 3, 5, 4)
    close(nn.global_max_pool2d, x.max((2, 3)), x, tol=0)
    close(nn.global_avg_pool2d, x.mean((2, 3)), x, tol=3 * ULP)
    close(nn.global_max_pool1d, x[0].max(2), x[0], tol=0)
    close(nn.global_avg_pool1d, x[0].mean(2), x[0], tol=3 * ULP)


@pytest.mark.parametrize(
    ("f", "says"),
    [
        (lambda x: nn.max_pool1d(x), "signals"),
        (lambda x: nn.max_pool2d(x, 2, 0), "from 1 on"),
        (lambda x: nn.max_pool2d(x, 2, 1, 2), "half a window"),
        (lambda x: nn.adaptive_avg_pool2d(x, 7), "7 parts of 6"),
        (lambda x: nn.global_max_pool1d(x), "signals"),
    ],
)
def test_what_does_not_fit_is_said(f, says):
    with open_session("plain", 1) as s, pytest.raises(ShapeMismatch, match=says) as caught:
        f(s.input(np.zeros((2, 3, 6, 6))))
    assert "test_pooling.py:" in str(caught.value)
