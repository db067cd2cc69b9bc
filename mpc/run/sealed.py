"""Files that one party alone can read and nobody can change: AES-256-GCM in chunks, under a key that is this file's own.

The key comes from a secret of the party and a salt in the file (HKDF), so no nonce is used twice under it. A chunk's nonce is
its number and whether it is the last one (STREAM; Hoang, Reyhanitabar, Rogaway, Vizár, CRYPTO 2015): chunks that were changed,
moved or left out do not open.
"""

from __future__ import annotations

import io
import secrets
from typing import IO, Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAGIC = b"mpc sealed 1\n"
SALT, TAG, CHUNK = 32, 16, 1 << 20  # bytes


class NotOurs(ValueError):
    """A file that does not open under this party's key: another's, or changed."""


class Writer:
    """Seals what is written into `file`; `finish` writes the end, without which it does not open."""

    def __init__(self, file: IO[bytes], key: bytes) -> None:
        salt = secrets.token_bytes(SALT)
        file.write(MAGIC + salt)
        self._file, self._cipher, self._rest, self._count = file, _Chunks(key, salt), bytearray(), 0

    def write(self, data: Any) -> None:
        """Takes in any buffer."""
        self._rest += memoryview(data).cast("B") if memoryview(data).nbytes else b""
        while len(self._rest) > CHUNK:
            self._file.write(self._cipher.seal(bytes(self._rest[:CHUNK]), last=False))
            del self._rest[:CHUNK]

    def finish(self) -> None:
        """The last chunk."""
        self._file.write(self._cipher.seal(bytes(self._rest), last=True))


class _Reader(io.RawIOBase):
    """Chunk after chunk, each checked before anybody sees it."""

    def __init__(self, file: IO[bytes], key: bytes) -> None:
        head = file.read(len(MAGIC) + SALT)
        if not head.startswith(MAGIC):
            raise NotOurs("not sealed")
        self._file, self._cipher = file, _Chunks(key, head[len(MAGIC) :])
        self._ahead, self._open = file.read(CHUNK + TAG), memoryview(b"")
        if not self._ahead:
            raise NotOurs("cut off before its first chunk")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._open and self._ahead:
            chunk, self._ahead = self._ahead, self._file.read(CHUNK + TAG)
            self._open = memoryview(self._cipher.open(chunk, last=not self._ahead))
        count = min(len(buffer), len(self._open))
        buffer[:count] = self._open[:count]
        self._open = self._open[count:]
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def reader(file: IO[bytes], key: bytes) -> IO[bytes]:
    """What a `Writer` took in. Raises NotOurs now, or when a chunk is read that does not open."""
    return io.BufferedReader(_Reader(file, key))


class _Chunks:
    """The chunks of one file, in order."""

    def __init__(self, key: bytes, salt: bytes) -> None:
        self._aead = AESGCM(HKDF(SHA256(), 32, salt, b"mpc sealed file v1").derive(key))
        self._count = 0

    def _nonce(self, last: bool) -> bytes:
        self._count += 1
        return self._count.to_bytes(11, "big") + bytes([last])

    def seal(self, chunk: bytes, last: bool) -> bytes:
        return self._aead.encrypt(self._nonce(last), chunk, MAGIC)

    def open(self, chunk: bytes, last: bool) -> bytes:
        try:
            return self._aead.decrypt(self._nonce(last), chunk, MAGIC)
        except InvalidTag:
            raise NotOurs("sealed by another key, or changed") from None
