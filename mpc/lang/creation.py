"""New arrays. Public ones are NumPy arrays, which combine with secrets everywhere; what is made `like` a secret is secret."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.types import DType
from . import core, manipulation, views
from .array import Array, bind, implements, scope_of, whole
from .dispatch import has_secret, numpy_dtype


def _dtype(dtype: Any) -> Any:
    return numpy_dtype(dtype) if isinstance(dtype, DType) else dtype


def zeros(shape: int | tuple[int, ...], dtype: Any = None) -> np.ndarray:
    """Public zeros."""
    return np.zeros(shape, _dtype(dtype))


def ones(shape: int | tuple[int, ...], dtype: Any = None) -> np.ndarray:
    """Public ones."""
    return np.ones(shape, _dtype(dtype))


def empty(shape: int | tuple[int, ...], dtype: Any = None) -> np.ndarray:
    """Public zeros: memory as it was left might show somebody's data."""
    return np.zeros(shape, _dtype(dtype))


def full(shape: int | tuple[int, ...], value: Any, dtype: Any = None) -> Any:
    """A public or secret value, repeated."""
    if isinstance(value, Array):
        value = value if dtype is None else core.astype(value, dtype)
        return views.broadcast_to(value, (shape,) if isinstance(shape, int) else shape)
    return np.full(shape, value, _dtype(dtype))


def arange(start: float, stop: float | None = None, step: float = 1, dtype: Any = None) -> np.ndarray:
    """Public numbers from start up to, not including, stop."""
    start, stop = (0, start) if stop is None else (start, stop)
    return np.asarray(np.arange(start, stop, step, dtype=_dtype(dtype)))


def linspace(start: float, stop: float, num: int, dtype: Any = None, endpoint: bool = True) -> np.ndarray:
    """`num` public numbers from start to stop, evenly spaced."""
    return np.linspace(start, stop, num, endpoint, dtype=_dtype(dtype))


def eye(rows: int, columns: int | None = None, k: int = 0, dtype: Any = None) -> np.ndarray:
    """A public matrix with ones on diagonal k."""
    return np.eye(rows, columns, k, _dtype(dtype) or float)


def asarray(value: Any, dtype: Any = None, copy: bool | None = None) -> Any:
    """An Array as it is, lists with Arrays among them stacked, anything else as NumPy does. dtype converts."""
    if isinstance(value, Array):
        return value if dtype is None else core.astype(value, dtype)
    if has_secret([value]):
        parts = [asarray(v) for v in value]
        return asarray(
            manipulation.stack([np.broadcast_to(v, v.shape) if isinstance(v, np.ndarray) else v for v in parts]), dtype
        )
    return np.array(value, _dtype(dtype)) if copy else np.asarray(value, _dtype(dtype))


@implements("zeros_like", "empty_like")
def zeros_like(x: Array, dtype: Any = None) -> Array:
    """Secret zeros of x's shape and dtype, for a value that a loop carries. Nothing is sent."""
    zero = bind("mul", core._numbers(x), whole(0, scope_of(x)), bits=0, rounding="dither")
    if x.dtype.is_bool and dtype is None:
        return core.bitwise_and(x, False)
    return zero if dtype is None else core.astype(zero, dtype)


empty_like = zeros_like


@implements("full_like")
def full_like(x: Any, value: Any, dtype: Any = None) -> Array:
    """A secret array of x's shape and dtype that holds `value`. Nothing is sent."""
    if not isinstance(x, Array):
        return full(np.shape(x), value, dtype)  # type: ignore[no-any-return]
    zero = zeros_like(x, dtype)
    return core.bitwise_xor(zero, value) if zero.dtype.is_bool else core.add(zero, value)


@implements("ones_like")
def ones_like(x: Array, dtype: Any = None) -> Array:
    """A secret array of x's shape and dtype that holds ones. Nothing is sent."""
    return full_like(x, 1, dtype)


def _masked(x: Array, mask: np.ndarray) -> Array:
    """x where a public mask of its last axes is set, else 0."""
    return core.bitwise_and(x, mask) if x.dtype.is_bool else core.multiply(x, mask.astype(np.int64))


@implements("tril")
def tril(x: Array, k: int = 0) -> Array:
    """The lower triangle of the last two axes, up to diagonal k; zeros elsewhere."""
    return _masked(x, np.tri(x.shape[-2], x.shape[-1], k, bool))


@implements("triu")
def triu(x: Array, k: int = 0) -> Array:
    """The upper triangle of the last two axes, from diagonal k on; zeros elsewhere."""
    return _masked(x, ~np.tri(x.shape[-2], x.shape[-1], k - 1, bool))


@implements("meshgrid")
def meshgrid(*xs: Any, indexing: str = "xy") -> list[Any]:
    """Coordinate arrays from coordinate vectors."""
    shape = [np.size(x) if not isinstance(x, Array) else x.size for x in xs]
    order = [1, 0, *range(2, len(xs))] if indexing == "xy" and len(xs) > 1 else list(range(len(xs)))
    lengths = [shape[i] for i in order]
    grids = []
    for i, x in enumerate(xs):
        axis = order.index(i)
        column = [n if a == axis else 1 for a, n in enumerate(lengths)]
        whole = isinstance(x, Array)
        grids.append(
            views.broadcast_to(x.reshape(column), lengths) if whole else np.broadcast_to(np.reshape(x, column), lengths)
        )
    return grids
