"""Three symmetric parties, two-of-three replicated sharing: x = x_0 + x_1 + x_2, party i holds (x_i, x_{i+1}).

A replicated share is an opened share, in three ways. Whoever holds neither of its own: x_1 is known to parties 0 and 1, and
r = -(x_0 + x_2) to party 2, of which party 0 knows r_0 = -x_0 and party 1 knows r_1 = -x_2. That is what the gates of
`helper` call x opened under the mask r: x_1 = x + r. So all of them run here with nothing to open, and any party may deal
(`role` k: parties k and k + 1 evaluate, party k + 2 deals); chunks of a large array take turns, so every link and processor
carries the same load. A gate leaves its result as a sharing of two, (u_0, u_1); opening that under a mask of its own makes
it replicated again: x_0 = -r_0, x_1 = u + r, x_2 = -r_1.

Why views stay uniform. (a) Who deals in a gate receives nothing in it, so never holds an opened value with its masks.
(b) What is dealt from r is split with fresh words of the first evaluator, and enters a message after both evaluators hold
x + r: they do before the gate begins (causality). (c) Nothing else is opened under r: messages are hidden by words of this
equation and role, whose keys are the role's own. r itself need not be uniform, since a comparison or a table is right for
every r; only a truncation takes its public dither from an opened word, so it opens one under a fresh mask. In a product
without truncation party i sends its summand to party i - 1 under a zero sharing, of which that party lacks one word.

Sources: Araki et al., CCS 2016 (products); Mohassel, Rindal, ABY3, CCS 2018; docs/protocols.md for the gates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..ring.bilinear import Bilinear
from ..ring.packed import Packed
from ..ring.prg import Stream
from ..ring.ring import Array, Ring, blank
from .base import OPERAND, Exchange, Inbox, Keys, Opening, Origin, Part, Protocol, Share, Steps, T, Tape
from .fields import Field
from .helper import Helper

Gate = Callable[..., Steps[Share]]  # a helper's step, on its own shares


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
    """Or else a sharing of parties 0 and 1, which they open when a product needs it."""
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
        self.roles = [self._helper(role, keys) for role in range(3)]

    def _helper(self, role: int, keys: Keys) -> Helper:
        """My part in a role, with keys of its own: the roles' words have nothing in common."""
        me = (self.me - role) % 3
        return Helper(me, 3, self.ring, lambda peer, purpose: keys((peer + role) % 3, f"{purpose}, role {role}"))

    # ---- the two forms of a share ----
    def as_pair(self, x: Share, role: int) -> Share:
        """x as the helper of `role` knows it: a sharing of two, and already open if x is replicated."""
        if not is_replicated(x):
            return x  # of role 0; nothing else is left so
        mine, following = x.parts
        me = (self.me - role) % 3
        if x.is_bits:
            words = (self.ring.xor([mine.words, following.words]), following.words, blank(mine.words.shape))[me]
            return Share((Packed(words, x.shape),))
        ring, empty = self.ring, blank(x.shape)
        if me == 0:
            pair, opening = ring.add(mine, following), Opening(following, ring.neg(mine))
        elif me == 1:
            pair, opening = following, Opening(mine, ring.neg(following))
        else:
            pair, opening = empty, Opening(empty, empty)
        y = Share((pair,))
        y.opening = opening
        if me == 2:
            y.masks = [ring.neg(following), ring.neg(mine)]
        return y

    def replicated(self, *xs: Share) -> Steps[list[Share]]:
        """Those that are not yet: one round, 8 bytes an element between parties 0 and 1, once for each share."""
        pairs = [x for x in xs if not is_replicated(x)]
        opened = iter((yield from self.roles[0].masked(*pairs)))
        return [x if is_replicated(x) else self._from_opening(0, x, next(opened)) for x in xs]

    def _from_opening(self, role: int, x: Share, opening: Opening) -> Share:
        helper, ring = self.roles[role], self.ring
        if helper.deals:
            r0, r1 = helper.masks(x)
            return Share((ring.neg(r1), ring.neg(r0)))
        parts = (ring.neg(opening.mask), opening.value)
        return Share(parts if helper.first else parts[::-1])

    def _reshare(self, role: int, tape: Tape, x: Share) -> Steps[Share]:
        """A gate's result, replicated: 1 round, 8 bytes or 1 bit an element each way between the evaluators."""
        helper = self.roles[role]
        if not x.is_bits:
            x = Share(x.parts, Origin(tape.name, 0, tape.at))
            (opening,) = yield from helper.masked(x)
            return self._from_opening(role, x, opening)
        words = x.parts[0].words
        stream = helper.own(tape._replace(at=tape.at // 64), 0)
        mine = helper.ring.blind_bits(words, stream)
        got = yield from helper.exchange(bits=[mine])
        zero = self.ring.filled(words.shape, 0)
        if helper.deals:
            r0, r1 = (self.ring.blind_bits(zero, stream._replace(keys=helper.all_keys[i : i + 1])) for i in range(2))
            parts = (r1, r0)
        else:
            parts = (self.ring.blind_bits(zero, stream), self.ring.xor([mine, *got.bits]))
            parts = parts if helper.first else parts[::-1]
        return Share(tuple(Packed(p, x.shape) for p in parts))

    def gate(self, gate: Gate, tape: Tape, *xs: Share) -> Steps[Share]:
        """A helper's gate. Chunks of replicated operands take turns at the roles, and their results are replicated again;
        otherwise the result stays a sharing of parties 0 and 1, which is all that most gates read."""
        if tape.chunk is None or not all(map(is_replicated, xs)):
            role, turns = 0, False
        else:
            role, turns = tape.chunk % 3, True
        step = gate(self.roles[role], tape, *(self.as_pair(x, role) for x in xs))
        y = yield from turned(role, step)
        return (yield from turned(role, self._reshare(role, tape, y))) if turns else y

    # ---- input and output ----
    def share(self, tape: Tape, owner: int, shape: tuple[int, ...], bits: bool, value: Part | None) -> Steps[Share]:
        """x_o from the seed that the owner o shares with the party before it, x_{o+1} = x - x_o sent to the one after it,
        and 0: one message of 8 bytes or 1 bit an element."""
        ring = self.ring
        zero = blank(ring.planes(1, int(np.prod(shape))).shape if bits else shape)
        place = (self.me - owner) % 3  # 0: the owner; 1: who comes after it; 2: before it
        name, at = tape.name.field(Field.INPUT), tape.at
        send, recv = {}, {}
        random = sent = zero
        if place != 1:
            stream = Stream(self.key_before if place == 0 else self.key_after, name, at)
            random = self._blinded(self.ring.filled(zero.shape, 0), bits, 1, stream)
        if place == 0:
            sent = self._blinded(value.words if bits else value, bits, -1, stream)  # type: ignore[union-attr, arg-type]
            send = {self.after: [sent]}
        if place == 1:
            recv = {owner: [(zero.dtype.str, zero.shape)]}
        got = yield Exchange(send, recv)
        if place == 1:
            sent = got[owner][0]
        parts = ((random, sent), (sent, zero), (zero, random))[place]
        return Share(tuple(Packed(p, shape) for p in parts) if bits else parts)

    def reveal(self, tape: Tape, x: Share, to: tuple[int, ...]) -> Steps[Part | None]:
        return (yield from self.roles[0].reveal(tape, self.as_pair(x, 0), to))

    def constant(self, c: Array) -> Share:
        """x_1 = c: open to parties 0 and 1, under the mask 0."""
        zero = blank(c.shape, c.dtype)
        parts = ((zero, c), (c, zero), (zero, zero))[self.me]
        return Share(tuple(map(Packed.of, parts)) if c.dtype == np.uint8 else parts)

    def stored(self, c: Array) -> Share:
        return self.roles[0].constant(c)

    # ---- linear maps ----
    def each(self, f: Callable[..., Part], *xs: Share) -> Share:
        if not all(map(is_replicated, xs)):
            xs = tuple(self.as_pair(x, 0) for x in xs)
        return super().each(f, *xs)

    def add_public(self, x: Share, c: Array) -> Share:
        if not is_replicated(x):
            return self.roles[0].add_public(x, c)
        constant = self.constant(np.broadcast_to(c, x.shape) if x.is_bits else c)
        return self.xor(x, constant) if x.is_bits else self.add(x, constant)

    # ---- products ----
    def bilinear(self, tape: Tape, f: Bilinear, x: Share, y: Share, bits: int, rounding: str) -> Steps[Share]:
        """Untruncated: 2 products a party, 1 round, 8 bytes sent by each. Truncated: the gate of `helper`, 1 product a party;
        its dealer's product moves into the mask of the one opening (8 bytes each way, 12 dealt)."""
        if bits:

            def truncated(helper: Helper, tape: Tape, a: Share, b: Share) -> Steps[Share]:
                return helper.bilinear(tape, f, a, a if x is y else b, bits, rounding)

            return (yield from self.gate(truncated, tape, x, y))
        (a, a_next), (b, b_next) = (s.parts for s in (yield from self.replicated(x, y)))
        z = self.ring.product(f, a, self.ring.add(b, b_next))
        z = self.ring.product(f, a_next, b, z)
        return (yield from self._summands(tape, z, f.shape(x.shape, y.shape), False))

    def and_(self, tape: Tape, x: Share, y: Share) -> Steps[Share]:
        """1 round, 1 bit sent by each; where an operand is a sharing of two, Beaver's product as in `helper`."""
        if not (is_replicated(x) and is_replicated(y)):
            return (yield from self.gate(Helper.and_, tape, x, y))
        a, a_next, b, b_next = (part.words for part in (*x.parts, *y.parts))
        z = self.ring.local(lambda a, c, b, d: a & (b ^ d) ^ c & b, a, a_next, b, b_next)
        return (yield from self._summands(tape, z, x.shape, True))

    def _summands(self, tape: Tape, z: Array, shape: tuple[int, ...], bits: bool) -> Steps[Share]:
        """Replicated shares of the sum of what the parties hold. A zero sharing hides z from the party before: raw, it would
        show products of shares."""
        name = tape.name.field(Field.ZERO)
        for key, sign in ((self.key_after, 1), (self.key_before, -1)):
            z = self._blinded(z, bits, sign, Stream(key, name, tape.at))
        z = self.ring.solid(z)
        other = (yield Exchange({self.before: [z]}, {self.after: [(z.dtype.str, z.shape)]}))[self.after][0]
        return Share((Packed(z, shape), Packed(other, shape)) if bits else (z, other))

    def _blinded(self, x: Array, bits: bool, sign: int, stream: Stream) -> Array:
        if bits:
            return self.ring.blind_bits(x, stream._replace(at=stream.at // 64))
        return self.ring.blind(x, sign, stream)

    # ---- the helper's gates ----
    def trunc(self, tape: Tape, x: Share, bits: int, rounding: str) -> Steps[Share]:
        """x is opened under a fresh mask, of which the dither is made."""

        def fresh(helper: Helper, tape: Tape, a: Share) -> Steps[Share]:
            if is_replicated(x):
                a = Share(a.parts, Origin(tape.name, OPERAND, tape.at))
            return helper.trunc(tape, a, bits, rounding)

        return (yield from self.gate(fresh, tape, x))

    def ltz(self, tape: Tape, x: Share) -> Steps[Share]:
        """2 rounds and 4.1 bytes online; the parties' carry tree would take 8 rounds and 22.6 bytes."""
        return (yield from self.gate(Helper.ltz, tape, x))

    def eqz(self, tape: Tape, x: Share) -> Steps[Share]:
        return (yield from self.gate(Helper.eqz, tape, x))

    def b2a(self, tape: Tape, b: Share) -> Steps[Share]:
        return (yield from self.gate(Helper.b2a, tape, b))

    def select(self, tape: Tape, b: Share, x: Share, y: Share) -> Steps[Share]:
        """x + (y - x)(1 - b): the difference of replicated shares is open already."""
        difference = self.sub(y, x)
        difference.origin = Origin(tape.name, Field.DELTA, tape.at)

        def unless(helper: Helper, tape: Tape, b: Share, d: Share) -> Steps[Share]:
            return helper.unless(tape, b.parts[0].words, d)

        return self.add(x, (yield from self.gate(unless, tape, b, difference)))

    def relu(self, tape: Tape, x: Share) -> Steps[Share]:
        """Of what was just truncated, from the word opened there: see `additive`."""
        return (yield from self.gate(Helper.relu, tape, x))

    def thresholds(self, tape: Tape, x: Share, **params: Any) -> Steps[Share]:
        return (yield from self.gate(lambda p, tape, a: p.thresholds(tape, a, **params), tape, x))

    def spline(self, tape: Tape, x: Share, **params: Any) -> Steps[Share]:
        return (yield from self.gate(lambda p, tape, a: p.spline(tape, a, **params), tape, x))

    def exp(self, tape: Tape, x: Share, **params: Any) -> Steps[Share]:
        return (yield from self.gate(lambda p, tape, a: p.exp(tape, a, **params), tape, x))
