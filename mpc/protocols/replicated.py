"""Three equal parties, two-of-three replicated sharing: x = x_0 + x_1 + x_2, and party i holds (x_i, x_{i+1}).

A replicated share is an opened share, in three ways. Party 2, for one, does not hold x_1, which parties 0 and 1 both hold;
it holds r = -(x_0 + x_2), of which party 0 knows r_0 = -x_0 and party 1 knows r_1 = -x_2. The gates of `helper` call that x
opened under the mask r: x_1 = x + r. So all of them run here with nothing left to open, and any party may deal: in `role` k
parties k and k + 1 evaluate and party k + 2 deals. The chunks of a large array take turns, so that every link and processor
carries the same load. A gate leaves its result as summands, one at each party (the dealer's is 0). What has to be replicated
again is so by one message a party, under a zero sharing; sums, outputs and local maps need none.

Why views stay uniform. (a) Who deals in a gate receives nothing in it: it never holds an opened value together with its
masks. (b) What is dealt is split by fresh words of the first evaluator, and both evaluators held x + r before the gate began
(causality). (c) Nothing is opened under r a second time: messages are hidden by words of this equation, and every role has
keys of its own. r need not be uniform, since comparisons, tables and products are right for every r; only a truncation takes
its public dither from an opened word, so x is shared afresh before it. (d) A summand goes to the party before under a zero
sharing, of which that party lacks a word.

Sources: Araki et al., CCS 2016 (products, zero sharing); Mohassel, Rindal, ABY3, CCS 2018; docs/protocols.md (gates).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace

from ..ring.bilinear import MUL, Bilinear
from ..ring.packed import Packed
from ..ring.prg import Stream
from ..ring.ring import Ring
from ..ring.shapes import blank
from ..ring.words import Array
from .base import (
    IDLE,
    OPERAND,
    PENDING,
    Exchange,
    Inbox,
    Keys,
    Opening,
    Origin,
    Part,
    Protocol,
    Share,
    Spec,
    Steps,
    T,
    Tape,
    root,
)
from .dealt import KEPT, Received
from .fields import Field
from .helper import Helper
from .pieces import join
from .radix import digit_ranks_gate


class Role(Helper):
    """A party's gates in one role. Bits may be given as what parties already know of them: (b ^ beta, the dealer's beta)."""

    opens_ahead = False  # a result is replicated instead

    def open_bit(
        self,
        tape: Tape,
        b: Array | Opening,
        dealt: Sequence[Spec],
        deal: Callable[[Array], list[Array]],
        words: Sequence[Array] = (),
        beta: int = Field.BETA,
    ) -> Steps[tuple[Array, Received]]:
        if not isinstance(b, Opening):
            return (yield from super().open_bit(tape, b, dealt, deal, words, beta))
        known = b.mask
        return b.value, (yield from self.exchange(words, (), dealt, lambda: deal(known)))


class _Turned:
    """An inbox under the numbers that parties have in a role."""

    __slots__ = ("role", "source")

    def __init__(self, source: Inbox, role: int) -> None:
        self.source, self.role = source, role

    def __getitem__(self, peer: int) -> list[Array]:
        return self.source[(peer + self.role) % 3]


def turned(role: int, step: Steps[T]) -> Steps[T]:
    """The step of party (me - role) mod 3, played by party me."""
    if not role:
        return (yield from step)
    inbox: Any = None
    while True:
        try:
            ex = step.send(inbox)
        except StopIteration as end:
            result: T = end.value
            return result
        send = {(p + role) % 3: arrays for p, arrays in ex.send.items()}
        recv = {(p + role) % 3: specs for p, specs in ex.recv.items()}
        inbox = _Turned((yield Exchange(send, recv, ex.turn)), role)


def is_replicated(x: Share) -> bool:
    """Two components; or else one, a summand of x."""
    return len(x.parts) == 2


class Replicated(Protocol):
    """Three parties, all of whom hold shares and compute. Private against any one of them."""

    trust = (
        "semi-honest: private against any one of the three parties, who are equals; two parties together learn everything; a "
        "party that deviates can change results unnoticed"
    )
    leaks = ("the public dither of each truncation: results are rounded by a coin that the parties know",)
    parties = range(3, 4)
    cycle = 3
    stream = (2, 1)  # in small gates party 2 deals, and may run ahead

    def __init__(self, me: int, n: int, ring: Ring, keys: Keys) -> None:
        super().__init__(me, n, ring, keys)
        self.before, self.after = (me - 1) % 3, (me + 1) % 3
        self.key_before, self.key_after = keys(self.before, "replicated"), keys(self.after, "replicated")
        self.roles = [self._role(role, keys) for role in range(3)]

    def _role(self, role: int, keys: Keys) -> Role:
        """Keys of its own: what is random in one role has nothing in common with another's."""
        return Role((self.me - role) % 3, 3, self.ring, lambda p, purpose: keys((p + role) % 3, f"{purpose} in role {role}"))

    # ---- the two forms of a share ----
    def replicated(self, *xs: Share) -> Steps[list[Share]]:
        """Both components of each: one round, 8 bytes or 1 bit an element sent by each party, the first time. They are kept
        as the share's `opening`, which chunks carry along; a view's are made from the share that it is a view of."""
        if all(map(is_replicated, xs)):
            return list(xs)
        roots = dict.fromkeys(root(x) for x in xs if not is_replicated(x))
        for x in roots:
            if x.pieces is not None:
                join(self.ring, x)
        new = [x for x in roots if x.opening is None]
        if new:
            mine = []
            for x in new:
                assert x.origin is not None, "a share without a name cannot be replicated"
                x.opening = PENDING
                name, field, at = x.origin
                mine.append(self._with_zero(x.parts[0].words if x.is_bits else x.parts[0], name.field(field), at, x.is_bits))
            specs = [(a.dtype.str, a.shape) for a in mine]
            got = (yield Exchange({self.before: mine}, {self.after: specs}))[self.after]
            for x, part, following in zip(new, mine, got, strict=True):
                parts: Any = (Packed(p, x.shape) for p in (part, following)) if x.is_bits else (part, following)
                x.opening = Opening(*parts)
        while any(x.opening is PENDING for x in roots):  # another equation's message is on its way
            yield IDLE
        return [x if is_replicated(x) else Share(tuple(self._opening(x))) for x in xs]

    def _opening(self, x: Share) -> Opening:
        """Both components, if x or what it is a view of has been replicated."""
        if x.opening is None:
            view = x.view
            assert x.parent is not None and view is not None
            whole: Any = self._opening(x.parent)
            x.opening = Opening(*((p.rearranged(view) for p in whole) if x.is_bits else map(view, whole)))
        return x.opening

    def _with_zero(self, z: Array, name: int, at: int, bits: bool) -> Array:
        """z + my word of a zero sharing: raw, a summand depends on more than the value."""
        z = self._blinded(z, bits, 1, Stream(self.key_after, name, at))
        return self._blinded(z, bits, -1, Stream(self.key_before, name, at))

    def _blinded(self, x: Array, bits: bool, sign: int, stream: Stream) -> Array:
        if bits:
            return self.ring.blind_bits(x, replace(stream, at=stream.at // 64))
        return self.ring.blind(x, sign, stream)

    def _as_opened(self, role: int, x: Share) -> Share:
        """A replicated share as the gates of `role` know it."""
        ring, me = self.ring, (self.me - role) % 3
        mine, following = x.parts
        if x.is_bits:
            empty = blank(mine.words.shape)
            if me == 2:
                return Share((Opening(empty, ring.xor([mine.words, following.words])),))
            return Share((Opening(ring.solid(mine.words if me else following.words), empty),))
        if me == 0:
            y, opening = Share((ring.add(mine, following),)), Opening(following, ring.neg(mine))
        elif me == 1:
            y, opening = Share((following,)), Opening(mine, ring.neg(following))
        else:
            empty = blank(x.shape, ring.word)
            y, opening = Share((empty,)), Opening(empty, empty)
            y.masks = [ring.neg(following), ring.neg(mine)]
        y.opening = opening
        return y

    def gate(self, gate: Callable[..., Steps[Share]], tape: Tape, *xs: Share) -> Steps[Share]:
        """A helper's gate; chunks take turns at the roles."""
        return self._summands(tape, (yield from self._in_role(gate, tape, *xs)))

    def _in_role(self, gate: Callable[..., Steps[T]], tape: Tape, *xs: Share) -> Steps[T]:
        role = 0 if tape.chunk is None else tape.chunk % 3
        xs = tuple((yield from self.replicated(*xs)))
        return (yield from turned(role, gate(self.roles[role], tape, *(self._as_opened(role, x) for x in xs))))

    def _summands(self, tape: Tape, y: Share) -> Share:
        """What a gate of a role has just made, as the result of one of mine."""
        if tape.chunk is not None:
            y.settled = None  # only parties 0 and 1 go on from there
        return y

    def _goes_on(self, x: Share) -> bool:
        """Whether parties 0 and 1 still hold x as they truncated it: it has not been replicated since."""
        return x.settled is not None and not is_replicated(x) and root(x).opening is None

    # ---- input and output ----
    def share(self, tape: Tape, owner: int, shape: tuple[int, ...], bits: bool, value: Part | None) -> Steps[Share]:
        """x_o from the seed that the owner o shares with the party before it, x_{o+1} = x - x_o sent to the one after it,
        and 0: one message of 8 bytes or 1 bit an element."""
        zero = blank(self.ring.planes(1, int(np.prod(shape))).shape) if bits else blank(shape, self.ring.word)
        place = (self.me - owner) % 3  # 0: the owner; 1: who comes after it; 2: before it
        stream = Stream(self.key_before if place == 0 else self.key_after, tape.name.field(Field.INPUT), tape.at)
        random = self._blinded(zero, bits, 1, stream) if place != 1 else zero
        if place == 0:
            rest = self._blinded(value.words if bits else value, bits, -1, stream)  # type: ignore[union-attr, arg-type]
            yield Exchange({self.after: [rest]}, {})
            parts = random, rest
        elif place == 1:
            parts = (yield Exchange({}, {owner: [(zero.dtype.str, zero.shape)]}))[owner][0], zero
        else:
            yield IDLE
            parts = zero, random
        return Share(tuple(Packed(p, shape) for p in parts) if bits else parts)

    def reveal(self, tape: Tape, x: Share, to: tuple[int, ...]) -> Steps[Part | None]:
        """One round; every party sends its summand under a zero sharing."""
        part = x.parts[0].words if x.is_bits else x.parts[0]
        mine = self._with_zero(part, tape.name.field(Field.ZERO), tape.at, x.is_bits)
        sources = [self.before, self.after] if self.me in to else []
        spec = [(mine.dtype.str, mine.shape)]
        got = yield Exchange({p: [mine] for p in to if p != self.me}, dict.fromkeys(sources, spec))
        if self.me not in to:
            return None
        arrays = [mine, *(got[p][0] for p in sources)]
        return Packed(self.ring.xor(arrays), x.shape) if x.is_bits else self.ring.total(arrays)

    def constant(self, c: Array) -> Share:
        """x_1 = c: open to parties 0 and 1, under the mask 0."""
        zero = blank(c.shape, c.dtype)
        parts = ((zero, c), (c, zero), (zero, zero))[self.me]
        return Share(tuple(map(Packed.of, parts)) if c.dtype == np.uint8 else parts)

    def stored(self, c: Array) -> Share:
        return Share(self.constant(c).parts[:1])

    # ---- linear maps ----
    def each(self, f: Callable[..., Part], *xs: Share) -> Share:
        if not all(map(is_replicated, xs)):
            xs = tuple(Share(x.parts[:1]) for x in xs)
        return super().each(f, *xs)

    def add_public(self, x: Share, c: Array) -> Share:
        constant = self.constant(np.broadcast_to(c, x.shape) if x.is_bits else c)
        return self.xor(x, constant) if x.is_bits else self.add(x, constant)

    # ---- products and truncation ----
    def bilinear(self, tape: Tape, f: Bilinear, x: Share, y: Share, bits: int, rounding: str) -> Steps[Share]:
        """Untruncated: 2 products a party, nothing to open or deal; the result is a summand each. Truncated: 1 product a
        party; the dealer's moves into the mask of the one opening (1 round, 8 bytes each way, 12 dealt)."""
        if f is MUL and bits and rounding == "dither" and x is not y and x.shape == y.shape:
            for t, other in ((x, y), (y, x)):
                if t.settled is not None and t.settled.chains and self._goes_on(t):
                    if other.known is not None and tape.chunk is None:
                        return self.roles[0].chained(tape, t, other.known, bits)
                    return self._chained(tape, t, other, bits)
        return self._products(tape, f, x, y, bits, rounding)

    def _chained(self, tape: Tape, t: Share, other: Share, bits: int) -> Steps[Share]:
        """What was opened for t serves its product as well; what roles know of a small operand is kept for the next product."""
        (replicated,) = yield from self.replicated(other)
        known = self._as_opened(0, replicated)
        if other.size <= KEPT:
            other.known = known
        return self._summands(tape, (yield from self.roles[0].chained(tape, t, known, bits)))

    def _products(self, tape: Tape, f: Bilinear, x: Share, y: Share, bits: int, rounding: str) -> Steps[Share]:
        if not bits:
            (a, a_next), (b, b_next) = (s.parts for s in (yield from self.replicated(x, y)))
            z = self.ring.product(f, a, self.ring.add(b, b_next))
            return Share((self.ring.product(f, a_next, b, z),))

        def truncated(role: Role, tape: Tape, a: Share, b: Share) -> Steps[Share]:
            return role.bilinear(tape, f, a, a if x is y else b, bits, rounding)

        return (yield from self.gate(truncated, tape, x, y))

    def trunc(self, tape: Tape, x: Share, bits: int, rounding: str) -> Steps[Share]:
        """x is shared afresh first: the dither is made of what parties hold of it."""
        if is_replicated(x):
            x = Share(x.parts[:1], Origin(tape.name, OPERAND, tape.at))
        return (yield from self.gate(lambda role, tape, a: role.trunc(tape, a, bits, rounding), tape, x))

    def and_(self, tape: Tape, x: Share, y: Share) -> Steps[Share]:
        """Nothing to open or deal; the result is a summand each."""
        x, y = yield from self.replicated(x, y)
        words = (part.words for part in (*x.parts, *y.parts))
        z = self.ring.local(lambda a, a_next, b, b_next: a & (b ^ b_next) ^ a_next & b, *words)
        return Share((Packed(z, x.shape),))

    # ---- the helper's gates ----
    def ltz(self, tape: Tape, x: Share, bits: int | None = None) -> Steps[Share]:
        """2 rounds, 33 bits opened and 329 dealt; the carry tree of parties without a dealer takes 8 rounds."""
        return (yield from self.gate(lambda role, tape, a: role.ltz(tape, a, bits), tape, x))

    def eqz(self, tape: Tape, x: Share, bits: int | None = None) -> Steps[Share]:
        return (yield from self.gate(lambda role, tape, a: role.eqz(tape, a, bits), tape, x))

    def b2a(self, tape: Tape, b: Share) -> Steps[Share]:
        return (yield from self.gate(lambda role, tape, a: role.bit_to_word(tape, a.parts[0], b.shape), tape, b))

    def select(self, tape: Tape, b: Share, x: Share, y: Share) -> Steps[Share]:
        """x + (y - x)(1 - b); 16 bytes dealt, no round of its own."""
        difference = self.sub(y, x)
        difference.origin = Origin(tape.name, Field.DELTA, tape.at)

        def unless(role: Role, tape: Tape, b: Share, d: Share) -> Steps[Share]:
            return role.unless(tape, b.parts[0], d)

        return self.add(x, (yield from self.gate(unless, tape, b, difference)))

    def keep(self, tape: Tape, b: Share, x: Share) -> Steps[Share]:
        """Shares of x where b, else 0: x - x (1 - b)."""
        unless = yield from self.gate(lambda role, tape, b, x: role.unless(tape, b.parts[0], x), tape, b, x)
        return self.sub(x, unless)

    def relu(self, tape: Tape, x: Share, bits: int | None = None) -> Steps[Share]:
        """max(x, 0), exact: 3 rounds. Of what was just truncated, from the word opened there (see `additive`)."""
        if self._goes_on(x):
            return self._summands(tape, (yield from self.roles[0].relu(tape, x)))
        return (yield from self.gate(lambda role, tape, a: role.relu(tape, a, bits), tape, x))

    def thresholds(self, tape: Tape, x: Share, **params: Any) -> Steps[Share]:
        return (yield from self.gate(lambda role, tape, a: role.thresholds(tape, a, **params), tape, x))

    def spline(self, tape: Tape, x: Share, **params: Any) -> Steps[Share]:
        return (yield from self.gate(lambda role, tape, a: role.spline(tape, a, **params), tape, x))

    def sin(self, tape: Tape, x: Share, **params: Any) -> Steps[Share]:
        return (yield from self.gate(lambda role, tape, a: role.sin(tape, a, **params), tape, x))

    cos = sin

    def exp(self, tape: Tape, x: Share, **params: Any) -> Steps[Share]:
        return (yield from self.gate(lambda role, tape, a: role.exp(tape, a, **params), tape, x))

    def rescale(self, tape: Tape, x: Share, **params: Any) -> Steps[list[Share]]:
        found = yield from self._in_role(lambda role, tape, a: role.rescale(tape, a, **params), tape, x)
        return [self._summands(tape, y) for y in found]

    # ---- rows: parties 0 and 1 move them, party 2 deals and learns nothing, not even their order ----
    def _moving(self, op: str, tape: Tape, *xs: Share, **params: Any) -> Steps[list[Share]]:
        xs = tuple((yield from self.replicated(*xs)))
        moved: list[Share] = yield from getattr(self.roles[0], op)(tape, *map(self._halves, xs), **params)
        return [self._summands(tape, y) for y in moved]

    def _halves(self, x: Share) -> Share:
        """A replicated share as parties 0 and 1 share it between them."""
        mine, following = x.parts
        if self.me == 2:
            return Share((Packed(blank(mine.words.shape), x.shape) if x.is_bits else blank(x.shape, self.ring.word),))
        if self.me == 1:
            return Share((following,))
        return self.xor(Share((mine,)), Share((following,))) if x.is_bits else self.add(Share((mine,)), Share((following,)))

    @property
    def holders(self) -> tuple[int, ...]:
        return (0, 1)

    @property
    def computing(self) -> tuple[int, ...]:
        return (0, 1, 2)

    def shuffle(self, tape: Tape, *columns: Share) -> Steps[list[Share]]:
        return (yield from self._moving("shuffle", tape, *columns))

    def permute(self, tape: Tape, by: Share, *columns: Share, shift: int) -> Steps[list[Share]]:
        return (yield from self._moving("permute", tape, by, *columns, shift=shift))

    def key_bits(self, tape: Tape, x: Share, **params: Any) -> Steps[Share]:
        return (yield from self.gate(lambda role, tape, x: role.key_bits(tape, x, **params), tape, x))

    def digit_ranks(self, tape: Tape, digit: Share) -> Steps[Share]:
        size = digit.shape
        return (yield from self.gate(lambda role, tape, b: digit_ranks_gate(role, tape, b.parts[0], size), tape, digit))
