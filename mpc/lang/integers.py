"""Whole numbers: their bits, shifts, division with remainder, and rounding of real numbers to whole ones. Exact."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import TypeMismatch
from ..ir.trace import user_line
from ..ir.types import INT64
from . import core
from .array import Array, bind, implements, scope_of, whole
from .core import (
    add,
    astype,
    expand_dims,
    getitem,
    greater_equal,
    less,
    multiply,
    negative,
    reshape,
    retype,
    shift_right,
    subtract,
)
from .elementwise import absolute
from .function import gate
from .wide import reciprocal


# ---- bits ----
@gate("bit_planes", lambda x, which: {"which": list(which)})
def _bit_planes(x: Array, which: tuple[int, ...]) -> Array:
    # bit k of x is the sign of x 2^(63-k), for words of 64 bits
    factors = np.array([1 << (x.dtype.bits - 1 - k) for k in which], object).reshape(-1, *[1] * x.ndim)
    shifted = bind("mul", expand_dims(retype(x, INT64), 0), whole(factors, scope_of(x)), bits=0, rounding="dither")
    return bind("ltz", shifted)  # type: ignore[no-any-return]


def bits(x: Array, which: Sequence[int] | None = None) -> Array:
    """Bits of the words of x (64 bits, or what the session has) in two's complement (of x 2^f for fixed point), as bool with a
    new first axis, the lowest first; all by default. One comparison a bit."""
    x = core._numbers(x)
    return _bit_planes(x, tuple(range(x.dtype.bits) if which is None else which))


def from_bits(planes: Array, which: Sequence[int] | None = None) -> Array:
    """The integer whose bits these are: the inverse of `bits`. One round; the others are 0."""
    weights = np.array([1 << k for k in (range(len(planes)) if which is None else which)], object)
    return _weighted(planes, weights.reshape(-1, *[1] * (planes.ndim - 1)))


def _weighted(planes: Array, weights: np.ndarray) -> Array:
    words = whole(weights, scope_of(planes))
    return core.sum(bind("mul", astype(planes, INT64), words, bits=0, rounding="dither"), 0)


def _whole(*values: Any) -> list[Any]:
    """Integer operands: secrets as int64, public ones as NumPy's."""
    found = []
    for v in values:
        v = core._numbers(v) if isinstance(v, Array) else core._plain(v)
        if v.dtype.kind != "int" if isinstance(v, Array) else v.dtype.kind == "f":
            raise TypeMismatch(
                f"operations on bits take integers or bool, not {v.dtype} (at {user_line()}); .astype(mpc.int64) rounds down"
            )
        found.append(v)
    return found


def _bools(*values: Any) -> bool:
    return all(v.dtype.is_bool if isinstance(v, Array) else np.asarray(v).dtype.kind == "b" for v in values)


@implements("bitwise_and")
def bitwise_and(x: Any, y: Any) -> Array:
    """x & y of bool, or of integers: then 64 comparisons an operand (for a public one, none)."""
    if _bools(x, y):
        return core.bitwise_and(x, y)
    x, y = _whole(x, y)
    if isinstance(x, Array) and isinstance(y, Array):
        x, y = core._same_shape(x, y)
        return from_bits(core.bitwise_and(bits(x), bits(y)))
    secret, public = (x, y) if isinstance(x, Array) else (y, x)
    words = np.asarray(public.astype(object) % (1 << secret.dtype.bits), object)
    together = int(np.bitwise_or.reduce(words.reshape(-1), initial=0))
    which = [k for k in range(secret.dtype.bits) if together >> k & 1]
    secret = core.broadcast_to(secret, np.broadcast_shapes(secret.shape, public.shape))
    if not which:
        return core.multiply(secret, 0)
    return _weighted(bits(secret, which), np.stack([np.asarray(words & 1 << k, object) for k in which]).reshape(
        len(which), *[1] * (secret.ndim - public.ndim), *public.shape))  # fmt: skip


@implements("bitwise_or")
def bitwise_or(x: Any, y: Any) -> Array:
    """x | y of bool or integers: x + y - (x & y)."""
    return core.bitwise_or(x, y) if _bools(x, y) else subtract(add(*_whole(x, y)), bitwise_and(x, y))


@implements("bitwise_xor")
def bitwise_xor(x: Any, y: Any) -> Array:
    """x ^ y of bool or integers: x + y - 2 (x & y)."""
    return core.bitwise_xor(x, y) if _bools(x, y) else subtract(add(*_whole(x, y)), multiply(bitwise_and(x, y), 2))


