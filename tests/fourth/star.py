"""Additive sharing whose evaluators open things through party 0: they send it their parts, it answers with the sums.

An exercise: what it takes to change how parties talk. With e evaluators an opening costs 2 (e - 1) messages in place of
e (e - 1), and two rounds in place of one. The gates are those of `additive`, word for word; party 0 only adds up what every
evaluator learns anyway, so nothing changes in what anybody sees.
"""

from __future__ import annotations

from collections.abc import Sequence

from mpc.protocols.additive import Additive
from mpc.protocols.base import IDLE, Exchange, Spec, Steps
from mpc.protocols.dealt import Deal, Received
from mpc.ring.words import Array


class Star(Additive):
    """n evaluators around party 0, and a dealer."""

    def exchange(
        self,
        words: Sequence[Array] = (),
        bits: Sequence[Array] = (),
        dealt: Sequence[Spec] = (),
        deal: Deal | None = None,
    ) -> Steps[Received]:
        """Two rounds where something is opened; none for what is only dealt."""
        if self.deals or not (words or bits):
            received = yield from super().exchange(words, bits, dealt, deal)
            if words or bits:
                yield IDLE
            return received
        ring, count = self.ring, len(words)
        mine = [ring.solid(a) for a in (*words, *bits)]
        specs = [(a.dtype.str, a.shape) for a in mine]
        if self.first:
            got = yield Exchange({}, dict.fromkeys(self.peers, specs))
            theirs = list(zip(*(got[p] for p in self.peers), strict=True))
            others = [ring.total(a) if k < count else ring.xor(a) for k, a in enumerate(theirs)]
            sums = [
                ring.add(a, b) if k < count else ring.xor([a, b]) for k, (a, b) in enumerate(zip(mine, others, strict=True))
            ]
            yield Exchange(dict.fromkeys(self.peers, sums), {})
            return Received(others[:count], others[count:], None)
        expects = {self.dealer: list(dealt)} if dealt and self.me == self.last else {}
        corrections = yield Exchange({0: mine}, expects)
        sums = (yield Exchange({}, {0: specs}))[0]
        others = [ring.sub(b, a) if k < count else ring.xor([b, a]) for k, (a, b) in enumerate(zip(mine, sums, strict=True))]
        return Received(others[:count], others[count:], corrections[self.dealer] if expects else None)

    def opened(self, *words: Array) -> Steps[list[Array]]:
        """The same for words alone."""
        return (yield from self.exchange(words)).words
