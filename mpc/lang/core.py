"""Arithmetic, comparison, sums: what NumPy calls them, in the program's operations."""

from __future__ import annotations

import functools
from math import floor, log2, prod
from typing import Any

import numpy as np

from ..errors import RangeError, ShapeMismatch, TypeMismatch
from ..ir.trace import user_line
from ..ir.types import BOOL, INT64, UINT64, DType, promote
from ..ring.fixed import exact_fraction_bits
from .array import Array, Axis, Scope, bind, constant, implements, scope_of, whole
from .function import gate
from .views import axes_of, broadcast_to, reshape
from .widths import WORD_BITS, exact, fits, is_zero, less_unsigned, plain_dtype, whole_words, word
from .widths import retype as retype

MOST_FRACTION = 40  # of a public factor: more precision than a product of 64 bits can use


# ---- public operands ----
def _plain(value: Any) -> np.ndarray:
    array = np.asarray(value)
    exact = array.dtype.kind == "O" and all(isinstance(v, int) for v in array.reshape(-1))
    if array.dtype.kind not in "biuf" and not exact:
        raise TypeMismatch(f"a public operand must be numbers or bool, not {array.dtype} (at {user_line()})")
    return array


def _words(array: np.ndarray, fraction: int, scope: Scope, dtype: DType = INT64) -> np.ndarray:
    ring = scope.settings.ring
    if dtype.wraps or (array.dtype.kind in "biuO" and (not fraction or array.dtype.kind == "O")):
        array, dtype = array << fraction if fraction else array, dtype.within(ring.name)
        if not (fits(array, dtype) if dtype.wraps else ring.holds(array)):
            low, high = dtype.bounds
            size = "" if ring.primes else f" outside {low} .. {high}"
            raise RangeError(
                f"a public operand{size} does not fit {dtype} (at {user_line()}): convert the secret to a wider type with "
                ".astype, or give a NumPy array of that type"
            )
        return whole_words(array, dtype) if dtype.wraps else ring.of(array)
    return ring.encode(array, fraction)


def _is_integral(array: np.ndarray) -> bool:
    return array.dtype.kind in "biuO" or bool(
        (np.isfinite(array) & (array == np.rint(array)) & (np.abs(array) < 2.0**62)).all()
    )


def as_array(value: Any, like: DType, scope: Scope) -> Array:
    """value as an operand of dtype `like`: an Array stays, plain numbers are encoded."""
    if isinstance(value, Array):
        return value
    array = _plain(value)
    if like.is_bool:
        if array.dtype.kind != "b" and not np.isin(array, (0, 1)).all():
            raise TypeMismatch(f"a bool operand must be True or False (at {user_line()})")
        return constant(array.astype(np.uint8), like, scope)
    if like.is_int and not _is_integral(array):
        raise TypeMismatch(f"fractional constants do not fit {like}; convert with .astype(mpc.fixed64()) (at {user_line()})")
    return constant(_words(array, like.fraction, scope, like), like, scope)


