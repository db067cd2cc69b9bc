"""Functions of numbers of any size: reciprocal, roots, logarithms, powers, and what is made of them.

All start alike. For integers 0 < X < 2^J (x = X / 2^f) the bits [X >= 4^j] give a power of four n that moves X into
[2^(J-2), 2^J), so that one curve on [1, 4) serves every size: half as many comparisons as powers of two would take, for
tables twice as long. Outside that domain the bits mean nothing; comparisons on the whole ring replace the result by the value
that the docstring states. They run beside the rest, so they cost bytes and (but for `log`) no round. Measured errors:
docs/numerics.md. In words of 128 bits domains end at 2^40 where docstrings say 2^15, and errors are about 2^-40.
"""

from __future__ import annotations

import builtins
import math
from typing import Any

import numpy as np

from ..errors import ShapeMismatch, UsageError
from ..ir.trace import user_line
from ..ir.types import INT64, DType, fixed64, fixed128
from . import core, field
from .array import Array, bind, implements, scope_of
from .core import add, astype, getitem, matmul, multiply, reshape, retype, square, subtract, where
from .elementwise import _real, _rows, _thresholds, exp, max, smooth, thresholds
from .function import gate
from .piecewise import Curve

WORK, FINE = fixed64(24), fixed128(46)  # normalised values in [1, 4) have these fraction bits: of other words, of 128 bits
TOP, WIDE_TOP = 15, 40  # the domain ends at 2^TOP; in words of 128 bits at 2^WIDE_TOP
RECIPROCAL, SQRT, RSQRT, LOG = (Curve(f, 1.0, 4.0, 2.0**-22) for f in (np.reciprocal, np.sqrt, lambda v: v**-0.5, np.log))
NEWTON = {  # curve -> what a step makes of the unit u and the curve's value y there: twice as many bits
    RECIPROCAL: lambda u, y: multiply(y, subtract(2, multiply(u, y))),
    RSQRT: lambda u, y: multiply(y, subtract(1.5, multiply(multiply(multiply(u, y), y), 0.5))),
}


def work(dtype: DType) -> DType:
    """The working precision for functions of numbers of this dtype."""
    return WORK if dtype.bits <= 64 else FINE


def _mantissa(unit: Array, curve: Curve, fraction: int) -> Array:
    """The curve at a unit of [1, 4), as well as a result of so many fraction bits shows; in 128 bits to 2^-42."""
    if unit.dtype.bits <= 64:
        return smooth(unit, curve._replace(tol=2.0 ** -builtins.min(fraction + 3, 22)))
    if curve is SQRT:
        return multiply(unit, _mantissa(unit, RSQRT, fraction))
    if curve in NEWTON:
        return NEWTON[curve](unit, smooth(astype(unit, WORK), curve))
    return smooth(unit, curve._replace(tol=2.0**-42))


def _end(first: int, bits: int) -> int:
    """The exponent of the least 2^end >= 2^bits that is a power of four times 2^first."""
    return bits + (bits - first) % 2


def _normalise(x: Array, first: int, bits: int) -> tuple[Array, Array]:
    """(t, n) for integers 2^first <= X < 2^bits: t_j = [X >= 2^first 4^j] for j = 1, 2 .., and n with X n in
    [2^(end-2), 2^end)."""
    end = _end(first, bits)
    t = thresholds(retype(x, INT64), _powers(range(first + 2, end, 2)), bits)
    scales = _powers(range(end - first - 2, -1, -2))
    return t, add(reshape(matmul(np.diff(scales).reshape(1, -1), reshape(t, (len(t), -1))), x.shape), scales[0])


def _powers(exponents: range) -> np.ndarray:
    """Of 2, as integers of any size."""
    return np.array([1 << k for k in exponents], object)


def _product(x: Array, y: Array, bits: int) -> Array:
    """Integers x y / 2^bits, for |x y| < 2^61 (in 64 bits): product and truncation in one."""
    x, y = retype(x, INT64), retype(y, INT64)
    if bits <= 0:
        return multiply(multiply(x, y), 1 << -bits)
    y = retype(y, DType("fixed", bits))
    return retype(bind("mul", x, y, bits=bits, rounding=scope_of(x).settings.rounding), INT64)


def _unit(x: Array, scale: Array, end: int, precision: DType) -> Array:
    """X n / 2^(end-2) in [1, 4), of this precision."""
    if x.dtype.bits < 64:
        raise UsageError(
            f"a function of numbers of any size on {x.dtype} at {user_line()}: it computes with {precision.fraction} fraction "
            f"bits, for which {x.dtype.bits} bits have no room. Open the session with dtype=mpc.fixed64(f)"
        )
    return retype(_product(x, scale, end - 2 - precision.fraction), precision)


def _reached(x: Array, *values: int) -> Array:
    """[X >= v] as bool, along a new first axis, on the whole ring."""
    return _thresholds(retype(x, INT64), values, x.dtype.bits - 1)


