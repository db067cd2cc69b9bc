"""Which source line costs what: read off the clocks of all parties. As a table, as figures, as a trace for a browser."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from .clock import Clock, Spent
from .execute import Measured
from .rehearse import MOST, duration, size_of, table_of


class Cost(NamedTuple):
    """Of an operation or a line. Seconds are those of party 0, whose sum is the run's; `dealer` apart, as it runs beside."""

    compute: float
    wait: float
    send: float
    dealer: float  # seconds in which a dealer worked for it
    online: int  # payload bytes of all parties
    dealt: int
    rounds: int

    @property
    def seconds(self) -> float:
        return self.compute + self.wait + self.send


class Profile:
    """What the runs of a `with session.profile() as p` block spent. Prints as tables; `save` writes a trace."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)  # of the processes
        self.runs: list[Sequence[Measured]] = []

    def add(self, measured: Sequence[Measured]) -> None:
        """One more run."""
        self.runs.append(measured)

    @property
    def seconds(self) -> float:
        """Wall time of the runs."""
        return sum(max(m.seconds for m in run) for run in self.runs)

    def _clocks(self) -> Iterator[tuple[int, Measured, Clock]]:
        for run in self.runs:
            for party, measured in enumerate(run):
                if measured.clock is not None:
                    yield party, measured, measured.clock

    def by(self, what: Literal["op", "line"]) -> dict[str, Cost]:
        """Costs by operation or by source line, dearest first; "" is what belongs to no line."""
        total: dict[str, Cost] = {}
        for party, measured, clock in self._clocks():
            for task, spent in clock.spent.items():
                key = getattr(task, what)
                total[key] = _added(total.get(key, _NOTHING), _cost(party, measured, spent))
        return dict(sorted(total.items(), key=lambda item: -item[1].seconds - item[1].dealer))

    def by_party(self) -> list[dict[str, Any]]:
        """Per process: seconds of computing, of waiting for each other process and of sending."""
        rows: list[dict[str, Any]] = [
            {"party": name, "compute": 0.0, "send": 0.0, "wait": dict.fromkeys(self.names, 0.0)} for name in self.names
        ]
        for party, measured, clock in self._clocks():
            for spent in clock.spent.values():
                rows[party]["compute"] += spent.compute
                rows[party]["send"] += spent.send
            for peer, seconds in measured.waited.items():
                rows[party]["wait"][self.names[peer]] += seconds
        return rows

    def timeline(self, most: int = 400) -> dict[str, Any]:
        """When rounds began, and what each process did: at most `most` spans each, the longest, in seconds from the start."""
        begin = self._begin()
        spans: list[list[dict[str, Any]]] = [[] for _ in self.names]
        for party, _, clock in self._clocks():
            spans[party] += [
                {"kind": s.kind, "op": s.task.op, "line": s.task.line, "start": s.start - begin, "seconds": s.seconds}
                for s in clock.spans
            ]
        kept = [sorted(sorted(of, key=lambda s: -s["seconds"])[:most], key=lambda s: s["start"]) for of in spans]
        rounds = [t - begin for party, _, clock in self._clocks() if party == 0 for t in clock.rounds]
        return {"rounds": rounds, "spans": kept}

    def _begin(self) -> float:
        return min((c.spans[0].start for _, _, c in self._clocks() if c.spans), default=0.0)

    def trace(self) -> dict[str, Any]:
        """Chrome's trace format: every process a row, every span an event with its source line, in microseconds."""
        begin = self._begin()
        events: list[dict[str, Any]] = [
            {"ph": "M", "name": "process_name", "pid": party, "tid": 0, "args": {"name": name}}
            for party, name in enumerate(self.names)
        ]
        for party, _, clock in self._clocks():
            for s in clock.spans:
                args: dict[str, Any] = {"line": s.task.line}
                name = s.task.op
                if s.peer >= 0:
                    args["peer"] = self.names[s.peer]
                    name = f"{s.kind} {'for' if s.kind == 'wait' else 'to'} {self.names[s.peer]}"
                    args["op"] = s.task.op
                when = {"pid": party, "tid": 0, "ts": (s.start - begin) * 1e6, "dur": s.seconds * 1e6}
                events.append({"ph": "X", "name": name, "cat": _CATEGORY.get(s.kind, s.kind), **when, "args": args})
            events += [
                {"ph": "i", "s": "p", "name": f"round {k}", "pid": party, "tid": 0, "ts": (t - begin) * 1e6}
                for k, t in enumerate(clock.rounds, 1)
            ]
        return {"traceEvents": events, "displayTimeUnit": "ms"}

    def save(self, path: str | Path) -> None:
        """Writes the trace; chrome://tracing and Perfetto show it."""
        Path(path).write_text(json.dumps(self.trace()))

    def as_dict(self) -> dict[str, Any]:
        """For machines: seconds, and the costs by line and by operation."""
        lines, ops = (
            [{"what": k, "seconds": c.seconds, **c._asdict()} for k, c in self.by(what).items()] for what in ("line", "op")
        )
        return {"seconds": self.seconds, "lines": lines, "operations": ops, "parties": self.by_party()}

    def __str__(self) -> str:
        blocks = []
        for title, what in (("source line", "line"), ("operation", "op")):
            rows = [
                (
                    *(key or "(no line)", duration(c.seconds), f"{c.seconds / max(self.seconds, 1e-12):.0%}"),
                    *(duration(c.compute), duration(c.wait), duration(c.send), duration(c.dealer)),
                    *(size_of(c.online), size_of(c.dealt), f"{c.rounds:,}"),
                )
                for key, c in list(self.by(what).items())[: 2 * MOST]  # type: ignore[arg-type]
            ]
            head = (title, "time", "", "compute", "wait", "send", "dealer", "online", "dealt", "rounds")
            blocks.append(table_of(head, rows))
        return "\n\n".join([f"{duration(self.seconds)} in all; times of {self.names[0]}", *blocks])


_CATEGORY = {"send": "network"}
_NOTHING = Cost(0.0, 0.0, 0.0, 0.0, 0, 0, 0)


def _added(a: Cost, b: Cost) -> Cost:
    return Cost(*(x + y for x, y in zip(a, b, strict=True)))  # type: ignore[arg-type]


def _cost(party: int, measured: Measured, spent: Spent) -> Cost:
    """What one party's clock adds to a line's cost."""
    if measured.deals:
        return _NOTHING._replace(dealer=spent.compute + spent.send, dealt=spent.bytes)
    if party:
        return _NOTHING._replace(online=spent.bytes)
    return Cost(spent.compute, spent.wait, spent.send, 0.0, spent.bytes, 0, spent.rounds)
