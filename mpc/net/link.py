"""One connection of the ZeroMQ transport: a PAIR socket, its monitor, and the lanes of both directions.

What ZeroMQ does (libzmq 4.3.5, measured) decides how this is built:

- Frames are lost over a reconnect and no call fails. The monitor tells us that a connection ended, and that is the end
  of the session; sequence numbers would catch what slipped through.
- A listener may accept strangers beside our peer, whom a PAIR socket then drops. So only the end of *our* connection
  counts, which is known by the file descriptor on which the HELLO came.
- A blocking `recv` with a time-out costs 10 µs less per round than a non-blocking one followed by a poll of several
  sockets. So we wait in slices, and look after everybody else's monitors between them.
- A listener cannot be closed alone: `unbind` also ends the connections that it has accepted. But who connects to it costs
  as much as a peer would: a session, a handshake, events (10^5 of them a minute, a third of what we send). So once the
  peer is there we ask the kernel to drop all that comes for the listener, until the end of the session.
- A closed socket to which the peer still sends does not read any more, and if the peer ends then and a heartbeat falls
  into that time, an assertion (`!_io_error`) ends the process. So we end the connection below libzmq, by its descriptor,
  when the peer's machine has taken what we sent, and close the socket when libzmq has seen that end.
"""

from __future__ import annotations

import fcntl
import os
import socket as sockets
import struct
import sys
import termios
import time
from array import array
from collections import deque
from contextlib import suppress
from typing import Protocol

import zmq

from mpc.errors import UsageError
from mpc.net.frame import ABORT, BYE, FRAME, Buffer, Lane

SLICE = 0.05  # seconds: how late we may notice the loss of a party that we are not waiting for
# Looks, LOOK apart, that must find the operating system's queue empty until nothing can come behind it: `flushed` leaves
# libzmq up to 8 kB, which it has written by the first look, but for a queue that was full.
EMPTY, EMPTIED, LOOK = 2, 20, 0.002
HANG_UP = 1.0  # seconds that libzmq may take to see the end of a connection
# Plain integers: combining zmq's flag enumerations costs microseconds.
NOBLOCK, PUSH_MORE = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE)

_EVENT = struct.Struct("=HI")  # a monitor's first frame: event, value
_DISCONNECTED, _UP, _CALL = int(zmq.EVENT_DISCONNECTED), int(zmq.EVENT_HANDSHAKE_SUCCEEDED), int(zmq.EVENT_ACCEPTED)
_LISTENS = int(zmq.EVENT_LISTENING)
PATIENCE = 1.0  # seconds after a failed handshake until a link counts as refused
BROKEN = 3  # connections that end during the handshake say as much as one that is refused (after which libzmq gives up)
_BROKE = int(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)
_REFUSALS = {
    _BROKE: "the connection broke during the handshake",
    int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL): "the other end does not speak our security protocol",
    int(zmq.EVENT_HANDSHAKE_FAILED_AUTH): "the keys were refused",
}
_EVENTS = _DISCONNECTED | _UP | _CALL | _LISTENS | sum(_REFUSALS)
# Linux, the same on all its processors that we know of, and not in Python: options of a socket, and its shortest filter,
# "return 0": of whatever comes, take no byte.
_ATTACH_FILTER, _DETACH_FILTER = 26, 27
_DROP = array("B", struct.pack("=HBBI", 0x06, 0, 0, 0))


class Security(Protocol):
    """Keys for connections. Without one, links are plain: for parties of one user on one machine only."""

    def secure(self, socket: zmq.Socket[bytes], peer: int, binds: bool) -> None:
        """Set keys and the allow-list for `peer` on a socket, before it binds or connects."""

    def confirm(self, hello: zmq.Frame, peer: int) -> None:
        """Raise `ProtocolError` unless the key that sent this frame (`hello.get("User-Id")`) is `peer`'s."""

    def calls_from(self, peer: int, host: str) -> bool:
        """Whether `peer` is known to call from this numeric address: then its failing handshakes are not a stranger's."""

    def stop(self) -> None:
        """Free what `secure` has started, before the sockets' context ends. Never raises."""