def _steps(x: Array, *values: int) -> list[Array]:
    """[X >= v] as int64 for integers v, on the whole ring."""
    t = astype(_reached(x, *values), INT64)
    return [getitem(t, i) for i in range(len(values))]


def _level(bit: Array, value: float, dtype: DType) -> Array:
    """value where the bit (as int64) is set, else 0; local."""
    return retype(multiply(bit, round(value * 2**dtype.fraction)), dtype)


def top(x: Array) -> int:
    """The domain of functions of x ends at 2 to this."""
    return TOP if x.dtype.bits <= 64 else WIDE_TOP


def _bits_of(x: Array) -> int:
    return x.dtype.fraction + top(x)


def _inverse(unit: Array, factor: Array, end: int, dtype: DType) -> Array:
    """factor / (unit 2^(end-2)) for a unit in [1, 4)."""
    inverse, shift = _mantissa(unit, RECIPROCAL, dtype.fraction), unit.dtype.fraction + end - 2 - 2 * dtype.fraction
    return retype(_product(inverse, factor, shift), dtype)


def normalised_inverse(x: Array, bits: int) -> tuple[Array, Array]:
    """(2^(bits-1) / (x n) with WORK's fraction bits, n) for integers 1 <= x < 2^bits of an odd number of bits, where x n is in
    [2^(bits-1), 2^(bits+1)): in (1/4, 1], to 2^-22."""
    _, scale = _normalise(x, 0, bits)
    return retype(smooth(_unit(x, scale, _end(0, bits), WORK), RECIPROCAL), INT64), scale


@gate("reciprocal")
def _reciprocal_gate(x: Array) -> Array:
    bits, precision = _bits_of(x), work(x.dtype)
    first = builtins.max(
        0, precision.fraction + bits - 1 - (x.dtype.bits - 3)
    )  # of smaller X the last product would leave the word
    reached = _reached(x, 1 - (1 << bits), 1 - (1 << first), 1 << first, 1 << bits)
    magnitude = subtract(multiply(where(getitem(reached, 1), x, 0), 2), x)
    t = [astype(getitem(reached, i), INT64) for i in range(4)]
    sign = subtract(subtract(t[2], t[3]), subtract(t[0], t[1]))  # 0 where there is no 1 / x
    _, scale = _normalise(magnitude, first, bits)
    end = _end(first, bits)
    y = _inverse(_unit(magnitude, scale, end, precision), multiply(scale, sign), end, x.dtype)
    return add(y, _level(subtract(t[1], t[2]), 2.0 ** (x.dtype.fraction - first), x.dtype))


@implements("reciprocal")
def reciprocal(x: Array) -> Array:
    """1 / x: error below 2^-15 + 2^-16 / |x|. 1/0 is 2^f, the largest reciprocal; 0 for |x| >= 2^15. In a field exact, and
    Singular for 0 (`field.reciprocal`).

    With more than 23 fraction bits |x| < 2^-23 counts as 0, and 1/0 is 2^23; in 128 bits with more than 40, and 2^40.
    """
    return field.reciprocal(x) if field.of_field(x) else _reciprocal_gate(_real(x))


@implements("divide", "true_divide")
def divide(x: Any, y: Any) -> Array:
    """x / y, with |x / y| < 2^(61 - 2f) as for any product. A public divisor is a multiplication by its inverse; a secret one
    is a product with `reciprocal`: x / 0 is x 2^f (while |x| < 2^(61 - 3f)), and 0 for |y| >= 2^15. In a field exact."""
    if field.of_field(x, y):
        return field.divide(x, y)
    if not isinstance(y, Array):
        divisor = np.asarray(y, float)
        if (divisor == 0).any():
            raise ZeroDivisionError(f"division by a public zero at {user_line()}")
        return multiply(_real(x), 1 / divisor)
    return multiply(x, reciprocal(y)) if isinstance(x, Array) or np.any(np.asarray(x) != 1) else reciprocal(y)


def _exponents(x: Array) -> np.ndarray:
    """log2 of the powers of four that X may begin with, by how many thresholds it reaches."""
    return np.arange(0, _bits_of(x), 2)


def _root(x: Array, curve: Curve, powers: np.ndarray, fraction: int, below: float, above: float) -> Array:
    """curve(x 4^-e) powers[j] for X = 4^j .. 4^(j+1) - 1; `below` for x <= 0, `above` from 2^TOP on."""
    bits = _bits_of(x)
    positive, too_large = _steps(x, 1, 1 << bits)
    t, scale = _normalise(x, 0, bits)
    root = _mantissa(_unit(x, scale, _end(0, bits), work(x.dtype)), curve, x.dtype.fraction)
    (factor,) = _rows(powers[:, None], t, fraction + root.dtype.fraction - WORK.fraction)
    y = astype(multiply(root, multiply(factor, subtract(positive, too_large))), x.dtype)
    y = add(y, _level(too_large, above, x.dtype))
    return add(y, _level(subtract(1, positive), below, x.dtype)) if below else y


@gate("rsqrt")
def _rsqrt_gate(x: Array) -> Array:
    f = x.dtype.fraction
    powers = 2.0 ** (f / 2 - _exponents(x) / 2)
    return _root(x, RSQRT, powers, 20, 2.0 ** (f / 2), 2.0 ** (-top(x) / 2))


