"""Which comparisons of a program save a round by having more dealt, or bytes by another round: one rule, applied before a run.

A comparison of more than 16 bits takes two rounds, or, by a *wide* tree, one for which several times as many bits are dealt,
or, by a *deep* tree, three for two thirds of them (docs/protocols.md). What is chosen is a parameter of the equation, so the
program's digest covers it: all parties run the same trees, or nothing is sent. `compare` is a session's word for the choice:

    "lan"   two rounds
    "wan"   one round, whatever it takes
    "bulk"  three rounds, as few bytes as there can be
    "auto"  for each comparison what takes the least time on the network that the session declares; without one, "bulk" for
            large arrays, "lan" for others

The time is that of a comparison by itself: half a round trip for each round, all that is dealt and opened at its rate, and
work at nominal rates. Dealt bytes count in full also where they are dealt beforehand (`mpc prep`): they have to reach their
party too, and the program must be the one they were dealt for. Who wants the shortest online phase asks for "wan".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from ..errors import UsageError
from ..ir.ops import BILINEAR, TREE
from ..ir.program import Eqn, Program
from ..net.shaped import Network
from ..ring.ring import DEEP, NARROW, WIDE, Comparison, compare_counts
from ..ring.rings import ring_of
from ..ring.words import words_for
from .rehearse import NOMINAL, THIS_MACHINE

TREES = {"lan": NARROW, "wan": WIDE, "bulk": DEEP}
COMPARE = (*TREES, "auto")
MOVES = frozenset({"reshape", "transpose", "broadcast", "retype"})  # a result keeps what was opened for it


class Demand(NamedTuple):
    """What an equation compares: `trees` thresholds for each of `size` elements. bits: over 64 where words have limbs."""

    size: int
    bits: int
    equal: bool = False
    trees: int = 1

    def seconds(self, tree: int, network: Network) -> float:
        """Predicted, for its rounds, what is dealt, and what a party opens."""
        counts = [(at, compare_counts(Comparison(bits, equal, tree))) for at, bits, equal in self._limbs()]
        rounds = max(count["levels"] for _, count in counts)
        onehots = {(at, count["hot"]) for at, count in counts}  # of one limb and the same digits they are dealt once
        planes = sum(hot for _, hot in onehots) + self.trees * sum(count["ands"] + count["mask"] for _, count in counts)
        words = words_for(self.size) * planes
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
        raise UsageError(f'compare={compare!r}: choose "lan", "wan", "bulk" or "auto"')
    return compare


def with_trees(program: Program, compare: str, network: Network | None) -> Program:
    """The program with its choice of trees, for a session's `compare` and the network it declares. See the module."""
    if compare == "lan":
        return program
    trees = [TREES[compare]] if compare in TREES else [NARROW, DEEP] if network is None else [NARROW, DEEP, WIDE]
    return _Choice(trees, network or THIS_MACHINE, ring_of(program.ring).bits).run(program)


class _Choice:
    """Marks equations, bodies included, each body once. trees: to choose from. bits: of a word."""

    def __init__(self, trees: Sequence[int], network: Network, bits: int) -> None:
        self.trees, self.network, self.bits = trees, network, bits
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
            tree = self._best(list(_demands(program, eqn, settled, self.bits - 1)))
            if body is not eqn.body or tree != NARROW:
                eqn = replace(eqn, body=body, params={**eqn.params, TREE: tree} if tree != NARROW else eqn.params)
            eqns.append(eqn)
        if all(a is b for a, b in zip(eqns, program.eqns, strict=True)):
            return program
        return replace(program, eqns=tuple(eqns))

    def _best(self, demands: Sequence[Demand]) -> int:
        """For all comparisons of an equation."""
        if not demands:
            return NARROW
        return min(self.trees, key=lambda tree: sum(d.seconds(tree, self.network) for d in demands))


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
