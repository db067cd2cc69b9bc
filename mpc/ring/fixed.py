"""Fixed-point encoding: real numbers as integers at scale 2^f, in two's complement words."""

from __future__ import annotations

import numpy as np

from ..errors import InputError, RangeError
from .kernels import kernels


def encode(x: np.ndarray, fraction_bits: int) -> np.ndarray:
    """Words round(x * 2^f), ties to even. Raises RangeError where |x| * 2^f >= 2^62, InputError for NaN or infinity."""
    x = np.asarray(x, dtype=np.float64, order="C")
    words, errors = np.empty(x.shape, "<u8"), np.empty(2, "<u8")
    kernels().encode_f64(words, errors, x, x.size, fraction_bits)
    checked(x, errors, 64, fraction_bits)
    return words


def checked(x: np.ndarray, errors: np.ndarray, bits: int, fraction: int) -> None:
    """Raises what `errors` = (not finite, too large) says of x: InputError, or RangeError for words of so many bits."""
    if errors[0]:
        raise InputError(
            f"{np.count_nonzero(~np.isfinite(x))} of {x.size} values are NaN or infinite, first at index "
            f"{_first(~np.isfinite(x))}. Replace them before `input` (for example np.nan_to_num)."
        )
    if errors[1]:
        too_large = np.abs(x) >= 2.0 ** (bits - 2 - fraction)
        wider = {32: "fixed64", 64: "fixed128"}.get(bits)
        raise RangeError(
            f"{np.count_nonzero(too_large)} of {x.size} values do not fit fixed{bits}({fraction}), which holds "
            f"|x| < 2^{bits - 2 - fraction}; the first is at index {_first(too_large)}. "
            f"Scale the data or choose fewer fraction bits{f', or dtype=mpc.{wider}(f) for the session' if wider else ''}."
        )


def decode(words: np.ndarray, fraction_bits: int) -> np.ndarray:
    """float64 values of words at scale 2^f."""
    words = np.asarray(words, "<u8", order="C")
    numbers = np.empty(words.shape)
    kernels().decode_f64(numbers, words, words.size, fraction_bits)
    return numbers


HALVINGS, TERMS = 6, 14  # of the argument of the exponential, of its series


def exponential(v: np.ndarray) -> np.ndarray:
    """e^v for |v| < 32, with relative error below 2^-44. Made of additions and multiplications alone, as `sine` is: the table
    and the public factor are computed by every evaluator."""
    t, y = v * 2.0**-HALVINGS, np.ones_like(v)
    for k in range(TERMS, 0, -1):  # Taylor: 1 + t (1 + t/2 (1 + t/3 (...))), |t| < 1/2
        y *= t
        y *= 1 / k
        y += 1
    for _ in range(HALVINGS):
        y *= y
    return y


def exact_fraction_bits(limbs: list[np.ndarray], most: int) -> int:
    """The fewest fraction bits, at most `most`, that represent numbers as well as the `most` bits of their words do (given
    by their limbs).

    A public factor of few bits (2, 0.5, a mask of zeros and ones) makes the truncation after a product shorter or void.
    """
    together = sum(int(np.bitwise_or.reduce(limb, None, initial=np.uint64(0))) << 64 * i for i, limb in enumerate(limbs))
    trailing = (together & -together).bit_length() - 1 if together else most
    return most - min(trailing, most)


def fits(array: np.ndarray, bits: int) -> bool:
    """Whether integral values (or Python ints) are in [-2^bits, 2^bits)."""
    if not array.size or array.dtype.kind == "b":
        return True
    if array.dtype.kind == "f":
        return bool((np.abs(array) < 2.0**bits).all())
    return -(1 << bits) <= int(array.min()) and int(array.max()) < 1 << bits


def integral(array: np.ndarray) -> np.ndarray:
    """Integral values in a dtype of integers: int64, or Python ints where that is too small."""
    if array.dtype.kind != "f":
        return array
    return array.astype(np.int64) if fits(array, 63) else np.asarray(np.frompyfunc(int, 1, 1)(array), object)


def _first(condition: np.ndarray) -> tuple[int, ...] | int:
    index = tuple(int(i[0]) for i in np.nonzero(np.atleast_1d(condition)))
    return index[0] if len(index) == 1 else index
