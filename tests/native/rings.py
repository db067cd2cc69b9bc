"""The rings of the matrix products, Z_2^32, Z_2^64 and Z_2^128, on NumPy arrays: what the kernels must equal.

An element of Z_2^128 is two words, the lower one first, along a last axis of its own.
"""

from typing import NamedTuple

import numpy as np
from mpc._native import ffi


class Ring(NamedTuple):
    name: str
    dtype: type
    tail: tuple[int, ...] = ()  # axes of an element
    guard: int = 0xDEADBEEF

    def of(self, kernels, function):
        return getattr(kernels, f"{function}_{self.name}")

    def uniform(self, rng, *shape):
        return rng.integers(0, np.iinfo(self.dtype).max, (*shape, *self.tail), self.dtype, endpoint=True)

    def zeros(self, *shape):
        return np.zeros((*shape, *self.tail), self.dtype)

    def ptr(self, x):
        """To the first element of an array of any strides."""
        if not x.size:
            return ffi.NULL
        kind = "uint32_t *" if self.dtype is np.uint32 else "uint64_t *"
        return ffi.from_buffer(kind, np.lib.stride_tricks.as_strided(x, (x.size,), (x.itemsize,)))

    def room(self, words):
        """64-byte aligned memory of that many words and a guard word behind it."""
        raw = np.full(words + 17, self.guard, self.dtype)
        start = -raw.ctypes.data % 64 // raw.itemsize
        return raw[start : start + words + 1]

    def steps(self, x):
        """Strides of the first two axes, in elements."""
        return [s // (x.itemsize * (2 if self.tail else 1)) for s in x.strides[:2]]

    def matmul(self, a, b):
        return pair_matmul(a, b) if self.tail else a @ b

    def add(self, x, y):
        return pair_add(x, y) if self.tail else x + y


RINGS = [Ring("u64", np.uint64), Ring("u32", np.uint32), Ring("u128", np.uint64, (2,))]


def pair_add(x, y):
    low = x[..., 0] + y[..., 0]
    return np.stack([low, x[..., 1] + y[..., 1] + (low < x[..., 0])], -1)


def pair_matmul(a, b):
    """By limbs of 16 bits, whose products add up below 2^64."""
    a, b = ([np.ascontiguousarray(x).view("<u2")[..., i].astype(np.uint64) for i in range(8)] for x in (a, b))
    sums = [sum((a[i] @ b[w - i] for i in range(w + 1)), np.uint64(0)) for w in range(8)]
    total = np.zeros((*sums[0].shape, 2), np.uint64)
    for w, s in enumerate(sums):
        shift, zero = np.uint64(16 * w % 64), np.zeros_like(s)
        low, high = s << shift, s >> (np.uint64(64) - shift) if shift else zero
        total = pair_add(total, np.stack([low, high] if w < 4 else [zero, low], -1))
    return total