@implements("invert", "bitwise_invert", "bitwise_not")
def bitwise_invert(x: Array) -> Array:
    """~x of bool or integers: -1 - x."""
    return subtract(-1, x) if x.dtype.kind == "int" else core.invert(x)


@implements("left_shift", "bitwise_left_shift")
def bitwise_left_shift(x: Any, shift: Any) -> Array:
    """x 2^shift modulo 2^64 for 0 <= shift < 64; a secret shift is compared with all of them."""
    x, shift = _whole(x, shift)
    if isinstance(shift, Array):
        width = shift.dtype.bits
        powers = np.array([1 << k for k in range(width)], object).reshape(-1, *[1] * shift.ndim)
        power = _weighted(core.equal(expand_dims(shift, 0), np.arange(width).reshape(powers.shape)), powers)
        return multiply(x, power)
    factor = whole(np.asarray(1 << shift.astype(object), object), scope_of(x))
    return bind("mul", x, factor, bits=0, rounding="dither")  # type: ignore[no-any-return]


@implements("right_shift", "bitwise_right_shift")
def bitwise_right_shift(x: Any, shift: Any) -> Array:
    """floor(x / 2^shift) for |x| < 2^62 and 0 <= shift < 64; a secret shift goes through its six bits."""
    x, shift = _whole(x, shift)
    if not isinstance(shift, Array) and (shift == shift.reshape(-1)[:1]).all():
        by = int(shift.reshape(-1)[0]) if shift.size else 0
        x = core.broadcast_to(x, np.broadcast_shapes(x.shape, shift.shape))
        return shift_right(x, by, "floor") if by < x.dtype.bits - 2 else negative(astype(less(x, 0), INT64))
    x = x if isinstance(x, Array) else core.as_array(x, INT64, scope_of(shift))
    for k in range(x.dtype.bits.bit_length() - 1):
        stage = getitem(bits(shift, [k]), 0) if isinstance(shift, Array) else (shift >> k & 1).astype(bool)
        x = core.where(stage, shift_right(x, 1 << k, "floor"), x)
    return x  # type: ignore[no-any-return]


# ---- division with remainder ----
@implements("floor_divide")
def floor_divide(x: Any, y: Any) -> Array:
    """floor(x / y), exact.

    Public y: for integers |x| < 2^61, for fixed point |x| < 2^(61 - f) and y as it is encoded at x's scale. Secret y:
    1 <= |y| < 2^15 and |x| < 2^28. ZeroDivisionError for a public zero.
    """
    quotient, _ = _divide(x, y)
    return quotient


@implements("remainder", "mod")
def remainder(x: Any, y: Any) -> Array:
    """x - floor(x / y) y, exact: of y's sign, as Python's %. Domain: see `floor_divide`."""
    quotient, (x, y) = _divide(x, y)
    return subtract(x, multiply(quotient if quotient.dtype.kind == "int" else astype(quotient, INT64), y))


@implements("divmod")
def divmod(x: Any, y: Any) -> tuple[Array, Array]:
    """(floor_divide(x, y), remainder(x, y))."""
    quotient, (x, y) = _divide(x, y)
    return quotient, subtract(x, multiply(quotient if quotient.dtype.kind == "int" else astype(quotient, INT64), y))


def _divide(x: Any, y: Any) -> tuple[Array, tuple[Array, Array]]:
    """(floor(x / y) in the operands' dtype, the operands at one scale)."""
    x, y = core._align(x, y)
    if y.node.value is not None:  # public
        words = scope_of(x).settings.ring.integers(y.node.value)
        if not words.all():
            raise ZeroDivisionError(f"division by a public zero at {user_line()}")
        whole = _by_each(retype(x, INT64), words)
    else:
        whole = _by_secret(*core._same_shape(x, y))
    return astype(whole, x.dtype), (x, y)


def _by_each(x: Array, y: np.ndarray) -> Array:
    """floor(x / y) for public y: those of one length in bits are worked on together."""
    lengths = np.frexp(np.abs(y).astype(float))[1]
    if (lengths == lengths.reshape(-1)[:1]).all():
        return _by_public(x, y)
    shape = np.broadcast_shapes(x.shape, y.shape)
    x, y, lengths = (reshape(core.broadcast_to(x, shape), -1), *(np.broadcast_to(v, shape).reshape(-1) for v in (y, lengths)))
    places = [np.flatnonzero(lengths == n) for n in np.unique(lengths)]
    parts = core.concatenate([_by_public(getitem(x, p), y[p]) for p in places])
    return reshape(getitem(parts, np.argsort(np.concatenate(places))), shape)


