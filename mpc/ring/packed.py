"""Packed bits: a Boolean array of any shape as 64 elements a word."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np

from .kernels import kernels


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
        out = np.empty(words, "<u8")
        kernels().pack_bits(out, np.ascontiguousarray(bits, np.uint8), bits.size)
        return cls(out, bits.shape)

    def bytes(self) -> np.ndarray:
        """The bits as uint8 0 and 1."""
        if self.words.size and not any(self.words.strides):
            return np.broadcast_to((self.words[0] & np.uint64(1)).astype(np.uint8), self.shape)
        out = np.empty(self.shape, np.uint8)
        kernels().unpack_bits(out, np.ascontiguousarray(self.words), self.size)
        return out

    def rearranged(self, f: Callable[[np.ndarray], np.ndarray]) -> Packed:
        """f applied to the array of bits: a transposition, a selection, a broadcast."""
        return Packed.of(f(self.bytes()))

    def reshaped(self, shape: tuple[int, ...]) -> Packed:
        return Packed(self.words, shape)

    def cut(self, start: int, stop: int) -> Packed:
        """Elements start .. stop - 1 in flat order; start is a multiple of 64."""
        return Packed(self.words[start // 64 : -(-stop // 64)], (stop - start,))
