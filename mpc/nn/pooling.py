"""Pooling over windows of signals (n, c, w) and images (n, c, h, w). Averages are local but for one rounding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np

from ..errors import ShapeMismatch
from ..ir.trace import user_line
from ..lang import core, manipulation, views
from ..lang.array import Array
from ..lang.elementwise import max, maximum
from ..lang.manipulation import pad
from .convolution import Sides, sides

Places = Sequence[np.ndarray]  # for every dimension: (windows, positions in a window) of the input's positions


def _space(x: Array, rank: int) -> tuple[int, ...]:
    if x.ndim != rank + 2:
        names = {1: "signals (n, c, w)", 2: "images (n, c, h, w)"}[rank]
        raise ShapeMismatch(f"pooling takes {names}, not {x.shape} (at {user_line()})")
    return x.shape[2:]


def _even(x: Array, rank: int, size: Sides, stride: Sides | None, padding: Sides) -> Places:
    """Windows of one size at even distances; positions start at -padding."""
    size, padding = sides(size, rank), sides(padding, rank)
    stride = size if stride is None else sides(stride, rank)
    found = []
    for n, k, s, p in zip(_space(x, rank), size, stride, padding, strict=True):
        if k > n + 2 * p:
            raise ShapeMismatch(f"windows {size} are larger than the images {x.shape} (at {user_line()})")
        if not (k > 0 and s > 0 and 0 <= 2 * p <= k):
            raise ShapeMismatch(
                f"windows {size}, stride {stride}: from 1 on; padding {padding}: half a window (at {user_line()})"
            )
        found.append(np.arange(-p, n + p - k + 1, s)[:, None] + np.arange(k))
    return found


def _adaptive(x: Array, rank: int, size: Sides) -> list[list[range]]:
    """For every dimension the parts that PyTorch cuts it into: they may overlap by one."""
    found = []
    for n, count in zip(_space(x, rank), sides(size, rank), strict=True):
        if not 1 <= count <= n:
            raise ShapeMismatch(f"{count} parts of {n} positions (at {user_line()})")
        found.append([range(i * n // count, -(-(i + 1) * n // count)) for i in range(count)])
    return found


def _slice(positions: np.ndarray) -> slice | None:
    """The slice that these positions are, if they are one: a view, where an index array would copy."""
    step = int(positions[1] - positions[0]) if len(positions) > 1 else 1
    even = step > 0 and np.array_equal(positions, np.arange(positions[0], positions[-1] + 1, step))
    return slice(int(positions[0]), int(positions[-1]) + 1, step) if even else None


def _seen(x: Array, places: Places) -> list[Array]:
    """The image as every place of the window sees it: arrays of the result's shape."""
    parts = []
    for place in product(*(range(p.shape[1]) for p in places)):
        chosen = [p[:, i] for p, i in zip(places, place, strict=True)]
        cuts = [_slice(c) for c in chosen]
        parts.append(x[(..., *cuts)] if None not in cuts else x[(..., *np.ix_(*chosen))])
    return parts


def _maximum(x: Array, places: Places) -> Array:
    """Positions outside stand for the nearest inside, which every such window sees as well."""
    parts = _seen(x, [np.clip(p, 0, n - 1) for p, n in zip(places, x.shape[2:], strict=True)])
    while len(parts) > 1:
        half = len(parts) // 2
        best = maximum(manipulation.stack(parts[:half]), manipulation.stack(parts[half : 2 * half]))
        parts = [best[i] for i in range(half)] + parts[2 * half :]
    return parts[0]


def max_pool1d(x: Array, size: Sides = 2, stride: Sides | None = None, padding: Sides = 0) -> Array:
    """As `max_pool2d`."""
    return _maximum(x, _even(x, 1, size, stride, padding))


def max_pool2d(x: Array, size: Sides = 2, stride: Sides | None = None, padding: Sides = 0) -> Array:
    """Maximum over windows (at distances of their size, if there is no stride), exact: ceil(log2 of the window's size) levels
    of 4 rounds."""
    return _maximum(x, _even(x, 2, size, stride, padding))


def _mean(x: Array, rank: int, size: Sides, stride: Sides | None, padding: Sides) -> Array:
    places, p = _even(x, rank, size, stride, padding), sides(padding, rank)
    padded = pad(x, [(0, 0), (0, 0), *((n, n) for n in p)]) if any(p) else x
    total, *rest = parts = _seen(padded, [positions + n for positions, n in zip(places, p, strict=True)])
    for part in rest:
        total = core.add(total, part)
    return core.multiply(total, 1 / len(parts))


def avg_pool1d(x: Array, size: Sides = 2, stride: Sides | None = None, padding: Sides = 0) -> Array:
    """Mean over windows; zeros around the signal count."""
    return _mean(x, 1, size, stride, padding)


def avg_pool2d(x: Array, size: Sides = 2, stride: Sides | None = None, padding: Sides = 0) -> Array:
    """Mean over windows; zeros around the image count."""
    return _mean(x, 2, size, stride, padding)


def _adaptive_mean(x: Array, rank: int, size: Sides) -> Array:
    """One product with a public matrix."""
    parts, weights = _adaptive(x, rank, size), np.ones((1, 1), float)
    for n, ranges in zip(x.shape[2:], parts, strict=True):
        weights = np.kron(weights, np.array([[(i in r) / len(r) for i in range(n)] for r in ranges]))
    flat = core.matmul(views.reshape(x, (*x.shape[:2], -1)), weights.T)
    return views.reshape(flat, (*x.shape[:2], *map(len, parts)))


def adaptive_avg_pool1d(x: Array, size: Sides) -> Array:
    """(n, c, w) -> (n, c, size): means of parts of (almost) equal length."""
    return _adaptive_mean(x, 1, size)


def adaptive_avg_pool2d(x: Array, size: Sides) -> Array:
    """(n, c, h, w) -> (n, c, *size): means of parts of (almost) equal sides."""
    return _adaptive_mean(x, 2, size)


def _adaptive_maximum(x: Array, rank: int, size: Sides) -> Array:
    """Shorter parts see their last position more than once."""
    parts = _adaptive(x, rank, size)
    longest = [np.max([len(r) for r in ranges]) for ranges in parts]
    return _maximum(
        x,
        [
            np.array([np.minimum(r.start + np.arange(k), r.stop - 1) for r in ranges])
            for k, ranges in zip(longest, parts, strict=True)
        ],
    )


def adaptive_max_pool1d(x: Array, size: Sides) -> Array:
    """(n, c, w) -> (n, c, size): maxima of parts of (almost) equal length."""
    return _adaptive_maximum(x, 1, size)


def adaptive_max_pool2d(x: Array, size: Sides) -> Array:
    """(n, c, h, w) -> (n, c, *size): maxima of parts of (almost) equal sides."""
    return _adaptive_maximum(x, 2, size)


def _over_space(reduce: Callable[..., Array], x: Array, rank: int) -> Array:
    _space(x, rank)
    return reduce(x, tuple(range(2, rank + 2)))


def global_avg_pool1d(x: Array) -> Array:
    """(n, c, w) -> (n, c)."""
    return _over_space(core.mean, x, 1)


def global_avg_pool2d(x: Array) -> Array:
    """(n, c, h, w) -> (n, c)."""
    return _over_space(core.mean, x, 2)


def global_max_pool1d(x: Array) -> Array:
    """(n, c, w) -> (n, c)."""
    return _over_space(max, x, 1)


def global_max_pool2d(x: Array) -> Array:
    """(n, c, h, w) -> (n, c)."""
    return _over_space(max, x, 2)
