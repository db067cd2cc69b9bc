"""The transport between processes: one PAIR connection per pair of parties, over ipc or tcp.

A session starts with a HELLO on every link and ends for everyone with the first fault. A link never reconnects. Links
are symmetric, where lockstep rounds bound what is in flight, or one-way streams, where credits do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence

import zmq

from mpc.errors import MPCError, PeerLost, ProtocolError, SessionError, Timeout, UsageError
from mpc.net import frame
from mpc.net.channel import Channel, Meter, Spec, aborted, explain
from mpc.net.frame import ABORT, BYE, CREDIT, HEADER, HELLO, Array, Buffer, Lane, layout, layout_of
from mpc.net.link import NOBLOCK, PUSH_MORE, SLICE, Link, Security, kind_of

__all__ = ["Security", "ZeroMQ"]

_FLUSH = 30.0  # seconds that an orderly end may take to push out what is queued, when the peer still reads
_FAREWELL = 1.0  # seconds for an ABORT to get out


class ZeroMQ(Channel):
    """Party `me`'s channel in one session of `parties` processes; it is ready when the constructor returns.

    `addresses` gives the endpoint of each pair (lower, higher) party, as a mapping or a function of both; the lower
    one binds. A folder for ipc must be private to the user. `session` is the 16-byte id that all agree on. `streams`
    lists the one-way links as (from, to): there `send` waits while the receiver is `budget` bytes behind; elsewhere
    it never waits.

    Times in seconds: `deadline` for a message that is due while its sender is alive; `heartbeat` between two probes of
    an idle link, `silence` after a probe until its party counts as lost (so a stopped process is noticed within
    `heartbeat + silence`; links slower than 20 Mbit/s need more, see `FRAME`); `connect_deadline` for all parties to
    appear; `linger` for the peers to leave too, in `close`.

    Raises `PeerLost` if a party does not appear, `ProtocolError` if one disagrees about session, wire version, party
    numbers, party count or streams, `UsageError` for an address that cannot be used.
    """

    def __init__(
        self,
        me: int,
        parties: int,
        addresses: Mapping[tuple[int, int], str] | Callable[[int, int], str],
        session: bytes,
        *,
        streams: Collection[tuple[int, int]] = (),
        epoch: int = 0,
        budget: int = 64 << 20,
        deadline: float = 300.0,
        heartbeat: float = 1.0,
        silence: float = 3.5,
        connect_deadline: float = 30.0,
        linger: float = 5.0,
        security: Security | None = None,
    ) -> None:
        _check_arguments(me, parties, session, streams)
        self.me, self.parties = me, parties
        self._deadline, self._budget, self._silence, self._linger = deadline, budget, silence, linger
        self._over: MPCError | None = None  # what every further call raises
        self._closed = False
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._links: dict[int, Link] = {}
        self.meter = Meter({}, {})
        try:
            for peer in (p for p in range(parties) if p != me):
                address = _endpoint(addresses, min(me, peer), max(me, peer))
                out, into = Lane(session, me, peer, epoch), Lane(session, peer, me, epoch)
                link = self._links[peer] = Link(self._context, out, into, address)
                link.sends, link.receives = (peer, me) not in streams, (me, peer) not in streams
                link.streams = link.unusual = not (link.sends and link.receives)
                link.start(heartbeat, silence, security)
            self.meter = Meter({p: k.out for p, k in self._links.items()}, {p: k.into for p, k in self._links.items()})
            self._greet(connect_deadline)
        except BaseException as error:
            self._over = error if isinstance(error, MPCError) else None
            self.abort("could not start")
            raise

    # The two calls that matter for speed.

    def send(self, peer: int, round: int, arrays: Sequence[Array]) -> None:
        """See `Channel.send`. On a stream, waits for credit, without a deadline: a slow consumer is no fault."""
        if self._over:
            raise self._over
        link = self._links[peer]
        plan = layout_of(arrays)
        try:
            if link.unusual:
                self._may_send(link, HEADER + plan.size, round)
            if plan.joined:
                link.push(link.out.join(round, plan, arrays), NOBLOCK)
            else:
                *first, last = link.out.split(round, plan, arrays)
                for part in first:
                    link.push(part, PUSH_MORE, copy=False)
                link.push(last, NOBLOCK, copy=False)
        except zmq.Again:  # without a high-water mark only this: nobody is there any more
            self._over = self._reason(link, round)
            raise self._over from None
        except (PeerLost, ProtocolError) as error:
            self._over = error
            raise

    def recv(self, peer: int, round: int, specs: Sequence[Spec]) -> list[Array]:
        """See `Channel.recv`."""
        if self._over:
            raise self._over
        link = self._links[peer]
        plan = layout(tuple(specs))
        header = link.into.header(round, plan)
        try:
            if plan.joined and not link.unusual:
                try:
                    frames: list[Buffer] = [link.pull()]
                except zmq.Again:
                    frames = self._next(link, round, self._deadline)
            else:
                if not link.receives:
                    raise UsageError(f"Party {self.me} only sends to party {peer}: the link is a one-way stream.")
                frames = self._next(link, round, self._deadline)
            arrays = link.into.open(frames, header, round, plan)
            if arrays is None:
                self._control(link, frames, round)
                raise ProtocolError(peer, "a control message where data are due", round)
        except (PeerLost, ProtocolError) as error:
            self._over = error
            raise
        if link.streams:
            self._report(link, HEADER + plan.size)
        return arrays

    # The end of a session.

    def abort(self, reason: str, blame: int | None = None) -> None:
        """See `Channel.abort`. Takes up to a second if a peer does not read."""
        if self._closed:
            return
        if isinstance(self._over, PeerLost | ProtocolError):
            reason, blame = explain(self._over), self._over.party
        payload = frame.abort(self.me if blame is None else blame, reason)
        for link in self._links.values():
            if link.heard and not link.ended():
                link.say(ABORT, payload)
        self._shut(_FAREWELL)

    def close(self) -> None:
        """See `Channel.close`. Waits up to `linger` seconds for the peers to leave too.

        Otherwise what they still send (credits, heartbeats) would meet a closed TCP socket, whose reset destroys what
        we sent last and they have not received yet.
        """
        if self._over or self._closed:
            self.abort("left after an error")
            return
        left = False
        try:
            for link in self._links.values():
                link.say(BYE)
            end = time.monotonic() + self._linger
            waiting = [link for link in self._links.values() if not (link.left or link.ended() or link.gone)]
            while waiting and time.monotonic() < end:
                _poll(waiting)
                waiting = [link for link in waiting if not (_departed(link) or link.ended())]
            left = True
        finally:
            self._shut(_FLUSH if left else 0.0)

    def _shut(self, linger: float) -> None:
        self._closed = True
        self._over = self._over or SessionError(f"The channel of party {self.me} is closed.")
        for link in self._links.values():
            link.stop(linger)
        self._context.destroy(0)

    # The start.

    def _greet(self, connect_deadline: float) -> None:
        """HELLO on every link: the higher party speaks first, since a listener cannot send before it has heard."""
        for link in self._links.values():
            if not link.binds:
                self._say_hello(link)
        waiting = list(self._links.values())
        end = time.monotonic() + connect_deadline
        while waiting:
            _poll(waiting)
            for link in list(waiting):
                try:
                    frames = link.early.popleft() if link.early else link.read(NOBLOCK)
                except zmq.Again:
                    continue
                self._control(link, frames, None)
                if link.binds:
                    self._say_hello(link)
                waiting.remove(link)
            self._watch(None)
            if waiting and time.monotonic() > end:
                link = waiting[0]
                trouble = f"; {link.trouble}" if link.trouble else ""
                reason = f"did not appear at {link.address} within {connect_deadline:g} s{trouble}"
                raise PeerLost(link.peer, reason)

    def _say_hello(self, link: Link) -> None:
        link.say(HELLO, frame.hello(*self._terms(link)))

    def _terms(self, link: Link) -> frame.Hello:
        if not link.streams:
            return frame.Hello(self.parties, 0, 0)
        return frame.Hello(self.parties, 1 + (self.me if link.sends else link.peer), self._budget)

    # Waiting, and what may come meanwhile.

    def _next(self, link: Link, round: int, deadline: float | None) -> list[Buffer]:
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
            if deadline is not None and time.monotonic() - start > deadline:
                raise Timeout(link.peer, f"sent nothing for {deadline:g} s, though its process answers", round)

    def _watch(self, round: int | None) -> None:
        """Raise if the connection to *any* party ended, other than after its BYE."""
        for link in self._links.values():
            if link.gone or not link.ended():
                continue
            last = link.parting()
            if last == ABORT:
                self._control(link, link.early[-1], round, ahead=len(link.early) - 1)
            if last != BYE and not link.left:
                raise self._lost(link, round)

    def _reason(self, link: Link, round: int) -> PeerLost | ProtocolError:
        """Why this link cannot send: what `_watch` finds out, or that its connection ended."""
        try:
            self._watch(round)
        except (PeerLost, ProtocolError) as error:
            return error
        return self._lost(link, round)

    def _lost(self, link: Link, round: int | None) -> PeerLost:
        if link.left or link.parting() == BYE:
            return PeerLost(link.peer, "left the session", round)
        if not link.greeted:
            return PeerLost(link.peer, f"closed the connection to {link.address} at once", round)
        return PeerLost(link.peer, f"is gone (its process ended, or was silent for {self._silence:g} s)", round)

    def _control(self, link: Link, frames: list[Buffer], round: int | None, ahead: int = 0) -> None:
        """Act on a control message."""
        kind, payload = link.into.open_control(frames, ahead)
        peer = link.peer
        if kind == ABORT:
            link.left = link.unusual = True
            blame, reason = frame.read_abort(payload, peer)
            if blame >= self.parties:
                raise ProtocolError(peer, f"an ABORT that blames party {blame} of {self.parties}", round)
            raise aborted(peer, blame, reason, round)
        if (kind == HELLO) == link.greeted:
            raise ProtocolError(peer, f"an unexpected {frame.NAMES[kind]}", round)
        if kind == HELLO:
            _agree(frame.read_hello(payload, peer), self._terms(link), peer)
            link.greeted = True
            link.hide()
        elif kind == BYE:
            link.left = link.unusual = True
            raise self._lost(link, round)
        elif kind == CREDIT:
            consumed = frame.read_credit(payload, peer)
            if not (link.streams and link.sends and link.credited < consumed <= link.sent):
                raise ProtocolError(peer, "a CREDIT for what was not sent", round)
            link.credited = consumed

    def _may_send(self, link: Link, size: int, round: int) -> None:
        """Wait for the credit that a stream needs. Raises if nothing can be sent on this link."""
        if not link.sends:
            raise UsageError(f"Party {self.me} only receives from party {link.peer}: the link is a one-way stream.")
        if link.streams:
            self._await_credit(link, size, round)
        if link.gone or link.left:
            raise self._lost(link, round)

    def _await_credit(self, link: Link, size: int, round: int) -> None:
        # The receiver reports each quarter of the budget, so up to that much may stay unreported for ever: a message
        # must be let through then, however large it is.
        while (ahead := link.sent - link.credited) + size > self._budget and ahead >= self._budget // 4:
            self._control(link, self._next(link, round, None), round)
        link.sent += size

    def _report(self, link: Link, size: int) -> None:
        link.consumed += size
        if link.consumed - link.reported >= self._budget // 4:
            link.reported = link.consumed
            link.say(CREDIT, frame.credit(link.consumed))


def _agree(got: frame.Hello, want: frame.Hello, peer: int) -> None:
    if got.parties != want.parties:
        raise ProtocolError(peer, f"a HELLO for {got.parties} parties instead of {want.parties}")
    if got != want:
        raise ProtocolError(peer, f"a HELLO with other streams (sender {got.stream - 1}, budget {got.budget} bytes)")


def _poll(links: Sequence[Link]) -> None:
    """Wait until something comes from any of these, or a slice has passed."""
    zmq.zmq_poll([(link.socket, int(zmq.POLLIN)) for link in links], int(1000 * SLICE))


def _departed(link: Link) -> bool:
    """Whether the next message says that the peer leaves; data that nobody will ask for any more are dropped."""
    try:
        frames = link.early.popleft() if link.early else link.read(NOBLOCK)
    except zmq.Again:
        return False
    return kind_of(frames) in (BYE, ABORT)


def _check_arguments(me: int, parties: int, session: bytes, streams: Collection[tuple[int, int]]) -> None:
    if not 0 <= me < parties < 1 << 16:
        raise UsageError(f"Party {me} of {parties}: parties are numbered from 0.")
    if len(session) != 16:
        raise UsageError(f"A session id has 16 bytes, not {len(session)}.")
    for src, dst in streams:
        if src == dst or not (0 <= src < parties and 0 <= dst < parties) or (dst, src) in streams:
            raise UsageError(f"({src}, {dst}) is no one-way link of {parties} parties.")


def _endpoint(addresses: Mapping[tuple[int, int], str] | Callable[[int, int], str], low: int, high: int) -> str:
    if callable(addresses):
        return addresses(low, high)
    if (low, high) not in addresses:
        raise UsageError(f"There is no address for the link of parties ({low}, {high}).")
    return addresses[low, high]