def rsqrt(x: Array) -> Array:
    """1 / sqrt(x): relative error below 2^-13 (and 2^-15 absolute). 2^(f/2), the largest, for x <= 0; 2^-7.5 from 2^15 on."""
    return _rsqrt_gate(_real(x))


@gate("sqrt")
def _sqrt_gate(x: Array) -> Array:
    powers = 2.0 ** (_exponents(x) / 2 - x.dtype.fraction / 2)
    return _root(x, SQRT, powers, 24, 0.0, 2.0 ** (top(x) / 2))


@implements("sqrt")
def sqrt(x: Array) -> Array:
    """Square root: error below 2^-15 + 2^-17 sqrt(x). 0 for x < 0; 2^7.5 from 2^15 on."""
    return _sqrt_gate(_real(x))


@implements("std")
def std(x: Array, axis: Any = None, keepdims: bool = False, correction: float = 0, ddof: float = 0) -> Array:
    """Standard deviation over axes: of the variance with this correction (NumPy's ddof)."""
    return sqrt(core.var(x, axis, keepdims, correction + ddof))


@gate("log")
def _log_gate(x: Array) -> Array:
    f, bits = x.dtype.fraction, _bits_of(x)
    positive, too_large = _steps(x, 1, 1 << bits)
    t, scale = _normalise(x, 0, bits)
    part = _mantissa(_unit(x, scale, _end(0, bits), work(x.dtype)), LOG, f)
    (whole,) = _rows(((_exponents(x) - f) * math.log(2))[:, None], t, part.dtype.fraction)
    y = multiply(astype(add(part, whole), x.dtype), subtract(positive, too_large))
    return add(
        add(y, _level(too_large, top(x) * math.log(2), x.dtype)), _level(subtract(1, positive), -f * math.log(2), x.dtype)
    )


@implements("log")
def log(x: Array) -> Array:
    """Natural logarithm: error below 2^-14. log(2^-f), the lowest, for x <= 0; log(2^15) from 2^15 on."""
    return _log_gate(_real(x))


@implements("log2")
def log2(x: Array) -> Array:
    """Logarithm to base 2: domain of `log`, error below 2^-13."""
    return multiply(log(x), 1 / math.log(2))


@implements("log1p")
def log1p(x: Array) -> Array:
    """log(1 + x): domain and error of `log` at 1 + x."""
    return log(add(_real(x), 1))


@implements("expm1")
def expm1(x: Array) -> Array:
    """e^x - 1: domain and error of `exp`."""
    return subtract(exp(x), 1)


@implements("exp2")
def exp2(x: Array) -> Array:
    """2^x, as e^(x log 2): relative error 2^-13 + 2^-f, saturates where `exp` does."""
    return exp(multiply(_real(x), math.log(2)))


@implements("power")
def power(x: Any, exponent: Any) -> Array:
    """x to a public power. Integers by repeated squaring, negative ones through `reciprocal`; others as e^(exponent log x), for
    x > 0, with relative error 2^-13 + |exponent| 2^-14."""
    if isinstance(exponent, Array) or np.ndim(exponent):
        raise ShapeMismatch(f"the exponent must be one public number (at {user_line()}); else write mpc.exp(y * mpc.log(x))")
    if int(exponent) != exponent:
        return exp(multiply(log(x), float(exponent)))
    n = int(exponent)
    if n < 0:
        return reciprocal(power(x, -n))
    result: Array | None = None
    while n:
        if n & 1:
            result = x if result is None else multiply(result, x)
        n >>= 1
        x = square(x) if n else x
    return result if result is not None else add(multiply(x, 0), 1)


@gate("log_softmax", lambda x, axis: {"axis": axis})
def _log_softmax(x: Array, axis: int) -> Array:
    centred = subtract(x, max(x, axis, keepdims=True))
    return subtract(centred, log(core.sum(exp(centred), axis, keepdims=True)))


def log_softmax(x: Array, axis: int = -1) -> Array:
    """log(softmax(x)) along an axis."""
    return _log_softmax(_real(x), core.axes_of(x, axis)[0])


@gate("softmax", lambda x, axis: {"axis": axis})
def _softmax(x: Array, axis: int) -> Array:
    e = exp(subtract(x, max(x, axis, keepdims=True)))
    # the largest e is 1: the sum needs no check, and only as many thresholds as its terms give bits
    f = x.dtype.fraction
    first, total = f - 1, core.sum(e, axis, keepdims=True)
    bits = f + x.shape[axis].bit_length() + 1
    scale, end = _normalise(total, first, bits)[1], _end(first, bits)
    return multiply(e, _inverse(_unit(total, scale, end, work(x.dtype)), scale, end, x.dtype))


def softmax(x: Array, axis: int = -1) -> Array:
    """e^x / sum(e^x) along an axis, after subtracting the maximum."""
    return _softmax(_real(x), core.axes_of(x, axis)[0])
