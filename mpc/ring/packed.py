"""Packed bits: a Boolean array of any shape as 64 elements a word."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np


@dataclass(frozen=True, slots=True)
class Packed:
    """Bits of an array of `shape`, in C order, element i in bit i % 64 of word i // 64. Bits beyond the size mean nothing."""

    words: np.ndarray
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return prod(self.shape)

    @classmethod
    def of(cls, bits: np.ndarray) -> Packed:
        """From an array of 0 and 1 (uint8). One repeated bit (a blank, a broadcast constant) stays one repeated word."""
        words = -(-bits.size // 64)
        if bits.size and not any(bits.strides) and bits.ndim:
            word = np.uint64(-int(bits[(0,) * bits.ndim]) % (1 << 64))  # all zeros or all ones
            return cls(np.broadcast_to(word, (words,)), bits.shape)
        out = np.zeros(words * 8, np.uint8)
        packed = np.packbits(bits.reshape(-1), bitorder="little")
        out[: packed.size] = packed
        return cls(out.view("<u8"), bits.shape)

    def bytes(self) -> np.ndarray:
        """The bits as uint8 0 and 1."""
        if self.words.size and not any(self.words.strides):
            return np.broadcast_to((self.words[0] & np.uint64(1)).astype(np.uint8), self.shape)
        flat = np.unpackbits(np.ascontiguousarray(self.words).view(np.uint8), count=self.size, bitorder="little")
        return flat.reshape(self.shape)

    def rearranged(self, f: Callable[[np.ndarray], np.ndarray]) -> Packed:
        """f applied to the array of bits: a transposition, a selection, a broadcast."""
        return Packed.of(f(self.bytes()))

    def reshaped(self, shape: tuple[int, ...]) -> Packed:
        return Packed(self.words, shape)

    def cut(self, start: int, stop: int) -> Packed:
        """Elements start .. stop - 1 in flat order; start is a multiple of 64."""
        return Packed(self.words[start // 64 : -(-stop // 64)], (stop - start,))
