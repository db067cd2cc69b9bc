"""All parties of a protocol in one process, in lockstep and on real values: no socket, and every message in hand."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mpc.ir.program import Program
from mpc.ir.types import DType, fixed64
from mpc.lang.array import Settings
from mpc.lang.session import Backend, Session
from mpc.protocols.base import Exchange, Part, Protocol, Steps, Value, available
from mpc.ring.packed import Packed
from mpc.ring.prg import expand_key
from mpc.ring.ring import Ring
from mpc.run.execute import Measured
from mpc.run.interpret import Context, interpret


@dataclass
class View:
    """What one party sent and received, in order: (step, peer, array)."""

    sent: list[tuple[int, int, np.ndarray]] = field(default_factory=list)
    received: list[tuple[int, int, np.ndarray]] = field(default_factory=list)


def pair_keys(seed: int, processes: int) -> Callable[[int], Callable[[int, str], np.ndarray]]:
    """party -> (peer, purpose) -> key: both ends of a pair get the same one."""
    source = random.Random(seed)
    seeds = {(i, j): source.randbytes(32) for i in range(processes) for j in range(i + 1, processes)}
    return lambda me: lambda peer, purpose: expand_key(seeds[min(me, peer), max(me, peer)], purpose)


def make_parties(protocol: type[Protocol], n: int, seed: int, ring: Callable[[], Ring] = Ring) -> list[Protocol]:
    """Every process of the protocol, the dealer last."""
    processes = n + protocol.has_dealer
    keys = pair_keys(seed, processes)
    return [protocol(me, n, ring(), keys(me)) for me in range(processes)]


def lockstep(
    steps: Sequence[Steps[Any]], see: Callable[[int, list[Exchange]], None] = lambda step, exchanges: None
) -> list[Any]:
    """Runs one generator per party; what one sends the other receives as a copy. Returns their results in order."""
    inboxes: list[Any] = [None] * len(steps)
    results: list[Any] = [None] * len(steps)
    step = 0
    while True:
        exchanges = [_next(p, inbox, results, i) for i, (p, inbox) in enumerate(zip(steps, inboxes, strict=True))]
        if all(ex is None for ex in exchanges):
            return results
        together = [ex for ex in exchanges if ex is not None]
        assert len(together) == len(steps), "parties do not yield the same number of times"
        assert len({ex.turn for ex in together}) == 1, "parties disagree on what is a round"
        for i, ex in enumerate(together):
            for j, specs in ex.recv.items():
                sent = [(a.dtype.str, a.shape) for a in together[j].send.get(i, [])]
                assert sent == list(specs), f"party {j} sends {sent} to {i}, which expects {specs}"
            for j, arrays in ex.send.items():
                assert not arrays or i in together[j].recv, f"party {j} does not expect what {i} sends"
        see(step, together)
        inboxes = [{j: [a.copy() for a in together[j].send.get(i, [])] for j in ex.recv} for i, ex in enumerate(together)]
        step += 1


def _next(party: Generator[Exchange, Any, Any], inbox: Any, results: list[Any], i: int) -> Exchange | None:
    try:
        return party.send(inbox)
    except StopIteration as end:
        if end.value is not None:
            results[i] = end.value
        return None


class MemoryBackend(Backend):
    """Runs a session's programs in this process. `views`: per process, everything that was said, if `record`."""

    def __init__(
        self, protocol: type[Protocol], n: int, seed: int = 0, ring: Callable[[], Ring] = Ring, record: bool = False
    ) -> None:
        self.parties = make_parties(protocol, n, seed, ring)
        self.n, self.record, self.epoch = n, record, 0
        self.stores: list[dict[int, Value]] = [{} for _ in self.parties]
        self.views = [View() for _ in self.parties]
        self.programs: list[Program] = []
        self.private = [bytes([seed % 256, me] * 16) for me in range(len(self.parties))]  # seeds of their own random words
        self.links: dict[tuple[int, int], int] = {}
        self.rounds = self.messages = 0

    def run(
        self,
        program: Program,
        stored: Sequence[int],
        inputs: dict[int, dict[int, Part]],
        keep: Sequence[int],
        drop: Sequence[int],
    ) -> tuple[list[dict[int, Part]], list[Measured]]:
        program = Program.unpack(program.pack())  # what a party is given
        self.programs.append(program)
        self.epoch += 1
        self.links, self.rounds, self.messages = {}, 0, 0
        for store in self.stores:
            for number in drop:
                store.pop(number, None)
        steps = [
            interpret(
                program,
                [self.stores[me][k] for k in stored],
                Context(party, self.epoch, dict(inputs.get(me, {})), private=expand_key(self.private[me], "private")),
            )
            for me, party in enumerate(self.parties)
        ]
        results = lockstep(steps, self._see)
        count = len(program.outs) - len(keep)
        for store, values in zip(self.stores, results, strict=True):
            store.update(zip(keep, values[count:], strict=True))
        revealed = [{me: r[k] for me, r in enumerate(results) if r[k] is not None} for k in range(count)]
        self._check_receivers(program, revealed)
        return revealed, [self._measured(me) for me in range(len(self.parties))]

    def _see(self, step: int, exchanges: list[Exchange]) -> None:
        self.rounds += exchanges[0].turn
        for i, ex in enumerate(exchanges):
            for j, arrays in ex.send.items():
                self.links[i, j] = self.links.get((i, j), 0) + sum(a.nbytes for a in arrays)
                self.messages += 1
                if self.record:
                    self.views[i].sent += [(step, j, a.copy()) for a in arrays]
                    self.views[j].received += [(step, i, a.copy()) for a in arrays]

    def _check_receivers(self, program: Program, revealed: list[dict[int, Part]]) -> None:
        """Those who should know a value know it, all the same one; nobody else does."""
        wanted = {
            v: set(e.params["to"]) for e, v in zip(program.eqns, program.schedule.first_out, strict=True) if e.op == "reveal"
        }
        for out, by_party in zip(program.outs, revealed, strict=False):
            assert set(by_party) == wanted[out], f"receivers are {set(by_party)}, declared {wanted[out]}"
            values = [v.bytes() if isinstance(v, Packed) else v for v in by_party.values()]
            assert all(np.array_equal(values[0], v) for v in values[1:]), "receivers learn different values"

    def _measured(self, me: int) -> Measured:
        sent = {j: b for (i, j), b in self.links.items() if i == me}
        received = {i: b for (i, j), b in self.links.items() if j == me}
        return Measured(self.rounds, 0.0, sent, received)

    def close(self) -> None:
        self.stores = []


def open_session(
    protocol: type[Protocol] | str,
    n: int,
    truncation: str = "dither",
    dtype: DType | None = None,
    seed: int = 0,
    ring: Callable[[], Ring] | None = None,
    record: bool = False,
) -> Session:
    """A session like `mpc.local(n, protocol)`, whose parties live in this process. Its backend is `session._backend`."""
    chosen = available()[protocol] if isinstance(protocol, str) else protocol
    settings = Settings(truncation, dtype or fixed64(16))
    backend = MemoryBackend(chosen, n, seed, ring or (lambda: settings.ring), record)
    return Session(chosen, chosen.__name__.lower(), n, backend, settings)


def settings() -> list[tuple[str, int]]:
    """(protocol, n) of every protocol that is found: its smallest and largest number of parties, and three."""
    return [
        (name, n)
        for name, p in sorted(available().items())
        for n in sorted({p.parties[0], p.parties[-1], *({3} & set(p.parties))})
    ]
