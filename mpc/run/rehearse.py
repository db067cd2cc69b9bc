"""The rehearsal: the same program and protocol text on shapes, all parties at once. What it counts is what a run measures."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..errors import MPCError
from ..ir.program import Eqn, Program, Where
from ..ir.types import Type
from ..net.shaped import LAN, WAN, Network
from ..protocols.base import Exchange, Origin, Protocol, Share, Value, in_order, spec_of
from ..ring.packed import Packed
from ..ring.prg import Name
from ..ring.rings import ring_of
from ..ring.shapes import Shapes, blank
from ..ring.words import dtype_of
from .interpret import Context, interpret

THIS_MACHINE = Network(0.08, 16000, "this machine")  # processes side by side, as `mpc.local` starts them


class Machine(NamedTuple):
    """What a core does in a second; `launch/machine.py` measures it."""

    multiplications: float  # ring multiplications in products
    words: float  # ring words written by everything else
    round: float  # core-seconds that a round takes at each process: Python, and waking up two threads
    cores: int  # for all processes


NOMINAL = Machine(9e9, 0.4e9, 0.23e-3, 2)  # that of docs/performance.md


@dataclass
class OpCost:
    rounds: int = 0  # in which party 0 waits for it; operations that share a round count it each
    online: int = 0  # payload bytes that parties send each other
    dealt: int = 0  # payload bytes the dealer sends

    @property
    def bytes(self) -> int:
        return self.online + self.dealt


@dataclass
class Report:
    """Cost of one execution. Prints as a table; `as_dict()` for machines. Bytes are payload; headers add 64 bytes a message."""

    rounds: int = 0
    links: dict[tuple[int, int], int] = field(default_factory=lambda: defaultdict(int))  # (from, to) -> bytes
    messages: int = 0
    tail: dict[int, int] = field(default_factory=lambda: defaultdict(int))  # bytes a party sends after the last dealt ones
    dealer: int | None = None
    processes: int = 0
    by_op: dict[str, OpCost] = field(default_factory=lambda: defaultdict(OpCost))
    by_line: dict[str, OpCost] = field(default_factory=lambda: defaultdict(OpCost))
    multiplications: int = 0  # ring multiplications in products of all parties
    words: int = 0  # ring words written by all parties
    names: tuple[str, ...] = ()  # of the processes
    networks: tuple[Network, ...] = (LAN, WAN)  # to predict for

    @property
    def dealt_bytes(self) -> int:
        """What the dealer sends: offline, since it depends on no data."""
        return sum(b for (i, _), b in self.links.items() if i == self.dealer)

    @property
    def online_bytes(self) -> int:
        return sum(self.links.values()) - self.dealt_bytes

    def sent(self, party: int) -> int:
        return sum(b for (i, _), b in self.links.items() if i == party)

    def seconds(self, network: Network, machine: Machine = NOMINAL) -> float:
        """Predicted: rounds, bytes, and work at the rates of a machine, on whose cores all processes share it.

        Parties send at once, and a dealer runs ahead of them: either their bytes decide, or the dealer's and what parties
        send after the last of them.
        """
        online = max((self.sent(i) for i, _ in self.links if i != self.dealer), default=0)
        dealt = self.dealt_bytes + max(self.tail.values(), default=0) if self.dealt_bytes else 0
        work = self.multiplications / machine.multiplications + self.words / machine.words
        work += self.rounds * self.processes * machine.round
        return network.seconds(self.rounds, max(online, dealt)) + work / max(1, min(machine.cores, self.processes))

    # ---- presentation ----
    def name(self, party: int) -> str:
        return self.names[party] if party < len(self.names) else f"party {party}"

    def summary(self) -> str:
        """The cost in one line."""
        times = ", ".join(f"{duration(self.seconds(n))} on {n}" for n in self.networks)
        return (
            f"{self.rounds:,} rounds, {size_of(self.online_bytes)} between parties, {size_of(self.dealt_bytes)} of correlated "
            f"randomness; predicted {times}"
        )

    def as_dict(self) -> dict[str, Any]:
        def costs(items: dict[str, OpCost]) -> list[dict[str, Any]]:
            return [
                {"what": k, "rounds": c.rounds, "online_bytes": c.online, "dealt_bytes": c.dealt} for k, c in _ranked(items)
            ]

        return {
            "rounds": self.rounds,
            "messages": self.messages,
            "online_bytes": self.online_bytes,
            "dealt_bytes": self.dealt_bytes,
            "links": [
                {"from": self.name(i), "to": self.name(j), "bytes": b, "dealer": i == self.dealer}
                for (i, j), b in sorted(self.links.items())
            ],
            "predicted": [
                {"network": n.name, "rtt_ms": n.rtt_ms, "mbit": n.mbit, "seconds": round(self.seconds(n), 6)}
                for n in self.networks
            ],
            "operations": costs(self.by_op),
            "lines": costs(self.by_line),
        }

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [
            ("rounds", f"{self.rounds:,}"),
            ("messages", f"{self.messages:,}"),
            ("between parties", size_of(self.online_bytes)),
            ("correlated randomness", f"{size_of(self.dealt_bytes)} dealt" if self.dealer is not None else "none"),
        ]
        rows += [(f"predicted, {n}", duration(self.seconds(n))) for n in self.networks]
        blocks = [table_of(("cost of one run", ""), rows)]
        if self.links:
            links = [(self.name(i), self.name(j), size_of(b)) for (i, j), b in sorted(self.links.items())]
            blocks.append(table_of(("from", "to", "payload"), links, 2))
        for title, costs in (("operation", self.by_op), ("source line", self.by_line)):
            ranked = [(k, c) for k, c in _ranked(costs) if k][:MOST]
            lines = [(k, f"{c.rounds:,}", size_of(c.online), size_of(c.dealt)) for k, c in ranked]
            if lines:
                blocks.append(table_of((f"most expensive {title}", "rounds", "online", "dealt"), lines))
        return "\n\n".join(blocks)


MOST = 8  # rows of a table of expensive things


def _ranked(costs: dict[str, OpCost]) -> list[tuple[str, OpCost]]:
    """By predicted LAN time, most first."""
    return sorted(costs.items(), key=lambda kc: (-LAN.seconds(kc[1].rounds, kc[1].bytes // 2), kc[0]))


def table_of(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], text: int = 1) -> str:
    """Columns: the first `text` of them words, the others numbers."""
    width = [max(len(r[k]) for r in (head, *rows)) for k in range(len(head))]

    def line(row: tuple[str, ...]) -> str:
        return "  ".join(
            c.ljust(w) if k < text else c.rjust(w) for k, (c, w) in enumerate(zip(row, width, strict=True))
        ).rstrip()

    return "\n".join([line(head), "-" * (sum(width) + 2 * (len(width) - 1)), *map(line, rows)])


def size_of(count: int) -> str:
    """1.25 MB"""
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= one:
            return f"{count / one:.3g} {unit}" if count < 999.5 * one else f"{count / one:,.0f} {unit}"
    return f"{count} B"


def duration(seconds: float) -> str:
    """12.3 ms"""
    if seconds >= 120:
        return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


# ---- counting ----
def rehearse(program: Program, protocol: type[Protocol], n: int, args: Any = None) -> Report:
    """Runs every party on shapes, in lockstep, and checks that what each sends is what its peer expects.

    `args`: per party, the stored values that the program takes; blanks are made where it is None.
    """
    processes = n + protocol.has_dealer
    report = Report(processes=processes)
    rings = [Shapes(ring_of(program.ring)) for _ in range(processes)]
    loops = Loops(report, rings)
    parties: list[Generator[Exchange, Any, list[Value]]] = []
    for me in range(processes):
        instance = protocol(me, n, rings[me], lambda peer, purpose: np.zeros((1, 176), np.uint8))
        report.dealer = getattr(instance, "dealer", None)
        inputs = {
            e.params["slot"]: blank_part(e.types[0]) for e in program.walk() if e.op == "input" and e.params["owner"] == me
        }
        values = args[me] if args is not None else [_blank_value(instance, t, k) for k, t in enumerate(program.params)]
        context = Context(instance, 0, inputs, _observer(report, me), loops.steady)
        parties.append(interpret(program, values, context))

    inboxes: list[Any] = [None] * processes
    while True:
        exchanges = [_next(p, inbox) for p, inbox in zip(parties, inboxes, strict=True)]
        if all(ex is None for ex in exchanges):
            break
        if any(ex is None for ex in exchanges):
            raise MPCError(f"{protocol.__name__} is broken: parties do not yield the same number of times")
        _check(exchanges, report, protocol)
        inboxes = [{p: [blank(s, dtype_of(d)) for d, s in specs] for p, specs in ex.recv.items()} for ex in exchanges]  # type: ignore[union-attr]
        report.rounds += exchanges[0].turn  # type: ignore[union-attr]
    report.multiplications += sum(r.multiplications for r in rings)
    report.words += sum(r.words for r in rings)
    return report


Tally = Counter[tuple[Any, ...]]


class Loops:
    """Counts the iterations of a loop that cost what the last one did, instead of running them.

    What an iteration costs is a function of what is open, and what is a view of what, among the values it reads. So once
    that is the same before two iterations, all later ones repeat the first of them; `interpret` asks only where the loop
    is alone, so that no round is shared. The first party that asks decides for all: their counts are complete up to the
    same exchange.
    """

    def __init__(self, report: Report, rings: Sequence[Shapes]) -> None:
        self.report, self.rings = report, rings
        self.before: dict[int, tuple[Tally, Tally, Any]] = {}  # loop -> counts so far, of the last iteration, state after it
        self.decided: dict[tuple[int, int], bool] = {}

    def steady(self, loop: int, done: int, times: int, values: Sequence[Value]) -> bool:
        if (loop, done) not in self.decided:
            self.decided[loop, done] = self._decide(loop, times - done, values)
        return self.decided[loop, done]

    def _decide(self, loop: int, remaining: int, values: Sequence[Value]) -> bool:
        now, state = self._tally(), _openness(values)
        so_far, last, state_before = self.before.get(loop, (Tally(), Tally(), None))
        iteration = Tally({k: c - so_far[k] for k, c in now.items() if c != so_far[k]})
        self.before[loop] = now, iteration, state
        if state != state_before or iteration != last:
            return False
        self._add(iteration, remaining)
        return True

    def _tally(self) -> Tally:
        r = self.report
        tally = Tally({("rounds",): r.rounds, ("messages",): r.messages})
        tally["multiplications",] = r.multiplications + sum(ring.multiplications for ring in self.rings)
        tally["words",] = r.words + sum(ring.words for ring in self.rings)
        for table in ("links", "tail"):
            tally.update({(table, key): b for key, b in getattr(r, table).items()})
        for table in ("by_op", "by_line"):
            for key, cost in getattr(r, table).items():
                tally.update({(table, key, what): getattr(cost, what) for what in ("rounds", "online", "dealt")})
        return tally

    def _add(self, iteration: Tally, times: int) -> None:
        for (what, *key), count in iteration.items():
            if what in ("links", "tail"):
                getattr(self.report, what)[key[0]] += count * times
            elif key:
                cost = getattr(self.report, what)[key[0]]
                setattr(cost, key[1], getattr(cost, key[1]) + count * times)
            else:
                setattr(self.report, what, getattr(self.report, what) + count * times)


def _openness(values: Sequence[Value]) -> list[Any]:
    """Per value: its shape, whether it is open (or was opened in a truncation), and the share through which it is opened."""
    roots: dict[int, int] = {}
    state: list[Any] = []
    for x in values:
        if not isinstance(x, Share):
            state.append(x.shape)
            continue
        root, is_open = x, x.opening is not None
        while root.parent is not None:
            root = root.parent
            is_open = is_open or root.opening is not None
        state.append(
            (
                *(x.shape, x.is_bits, len(x.parts), is_open, x.parent is None, root.opening is None),
                *(x.settled and x.settled.bits, roots.setdefault(id(root), len(roots))),
                *(x.flat_parent, [(k, y.opening is None, y.settled and y.settled.bits) for k, y in _pieces(in_order(x))]),
            )
        )
    return state


def _pieces(x: Share) -> list[tuple[int, Share]]:
    return sorted((x.pieces or {}).items(), key=lambda piece: piece[0])


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
            sends = list(map(spec_of, arrays))
            expects = list(exchanges[j].recv.get(i, []))
            if sends != expects:
                raise MPCError(f"{protocol.__name__} is broken: party {i} sends {sends}, party {j} expects {expects}")
            sent = sum(a.nbytes for a in arrays)
            report.links[i, j] += sent
            report.messages += 1
            if i != report.dealer:
                report.tail[i] += sent
            elif sent:
                report.tail.clear()
        for j, specs in ex.recv.items():
            if specs and i not in exchanges[j].send:
                raise MPCError(f"{protocol.__name__} is broken: party {i} waits for party {j}, which sends nothing")


def _observer(report: Report, me: int) -> Any:
    def observe(eqn: Eqn, where: Where, ex: Exchange) -> None:
        sent = sum(a.nbytes for arrays in ex.send.values() for a in arrays)
        for cost in (report.by_op[eqn.op], report.by_line[str(where)]):
            if me == report.dealer:
                cost.dealt += sent
            else:
                cost.online += sent
            if me == 0:
                cost.rounds += ex.turn

    return observe


def blank_part(t: Type) -> Any:
    return Packed.of(blank(t.shape, np.dtype(np.uint8))) if t.dtype.is_bool else blank(t.shape, ring_of(t.dtype.ring).word)


def _blank_value(protocol: Protocol, t: Type, k: int) -> Value:
    """A stored value that has not been opened."""
    value = blank(t.shape, np.dtype(np.uint8) if t.dtype.is_bool else ring_of(t.dtype.ring).word)
    if not t.secret:
        return value
    share = protocol.stored(value)
    return Share(share.parts, Origin(Name(0, (1 << 32) - 1 - k), 0))
