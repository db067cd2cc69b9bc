"""`mpc.local`: every party as a process of this machine."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import zmq

from ..errors import MPCError, PeerLost, SessionError, UsageError
from ..ir.ops import ROUNDINGS
from ..ir.program import Program
from ..ir.types import DType, fixed64
from ..lang.array import Settings
from ..lang.session import Backend, Session
from ..net import shared
from ..net.shaped import Network
from ..protocols.base import Part, Protocol, available
from ..ring.ring import Ring
from ..run.checkpoint import Contents
from ..run.execute import Measured
from ..run.shadow import Shadow
from ..run.trees import choose_compare
from . import control

Progress = Callable[[int, int, str], None]  # rounds done, bytes moved by party 0, "operation  file:line"
TRANSPORTS = ("shared", "zeromq")
START_SECONDS = 30.0
GRACE_SECONDS = 6.0  # for the others to tell what they saw after a party is gone


def choose_protocol(name: str, parties: int) -> type[Protocol]:
    """The protocol of that name, if it takes so many parties."""
    found = available()
    if name not in found:
        raise UsageError(f"no protocol {name!r}; there are {', '.join(sorted(found))}")
    if parties not in found[name].parties:
        takes = found[name].parties
        wanted = str(takes[0]) if len(takes) == 1 else f"{takes[0]} to {takes[-1]}"
        raise UsageError(f"protocol {name!r} takes {wanted} parties, not {parties}")
    return found[name]


def choose_settings(truncation: str, dtype: DType | None) -> Settings:
    """What a session fixes for the meaning of programs."""
    if truncation == "exact":
        truncation = "nearest"
    if truncation not in ROUNDINGS:
        raise UsageError(f"truncation {truncation!r}: choose {', '.join(ROUNDINGS)}, or exact (nearest)")
    dtype = dtype or fixed64(16)
    if dtype.kind != "fixed" and not dtype.primes:
        raise UsageError(f"dtype={dtype}: numbers become mpc.fixed64(f), mpc.fixed128(f), mpc.fixed32(f) or mpc.field(p)")
    return Settings(truncation, dtype)


def local(
    parties: int = 3,
    protocol: str = "helper",
    *,
    truncation: str = "dither",
    dtype: DType | None = None,
    names: Sequence[str] = (),
    transport: str = "shared",
    prepared: str | Path | None = None,
    deadline: float = 300.0,
    progress: Progress | None = None,
    check: str | None = None,
    network: Network | str | None = None,
    compare: str = "auto",
) -> Session:
    """A session whose parties are processes of this machine, for development, tests and benchmarks.

    One user plays all parties here, so nothing is hidden from whoever runs it; the protocol between the processes is the real
    one. protocol: see `mpc protocols`. truncation: how products are rounded, "dither" (unbiased, one round; its coin is
    public), "floor" or "nearest". dtype: of float inputs, fixed64(16) by default; its width is that of all numbers of the
    session, integers as well: fixed128(f) holds products up to 2^(125-2f), fixed32(f) halves the bytes; field(p) makes all
    numbers integers modulo p. transport: "shared" moves data between the processes through memory, "zeromq" through sockets as
    between machines (Linux alone has the first; elsewhere it means the second). prepared: a folder that `mpc prep` wrote, for
    the one program that this session then runs. deadline: seconds a party may take in a round. network: makes the links as
    slow as that one: "lan" (1 Gbit/s, 0.2 ms), "wan" (100 Mbit/s, 40 ms), or `mpc.Network(rtt_ms=..., mbit=...)`; over
    sockets. compare: how comparisons trade bytes for rounds, "lan" (two rounds), "wan" (one), "bulk" (three, the fewest
    bytes), or "auto" (what takes the least time on `network`; without one "bulk" for large arrays, else "lan"). check: "shadow"
    computes every run in the clear as well, in this process, and stops with ShadowError at the first operation that is farther
    from float64 than it promises. Raises UsageError for a combination that does not exist, StoreError for preprocessing that
    does not fit or was used.
    """
    settings, compare = choose_settings(truncation, dtype), choose_compare(compare)
    chosen = choose_protocol(protocol, parties)
    if transport not in TRANSPORTS:
        raise UsageError(f"no transport {transport!r}; there are {', '.join(TRANSPORTS)}")
    if check not in (None, "shadow"):
        raise UsageError(f'check={check!r}: choose "shadow" or None')
    if check and settings.dtype.primes:
        raise UsageError(f'check="shadow" compares with float64, which {settings.dtype} has nothing to do with')
    shadow = Shadow(settings.dtype.ring) if check else None
    shape = None if network is None else Network.of(network)
    transport = "zeromq" if shape else transport  # its queues hold what is still on the way
    cluster = LocalCluster(
        chosen, protocol, parties, transport, prepared, deadline, progress, shadow, shape, settings.dtype.ring
    )
    session = Session(chosen, protocol, parties, cluster, settings, names)
    session.network, session.compare = shape, compare
    return session


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C waits for the end of the block. By a handler: a mask holds for one thread, and any may get the signal."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        signal.raise_signal(signal.SIGINT)


class LocalCluster(Backend):
    """The party processes and their control sockets."""

    def __init__(
        self,
        protocol: type[Protocol],
        name: str,
        parties: int,
        transport: str,
        prepared: str | Path | None,
        deadline: float,
        progress: Progress | None,
        shadow: Shadow | None = None,
        network: Network | None = None,
        ring: str = Ring.name,
    ) -> None:
        self.parties, self.processes = parties, parties + (protocol.has_dealer and prepared is None)
        self._progress, self._shadow = progress, shadow
        self._epoch, self._running = 0, True  # until all are ready they do not listen
        self._folder = tempfile.mkdtemp(prefix="mpc-")
        self._context: zmq.Context[Any] = zmq.Context()
        self._sockets: list[zmq.Socket[bytes]] = []
        self._children: list[subprocess.Popen[bytes]] = []
        session = secrets.token_hex(16)
        memory = shared.create(self.processes) if transport == "shared" and shared.available() else None
        try:
            for me in range(self.processes):
                address = f"ipc://{self._folder}/control-{me}"
                socket = self._context.socket(zmq.PAIR)
                socket.linger = 0
                socket.bind(address)
                self._sockets.append(socket)
                config = {"me": me, "parties": parties, "protocol": name, "folder": f"ipc://{self._folder}", "control": address,
                          "session": session, "ring": ring, "deadline": deadline, "memory": memory, "processes": self.processes,
                          "prepared": str(prepared or ""), "network": network and [network.rtt_ms, network.mbit]}  # fmt: skip
                with _undisturbed():  # a child that was started and not noted would outlive us
                    self._children.append(self._start(config))
            self._collect("ready", START_SECONDS)
            self._running = False
        except BaseException:
            self.close()
            raise
        finally:
            if memory is not None:
                os.close(memory)

    @staticmethod
    def _start(config: dict[str, Any]) -> subprocess.Popen[bytes]:
        source = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH", "")]))
        child = subprocess.Popen(
            [sys.executable, "-m", "mpc.launch.party"],
            stdin=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            pass_fds=[config["memory"]] if config["memory"] is not None else [],
            start_new_session=True,  # Ctrl-C at the terminal must not reach a process that is still importing
        )
        assert child.stdin is not None
        child.stdin.write(msgspec.json.encode(config) + b"\n")
        child.stdin.flush()
        return child

    @property
    def pids(self) -> list[int]:
        """Process ids of the parties, in order (the dealer last)."""
        return [c.pid for c in self._children]

    def run(
        self,
        program: Program,
        stored: Sequence[int],
        inputs: dict[int, dict[int, Part]],
        keep: Sequence[int],
        drop: Sequence[int],
    ) -> tuple[list[dict[int, Part]], list[Measured]]:
        if not self._children:
            raise SessionError("the session is closed")
        if self._shadow is not None:
            self._shadow.run(program, stored, inputs, keep, drop)
        packed = np.frombuffer(program.pack(), np.uint8)
        self._epoch += 1
        self._running = True
        tellers = _tellers(program)[: len(program.outs) - len(keep)]
        for me, socket in enumerate(self._sockets):
            mine, tell = inputs.get(me, {}), [k for k, teller in enumerate(tellers) if teller == me]
            command = {"do": "run", "epoch": self._epoch, "args": list(stored), "keep": list(keep), "drop": list(drop),
                      "tell": tell, "slots": list(mine), "progress": me == 0 and self._progress is not None,
                       "profiled": self.profiled, "ahead": self.ahead}  # fmt: skip
            control.send(socket, command, [packed, *mine.values()])
        answers = self._collect("done", None)
        self._running = False
        told = [iter(parts) for _, parts in answers]
        values = [next(told[teller]) for teller in tellers]
        revealed = [{me: v for me, (header, _) in enumerate(answers) if k in header["known"]} for k, v in enumerate(values)]
        return revealed, [control.measured_from(header["measured"]) for header, _ in answers]

    def save(self, folder: Path, numbers: Sequence[int], contents: Contents) -> None:
        command = {"do": "save", "folder": str(folder), "args": list(numbers), "contents": asdict(contents)}
        self._tell_all(command)

    def load(self, folder: Path, first: int, names: Sequence[str]) -> Contents:
        if self._shadow is not None:
            raise SessionError('check="shadow" follows inputs in the clear: it cannot follow what comes from a checkpoint')
        self._epoch += 1
        command = {"do": "load", "folder": str(folder), "first": first, "names": list(names), "epoch": self._epoch}
        return msgspec.convert(self._tell_all(command)[0][0]["contents"], Contents)

    def _tell_all(self, command: dict[str, Any]) -> list[tuple[dict[str, Any], list[Part]]]:
        if not self._children:
            raise SessionError("the session is closed")
        self._running = True
        for socket in self._sockets:
            control.send(socket, command)
        answers = self._collect("done", None)
        self._running = False
        return answers

    def _collect(self, wanted: str, seconds: float | None) -> list[tuple[dict[str, Any], list[Part]]]:
        """One answer of every party. Raises the error that explains most, if any party reports one or dies."""
        answers: dict[int, tuple[dict[str, Any], list[Part]]] = {}
        errors: dict[int, MPCError] = {}
        poller = zmq.Poller()
        for socket in self._sockets:
            poller.register(socket, zmq.POLLIN)
        number = {socket: me for me, socket in enumerate(self._sockets)}
        limit = time.monotonic() + seconds if seconds is not None else None
        while len(answers) + len(errors) < self.processes:
            for socket, _ in poller.poll(100):
                header, parts = control.receive(socket)
                if header["is"] == "error":
                    errors[number[socket]] = control.error_from(header)
                elif header["is"] == wanted:
                    answers[number[socket]] = (header, parts)
                elif header["is"] == "ahead":  # a dealer has dealt: the others may begin
                    for other in self._sockets:
                        if other is not socket:
                            control.send(other, {"do": "go"})
                elif header["is"] == "progress" and self._progress is not None:
                    self._progress(header["rounds"], header["bytes"], header["where"])
            dead = [p for p, child in enumerate(self._children) if child.poll() is not None and p not in answers]
            if not all(map(_may_follow, errors.values())):
                break
            if (dead or errors) and limit is None:
                limit = time.monotonic() + GRACE_SECONDS
            if limit is not None and time.monotonic() > limit:
                break
            if all(p in answers or p in errors or p in dead for p in range(self.processes)):
                break
        if len(answers) < self.processes:
            raise self._explain(errors, answers)
        return [answers[p] for p in range(self.processes)]

    def _explain(self, errors: dict[int, MPCError], answers: dict[int, Any]) -> MPCError:
        """A dead process first, then an error that is not merely the echo of another party's."""
        gone = [p for p, c in enumerate(self._children) if c.poll() is not None and p not in errors and p not in answers]
        reports = [e for p, e in sorted(errors.items()) if isinstance(e, PeerLost) and e.party in gone]
        if gone:
            how = self._children[gone[0]].returncode
            ended = f"was killed by signal {-how}" if how is not None and how < 0 else f"ended with status {how}"
            seen = reports[0] if reports else None
            return PeerLost(gone[0], ended, seen.round if seen else None, seen.where if seen else "")
        causes = sorted(errors.values(), key=_may_follow)
        if causes:
            return causes[0]
        silent = [p for p in range(self.processes) if p not in answers]
        return PeerLost(silent[0], f"did not answer within {START_SECONDS:.0f} s")

    def close(self) -> None:
        """Ends all processes; they leave by themselves or are killed. In the middle of a run they do not listen: at once."""
        if self._running:
            for child in self._children:
                child.kill()
        for socket, child in zip(self._sockets, self._children, strict=False):
            if child.poll() is None:
                with contextlib.suppress(zmq.ZMQError):
                    socket.send_multipart([msgspec.msgpack.encode({"do": "close", "parts": []})], zmq.NOBLOCK)
        limit = time.monotonic() + 3
        for child in self._children:
            try:
                child.wait(max(0.0, limit - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            if child.stdin is not None:
                with contextlib.suppress(OSError):
                    child.stdin.close()
        for socket in self._sockets:
            socket.close(0)
        self._context.term()
        self._children, self._sockets = [], []
        shutil.rmtree(self._folder, ignore_errors=True)


def _tellers(program: Program) -> list[int]:
    """Who hands each result to the user's process: of all who learn it the first. Nobody but the user reads it there."""
    made = dict(zip(program.schedule.first_out, program.eqns, strict=True))
    return [made[v].params["to"][0] if v in made and made[v].op == "reveal" else 0 for v in program.outs]


def _may_follow(error: MPCError) -> bool:
    """Whether another party's error may be the cause of this one."""
    return isinstance(error, PeerLost) or error.echo
