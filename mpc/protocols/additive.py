"""Additive sharing among evaluators, with a dealer of correlated randomness who never sees a message of theirs.

x = x_0 + ... + x_{e-1} in the ring (XOR for bits). The gates are those of docs/protocols.md ("opened masks"), on the messages
of `dealt.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
from msgspec.structs import replace

from ..ring.bilinear import MUL, Bilinear
from ..ring.packed import Packed
from ..ring.prg import Stream
from ..ring.ring import Ring
from ..ring.shapes import blank
from ..ring.words import WORD, Array
from .base import (
    Exchange,
    Keys,
    Origin,
    Part,
    Settled,
    Share,
    Spec,
    Steps,
    Tape,
    is_open,
    together,
)
from .comparison import less
from .dealt import Dealt, Received, opening_of
from .exponential import exponential_gate
from .fields import Field
from .radix import digit_ranks_gate, key_bits_gate
from .rescale import rescale_gate
from .shuffle import common_order, passes
from .sine import sine_gate
from .spline import spline_gate

Operands = tuple[Array, Array, Array, Array]


@lru_cache(maxsize=1 << 12)  # a program has few shapes
def _truncation_specs(ring: Ring, shape: tuple[int, ...], bits: int, *chained: int) -> tuple[Spec, ...]:
    """What a truncation deals: shares of r >> bits and of r's top bit (mod 2^bits is enough), then a word for a product that is
    `chained` to a truncation by so many bits."""
    return ((ring.word.str, shape), *((ring.short(b).str, shape) for b in (bits, *chained)))


class Additive(Dealt):
    """n evaluators and a dealer process that owns no data. Private against any n - 1 evaluators, or the dealer alone."""

    trust = (
        "semi-honest: private against any n-1 of the n parties, or against the dealer alone; the dealer together with any "
        "one party learns everything; a party that deviates can change results unnoticed"
    )
    leaks = ("the public dither of each truncation: results are rounded by a coin that the parties know",)
    parties = range(2, 9)

    def __init__(self, me: int, n: int, ring: Ring, keys: Keys) -> None:
        super().__init__(me, n, ring, keys)
        if self.evaluators != 2:
            self.spline = self.exp = self.rescale = None  # type: ignore[method-assign, assignment]

    # ---- input and output ----
    def share(self, tape: Tape, owner: int, shape: tuple[int, ...], bits: bool, value: Part | None) -> Steps[Share]:
        """No message, unless the dealer owns the input: then the last evaluator receives a correction."""
        empty = self.ring.planes(1, int(np.prod(shape))) if bits else self.ring.empty(shape)
        name = tape.name.field(Field.INPUT)
        plain = value.words if isinstance(value, Packed) else value
        if self.me == owner:
            keys = self.key if self.deals else np.concatenate(list(self.pair_keys.values()))
            part = self._blinded(self.exact, plain, bits, -1, Stream(keys, name, tape.at))  # type: ignore[arg-type]
        elif owner == self.dealer:
            part = self._blinded(self.ring, self._zeros(empty), bits, 1, Stream(self.key, name, tape.at))
        elif self.deals:
            part = empty
        else:
            part = self._blinded(self.ring, self._zeros(empty), bits, 1, Stream(self.pair_keys[owner], name, tape.at))
        if owner == self.dealer:
            if self.deals:
                yield Exchange({self.last: [part]}, {})
                part = empty
            elif self.me == self.last:
                part = (yield Exchange({}, {owner: [(empty.dtype.str, empty.shape)]}))[owner][0]
            else:
                yield Exchange({}, {})
        return Share((Packed(part, shape) if bits else part,))

    def _zeros(self, like: Array) -> Array:
        return self.ring.filled(like.shape, 0, like.dtype)

    def _blinded(self, ring: Ring, x: Array, bits: bool, sign: int, stream: Stream) -> Array:
        if bits:
            return ring.blind_bits(x, replace(stream, at=stream.at // 64))
        return ring.blind(x, sign, stream)

    def reveal(self, tape: Tape, x: Share, to: tuple[int, ...]) -> Steps[Part | None]:
        """One round. Shares are re-randomised by a zero sharing among the evaluators first: a raw share may depend on
        more than the value, and the dealer knows every word it was made of."""
        part = x.parts[0].words if x.is_bits else x.parts[0]
        if not self.deals:
            for peer, key in self.pair_keys.items():
                zero = Stream(key, tape.name.field(Field.ZERO), tape.at)
                part = self._blinded(self.ring, part, x.is_bits, 1 if self.me < peer else -1, zero)
        send = {} if self.deals else {p: [self.ring.solid(part)] for p in to if p != self.me}
        sources = [p for p in range(self.evaluators) if p != self.me] if self.me in to else []
        got = yield Exchange(send, {p: [(part.dtype.str, part.shape)] for p in sources})
        if self.me not in to:
            return None
        ring = self.exact
        arrays = [got[p][0] for p in sources] + ([] if self.deals else [part])
        value = ring.xor(arrays) if x.is_bits else ring.total(arrays)
        return Packed(value, x.shape) if x.is_bits else value

    def constant(self, c: Array) -> Share:
        zero = c if self.first else blank(c.shape, c.dtype)
        return Share((Packed.of(zero) if c.dtype == np.uint8 else zero,))

    def add_public(self, x: Share, c: Array) -> Share:
        if x.is_bits:
            return self.xor(x, self.constant(np.broadcast_to(c, x.shape)))
        if self.first:
            return self.each(lambda a: self.ring.add(a, c), x)
        shape = np.broadcast_shapes(x.shape, c.shape)
        return self.each(lambda a: np.broadcast_to(a, shape), x)

    # ---- products and truncation ----
    def bilinear(self, tape: Tape, f: Bilinear, x: Share, y: Share, bits: int, rounding: str) -> Steps[Share]:
        """Operands are opened once (1 round unless they are already). Untruncated: Beaver, 8 B dealt. Truncated: one more
        round; the dealer's product moves into the mask of the opening, so it is never sent. Two evaluators: one product
        per party, 2xy = (x_open - 2 r_0)(y_open - 2 s_0) + (x_open - 2 r_1)(y_open - 2 s_1) - 2 (r_0 - r_1)(s_0 - s_1).
        """
        if f is MUL and bits and rounding == "dither" and x is not y:
            for a, b in ((x, y), (y, x)):
                if a.settled is not None and a.settled.chains and a.opening is None and x.parts[0].shape == y.parts[0].shape:
                    return self.chained(tape, a, b, bits)
        return self._opened(tape, f, x, y, bits, rounding)

    def _opened(self, tape: Tape, f: Bilinear, x: Share, y: Share, bits: int, rounding: str) -> Steps[Share]:
        opened_x, opened_y = yield from self.masked(x, y)
        operands: Operands = (opened_x.value, opened_x.mask, opened_y.value, opened_y.mask)
        shape = f.shape(x.shape, y.shape)
        if not bits:
            product = self.own(tape, Field.PRODUCT)

            def deal() -> list[Array]:
                return [self.exact.blind(self.exact.product(f, self.mask_total(x), self.mask_total(y)), -1, product)]

            dealt = (yield from self.exchange(dealt=[(self.word, shape)], deal=deal)).dealt
            return Share((self.ring.beaver(f, *operands, self.first, 0, dealt[0] if dealt else None, product),))

        pair = self.evaluators == 2
        shift = bits + pair  # the pair form leaves twice the product
        offset = self.offset(shift, rounding) if self.first else 0
        rho = self.own(tape, Field.RHO)
        if pair:
            z = self.ring.pair(f, *operands, offset, rho)
        else:
            z = self.ring.beaver(f, *operands, self.first, offset, None, rho)

        def mask() -> Array:
            total = self.exact.prg(shape, self.every(tape, Field.RHO))
            if pair:
                return self.exact.pair_deal(f, self.masks(x), self.masks(y), total)
            return self.exact.sub(total, self.exact.product(f, self.mask_total(x), self.mask_total(y)))

        return (yield from self.settle(tape, z, True, mask, shift, rounding))

    def chained(self, tape: Tape, t: Share, y: Share, bits: int) -> Steps[Share]:
        """t * y where t comes from a truncation: the word c opened there serves as t's opening, so the product takes 1 round
        (if y is open) and 8 bytes.

        t = C - (r >> s) + w r_m with C = (c >> s) - 2^(62-s) public and w = 2^(64-s) where c's top bit is 0, else 0. With
        y = F - q open: t F - C q - w r_m q = t y - (r >> s) q, and the dealer knows that last product. Not for matrix
        products: w, which the dealer does not know, would stand inside the sum.
        """
        settled = t.settled
        assert settled is not None
        opened = opening_of(y) if is_open(y) else (yield from self.masked(y))[0]
        hi, top, word = self.own(tape, Field.HI), self.own(tape, Field.TOP), self.own(tape, Field.CHAIN)
        known: list[Array] = []
        deal = partial(self._deal_chained, tape, settled, y, bits, hi, top, known)  # a closure takes ten times as long
        specs = _truncation_specs(self.exact, t.parts[0].shape, bits, settled.bits)
        dealt = yield from self.dealing(specs, deal)
        offset = self.offset(bits, "dither") if self.first else 0
        wrap = dealt[2] if dealt else None
        rho = tape.name.field(Field.RHO)
        z = self.ring.chain(settled.c, t.parts[0], opened.value, opened.mask, settled.bits, offset, wrap, word, rho)
        (others,) = yield from self.opened(z)
        return self._truncated(z, others, bits, dealt[:2] if dealt else None, known, hi, top)

    def _deal_chained(
        self, tape: Tape, settled: Settled, y: Share, bits: int, hi: Stream, top: Stream, known: list[Array]
    ) -> list[Array]:
        """What `chained` deals; the mask of the word that it opens becomes `known`."""
        assert settled.mask is not None
        every, rho = self.every(tape, Field.CHAIN), tape.name.field(Field.RHO)
        wrap, hidden = self.exact.chain_deal(settled.mask, self.mask_total(y), settled.bits, every, rho)
        known.append(hidden)
        return [*self.exact.trunc_deal(hidden, bits, hi, top), wrap]

    def trunc(self, tape: Tape, x: Share, bits: int, rounding: str) -> Steps[Share]:
        """From the one opening of x: 1 round if it is not open yet."""
        (opened,) = yield from self.masked(x)
        c = self.ring.add(opened.value, self.ring.of(self.offset(bits, rounding)))
        return (yield from self.settle(tape, c, False, lambda: self.mask_total(x), bits, rounding))

    def offset(self, bits: int, rounding: str) -> int:
        """2^62 makes |x| < 2^62 non-negative; nearest is the floor of x + half a unit."""
        return (1 << self.bits - 2) + (1 << bits - 1 if rounding == "nearest" else 0)

    def settle(self, tape: Tape, z: Array, hidden: bool, mask: Callable[[], Array], bits: int, rounding: str) -> Steps[Share]:
        """Shares of floor((x + d) / 2^bits) from c = x + 2^62 + r, of which z is my share (`hidden`) or which z is.

        d = 2^bits - 1 - (c mod 2^bits) is public and uniform. "floor" and "nearest" subtract [c_lo < r_lo], so that no coin
        is left in the result.
        """
        known: list[Array] = []
        hi, top = self.own(tape, Field.HI), self.own(tape, Field.TOP)

        def deal() -> list[Array]:
            known.append(mask())
            return self.exact.trunc_deal(known[0], bits, hi, top)

        specs = _truncation_specs(self.exact, z.shape, bits)
        got = yield from self.exchange([z] if hidden else [], dealt=specs, deal=deal)
        t = self._truncated(self.ring.solid(z), got.words[0] if hidden else None, bits, got.dealt, known, hi, top)
        if rounding == "dither":
            return t
        assert t.settled is not None
        (below,) = yield from less(self, tape, t.settled.c, lambda: known[0], bits)
        return self.sub(Share(t.parts), (yield from self.bit_to_word(tape, below, z.shape)))

    def _truncated(
        self,
        z: Array,
        others: Array | None,
        bits: int,
        dealt: Sequence[Array] | None,
        known: Sequence[Array],
        hi: Stream,
        top: Stream,
    ) -> Share:
        """Shares of floor((x + d) / 2^bits) from c = z + others; `known`: the mask of c, at the dealer."""
        t = Share((self.ring.trunc(z, others, bits, self.first, dealt, hi, top),))
        c = z if others is None else self.ring.add(z, others)
        t.settled = Settled(c, bits, known[0] if self.deals else None)
        return t

    def settle_unless(self, tape: Tape, z: Array, mask: Callable[[], Array], bits: int, b: Array) -> Steps[Share]:
        """`settle` with dither, multiplied by 1 - b for packed shares b: the opened word serves the truncation and the
        product, so the result needs no opening of its own. 1 round, 36 bytes dealt."""
        hi, top = self.own(tape, Field.HI), self.own(tape, Field.TOP)

        def deal(beta: Array) -> list[Array]:
            r = mask()
            return [*self.exact.trunc_deal(r, bits, hi, top), self._weigh(tape, r, bits, beta)]

        specs = [*_truncation_specs(self.exact, z.shape, bits), (self.word, (3, *z.shape))]
        bit, got = yield from self.open_bit(tape, b, specs, deal, [z])
        dealt = got.dealt
        t = self.ring.trunc(z, got.words[0], bits, self.first, dealt[:2] if dealt else None, hi, top)
        c = self.ring.add(z, got.words[0])
        return self._unless_settled(tape, t, c, bits, bit, dealt[2] if dealt else None)

    def _weights(self, tape: Tape) -> list[Stream]:
        return [self.own(tape, field) for field in (Field.BIT, Field.BIT_HI, Field.BIT_TOP)]

    def _weigh(self, tape: Tape, r: Array, bits: int, beta: Array) -> Array:
        """Dealer: corrections of beta, beta (r >> bits) and beta (r's top bit), one row each."""
        bit = self.exact.spread(Packed(beta, r.shape))
        out = self.exact.empty((3, *r.shape))
        for row, (shift, stream) in enumerate(zip((None, bits, self.bits - 1), self._weights(tape), strict=True)):
            word = bit if shift is None else self.exact.mul(self.exact.shift_right(r, shift), bit)
            self.exact.blind(word, -1, stream, out=out[row])
        return out

    def _unless_settled(self, tape: Tape, t: Array, c: Array, bits: int, bit: Array, dealt: Array | None) -> Share:
        """t (1 - b) for t truncated from the opened c, b opened as b ^ beta:
        t beta = C beta - (r >> f) beta + (1 - c's top bit) 2^(64-f) (r's top bit) beta, C = (c >> f) - 2^(62-f)."""
        return Share((self.ring.settled(t, c, bit, bits, dealt, *self._weights(tape)),))

    # ---- comparison ----
    def signs(self, tape: Tape, x: Share, values: Sequence[int], bits: int | None = None) -> Steps[list[Array]]:
        """Packed shares of [x < v] for public v with -2^bits <= x - v < 2^bits, from the one opening of x: bit `bits` of x - v
        is that of x_open - v ^ r ^ borrow. By default the top bit: exact unless x - v overflows, for v = 0 always."""
        bits = self.bits - 1 if bits is None else bits
        (opened,) = yield from self.masked(x)
        return (yield from less(self, tape, opened.value, lambda: self.mask_total(x), bits, sign_bit=bits, values=values))

    def ltz(self, tape: Tape, x: Share, bits: int | None = None) -> Steps[Share]:
        (b,) = yield from self.signs(tape, x, [0], bits)
        return Share((Packed(b, x.shape),))

    def eqz(self, tape: Tape, x: Share, bits: int | None = None) -> Steps[Share]:
        (opened,) = yield from self.masked(x)
        window = self.bits if bits is None else bits + 1
        (b,) = yield from less(self, tape, opened.value, lambda: self.mask_total(x), window, equal=True)
        return Share((Packed(b, x.shape),))

    # ---- bits ----
    def open_bit(
        self,
        tape: Tape,
        b: Array,
        dealt: Sequence[Spec],
        deal: Callable[[Array], list[Array]],
        words: Sequence[Array] = (),
        beta: int = Field.BETA,
    ) -> Steps[tuple[Array, Received]]:
        """(b ^ beta opened, what else came): one bit each, and `words` in the same message; `deal` gets the dealer's beta."""
        stream = self.own(replace(tape, at=tape.at // 64), beta)
        mine = self.ring.blind_bits(b, stream)

        def with_beta() -> list[Array]:
            zero = self.exact.filled(b.shape, 0, WORD)
            return deal(self.exact.blind_bits(zero, replace(stream, keys=self.all_keys)))

        got = yield from self.exchange(words, [mine], dealt, with_beta)
        return self.ring.xor([mine, *got.bits]), got

    def bit_to_word(
        self, tape: Tape, b: Array, shape: tuple[int, ...], beta: int = Field.BETA, word: int = Field.BIT
    ) -> Steps[Share]:
        """Shares of packed bits as words 0 and 1: b = bit ^ beta = bit + (1 - 2 bit) beta with `bit` opened. 1 round."""
        stream = self.own(tape, word)

        def deal(beta: Array) -> list[Array]:
            return [self.exact.blind(self.exact.spread(Packed(beta, shape)), -1, stream)]

        opened, got = yield from self.open_bit(tape, b, [(self.word, shape)], deal, beta=beta)
        return Share((self.ring.bit_words(shape, opened, self.first, got.dealt[0] if got.dealt else None, stream),))

    def b2a(self, tape: Tape, b: Share) -> Steps[Share]:
        return (yield from self.bit_to_word(tape, b.parts[0].words, b.shape))

    def unless(
        self, tape: Tape, b: Array, x: Share, beta: int = Field.BETA, bit: int = Field.BIT, bit_r: int = Field.BIT_R
    ) -> Steps[Share]:
        """Shares of x (1 - b). The opening of x (if it is not open) and of the bit share a round."""
        one, with_r = self.own(tape, bit), self.own(tape, bit_r)

        def deal(beta: Array) -> list[Array]:
            return self.exact.select_deal(self.mask_total(x), beta, one, with_r)

        (opened,), (hidden, got) = yield from together(
            self.masked(x), self.open_bit(tape, b, [(self.word, x.shape)] * 2, deal, beta=beta)
        )
        return Share((self.ring.select(x.parts[0], opened.value, hidden, got.dealt, one, with_r),))

    def select(self, tape: Tape, b: Share, x: Share, y: Share) -> Steps[Share]:
        difference = self.sub(y, x)
        difference.origin = Origin(tape.name, Field.DELTA, tape.at)
        return self.add(x, (yield from self.unless(tape, b.parts[0].words, difference)))

    def keep(self, tape: Tape, b: Share, x: Share) -> Steps[Share]:
        """Shares of x where b, else 0: 1 round, in which x is opened unless it is open already; 16 bytes dealt."""
        return self.sub(x, (yield from self.unless(tape, b.parts[0].words, x)))

    def relu(self, tape: Tape, x: Share, bits: int | None = None) -> Steps[Share]:
        """max(x, 0), exact: 4 rounds, 12.2 bytes online an element (by a deep tree 5, 14). For an x that was just truncated 3
        rounds and 4.2 bytes: the word c opened then shows the sign (which can differ from x's only where x = 0) and serves the
        product."""
        settled = x.settled
        if settled is None or x.opening is not None:
            (b,) = yield from self.signs(tape, x, [0], bits)
            return (yield from self.unless(tape, b, x))
        mask, shift = settled.mask, settled.bits

        def known() -> Array:
            assert mask is not None
            return mask

        product = self.ring.sub(settled.c, self.ring.of(1 << self.bits - 2))
        (b,) = yield from less(self, tape, product, known, self.bits - 1, sign_bit=self.bits - 1)
        specs = [(self.word, (3, *x.shape))]
        bit, got = yield from self.open_bit(tape, b, specs, lambda beta: [self._weigh(tape, known(), shift, beta)])
        return self._unless_settled(tape, x.parts[0], settled.c, shift, bit, got.dealt[0] if got.dealt else None)

    def thresholds(self, tape: Tape, x: Share, *, values: Sequence[int], bits: int) -> Steps[Share]:
        """Shares of [x >= v] for every v, along a new first axis: x is opened once, its one-hots are dealt once."""
        planes = yield from self.signs(tape, x, values, bits)
        rows = [Packed(b, x.shape).bytes().reshape(1, *x.shape) for b in planes]
        return self.add_public(Share((Packed.of(self.ring.concatenate(rows, 0)),)), np.ones((), np.uint8))

    def spline(self, tape: Tape, x: Share, **params: Any) -> Steps[Share]:
        """See `spline.py`; two evaluators only."""
        return (yield from spline_gate(self, tape, x, **params))

    def exp(self, tape: Tape, x: Share, **params: Any) -> Steps[Share]:
        """See `exponential.py`; two evaluators only."""
        return (yield from exponential_gate(self, tape, x, **params))

    def rescale(self, tape: Tape, x: Share, **params: Any) -> Steps[list[Share]]:
        """See `rescale.py`; two evaluators only."""
        return (yield from rescale_gate(self, tape, x, **params))

    def key_bits(self, tape: Tape, x: Share, **params: Any) -> Steps[Share]:
        """See `radix.py`."""
        return (yield from key_bits_gate(self, tape, x, **params))

    def digit_ranks(self, tape: Tape, digit: Share) -> Steps[Share]:
        """See `radix.py`."""
        return (yield from digit_ranks_gate(self, tape, digit.parts[0].words, digit.shape))

    def shuffle(self, tape: Tape, *columns: Share) -> Steps[list[Share]]:
        """See `shuffle.py`: a round for every evaluator."""
        return (yield from passes(self, tape, common_order(self, tape, columns)))

    def permute(self, tape: Tape, by: Share, *columns: Share, shift: int) -> Steps[list[Share]]:
        """A round for every evaluator, and one in which they see `by` in the order that the dealer alone knows."""
        shuffled = yield from passes(self, tape, [by, *columns])
        return (yield from self.placed(tape, *shuffled, shift=shift))

    def sin(self, tape: Tape, x: Share, **params: Any) -> Steps[Share]:
        """See `sine.py`; the phase makes it a cosine."""
        return (yield from sine_gate(self, tape, x, **params))

    cos = sin

    def and_(self, tape: Tape, x: Share, y: Share, field: int = Field.AND_X) -> Steps[Share]:
        """Beaver on packed bits: 2 bits opened, 1 bit dealt an element. field: of the masks of x, y and their product."""
        bits = replace(tape, at=tape.at // 64)
        fields = (field, field + 1)
        parts = [x.parts[0].words, y.parts[0].words]
        mine = [self.ring.blind_bits(p, self.own(bits, f)) for p, f in zip(parts, fields, strict=True)]
        a, b, product = (self.own(bits, f) for f in (*fields, field + 2))

        def deal() -> list[Array]:
            every = self.every(bits, field)
            return [self.exact.and_deal_bits(parts[0].shape, every, b.name, product.name)]

        got = yield from self.exchange(bits=mine, dealt=[(WORD.str, parts[0].shape)], deal=deal)
        dealt = got.dealt[0] if got.dealt else None
        return Share((Packed(self.ring.and_bits(mine, got.bits, self.first, dealt, a, b.name, product.name), x.shape),))
