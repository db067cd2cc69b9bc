"""Which comparisons of a program save a round by having more dealt: one rule, applied before a run.

A comparison of more than 16 bits takes two rounds, or, by a *wide* tree, one for which several times as many bits are dealt
(docs/protocols.md). What is chosen is a parameter of the equation, so the program's digest covers it: all parties run the
same trees, or nothing is sent. `compare` is a session's word for the choice:

    "lan"   two rounds, as few bytes as there can be
    "wan"   one round, whatever it takes
    "auto"  for each comparison what takes less time on the network that the session declares; "lan" without one

The time is that of a comparison by itself: half a round trip for each round, all that is dealt at the network's rate, and
work at nominal rates. Dealt bytes count in full also where they are dealt beforehand (`mpc prep`): they have to reach their
party too, and the program must be the one they were dealt for. Who wants the shortest online phase asks for "wan".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from ..errors import UsageError
from ..ir.ops import BILINEAR, WIDE
from ..ir.program import Eqn, Program
from ..net.shaped import Network
from ..ring.ring import Comparison, compare_counts, words_for
from ..ring.rings import ring_of
from .rehearse import NOMINAL

COMPARE = ("lan", "wan", "auto")
MOVES = frozenset({"reshape", "transpose", "broadcast", "retype"})  # a result keeps what was opened for it


class Demand(NamedTuple):
    """What an equation compares: `trees` thresholds for each of `size` elements. bits: over 64 where words have limbs."""

    size: int
    bits: int
    equal: bool = False
    trees: int = 1

    def seconds(self, wide: bool, network: Network) -> float:
        """Predicted, for its rounds and what is dealt."""
        counts = [(at, compare_counts(Comparison(bits, equal, wide))) for at, bits, equal in self._limbs()]
        rounds = 2 if any(count["open2"] for _, count in counts) else 1
        onehots = {(at, count["hot"]) for at, count in counts}  # of one limb and the same digits they are dealt once
        dealt = sum(hot for _, hot in onehots) + self.trees * sum(count["and1"] + count["and2"] for _, count in counts)
        words = words_for(self.size) * dealt
        return network.seconds(rounds, 8 * words) + rounds * NOMINAL.round + words / NOMINAL.words

    def _limbs(self) -> Iterator[tuple[int, int, bool]]:
        """(first bit, bits, whether for equality) of what is compared in a word's limbs; what joins them costs every choice the
        same."""
        for at in range(0, self.bits, 64):
            bits = min(64, self.bits - at)
            yield at, bits, self.equal or at > 0
            if at and not self.equal:
                yield at, bits, False


def choose_compare(compare: str) -> str:
    """The choice, if there is such a one; else raises UsageError."""
    if compare not in COMPARE:
        raise UsageError(f'compare={compare!r}: choose "lan", "wan" or "auto"')
    return compare


def with_trees(program: Program, compare: str, network: Network | None) -> Program:
    """The program with its choice of trees, for a session's `compare` and the network it declares. See the module."""
    if compare == "lan" or (compare == "auto" and network is None):
        return program
    return _Choice(None if compare == "wan" else network, ring_of(program.ring).bits).run(program)


class _Choice:
    """Marks equations, bodies included, each body once. network None: all that compare. bits: of a word."""

    def __init__(self, network: Network | None, bits: int) -> None:
        self.network, self.bits = network, bits
        self.known: dict[int, tuple[Program, Program]] = {}  # with the original, whose id must not be another's

    def run(self, program: Program) -> Program:
        if id(program) not in self.known:
            self.known[id(program)] = program, self._run(program)
        return self.known[id(program)][1]

    def _run(self, program: Program) -> Program:
        settled: set[int] = set()  # values whose truncation left an opened word
        eqns = []
        for eqn, out in zip(program.eqns, program.schedule.first_out, strict=True):
            if _truncates(eqn) or (eqn.op in MOVES and eqn.ins[0] in settled):
                settled.add(out)
            body = self.run(eqn.body) if eqn.body is not None else None
            wide = any(self._pays(d) for d in _demands(program, eqn, settled, self.bits - 1))
            if body is not eqn.body or wide:
                eqn = replace(eqn, body=body, params={**eqn.params, WIDE: True} if wide else eqn.params)
            eqns.append(eqn)
        if all(a is b for a, b in zip(eqns, program.eqns, strict=True)):
            return program
        return replace(program, eqns=tuple(eqns))

    def _pays(self, d: Demand) -> bool:
        return self.network is None or d.seconds(True, self.network) < d.seconds(False, self.network)


def _truncates(eqn: Eqn) -> bool:
    return (eqn.op in BILINEAR or eqn.op == "trunc") and eqn.params["bits"] > 0


def _demands(program: Program, eqn: Eqn, settled: set[int], window: int) -> Iterator[Demand]:
    """The comparisons in an equation's own gate. window: bits that decide a sign where no other is known."""
    op, p, size = eqn.op, eqn.params, eqn.types[0].size
    if op == "ltz":
        yield Demand(size, p.get("bits", window))
    elif op == "eqz":
        yield Demand(size, p.get("bits", window) + 1, True)
    elif op == "relu":  # of the word that a truncation opened, which has no window
        yield Demand(size, window if eqn.ins[0] in settled else p.get("bits", window))
    elif op == "thresholds":
        yield Demand(size // len(p["values"]), p["bits"], False, len(p["values"]))
    elif op == "rescale":
        yield Demand(size, window, False, len(p["states"]))
        yield Demand(size, p["bits"], False, len(p["powers"]))
    elif op == "exp" or (op == "spline" and p["bounds"]):  # where the argument is outside the table, on either side
        yield Demand(size, window, False, 2)
    elif _truncates(eqn) and p["rounding"] != "dither":  # two evaluators truncate twice the product
        yield Demand(size, p["bits"] + (op != "trunc"))
