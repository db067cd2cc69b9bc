"""The arithmetic a protocol may use: Z_2^64 on arrays of words, bits on packed words, and the same on shapes alone.

A protocol is written over a `Ring`. `Ring()` computes with the native kernels; other rings (`composed.py`, `wide.py`,
`residues.py`) have words of another dtype, which only their methods look into. `Shapes(ring)` (`shapes.py`) is the same text
with the kernels switched off: every array is a *blank* (a read-only array of one repeated zero, whatever its shape), so a
program can be rehearsed on any size in no time and no memory. Fused kernels are methods here; what each computes is defined in
`native/mpc_kernels.h`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, reduce
from math import prod
from typing import Any, NamedTuple

import numpy as np
from msgspec.structs import replace

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


NARROW, WIDE, DEEP = range(3)  # trees of a comparison (native/compare_tree.inc)


class Comparison(NamedTuple):
    """A window of the lowest `bits` bits, tested for equality or else `<`. tree: WIDE takes one round in place of two, with
    several times as many bits dealt, DEEP three, with two thirds of them; up to 16 bits take one in any case."""

    bits: int
    equal: bool = False
    tree: int = NARROW


@cache
def compare_counts(what: Comparison) -> dict[str, int]:
    """Planes per group of a comparison: what is dealt (hot, ands), opened and kept on each of so many levels."""
    counts = np.zeros(10, HALF_WORD)
    kernels().compare_counts(counts, *map(int, what))
    names = ("hot", "mask", "ands", "levels", "open1", "local1", "open2", "local2", "open3", "local3")
    return dict(zip(names, map(int, counts), strict=True))


class Ring:
    """Z_2^64 (arrays of uint64) and packed bits, on the native kernels."""

    abstract = False
    name = "2^64"  # as types of values name it
    bits = 64  # of a word: what depends on the width reads it here, so that a protocol runs over other rings too
    limb = 64  # bits of a limb: what is compared at once
    primes: tuple[int, ...] = ()  # of a field
    word: np.dtype[Any] = WORD  # dtype of a number; packed bits are u64 words in every ring
    compare_counts = staticmethod(compare_counts)

    def __init__(self) -> None:
        self.kernels = kernels()

    @property
    def drawn(self) -> int:
        """Bytes of its stream that a random word takes: in a field twice its own, so that it is as good as uniform."""
        return self.word.itemsize * (2 if self.primes else 1)

    # ---- memory and calls: what Shapes replaces, and `kernels` ----
    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any] | None = None) -> Array:
        return np.empty(shape, dtype or self.word)

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

    # ---- products of opened operands: x = (x_open - r), y = (y_open - s) ----
    def pair(self, f: Bilinear, x: Array, r: Array, y: Array, s: Array, offset: int, rho: Stream) -> Array:
        """f(x - 2r, y - 2s) + rho + offset: one product per party for two evaluators."""
        if f is MUL:
            x, r, y, s = self._even(x, r, y, s)
            z = self.empty(x.shape)
            self.kernels.mul_pair_u64(z, x, r, y, s, z.size, offset, rho.keys, rho.name, rho.at)
            return z
        start = self.blind(self.filled(f.shape(x.shape, y.shape), offset), 1, rho)
        return self.product(f, self.operand(x, r), self.operand(y, s), start)

    def _even(self, *xs: Array) -> list[Array]:
        """The arrays, contiguous and of one shape."""
        if any(x.shape != xs[0].shape for x in xs):
            xs = tuple(np.broadcast_arrays(*xs))
        return [self.solid(x) for x in xs]

    def operand(self, x: Array, r: Array) -> Array:
        """x - 2r."""
        x, r = self.solid(x), self.solid(r)
        out = self.empty(x.shape)
        self.kernels.operand_u64(out, x, r, out.size)
        return out

    def filled(self, shape: tuple[int, ...], value: int, dtype: np.dtype[Any] | None = None) -> Array:
        return np.full(shape, self.of(value) if dtype is None else value, dtype or self.word)

    def pair_deal(self, f: Bilinear, r: Sequence[Array], s: Sequence[Array], rho: Array) -> Array:
        """The mask under which `pair` leaves twice the product: rho + 2 f(r_0 - r_1, s_0 - s_1). Dealer."""
        if f is MUL:
            a, b, c, d = self._even(*r, *s)
            self.kernels.mul_pair_deal_u64(rho, a, b, c, d, rho.size)
            return rho
        left, right = self.sub(r[0], r[1]), self.sub(s[0], s[1])
        return self.product(f, self.add(left, left), right, rho)

    def beaver(
        self,
        f: Bilinear,
        x: Array,
        r: Array,
        y: Array,
        s: Array,
        first: bool,
        offset: int,
        t: Array | None,
        stream: Stream,
    ) -> Array:
        """[first] f(x, y) - f(x, s) - f(r, y) + t + offset; t = the stream's words where it is None."""
        if f is MUL:
            x, r, y, s = self._even(x, r, y, s)
            z = self.empty(x.shape)
            self.kernels.mul_beaver_u64(z, x, r, y, s, z.size, int(first), offset, t, stream.keys, stream.name, stream.at)
            return z
        shape = f.shape(x.shape, y.shape)
        start = self.prg(shape, stream) if t is None else t.copy()
        if offset:
            start = self.add(start, self.filled(shape, offset))
        start = self.product(f, self.sub(x, r) if first else self.neg(r), y, start)
        return self.product(f, self.neg(x), s, start)

    # ---- truncation ----
    def trunc(
        self,
        z: Array,
        others: Array | None,
        f: int,
        first: bool,
        dealt: Sequence[Array] | None,
        hi: Stream,
        top: Stream,
    ) -> Array:
        """Shares of floor((x + d) / 2^f) from c = z + others = x + 2^62 + r."""
        t = self.empty(z.shape)
        words = dealt if dealt is not None else (None, None)
        self.kernels.trunc_u64(t, z, others, t.size, f, int(first), *words, hi.keys, hi.name, top.name, hi.at)
        return t

    def trunc_deal(self, r: Array, f: int, hi: Stream, top: Stream) -> list[Array]:
        """Corrections for the last evaluator: shares of r >> f and of r's top bit (mod 2^f is enough)."""
        r = self.solid(r)
        out = [self.empty(r.shape), self.empty(r.shape, self.short(f))]
        self.kernels.trunc_deal_u64(*out, r, r.size, f, hi.keys, len(hi.keys), hi.name, top.name, hi.at)
        return out

    def chain(
        self,
        c: Array,
        t: Array,
        y: Array,
        q: Array,
        f: int,
        offset: int,
        wrap: Array | None,
        word: Stream,
        rho: int,
    ) -> Array:
        """My share of t y + rho + offset for t truncated by f <= 32 bits from the opened c, y opened under my mask q; wrap =
        the stream `word` where it is None."""
        c, t, y, q = map(self.solid, (c, t, y, q))
        z = self.empty(t.shape)
        self.kernels.chain_u64(z, c, t, y, q, z.size, f, offset, wrap, word.keys, word.name, rho, word.at)
        return z

    def chain_deal(self, r: Array, q: Array, f: int, word: Stream, rho: int) -> tuple[Array, Array]:
        """(correction of `wrap`, the mask of the sum of all `chain`) for the masks r of c and q of y; all of `word`'s keys."""
        r, q = self.solid(r), self.solid(q)
        wrap, hidden = self.empty(r.shape, HALF_WORD), self.empty(r.shape)
        self.kernels.chain_deal_u64(wrap, hidden, r, q, r.size, f, word.keys, len(word.keys), word.name, rho, word.at)
        return wrap, hidden

    # ---- select, bit to ring ----
    def select(self, x: Array, x_open: Array, bit_open: Array, dealt: Sequence[Array] | None, b: Stream, rb: Stream) -> Array:
        """Shares of x (1 - bit), bit_open = bit ^ beta packed."""
        x, x_open = self.solid(x), self.solid(x_open)
        y = self.empty(x.shape)
        words = dealt if dealt is not None else (None, None)
        self.kernels.select_u64(y, x, x_open, bit_open, y.size, *words, b.keys, b.name, rb.name, b.at)
        return y

    def select_deal(self, r: Array, beta: Array, b: Stream, rb: Stream) -> list[Array]:
        """Corrections: shares of beta and of r * beta."""
        r = self.solid(r)
        out = [self.empty(r.shape), self.empty(r.shape)]
        self.kernels.select_deal_u64(*out, r, beta, r.size, b.keys, len(b.keys), b.name, rb.name, b.at)
        return out

    def bit_words(self, shape: tuple[int, ...], bit: Array, first: bool, words: Array | None, stream: Stream) -> Array:
        """My share of bit ^ beta as words, from the opened packed bits and my share of beta (the stream's where None)."""
        y = self.empty(shape)
        self.kernels.bit_words_u64(y, bit, y.size, int(first), words, stream.keys, stream.name, stream.at)
        return y

    def spread(self, bits: Packed) -> Array:
        """Packed bits as words 0 and 1."""
        return bits.bytes().astype(WORD)

    # ---- comparison: planes are flat arrays of packed words ----
    def planes(self, count: int, n: int) -> Array:
        return self.empty((count * words_for(n),), WORD)

    def compare_leaves(
        self,
        x_open: Array,
        what: Comparison,
        first: bool,
        hot: Array | None,
        hot_stream: Stream,
        mask: Stream,
    ) -> tuple[Array, Array]:
        """(kept planes, factors to open)."""
        n, count = x_open.size, self.compare_counts(what)
        local, out = self.planes(count["local1"], n), self.planes(count["open1"], n)
        self.kernels.compare_leaves(
            *(local, out, self.solid(x_open), n, what.bits, 0, what.equal, what.tree, int(first), hot),
            *(hot_stream.keys, hot_stream.name, mask.name, hot_stream.at),
        )
        return local, out

    def compare_level(
        self,
        level: int,
        local: Array,
        mine: Array,
        others: Array,
        n: int,
        what: Comparison,
        first: bool,
        ands: Array | None,
        and_stream: Stream,
        mask: Stream,
    ) -> tuple[Array, Array | None]:
        """(kept planes, factors to open), or (the result, None) at the last level."""
        count = self.compare_counts(what)
        last = level == count["levels"]
        kept = self.planes(1 if last else count[f"local{level + 1}"], n)
        out = None if last else self.planes(count[f"open{level + 1}"], n)
        self.kernels.compare_level(
            *(kept, out, local, mine, others, n, level, *what, int(first), ands),
            *(and_stream.keys, and_stream.name, mask.name, and_stream.at),
        )
        return kept, out

    def compare_deal(self, r: Array, what: Comparison, again: bool, hot: Stream, mask: Stream, ands: Stream) -> list[Array]:
        """Corrections: one-hot planes of r's digits (unless `again`: dealt before) and the products of the AND masks."""
        n, count = r.size, self.compare_counts(what)
        out = [self.planes(count[k], n) for k in ("hot", "ands")[again:]]
        self.kernels.compare_deal(
            *(None, *out) if again else out,
            *(self.solid(r), n, what.bits, 0, what.equal, what.tree, hot.keys, len(hot.keys)),
            *(hot.name, mask.name, ands.name, hot.at),
        )
        return out

    def bit_plane(self, x: Array, bit: int) -> Array:
        """Packed bits: one bit of every word."""
        out = self.planes(1, x.size)
        self.kernels.bit_plane(out, self.solid(self.limbs(x)[bit // 64]), x.size, bit % 64)
        return out

    # ---- digits of a radix sort: arrays of half words, (..., 2^k - 1) entries ----
    def digits(self, bits: Packed) -> Array:
        """Bits along the last axis, lowest first, as numbers (uint8)."""
        planes = np.moveaxis(bits.bytes(), -1, 0)
        return reduce(lambda out, j: out | planes[j] << np.uint8(j), range(1, len(planes)), planes[0].copy())

    def digit_choose(self, entries: Array, digit: Array, k: int, total: int) -> Array:
        """Entries 0 .. 2^k - 2 moved by XOR with the public digit, from entries 1 .. 2^k - 1; all add up to `total`."""
        out = self.empty(entries.shape, HALF_WORD)
        self.kernels.digit_choose_u32(out, self.solid(entries), digit, digit.size, k, total)
        return out

    def digit_ranks(self, x: Array, r: Array | None, k: int, first: bool, total: int) -> Array:
        """sum_v ([first] x_v - r_v) S_v(x) - x_v S_v(r) in half words, S along the axis before the last; see the kernel."""
        *groups, n, _ = x.shape
        out = self.empty((*groups, n), HALF_WORD)
        self.kernels.digit_ranks_u32(out, x, r, prod(groups), n, k, int(first), total)
        return out

    # ---- lookup and spline ----
    def numbers(self, planes: Array, n: int) -> Array:
        """Words of n numbers of at most 8 bits, given as packed planes (bits, words), the lowest bit first."""
        octets = (Packed(plane, (n,)).bytes() << np.uint8(j) for j, plane in enumerate(planes))
        return self.of(reduce(np.bitwise_or, octets))

    def lookup(self, tables: Array, k: int, onehot: Array, index: Array, sign: int, exclusive: bool = False) -> Array:
        """(columns, n) words: sign * the masked sums of every table, one-hot shares and public indices, which were masked by
        addition or, if `exclusive`, by XOR (k <= 7)."""
        out = self.empty((len(tables), index.size))
        self.kernels.lookup_u64(out, tables, len(tables), k, onehot, self.solid(index), index.size, sign, exclusive)
        return out

    def lookup_deal(self, r: Array, k: int, stream: Stream) -> tuple[Array, Array]:
        """(one-hot correction, sign +-1 as words) for the mask digit r mod 2^k; the stream is P0's alone."""
        n = r.size
        e, s = self.empty((n * max(1, (1 << k) // 64),), WORD), self.empty((n,))
        self.kernels.lookup_deal_u64(e, s, self.solid(r), n, k, stream.keys, stream.name, stream.at)
        return e, s

    def spline(self, low: Array, opened: Array, words: Array | None, degree: int, stream: Stream) -> Array:
        """My share of the polynomial at low - r, from the opened columns (degree + 1, n)."""
        y = self.empty(low.shape)
        self.kernels.spline_u64(y, low, opened, words, y.size, degree, stream.keys, stream.name, stream.at)
        return y

    def spline_deal(self, r_low: Array, sign: Array, degree: int, weights: Stream, columns: Stream) -> Array:
        """Corrections of the words of `spline`; `columns` are the streams that mask the opened columns."""
        out = self.empty((spline_words(degree), r_low.size))
        ends = columns.keys, weights.name, columns.name, weights.at
        self.kernels.spline_deal_u64(out, r_low, sign, r_low.size, degree, *ends)
        return out

    def settled(self, t: Array, c: Array, bit: Array, f: int, words: Array | None, b: Stream, hi: Stream, top: Stream) -> Array:
        """Shares of t (1 - b) for t truncated by f bits from the opened c, `bit` = b ^ beta opened."""
        t, c = self.solid(t), self.solid(c)
        y = self.empty(t.shape)
        self.kernels.settled_u64(y, t, c, bit, y.size, f, words, b.keys, b.name, hi.name, top.name, b.at)
        return y


def spline_words(degree: int) -> int:
    """Rows of dealt words of a polynomial: s r^m for m = 0 .. degree, and one for every m <= j."""
    return (degree + 1) * (degree + 4) // 2
