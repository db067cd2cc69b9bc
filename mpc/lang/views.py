"""Views: reshaping, transposing, broadcasting, indexing. Local: the same words, looked at in another order."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ..errors import SecretValueError, ShapeMismatch, TypeMismatch
from ..ir.trace import user_line
from .array import Array, Axis, bind, implements


def axes_of(x: Array, axis: Axis) -> tuple[int, ...]:
    """Normalised axes."""
    axes = tuple(range(x.ndim)) if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
    for a in axes:
        if not -x.ndim <= a < x.ndim:
            raise ShapeMismatch(f"axis {a} of an array of shape {x.shape} (at {user_line()})")
    return tuple(sorted({a % x.ndim for a in axes}))


@implements("reshape")
def reshape(x: Array, shape: int | Sequence[int]) -> Array:
    """x with another shape; one entry may be -1."""
    wanted = [shape] if isinstance(shape, int) else [int(n) for n in shape]
    if wanted.count(-1) == 1:
        rest = prod(n for n in wanted if n != -1)
        if rest and x.size % rest == 0:
            wanted[wanted.index(-1)] = x.size // rest
    if prod(wanted) != x.size or any(n < 0 for n in wanted):
        raise ShapeMismatch(f"cannot reshape {x.shape} to {tuple(wanted)} (at {user_line()})")
    return bind("reshape", x, shape=wanted) if tuple(wanted) != x.shape else x


@implements("ravel")
def ravel(x: Array) -> Array:
    """x as a vector."""
    return reshape(x, -1)


@implements("transpose", "permute_dims")
def transpose(x: Array, axes: Sequence[int] | None = None) -> Array:
    """Axes reversed, or in the given order."""
    order = list(range(x.ndim))[::-1] if axes is None else [a % x.ndim for a in axes]
    if sorted(order) != list(range(x.ndim)):
        raise ShapeMismatch(f"axes {axes} are no permutation of the {x.ndim} axes (at {user_line()})")
    return bind("transpose", x, axes=order) if x.ndim > 1 else x


@implements("broadcast_to")
def broadcast_to(x: Array, shape: Sequence[int]) -> Array:
    """x repeated to a larger shape by NumPy's rules."""
    return x if x.shape == tuple(shape) else bind("broadcast", x, shape=list(shape))


@implements("expand_dims")
def expand_dims(x: Array, axis: int | tuple[int, ...] = 0) -> Array:
    """New axes of length 1 at these places of the result."""
    axes = (axis,) if isinstance(axis, int) else axis
    ndim = x.ndim + len(axes)
    if not all(-ndim <= a < ndim for a in axes) or len({a % ndim for a in axes}) < len(axes):
        raise ShapeMismatch(f"expand_dims of {axis} on shape {x.shape} (at {user_line()})")
    lengths, at = iter(x.shape), {a % ndim for a in axes}
    return reshape(x, [1 if i in at else next(lengths) for i in range(ndim)])


@implements("squeeze")
def squeeze(x: Array, axis: Axis = None) -> Array:
    """Axes of length 1 removed."""
    axes = tuple(i for i, n in enumerate(x.shape) if n == 1) if axis is None else axes_of(x, axis)
    if any(x.shape[a] != 1 for a in axes):
        raise ShapeMismatch(f"cannot squeeze axes {axes} of shape {x.shape} (at {user_line()})")
    return reshape(x, tuple(n for i, n in enumerate(x.shape) if i not in axes))


@implements("getitem")
def getitem(x: Array, key: Any) -> Array:
    """x[key] for public keys: integers, slices, None, Ellipsis, integer or bool arrays; inside a loop also its index."""
    items = key if isinstance(key, tuple) else (key,)
    for k, item in enumerate(items):
        if isinstance(item, Array) and not item.type.secret:  # of a loop: that row first, then the rest of the key
            axis = axis_of_item(x, items, k)
            row = dynamic_slice(_moved(x, axis, 0), item, 1)
            return getitem(_moved(row, 0, axis), (*items[:k], 0, *items[k + 1 :]))
    stored: list[Any] = []
    for item in items:
        if isinstance(item, Array):
            raise SecretValueError(
                f"a secret cannot be an index at {user_line()}.\n"
                "    Compare it with every position and sum: mpc.sum(x * (i == np.arange(len(x)))), or use mpc.where."
            )
        if isinstance(item, slice):
            stored.append([None if v is None else int(v) for v in (item.start, item.stop, item.step)])
        elif item is None:
            stored.append(None)
        elif item is Ellipsis:
            stored.append("...")
        elif isinstance(item, (int, np.integer)) and not isinstance(item, bool):
            stored.append(int(item))
        else:
            array = np.asarray(item)
            if not array.size and isinstance(item, (list, tuple)):
                array = array.astype(np.int64)  # an empty list selects nothing
            if array.dtype == bool:
                _check_mask(x, items)
                if array.ndim == 1:
                    stored.append(_positions(np.flatnonzero(array)))
                else:
                    stored.extend(map(_positions, np.nonzero(array)))
            elif array.dtype.kind in "iu":
                stored.append(_positions(array))
            else:
                raise TypeMismatch(f"an index must be integers, slices or bool, not {array.dtype} (at {user_line()})")
    try:
        return bind("index", x, key=stored)  # type: ignore[no-any-return]
    except IndexError as error:
        raise ShapeMismatch(f"{error} (shape {x.shape}, at {user_line()})") from None


def _positions(array: np.ndarray) -> dict[str, Any]:
    return {"array": np.asarray(array, "<i8").tobytes(), "shape": list(array.shape)}


def axis_of_item(x: Array, items: tuple[Any, ...], k: int) -> int:
    """The axis of x that item k of a key of integers, slices, None and Ellipsis stands for."""
    taken = [i is not None and i is not Ellipsis for i in items]
    hidden = any(i is Ellipsis for i in items[:k])
    return x.ndim - sum(taken[k:]) if hidden else sum(taken[:k])


def _moved(x: Array, source: int, target: int) -> Array:
    order = [a for a in range(x.ndim) if a != source]
    order.insert(target, source)
    return x if source == target else transpose(x, order)


def _check_mask(x: Array, items: tuple[Any, ...]) -> None:
    """A bool mask has the shape of what it selects from: NumPy knows where in the key it stands."""
    try:
        np.broadcast_to(np.False_, x.shape)[items]
    except IndexError as error:
        raise ShapeMismatch(f"{error} (shape {x.shape}, at {user_line()})") from None


def dynamic_slice(x: Array, start: Array, length: int) -> Array:
    """Rows start .. start + length - 1, where start is the public index of a loop (or computed from it)."""
    return bind("take", x, start, length=length)  # type: ignore[no-any-return]
