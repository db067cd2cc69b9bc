"""Reductions besides sums and extremes: products, logic, counts, cumulative sums, searches."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import ShapeMismatch
from ..ir.trace import user_line
from . import core, views
from .array import Array, Axis, implements, scope_of, whole
from .core import add, equal, less, multiply, negative, not_equal, square, subtract
from .dispatch import numpy_dtype
from .elementwise import absolute, argmax, max, maximum, min, softplus
from .manipulation import concatenate, moveaxis
from .views import expand_dims, reshape
from .wide import sqrt


def _flat(x: Array, axis: Axis) -> tuple[Array, tuple[int, ...]]:
    """(x with the axes to reduce merged into the first, the result's shape with keepdims)."""
    axes = views.axes_of(x, axis)
    rest = [a for a in range(x.ndim) if a not in axes]
    y = reshape(views.transpose(x, [*axes, *rest]), (math.prod(x.shape[a] for a in axes), *(x.shape[a] for a in rest)))
    return y, tuple(1 if a in axes else n for a, n in enumerate(x.shape))


@implements("prod")
def prod(x: Array, axis: Axis = None, keepdims: bool = False, dtype: Any = None) -> Array:
    """Product over axes: ceil(log2 m) levels of products, each of which must fit."""
    y, kept = _flat(core.accumulator(x, dtype), axis)
    if not y.shape[0]:
        return reshape(add(core.sum(y, 0), 1), kept) if keepdims else add(core.sum(y, 0), 1)
    while (n := y.shape[0]) > 1:
        product = multiply(y[: n // 2], y[n // 2 : n // 2 * 2])
        y = concatenate([product, y[n - 1 :]], 0) if n % 2 else product
    y = y[0]
    return reshape(y, kept) if keepdims else y


@implements("any")
def any(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Whether an element along the axes is not zero: they are counted, and the count compared with 0."""
    return not_equal(count_nonzero(x, axis, keepdims), 0)


@implements("all")
def all(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Whether all elements along the axes are not zero."""
    return equal(count_nonzero(x, axis, keepdims), math.prod(x.shape[a] for a in views.axes_of(x, axis)))


@implements("count_nonzero")
def count_nonzero(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """How many elements along the axes are not zero; int64."""
    return core.sum(x if x.dtype.is_bool else not_equal(x, 0), axis, keepdims)


@implements("argmin")
def argmin(x: Array, axis: int | None = None, keepdims: bool = False) -> Array:
    """Index of the minimum along an axis (of all elements by default), the first one among equals; int64."""
    return argmax(core.complement(x) if x.dtype.is_int else negative(x), axis, keepdims)


@implements("ptp")
def ptp(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Maximum minus minimum over axes."""
    return subtract(max(x, axis, keepdims), min(x, axis, keepdims))


def _along(x: Array, axis: int | None) -> int:
    """The axis of a running result; it may be left out for vectors."""
    if axis is None and x.ndim > 1:
        raise ShapeMismatch(f"cumulative over which axis of shape {x.shape}? (at {user_line()})")
    return views.axes_of(x, 0 if axis is None else axis)[0]


def _preceded(y: Array, axis: int, neutral: int) -> Array:
    return concatenate(
        [np.full([1 if a == axis else n for a, n in enumerate(y.shape)], neutral, numpy_dtype(y.dtype)), y], axis
    )


@implements("cumulative_sum")
def cumulative_sum(x: Array, axis: int | None = None, include_initial: bool = False) -> Array:
    """Sums of the first 1, 2, ... elements along an axis; exact and local."""
    axis = _along(x, axis)
    y = core.cumsum(x, axis)
    return _preceded(y, axis, 0) if include_initial else y


@implements("cumulative_prod")
def cumulative_prod(x: Array, axis: int | None = None, include_initial: bool = False) -> Array:
    """Products of the first 1, 2, ... elements along an axis: ceil(log2 n) levels of products."""
    axis = _along(x, axis)
    y = moveaxis(core.accumulator(x), axis, 0)
    step = 1
    while step < y.shape[0]:
        y = concatenate([y[:step], multiply(y[step:], y[:-step])], 0)
        step *= 2
    y = moveaxis(y, 0, axis)
    return _preceded(y, axis, 1) if include_initial else y


@implements("cumprod")
def cumprod(x: Array, axis: int | None = None) -> Array:
    """As `cumulative_prod`; of the flattened array by default."""
    return cumulative_prod(reshape(x, -1) if axis is None else x, axis)


@implements("diff")
def diff(x: Array, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Array:
    """Differences of neighbours along an axis, n times."""
    (axis,) = views.axes_of(x, axis)
    ends = [v for v in (prepend, x, append) if v is not None]
    x = concatenate(ends, axis) if len(ends) > 1 else x
    before = (slice(None),) * axis
    for _ in range(n):
        later, earlier = x[(*before, slice(1, None))], x[(*before, slice(None, -1))]
        x = core.bitwise_xor(later, earlier) if x.dtype.is_bool else subtract(later, earlier)
    return x


@implements("searchsorted")
def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Array:
    """How many elements of the ascending vector a are below v ("left") or not above it ("right"); int64.

    One comparison for every pair, in the rounds of one. `sorter`: public positions that sort a.
    """
    scope = scope_of(a, v)
    a = a if isinstance(a, Array) else np.asarray(a)
    if len(a.shape) != 1 or side not in ("left", "right"):
        raise ShapeMismatch(f"searchsorted in shape {a.shape}, side {side!r}: give a vector, left or right (at {user_line()})")
    a = a if sorter is None else a[np.asarray(sorter)]
    shape = v.shape if isinstance(v, Array) else np.shape(v)
    column = a.reshape(-1, *[1] * len(shape))
    if not a.shape[0]:
        return whole(np.zeros(shape, np.int64), scope)
    return core.sum(less(column, v) if side == "left" else core.less_equal(column, v), 0)


@implements("isin")
def isin(x: Any, values: Any, invert: bool = False) -> Array:
    """Whether each element of x is among `values`: one equality for every pair, in the rounds of one."""
    x = x if isinstance(x, Array) else np.asarray(x)
    column = expand_dims(x, -1) if isinstance(x, Array) else x[..., None]
    row = reshape(values, -1) if isinstance(values, Array) else np.reshape(values, -1)
    found = any(equal(column, row), -1)
    return core.invert(found) if invert else found


@implements("array_equal")
def array_equal(x: Any, y: Any) -> Array:
    """Whether all elements are equal; shapes must agree."""
    return all(equal(x, y))


@implements("average")
def average(x: Array, axis: Axis = None, weights: Any = None, keepdims: bool = False) -> Array:
    """Mean with weights (of x's shape, or of the axis); public weights are normalised in the clear."""
    if weights is None:
        return core.mean(x, axis, keepdims)
    w = weights if isinstance(weights, Array) else np.asarray(weights, float)
    if w.shape != x.shape:
        (a,) = views.axes_of(x, axis)
        w = w.reshape([-1 if i == a else 1 for i in range(x.ndim)])
    if isinstance(w, Array):
        return core.sum(multiply(x, w), axis, keepdims) / core.sum(w, axis, keepdims)
    w = np.broadcast_to(w, x.shape)
    return core.sum(multiply(x, w / w.sum(views.axes_of(x, axis), keepdims=True)), axis, keepdims)


@implements("hypot")
def hypot(x: Any, y: Any) -> Array:
    """sqrt(x^2 + y^2) for x^2 + y^2 < 2^15."""
    squares = [square(v) if isinstance(v, Array) else np.square(v) for v in (x, y)]
    return sqrt(add(*squares))


@implements("logaddexp")
def logaddexp(x: Any, y: Any) -> Array:
    """log(e^x + e^y): error below 2^-12."""
    return add(maximum(x, y), softplus(negative(absolute(subtract(x, y)))))
