"""Functional update: arrays never change, `x.at[key].set(y)` is another array."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import SecretValueError, ShapeMismatch
from ..ir.trace import user_line
from ..ir.types import BOOL
from . import core, manipulation, views
from .array import Array, bind, implements, scope_of

PUBLIC_KEY = (
    "x.at takes public positions (at {}).\n"
    "    For a secret one compare it with every position: mpc.where(i == np.arange(len(x)), y, x)."
)


class At:
    """`x.at`. Indexed by a public key (or a loop's index) it offers `get`, `set` and `add`."""

    def __init__(self, x: Array) -> None:
        self.x = x

    def __getitem__(self, key: Any) -> Place:
        return Place(self.x, key if isinstance(key, tuple) else (key,))


@implements("at")
def at(x: Array) -> At:
    """See `At`."""
    return At(x)


class Place:
    """Positions of an array, given by a public key. All its methods are local."""

    def __init__(self, x: Array, key: tuple[Any, ...]) -> None:
        if any(isinstance(k, Array) and k.type.secret for k in key):
            raise SecretValueError(PUBLIC_KEY.format(user_line()))
        self.x, self.key = x, key
        self.moving = [i for i, k in enumerate(key) if isinstance(k, Array)]  # indices of loops

    def get(self) -> Array:
        """x[key]."""
        return views.getitem(self.x, self.key)

    def set(self, y: Any) -> Array:
        """x with x[key] = y, of x's dtype. Where a position occurs twice, the last value stays."""
        if self.moving:
            return self._set_moving(y)
        x, positions = self.x, self._positions()
        values = views.ravel(self._values(y, positions.shape))
        source = np.arange(x.size)
        source[positions.reshape(-1)] = x.size + np.arange(positions.size)
        return views.reshape(views.getitem(manipulation.concatenate([views.ravel(x), values]), source), x.shape)

    def add(self, y: Any) -> Array:
        """x with y added at x[key]; where a position occurs several times, all of its values are added."""
        if self.moving:
            return self.set(core.add(self.get(), y))
        positions = self._positions()
        values = views.ravel(self._values(y, positions.shape))
        targets, which, counts = np.unique(positions.reshape(-1), return_inverse=True, return_counts=True)
        if not targets.size:
            return self.x
        # row i lists the values that go to target i, filled up with a zero
        table = np.full((targets.size, counts.max()), values.size)
        order = np.argsort(which, kind="stable")
        table[
            np.repeat(np.arange(targets.size), counts), np.arange(order.size) - np.repeat(np.cumsum(counts) - counts, counts)
        ] = order
        total = core.sum(views.getitem(manipulation.concatenate([values, [0]]), table), 1)
        flat = views.ravel(self.x)
        return views.reshape(Place(flat, (targets,)).set(core.add(views.getitem(flat, targets), total)), self.x.shape)

    def _positions(self) -> np.ndarray:
        try:
            return np.asarray(np.arange(self.x.size).reshape(self.x.shape)[self.key])
        except IndexError as error:
            raise ShapeMismatch(f"{error} (shape {self.x.shape}, at {user_line()})") from None

    def _values(self, y: Any, shape: tuple[int, ...]) -> Array:
        x = self.x
        value = core.astype(y, x.dtype) if isinstance(y, Array) else core.as_array(y, x.dtype, scope_of(x))
        try:
            return views.broadcast_to(value, shape)
        except ShapeMismatch:
            raise ShapeMismatch(f"cannot put shape {value.shape} into {shape} (at {user_line()})") from None

    def _set_moving(self, y: Any) -> Array:
        """With indices of loops in the key: a mask that everybody computes chooses between x and y."""
        x, key = self.x, self.key
        if any(not isinstance(k, (Array, int)) and k != slice(None) for k in key):
            raise ShapeMismatch(f"a loop's index in x.at goes with integers and whole axes (:) only (at {user_line()})")
        fixed = np.zeros(x.shape, bool)
        fixed[tuple(k if isinstance(k, int) else slice(None) for k in key)] = True
        mask = core.as_array(fixed, BOOL, scope_of(x))
        for axis in self.moving:
            places = np.arange(x.shape[axis]).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
            mask = bind("and_", *core._same_shape(mask, core.equal(key[axis], places)))
        value = self._values(y, views.getitem(x, key).shape)
        # the key takes axes away: they come back with length 1
        lengths = [1 if a < len(key) and not isinstance(key[a], slice) else n for a, n in enumerate(x.shape)]
        whole = views.broadcast_to(views.reshape(value, lengths), x.shape)
        if x.dtype.is_bool:
            return core.bitwise_xor(x, core.bitwise_and(mask, core.bitwise_xor(x, whole)))
        chosen = bind("mul", bind("b2a", mask), core.subtract(whole, x), bits=0, rounding="dither")
        return core.add(x, chosen)
