"""Words: the plain arithmetic of Z_2^64 on arrays of uint64, bits packed into such words, rows, and random words.

`Ring` (`ring.py`) adds the fused steps of gates. Other rings have words of another dtype, which only their methods look into.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, reduce
from math import prod
from typing import Any

import numpy as np
from msgspec.structs import replace

from . import memory
from .bilinear import MUL, Bilinear
from .fixed import decode, encode, fits
from .kernels import kernels
from .packed import Packed
from .prg import Stream
from .product import gemm

Array = np.ndarray
WORD, HALF_WORD = np.dtype("<u8"), np.dtype("<u4")
MOST_LIMBS = 32  # of a word
LIMBS = ("lo", "hi", *map(str, range(2, MOST_LIMBS)))
FEW = 1 << 21  # below, random words of 64 bits without room for a place seldom agree


@cache
def several(limbs: int) -> np.dtype[Any]:
    """A word of so many limbs of 64 bits."""
    return WORD if limbs == 1 else np.dtype([(name, WORD) for name in LIMBS[:limbs]], align=True)


PAIR = several(2)  # a word of 128 bits


def dtype_of(name: str) -> np.dtype[Any]:
    """The dtype that NumPy calls so: words of several limbs among them, of which it says the size alone."""
    return several(int(name[2:]) // 8) if name.startswith("|V") else np.dtype(name)


def words_for(n: int) -> int:
    """Words that hold n packed bits."""
    return -(-n // 64)


class Words:
    """Z_2^64 (arrays of uint64) and packed bits, on the native kernels."""

    abstract = False
    name = "2^64"  # as types of values name it
    bits = 64  # of a word: what depends on the width reads it here, so that a protocol runs over other rings too
    limb = 64  # bits of a limb: what is compared at once
    primes: tuple[int, ...] = ()  # of a field
    word: np.dtype[Any] = WORD  # dtype of a number; packed bits are u64 words in every ring

    def __init__(self) -> None:
        self.kernels = kernels()

    @property
    def drawn(self) -> int:
        """Bytes of its stream that a random word takes: in a field twice its own, so that it is as good as uniform."""
        return self.word.itemsize * (2 if self.primes else 1)

    # ---- memory and calls: what Shapes replaces, and `kernels` ----
    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any] | None = None) -> Array:
        return memory.empty(shape, dtype or self.word)

    def filled(self, shape: tuple[int, ...], value: int, dtype: np.dtype[Any] | None = None) -> Array:
        return np.full(shape, self.of(value) if dtype is None else value, dtype or self.word)

    def solid(self, x: Array) -> Array:
        """x, C-contiguous: what kernels and messages need."""
        return np.asarray(x, order="C")

    def local(self, f: Callable[..., Array], *xs: Array) -> Array:
        """f(*xs) for a NumPy function that works element by element (with broadcasting)."""
        return np.asarray(f(*xs))  # NumPy turns arrays without axes into scalars

    # ---- numbers and words ----
    def of(self, values: Any) -> Array:
        """Words of integers (an int, or an array of any integer dtype or of Python ints), modulo the ring."""
        array = np.asarray(values)
        if array.dtype.kind == "O":
            return np.asarray(array & (1 << 64) - 1, WORD)
        return array.astype(np.int64 if array.dtype.kind == "b" else array.dtype).astype(WORD)

    def integers(self, x: Array) -> Array:
        """Words as signed integers: int64, or Python ints in an object array where some do not fit."""
        return x.view(np.int64)

    def holds(self, values: Array) -> bool:
        """Whether these integers are different words, and keep their value."""
        return fits(values, self.bits - 1)

    def limbs(self, x: Array) -> list[Array]:
        """The word in parts of 64 bits (or fewer, in u64 words), the lowest first."""
        return [x]

    def from_limbs(self, limbs: Sequence[Array]) -> Array:
        """The inverse of `limbs`, modulo the ring."""
        return limbs[0]

    def short(self, bits: int) -> np.dtype[Any]:
        """The dtype in which numbers that count modulo 2^bits are dealt."""
        return HALF_WORD if bits <= 32 else self.word

    def encode(self, x: Array, fraction: int) -> Array:
        """Words round(x 2^fraction), ties to even, of float64; RangeError from 2^(bits - 2) on, InputError for NaN."""
        return encode(x, fraction)

    def exponential(self, v: Array, fraction: int, sign: int, bits: int) -> Array:
        """Words round(e^d 2^bits), d = sign * (v mod 2^fraction) 2^-fraction, the same at every party; bits <= 50."""
        v = self.solid(v)
        out = self.empty(v.shape)
        self.kernels.exp_u64(out, v, v.size, fraction, sign, bits)
        return out

    def decode(self, x: Array, fraction: int) -> Array:
        """The float64 nearest to (words as signed integers) 2^-fraction."""
        return decode(x, fraction)

    # ---- plain arithmetic ----
    def add(self, x: Array, y: Array) -> Array:
        return self.local(np.add, x, y)

    def sub(self, x: Array, y: Array) -> Array:
        return self.local(np.subtract, x, y)

    def neg(self, x: Array) -> Array:
        return self.local(np.negative, x)

    def mul(self, x: Array, y: Array) -> Array:
        return self.local(np.multiply, x, y)

    def shift_left(self, x: Array, bits: int) -> Array:
        """x 2^bits; 0 <= bits < self.bits."""
        return self.local(lambda v: v << np.uint64(bits), x)

    def shift_right(self, x: Array, bits: int) -> Array:
        """floor(x / 2^bits) for words without a sign; 0 <= bits < self.bits."""
        return self.local(lambda v: v >> np.uint64(bits), x)

    def remainder(self, x: Array, bits: int) -> Array:
        """x mod 2^bits."""
        mask = np.uint64((1 << bits) - 1)
        return self.local(lambda v: v & mask, x)

    def is_zero(self, x: Array) -> Array:
        """uint8 0 and 1."""
        return self.local(lambda v: (v == 0).astype(np.uint8), x)

    def sum(self, x: Array, axis: tuple[int, ...]) -> Array:
        return np.asarray(np.sum(x, axis=axis, dtype=WORD))

    def total(self, xs: Sequence[Array]) -> Array:
        """The sum of several arrays of one shape."""
        return reduce(self.add, xs)

    def xor(self, xs: Sequence[Array]) -> Array:
        """The XOR of several arrays of packed words."""
        return reduce(lambda a, b: self.local(np.bitwise_xor, a, b), xs)

    def concatenate(self, xs: Sequence[Array], axis: int) -> Array:
        return np.concatenate(xs, axis=axis)

    def cumsum(self, x: Array, axis: int) -> Array:
        return np.cumsum(x, axis=axis, dtype=WORD)

    def product(self, f: Bilinear, x: Array, y: Array, start: Array | None = None) -> Array:
        """f(x, y) (+ start, whose memory is reused)."""
        shape = f.shape(x.shape, y.shape)
        if f is MUL:
            return self.local(np.multiply, x, y) if start is None else self.local(np.add, start, x * y)
        out = np.zeros(shape, self.word) if start is None else start
        f.accumulate(gemm, out, x, y)
        return out

    # ---- rows: what a shuffle moves ----
    def bit_rows(self, bits: Packed) -> Array:
        """(n, w) words, one row of whole words for every entry of the first axis; what fills a row up is zero."""
        n, width = bits.shape[0], prod(bits.shape[1:])
        if width % 64 == 0:
            return self.solid(bits.words).reshape(n, width // 64)
        rows = np.zeros((n, 8 * words_for(width)), np.uint8)
        packed = np.packbits(bits.bytes().reshape(n, width), axis=1, bitorder="little")
        rows[:, : packed.shape[1]] = packed
        return rows.view(WORD)

    def from_bit_rows(self, rows: Array, shape: tuple[int, ...]) -> Packed:
        """The bits of `bit_rows`."""
        width = prod(shape[1:])
        if width % 64 == 0:
            return Packed(rows.reshape(-1), shape)
        return Packed.of(np.unpackbits(rows.view(np.uint8), axis=1, count=width, bitorder="little").reshape(shape))

    def permutation(self, n: int, stream: Stream) -> Array:
        """A uniformly random order of 0 .. n-1, as the order of random words; where two agree, fresh ones are drawn."""
        bits = max(n - 1, 0).bit_length()
        places, attempt = np.arange(n, dtype=WORD), 0
        while True:
            at = stream.at + attempt * (-(-n // 512) * 512)
            words = self.packed((n,), replace(stream, at=at))
            if n < FEW:  # the place as the low bits of the word: sorting words is faster than finding their order
                words = np.sort(words >> np.uint64(bits) << np.uint64(bits) | places)
                order, words = (words & np.uint64((1 << bits) - 1)).astype(np.int64), words >> np.uint64(bits)
            else:
                order = np.argsort(words)
                words = words[order]
            if not (words[1:] == words[:-1]).any():
                return order
            attempt += 1

    def gather(self, x: Array, order: Array) -> Array:
        """Row k of the result is row order[k] of x. Not constant time in `order`, which only its owner ever uses."""
        return np.take(x, order, axis=0)

    # ---- random words ----
    def prg(self, shape: tuple[int, ...], stream: Stream) -> Array:
        """The sum over the stream's keys of their words."""
        out = self.empty(shape)
        self.kernels.prg_u64(out, out.size, stream.keys, len(stream.keys), stream.name, stream.at)
        return out

    def packed(self, shape: tuple[int, ...], stream: Stream) -> Array:
        """The stream of one key as words of 64 packed bits."""
        out = self.empty(shape, WORD)
        self.kernels.prg_u64(out, out.size, stream.keys, 1, stream.name, stream.at)
        return out

    def half_words(self, shape: tuple[int, ...], stream: Stream) -> Array:
        """The stream as half words, the lower half of a word first."""
        return self.packed((-(-prod(shape) // 2),), stream).view(HALF_WORD)[: prod(shape)].reshape(shape)

    def blind(self, x: Array, sign: int, stream: Stream, out: Array | None = None) -> Array:
        """x + sign * (sum over the stream's keys of their words); `out` may be x."""
        x = self.solid(x)
        out = self.empty(x.shape) if out is None else out
        self.kernels.prg_add_u64(out, x, x.size, sign, stream.keys, len(stream.keys), stream.name, stream.at)
        return out

    def blind_half(self, x: Array, sign: int, stream: Stream) -> Array:
        """`blind` of half words by the stream's half words."""
        x = self.solid(x)
        out = self.empty(x.shape, HALF_WORD)
        self.kernels.prg_add_u32(out, x, x.size, sign, stream.keys, len(stream.keys), stream.name, stream.at)
        return out

    def blind_bits(self, x: Array, stream: Stream) -> Array:
        """Packed words x ^ (XOR over the stream's keys of their words); the stream's position counts words."""
        x = self.solid(x)
        out = self.empty(x.shape, WORD)
        self.kernels.prg_xor_u64(out, x, x.size, stream.keys, len(stream.keys), stream.name, stream.at)
        return out

    def and_bits(
        self, mine: Sequence[Array], others: Sequence[Array], first: bool, c: Array | None, a: Stream, b: int, ab: int
    ) -> Array:
        """Beaver on packed words: d = x ^ a and e = y ^ b are mine ^ others; c = the stream `ab` where it is None."""
        z, (d, e), (d_peer, e_peer) = self.empty(mine[0].shape, WORD), mine, others
        self.kernels.and_bits(z, d, d_peer, e, e_peer, z.size, int(first), c, a.keys, a.name, b, ab, a.at)
        return z

    def and_deal_bits(self, shape: tuple[int, ...], a: Stream, b: int, ab: int) -> Array:
        """Correction: the product of the masks that all of a's keys make. Dealer."""
        c = self.empty(shape, WORD)
        self.kernels.and_deal_bits(c, c.size, a.keys, len(a.keys), a.name, b, ab, a.at)
        return c

    def mask(self, x: Array, stream: Stream) -> tuple[Array, Array]:
        """(x + r, r) for the stream's words r."""
        x = self.solid(x)
        m, r = self.empty(x.shape), self.empty(x.shape)
        self.kernels.mask_u64(m, r, x, x.size, stream.keys, stream.name, stream.at)
        return m, r
