"""Functions of numbers of any size: reciprocal, roots, logarithms, powers, and what is made of them.

All start with `rescale`. For integers 0 < X < 2^J (x = X / 2^f) the bits [X >= 4^j] choose a power of four n that moves X
into [2^(J-2), 2^J), so that one curve on [1, 4) serves every size: half as many comparisons as powers of two would take, for
tables twice as long. Outside that domain the bits mean nothing; comparisons on the whole ring choose the value that the
docstring states, in the same lookup. Measured errors: docs/numerics.md. In words of 128 bits domains end at 2^40 where
docstrings say 2^15, and errors are about 2^-40.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import ShapeMismatch, UsageError
from ..ir.trace import user_line
from ..ir.types import INT64, DType, fixed64, fixed128
from . import core, field, views
from .array import Array, bind, implements, scope_of
from .core import add, astype, matmul, multiply, retype, square, subtract
from .elementwise import _real, exp, max, smooth, thresholds
from .function import gate
from .piecewise import Curve
from .views import getitem, reshape

WORK, FINE = fixed64(24), fixed128(46)  # normalised values in [1, 4) have these fraction bits: of other words, of 128 bits
TOP, WIDE_TOP = 15, 40  # the domain ends at 2^TOP; in words of 128 bits at 2^WIDE_TOP
RECIPROCAL, SQRT, RSQRT, LOG = (Curve(f, 1.0, 4.0, 2.0**-22) for f in (np.reciprocal, np.sqrt, lambda v: v**-0.5, np.log))
NEWTON = {  # curve -> what a step makes of the unit u and the curve's value y there: twice as many bits
    RECIPROCAL: lambda u, y: multiply(y, subtract(2, multiply(u, y))),
    RSQRT: lambda u, y: multiply(y, subtract(1.5, multiply(multiply(multiply(u, y), y), 0.5))),
}


def work(dtype: DType) -> DType:
    """The working precision for functions of numbers of this dtype. Raises UsageError where words have no room for it."""
    if dtype.bits < 64:
        raise UsageError(
            f"a function of numbers of any size on {dtype} at {user_line()}: it computes with {WORK.fraction} fraction bits, "
            f"for which {dtype.bits} bits have no room. Open the session with dtype=mpc.fixed64(f)"
        )
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


class Column(NamedTuple):
    """What is chosen from: values[place] * gains[state] + levels[state], integers."""

    values: tuple[int, ...]
    gains: tuple[int, ...] = (1,)
    levels: tuple[int, ...] = (0,)


class Scaling(NamedTuple):
    """How integers X < 2^bits (|X| if `signed`) are rescaled, and what else is chosen by their size.

    place: how many of 2^first 4^j, j = 1, 2, .., X reaches. state: how many of `states` the number itself reaches, on the whole
    ring, modulo the number of gains; where columns[0] has gain 0 the place means nothing. results: columns to return;
    factors: those of them (by place) that products will read. If `signed`, states[1] is where numbers below 0 end, about.
    """

    first: int
    bits: int
    columns: tuple[Column, ...]
    states: tuple[int, ...] = ()
    signed: bool = False
    results: tuple[int, ...] = (0,)
    factors: tuple[int, ...] = ()

    @property
    def powers(self) -> list[int]:
        return [1 << k for k in range(self.first + 2, self.bits + (self.bits - self.first) % 2, 2)]


def _scales(first: int, bits: int, precision: DType) -> tuple[int, tuple[int, ...]]:
    """(end, n by place) with X n in [2^(end-2), 2^end) for 2^first <= X < 2^bits: for columns[0]. More than the bits of a unit
    of this precision."""
    count = (bits - first + 1) // 2
    end = builtins.max(first + 2 * count, precision.fraction + 3)
    return end, tuple(1 << end - 2 - first - 2 * j for j in range(count))


def _tables(s: Scaling, place_bits: int) -> np.ndarray:
    """(columns, 2^b entries): at place + 2^place_bits state. Places that do not occur have the last value."""
    rows = []
    for values, gains, levels in s.columns:
        filled = [*values, *values[-1:] * ((1 << place_bits) - len(values))]
        sides = [*zip(gains, levels, strict=True), *[(0, 0)] * ((1 << (len(gains) - 1).bit_length()) - len(gains))]
        rows.append([v * gain + level for gain, level in sides for v in filled])
    return np.array(rows, object)


def _rescale_params(x: Array, s: Scaling, end: int) -> dict[str, Any]:
    return {
        "powers": s.powers,
        "bits": s.bits,
        "states": list(s.states),
        "signed": s.signed,
        "tables": scope_of(x).settings.ring.of(_tables(s, len(s.powers).bit_length())).tobytes(),
        "columns": len(s.columns),
        "shift": end - 2 - work(x.dtype).fraction,
        "results": list(s.results),
        "factors": list(s.factors),
    }


def _by_state(amounts: Sequence[int], reached: list[Array]) -> Any:
    """amounts[state] for the steps of a state; local."""
    total: Any = amounts[0]
    for j, step in enumerate(reached):
        change = amounts[(j + 1) % len(amounts)] - amounts[j]
        total = add(multiply(step, change), total) if change else total
    return total


def _rescale_by_words(x: Array, s: Scaling, end: int) -> tuple[Array, ...]:
    """See `rescale`; where the gain is 0 it is 4."""
    precision, x = work(x.dtype), retype(x, INT64)
    steps = thresholds(x, s.states) if s.states else None
    reached = [getitem(steps, j) for j in range(len(s.states))] if steps is not None else []
    gains = [_by_state(c.gains, reached) for c in s.columns]
    size = multiply(x, gains[0]) if s.signed else x
    t = thresholds(size, s.powers, s.bits)
    differences = np.array([np.diff(np.array(c.values, object)) for c in s.columns], object)
    rows = reshape(matmul(differences, reshape(t, (len(t), -1))), (len(s.columns), *x.shape))
    chosen = [add(getitem(rows, j), c.values[0]) for j, c in enumerate(s.columns)]

    def entry(j: int) -> Any:
        """Where a state has nothing to say it is public."""
        by_size = multiply(chosen[j], gains[j]) if isinstance(gains[j], Array) else gains[j] and chosen[j]
        return add(by_size, _by_state(s.columns[j].levels, reached)) if reached else by_size

    unit = _product(size, chosen[0] if s.signed else entry(0), end - 2 - precision.fraction)
    if reached:  # in `rescale.py` it is 0 there: the table of a curve on [1, 4) goes on at 4 with what it has at 0
        unit = add(unit, _by_state([0 if gain else 4 << precision.fraction for gain in s.columns[0].gains], reached))
    found = [entry(j) for j in s.results]
    return retype(unit, precision), *found


@gate("rescale", _rescale_params)
def _rescale_gate(x: Array, s: Scaling, end: int) -> tuple[Array, ...]:
    return _rescale_by_words(x, s, end)


def rescale(x: Array, s: Scaling, end: int) -> tuple[Array, ...]:
    """(x times columns[0] / 2^(end-2) in [1, 4) in the working precision, 4 (or 0) at states of gain 0, then the columns of
    `results` as int64)."""
    return (_rescale_gate if scope_of(x).settings.rounding == "dither" else _rescale_by_words)(x, s, end)  # as in `smooth`


def _product(x: Array, y: Array, bits: int) -> Array:
    """Integers x y / 2^bits, for |x y| < 2^61 (in 64 bits): product and truncation in one."""
    x, y = retype(x, INT64), retype(y, INT64)
    if bits <= 0:
        return multiply(multiply(x, y), 1 << -bits)
    y = retype(y, DType("fixed", bits))
    return retype(bind("mul", x, y, bits=bits, rounding=scope_of(x).settings.rounding), INT64)


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
    end, scales = _scales(0, bits, work(x.dtype))
    unit, scale = rescale(x, Scaling(0, bits, (Column(scales),), factors=(0,)), end)
    return retype(smooth(astype(unit, WORK), RECIPROCAL), INT64), scale


@gate("reciprocal")
def _reciprocal_gate(x: Array) -> Array:
    f, bits, precision = x.dtype.fraction, _bits_of(x), work(x.dtype)
    # of smaller X the last product would leave the word
    first = builtins.max(0, precision.fraction + bits - 1 - (x.dtype.bits - 3))
    end, scales = _scales(first, bits, precision)
    signs, zeros = (0, -1, 0, 1), (0, 0, 0, 0)  # outside, then below 0, about 0 and above it
    columns = Column(scales, signs, zeros), Column((0,) * len(scales), zeros, (0, 0, 1 << 2 * f - first, 0))
    states = (1 - (1 << bits), 1 - (1 << first), 1 << first, 1 << bits)
    unit, factor, largest = rescale(x, Scaling(first, bits, columns, states, True, (0, 1), (0,)), end)
    return add(_inverse(unit, factor, end, x.dtype), retype(largest, x.dtype))


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


def _chosen(
    x: Array, *tables: tuple[int, Sequence[float] | np.ndarray, float, float], factors: tuple[int, ...] = ()
) -> list[Array]:
    """x in [1, 4), then of every table (fraction, values, below, above) values[j] for X = 4^j .. 4^(j+1) - 1 with so many
    fraction bits, for x > 0; from 2^TOP on (4, above ..), and (4, below ..) for x <= 0."""
    bits = _bits_of(x)
    end, scales = _scales(0, bits, work(x.dtype))
    columns = [Column(scales, (0, 1, 0), (0,) * 3)]
    for fraction, values, below, above in tables:
        *entries, low, high = (round(v * 2**fraction) for v in (*values, below, above))
        columns.append(Column(tuple(entries), (0, int(any(entries)), 0), (low, 0, high)))
    s = Scaling(0, bits, tuple(columns), (1, 1 << bits), False, tuple(range(1, len(columns))), factors)
    unit, *found = rescale(x, s, end)
    return [unit, *(retype(y, DType("fixed", fraction)) for y, (fraction, *_) in zip(found, tables, strict=True))]


def _root(x: Array, curve: Curve, powers: np.ndarray, fraction: int, below: float, above: float) -> Array:
    """curve(x 4^-e) powers[j] for X = 4^j .. 4^(j+1) - 1; `below` for x <= 0, `above` from 2^TOP on."""
    precision = work(x.dtype)
    fraction += precision.fraction - WORK.fraction
    outside = x.dtype.fraction, np.zeros(len(powers)), below, above
    unit, factor, level = _chosen(x, (fraction, powers, 0, 0), outside, factors=(0,))
    product = _product(_mantissa(unit, curve, x.dtype.fraction), factor, precision.fraction + fraction - x.dtype.fraction)
    return add(retype(product, x.dtype), level)


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
    f, at_four = x.dtype.fraction, math.log(4)
    whole = (_exponents(x) - f) * math.log(2)
    below, above = -f * math.log(2), top(x) * math.log(2)
    if x.dtype.bits <= 64 and f < WORK.fraction - 1:
        unit, level = _chosen(x, (WORK.fraction, whole, below - at_four, above - at_four))
        return astype(add(_mantissa(unit, LOG, f), level), x.dtype)
    # the curve's value at 4 has fewer bits than the result shows, so it is multiplied by 0 there
    unit, level, inside = _chosen(x, (f, whole, below, above), (1, np.ones(len(whole)), 0, 0), factors=(1,))
    return add(astype(multiply(_mantissa(unit, LOG, f), inside), x.dtype), level)


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
    return _log_softmax(_real(x), views.axes_of(x, axis)[0])


@gate("softmax", lambda x, axis: {"axis": axis})
def _softmax(x: Array, axis: int) -> Array:
    e = exp(subtract(x, max(x, axis, keepdims=True)))
    # the largest e is 1: the sum needs no check, and only as many thresholds as its terms give bits
    f = x.dtype.fraction
    first, bits = f - 1, f + x.shape[axis].bit_length() + 1
    end, scales = _scales(first, bits, work(x.dtype))
    unit, scale = rescale(core.sum(e, axis, keepdims=True), Scaling(first, bits, (Column(scales),), factors=(0,)), end)
    return multiply(e, _inverse(unit, scale, end, x.dtype))


def softmax(x: Array, axis: int = -1) -> Array:
    """e^x / sum(e^x) along an axis, after subtracting the maximum."""
    return _softmax(_real(x), views.axes_of(x, axis)[0])
