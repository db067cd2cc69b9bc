"""Additive sharing among evaluators, with a dealer of correlated randomness who never sees a message of theirs.

x = x_0 + ... + x_{e-1} mod 2^64 (XOR for bits). The gates are those of docs/protocols.md ("opened masks"): a wire is opened
once as x + r under a mask r whose shares come from seeds; the dealer knows r and deals, from the public program alone, what
depends on it. A dealt value is split by seeds too: evaluators 0 .. e-2 expand their words, only the last one receives a
correction. Every gate is written once for all roles: the dealer runs the same text with blanks for shares, and computes
what `exchange` asks it to deal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum

import numpy as np

from ..ring.bilinear import Bilinear
from ..ring.packed import Packed
from ..ring.prg import Stream
from ..ring.ring import HALF_WORD, TOP_SHIFT, WORD, Array, Ring, Shapes, compare_counts, words_for
from .base import IDLE, PENDING, Exchange, Keys, Opening, Origin, Part, Protocol, Share, Spec, Steps, Tape, together


class Field(IntEnum):
    """What a random word of an equation is for. 0..15 are the masks under which the equation's outputs may be opened."""

    INPUT = 16
    ZERO = 17  # zero sharing of a reveal
    PRODUCT = 18  # dealt product of two masks
    RHO = 19  # masks the opening of a product
    HI = 20  # dealt r >> f
    TOP = 21  # dealt top bit of r, for truncation
    HOT = 22  # dealt one-hot planes
    NODE = 23  # masks of the factors of a comparison tree
    AND1 = 24  # dealt products of those
    AND2 = 25
    SIGN = 26  # dealt plane of r's top bit
    BETA = 27  # masks the opening of a bit
    BIT = 28  # dealt beta as a word
    BIT_R = 29  # dealt beta * r
    DELTA = 30  # mask of the difference in a select
    AND_X = 31
    AND_Y = 32
    AND_XY = 33


Deal = Callable[[], list[Array]]
Operands = tuple[Array, Array, Array, Array]


