"""Arrays without elements: a ring that computes shapes and sizes alone, and counts the work (see `ring.py`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from . import memory
from .bilinear import Bilinear
from .kernels import Kernels, kernels
from .packed import Packed
from .prg import Stream
from .ring import Ring
from .words import HALF_WORD, MOST_LIMBS, WORD, Array, words_for


class _Off(Kernels):
    """Kernels that do nothing."""

    def __init__(self) -> None:
        self.__dict__.update({name: lambda *args: None for name, kernel in vars(kernels()).items() if callable(kernel)})


class Shapes(Ring):
    """The same methods on blanks: nothing is computed, shapes and sizes come out right, work is counted."""

    abstract = True

    def __init__(self, ring: Ring | type[Ring] = Ring) -> None:
        self.name, self.bits, self.limb, self.word, self.primes = ring.name, ring.bits, ring.limb, ring.word, ring.primes
        self.kernels = _Off()
        self.multiplications = 0  # in products of arrays
        self.words = 0  # written by kernels

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any] | None = None) -> Array:
        self.words += prod(shape)
        return blank(shape, dtype or self.word)

    def of(self, values: Any) -> Array:
        return blank(np.shape(values), self.word)

    def encode(self, x: Array, fraction: int) -> Array:
        return blank(np.shape(x), self.word)

    def limbs(self, x: Array) -> list[Array]:
        return [blank(x.shape)] * -(-self.bits // self.limb)

    def from_limbs(self, limbs: Sequence[Array]) -> Array:
        return blank(limbs[0].shape, self.word)

    def is_zero(self, x: Array) -> Array:
        return blank(x.shape, np.dtype(np.uint8))

    def solid(self, x: Array) -> Array:
        return x

    def bit_rows(self, bits: Packed) -> Array:
        return blank((bits.shape[0], words_for(prod(bits.shape[1:]))))

    def from_bit_rows(self, rows: Array, shape: tuple[int, ...]) -> Packed:
        return Packed.of(blank(shape, np.dtype(np.uint8)))

    def permutation(self, n: int, stream: Stream) -> Array:
        return blank((n,), np.dtype(np.int64))

    def half_words(self, shape: tuple[int, ...], stream: Stream) -> Array:
        return self.empty(shape, HALF_WORD)

    def digits(self, bits: Packed) -> Array:
        return blank(bits.shape[:-1], np.dtype(np.uint8))

    def numbers(self, planes: Array, n: int) -> Array:
        return blank((n,), self.word)

    def gather(self, x: Array, order: Array) -> Array:
        return blank((*order.shape, *x.shape[1:]), x.dtype)

    def local(self, f: Callable[..., Array], *xs: Array) -> Array:
        shape = xs[0].shape
        for x in xs:
            if x.shape != shape:
                shape = np.broadcast_shapes(shape, x.shape)
        return blank(shape, xs[-1].dtype)

    def sum(self, x: Array, axis: tuple[int, ...]) -> Array:
        return blank(tuple(n for i, n in enumerate(x.shape) if i not in axis), self.word)

    def concatenate(self, xs: Sequence[Array], axis: int) -> Array:
        shape = list(xs[0].shape)
        shape[axis] = sum(x.shape[axis] for x in xs)
        return blank(tuple(shape), xs[0].dtype)

    def cumsum(self, x: Array, axis: int) -> Array:
        return x

    def product(self, f: Bilinear, x: Array, y: Array, start: Array | None = None) -> Array:
        self.multiplications += f.multiplications(x.shape, y.shape)
        return blank(f.shape(x.shape, y.shape), self.word)

    def filled(self, shape: tuple[int, ...], value: int, dtype: np.dtype[Any] | None = None) -> Array:
        return blank(shape, dtype or self.word)

    def spread(self, bits: Packed) -> Array:
        return blank(bits.shape, self.word)


_ZERO = bytes(8 * MOST_LIMBS)
_PLACE = np.frombuffer(_ZERO, np.uint8).ctypes.data


@lru_cache(maxsize=1 << 12)  # a program has few shapes, and one array serves all who need a blank of it
def blank(shape: tuple[int, ...], dtype: np.dtype[Any] = WORD) -> Array:
    """An array of that shape that takes no memory: one zero, repeated by strides of 0; read-only."""
    return np.ndarray(shape, dtype, _ZERO, strides=(0,) * len(shape))  # 10 times faster than np.broadcast_to


def is_blank(x: Array | Packed) -> bool:
    """Whether x is a blank, and not an array of one number that is repeated."""
    return bool((x.words if isinstance(x, Packed) else x).ctypes.data == _PLACE)


def room(x: Array | Packed, size: int) -> Any:
    """Memory for a vector of numbers or bits like x's; a blank, if x is one."""
    words = x.words if isinstance(x, Packed) else x
    shape = (words_for(size) if isinstance(x, Packed) else size,)
    vector = blank(shape, words.dtype) if is_blank(x) else memory.empty(shape, words.dtype)
    return Packed(vector, (size,)) if isinstance(x, Packed) else vector
