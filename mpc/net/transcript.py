"""A channel that keeps a running hash of all that passes: both ends of a link can show afterwards that they saw the same."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

import numpy as np

from mpc.errors import PeerLost
from mpc.net.channel import Channel, Spec
from mpc.net.frame import Array

_ENTRY = struct.Struct("<QQ")  # round, number of arrays


class Transcript(Channel):
    """`channel`, and per direction a BLAKE2b of the messages in order: round, dtypes, shapes and bytes of each.

    A hash says nothing about a share that it could be tried against: every message is masked by fresh uniform words.
    """

    def __init__(self, channel: Channel) -> None:
        self.me, self.parties, self.meter, self._channel = channel.me, channel.parties, channel.meter, channel
        peers = [p for p in range(channel.parties) if p != channel.me]
        self._out = {p: hashlib.blake2b(digest_size=32, person=b"mpc transcript 1") for p in peers}
        self._into = {p: self._out[p].copy() for p in peers}

    def send(self, peer: int, round: int, arrays: Sequence[Array]) -> None:
        """See `Channel.send`."""
        self._channel.send(peer, round, arrays)
        _note(self._out[peer], round, arrays)

    def recv(self, peer: int, round: int, specs: Sequence[Spec]) -> list[Array]:
        """See `Channel.recv`."""
        arrays = self._channel.recv(peer, round, specs)
        _note(self._into[peer], round, arrays)
        return arrays

    def abort(self, reason: str, blame: int | None = None, code: int = PeerLost.exit_code) -> None:
        """See `Channel.abort`."""
        self._channel.abort(reason, blame, code)

    def close(self) -> None:
        """See `Channel.close`."""
        self._channel.close()

    def digests(self, peer: int) -> tuple[str, str]:
        """Of what was sent to and received from a peer so far; the latter is what the peer calls sent to us."""
        return self._out[peer].hexdigest(), self._into[peer].hexdigest()


def _note(chain: hashlib.blake2b, round: int, arrays: Sequence[Array]) -> None:
    chain.update(_ENTRY.pack(round, len(arrays)))
    for a in arrays:
        chain.update(f"{a.dtype.str}{a.shape}".encode())
        chain.update(np.ascontiguousarray(a).data)
