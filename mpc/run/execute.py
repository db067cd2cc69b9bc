"""One party of a session: agrees on the program with the others, then moves what the steps yield over its channel."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from msgspec import Struct

from ..errors import PeerLost, ProgramMismatch, ProtocolError, StoreError
from ..ir.program import Eqn, Program, Where, first_difference
from ..net.channel import Channel
from ..net.frame import layout, layout_of
from ..protocols.base import Exchange, Part, Protocol, Spec, Steps, Value
from ..ring.prg import SEED_BYTES, expand_key, fresh_seed
from ..ring.ring import Ring
from ..ring.rings import ring_of
from ..ring.words import Array
from .clock import Clock, Task
from .interpret import Context, interpret
from .store import EPOCH, Store

Progress = Callable[[int, int, Task | None], None]  # rounds done, bytes sent and received, what is computed
PROGRESS_SECONDS = 0.1  # between two reports


class _Arrival(Struct, eq=False):
    """What one yield expects. Messages are taken from the channel when somebody looks, in the order they were sent."""

    party: Party
    step: int
    specs: Mapping[int, Sequence[Spec]]
    came: dict[int, list[Array]] = {}  # of its own

    def __getitem__(self, peer: int) -> list[Array]:
        while peer not in self.came:
            self.party.receive(peer)
        return self.came[peer]


class _Flow:
    """Keeps a dealer, who waits for nobody, from running ahead of who consumes what it deals by more than a few MARKs.

    Both ends count the bytes of the same yields. At the next of them after a mark is passed the consumer sends an empty
    message; the dealer passes a mark only if the one BEHIND marks before was answered.
    """

    MARK, BEHIND = 16 << 20, 4

    def __init__(self, party: Party, dealer: int, consumer: int) -> None:
        self.behind = self.BEHIND
        self.party, self.deals, self.peer = party, party.me == dealer, consumer if party.me == dealer else dealer
        self.passed, self.marks, self.answers = 0, 0, deque[_Arrival]()

    def before(self, ex: Exchange) -> None:
        """Called at every yield in which something is dealt, before its messages leave."""
        if self.passed // self.MARK > self.marks:
            self.marks = self.passed // self.MARK
            if self.deals:
                self.answers.append(self.party.expect({self.peer: [("|u1", (0,))]}))
                if len(self.answers) > self.behind:
                    self.answers.popleft()[self.peer]
            else:
                self.party.channel.send(self.peer, self.party.step, [np.empty(0, np.uint8)])
        dealt = layout_of(ex.send[self.peer]) if self.deals else layout(tuple(ex.recv[self.peer]))
        self.passed += dealt.size


@dataclass
class Measured:
    """What one execution did at this party."""

    rounds: int = 0
    seconds: float = 0.0
    sent: dict[int, int] = field(default_factory=dict)  # payload bytes to each party
    received: dict[int, int] = field(default_factory=dict)
    waited: dict[int, float] = field(default_factory=dict)  # seconds for messages of each party
    deals: bool = False  # whether this process deals, ahead of and apart from the data
    peak: int = 0  # bytes of memory at most, since the process started
    clock: Clock | None = None  # what the time was spent on, where the run was profiled

    @property
    def busy(self) -> float:
        """Seconds in which it did not wait for a message."""
        return self.seconds - sum(self.waited.values())


@dataclass(frozen=True)
class Phases:
    """What a run spends before the data matter (offline) and with them (online).

    Offline is what a dealer does: its working time, and the bytes it sends. Online is the rest: the time of the party that
    consumes what is dealt, less what it waited for the dealer. So online includes expanding the parties' own words from
    their seeds, which is fused with the arithmetic. In an ordinary run both happen at once and share the cores; after a
    run that was told to deal `ahead`, the two figures are those of phases that did not overlap. A protocol without a dealer
    has no offline phase.
    """

    offline_seconds: float
    online_seconds: float
    offline: dict[tuple[int, int], int]  # (from, to) -> payload bytes
    online: dict[tuple[int, int], int]

    @property
    def offline_bytes(self) -> int:
        return sum(self.offline.values())

    @property
    def online_bytes(self) -> int:
        return sum(self.online.values())


def phases(measured: Sequence[Measured]) -> Phases:
    """The phases of a run, from what its processes measured."""
    dealers = {p for p, m in enumerate(measured) if m.deals}
    links = {(i, j): b for i, m in enumerate(measured) for j, b in sorted(m.sent.items()) if b}
    waited = [(m.seconds, sum(s for p, s in m.waited.items() if p in dealers), m.deals) for m in measured]
    consumers = [seconds - w for seconds, w, deals in waited if w and not deals]
    return Phases(
        max((measured[p].busy for p in dealers), default=0.0),
        max(consumers or [seconds for seconds, _, deals in waited if not deals]),
        {link: b for link, b in links.items() if link[0] in dealers},
        {link: b for link, b in links.items() if link[0] not in dealers},
    )


class Party:
    """Party `me` of `n` (the dealer, if there is one, is number n), with its keys and its stored shares.

    prepared: what the dealer dealt beforehand for the only run of this party; then no dealer takes part. ring: of its programs.
    """

    def __init__(
        self,
        me: int,
        n: int,
        protocol: type[Protocol],
        channel: Channel,
        prepared: Store | None = None,
        ring: str = Ring.name,
    ) -> None:
        self.me, self.n, self.channel, self.prepared = me, n, channel, prepared
        self.processes = n + (protocol.has_dealer and prepared is None)
        seeds = self._agree_on_seeds()
        if prepared is not None:
            seeds[n] = prepared.seed
        self.protocol = protocol(me, n, ring_of(ring), lambda peer, purpose: expand_key(seeds[peer], purpose))
        self.store: dict[int, Value] = {}
        self.deals = self.protocol.stream is not None and self.protocol.stream[0] == me
        self._measured = Measured()  # of the present run
        self._recv: dict[int, Callable[[int, int, Sequence[Spec]], list[Array]]] = {}  # of the present run
        self._ahead: Callable[[], None] | None = None  # what to call once all is dealt
        self.step = 0  # yields so far: the round number in the frames
        stream = self.protocol.stream if prepared is None else None
        self._flow = _Flow(self, *stream) if stream and me in stream else None
        # yields that have not had their message, by who sends it
        self.expected: dict[int, deque[_Arrival]] = {p: deque() for p in range(n + protocol.has_dealer) if p != me}

    def _agree_on_seeds(self) -> dict[int, bytes]:
        """One seed a pair, drawn by the lower number."""
        peers = [p for p in range(self.processes) if p != self.me]
        seeds = {p: fresh_seed() for p in peers if p > self.me}
        for p, seed in seeds.items():
            self.channel.send(p, 0, [np.frombuffer(seed, np.uint8)])
        for p in peers:
            if p < self.me:
                seeds[p] = self.channel.recv(p, 0, [("|u1", (SEED_BYTES,))])[0].tobytes()
        return seeds

    def agree(self, program: Program, epoch: int) -> None:
        """Raises ProgramMismatch unless all parties are about to run the same program under the same protocol, as the same run
        of the session. No share has been sent before."""
        deal = self.prepared.label.deal if self.prepared else ""
        terms = f"{type(self.protocol).__name__} {self.n} {epoch} {program.digest.hex()} {deal}"
        mine = hashlib.blake2b(terms.encode(), digest_size=32, person=b"mpc agree v1").digest()
        different = [p for p, theirs in enumerate(self.everyones(mine)) if theirs != mine]
        if different:
            raise ProgramMismatch(self._difference(program, different[0]))

    def everyones(self, mine: bytes) -> list[bytes]:
        """What each party says at this point, by number: all say equally many bytes. When it returns, all have come here."""
        peers = [p for p in range(self.processes) if p != self.me]
        for p in peers:
            self.channel.send(p, self.step, [np.frombuffer(mine, np.uint8)])
        said = {p: self.channel.recv(p, self.step, [("|u1", (len(mine),))])[0].tobytes() for p in peers}
        return [mine if p == self.me else said[p] for p in range(self.processes)]

    def _difference(self, program: Program, peer: int) -> str:
        """The first difference in words. Both sides send their program, which is no secret, and its length first."""
        text = np.frombuffer(program.pack(), np.uint8)
        self.channel.send(
            peer,
            self.step,
            [
                np.array([text.size], "<u8"),
            ],
        )
        (size,) = self.channel.recv(peer, self.step, [("<u8", (1,))])
        if size[0] > 1 << 26:
            return f"party {peer} runs another program"
        self.channel.send(peer, self.step, [text])
        (theirs,) = self.channel.recv(peer, self.step, [("|u1", (int(size[0]),))])
        other = Program.unpack(theirs.tobytes())
        return f"party {peer} runs another program. First difference: {first_difference(program, other)}"

    def run(
        self,
        program: Program,
        args: Sequence[Value],
        inputs: Mapping[int, Part],
        epoch: int,
        progress: Progress | None = None,
        clock: Clock | None = None,
        hold: Callable[[], None] | None = None,
        begin: Callable[[], None] = lambda: None,
    ) -> tuple[list[Any], Measured]:
        """The program's results at this party: a share, a revealed value, or None where only others learn it.

        clock: notes what the time is spent on. hold: with a protocol that deals, separates the phases: the dealer calls it
        when it has dealt all that it can without an answer, and does not wait for flow control; the others call it before
        they begin, and it returns when the dealer has called. begin: called when all have agreed, before a share leaves.
        """
        if self.prepared is not None:
            if epoch != EPOCH:
                raise StoreError("preprocessing serves one run: this session has had it")
            self.prepared.check(program)
        if program.ring != self.protocol.ring.name:
            raise ProgramMismatch(f"a program over {program.ring} in a session over {self.protocol.ring.name}")
        self.agree(program, epoch)
        if self.prepared is not None:
            self.prepared.use()
            self.everyones(b"used")  # before all have noted theirs nobody sends a share: see store.py
        begin()
        measured = Measured(deals=self.deals, clock=clock)
        self._measured, self._ahead = measured, hold if self.deals else None
        self._recv = dict.fromkeys(self.expected, self.channel.recv)
        if self.prepared is not None:
            self._recv[self.n] = self.prepared.recv
        if clock is not None:
            self._recv = {p: partial(clock.wait, p, recv) for p, recv in self._recv.items()}
        if self._flow is not None:
            self._flow.behind = _Flow.BEHIND if hold is None else 1 << 30
        if hold is not None and self.protocol.stream is not None and not self.deals:
            hold()

        def observe(eqn: Eqn, where: Where, ex: Exchange) -> None:
            assert clock is not None
            sent = sum(a.nbytes for arrays in ex.send.values() for a in arrays)
            clock.exchanged(Task(eqn.op, str(where)), sent, ex.turn)

        context = Context(self.protocol, epoch, dict(inputs), None if clock is None else observe, clock=clock)
        meter = self.channel.meter
        sent, received = dict(meter.bytes_sent), dict(meter.bytes_received)
        if clock is not None:
            clock.start()
        start = time.perf_counter()

        def report() -> None:
            assert progress is not None
            moved = sum(meter.bytes_sent.values()) + sum(meter.bytes_received.values())
            progress(measured.rounds, moved, context.at_work)

        try:
            results = self._drive(interpret(program, args, context), measured, None if progress is None else report)
        except (PeerLost, ProtocolError) as error:
            task = context.at_work
            if task is not None and not error.where:
                error.where = f"{task.op}, {task.line}"
            raise
        self._dealt()
        measured.seconds = time.perf_counter() - start
        if clock is not None:
            clock.stop()
        measured.sent = {p: b - sent.get(p, 0) for p, b in meter.bytes_sent.items()}
        measured.received = {p: b - received.get(p, 0) for p, b in meter.bytes_received.items()}
        return results, measured

    def _drive(self, steps: Steps[list[Any]], measured: Measured, report: Callable[[], None] | None) -> list[Any]:
        due, clock, flow = time.monotonic() + PROGRESS_SECONDS, measured.clock, self._flow
        send = self.channel.send if clock is None else partial(_sent, clock, self.channel.send)
        arrival: Any = None
        while True:
            try:
                ex = steps.send(arrival)
            except StopIteration as end:
                for peer, queue in self.expected.items():  # what nobody looked at still belongs to this run
                    while queue:
                        self.receive(peer)
                results: list[Any] = end.value
                return results
            self.step += 1
            outgoing, incoming = ex.send, ex.recv
            if flow is not None and flow.peer in (outgoing if flow.deals else incoming):
                flow.before(ex)
            for peer, arrays in outgoing.items():
                send(peer, self.step, arrays)
            arrival = self.expect(incoming) if incoming else None  # nobody looks where nothing comes
            if ex.turn:
                measured.rounds += 1
                if clock is not None:
                    clock.turn()
            if report is not None and time.monotonic() > due:
                due = time.monotonic() + PROGRESS_SECONDS
                report()

    def expect(self, specs: Mapping[int, Sequence[Spec]]) -> _Arrival:
        """What comes of these specs, by peer, at the present yield."""
        arrival = _Arrival(self, self.step, specs)
        for peer in specs:
            self.expected[peer].append(arrival)
        return arrival

    def receive(self, peer: int) -> None:
        """Takes the next expected message of a peer off the channel and hands it to the yield that waits for it."""
        arrival = self.expected[peer].popleft()
        if self._ahead is not None:
            self._dealt()
        start = time.perf_counter()
        arrival.came[peer] = self._recv[peer](peer, arrival.step, arrival.specs[peer])
        waited = self._measured.waited
        waited[peer] = waited.get(peer, 0.0) + time.perf_counter() - start

    def _dealt(self) -> None:
        """At a dealer that must wait, or has ended: tells those who are held back that it went as far ahead as it can."""
        if self._ahead is not None:
            self._ahead()
            self._ahead = None


def _sent(clock: Clock, send: Callable[..., None], peer: int, *args: Any) -> None:
    clock.send(peer, send, peer, *args)