class Additive(Protocol):
    """n evaluators and a dealer process that owns no data. Private against any n - 1 evaluators, or the dealer alone."""

    trust = (
        "semi-honest: private against any n-1 of the n parties, or against the dealer alone; the dealer together with any "
        "one party learns everything; a party that deviates can change results unnoticed"
    )
    leaks = ("the public dither of each truncation: results are rounded by a coin that the parties know",)
    parties = range(2, 6)
    has_dealer = True

    def __init__(self, me: int, n: int, ring: Ring, keys: Keys) -> None:
        super().__init__(me, n, ring, keys)
        self.evaluators, self.dealer = self._roles(n)
        self.last = self.evaluators - 1
        self.deals = me == self.dealer
        self.first = me == 0
        # every other party that opens with me
        self.peers = [] if self.deals else [p for p in range(self.evaluators) if p != me]
        heads = [keys(p, "deal") for p in range(self.evaluators)] if self.deals else [keys(self.dealer, "deal")]
        self.all_keys = np.concatenate(heads)
        self.key = self.all_keys[: self.last] if self.deals else self.all_keys
        self.pair_keys = {p: keys(p, "pair") for p in self.peers}
        self.exact = ring  # what the dealer knows in full, it computes for real; its shares are blanks
        if self.deals:
            self.ring = Shapes()

    @staticmethod
    def _roles(n: int) -> tuple[int, int]:
        """(number of evaluators, the dealer's index)."""
        return n, n

    # ---- randomness ----
    def own(self, tape: Tape, field: int) -> Stream:
        """My stream; at the dealer, those of the evaluators that expand their dealt words (all but the last)."""
        return Stream(self.key, tape.name.field(field), tape.at)

    def every(self, tape: Tape, field: int) -> Stream:
        """Dealer: the streams of all evaluators, whose sum is a mask."""
        return Stream(self.all_keys, tape.name.field(field), tape.at)

    def masks(self, x: Share) -> list[Array]:
        """Dealer: every evaluator's share of the mask of x."""
        if x.parent is not None:
            assert x.view is not None
            return [x.view(r) for r in self.masks(x.parent)]
        name, field, at = x.origin  # type: ignore[misc]
        return [
            self.exact.prg(x.shape, Stream(self.all_keys[i : i + 1], name.field(field), at)) for i in range(self.evaluators)
        ]

    def mask_total(self, x: Share) -> Array:
        return self.exact.total(self.masks(x))

    # ---- messages ----
    def exchange(
        self, mine: Sequence[Array], dealt: Sequence[Spec] = (), deal: Deal | None = None, bits: bool = False
    ) -> Steps[tuple[list[Array], list[Array] | None]]:
        """One yield: opens `mine` to the other evaluators and deals.

        Returns (the sum, XOR for `bits`, of the others' arrays, what was dealt to me or None if I expand it).
        `deal` is called at the dealer alone and returns arrays as `dealt` specifies.
        """
        turn = bool(mine)
        if self.deals:
            yield Exchange({self.last: deal()} if deal else {}, {}, turn)
            return list(mine), None
        mine = [self.ring.solid(a) for a in mine]
        expected = {p: [(a.dtype.str, a.shape) for a in mine] for p in self.peers} if mine else {}
        if self.me == self.last and dealt:
            expected[self.dealer] = list(dealt)
        got = yield Exchange(dict.fromkeys(self.peers, mine) if mine else {}, expected, turn)
        join = self.ring.xor if bits else self.ring.total
        others = [join(arrays) for arrays in zip(*(got[p] for p in self.peers), strict=True)] if mine else []
        return others, got[self.dealer] if self.dealer in expected else None

    def masked(self, x: Share) -> Steps[Opening]:
        """x + r for the one mask r of this share vector. One round, 8 bytes an element, the first time; then nothing."""
        while x.opening is PENDING:
            yield IDLE
        if x.opening is None and x.parent is not None:
            assert x.view is not None
            whole = yield from self.masked(x.parent)
            x.opening = Opening(x.view(whole.value), x.view(whole.mask))
        elif x.opening is None:
            assert x.origin is not None, "a share without a name cannot be opened"
            x.opening = PENDING
            m, r = self.ring.mask(x.parts[0], self.own(Tape(x.origin.name, x.origin.at), x.origin.field))
            (others,), _ = yield from self.exchange([m])
            x.opening = Opening(self.ring.add(m, others), r)
        return x.opening

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
        return self.ring.filled(like.shape, 0)

    def _blinded(self, ring: Ring, x: Array, bits: bool, sign: int, stream: Stream) -> Array:
        if bits:
            return ring.blind_bits(x, stream._replace(at=stream.at // 64))
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
        zero = c if self.first else np.zeros_like(c)
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
        opened_x, opened_y = yield from together(self.masked(x), self.masked(y))
        operands: Operands = (opened_x.value, opened_x.mask, opened_y.value, opened_y.mask)
        shape = f.shape(x.shape, y.shape)
        if not bits:
            product = self.own(tape, Field.PRODUCT)

            def deal() -> list[Array]:
                return [self.exact.blind(self.exact.product(f, self.mask_total(x), self.mask_total(y)), -1, product)]

            _, dealt = yield from self.exchange([], [(WORD.str, shape)], deal)
            return Share((self.ring.beaver(f, *operands, self.first, 0, dealt[0] if dealt else None, product),))

        pair = self.evaluators == 2
        shift = bits + pair  # the pair form leaves twice the product
        offset = self._offset(shift, rounding) if self.first else 0
        rho = self.own(tape, Field.RHO)
        if pair:
            z = self.ring.pair(f, *operands, offset, rho)
        else:
            z = self.ring.beaver(f, *operands, self.first, offset, None, rho)

        def mask() -> Array:
            total = self.exact.blind(self.exact.filled(shape, 0), 1, self.every(tape, Field.RHO))
            if pair:
                return self.exact.pair_deal(f, self.masks(x), self.masks(y), total)
            return self.exact.sub(total, self.exact.product(f, self.mask_total(x), self.mask_total(y)))

        return (yield from self._settle(tape, z, True, mask, shift, rounding))

    def trunc(self, tape: Tape, x: Share, bits: int, rounding: str) -> Steps[Share]:
        """From the one opening of x: 1 round if it is not open yet."""
        opened = yield from self.masked(x)
        c = self.ring.add(opened.value, self.ring.filled(x.shape, self._offset(bits, rounding)))
        return (yield from self._settle(tape, c, False, lambda: self.mask_total(x), bits, rounding))

    @staticmethod
    def _offset(bits: int, rounding: str) -> int:
        """2^62 makes |x| < 2^62 non-negative; nearest is the floor of x + half a unit."""
        return (1 << TOP_SHIFT) + (1 << bits - 1 if rounding == "nearest" else 0)

    def _settle(self, tape: Tape, z: Array, hidden: bool, mask: Callable[[], Array], bits: int, rounding: str) -> Steps[Share]:
        """Shares of floor((x + d) / 2^bits) from c = x + 2^62 + r, of which z is my share (`hidden`) or which z is.

        d = 2^bits - 1 - (c mod 2^bits) is public and uniform. "floor" and "nearest" subtract [c_lo < r_lo], so that no coin
        is left in the result.
        """
        known: list[Array] = []
        hi, top = self.own(tape, Field.HI), self.own(tape, Field.TOP)

        def deal() -> list[Array]:
            known.append(mask())
            return self.exact.trunc_deal(known[0], bits, hi, top)

        specs = [(WORD.str, z.shape), ((HALF_WORD if bits <= 32 else WORD).str, z.shape)]
        others, dealt = yield from self.exchange([z] if hidden else [], specs, deal)
        z = self.ring.solid(z)
        t = Share((self.ring.trunc(z, others[0] if others else None, bits, self.first, dealt, hi, top),))
        if rounding == "dither":
            return t
        c = self.ring.add(z, others[0]) if others else z
        below = yield from self._less(tape, c, lambda: known[0], bits, equal=False)
        return self.sub(t, (yield from self._bit_to_word(tape, below, z.shape)))

    # ---- comparison ----
    def _less(
        self, tape: Tape, x_open: Array, mask: Callable[[], Array], bits: int, equal: bool, sign_bit: int | None = None
    ) -> Steps[Array]:
        """Packed XOR shares of [x_open < r] (or ==) on the lowest `bits` bits; with `sign_bit`, XORed with that bit of
        x_open and of r. One-hot digits of r, radix-4 tree: 1 round up to 16 bits, else 2."""
        count, n = compare_counts(bits, equal), x_open.size
        hot, node = self.own(tape, Field.HOT), self.every(tape, Field.NODE)
        and1, and2, sign = (self.own(tape, f) for f in (Field.AND1, Field.AND2, Field.SIGN))

        def deal() -> list[Array]:
            r = mask()
            every = self.every(tape, Field.HOT)
            planes = self.exact.compare_deal(r, bits, 0, equal, every, node, and1, and2)
            if sign_bit is not None:
                top = self.exact.bit_plane(r, sign_bit)
                planes.append(self.exact.blind_bits(top, sign._replace(at=sign.at // 64)))
            return planes

        sizes = [count["hot"], count["and1"], count["and2"]] + ([1] if sign_bit is not None else [])
        _, dealt = yield from self.exchange([], [(WORD.str, (k * words_for(n),)) for k in sizes], deal)
        planes: Sequence[Array | None] = dealt if dealt is not None else (None,) * 4
        local, mine = self.ring.compare_leaves(x_open, bits, 0, equal, self.first, planes[0], hot, node)
        for level in (1, 2) if count["open2"] else (1,):
            (others,), _ = yield from self.exchange([mine], bits=True)
            local, following = self.ring.compare_level(
                level, local, mine, others, n, bits, equal, self.first, planes[level], (and1, and2)[level - 1], node
            )
            mine = following if following is not None else mine
        if sign_bit is None:
            return local
        top = planes[3] if planes[3] is not None else self.ring.blind_bits(self._zeros(local), sign._replace(at=sign.at // 64))
        public = [self.ring.bit_plane(x_open, sign_bit)] if self.first else []
        return self.ring.xor([local, top, *public])

    def _sign(self, tape: Tape, x: Share) -> Steps[tuple[Array, Opening]]:
        """Packed shares of [x < 0], exact on the whole ring: bit 63 of x = x_open ^ r ^ borrow."""
        opened = yield from self.masked(x)
        b = yield from self._less(tape, opened.value, lambda: self.mask_total(x), 63, equal=False, sign_bit=63)
        return b, opened

    def ltz(self, tape: Tape, x: Share) -> Steps[Share]:
        b, _ = yield from self._sign(tape, x)
        return Share((Packed(b, x.shape),))

    def eqz(self, tape: Tape, x: Share) -> Steps[Share]:
        opened = yield from self.masked(x)
        b = yield from self._less(tape, opened.value, lambda: self.mask_total(x), 64, equal=True)
        return Share((Packed(b, x.shape),))

    # ---- bits ----
    def _open_bit(
        self, tape: Tape, b: Array, dealt: Sequence[Spec], deal: Callable[[Array], list[Array]]
    ) -> Steps[tuple[Array, list[Array] | None]]:
        """(b ^ beta opened, what was dealt): one bit each; `deal` gets the dealer's beta."""
        bits = tape._replace(at=tape.at // 64)
        mine = self.ring.blind_bits(b, self.own(bits, Field.BETA))

        def with_beta() -> list[Array]:
            return deal(self.exact.blind_bits(self.exact.filled(b.shape, 0), self.every(bits, Field.BETA)))

        (others,), words = yield from self.exchange([mine], dealt, with_beta, bits=True)
        return self.ring.xor([mine, others]), words

    def _bit_to_word(self, tape: Tape, b: Array, shape: tuple[int, ...]) -> Steps[Share]:
        stream = self.own(tape, Field.BIT)

        def deal(beta: Array) -> list[Array]:
            return [self.exact.blind(self.exact.spread(Packed(beta, shape)), -1, stream)]

        opened, dealt = yield from self._open_bit(tape, b, [(WORD.str, shape)], deal)
        beta = dealt[0] if dealt else self.ring.prg(shape, stream)
        bit = self.ring.spread(Packed(opened, shape))
        # b = bit ^ beta = bit + (1 - 2 bit) beta
        word = self.ring.local(lambda v, w: np.where(v, -w, w), bit, beta)
        return Share((self.ring.add(word, bit) if self.first else word,))

    def b2a(self, tape: Tape, b: Share) -> Steps[Share]:
        return (yield from self._bit_to_word(tape, b.parts[0].words, b.shape))

    def _unless(self, tape: Tape, b: Array, x: Share) -> Steps[Share]:
        """Shares of x (1 - b). The opening of x (if it is not open) and of the bit share a round."""
        one, with_r = self.own(tape, Field.BIT), self.own(tape, Field.BIT_R)

        def deal(beta: Array) -> list[Array]:
            return self.exact.select_deal(self.mask_total(x), beta, one, with_r)

        opened, (bit, dealt) = yield from together(self.masked(x), self._open_bit(tape, b, [(WORD.str, x.shape)] * 2, deal))
        return Share((self.ring.select(x.parts[0], opened.value, bit, dealt, one, with_r),))

    def select(self, tape: Tape, b: Share, x: Share, y: Share) -> Steps[Share]:
        difference = self.sub(y, x)
        difference.origin = Origin(tape.name, Field.DELTA, tape.at)
        return self.add(x, (yield from self._unless(tape, b.parts[0].words, difference)))

    def relu(self, tape: Tape, x: Share) -> Steps[Share]:
        """max(x, 0), exact: 4 rounds, 12.2 bytes online an element."""
        b, _ = yield from self._sign(tape, x)
        return (yield from self._unless(tape, b, x))

    def and_(self, tape: Tape, x: Share, y: Share) -> Steps[Share]:
        """Beaver on packed bits: 2 bits opened, 1 bit dealt an element."""
        bits = tape._replace(at=tape.at // 64)
        fields = (Field.AND_X, Field.AND_Y)
        parts = [x.parts[0].words, y.parts[0].words]
        mine = [self.ring.blind_bits(p, self.own(bits, f)) for p, f in zip(parts, fields, strict=True)]
        product = self.own(bits, Field.AND_XY)

        def deal() -> list[Array]:
            zero = self.exact.filled(parts[0].shape, 0)
            a, b = (self.exact.blind_bits(zero, self.every(bits, f)) for f in fields)
            return [self.exact.blind_bits(self.exact.local(np.bitwise_and, a, b), product)]

        others, dealt = yield from self.exchange(mine, [(WORD.str, parts[0].shape)], deal, bits=True)
        d, e = (self.ring.xor([m, o]) for m, o in zip(mine, others, strict=True))
        zero = self._zeros(parts[0])
        a, b = (self.ring.blind_bits(zero, self.own(bits, f)) for f in fields)
        c = dealt[0] if dealt else self.ring.blind_bits(zero, product)
        both = self.ring.local(np.bitwise_and, d, e)
        # xy = (d ^ a)(e ^ b) = c ^ d b ^ e a ^ [first] d e
        terms = [c, self.ring.local(np.bitwise_and, d, b), self.ring.local(np.bitwise_and, e, a)]
        return Share((Packed(self.ring.xor([*terms, both] if self.first else terms), x.shape),))
