"""Whole numbers: their bits, shifts, division with remainder, and rounding of real numbers to whole ones. Exact."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import TypeMismatch, UsageError
from ..ir.trace import user_line
from ..ir.types import INT64, UINT64, DType
from . import core, manipulation, views
from .array import Array, bind, implements, scope_of, whole
from .core import add, astype, greater_equal, less, multiply, negative, retype, shift_right, subtract
from .elementwise import absolute
from .function import function, gate
from .views import expand_dims, getitem, reshape
from .wide import WORK, normalised_inverse, reciprocal
from .widths import shift_word, word


# ---- bits ----
@gate("bit_planes", lambda x, which: {"which": list(which)})
def _bit_planes(x: Array, which: tuple[int, ...]) -> Array:
    # bit k of x is the sign of x 2^(63-k), for words of 64 bits
    factors = np.array([1 << (x.dtype.bits - 1 - k) for k in which], object).reshape(-1, *[1] * x.ndim)
    shifted = bind("mul", expand_dims(retype(x, INT64), 0), whole(factors, scope_of(x)), bits=0, rounding="dither")
    return bind("ltz", shifted)  # type: ignore[no-any-return]


def bits(x: Array, which: Sequence[int] | None = None) -> Array:
    """Bits of x in two's complement (of x 2^f for fixed point), as bool with a new first axis, the lowest first: all of its
    dtype, or these. One comparison a bit."""
    x = core._numbers(x)
    width = _width(x)
    if which is not None and not all(0 <= k < width for k in which):
        raise UsageError(f"bits {list(which)} of {x.dtype}: they are counted from 0 to {width - 1} (at {user_line()})")
    return _bit_planes(x, tuple(range(width) if which is None else which))


def _width(x: Array) -> int:
    return x.dtype.width if x.dtype.is_int else x.dtype.bits


def from_bits(planes: Array, which: Sequence[int] | None = None, dtype: DType = INT64) -> Array:
    """The integer whose bits these are, the lowest first by default: the inverse of `bits`. One round; the others are 0."""
    which = range(len(planes)) if which is None else which
    weights = np.array([1 << k for k in which], object)
    return _weighted(planes, weights.reshape(-1, *[1] * (planes.ndim - 1)), core.as_dtype(dtype, scope_of(planes)))


def _weighted(planes: Array, weights: np.ndarray, dtype: DType) -> Array:
    return retype(_from_bits(planes, whole(weights, scope_of(planes))), dtype)


@gate("from_bits")
def _from_bits(planes: Array, weights: Array) -> Array:
    """Sums over the first axis of bits times public words."""
    return core.sum(bind("mul", astype(planes, INT64), weights, bits=0, rounding="dither"), 0)


def _integers(x: Array) -> np.ndarray:
    """The value of a public array, modulo 2^w, as Python's integers."""
    assert x.node.value is not None
    found = np.asarray(scope_of(x).settings.ring.integers(x.node.value), object)
    return np.asarray(found % (1 << x.dtype.width), object)


def _places(shift: Array) -> np.ndarray:
    """By how many bits a public shift is. Raises UsageError for a negative one, or one of all bits."""
    places = _integers(shift)  # modulo 2^w: negative ones are large
    if (places >= shift.dtype.width).any():
        raise UsageError(
            f"a shift of {shift.dtype} is by 0 to {shift.dtype.width - 1} bits (at {user_line()}): x >> k undoes x << k, and a "
            "shift by all bits is np.where(x < 0, -1, 0) to the right, 0 to the left"
        )
    return places


def _whole(x: Any, y: Any) -> list[Array]:
    """Integer operands, at one dtype; a public one is a constant."""
    for v in (x, y):
        kind = v.dtype if isinstance(v, Array) else core._plain(v).dtype
        if kind.kind in ("fixed", "f"):
            raise TypeMismatch(
                f"operations on bits take integers or bool, not {kind} (at {user_line()}); .astype(mpc.int64) rounds down"
            )
    return list(core._align(x, y))


