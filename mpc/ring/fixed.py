"""Fixed-point encoding: real numbers as integers at scale 2^f, in two's complement words."""

from __future__ import annotations

import numpy as np

from ..errors import InputError, RangeError
from .kernels import kernels

INTEGER_BITS = 62  # a word keeps one bit of slack below its sign for products to be truncated


def encode(x: np.ndarray, fraction_bits: int) -> np.ndarray:
    """Words round(x * 2^f), ties to even. Raises RangeError where |x| * 2^f >= 2^62, InputError for NaN or infinity."""
    x = np.asarray(x, dtype=np.float64, order="C")
    words, errors = np.empty(x.shape, "<u8"), np.empty(2, "<u8")
    kernels().encode_f64(words, errors, x, x.size, fraction_bits)
    if errors[0]:
        raise InputError(
            f"{np.count_nonzero(~np.isfinite(x))} of {x.size} values are NaN or infinite, first at index "
            f"{_first(~np.isfinite(x))}. Replace them before `input` (for example np.nan_to_num)."
        )
    if errors[1]:
        too_large = np.abs(x) >= 2.0 ** (INTEGER_BITS - fraction_bits)
        raise RangeError(
            f"{np.count_nonzero(too_large)} of {x.size} values do not fit fixed64({fraction_bits}), which holds "
            f"|x| < 2^{INTEGER_BITS - fraction_bits}; the first is at index {_first(too_large)}. "
            "Scale the data or choose fewer fraction bits."
        )
    return words


def decode(words: np.ndarray, fraction_bits: int) -> np.ndarray:
    """float64 values of words at scale 2^f."""
    words = np.asarray(words, "<u8", order="C")
    numbers = np.empty(words.shape)
    kernels().decode_f64(numbers, words, words.size, fraction_bits)
    return numbers


def exact_fraction_bits(x: np.ndarray, most: int) -> int:
    """The fewest fraction bits, at most `most`, that represent x as well as `most` bits do.

    A public factor of few bits (2, 0.5, a mask of zeros and ones) makes the truncation after a product shorter or void.
    """
    words = encode(x, most).reshape(-1)
    together = int(np.bitwise_or.reduce(words)) if words.size else 0
    trailing = (together & -together).bit_length() - 1 if together else most
    return most - min(trailing, most)


def _first(condition: np.ndarray) -> tuple[int, ...] | int:
    index = tuple(int(i[0]) for i in np.nonzero(np.atleast_1d(condition)))
    return index[0] if len(index) == 1 else index
