"""A slower network than the real one: a channel that holds every message back until it would have arrived.

For processes of one machine, whose monotonic clock is one. Nothing of it is on the wire of a real run: both ends of a
session are shaped, or neither.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpc.errors import PeerLost, UsageError
from mpc.net.channel import Channel, Meter
from mpc.net.frame import HEADER, Lane, Spec

_STAMP: Spec = ("<u8", (1,))  # goes before a message's arrays: when it arrives, in nanoseconds of the monotonic clock
_STAMP_BYTES = 8


@dataclass(frozen=True)
class Network:
    """A network in which every party has one line to all others: a message takes half a round trip, and its bytes (headers
    included) leave one after the other at `mbit` million bits a second. Lines towards a party are not a limit."""

    rtt_ms: float
    mbit: float
    name: str = ""

    def __post_init__(self) -> None:
        if not (self.rtt_ms >= 0 and self.mbit > 0):
            raise UsageError(f"a network of {self.rtt_ms} ms and {self.mbit} Mbit/s: give rtt_ms >= 0 and mbit > 0")

    def __str__(self) -> str:
        figures = f"{self.rtt_ms:g} ms, {self.mbit:g} Mbit/s"
        return f"{self.name} ({figures})" if self.name else figures

    def seconds(self, rounds: int, sent: int) -> float:
        """What `rounds` rounds cost in which all send at once, and `sent` bytes of one party."""
        return rounds * self.rtt_ms / 2e3 + sent * 8 / (self.mbit * 1e6)

    @staticmethod
    def of(what: Network | str) -> Network:
        """A network, or the one of that name (lan, wan), or of "RTT,RATE" in ms and Mbit/s ("40,100")."""
        if isinstance(what, Network):
            return what
        for known in (LAN, WAN):
            if what.lower() == known.name.lower():
                return known
        try:
            rtt, mbit = map(float, what.split(","))
        except ValueError:
            raise UsageError(f"no network {what!r}: write lan, wan, or RTT,RATE in ms and Mbit/s, for example 40,100") from None
        return Network(rtt, mbit)


LAN = Network(0.2, 1000, "LAN")
WAN = Network(40, 100, "WAN")


class Shaped(Channel):
    """A channel that behaves as if it ran over `network`."""

    def __init__(self, channel: Channel, network: Network) -> None:
        self.me, self.parties, self.network, self._channel = channel.me, channel.parties, network, channel
        self.meter = _Stamped(channel.meter)
        self._free = 0  # when my line has sent what it was given, in nanoseconds

    def send(self, peer: int, round: int, arrays: Sequence[NDArray[Any]]) -> None:
        """See `Channel.send`."""
        size = HEADER + sum(a.nbytes for a in arrays)
        self._free = max(time.monotonic_ns(), self._free) + int(8e3 * size / self.network.mbit)
        due = self._free + int(5e5 * self.network.rtt_ms)
        self._channel.send(peer, round, [np.array([due], "<u8"), *arrays])

    def recv(self, peer: int, round: int, specs: Sequence[Spec]) -> list[NDArray[Any]]:
        """See `Channel.recv`. Returns when the message is due."""
        stamp, *arrays = self._channel.recv(peer, round, [_STAMP, *specs])
        early = int(stamp[0]) - time.monotonic_ns()
        if early > 0:
            time.sleep(early / 1e9)
        return arrays

    def abort(self, reason: str, blame: int | None = None, code: int = PeerLost.exit_code) -> None:
        """See `Channel.abort`."""
        self._channel.abort(reason, blame, code)

    def close(self) -> None:
        """See `Channel.close`."""
        self._channel.close()


class _Stamped(Meter):
    """Counts without the stamps."""

    def __init__(self, meter: Meter) -> None:
        super().__init__(meter.out, meter.into)

    def _since(self, lane: Lane) -> tuple[int, int, int]:
        payload, messages, extra = super()._since(lane)
        return payload - _STAMP_BYTES * messages, messages, extra
