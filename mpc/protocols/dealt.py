"""Sharing with a dealer: the roles, the random words that they have in common, and the messages of all gates.

A wire is opened once as x + r under a mask r whose shares come from seeds; the dealer knows r and deals, from the public
program alone, what depends on it. A dealt value is split by seeds too: evaluators 0 .. e-2 expand their words, only the last
one receives a correction. Every gate is written once for all roles: the dealer runs the same text with blanks for shares, and
computes what `exchange` asks it to deal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from ..ring.prg import Stream
from ..ring.ring import Ring
from ..ring.shapes import Shapes
from ..ring.words import Array
from .base import (
    IDLE,
    PENDING,
    SILENT,
    Exchange,
    Keys,
    Opening,
    Protocol,
    Share,
    Spec,
    Steps,
    Tape,
    is_open,
    pipeline,
    root,
    spec_of,
    together,
)
from .pieces import flatten, join, put

Deal = Callable[[], list[Array]]
KEPT = 4096  # elements: masks of smaller shares are kept at the dealer, larger ones are cheaper to expand again
PART = 1 << 20  # elements of a larger share that are opened at a time: all that is sent and received of it is never held


class Received(NamedTuple):
    """The sums and XORs of what the other evaluators opened, and what was dealt to me (None: I expand it from my seed)."""

    words: list[Array]
    bits: list[Array]
    dealt: list[Array] | None


def opening_of(x: Share) -> Opening:
    """What is open of x; for a view, the view of it."""
    if x.opening is None:
        assert x.parent is not None and x.view is not None
        whole = opening_of(x.parent)
        x.opening = Opening(x.view(whole.value), x.view(whole.mask))
    return x.opening


class Dealt(Protocol):
    """Evaluators who hold shares, and a dealer who knows their masks."""

    has_dealer = True
    opens_ahead = True  # of a gate's result what the next one will open, in a round that the gate takes anyhow

    def __init__(self, me: int, n: int, ring: Ring, keys: Keys) -> None:
        super().__init__(me, n, ring, keys)
        self.evaluators, self.dealer = self._roles(n)
        self.last = self.evaluators - 1
        self.stream = (self.dealer, self.last)
        self.deals = me == self.dealer
        self.first = me == 0
        # every other party that opens with me
        self.peers = [] if self.deals else [p for p in range(self.evaluators) if p != me]
        heads = [keys(p, "deal") for p in range(self.evaluators)] if self.deals else [keys(self.dealer, "deal")]
        self.all_keys = np.concatenate(heads)
        self.key = self.all_keys[: self.last] if self.deals else self.all_keys
        self.pair_keys = {p: keys(p, "pair") for p in self.peers}
        self.bits = ring.bits
        self.exact = ring  # what the dealer knows in full, it computes for real; its shares are blanks
        if self.deals:
            self.ring = Shapes(ring)
        self.word = ring.word.str  # the dtype of a dealt word

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
        if x.masks is None:
            if x.parent is not None:
                assert x.view is not None
                masks = [x.view(r) for r in self.masks(x.parent)]
            else:
                keys = [self.all_keys[i : i + 1] for i in range(self.evaluators)]
                masks = [self.exact.prg(x.shape, self._hiding(x, key)) for key in keys]
            if x.size > KEPT:
                return masks
            x.masks = masks
        return x.masks

    def mask_total(self, x: Share) -> Array:
        """Dealer: the mask of x. A large one is expanded at once."""
        if x.masks is not None or x.size <= KEPT:
            return self.exact.total(self.masks(x))
        if x.parent is not None:
            assert x.view is not None
            return x.view(self.mask_total(x.parent))
        return self.exact.prg(x.shape, self._hiding(x, self.all_keys))

    def _hiding(self, x: Share, keys: Array) -> Stream:
        """The stream of x's own mask, under these keys."""
        assert x.origin is not None, "a share without a name cannot be opened"
        name, field, at = x.origin
        return Stream(keys, name.field(field), at)

    # ---- messages ----
    def exchange(
        self,
        words: Sequence[Array] = (),
        bits: Sequence[Array] = (),
        dealt: Sequence[Spec] = (),
        deal: Deal | None = None,
    ) -> Steps[Received]:
        """One yield: opens my `words` and packed `bits` to the other evaluators, and deals.

        `deal` is called at the dealer alone and returns arrays as `dealt` specifies, for the last evaluator.
        """
        if not (words or bits):
            return Received([], [], (yield from self.dealing(dealt, deal)))
        count = len(words)
        mine = list(map(self.ring.solid, (*words, *bits)))
        if self.deals:
            yield Exchange({self.last: deal()}, {}) if deal else IDLE
            return Received(mine[:count], mine[count:], None)
        specs = list(map(spec_of, mine))
        expected: dict[int, Sequence[Spec]] = dict.fromkeys(self.peers, specs)
        for_me = dealt and self.me == self.last
        if for_me:
            expected[self.dealer] = dealt
        got = yield Exchange(dict.fromkeys(self.peers, mine), expected)
        theirs = list(zip(*map(got.__getitem__, self.peers), strict=True))
        corrections = got[self.dealer] if for_me else None
        bits = [self.ring.xor(arrays) for arrays in theirs[count:]]
        return Received(list(map(self.ring.total, theirs[:count])), bits, corrections)

    def opened(self, *words: Array) -> Steps[list[Array]]:
        """`exchange` where nothing but words is opened: the sums of what the other evaluators opened."""
        mine = list(words)
        if self.deals:
            yield IDLE
            return mine
        specs = list(map(spec_of, mine))
        got = yield Exchange(dict.fromkeys(self.peers, mine), dict.fromkeys(self.peers, specs))
        if self.evaluators == 2:
            return got[self.peers[0]]
        return list(map(self.ring.total, zip(*map(got.__getitem__, self.peers), strict=True)))

    def dealing(self, dealt: Sequence[Spec], deal: Deal | None) -> Steps[list[Array] | None]:
        """`exchange` where nothing is opened, so that nobody waits for a peer: what was dealt to me."""
        if not dealt or (self.me != self.last and not self.deals):
            yield SILENT
            return None
        if self.deals:
            assert deal is not None
            yield Exchange({self.last: deal()}, {}, False)
            return None
        return (yield Exchange({}, {self.dealer: dealt}, False))[self.dealer]

    def masked(self, *xs: Share) -> Steps[list[Opening]]:
        """For each share x + r, r the one mask of this share vector: one round, 8 bytes an element, the first time; then
        nothing. A view is opened through the share it is made from."""
        if all(map(is_open, xs)):
            return list(map(opening_of, xs))
        roots = dict.fromkeys(map(root, xs))
        for x in roots:
            if x.pieces is not None:
                join(self.ring, x)
        new = [x for x in roots if x.opening is None]
        if new:
            for x in new:
                x.opening = PENDING
            large = [x for x in new if x.size > PART]
            if large:
                small = [x for x in new if x.size <= PART]
                yield from together(*([self._open(small)] if small else []), *map(self._open_in_parts, large))
            else:
                yield from self._open(new)
        while any(x.opening is PENDING for x in roots):  # another equation's message is on its way
            yield SILENT
        return [opening_of(x) for x in xs]

    def _open(self, xs: Sequence[Share]) -> Steps[None]:
        """All of these in one message."""
        masked = [self.ring.mask(x.parts[0], self._hiding(x, self.key)) for x in xs]
        others = yield from self.opened(*(m for m, _ in masked))
        for x, (m, r), other in zip(xs, masked, others, strict=True):
            x.opening = Opening(self.ring.add(m, other), r)

    def _open_in_parts(self, x: Share) -> Steps[None]:
        """In the round of `_open`: the parts after the first follow without being waited for."""
        share, stream = flatten(self.ring, x.parts[0]), self._hiding(x, self.key)
        value, mask = self.ring.empty((x.size,)), self.ring.empty((x.size,))

        def lane(start: int) -> Steps[None]:
            m, r = self.ring.mask(share[start : start + PART], replace(stream, at=stream.at + start))
            (other,) = yield from self.opened(m)
            if not self.ring.abstract:
                put(value, self.ring.add(m, other), start)
                put(mask, r, start)

        yield from pipeline(map(lane, range(0, x.size, PART)), 2)
        x.opening = Opening(value.reshape(x.shape), mask.reshape(x.shape))

    @property
    def holders(self) -> tuple[int, ...]:
        return tuple(range(self.evaluators))