def _bools(*values: Any) -> bool:
    return all(v.dtype.is_bool if isinstance(v, Array) else np.asarray(v).dtype.kind == "b" for v in values)


@implements("bitwise_and")
def bitwise_and(x: Any, y: Any) -> Array:
    """x & y of bool, or of integers: then 64 comparisons an operand (for a public one, none)."""
    if _bools(x, y):
        return core.bitwise_and(x, y)
    x, y = _whole(x, y)
    secret, words = (x, y.node.value) if y.node.value is not None else (y, x.node.value)
    if words is None:
        x, y = core._same_shape(x, y)
        return from_bits(core.bitwise_and(bits(x), bits(y)), dtype=x.dtype)
    public = _integers(y if secret is x else x)
    together = int(np.bitwise_or.reduce(public.reshape(-1), initial=0))
    which = [k for k in range(secret.dtype.width) if together >> k & 1]
    secret = views.broadcast_to(secret, np.broadcast_shapes(secret.shape, public.shape))
    if not which:
        return core.multiply(secret, 0)
    return _weighted(bits(secret, which), np.stack([np.asarray(public & 1 << k, object) for k in which]).reshape(
        len(which), *[1] * (secret.ndim - public.ndim), *public.shape), secret.dtype)  # fmt: skip


@implements("bitwise_or")
def bitwise_or(x: Any, y: Any) -> Array:
    """x | y of bool or integers: x + y - (x & y)."""
    if _bools(x, y):
        return core.bitwise_or(x, y)
    x, y = _whole(x, y)
    return subtract(add(x, y), bitwise_and(x, y))


@implements("bitwise_xor")
def bitwise_xor(x: Any, y: Any) -> Array:
    """x ^ y of bool or integers: x + y - 2 (x & y)."""
    if _bools(x, y):
        return core.bitwise_xor(x, y)
    x, y = _whole(x, y)
    return subtract(add(x, y), multiply(bitwise_and(x, y), 2))


@implements("invert", "bitwise_invert", "bitwise_not")
def bitwise_invert(x: Array) -> Array:
    """~x of bool or integers: -1 - x."""
    return core.complement(x) if x.dtype.is_int else core.invert(x)


@implements("left_shift", "bitwise_left_shift")
def bitwise_left_shift(x: Any, shift: Any) -> Array:
    """x 2^shift modulo its 2^w for 0 <= shift < w; a secret shift is compared with all of them."""
    x, shift = _whole(x, shift)
    if shift.node.value is not None:
        factor = retype(whole(np.asarray(1 << _places(shift), object), scope_of(x)), x.dtype)
        return bind("mul", x, factor, bits=0, rounding="dither")  # type: ignore[no-any-return]
    powers = np.array([1 << k for k in range(x.dtype.width)], object).reshape(-1, *[1] * shift.ndim)
    places = [core.equal(shift, k) for k in range(x.dtype.width)]
    return multiply(x, _weighted(manipulation.stack(places), powers, x.dtype))


@implements("right_shift", "bitwise_right_shift")
def bitwise_right_shift(x: Any, shift: Any) -> Array:
    """floor(x / 2^shift) for 0 <= shift < w, exact for all integers of w bits; a secret shift goes through its bits."""
    x, shift = _whole(x, shift)
    dtype, words = x.dtype, None if shift.node.value is None else _places(shift)
    x = word(x)
    if words is not None and (words == words.reshape(-1)[:1]).all():
        by = int(words.reshape(-1)[0]) if words.size else 0
        return retype(_shifted_down(views.broadcast_to(x, np.broadcast_shapes(x.shape, words.shape)), by, dtype), dtype)
    for k in range((dtype.width - 1).bit_length()):
        stage = getitem(bits(shift, [k]), 0) if words is None else np.asarray(words >> k & 1, bool)
        x = core.where(stage, _shifted_down(x, 1 << k, dtype), x)
    return retype(x, dtype)