def _by_public(x: Array, y: np.ndarray) -> Array:
    """Estimates with reciprocals of 30 bits, and again of what remains, until the remainder is in [-2 y, 2 y)."""
    sign, y = np.where(y < 0, -1, 1), np.abs(y)
    rest: Array = multiply(x, sign) if (sign < 0).any() else x
    quotient: Any = 0
    smallest, largest, size = int(y.min()), int(y.max()), 61.0  # |rest| < 2^size
    scale = 29 + smallest.bit_length()  # reciprocals are round(2^scale / y), at most 2^30
    inverse = np.rint(2.0**scale / y).astype(np.int64)
    for _ in range(4):
        before = max(0, math.ceil(size) - 31)
        estimate = multiply(shift_right(rest, before, "floor"), inverse)
        after = scale - before  # below 62: a divisor of 32 bits or more is done in one step
        estimate = shift_right(estimate, after, "floor") if after >= 0 else multiply(estimate, 1 << -after)
        quotient, rest = (
            add(quotient, estimate) if isinstance(quotient, Array) else estimate,
            subtract(rest, multiply(estimate, y)),
        )
        ratio = 2.0 ** (size - scale - 1) + 1 + (2.0**before / smallest if before else 0)  # |rest| <= ratio * y
        size = math.log2(largest * ratio)
        if ratio <= 2:
            break
    return add(quotient, _correction(rest, y))


def _correction(rest: Array, y: Any) -> Array:
    """floor(rest / y) for -2 y <= rest < 2 y."""
    steps = core.stack([greater_equal(rest, v) for v in (-y, 0, y)])
    return subtract(core.sum(steps, 0), 2)


def _by_secret(x: Array, y: Array) -> Array:
    sign = subtract(1, multiply(less(y, 0), 2))
    x, y = multiply(x, sign), multiply(y, sign)
    settings = scope_of(x).settings.dtype
    inverse = reciprocal(y if y.dtype.kind != "int" else astype(y, settings))
    quotient: Any = 0
    for _ in range(2):  # the reciprocal has 15 good bits, and again of the rest
        estimate = astype(multiply(x, inverse), INT64)
        quotient, x = add(quotient, estimate) if isinstance(quotient, Array) else estimate, subtract(x, multiply(estimate, y))
    return add(quotient, _correction(x, y))


# ---- rounding to whole numbers ----
def _is_whole(x: Array) -> bool:
    return x.dtype.kind != "fixed"


@implements("floor")
def floor(x: Array) -> Array:
    """The largest whole number not above x, of x's dtype."""
    return x if _is_whole(x) else astype(astype(x, INT64), x.dtype)


@implements("ceil")
def ceil(x: Array) -> Array:
    """The smallest whole number not below x, of x's dtype."""
    return x if _is_whole(x) else negative(floor(negative(x)))


@implements("trunc", "fix")
def trunc(x: Array) -> Array:
    """x without its fraction, of x's dtype: ceil below zero, floor above."""
    return x if _is_whole(x) else floor(add(x, multiply(less(x, 0), 1 - 2.0**-x.dtype.fraction)))


@implements("round", "around", "rint")
def round(x: Array, decimals: int = 0) -> Array:
    """x to the nearest whole number (or multiple of 10^-decimals), ties to the even one, of x's dtype."""
    if _is_whole(x) and decimals >= 0:
        return x
    if decimals:
        return multiply(round(multiply(x, 10.0**decimals)), 10.0**-decimals)
    up = floor(add(x, 0.5))
    tie = core.equal(subtract(add(x, 0.5), up), 0)
    odd = reshape(bits(astype(up, INT64), [0]), x.shape)
    return subtract(up, astype(core.bitwise_and(tie, odd), INT64))


# ---- signs and states ----
@implements("signbit")
def signbit(x: Array) -> Array:
    """x < 0."""
    return less(x, 0)


@implements("copysign")
def copysign(x: Any, y: Any) -> Array:
    """|x| with the sign of y."""
    size: Any = absolute(x) if isinstance(x, Array) else np.abs(x)
    if not isinstance(y, Array):
        return multiply(size, np.where(np.signbit(y), -1, 1))
    return multiply(size, subtract(1, multiply(less(y, 0), 2)))


@implements("isfinite")
def isfinite(x: Array) -> np.ndarray:
    """True everywhere: secrets are finite. Public."""
    return np.ones(x.shape, bool)


@implements("isnan", "isinf")
def isnan(x: Array) -> np.ndarray:
    """False everywhere: secrets are numbers. Public."""
    return np.zeros(x.shape, bool)


isinf = isnan
