"""One party of a session: agrees on the program with the others, then moves what the steps yield over its channel."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from ..errors import PeerLost, ProgramMismatch, ProtocolError, StoreError
from ..ir.program import Eqn, Program, first_difference
from ..net.channel import Channel
from ..protocols.base import Exchange, Part, Protocol, Spec, Steps, Value
from ..ring.prg import SEED_BYTES, expand_key, fresh_seed
from ..ring.ring import Array, Ring
from .interpret import Context, interpret
from .store import EPOCH, Store

Progress = Callable[[int, int, Eqn | None], None]  # rounds done, bytes sent and received, current equation
PROGRESS_SECONDS = 0.1  # between two reports


class _Arrival:
    """What one yield expects. Messages are taken from the channel when somebody looks, in the order they were sent."""

    __slots__ = ("arrays", "party")

    def __init__(self, party: Party) -> None:
        self.party = party
        self.arrays: dict[int, list[Array]] = {}

    def __getitem__(self, peer: int) -> list[Array]:
        while peer not in self.arrays:
            self.party.receive(peer)
        return self.arrays[peer]


class _Flow:
    """Keeps a dealer, who waits for nobody, from running ahead of who consumes what it deals by more than a few MARKs.

    Both ends count the bytes of the same yields. At the yield after a mark is passed the consumer sends an empty message;
    the dealer passes a mark only if the one BEHIND marks before was answered.
    """

    MARK, BEHIND = 16 << 20, 4

    def __init__(self, party: Party, dealer: int, consumer: int) -> None:
        self.party, self.deals, self.peer = party, party.me == dealer, consumer if party.me == dealer else dealer
        self.passed, self.marks, self.answers = 0, 0, deque[_Arrival]()

    def before(self, ex: Exchange) -> None:
        """Called at every yield, before its messages leave."""
        if self.passed // self.MARK > self.marks:
            self.marks = self.passed // self.MARK
            if self.deals:
                answer = _Arrival(self.party)
                self.party.expect(answer, self.peer, [("|u1", (0,))])
                self.answers.append(answer)
                if len(self.answers) > self.BEHIND:
                    self.answers.popleft()[self.peer]
            else:
                self.party.channel.send(self.peer, self.party.step, [np.empty(0, np.uint8)])
        if self.deals:
            self.passed += sum(a.nbytes for a in ex.send.get(self.peer, ()))
        else:
            self.passed += sum(prod(shape) * np.dtype(dtype).itemsize for dtype, shape in ex.recv.get(self.peer, ()))


@dataclass
class Measured:
    """What one execution did at this party."""

    rounds: int = 0
    seconds: float = 0.0
    sent: dict[int, int] = field(default_factory=dict)  # payload bytes to each party
    received: dict[int, int] = field(default_factory=dict)


class Party:
    """Party `me` of `n` (the dealer, if there is one, is number n), with its keys and its stored shares.

    prepared: what the dealer dealt beforehand for the only run of this party; then no dealer takes part.
    """

    def __init__(self, me: int, n: int, protocol: type[Protocol], channel: Channel, prepared: Store | None = None) -> None:
        self.me, self.n, self.channel, self.prepared = me, n, channel, prepared
        self.processes = n + (protocol.has_dealer and prepared is None)
        seeds = self._agree_on_seeds()
        if prepared is not None:
            seeds[n] = prepared.seed
        self.protocol = protocol(me, n, Ring(), lambda peer, purpose: expand_key(seeds[peer], purpose))
        self.store: dict[int, Value] = {}
        self.step = 0  # yields so far: the round number in the frames
        stream = self.protocol.stream if prepared is None else None
        self._flow = _Flow(self, *stream) if stream and me in stream else None
        self._expected: dict[int, deque[tuple[_Arrival, int, list[Spec]]]] = {
            p: deque() for p in range(n + protocol.has_dealer) if p != me
        }

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
    ) -> tuple[list[Any], Measured]:
        """The program's results at this party: a share, a revealed value, or None where only others learn it."""
        if self.prepared is not None:
            if epoch != EPOCH:
                raise StoreError("preprocessing serves one run: this session has had it")
            self.prepared.check(program)
        self.agree(program, epoch)
        if self.prepared is not None:
            self.prepared.use()
        current: list[Eqn | None] = [None]

        def observe(eqn: Eqn, _: Exchange) -> None:
            current[0] = eqn

        context = Context(self.protocol, epoch, dict(inputs), observe)
        meter = self.channel.meter
        sent, received = dict(meter.bytes_sent), dict(meter.bytes_received)
        start, measured = time.perf_counter(), Measured()

        def report() -> None:
            if progress is not None:
                progress(measured.rounds, sum(meter.bytes_sent.values()) + sum(meter.bytes_received.values()), current[0])

        try:
            results = self._drive(interpret(program, args, context), measured, report)
        except (PeerLost, ProtocolError) as error:
            if current[0] is not None and not error.where:
                error.where = f"{current[0].op}, {current[0].where}"
            raise
        measured.seconds = time.perf_counter() - start
        measured.sent = {p: b - sent.get(p, 0) for p, b in meter.bytes_sent.items()}
        measured.received = {p: b - received.get(p, 0) for p, b in meter.bytes_received.items()}
        return results, measured

    def _drive(self, steps: Steps[list[Any]], measured: Measured, report: Callable[[], None]) -> list[Any]:
        send, now, due = self.channel.send, time.monotonic, time.monotonic() + PROGRESS_SECONDS
        arrival: Any = None
        while True:
            try:
                ex = steps.send(arrival)
            except StopIteration as end:
                for peer, queue in self._expected.items():  # what nobody looked at still belongs to this run
                    while queue:
                        self.receive(peer)
                results: list[Any] = end.value
                return results
            self.step += 1
            if self._flow is not None:
                self._flow.before(ex)
            for peer, arrays in ex.send.items():
                send(peer, self.step, arrays)
            arrival = _Arrival(self)
            for peer, specs in ex.recv.items():
                self.expect(arrival, peer, specs)
            measured.rounds += ex.turn
            if now() > due:
                due = now() + PROGRESS_SECONDS
                report()

    def expect(self, arrival: _Arrival, peer: int, specs: list[Spec]) -> None:
        """Notes that `peer` will send this at the present yield."""
        self._expected[peer].append((arrival, self.step, specs))

    def receive(self, peer: int) -> None:
        """Takes the next expected message of a peer off the channel and hands it to the yield that waits for it."""
        arrival, step, specs = self._expected[peer].popleft()
        if self.prepared is not None and peer == self.n:
            arrival.arrays[peer] = self.prepared.read(step, specs)
        else:
            arrival.arrays[peer] = self.channel.recv(peer, step, specs)