def _shifted_down(x: Array, by: int, dtype: DType) -> Array:
    """floor(x / 2^by) of the exact words of a dtype."""
    if by and dtype.width == x.dtype.bits:
        return shift_word(x, by, dtype.signed)
    return shift_right(x, by, "floor")


# ---- division with remainder ----
@implements("floor_divide")
def floor_divide(x: Any, y: Any) -> Array:
    """floor(x / y), exact.

    Public y: for integers, of int64 |x| < 2^61 (in sessions of 32 and 128 bits 2^29 and 2^125); for fixed point
    |x| < 2^(61 - f) and y as it is encoded at x's scale. Secret y other than 0: for integers |x| and |y| up to 2^32, for fixed
    point 1 <= |y| < 2^15 and |x| < 2^28.
    ZeroDivisionError for a public zero.
    """
    quotient, _ = _divide(x, y)
    return quotient


@implements("remainder", "mod")
def remainder(x: Any, y: Any) -> Array:
    """x - floor(x / y) y, exact: of y's sign, as Python's %. Domain: see `floor_divide`."""
    return divmod(x, y)[1]


@implements("divmod")
def divmod(x: Any, y: Any) -> tuple[Array, Array]:
    """(floor_divide(x, y), remainder(x, y))."""
    quotient, (x, y) = _divide(x, y)
    return quotient, subtract(x, multiply(quotient if quotient.dtype.is_int else astype(quotient, INT64), y))


def _divide(x: Any, y: Any) -> tuple[Array, tuple[Array, Array]]:
    """(floor(x / y) in the operands' dtype, the operands at one scale)."""
    x, y = core._align(x, y)
    if y.node.value is not None:  # public
        words = scope_of(x).settings.ring.integers(y.node.value)
        words = words.view(np.uint64) if x.dtype == UINT64 else words
        if not words.all():
            raise ZeroDivisionError(f"division by a public zero at {user_line()}")
        whole = _by_each(x if x.dtype == UINT64 else retype(word(x), INT64), words)
    else:
        by = _by_secret_integer if x.dtype.is_int else _by_secret
        whole = by(*core._same_shape(*(word(v) for v in (x, y))))
    return retype(whole, x.dtype) if x.dtype.is_int else astype(whole, x.dtype), (x, y)


def _by_each(x: Array, y: np.ndarray) -> Array:
    """floor(x / y) for public y: those of one length in bits are worked on together."""
    by = _unsigned_by_public if x.dtype == UINT64 else _by_public
    lengths = np.frexp(np.abs(y.astype(float)))[1]
    if (lengths == lengths.reshape(-1)[:1]).all():
        return by(x, y)
    shape = np.broadcast_shapes(x.shape, y.shape)
    x, y, lengths = (reshape(views.broadcast_to(x, shape), -1), *(np.broadcast_to(v, shape).reshape(-1) for v in (y, lengths)))
    places = [np.flatnonzero(lengths == n) for n in np.unique(lengths)]
    parts = manipulation.concatenate([by(getitem(x, p), y[p]) for p in places])
    return reshape(getitem(parts, np.argsort(np.concatenate(places))), shape)


def _unsigned_by_public(x: Array, y: np.ndarray) -> Array:
    """floor(x / y) of uint64: by 8 first, so that words are below 2^61. Large y are counted."""
    most = (2**64 - 1) // int(y.min())
    if most < 1 << 6:
        shape = np.broadcast_shapes(x.shape, y.shape)
        reached = []
        for k in range(1, most + 1):
            inside = np.reshape([k * int(v) < 2**64 for v in y.reshape(-1)], y.shape)
            reached.append(views.broadcast_to(core.bitwise_and(greater_equal(x, y * np.uint64(k)), inside), shape))
        return core.sum(manipulation.stack(reached), 0)
    eighth = shift_word(retype(x, INT64), 3, False)
    y = y.view(np.int64)
    quotient = _by_public(eighth, y)
    rest = subtract(retype(x, INT64), multiply(multiply(quotient, y), 8))  # below 8 y
    return add(multiply(quotient, 8), _by_public(rest, y))


