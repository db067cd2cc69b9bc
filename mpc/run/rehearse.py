"""The rehearsal: the same program and protocol text on shapes, all parties at once. What it counts is what a run measures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import MPCError
from ..ir.program import Eqn, Program
from ..ir.types import Type
from ..protocols.base import Exchange, Origin, Protocol, Share, Spec, Value
from ..ring.packed import Packed
from ..ring.prg import Name
from ..ring.ring import Array, Shapes, blank
from .interpret import Context, interpret


@dataclass(frozen=True)
class Network:
    """A network to predict for."""

    name: str
    rtt_ms: float
    mbit: float


LAN = Network("LAN", 0.2, 1000)
WAN = Network("WAN", 40, 100)


@dataclass
class OpCost:
    count: int = 0
    rounds: int = 0
    online: int = 0  # payload bytes that parties send each other
    dealt: int = 0  # payload bytes the dealer sends


@dataclass
class Report:
    """Cost of one execution. Bytes are payload; headers add 64 bytes a message."""

    rounds: int = 0
    links: dict[tuple[int, int], int] = field(default_factory=lambda: defaultdict(int))  # (from, to) -> bytes
    messages: int = 0
    dealer: int | None = None
    by_op: dict[str, OpCost] = field(default_factory=lambda: defaultdict(OpCost))
    by_line: dict[str, OpCost] = field(default_factory=lambda: defaultdict(OpCost))
    multiplications: int = 0  # ring multiplications in products of all parties
    words: int = 0  # ring words written by all parties

    @property
    def dealt_bytes(self) -> int:
        """What the dealer sends: offline, since it depends on no data."""
        return sum(b for (i, _), b in self.links.items() if i == self.dealer)

    @property
    def online_bytes(self) -> int:
        return sum(self.links.values()) - self.dealt_bytes

    def sent(self, party: int) -> int:
        return sum(b for (i, _), b in self.links.items() if i == party)

    def seconds(self, network: Network, cores: int = 2) -> float:
        """Predicted: rounds, bytes of the busiest party, and work at nominal kernel rates on this many cores in all."""
        busiest = max((self.sent(i) for i, _ in self.links), default=0)
        compute = (self.multiplications / 5e9 + self.words / 0.4e9) / cores
        return self.rounds * network.rtt_ms / 1e3 + busiest * 8 / (network.mbit * 1e6) + compute + 20e-6 * self.rounds


def rehearse(program: Program, protocol: type[Protocol], n: int, args: Any = None) -> Report:
    """Runs every party on shapes, in lockstep, and checks that what each sends is what its peer expects.

    `args`: per party, the stored values that the program takes; blanks are made where it is None.
    """
    processes = n + protocol.has_dealer
    report = Report()
    rings = [Shapes() for _ in range(processes)]
    parties: list[Generator[Exchange, Any, list[Value]]] = []
    for me in range(processes):
        instance = protocol(me, n, rings[me], lambda peer, purpose: np.zeros((1, 176), np.uint8))
        report.dealer = getattr(instance, "dealer", None)
        inputs = {
            e.params["slot"]: blank_part(e.types[0]) for e in program.walk() if e.op == "input" and e.params["owner"] == me
        }
        values = args[me] if args is not None else [_blank_value(instance, t, k) for k, t in enumerate(program.params)]
        context = Context(instance, 0, inputs, _observer(report, me))
        parties.append(interpret(program, values, context))

    inboxes: list[Any] = [None] * processes
    while True:
        exchanges = [_next(p, inbox) for p, inbox in zip(parties, inboxes, strict=True)]
        if all(ex is None for ex in exchanges):
            break
        if any(ex is None for ex in exchanges):
            raise MPCError(f"{protocol.__name__} is broken: parties do not yield the same number of times")
        _check(exchanges, report, protocol)
        inboxes = [{p: [blank(s, np.dtype(d)) for d, s in specs] for p, specs in ex.recv.items()} for ex in exchanges]  # type: ignore[union-attr]
        report.rounds += exchanges[0].turn  # type: ignore[union-attr]
    report.multiplications = sum(r.multiplications for r in rings)
    report.words = sum(r.words for r in rings)
    return report


def _next(party: Generator[Exchange, Any, Any], inbox: Any) -> Exchange | None:
    try:
        return party.send(inbox)
    except StopIteration:
        return None


def _check(exchanges: list[Any], report: Report, protocol: type[Protocol]) -> None:
    if len({ex.turn for ex in exchanges}) != 1:
        raise MPCError(f"{protocol.__name__} is broken: parties disagree on what is a round")
    for i, ex in enumerate(exchanges):
        for j, arrays in ex.send.items():
            sends = [_spec(a) for a in arrays]
            expects = list(exchanges[j].recv.get(i, []))
            if sends != expects:
                raise MPCError(f"{protocol.__name__} is broken: party {i} sends {sends}, party {j} expects {expects}")
            report.links[i, j] += sum(a.nbytes for a in arrays)
            report.messages += 1
        for j, specs in ex.recv.items():
            if specs and i not in exchanges[j].send:
                raise MPCError(f"{protocol.__name__} is broken: party {i} waits for party {j}, which sends nothing")


def _spec(a: Array) -> Spec:
    return (a.dtype.str, a.shape)


def _observer(report: Report, me: int) -> Any:
    def observe(eqn: Eqn, ex: Exchange) -> None:
        sent = sum(a.nbytes for arrays in ex.send.values() for a in arrays)
        for cost in (report.by_op[eqn.op], report.by_line[str(eqn.where)]):
            if me == report.dealer:
                cost.dealt += sent
            else:
                cost.online += sent
            if me == 0:
                cost.rounds += ex.turn

    return observe


def blank_part(t: Type) -> Any:
    return Packed.of(blank(t.shape, np.dtype(np.uint8))) if t.dtype.is_bool else blank(t.shape)


def _blank_value(protocol: Protocol, t: Type, k: int) -> Value:
    """A stored value that has not been opened."""
    if not t.secret:
        return blank(t.shape, np.dtype(np.uint8) if t.dtype.is_bool else np.dtype("<u8"))
    share = protocol.constant(blank(t.shape, np.dtype(np.uint8) if t.dtype.is_bool else np.dtype("<u8")))
    return Share(share.parts, Origin(Name(0, (1 << 32) - 1 - k), 0))