def _factor(value: Any, x: Array) -> tuple[Array, int]:
    """A public factor for x, at the scale that suits its size: (array, bits to truncate after the product).

    Small factors get more fraction bits (1/5000 at 16 bits would be wrong by 0.8 %), integers none.
    """
    array, scope = _plain(value), scope_of(x)
    if _is_integral(array):
        like = x.dtype if x.dtype.wraps else INT64
        return constant(_words(array, 0, scope, like), like, scope), 0
    size = float(np.max(np.abs(array), initial=0))
    wanted = (x.dtype.fraction or scope.settings.real.fraction) + max(0, -floor(log2(size)) if size else 0)
    ring, most = scope.settings.ring, min(wanted, MOST_FRACTION * scope.settings.bits // 64)
    fraction = exact_fraction_bits(ring.limbs(ring.encode(array, most)), most)
    if x.dtype.kind == "int":  # the product has the session's scale, however fine the factor's is
        fraction = max(fraction, scope.settings.dtype.fraction)
        return constant(ring.encode(array, fraction), DType("fixed", fraction), scope), fraction - scope.settings.dtype.fraction
    return constant(ring.encode(array, fraction), DType("fixed", fraction) if fraction else INT64, scope), fraction


def _numbers(x: Array) -> Array:
    """bool as int64."""
    return bind("b2a", x) if x.dtype.is_bool else x


def common_dtype(*dtypes: DType) -> DType:
    """The dtype that all of these go over to in one operation."""
    try:
        return functools.reduce(promote, dtypes)
    except TypeMismatch as error:
        raise TypeMismatch(f"{error} (at {user_line()})") from None


def _beside(secret: Array, other: Any) -> tuple[Array, np.ndarray]:
    """A secret as a number that a public operand goes with, and that operand. NumPy's integers bring their width where the
    secret has one that wraps; Python's, and real numbers that are whole, take the secret's."""
    secret, plain = _numbers(secret), _plain(other)
    if secret.dtype.wraps and plain.dtype.kind in "iu" and isinstance(other, (np.ndarray, np.generic)):
        width = plain_dtype(plain.dtype)
        assert width is not None
        secret = astype(secret, common_dtype(secret.dtype, width))
    return secret, plain


def _align(x: Any, y: Any) -> tuple[Array, Array]:
    """Both operands as arrays of one numeric dtype."""
    scope = scope_of(x, y)
    if not isinstance(x, Array) or not isinstance(y, Array):
        secret, plain = _beside(*((x, y) if isinstance(x, Array) else (y, x)))
        if secret.dtype.is_int and not _is_integral(plain):
            secret = astype(secret, scope.settings.real)
        other = as_array(plain, secret.dtype, scope)
        return (secret, other) if isinstance(x, Array) else (other, secret)
    common = common_dtype(x.dtype, y.dtype)
    common = INT64 if common.is_bool else common
    return astype(x, common), astype(y, common)


def _same_shape(*xs: Array) -> list[Array]:
    try:
        shape = np.broadcast_shapes(*(x.shape for x in xs))
    except ValueError:
        raise ShapeMismatch(f"shapes {' and '.join(str(x.shape) for x in xs)} do not broadcast (at {user_line()})") from None
    return [broadcast_to(x, shape) for x in xs]


# ---- arithmetic ----
@implements("add")
def add(x: Any, y: Any) -> Array:
    """x + y, with broadcasting."""
    return bind("add", *_align(x, y))  # type: ignore[no-any-return]


@implements("subtract")
def subtract(x: Any, y: Any) -> Array:
    """x - y, with broadcasting."""
    a, b = _align(x, y)
    return a if _is_nothing(y) else bind("sub", a, b)


def _is_nothing(x: Any) -> bool:
    """Whether x is a public number 0: a difference from it is no equation, and the secret keeps what is opened of it."""
    return not isinstance(x, Array) and np.ndim(x) == 0 and not np.any(x)


@implements("negative")
def negative(x: Array) -> Array:
    """-x."""
    return bind("neg", _numbers(x))  # type: ignore[no-any-return]


def complement(x: Array) -> Array:
    """-1 - x of integers: every bit turned, and their order."""
    return bind("sub", retype(whole(-1, scope_of(x)), x.dtype), x)  # type: ignore[no-any-return]


@implements("positive")
def positive(x: Array) -> Array:
    """x."""
    return x


def _factors(x: Array, y: Array) -> tuple[Array, Array]:
    """Operands of a product: both integers of one type, or real numbers beside exact integers."""
    if not x.dtype.wraps and not y.dtype.wraps:
        return _numbers(x), _numbers(y)
    common = common_dtype(x.dtype, y.dtype)
    if common.is_int:
        return astype(x, common), astype(y, common)
    return word(x), word(y)


def product(op: str, x: Any, y: Any, **params: Any) -> Array:
    """A bilinear operation, truncated to the finer scale of its operands; one of them may be public."""
    scope = scope_of(x, y)
    if isinstance(x, Array) and isinstance(y, Array):
        x, y = _factors(x, y)
        # the result keeps the finer scale; an integer factor costs no truncation
        bits = min(x.dtype.fraction, y.dtype.fraction)
    elif isinstance(x, Array):
        x, plain = _beside(x, y)
        x = x if _is_integral(plain) else word(x)
        y, bits = _factor(plain, x)
    else:
        y, plain = _beside(y, x)
        y = y if _is_integral(plain) else word(y)
        x, bits = _factor(plain, y)
    return bind(op, x, y, bits=bits, rounding=scope.settings.rounding, **params)  # type: ignore[no-any-return]


@implements("multiply")
def multiply(x: Any, y: Any) -> Array:
    """x * y, with broadcasting. |x * y| < 2^(61 - 2f) for fixed point with f fraction bits.

    A public factor that is a fraction keeps 17 significant bits however small it is, so there |x| < 2^(44 - f). An array of
    factors has one scale: its largest element keeps 17 bits (all elements keep f after the point); multiply apart what differs
    more in size.
    """
    if isinstance(x, Array) and isinstance(y, Array):
        x, y = _same_shape(x, y)
        if x.dtype.is_bool != y.dtype.is_bool:
            return where(x, y, 0) if x.dtype.is_bool else where(y, x, 0)
    return product("mul", x, y)


@implements("matmul", "linalg.matmul")
def matmul(x: Any, y: Any) -> Array:
    """x @ y with NumPy's rules: vectors are rows or columns, leading axes broadcast."""
    x, y = (v if isinstance(v, Array) else _plain(v) for v in (x, y))
    if not x.ndim or not y.ndim:
        raise ShapeMismatch(f"matmul of a scalar: use * (at {user_line()})")
    shapes = (x.shape, y.shape)
    x2 = _reshape_any(x, (1, *x.shape)) if x.ndim == 1 else x
    y2 = _reshape_any(y, (*y.shape, 1)) if y.ndim == 1 else y
    if x2.shape[-1] != y2.shape[-2]:
        fits = _what_fits(x2.shape, y2.shape)
        raise ShapeMismatch(f"cannot multiply matrices of shapes {shapes[0]} and {shapes[1]} (at {user_line()}): {fits}")
    z = product("matmul", x2, y2)
    shape = (*z.shape[:-2], *([] if x.ndim == 1 else [z.shape[-2]]), *([] if y.ndim == 1 else [z.shape[-1]]))
    return reshape(z, shape) if shape != z.shape else z


def _what_fits(x: tuple[int, ...], y: tuple[int, ...]) -> str:
    if x[-1] == y[-1]:
        return "the second one transposed (y.mT) would fit"
    if x[-2] == y[-2]:
        return "the first one transposed (x.mT) would fit"
    return f"the first has {x[-1]} columns, the second {y[-2]} rows"


def _reshape_any(x: Any, shape: tuple[int, ...]) -> Any:
    return reshape(x, shape) if isinstance(x, Array) else x.reshape(shape)


@implements("square")
def square(x: Array) -> Array:
    """x * x: x is opened once."""
    return product("mul", x, x)


def as_dtype(dtype: Any, scope: Scope) -> DType:
    """The dtype of secrets that a NumPy dtype or Python type stands for: an integer, bool, or the session's fixed point."""
    found = dtype if isinstance(dtype, DType) else None
    if found is None:
        plain = np.dtype(dtype)
        found = scope.settings.real if plain.kind == "f" else plain_dtype(plain)
    if found is None:
        raise TypeMismatch(f"there are no secrets of {plain} (at {user_line()}): choose mpc.int64, mpc.bool or mpc.fixed64(f)")
    return found.within(scope.settings.dtype.ring, f" at {user_line()}")


@implements("astype")
def astype(x: Array, dtype: Any) -> Array:
    """x as another dtype. To fewer fraction bits: the session's rounding; to integers: floor, modulo their 2^w. To a wider
    integer or a real number an integer of less than 64 bits is extended: two comparisons and a truncation, or nothing where
    the ranges of the inputs show that it did not wrap around."""
    dtype = as_dtype(dtype, scope_of(x))
    if x.dtype == dtype:
        return x
    if dtype.is_bool:
        return not_equal(x, 0)
    x = _numbers(x)
    if x.dtype.is_int and dtype.is_int and dtype.width <= x.dtype.width:
        return retype(x, dtype)
    x = word(x)
    if dtype.wraps:
        return retype(astype(x, INT64), dtype)
    up = dtype.fraction - x.dtype.fraction
    if up > 0:
        factor = whole(1 << up, scope_of(x))
        return retype(bind("mul", x, factor, bits=0, rounding="dither"), dtype)
    if up < 0:
        rounding = "floor" if dtype.kind == "int" else scope_of(x).settings.rounding
        x = bind("trunc", x, bits=-up, rounding=rounding)
    return retype(x, dtype)


def shift_right(x: Array, bits: int, rounding: str | None = None) -> Array:
    """Integers x / 2^bits at the same dtype."""
    if bits <= 0:
        return x
    y = bind("trunc", retype(x, INT64), bits=bits, rounding=rounding or scope_of(x).settings.rounding)
    return retype(y, x.dtype)


# ---- comparison and logic ----
@implements("less")
def less(x: Any, y: Any) -> Array:
    """x < y as bool. Exact for every integer type but int64, and for int64 and fixed point while x - y does not overflow its
    64 bits (0 < y is wrong for y = -2^63 alone). uint64 takes three comparisons."""
    a, b = _align(x, y)
    if a.dtype.wraps and not a.dtype.signed and a.dtype.width == WORD_BITS:
        return less_unsigned(*_same_shape(a, b))
    return bind("ltz", exact(a) if _is_nothing(y) else subtract(exact(a), exact(b)))  # type: ignore[no-any-return]


@implements("greater")
def greater(x: Any, y: Any) -> Array:
    """x > y as bool."""
    return less(y, x)


@implements("less_equal")
def less_equal(x: Any, y: Any) -> Array:
    """x <= y as bool."""
    return invert(less(y, x))


@implements("greater_equal")
def greater_equal(x: Any, y: Any) -> Array:
    """x >= y as bool."""
    return invert(less(x, y))


@implements("equal")
def equal(x: Any, y: Any) -> Array:
    """x == y as bool."""
    if all(v.dtype.is_bool for v in (x, y) if isinstance(v, Array)):
        return invert(bitwise_xor(x, y))
    difference = subtract(x, y)
    return is_zero(difference) if difference.dtype.wraps else bind("eqz", difference)


@implements("not_equal")
def not_equal(x: Any, y: Any) -> Array:
    """x != y as bool."""
    return invert(equal(x, y))


def _bools(x: Any, y: Any) -> list[Array]:
    scope = scope_of(x, y)
    x, y = (as_array(v, BOOL, scope) for v in (x, y))
    for v in (x, y):
        if not v.dtype.is_bool:
            raise TypeMismatch(f"& | ^ ~ take bool, not {v.dtype}; compare first (at {user_line()})")
    return _same_shape(x, y)


@implements("logical_and")
def bitwise_and(x: Any, y: Any) -> Array:
    """x & y of bool."""
    return bind("and_", *_bools(x, y))  # type: ignore[no-any-return]


@implements("logical_xor")
def bitwise_xor(x: Any, y: Any) -> Array:
    """x ^ y of bool."""
    return bind("xor", *_bools(x, y))  # type: ignore[no-any-return]


@implements("logical_or")
def bitwise_or(x: Any, y: Any) -> Array:
    """x | y of bool."""
    return invert(bitwise_and(invert_any(x), invert_any(y)))


def invert_any(x: Any) -> Any:
    return invert(x) if isinstance(x, Array) else ~np.asarray(x, bool)


@implements("logical_not")
def invert(x: Array) -> Array:
    """~x of bool."""
    if not x.dtype.is_bool:
        raise TypeMismatch(f"~ takes bool, not {x.dtype} (at {user_line()})")
    return bitwise_xor(x, True)


@implements("where")
def where(condition: Any, x: Any, y: Any) -> Array:
    """x where the condition holds, else y. Where the condition is public, or x and y are, nothing is sent for the choice."""
    bools = all(v.dtype.kind == "b" if not isinstance(v, Array) else v.dtype.is_bool for v in map(_plain_or_array, (x, y)))
    if bools:
        scope = scope_of(condition, x, y)
        c, x, y = _same_shape(*(as_array(v, BOOL, scope) for v in (condition, x, y)))
        return bitwise_xor(y, bitwise_and(c, bitwise_xor(x, y)))
    if not isinstance(condition, Array):  # a public choice is local
        chosen = np.asarray(condition, bool)
        x, y = _align(x, y)
        one, other = (whole(c, scope_of(x)) for c in (chosen, ~chosen))
        x, y = (bind("mul", v, c, bits=0, rounding="dither") for v, c in ((x, one), (y, other)))
        return add(x, y)
    if not condition.dtype.is_bool:
        raise TypeMismatch(f"the condition of where must be bool, not {condition.dtype} (at {user_line()})")
    if _is_zero(y) and isinstance(x, Array):
        return _keep(*_same_shape(condition, _numbers(x)))
    if _is_zero(x) and isinstance(y, Array):
        return _keep(*_same_shape(invert(condition), _numbers(y)))
    if not isinstance(x, Array) and not isinstance(y, Array):  # both public: one product with the bit
        x, y = _plain(x), _plain(y)
        x, y = (v if v.dtype.kind == "f" else np.asarray(v, np.int64) for v in (x, y))  # NumPy's small integers would wrap
        return add(multiply(condition, x - y), y)
    return bind("select", *_same_shape(condition, *_align(x, y)))  # type: ignore[no-any-return]


@gate("keep")
def _keep(condition: Array, x: Array) -> Array:
    zeros = broadcast_to(as_array(0, x.dtype, scope_of(x)), x.shape)
    return bind("select", condition, x, zeros)  # type: ignore[no-any-return]


def _is_zero(value: Any) -> bool:
    """Whether it is the public number 0."""
    return not isinstance(value, Array) and np.ndim(value) == 0 and bool(value == 0)


def _plain_or_array(value: Any) -> Any:
    return value if isinstance(value, Array) else _plain(value)


# ---- sums ----
def accumulator(x: Array, dtype: Any = None) -> Array:
    """What a sum or product of many is of: NumPy's int64 or uint64 for integers and bool, unless a dtype is given."""
    if dtype is not None:
        return _numbers(astype(x, dtype))
    return astype(x, INT64 if x.dtype.signed else UINT64) if x.dtype.wraps else _numbers(x)


@implements("sum")
def sum(x: Array, axis: Axis = None, keepdims: bool = False, dtype: Any = None) -> Array:
    """Sum over axes; exact. Bools count as 0 and 1; integers are summed as int64 or uint64 (or `dtype`)."""
    axes = axes_of(x, axis)
    y = accumulator(x, dtype)
    y = bind("sum", y, axis=list(axes)) if axes else y
    return reshape(y, tuple(1 if i in axes else n for i, n in enumerate(x.shape))) if keepdims else y


@implements("cumsum")
def cumsum(x: Array, axis: int | None = None) -> Array:
    """Sums of the elements so far along an axis (of all elements if None); exact. Bools count as 0 and 1."""
    if axis is None:
        x, axis = reshape(x, -1), 0
    return bind("cumsum", accumulator(x), axis=axes_of(x, axis)[0])  # type: ignore[no-any-return]


@implements("mean")
def mean(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Mean over axes: error below 2^(1-f) + 2^-17 of the mean. The sum must fit the dtype, |sum| < 2^(62-f), and |mean| be
    below 2^(60 - f - min(f, 23))."""
    count = prod(x.shape[a] for a in axes_of(x, axis))
    if not count:
        raise ShapeMismatch(f"mean of no elements (shape {x.shape}) at {user_line()}")
    x = word(x)
    total, bits = sum(x, axis, keepdims), count.bit_length() - 1
    if total.dtype.kind == "int" or bits < 4:
        return multiply(total, 1 / count)
    # a power of two first: 1 / count as one factor would take 17 more bits of the word than the sum leaves
    total = shift_right(total, bits)
    # 24 bits of the other factor are enough, and leave fine scales room
    return total if count == 1 << bits else multiply(total, round((1 << bits) / count * 2**24) / 2**24)


@implements("var")
def var(x: Array, axis: Axis = None, keepdims: bool = False, correction: float = 0, ddof: float = 0) -> Array:
    """Variance over axes: divided by n - correction (NumPy's ddof), n as NumPy's default."""
    correction, count = correction + ddof, prod(x.shape[a] for a in axes_of(x, axis))
    if correction >= count:
        raise ShapeMismatch(f"variance of {count} elements with correction {correction} (shape {x.shape}) at {user_line()}")
    y = mean(square(subtract(x, mean(x, axis, keepdims=True))), axis, keepdims)
    return multiply(y, count / (count - correction)) if correction else y


# ---- rearranging: local ----
