"""Seeds, keys and the names of random words.

Seeds come from the operating system. Every other random word is AES-128-CTR under a key that two parties share, at an
address that is a pure function of the program: (epoch, node, field, position). So parties stay in step without a message,
and no word is used twice. The layout of the 128-bit counter block is

    epoch 24 bits | node 32 bits | field 8 bits | block index 64 bits

epoch: one per execution of a program in a session; node: the instance of an equation; field: what the word is for.
"""

from __future__ import annotations

import hashlib
import secrets

import numpy as np
from msgspec import Struct

from .kernels import kernels

SEED_BYTES = 32


class Name(int):
    """The address of an equation's random words: the upper 64 bits of the counter block, with field 0.

    A number, since one is made for every equation of a run. Raises OverflowError where it does not fit.
    """

    __slots__ = ()

    def __new__(cls, epoch: int, node: int) -> Name:
        if epoch >> 24 or node >> 32:
            raise OverflowError("randomness address out of range: start a new session")
        return super().__new__(cls, epoch << 40 | node << 8)

    @property
    def epoch(self) -> int:
        return self >> 40

    @property
    def node(self) -> int:
        return self >> 8 & 0xFFFFFFFF

    def after(self, nodes: int) -> Name:
        """The address of another equation of the same run, so many nodes further on; who asks has seen that it exists."""
        return int.__new__(Name, self + (nodes << 8))

    def field(self, field: int) -> int:
        """The upper 64 bits of the counter block for one purpose in this equation."""
        if field >> 8:
            raise OverflowError(f"field {field} of a randomness address is none of 0 to 255")
        return self | field


class Stream(Struct, frozen=True, gc=False):  # made several times in a product: a NamedTuple takes four times as long
    """Words `at`, `at + 1`, ... of the stream `name` under the expanded key(s) `keys` (a `(count, 176)` array)."""

    keys: np.ndarray
    name: int
    at: int = 0


def fresh_seed() -> bytes:
    """32 bytes from the operating system."""
    return secrets.token_bytes(SEED_BYTES)


def expand_key(seed: bytes, purpose: str) -> np.ndarray:
    """An expanded AES-128 key, `(1, 176)` bytes, derived from a seed for one purpose (domain separation by BLAKE2b)."""
    digest = hashlib.blake2b(purpose.encode(), key=seed, digest_size=16, person=b"mpc prg key v1").digest()
    rk = np.empty((1, 176), np.uint8)
    kernels().aes_key(rk, np.frombuffer(digest, np.uint8))
    return rk
