"""Integers of every width. A word holds one of w bits modulo 2^w: what reads more than those bits extends the word here first.

Sums and products, rows that move and choices between values work on such words as they are. Comparisons, shifts to the right,
divisions and wider types take `exact` words: the value itself, as int64. Where the ranges of the inputs show that a word never
left its type, `ir/ranges.py` takes the extension away. What is revealed are the lowest w bits alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import RangeError
from ..ir.types import BOOL, INT64, DType, integer
from ..ring.ring import Ring
from .array import Array, Settings, bind, constant, scope_of, whole
from .function import gate

WORD_BITS = 64


# ---- plain integers ----
def plain_dtype(dtype: np.dtype[Any]) -> DType | None:
    """The dtype of secrets that holds NumPy's integers or bool of this one; None for real numbers."""
    return BOOL if dtype.kind == "b" else integer(dtype.name)


def fits(array: np.ndarray, dtype: DType) -> bool:
    """Whether whole numbers keep their value as this integer type."""
    low, high = dtype.bounds
    return not array.size or (low <= int(array.min()) and int(array.max()) <= high)


def whole_words(array: np.ndarray, dtype: DType) -> np.ndarray:
    """Words of whole numbers that fit an integer type."""
    unsigned = array.dtype.kind == "u" or not dtype.signed
    return np.array(array, np.uint64 if unsigned else np.int64, order="C").view("<u8")


def dtype_of(array: np.ndarray, settings: Settings) -> DType:
    """What plain data becomes. Integers keep their width in words of 64 bits; other rings have integers of their own."""
    if array.dtype.kind == "O" or (array.dtype.kind in "iu" and settings.ring.name != Ring.name):
        return INT64
    return plain_dtype(array.dtype) or settings.dtype


def check_integers(array: np.ndarray, dtype: DType, ring: Ring) -> None:
    """Raises RangeError for whole numbers that do not keep their value as this integer type."""
    if fits(array, dtype) if dtype.wraps else ring.holds(array):
        return
    if dtype.primes:
        raise RangeError(f"values of its modulus and more do not fit {dtype}: scale the data, or take more primes (mpc.field)")
    low, high = dtype.bounds
    size = f"outside {low} .. {high}" if dtype.wraps else f"of 2^{dtype.bits - 1} or more"
    raise RangeError(f"values {size} do not fit {dtype}: scale the data, or choose a wider dtype")


# ---- words ----
def retype(x: Array, dtype: DType) -> Array:
    """The same words read as another dtype: numbers at another scale, integers modulo another power of two."""
    dtype = dtype.within(x.dtype.ring)
    return x if x.dtype == dtype else bind("retype", x, dtype=dtype.plain)


def _lifted(x: Array, bits: int) -> Array:
    """x 2^bits, modulo the ring, as its integer."""
    return bind("mul", retype(x, INT64), whole(1 << bits, scope_of(x)), bits=0, rounding="dither")  # type: ignore[no-any-return]


def exact(x: Array) -> Array:
    """An integer of less than 64 bits as int64 of the same value; anything else as it is."""
    if not x.dtype.wraps or x.dtype.width == WORD_BITS:
        return x
    if x.node.value is not None:  # public ones are exact
        return constant(x.node.value, INT64, scope_of(x))
    return _extended(x)


def word(x: Array) -> Array:
    """An integer as int64 of the same value (of uint64 the same word); anything else as it is."""
    return retype(exact(x), INT64) if x.dtype.wraps else x


@gate("extend")
def _extended(x: Array) -> Array:
    above = WORD_BITS - x.dtype.width
    return _shifted(_lifted(x, above), above, x.dtype.signed, "dither")  # zeros are shifted out: every rounding is exact


def is_zero(x: Array) -> Array:
    """[x = 0] of an integer: of its lowest bits alone."""
    return bind("eqz", retype(x, INT64) if x.dtype.width == WORD_BITS else _lowest(x))  # type: ignore[no-any-return]


@gate("lowest")
def _lowest(x: Array) -> Array:
    """The lowest bits moved to the top of the word: 0 if and only if they are."""
    return _lifted(x, WORD_BITS - x.dtype.width)


@gate("shift_word", lambda x, bits, signed: {"bits": bits, "signed": signed})
def shift_word(x: Array, bits: int, signed: bool) -> Array:
    """floor(x / 2^bits) of any int64, or of the words of any uint64 (signed=False), for 0 < bits < 64. Two comparisons and a
    truncation."""
    return _shifted(x, bits, signed, "floor")


def _shifted(x: Array, bits: int, signed: bool, rounding: str) -> Array:
    # the two highest bits apart: what is left is below 2^(width - 2), where truncations are exact
    width = x.dtype.bits
    flat = [bind("reshape", v, shape=[1, *x.shape]) for v in (x, _lifted(x, 1))]
    high = bind("b2a", bind("ltz", bind("concatenate", *flat, axis=0)))
    first, second = (bind("index", high, key=[i]) for i in (0, 1))
    rest = bind("sub", bind("sub", x, _lifted(first, width - 1)), _lifted(second, width - 2))
    top = _lifted(first, width - 1 - bits)
    found = bind("neg", top) if signed else top
    if bits <= width - 2:
        found = bind("add", found, _lifted(second, width - 2 - bits))
    if bits <= width - 3:
        found = bind("add", found, bind("trunc", rest, bits=bits, rounding=rounding))
    return found


@gate("less_unsigned")
def less_unsigned(x: Array, y: Array) -> Array:
    """[x < y] of any two uint64. Where the highest bits differ, y's; else the sign of x - y, which stays in its word."""
    words = [retype(v, INT64) for v in (bind("sub", x, y), y, x)]
    signs = bind("ltz", bind("concatenate", *(bind("reshape", v, shape=[1, *x.shape]) for v in words), axis=0))
    difference, of_y, of_x = (bind("index", signs, key=[i]) for i in range(3))
    differ = bind("xor", of_x, of_y)
    return bind("xor", difference, bind("and_", differ, bind("xor", of_y, difference)))  # type: ignore[no-any-return]
