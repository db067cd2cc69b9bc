"""Rearranging: joins, splits, rolls, repeats. All of it is local: shares move, nothing is sent."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import ShapeMismatch
from ..ir.trace import user_line
from .array import Array, Axis, bind, implements, scope_of
from .core import as_array, astype, common_dtype
from .dispatch import numpy_dtype
from .views import axes_of, broadcast_to, expand_dims, getitem, ravel, reshape, transpose


def _joined(arrays: Sequence[Any]) -> list[Array]:
    scope = scope_of(*arrays)
    common = common_dtype(*(a.dtype for a in arrays if isinstance(a, Array)))
    return [astype(a, common) if isinstance(a, Array) else as_array(a, common, scope) for a in arrays]


@implements("concatenate", "concat")
def concatenate(arrays: Sequence[Any], axis: int | None = 0) -> Array:
    """Arrays joined along an existing axis; public ones among them are encoded."""
    parts = _joined(arrays)
    if axis is None:
        parts, axis = [ravel(a) for a in parts], 0
    return bind("concatenate", *parts, axis=axes_of(parts[0], axis)[0])  # type: ignore[no-any-return]


@implements("stack")
def stack(arrays: Sequence[Any], axis: int = 0) -> Array:
    """Arrays of one shape joined along a new axis."""
    parts = _joined(arrays)
    return concatenate([expand_dims(a, axis % (a.ndim + 1)) for a in parts], axis % (parts[0].ndim + 1))


def _on(axis: int, item: Any) -> tuple[Any, ...]:
    """The key that applies `item` to one axis."""
    return (*[slice(None)] * axis, item)


@implements("matrix_transpose", "linalg.matrix_transpose")
def matrix_transpose(x: Array) -> Array:
    """The last two axes exchanged."""
    if x.ndim < 2:
        raise ShapeMismatch(f"matrix_transpose of shape {x.shape} (at {user_line()})")
    return swapaxes(x, -1, -2)


@implements("swapaxes")
def swapaxes(x: Array, axis1: int, axis2: int) -> Array:
    """Two axes exchanged."""
    (a,), (b,) = axes_of(x, axis1), axes_of(x, axis2)
    order = list(range(x.ndim))
    order[a], order[b] = b, a
    return transpose(x, order)


@implements("moveaxis")
def moveaxis(x: Array, source: int | Sequence[int], destination: int | Sequence[int]) -> Array:
    """Axes moved to new places; the others keep their order."""
    places = np.moveaxis(np.empty((0,) * x.ndim), source, destination)  # NumPy checks the arguments
    assert places.ndim == x.ndim
    sources, targets = ([v % x.ndim for v in np.atleast_1d(a).tolist()] for a in (source, destination))
    order = [a for a in range(x.ndim) if a not in sources]
    for target, axis in sorted(zip(targets, sources, strict=True)):
        order.insert(target, axis)
    return transpose(x, order)


@implements("flip")
def flip(x: Array, axis: Axis = None) -> Array:
    """Reversed along axes (all by default)."""
    axes = axes_of(x, axis)
    return getitem(x, tuple(slice(None, None, -1 if a in axes else None) for a in range(x.ndim)))


@implements("roll")
def roll(x: Array, shift: int | Sequence[int], axis: Axis = None) -> Array:
    """Elements moved by `shift` places along axes; what leaves at one end enters at the other."""
    if axis is None:
        return reshape(roll(ravel(x), int(np.sum(shift)), 0), x.shape)
    shifts, axes = np.broadcast_arrays(shift, axis)
    for by, a in zip(shifts.reshape(-1).tolist(), axes.reshape(-1).tolist(), strict=True):
        (a,) = axes_of(x, a)
        cut = -by % x.shape[a] if x.shape[a] else 0
        if cut:
            x = concatenate([getitem(x, _on(a, slice(cut, None))), getitem(x, _on(a, slice(None, cut)))], a)
    return x


@implements("pad")
def pad(x: Array, pad_width: Any, mode: str = "constant", constant_values: float = 0) -> Array:
    """Elements added at the ends of every axis: of one public value, or by NumPy's modes (edge, reflect, symmetric, wrap)."""
    widths = np.broadcast_to(np.asarray(pad_width, np.int64), (x.ndim, 2)).tolist()
    for axis, (before, after) in enumerate(widths):
        if mode == "constant":
            ends = []
            for n in (before, after):
                shape = (*x.shape[:axis], n, *x.shape[axis + 1 :])
                ends.append(np.full(shape, constant_values, numpy_dtype(x.dtype)))
            x = concatenate([ends[0], x, ends[1]], axis) if before or after else x
        else:
            x = take(x, np.pad(np.arange(x.shape[axis]), (before, after), mode), axis)  # type: ignore[call-overload]
    return x


@implements("tile")
def tile(x: Array, repetitions: int | Sequence[int]) -> Array:
    """x repeated as a whole along each axis."""
    counts = [repetitions] if isinstance(repetitions, int) else list(repetitions)
    counts = [1] * (x.ndim - len(counts)) + counts
    shape = [1] * (len(counts) - x.ndim) + list(x.shape)
    paired = [n for pair in zip(counts, shape, strict=True) for n in pair]
    split = [n for length in shape for n in (1, length)]
    return reshape(broadcast_to(reshape(x, split), paired), [c * n for c, n in zip(counts, shape, strict=True)])