class Link:
    """This party's end of the connection to `peer`."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], out: Lane, into: Lane, address: str, largest: int = FRAME
    ) -> None:
        self.peer, self.address, self.out, self.into = into.src, address, out, into
        self._largest = largest  # bytes of a frame that may come
        self.binds = out.src < into.src
        self.greeted = False  # HELLO came
        self.left = False  # BYE or ABORT came, and was read
        self.gone = False  # the connection ended
        self.torn = False  # a message is numbered and not all sent: after an interruption nothing can follow it
        self.aborted = False  # we have sent ABORT
        self.trouble = ""  # why connecting has failed so far
        self._file = ""  # path of the socket that we bound, if it is one in the file system
        self._listener: int | None = None  # descriptor of the socket that we bound, if it is one of TCP
        self.early: deque[list[Buffer]] = deque()  # read when the connection ended, not yet asked for
        self._descriptor: int | None = None  # of the connection that brought the first message; -1 if unknown
        self._security: Security | None = None
        self._said: zmq.MessageTracker | None = None  # of the last control frame that we sent
        self._up = False
        self._called: int | None = None  # descriptor of the connection that we made
        self._calls: float | None = None  # since when the peer tries
        self._failures = 0  # of its handshakes, in units of a broken one
        self.socket: zmq.Socket[bytes] = context.socket(zmq.PAIR)
        self.monitor: zmq.Socket[bytes] = context.socket(zmq.PAIR)
        # The two calls of every round, bound once; `send` without pyzmq's layer for options of other socket types.
        self.push = super(zmq.Socket, self.socket).send
        self.pull = self.socket.recv

    def start(self, heartbeat: float, silence: float, security: Security | None) -> None:
        """Bind or connect; times in seconds. Raises `UsageError` if the address cannot be used."""
        s, self._security = self.socket, security
        s.set_hwm(0)  # a full queue blocks `send`, and two parties that both send first would wait for ever
        s.setsockopt(zmq.MAXMSGSIZE, self._largest)
        s.setsockopt(zmq.HEARTBEAT_IVL, int(1000 * heartbeat))
        s.setsockopt(zmq.HEARTBEAT_TIMEOUT, int(1000 * silence))
        s.setsockopt(zmq.HANDSHAKE_IVL, 5000)  # ms: a silent stranger is cut off
        s.setsockopt(zmq.RECONNECT_IVL, 20)  # ms: how soon to try again while the peer is not up yet
        s.setsockopt(zmq.RECONNECT_IVL_MAX, 200)
        s.setsockopt(zmq.CONNECT_TIMEOUT, 2000)  # ms: the kernel asks who does not answer after 1, 3, 7, 15 ... seconds
        s.setsockopt(zmq.RCVTIMEO, int(1000 * SLICE))
        s.setsockopt(zmq.LINGER, 0)  # of a channel that nobody closed; see `stop`
        if security:
            security.secure(s, self.peer, self.binds)
        # By hand, not get_monitor_socket(): a monitor whose queue is full would block the thread that does all I/O.
        name = f"inproc://monitor-{id(self)}"
        s.monitor(name, _EVENTS)
        self.monitor.set_hwm(0)
        self.monitor.linger = 0
        self.monitor.connect(name)
        try:
            if self.binds:
                s.bind(self.address)
                event, _ = self.monitor.recv_multipart()  # the first: a listener is there
                if self.address.startswith("tcp://"):
                    _, self._listener = _EVENT.unpack(event)
                elif not self.address.startswith("ipc://@"):
                    self._file = self.address.removeprefix("ipc://")
            else:
                s.connect(self.address)
        except zmq.ZMQError as error:
            verb = "bind" if self.binds else "connect to"
            raise UsageError(f"Party {self.out.src} cannot {verb} {self.address}: {error}.") from None

    def read(self, flags: int = 0) -> list[Buffer]:
        """The next message. Raises `zmq.Again` if none comes within a slice (with NOBLOCK: is there)."""
        frame = self.socket.recv(flags, copy=False)
        if self._descriptor is None:
            if self._security:
                self._security.confirm(frame, self.peer)
            self._descriptor = int(frame.get(zmq.SRCFD))
        frames: list[Buffer] = [frame.buffer]
        while frame.more:  # ZeroMQ delivers all frames of a message or none: these are here already
            frame = self.socket.recv(NOBLOCK, copy=False)
            frames.append(frame.buffer)
        return frames

    def say(self, kind: int, payload: bytes = b"") -> None:
        """Send a control frame, unless the connection has ended, or ABORT was said."""
        if kind in (BYE, ABORT):
            self._filter(_DETACH_FILTER, 0)  # the peer may go on to its next session at once
        if self.gone or self.left or self.torn or self.aborted:
            return
        self.torn, self.aborted = True, kind == ABORT
        part = zmq.Frame(self.out.control(kind, payload), track=True, copy=False, copy_threshold=0)
        with suppress(zmq.ZMQError):  # nobody is there: the next look at the monitor says so
            self._said = self.socket.send(part, NOBLOCK, copy=False, track=True)
        self.torn = False

    def ended(self) -> bool:
        """Whether the connection has just ended; if so, all that had come is in `early` now."""
        while not self.gone:
            try:
                event, _ = self.monitor.recv_multipart(NOBLOCK)
            except zmq.Again:
                return False
            code, value = _EVENT.unpack(event)
            if code == _UP:
                self._up, self._called = True, None if self.binds else value
            elif code == _CALL:
                if self._security and self._calls is None and self._security.calls_from(self.peer, self._caller(value)):
                    self._calls = time.monotonic()
            elif code != _DISCONNECTED:
                self.trouble = _REFUSALS[code]
                # Who was turned away before we could look has gone, and does not try again.
                if self._calls is None and (not self.binds or (self._security and self._security.calls_from(self.peer, ""))):
                    self._calls = time.monotonic()
                if self._calls is not None:
                    self._failures += 1 if code == _BROKE else BROKEN
            elif self._is_ours(value):
                self.gone = True
                # libzmq reports the end after it has queued what came before, so this drains everything.
                while True:
                    try:
                        self.early.append(self.read(NOBLOCK))
                    except zmq.Again:
                        return True
        return False

    def _caller(self, descriptor: int) -> str:
        """Numeric address of the other end of an accepted connection, or "" if it is gone already. What may have taken the
        descriptor since counts only if it has come to the same port."""
        try:
            with sockets.socket(fileno=os.dup(descriptor)) as copy:
                port = str(copy.getsockname()[1])
                return str(copy.getpeername()[0]) if self.address.endswith(f":{port}") else ""
        except (OSError, IndexError):
            return ""

    def _is_ours(self, descriptor: int) -> bool:
        if self._descriptor is None:
            # A listener may have heard a stranger; a connection that we made, and that worked, is our peer's.
            return not self.binds and self._up
        return self._descriptor in (-1, descriptor)

    def refused(self) -> bool:
        """Whether the peer is there and no handshake with it succeeds: one end has a wrong key, or none. A listener counts
        only handshakes after a call from the peer's own address, so that strangers cannot end a session."""
        return self._failures >= BROKEN and self._calls is not None and time.monotonic() - self._calls > PATIENCE

    @property
    def heard(self) -> bool:
        """Whether anything has come, so that what we say goes to somebody."""
        return self._descriptor is not None

    def leaves(self) -> bool:
        """Whether the peer has left or says so next; data that nobody will ask for any more are dropped."""
        if self.ended() or self.gone:
            return True
        with suppress(zmq.Again):
            self.left = kind_of(self.read(NOBLOCK)) in (BYE, ABORT)
        return self.left

    def flushed(self) -> bool:
        """Whether the last control frame, and so all before it, is on its way or can reach nobody."""
        return not self.heard or self.ended() or self.gone or self._said is None or self._said.done

    def await_flush(self) -> None:
        """Wait up to a slice for that."""
        with suppress(zmq.NotDone):
            if self._said:
                self._said.wait(SLICE)

    def parting(self) -> int:
        """Kind of the last message that came, or 0: BYE and ABORT tell an end in order from a crash."""
        return kind_of(self.early[-1]) if self.early else 0

    def hide(self) -> None:
        """Let nobody in any more: whoever was to connect has done so."""
        self._unlink()
        self._filter(_ATTACH_FILTER, struct.pack("@HP", 1, _DROP.buffer_info()[0]))

    def _unlink(self) -> None:
        """Remove the socket's file."""
        if self._file:
            with suppress(OSError):
                os.unlink(self._file)
            self._file = ""

    def _filter(self, option: int, program: bytes | int) -> None:
        """Set what the kernel passes on to the listener, where it can do that."""
        if self._listener is not None and sys.platform == "linux":
            with suppress(OSError), sockets.socket(fileno=os.dup(self._listener)) as listener:
                listener.setsockopt(sockets.SOL_SOCKET, option, program)

    def hang_up(self, end: float) -> None:
        """End the connection, when the peer's machine has taken what is `flushed`, or at the time `end`."""
        descriptor = self._descriptor if self.heard else self._called
        if descriptor in (None, -1) or self.gone:
            return
        with suppress(OSError), sockets.socket(fileno=os.dup(descriptor)) as connection:
            # Unless the end has been reported by now, libzmq had not closed it when we made the copy: it is ours.
            empty, wanted = 0, EMPTY if self.flushed() else 0
            while not self.ended() and not self.gone and empty < wanted and time.monotonic() < end:
                (queued,) = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))
                empty, wanted = (empty, EMPTIED) if queued else (empty + 1, wanted)
                time.sleep(LOOK)
            if not self.gone:
                connection.shutdown(sockets.SHUT_RDWR)
            limit = time.monotonic() + HANG_UP
            while not self.gone and not self.ended() and time.monotonic() < limit:
                self.monitor.poll(int(1000 * SLICE))

    def stop(self) -> None:
        """Close. What is still in libzmq is dropped."""
        self._unlink()
        self.socket.disable_monitor()
        self.monitor.close(0)
        self.socket.close(0)


def kind_of(frames: list[Buffer]) -> int:
    """Kind byte of a message, unverified; 0 if it is too short to have one."""
    head = frames[0]
    return int(head[6]) if len(head) > 6 else 0
