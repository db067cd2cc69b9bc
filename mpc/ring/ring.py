"""The arithmetic a protocol may use: Z_2^64 on arrays of words, bits on packed words, and the same on shapes alone.

A protocol is written over a `Ring`. `Ring()` computes with the native kernels; other rings (`composed.py`, `wide.py`,
`residues.py`) have words of another dtype, which only their methods look into. `Shapes(ring)` (`shapes.py`) is the same text
with the kernels switched off: every array is a *blank* (a read-only array of one repeated zero, whatever its shape), so a
program can be rehearsed on any size in no time and no memory. Fused kernels are methods here; what each computes is defined in
`native/mpc_kernels.h`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, reduce
from math import prod
from typing import NamedTuple

import numpy as np

from .bilinear import MUL, Bilinear
from .kernels import kernels
from .packed import Packed
from .prg import Stream
from .words import HALF_WORD, WORD, Array, Words, words_for

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


class Ring(Words):
    """Z_2^64 (arrays of uint64) and packed bits, with the fused steps of gates, on the native kernels."""

    compare_counts = staticmethod(compare_counts)

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
