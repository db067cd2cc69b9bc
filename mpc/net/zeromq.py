"""The transport between processes: one PAIR connection per pair of parties, over ipc or tcp.

A session starts with a HELLO on every link and ends for everyone with the first fault. A link never reconnects. What is
in flight is bounded by the programs, not here: `send` never waits.
"""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import zmq

from mpc.errors import ConfigError, Disagreement, MPCError, PeerLost, ProtocolError, SessionError, Timeout, UsageError
from mpc.net import frame
from mpc.net.bulk import KEY, TAG, Bulk, Pass, word_of
from mpc.net.channel import Channel, Meter, Spec, aborted, explain
from mpc.net.curve import Curve
from mpc.net.frame import ABORT, BYE, FRAME, HELLO, Array, Buffer, Lane, layout, layout_of
from mpc.net.link import NOBLOCK, PUSH_MORE, SLICE, Link, Security, kind_of

__all__ = ["Security", "ZeroMQ"]

_FLUSH = 30.0  # seconds that an orderly end may take to push out what is queued, when the peer still reads
_ANSWER = 1.0  # seconds for who let us wait to say that it has waited for somebody else
_FAREWELL = 1.0  # seconds for an ABORT to get out


class ZeroMQ(Channel):
    """Party `me`'s channel in one session of `parties` processes; it is ready when the constructor returns.

    `addresses` gives the endpoint of each pair (lower, higher) party, as a mapping or a function of both; the lower
    one binds. A folder for ipc must be private to the user. `session` is the 16-byte id that all agree on.

    Times in seconds: `deadline` for a message that is due while its sender is alive; `heartbeat` between two probes of
    an idle link, `silence` after a probe until its party counts as lost (so a stopped process is noticed within
    `heartbeat + silence`; links slower than 20 Mbit/s need more, see `FRAME`); `connect_deadline` for all parties to
    appear; `linger` for the peers to leave too, in `close`.

    Raises `PeerLost` if a party does not appear, `ProtocolError` if one disagrees about session, wire version, party
    numbers or party count, `ConfigError` if keys are refused, `UsageError` for an address that cannot be used.
    """

    def __init__(
        self,
        me: int,
        parties: int,
        addresses: Mapping[tuple[int, int], str] | Callable[[int, int], str],
        session: bytes,
        *,
        epoch: int = 0,
        deadline: float = 300.0,
        heartbeat: float = 1.0,
        silence: float = 3.5,
        connect_deadline: float = 30.0,
        linger: float = 5.0,
        security: Security | None = None,
    ) -> None:
        if not 0 <= me < parties < 1 << 16:
            raise UsageError(f"Party {me} of {parties}: parties are numbered from 0.")
        if len(session) != 16:
            raise UsageError(f"A session id has 16 bytes, not {len(session)}.")
        self.me, self.parties = me, parties
        self._deadline, self._silence, self._linger, self._security = deadline, silence, linger, security
        self._over: MPCError | None = None  # what every further call raises
        self._look = 0.0  # when to see next, while sending, whether all are still there
        self._closed = False
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._links: dict[int, Link] = {}
        self._bulk: dict[int, Bulk] = {}  # where large payloads do not take the link itself, see `seal_bulk`
        self._heartbeat = heartbeat
        self.meter = Meter({}, {})
        try:
            with _undisturbed():
                for peer in (p for p in range(parties) if p != me):
                    address = _endpoint(addresses, min(me, peer), max(me, peer))
                    out, into = Lane(session, me, peer, epoch), Lane(session, peer, me, epoch)
                    link = self._links[peer] = Link(self._context, out, into, address)
                    link.start(heartbeat, silence, security)
            self.meter = Meter({p: k.out for p, k in self._links.items()}, {p: k.into for p, k in self._links.items()})
            self._greet(self._links.values(), connect_deadline)
        except BaseException as error:
            self._over = error if isinstance(error, MPCError) else None
            self.fail(error)
            raise

    def bind(self, session: bytes) -> None:
        """From now on data carry this id, which all parties have computed from what they agreed on."""
        for link in self._links.values():
            link.out.bind(session)
            link.into.bind(session)

    def seal_bulk(self, addresses: Mapping[tuple[int, int], str] | Callable[[int, int], str], connect_deadline: float) -> None:
        """From now on payloads that are large take connections of their own, sealed with AES-256-GCM; see bulk.py.

        All parties call it at the same point. Keys are drawn here and told over CURVE, so it needs `Curve`. Raises what the
        constructor raises.
        """
        if not isinstance(self._security, Curve):
            raise UsageError("sealed payloads need keys that came over CURVE")
        mine = {p: secrets.token_bytes(KEY) for p in self._links}
        for p, key in mine.items():
            self.send(p, 0, [np.frombuffer(key, np.uint8)])
        links = {}
        try:
            for p, key in mine.items():
                theirs = self.recv(p, 0, [("|u1", (KEY,))])[0].tobytes()
                out, into = (Lane(lane.session, lane.src, lane.dst) for lane in (self._links[p].out, self._links[p].into))
                with _undisturbed():
                    address = _endpoint(addresses, min(self.me, p), max(self.me, p))
                    link = Link(self._context, out, into, address, FRAME + TAG)
                    links[p] = Bulk(link, key, theirs)
                    word = word_of(*((key, theirs) if link.binds else (theirs, key)))
                    link.start(self._heartbeat, self._silence, Pass(self._security, word))
            self._greet([bulk.link for bulk in links.values()], connect_deadline)
        finally:
            self._bulk = links

    # The two calls that matter for speed.

    def send(self, peer: int, round: int, arrays: Sequence[Array]) -> None:
        """See `Channel.send`."""
        if self._over:
            raise self._over
        if time.monotonic() > self._look:  # libzmq queues for a peer that is gone: who only sends would never know
            self._look_around(round)
        link = self._links[peer]
        plan = layout_of(arrays)
        try:
            if link.gone:
                raise zmq.Again
            link.torn = True
            if plan.joined:
                link.push(link.out.join(round, plan, arrays), NOBLOCK)
            else:
                header, *parts = link.out.split(round, plan, arrays)
                if self._bulk:
                    link.push(header, NOBLOCK)
                    self._bulk[peer].push(header, parts)
                else:
                    link.push(header, PUSH_MORE)
                    for part in parts[:-1]:
                        link.push(part, PUSH_MORE, copy=False)
                    link.push(parts[-1], NOBLOCK, copy=False)
            link.torn = False
        except zmq.Again:  # without a high-water mark only this: nobody is there any more
            self._over = self._reason(link, round)
            raise self._over from None

    def recv(self, peer: int, round: int, specs: Sequence[Spec]) -> list[Array]:
        """See `Channel.recv`."""
        if self._over:
            raise self._over
        link = self._links[peer]
        plan = layout(tuple(specs))
        header = link.into.header(round, plan)
        try:
            if plan.joined and not link.gone:
                try:
                    frames: list[Buffer] = [link.pull()]
                except zmq.Again:
                    frames = self._next(link, round)
            else:
                frames = self._next(link, round)
            if self._bulk and not plan.joined and frames[0] == header:
                bulk = self._bulk[peer]
                frames += bulk.open(header, self._next(bulk.link, round))
            arrays = link.into.open(frames, header, round, plan)
            if arrays is None:
                raise self._ending(link, frames, round)
        except MPCError as error:
            self._over = error
            raise
        return arrays

    # The end of a session.

    def abort(self, reason: str, blame: int | None = None, code: int = PeerLost.exit_code) -> None:
        """See `Channel.abort`. Takes up to a second if a peer does not read."""
        if self._closed:
            return
        if isinstance(self._over, PeerLost | ProtocolError):
            reason, blame, code = explain(self._over), self._over.party, self._over.exit_code
        payload = frame.abort(self.me if blame is None else blame, reason, code)
        for link in self._links.values():
            if link.heard and not link.ended():
                link.say(ABORT, payload)
        self._shut(_FAREWELL)

    def close(self) -> None:
        """See `Channel.close`. Waits up to `linger` seconds for the peers to leave too.

        Otherwise what they still send (data, heartbeats) would meet a closed TCP socket, whose reset destroys what we
        sent last and they have not received yet.
        """
        if self._over or self._closed:
            self.abort("left after an error")
            return
        flush = 0.0  # when interrupted
        try:
            waiting = list(self._links.values())
            for link in waiting:
                link.say(BYE)
            end = time.monotonic() + self._linger
            while (waiting := [link for link in waiting if not link.leaves()]) and time.monotonic() < end:
                _poll(waiting)
            flush = _FLUSH
        finally:
            self._shut(flush)

    def _shut(self, limit: float) -> None:
        """Close everything when what was said last is on its way, or after `limit` seconds."""
        self._closed = True
        self._over = self._over or SessionError(f"The channel of party {self.me} is closed.")
        end = time.monotonic() + limit
        try:
            for link in self._links.values():
                while not link.flushed() and time.monotonic() < end:
                    link.await_flush()
            for link in self._links.values():
                link.hang_up(end)
        finally:
            for link in (*self._links.values(), *(bulk.link for bulk in self._bulk.values())):
                link.stop()
            if self._security:
                self._security.stop()
            self._context.destroy(0)

    # The start.

    def _greet(self, links: Iterable[Link], connect_deadline: float) -> None:
        """HELLO on every link: the higher party speaks first, since a listener cannot send before it has heard."""
        for link in links:
            if not link.binds:
                link.say(HELLO, frame.hello(self.parties))
        waiting = list(links)
        end = time.monotonic() + connect_deadline
        while waiting:
            _poll(waiting)
            for link in list(waiting):
                try:
                    frames = link.early.popleft() if link.early else link.read(NOBLOCK)
                except zmq.Again:
                    continue
                self._welcome(link, frames)
                waiting.remove(link)
            self._watch(None)
            for link in waiting:
                if link.refused():
                    where = f"at {link.address}: {link.trouble}"
                    raise ConfigError(
                        f"this party and party {link.peer} do not accept each other {where}. Compare the keys in both rosters."
                    )
            if waiting and time.monotonic() > end:
                link, *others = waiting
                trouble = f"; {link.trouble}" if link.trouble else ""
                also = "".join(f"; nor did party {other.peer}" for other in others)
                raise PeerLost(link.peer, f"did not appear at {link.address} within {connect_deadline:g} s{trouble}{also}")

    def _welcome(self, link: Link, frames: list[Buffer]) -> None:
        """Act on the first message of a link."""
        if kind_of(frames) != HELLO:
            raise self._ending(link, frames, None)
        _, payload = link.into.open_control(frames)
        parties = frame.read_hello(payload, link.peer)
        if parties != self.parties:
            raise Disagreement(link.peer, f"a HELLO for {parties} parties instead of {self.parties}")
        link.greeted = True
        link.hide()
        if link.binds:
            link.say(HELLO, frame.hello(self.parties))

    # Waiting, and what may come meanwhile.

    def _next(self, link: Link, round: int) -> list[Buffer]:
        """The next message on this link, of whatever kind."""
        start = time.monotonic()
        while True:
            if link.early:
                return link.early.popleft()
            if link.gone:
                raise self._lost(link, round)
            try:
                return link.read()
            except zmq.Again:
                self._watch(round)
                link.ended()  # `_watch` has not looked at a connection of bulk
            if time.monotonic() - start > self._deadline:
                raise self._silent(link, round)

    def _silent(self, link: Link, round: int) -> MPCError:
        """The deadline has passed: whose fault is it? A party that waits in vain itself says so at about the same time."""
        error = Timeout(link.peer, f"sent nothing for {self._deadline:g} s, though its process answers", round)
        payload = frame.abort(error.party, explain(error), error.exit_code)
        for other in self._links.values():
            other.say(ABORT, payload)
        end = time.monotonic() + _ANSWER
        while time.monotonic() < end and not link.gone:
            try:
                frames = link.early.popleft() if link.early else link.read()
            except zmq.Again:
                link.ended()
                continue
            if kind_of(frames) == ABORT:
                return self._ending(link, frames, round)
            break  # it was late
        return error

    def _watch(self, round: int | None) -> None:
        """Raise if the connection to *any* party ended, other than after its BYE."""
        for link in self._links.values():
            if link.gone or not link.ended():
                continue
            last = link.parting()
            if last == ABORT:
                raise self._ending(link, link.early[-1], round, ahead=len(link.early) - 1)
            if last != BYE:
                raise self._lost(link, round)

    def _look_around(self, round: int) -> None:
        try:
            self._watch(round)
        except MPCError as error:
            self._over = error
            raise
        self._look = time.monotonic() + SLICE

    def _reason(self, link: Link, round: int) -> MPCError:
        """Why this link cannot send: what `_watch` finds out, or that its connection ended."""
        try:
            self._watch(round)
        except MPCError as error:
            return error
        return self._lost(link, round)

    def _lost(self, link: Link, round: int | None) -> PeerLost:
        if link.left or link.parting() == BYE:
            return PeerLost(link.peer, "left the session", round)
        if not link.greeted:
            return PeerLost(link.peer, f"closed the connection to {link.address} at once", round)
        return PeerLost(link.peer, f"is gone (its process ended, or was silent for {self._silence:g} s)", round)

    def _ending(self, link: Link, frames: list[Buffer], round: int | None, ahead: int = 0) -> MPCError:
        """The error that a control message means; each of them ends the session. Raises it if the message is malformed."""
        kind, payload = link.into.open_control(frames, ahead)
        peer = link.peer
        if kind == HELLO:
            return ProtocolError(peer, "an unexpected HELLO", round)
        link.left = True
        if kind == BYE:
            return self._lost(link, round)
        blame, code, reason = frame.read_abort(payload, peer)
        if blame >= self.parties:
            return ProtocolError(peer, f"an ABORT that blames party {blame} of {self.parties}", round)
        return aborted(peer, blame, reason, round, code)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C waits: a socket that has just been made, and that nobody knows of yet, would keep the context for ever."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _poll(links: Sequence[Link]) -> None:
    """Wait until something comes from any of these, a connection changes, or a slice has passed."""
    zmq.zmq_poll([(s, int(zmq.POLLIN)) for link in links for s in (link.socket, link.monitor)], int(1000 * SLICE))


def _endpoint(addresses: Mapping[tuple[int, int], str] | Callable[[int, int], str], low: int, high: int) -> str:
    if callable(addresses):
        return addresses(low, high)
    if (low, high) not in addresses:
        raise UsageError(f"There is no address for the link of parties ({low}, {high}).")
    return addresses[low, high]
