"""The transport between processes of one machine: data through memory that they share, everything else through ZeroMQ.

The links of `zeromq.py` stay: over them parties greet, notice a peer's death, abort and part. Only messages that carry
arrays take another road, in the same frames: one pipe (native/mpc_pipe.h) for each direction of each pair. That saves the
operating system's copies and ZeroMQ's hand-over between threads: a message costs two memory copies and a wake-up.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from mpc._native import ffi, lib
from mpc.errors import MPCError, ProtocolError, Timeout
from mpc.net.channel import Meter, Spec
from mpc.net.frame import HEADER, Array, Buffer, Lane, layout, layout_of
from mpc.net.link import SLICE
from mpc.net.zeromq import ZeroMQ

CAPACITY = 1 << 24  # bytes of a pipe: two openings of a million words fit, so that two who both send first rarely wait
_HEAD, _BELL = 192, 64  # bytes before a pipe's buffer; of a process's bell
_SLICE = int(1000 * SLICE)  # ms
_PATIENCE = 5  # ms that a reader lets others stand before full pipes, before it takes what is in them out of the way


def available() -> bool:
    """Whether processes of this machine can talk so: on Linux."""
    return bool(lib.mpc_pipe_supported()) and hasattr(os, "memfd_create")


def create(parties: int) -> int:
    """Memory for a session of `parties` processes: a descriptor of a file without a name, to be inherited by all of them.

    Pages take memory when they are first used.
    """
    descriptor = os.memfd_create("mpc")
    os.ftruncate(descriptor, _size(parties))
    return descriptor


def _size(parties: int) -> int:
    return parties * _BELL + parties * parties * (_HEAD + CAPACITY)


class Shared(ZeroMQ):
    """Party `me`'s channel over the memory `descriptor` (see `create`), which it closes; the rest as for `ZeroMQ`."""

    def __init__(self, me: int, parties: int, addresses: Any, session: bytes, *, descriptor: int, **options: Any) -> None:
        memory = mmap.mmap(descriptor, _size(parties))
        os.close(descriptor)
        base = ffi.from_buffer(memory)  # keeps the mapping
        self._base = base
        peers = [p for p in range(parties) if p != me]
        self._bells = [base + p * _BELL for p in range(parties)]

        def pipe(i: int, j: int) -> Any:
            return base + parties * _BELL + (i * parties + j) * (_HEAD + CAPACITY)

        to, came = {p: Lane(session, me, p) for p in peers}, {p: Lane(session, p, me) for p in peers}
        # by peer: our lane there, its pipe, and whom to wake; the peer's lane here, and how its pipe is read
        self._out = {p: (to[p], pipe(me, p), self._bells[p]) for p in peers}
        self._into = {p: (came[p], (pipe(p, me), CAPACITY, self._bells[p], self._bells[me])) for p in peers}
        self._aside: dict[int, bytearray] = {p: bytearray() for p in peers}  # taken out of full pipes before it was due
        super().__init__(me, parties, addresses, session, **options)
        self.meter = Meter(to, came)

    def send(self, peer: int, round: int, arrays: Sequence[Array]) -> None:
        """See `Channel.send`. Waits where a pipe is full, and meanwhile takes in what is meant for this party."""
        if self._over:
            raise self._over
        if time.monotonic() > self._look:  # who only sends sees here that somebody is gone
            self._look_around(round)
        plan, (lane, pipe, bell) = layout_of(arrays), self._out[peer]
        if plan.joined:
            frame = lane.join(round, plan, arrays)
            size = len(frame)
            done = lib.mpc_pipe_put(pipe, CAPACITY, bell, frame, size)
            if done < size:
                self._push(peer, memoryview(frame)[done:], round)
            return
        for data in lane.split(round, plan, arrays):
            done = lib.mpc_pipe_put(pipe, CAPACITY, bell, ffi.from_buffer(data), len(data))
            if done < len(data):
                self._push(peer, memoryview(data)[done:], round)

    def recv(self, peer: int, round: int, specs: Sequence[Spec]) -> list[Array]:
        """See `Channel.recv`."""
        if self._over:
            raise self._over
        plan, (lane, pipe) = layout(tuple(specs)), self._into[peer]
        header = lane.header(round, plan)
        size = HEADER + plan.size if plan.joined else HEADER
        head = bytearray(size)
        try:
            if self._aside[peer]:
                got = self._get(peer, head, size, _SLICE)
            else:  # not through _get: a call less
                got = lib.mpc_pipe_get(*pipe, ffi.from_buffer(head), size, _SLICE)
            if got < HEADER:
                self._wait(peer, memoryview(head)[got:HEADER], round)
            if not head.startswith(header):
                lane.explain(head[:HEADER], round, plan)
                raise ProtocolError(peer, "a control message where data are due", round)
            if got < size:
                self._wait(peer, memoryview(head)[max(got, HEADER) :], round)
            if plan.joined:
                return lane.arrays(head, plan)
            arrays = [np.empty(shape, dtype) for dtype, shape, _ in plan.places]
            for array in arrays:
                self._wait(peer, array.reshape(-1).view(np.uint8).data, round)
            lane.passed(plan)
            return arrays
        except MPCError as error:
            self._over = error
            raise

    def _get(self, peer: int, target: Buffer, size: int, wait: int) -> int:
        """Up to `size` bytes that came from `peer`, into `target`: what was taken aside first. Waits up to `wait` ms."""
        if aside := self._aside[peer]:
            size = min(size, len(aside))
            memoryview(target)[:size] = aside[:size]
            del aside[:size]
            return size
        return lib.mpc_pipe_get(*self._into[peer][1], ffi.from_buffer(target), size, wait)  # type: ignore[no-any-return]

    def _wait(self, peer: int, target: memoryview, round: int) -> None:
        """Fills `target` with what `peer` sends."""
        link, progress = self._links[peer], time.monotonic()
        while target:
            gone = link.gone  # asked before looking: what came before the end is still delivered
            got = self._get(peer, target, len(target), _PATIENCE)
            now = time.monotonic()
            if got:
                target, progress = target[got:], now
                continue
            if gone:
                raise self._lost(link, round)
            self._watch(round)
            if lib.mpc_pipe_waits(self._bells[peer]):  # perhaps for who stands before a full pipe; else it will send
                self.make_way()
            if now - progress > self._deadline:
                raise Timeout(peer, f"sent nothing for {self._deadline:g} s, though its process answers", round)

    def _push(self, peer: int, data: memoryview, round: int) -> None:
        """Sends what did not fit into the pipe at once."""
        (_, pipe, bell), mine, link = self._out[peer], self._bells[self.me], self._links[peer]
        progress = time.monotonic()
        while data:
            lib.mpc_pipe_await_room(pipe, CAPACITY, bell, mine, _SLICE)
            done = lib.mpc_pipe_put(pipe, CAPACITY, bell, ffi.from_buffer(data), len(data))
            data = data[done:]
            if done:
                progress = time.monotonic()
                continue
            self.make_way()
            try:
                self._watch(round)
                if link.gone:
                    raise self._lost(link, round)
                if time.monotonic() - progress > self._deadline:
                    raise Timeout(peer, f"took nothing for {self._deadline:g} s, though its process answers", round)
            except MPCError as error:
                self._over = error
                raise

    def make_way(self) -> None:
        """Takes aside what stands in full pipes to this party, so that parties who wait for each other go on."""
        for peer, aside in self._aside.items():
            pipe = self._into[peer][1]
            if lib.mpc_pipe_full(pipe[0]):
                block = bytearray(CAPACITY)
                got = lib.mpc_pipe_get(*pipe, ffi.from_buffer(block), CAPACITY, 0)
                aside += memoryview(block)[:got]
