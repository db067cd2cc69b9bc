"""Z_2^128: words of two 64-bit limbs, for numbers whose products leave 64 bits.

A word is a structured NumPy element (lo, hi): it is moved, reshaped and broadcast as any other, and has no operators, so that
nothing but this ring computes on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .bilinear import MUL, Bilinear
from .composed import Composed
from .fixed import checked
from .prg import Stream
from .words import PAIR, WORD, Array

_LOW = (1 << 64) - 1


class Wide(Composed):
    """Z_2^128 (arrays of PAIR)."""

    name = "2^128"
    bits = 128
    word = PAIR

    # ---- numbers and words ----
    def of(self, values: Any) -> Array:
        array = np.asarray(values)
        if array.dtype.kind == "O":
            return self.from_limbs([np.asarray(array & _LOW, WORD), np.asarray(array >> 64 & _LOW, WORD)])
        if array.dtype.kind in "bu":
            return self.from_limbs([array.astype(WORD), np.zeros(array.shape, WORD)])
        signed = array.astype(np.int64)
        return self.from_limbs([signed.astype(WORD), (signed >> np.int64(63)).astype(WORD)])

    def integers(self, x: Array) -> Array:
        lo, hi = x["lo"], x["hi"].astype(np.int64)
        signed = lo.astype(np.int64)
        if (signed >> np.int64(63) == hi).all():
            return np.asarray(signed)
        return np.asarray((hi.astype(object) << 64) + lo.astype(object), object)

    def limbs(self, x: Array) -> list[Array]:
        return [np.ascontiguousarray(x["lo"]).reshape(x.shape), np.ascontiguousarray(x["hi"]).reshape(x.shape)]

    def from_limbs(self, limbs: Sequence[Array]) -> Array:
        out = self.empty(np.shape(limbs[0]))
        out["lo"], out["hi"] = limbs
        return out

    def encode(self, x: Array, fraction: int) -> Array:
        x = np.asarray(x, np.float64, order="C")
        words, errors = self.empty(x.shape), np.empty(2, WORD)
        self.kernels.encode_f64_u128(words, errors, x, x.size, fraction)
        checked(x, errors, self.bits, fraction)
        return words

    def decode(self, x: Array, fraction: int) -> Array:
        x, out = self.solid(x), np.empty(x.shape)
        self.kernels.decode_f64_u128(out, x, x.size, fraction)
        return out

    # ---- plain arithmetic ----
    def _each(self, kernel: Callable[..., None], x: Array, y: Array) -> Array:
        if x.shape != y.shape:
            x, y = np.broadcast_arrays(x, y)
        x, y = self.solid(x), self.solid(y)
        out = self.empty(x.shape)
        kernel(out, x, y, out.size)
        return out

    def add(self, x: Array, y: Array) -> Array:
        """x + y; of half words too, which a sort opens."""
        if x.dtype != PAIR:
            return self.local(np.add, x, y)
        return self._each(self.kernels.add_u128, x, y)

    def sub(self, x: Array, y: Array) -> Array:
        return self._each(self.kernels.sub_u128, x, y)

    def mul(self, x: Array, y: Array) -> Array:
        return self._each(self.kernels.mul_u128, x, y)

    def neg(self, x: Array) -> Array:
        return self.sub(self.filled((), 0), x)

    def _shifted(self, x: Array, left: int, right: int) -> Array:
        x = self.solid(x)
        out = self.empty(x.shape)
        self.kernels.shift_u128(out, x, out.size, left, right)
        return out

    def shift_left(self, x: Array, bits: int) -> Array:
        return self._shifted(x, bits, 0)

    def shift_right(self, x: Array, bits: int) -> Array:
        return self._shifted(x, 0, bits)

    def remainder(self, x: Array, bits: int) -> Array:
        return self._shifted(x, self.bits - bits, self.bits - bits) if bits else self.filled(x.shape, 0)

    def is_zero(self, x: Array) -> Array:
        return np.asarray((x["lo"] | x["hi"]) == 0).astype(np.uint8)

    def sum(self, x: Array, axis: tuple[int, ...]) -> Array:
        kept = [i for i in range(x.ndim) if i not in axis]
        rows = self.solid(np.transpose(x, [*axis, *kept]))
        shape = rows.shape[len(axis) :]
        out = self.empty(shape)
        self.kernels.sum_u128(out, rows, 1, rows.size // out.size if out.size else 0, out.size, 0)
        return out

    def cumsum(self, x: Array, axis: int) -> Array:
        x = self.solid(x)
        out, inner = self.empty(x.shape), int(np.prod(x.shape[axis + 1 :]))
        self.kernels.sum_u128(out, x, int(np.prod(x.shape[:axis])), x.shape[axis], inner, 1)
        return out

    def product(self, f: Bilinear, x: Array, y: Array, start: Array | None = None) -> Array:
        if f is MUL:
            z = self.mul(x, y)
            return z if start is None else self.add(start, z)
        return super().product(f, x, y, start)

    def blind(self, x: Array, sign: int, stream: Stream, out: Array | None = None) -> Array:
        x = self.solid(x)
        out = self.empty(x.shape) if out is None else out
        self.kernels.prg_add_u128(out, x, x.size, sign, stream.keys, len(stream.keys), stream.name, stream.at)
        return out
