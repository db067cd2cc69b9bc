"""Large payloads beside the CURVE connection of a link: AES-256-GCM, where CURVE's XSalsa20-Poly1305 is the bottleneck.

CURVE keeps identity, order and control: every header travels there, and so do the keys, fresh for this session and direction.
The payload frames of large messages take a second connection that ZeroMQ leaves in the clear, each sealed here: nonce =
direction and a counter, associated data = the header of its message, which says session, sender, sequence number and size. A
frame that was changed, cut, repeated, moved, or sent in the other direction does not open, and that ends the session.

Processors have instructions for AES and none for XSalsa20: see the figures in docs/deploy.md.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

import zmq
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mpc.errors import ProtocolError
from mpc.net.curve import Curve
from mpc.net.frame import Buffer
from mpc.net.link import NOBLOCK, PUSH_MORE, Link

KEY, TAG = 32, 16  # bytes: of a key, and that a sealed frame is longer
_NONCE = struct.Struct(">HHQ")  # from, to, frames before: 96 bits, never twice under a key of one direction and session


class Cipher:
    """Seals, or opens, the frames of one direction in their order."""

    def __init__(self, key: bytes, src: int, dst: int) -> None:
        self._aead, self._src, self._dst, self._count = AESGCM(key), src, dst, 0

    def _nonce(self) -> bytes:
        self._count += 1
        return _NONCE.pack(self._src, self._dst, self._count)

    def seal(self, frame: Buffer, header: Buffer) -> bytes:
        """The frame, 16 bytes longer."""
        return self._aead.encrypt(self._nonce(), frame, bytes(header))

    def open(self, frame: Buffer, header: Buffer) -> bytes:
        """Inverse of `seal`. Raises ProtocolError for anything but the next frame, under this header."""
        try:
            return self._aead.decrypt(self._nonce(), frame, bytes(header))
        except InvalidTag:
            raise ProtocolError(self._src, "a payload that was changed, repeated or moved (its tag does not fit)") from None


class Pass:
    """`Security` of a connection that proves nothing by itself: lets nobody in who does not know a word of this session.

    The word travels in the clear, so it keeps out strangers, not who sees the network; what comes must open under the key.
    """

    def __init__(self, gate: Curve, word: bytes) -> None:
        self._gate, self._word = gate, word

    def secure(self, socket: zmq.Socket[bytes], peer: int, binds: bool) -> None:
        """See `Security.secure`."""
        if binds:
            socket.plain_server = True
            socket.zap_domain = self._gate.admit(socket.context, peer, self._word)
        else:
            socket.plain_username, socket.plain_password = b"mpc", self._word

    def confirm(self, hello: zmq.Frame, peer: int) -> None:
        """See `Security.confirm`. The frames themselves prove it."""

    def calls_from(self, peer: int, host: str) -> bool:
        """See `Security.calls_from`."""
        return False

    def stop(self) -> None:
        """See `Security.stop`."""


class Bulk:
    """Both directions of one link's payloads. mine, theirs: the keys that this party and the peer have drawn."""

    def __init__(self, link: Link, mine: bytes, theirs: bytes) -> None:
        me, peer = link.out.src, link.peer
        self.link, self._seal, self._open = link, Cipher(mine, me, peer), Cipher(theirs, peer, me)

    def push(self, header: Buffer, frames: Sequence[Buffer]) -> None:
        """Sends the payload of the message with this header. Raises `zmq.Again` if nobody is there."""
        *first, last = [self._seal.seal(frame, header) for frame in frames]
        for part in first:
            self.link.push(part, PUSH_MORE, copy=False)
        self.link.push(last, NOBLOCK, copy=False)

    def open(self, header: Buffer, frames: Sequence[Buffer]) -> list[Buffer]:
        """The payload that came as these frames. Raises ProtocolError."""
        return [self._open.open(frame, header) for frame in frames]


def word_of(low: bytes, high: bytes) -> bytes:
    """What lets the higher party in, from the keys that both have drawn; it says nothing about them."""
    return hashlib.blake2b(low + high, digest_size=16, person=b"mpc bulk pass 1").hexdigest().encode()