@function(name="quotient")  # type: ignore[untyped-decorator]
def _by_public(x: Array, y: np.ndarray) -> Array:
    """Estimates with reciprocals of 30 bits (in words of 32 bits, of 14), and again of what remains, until the remainder is in
    [-2 y, 2 y)."""
    half, top = min(30, x.dtype.bits // 2 - 2), x.dtype.bits - 3  # |x| < 2^top, larger y divide alike
    sign = np.where(y < 0, -1, 1)
    y = np.array([min(abs(int(v)), 1 << top) for v in y.reshape(-1)], object).reshape(y.shape)
    rest: Array = multiply(x, sign) if (sign < 0).any() else x
    quotient: Any = 0
    smallest, largest, size, ratio = int(y.min()), int(y.max()), float(top), math.inf  # |rest| < 2^size, |rest| <= ratio * y
    scale = half - 1 + smallest.bit_length()  # reciprocals are round(2^scale / y), at most 2^half
    inverse = np.rint(2.0**scale / y.astype(float)).astype(np.int64)
    while ratio > 2:
        before = max(0, math.ceil(size) - half - 1)
        estimate = multiply(shift_right(rest, before, "floor"), inverse)
        after = scale - before  # at most `top`
        estimate = shift_right(estimate, after, "floor") if after >= 0 else multiply(estimate, 1 << -after)
        quotient, rest = (
            add(quotient, estimate) if isinstance(quotient, Array) else estimate,
            subtract(rest, multiply(estimate, y)),
        )
        ratio = 2.0 ** (size - scale - 1) + 1 + (2.0**before / smallest if before else 0)
        size = math.log2(largest * ratio)
    return add(quotient, _correction(rest, y))


def _correction(rest: Array, y: Any, most: int = 1) -> Array:
    """floor(rest / y) for -2 y <= rest < (most + 1) y."""
    steps = manipulation.stack([greater_equal(rest, k * y) for k in range(-1, most + 1)])
    return subtract(core.sum(steps, 0), 2)


def _by_secret(x: Array, y: Array) -> Array:
    sign = subtract(1, multiply(less(y, 0), 2))
    x, y = multiply(x, sign), multiply(y, sign)
    inverse = reciprocal(y)
    quotient: Any = 0
    for _ in range(2):  # the reciprocal has 15 good bits, and again of the rest
        estimate = astype(multiply(x, inverse), INT64)
        quotient, x = add(quotient, estimate) if isinstance(quotient, Array) else estimate, subtract(x, multiply(estimate, y))
    return add(quotient, _correction(x, y))


DIVISOR = 33  # |y| < 2^33


@gate("quotient")
def _by_secret_integer(x: Array, y: Array) -> Array:
    """y n is in [2^32, 2^34) for a power of four n, and x / y = x n / (y n): a curve on [1, 4) gives 1 / (y n) to 2^-20 of
    itself. So the first quotient is off by that (at most 2^12) and what shifts drop, the second by less than 2."""
    sign = subtract(1, multiply(less(y, 0), 2))
    x, y = multiply(x, sign), multiply(y, sign)
    inverse, scale = normalised_inverse(y, DIVISOR)
    quotient: Any = 0
    for drop in (4, 0):  # a first quotient of up to 2^32, times n, would leave its word
        part = shift_right(multiply(shift_right(x, drop, "floor"), inverse), WORK.fraction, "floor")
        estimate = shift_right(multiply(part, scale), DIVISOR - 1 - drop, "floor")
        quotient, x = add(quotient, estimate) if isinstance(quotient, Array) else estimate, subtract(x, multiply(estimate, y))
    return add(quotient, _correction(x, y, 2))


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
