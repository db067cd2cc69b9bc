"""Every fused kernel of `Ring` made of elementary operations: what a ring needs to run all protocols.

A ring derives from `Composed` and says what a word is (`word`, `of`, `integers`, `limbs`), adds, multiplies and shifts words,
and adds streams to them (`blind`). Comparisons are those of `Ring`, on words of 64 bits.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from math import comb
from typing import Any

import numpy as np
from msgspec.structs import replace

from .bilinear import Bilinear
from .fixed import checked, exponential
from .packed import Packed
from .prg import Stream
from .ring import Ring, spline_words
from .words import HALF_WORD, WORD, Array


class Composed(Ring):
    """Z_2^bits by elementary operations."""

    @abstractmethod
    def blind(self, x: Array, sign: int, stream: Stream, out: Array | None = None) -> Array:
        """x + sign * (sum over the stream's keys of their words); `out` may be x."""

    # ---- random words ----
    def prg(self, shape: tuple[int, ...], stream: Stream) -> Array:
        return self.blind(self.filled(shape, 0), 1, stream)

    def mask(self, x: Array, stream: Stream) -> tuple[Array, Array]:
        r = self.prg(x.shape, stream)
        return self.add(x, r), r

    def exponential(self, v: Array, fraction: int, sign: int, bits: int) -> Array:
        return self.local(
            lambda v: self.encode(exponential(sign * self.decode(self.remainder(v, fraction), fraction)), bits), v
        )

    # ---- numbers that count modulo 2^f: words of `short(f)` ----
    def shorts(self, shape: tuple[int, ...], stream: Stream, f: int) -> Array:
        """The sum over the stream's keys of such numbers, as words."""
        half = self.short(f) == HALF_WORD
        return self.of(self.blind_half(np.zeros(shape, HALF_WORD), 1, stream)) if half else self.prg(shape, stream)

    def short_less(self, x: Array, stream: Stream, f: int) -> Array:
        """x less the sum over the stream's keys, modulo 2^f at least."""
        if self.short(f) != HALF_WORD:
            return self.blind(x, -1, stream)
        return self.blind_half(self.limbs(x)[0].astype(HALF_WORD), -1, stream)

    def from_short(self, x: Array) -> Array:
        """Such numbers as words."""
        return x if x.dtype == self.word else self.of(x)

    # ---- products ----
    def operand(self, x: Array, r: Array) -> Array:
        return self.sub(self.sub(x, r), r)

    def pair(self, f: Bilinear, x: Array, r: Array, y: Array, s: Array, offset: int, rho: Stream) -> Array:
        product = self.product(f, self.operand(x, r), self.operand(y, s))
        return self.blind(self.add(product, self.of(offset)), 1, rho)

    def pair_deal(self, f: Bilinear, r: Sequence[Array], s: Sequence[Array], rho: Array) -> Array:
        product = self.product(f, self.sub(r[0], r[1]), self.sub(s[0], s[1]))
        return self.add(rho, self.add(product, product))

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
        z = self.prg(f.shape(x.shape, y.shape), stream) if t is None else t
        z = self.sub(self.sub(z, self.product(f, x, s)), self.product(f, r, y))
        z = self.add(z, self.of(offset))
        return self.add(z, self.product(f, x, y)) if first else z

    # ---- truncation ----
    def _settled(self, c: Array, f: int) -> tuple[Array, Array]:
        """(C, w): t = C - (r >> f) + w (r's top bit) for t truncated from the opened c."""
        value = self.sub(self.shift_right(c, f), self.of(1 << self.bits - 2 - f))
        wrap = self.sub(self.of(1), self.shift_right(c, self.bits - 1))
        return value, self.shift_left(wrap, self.bits - f)

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
        value, wrap = self._settled(z if others is None else self.add(z, others), f)
        if dealt is None:
            upper, sign = self.prg(z.shape, hi), self.shorts(z.shape, top, f)
        else:
            upper, sign = dealt[0], self.from_short(dealt[1])
        t = self.sub(self.mul(wrap, sign), upper)
        return self.add(t, value) if first else t

    def trunc_deal(self, r: Array, f: int, hi: Stream, top: Stream) -> list[Array]:
        sign = self.shift_right(r, self.bits - 1)
        return [self.blind(self.shift_right(r, f), -1, hi), self.short_less(sign, top, f)]

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
        value, where = self._settled(c, f)
        dealt = self.shorts(t.shape, word, f) if wrap is None else self.from_short(wrap)
        z = self.sub(self.sub(self.mul(t, y), self.mul(value, q)), self.mul(where, dealt))
        return self.blind(self.add(z, self.of(offset)), 1, replace(word, name=rho))

    def chain_deal(self, r: Array, q: Array, f: int, word: Stream, rho: int) -> tuple[Array, Array]:
        wrap = self.mul(self.shift_right(r, self.bits - 1), q)
        hidden = self.neg(self.mul(self.shift_right(r, f), q))
        heads = replace(word, keys=word.keys[:-1])
        return self.short_less(wrap, heads, f), self.blind(hidden, 1, replace(word, name=rho))

    # ---- bits and words ----
    def chosen(self, bit: Array, one: Array, zero: Array) -> Array:
        """`one` where the packed bit is set, else `zero`."""
        return np.where(Packed(bit, one.shape).bytes().astype(bool), one, zero)

    def spread(self, bits: Packed) -> Array:
        return self.of(bits.bytes())

    def select(self, x: Array, x_open: Array, bit_open: Array, dealt: Sequence[Array] | None, b: Stream, rb: Stream) -> Array:
        beta, with_r = dealt if dealt is not None else (self.prg(x.shape, b), self.prg(x.shape, rb))
        product = self.sub(self.mul(x_open, beta), with_r)
        return self.chosen(bit_open, product, self.sub(x, product))

    def select_deal(self, r: Array, beta: Array, b: Stream, rb: Stream) -> list[Array]:
        bit = self.spread(Packed(beta, r.shape))
        return [self.blind(bit, -1, b), self.blind(self.mul(bit, r), -1, rb)]

    def bit_words(self, shape: tuple[int, ...], bit: Array, first: bool, words: Array | None, stream: Stream) -> Array:
        w = self.prg(shape, stream) if words is None else words
        return self.chosen(bit, self.sub(self.of(int(first)), w), w)

    def settled(self, t: Array, c: Array, bit: Array, f: int, words: Array | None, b: Stream, hi: Stream, top: Stream) -> Array:
        value, wrap = self._settled(c, f)
        beta, upper, sign = words if words is not None else (self.prg(t.shape, s) for s in (b, hi, top))
        product = self.add(self.sub(self.mul(value, beta), upper), self.mul(wrap, sign))
        return self.chosen(bit, product, self.sub(t, product))

    # ---- lookup and spline ----
    def lookup(self, tables: Array, k: int, onehot: Array, index: Array, sign: int, exclusive: bool = False) -> Array:
        n, size = index.size, 1 << k
        vectors, place = onehot.reshape(n, -1), self.limbs(index)[0]
        total = self.filled((len(tables), n), 0)
        for w in range(size):
            at = place ^ np.uint64(w) if exclusive else place - np.uint64(w)
            entry = tables[:, (at & np.uint64(size - 1)).astype(np.int64)]
            bit = (vectors[:, w // 64] >> np.uint64(w % 64) & np.uint64(1)).astype(bool)
            total = np.where(bit, self.add(total, entry), total)
        return total if sign > 0 else self.neg(total)

    def lookup_deal(self, r: Array, k: int, stream: Stream) -> tuple[Array, Array]:
        n, size, blocks = r.size, 1 << k, max(1, (1 << k) // 64)
        place = self.limbs(r)[0] & np.uint64(size - 1)
        e0 = self.packed((n * blocks,), replace(stream, at=stream.at * blocks)) & np.uint64((1 << min(64, size)) - 1)
        vectors, rows, column = e0.reshape(n, -1), np.arange(n), (place // np.uint64(64)).astype(np.int64)
        bit = vectors[rows, column] >> place % np.uint64(64) & np.uint64(1)
        sign = self.of(2 * bit.astype(np.int64) - 1)
        vectors[rows, column] ^= np.uint64(1) << place % np.uint64(64)
        return vectors.reshape(-1), sign

    def spline(self, low: Array, opened: Array, words: Array | None, degree: int, stream: Stream) -> Array:
        if words is None:
            words = [self.prg(low.shape, replace(stream, name=stream.name + k)) for k in range(spline_words(degree))]  # type: ignore[assignment]
        assert words is not None
        total = self.filled(low.shape, 0)
        for j in range(degree + 1):
            for m in range(j + 1):
                term = self.sub(self.mul(opened[j], words[m]), words[degree + 1 + j * (j + 1) // 2 + m])
                for factor in [low] * (j - m):
                    term = self.mul(term, factor)
                total = self.add(total, self.mul(term, self.of((-1) ** m * comb(j, m))))
        return total

    def spline_deal(self, r_low: Array, sign: Array, degree: int, weights: Stream, columns: Stream) -> Array:
        power = [sign]
        for _ in range(degree):
            power.append(self.mul(power[-1], r_low))
        rho = [self.prg(r_low.shape, replace(columns, name=columns.name + j)) for j in range(degree + 1)]
        rows = power + [self.mul(rho[j], power[m]) for j in range(degree + 1) for m in range(j + 1)]
        out = self.empty((len(rows), *r_low.shape))
        for k, row in enumerate(rows):
            self.blind(row, -1, Stream(columns.keys[:1], weights.name + k, weights.at), out=out[k])
        return out


class Narrow(Composed):
    """Z_2^32 on arrays of uint32: half the bytes, for small ranges."""

    name = "2^32"
    bits = 32
    word = HALF_WORD

    def of(self, values: Any) -> Array:
        return super().of(values).astype(HALF_WORD)

    def integers(self, x: Array) -> Array:
        return x.view(np.int32).astype(np.int64)

    def limbs(self, x: Array) -> list[Array]:
        return [x.astype(WORD)]

    def from_limbs(self, limbs: Sequence[Array]) -> Array:
        return limbs[0].astype(HALF_WORD)

    def encode(self, x: Array, fraction: int) -> Array:
        x = np.asarray(x, np.float64)
        finite, large = np.isfinite(x), np.abs(x) >= 2.0 ** (self.bits - 2 - fraction)
        checked(x, np.array([np.count_nonzero(~finite), np.count_nonzero(finite & large)]), self.bits, fraction)
        return super().encode(x, fraction).astype(HALF_WORD)

    def decode(self, x: Array, fraction: int) -> Array:
        return super().decode(self.integers(x).view(WORD), fraction)

    def shift_left(self, x: Array, bits: int) -> Array:
        return self.local(lambda v: v << np.uint32(bits), x)

    def shift_right(self, x: Array, bits: int) -> Array:
        return self.local(lambda v: v >> np.uint32(bits), x)

    def remainder(self, x: Array, bits: int) -> Array:
        return self.local(lambda v: v & np.uint32((1 << bits) - 1), x)

    def sum(self, x: Array, axis: tuple[int, ...]) -> Array:
        return np.asarray(np.sum(x, axis=axis, dtype=HALF_WORD))

    def cumsum(self, x: Array, axis: int) -> Array:
        return np.cumsum(x, axis=axis, dtype=HALF_WORD)

    def blind(self, x: Array, sign: int, stream: Stream, out: Array | None = None) -> Array:
        found = self.blind_half(x, sign, stream)
        if out is None:
            return found
        out[...] = found
        return out
