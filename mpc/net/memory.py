"""Channels within one process: for tests, and for running all parties in one process, in turn or in threads.

Messages pass through the same wire format as over a network, so the same faults are refused in the same words.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Sequence

from mpc.errors import PeerLost, ProtocolError, SessionError, Timeout
from mpc.net.channel import Channel, Meter, Spec, aborted, explain
from mpc.net.frame import REASON, Array, Lane, layout, layout_of


class MemoryHub:
    """The place where the channels of all parties of one process meet.

    Without `blocking`, a `recv` of something that was not sent yet is a `ProtocolError` at once: right for a scheduler
    that runs the parties in turn, where waiting would be for ever. With `blocking`, each party runs in a thread of its
    own and waits up to `deadline` seconds.
    """

    def __init__(self, parties: int, *, session: bytes = bytes(16), blocking: bool = False, deadline: float = 30.0) -> None:
        self.parties, self.session, self.blocking, self.deadline = parties, session, blocking, deadline
        self.queues: dict[tuple[int, int], deque[list[bytes]]] = defaultdict(deque)
        self.left: set[int] = set()
        self.aborted: dict[int, tuple[int, str, int]] = {}  # by whom -> (blamed party, reason, exit code)
        self.changed = threading.Condition()

    def channel(self, me: int) -> Channel:
        """The channel of party `me`. Ask for it once: it counts its messages."""
        return _Memory(self, me)


class _Memory(Channel):
    def __init__(self, hub: MemoryHub, me: int) -> None:
        self.me, self.parties, self._hub = me, hub.parties, hub
        peers = [p for p in range(hub.parties) if p != me]
        self._out = {p: Lane(hub.session, me, p) for p in peers}
        self._in = {p: Lane(hub.session, p, me) for p in peers}
        self.meter = Meter(self._out, self._in)
        self._failure: PeerLost | ProtocolError | None = None

    def send(self, peer: int, round: int, arrays: Sequence[Array]) -> None:
        self._alive()
        plan = layout_of(arrays)
        lane = self._out[peer]
        if plan.joined:
            frames = [lane.join(round, plan, arrays)]
        else:
            frames = [bytes(part) for part in lane.split(round, plan, arrays)]
        with self._hub.changed:
            self._hub.queues[self.me, peer].append(frames)
            self._hub.changed.notify_all()

    def recv(self, peer: int, round: int, specs: Sequence[Spec]) -> list[Array]:
        self._alive()
        plan = layout(tuple(specs))
        lane = self._in[peer]
        try:
            arrays = lane.open(self._take(peer, round), lane.header(round, plan), round, plan)
            if arrays is None:
                raise ProtocolError(peer, "a control message where data are due", round)
        except (PeerLost, ProtocolError) as error:
            self._failure = error
            raise
        return arrays

    def abort(self, reason: str, blame: int | None = None, code: int = PeerLost.exit_code) -> None:
        if blame is None:
            blame = self._failure.party if self._failure else self.me
        self._leave((blame, reason[:REASON], code))

    def close(self) -> None:
        self._leave((self._failure.party, explain(self._failure), self._failure.exit_code) if self._failure else None)

    def _take(self, peer: int, round: int) -> list[bytes]:
        hub, queue = self._hub, self._hub.queues[peer, self.me]
        if queue:
            return queue.popleft()
        with hub.changed:
            # What was sent before an abort is still delivered, as a network would: the abort shows when we must wait.
            ready = hub.changed.wait_for(lambda: queue or hub.aborted or peer in hub.left, hub.deadline if hub.blocking else 0)
            if queue:
                return queue.popleft()
            for by, (blame, reason, code) in hub.aborted.items():
                raise aborted(by, blame, reason, round, code)
            if peer in hub.left:
                raise PeerLost(peer, "left the session", round)
        if hub.blocking and not ready:
            raise Timeout(peer, f"sent nothing for {hub.deadline:g} s", round)
        raise ProtocolError(peer, "nothing, though a message is due", round)

    def _leave(self, abort: tuple[int, str, int] | None) -> None:
        with self._hub.changed:
            if self.me not in self._hub.left:
                self._hub.left.add(self.me)
                if abort:
                    self._hub.aborted[self.me] = abort
                self._hub.changed.notify_all()

    def _alive(self) -> None:
        if self._failure:
            raise self._failure
        if self.me in self._hub.left:
            raise SessionError(f"The channel of party {self.me} is closed.")