@implements("repeat")
def repeat(x: Array, repeats: Any, axis: int | None = None) -> Array:
    """Every element repeated (public counts) along an axis; of the flattened array by default."""
    if axis is None:
        x, axis = ravel(x), 0
    (axis,) = axes_of(x, axis)
    return take(x, np.repeat(np.arange(x.shape[axis]), repeats), axis)


@implements("take")
def take(x: Array, indices: Any, axis: int | None = None) -> Array:
    """Elements at public positions along an axis; of the flattened array by default."""
    if axis is None:
        x, axis = ravel(x), 0
    (axis,) = axes_of(x, axis)
    return getitem(x, _on(axis, indices if isinstance(indices, Array) else np.asarray(indices, np.int64)))


@implements("take_along_axis")
def take_along_axis(x: Array, indices: Any, axis: int | None = -1) -> Array:
    """x[..., i, ...] for a public array of positions along an axis that has x's other axes."""
    if axis is None:
        x, axis = ravel(x), 0
    if isinstance(indices, Array):
        return take(x, indices, axis)  # says what to write for a secret position
    (axis,) = axes_of(x, axis)
    positions = np.arange(x.size).reshape(x.shape)
    try:
        chosen = np.take_along_axis(positions, np.asarray(indices), axis)
    except (IndexError, ValueError) as error:
        raise ShapeMismatch(f"take_along_axis of shape {x.shape}: {error} (at {user_line()})") from None
    return getitem(ravel(x), chosen)


@implements("broadcast_arrays")
def broadcast_arrays(*xs: Any) -> list[Any]:
    """All arrays at their common shape; public ones stay public."""
    shape = np.broadcast_shapes(*(np.shape(x) if not isinstance(x, Array) else x.shape for x in xs))
    return [broadcast_to(x, shape) if isinstance(x, Array) else np.broadcast_to(x, shape) for x in xs]


@implements("unstack")
def unstack(x: Array, axis: int = 0) -> tuple[Array, ...]:
    """The slices along an axis."""
    (axis,) = axes_of(x, axis)
    return tuple(getitem(x, _on(axis, i)) for i in range(x.shape[axis]))


@implements("array_split")
def array_split(x: Array, sections: int | Sequence[int], axis: int = 0) -> list[Array]:
    """Parts along an axis: this many of about equal length, or cut at these positions."""
    (axis,) = axes_of(x, axis)
    n = x.shape[axis]
    if isinstance(sections, int):
        sizes = [n // sections + (i < n % sections) for i in range(sections)]
        cuts = np.cumsum(sizes)[:-1].tolist()
    else:
        cuts = list(sections)
    return [getitem(x, _on(axis, slice(a, b))) for a, b in pairwise([0, *cuts, n])]


@implements("split")
def split(x: Array, sections: int | Sequence[int], axis: int = 0) -> list[Array]:
    """As `array_split`, of equal length."""
    (axis,) = axes_of(x, axis)
    if isinstance(sections, int) and x.shape[axis] % sections:
        raise ShapeMismatch(f"split of length {x.shape[axis]} into {sections} equal parts (at {user_line()})")
    return array_split(x, sections, axis)


@implements("hstack")
def hstack(arrays: Sequence[Any]) -> Array:
    """Joined along the second axis; vectors along the first."""
    parts = [_at_least(a, 1) for a in arrays]
    return concatenate(parts, 0 if len(parts[0].shape) == 1 else 1)


@implements("vstack")
def vstack(arrays: Sequence[Any]) -> Array:
    """Joined as rows."""
    return concatenate([_at_least(a, 2) for a in arrays], 0)


@implements("column_stack")
def column_stack(arrays: Sequence[Any]) -> Array:
    """Joined along the second axis; vectors become columns."""
    return concatenate([expand_dims(a, 1) if isinstance(a, Array) and a.ndim == 1 else _column(a) for a in arrays], 1)


def _column(a: Any) -> Any:
    return a if isinstance(a, Array) or np.ndim(a) != 1 else np.asarray(a)[:, None]


def _at_least(a: Any, ndim: int) -> Any:
    if not isinstance(a, Array):
        a = np.asarray(a)
    shape = (*[1] * (ndim - len(a.shape)), *a.shape)
    return reshape(a, shape) if isinstance(a, Array) else a.reshape(shape)


@implements("atleast_1d")
def atleast_1d(x: Array) -> Array:
    """A scalar as a vector."""
    return _at_least(x, 1)  # type: ignore[no-any-return]


@implements("atleast_2d")
def atleast_2d(x: Array) -> Array:
    """A vector as a row."""
    return _at_least(x, 2)  # type: ignore[no-any-return]


@implements("diagonal")
def diagonal(x: Array, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """Elements [i, i + offset] of two axes, as a new last axis."""
    (a,), (b,) = axes_of(x, axis1), axes_of(x, axis2)
    y = moveaxis(x, (a, b), (-2, -1))
    rows, columns = np.nonzero(np.eye(y.shape[-2], y.shape[-1], offset))
    return getitem(y, (..., rows, columns))


@implements("diag")
def diag(x: Array, k: int = 0) -> Array:
    """The diagonal of a matrix, or a matrix with this diagonal."""
    if x.ndim != 1:
        return diagonal(x, k)
    n = x.size + abs(k)
    rows = np.full((n, n), x.size)
    rows[np.nonzero(np.eye(n, k=k))] = np.arange(x.size)
    return getitem(concatenate([x, [False] if x.dtype.is_bool else [0]]), rows)
