"""Where the time of a run goes at one party: computing by equation, waiting and sending by peer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from ..ir.program import Eqn, Where

T = TypeVar("T")
SPANS = 100_000  # kept for the trace; what comes later is in the totals alone


class Task(NamedTuple):
    """What time is spent on: an operation at a source line, "" for what belongs to none (scheduling, the end of a run)."""

    op: str
    line: str


SCHEDULING = Task("scheduling", "")


class Span(NamedTuple):
    """An uninterrupted piece of work. Times in seconds of the machine's monotonic clock, which its processes share."""

    kind: str  # compute, wait or send
    task: Task
    peer: int  # of a wait or a send, else -1
    start: float
    seconds: float


@dataclass
class Spent:
    """Totals of one task at one party."""

    compute: float = 0.0
    wait: float = 0.0
    send: float = 0.0
    bytes: int = 0  # payload sent
    rounds: int = 0  # that it takes part in; tasks that share a round count it each
    calls: int = 0

    @property
    def seconds(self) -> float:
        return self.compute + self.wait + self.send


class Clock:
    """Divides a run without gaps: every moment belongs to one task, which computes, waits or sends.

    Waiting counts for the equation that looked first; others that share its round find the message there.
    """

    def __init__(self) -> None:
        self.spent: dict[Task, Spent] = {}
        self.spans: list[Span] = []
        self.rounds: list[float] = []  # when each round began
        self._stack: list[tuple[str, Task, int]] = [("compute", SCHEDULING, -1)]
        self._since = 0.0

    def _charge(self) -> None:
        """What has passed since the last call goes to what is on top of the stack."""
        (kind, task, peer), now = self._stack[-1], time.perf_counter()
        spent, seconds = self.of(task), now - self._since
        setattr(spent, kind, getattr(spent, kind) + seconds)
        if len(self.spans) < SPANS:
            self.spans.append(Span(kind, task, peer, self._since, seconds))
        self._since = now

    def of(self, task: Task) -> Spent:
        return self.spent.setdefault(task, Spent())

    def call(self, eqn: Eqn, where: Where, work: Callable[..., T], *args: Any) -> T:
        """work(*args), which belongs to an equation of this line."""
        task = Task(eqn.op, str(where))
        self.of(task).calls += 1
        with self._within("compute", task, -1):
            return work(*args)

    def wait(self, peer: int, work: Callable[..., T], *args: Any) -> T:
        """work(*args), which waits for a message of a peer."""
        with self._within("wait", self._stack[-1][1], peer):
            return work(*args)

    def send(self, peer: int, work: Callable[..., T], *args: Any) -> T:
        """work(*args), which hands a message to the network."""
        with self._within("send", self._stack[-1][1], peer):
            return work(*args)

    @contextmanager
    def _within(self, kind: str, task: Task, peer: int) -> Iterator[None]:
        self._charge()
        self._stack.append((kind, task, peer))
        try:
            yield
        finally:
            self._charge()
            self._stack.pop()

    def exchanged(self, task: Task, sent: int, turn: bool) -> None:
        """Notes what an equation sends in one exchange."""
        spent = self.of(task)
        spent.bytes += sent
        spent.rounds += turn

    def turn(self) -> None:
        """A round begins."""
        if len(self.rounds) < SPANS:
            self.rounds.append(time.perf_counter())

    def start(self) -> None:
        """The run begins."""
        self._since = time.perf_counter()

    def stop(self) -> None:
        """The run is over."""
        self._charge()

    # ---- between processes ----
    def plain(self) -> dict[str, Any]:
        """As lists and numbers, for a message; see `read`."""
        tasks = {task: k for k, task in enumerate(self.spent)}
        return {
            "spent": [[*task, s.compute, s.wait, s.send, s.bytes, s.rounds, s.calls] for task, s in self.spent.items()],
            "spans": [[s.kind, tasks[s.task], s.peer, s.start, s.seconds] for s in self.spans],
            "rounds": self.rounds,
        }

    @staticmethod
    def read(plain: dict[str, Any]) -> Clock:
        """Inverse of `plain`."""
        clock = Clock()
        clock.spent = {Task(op, line): Spent(*numbers) for op, line, *numbers in plain["spent"]}
        tasks = list(clock.spent)
        clock.spans = [Span(kind, tasks[k], *rest) for kind, k, *rest in plain["spans"]]
        clock.rounds = plain["rounds"]
        return clock
