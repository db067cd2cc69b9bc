"""Functions made of smaller ones: absolute value, maxima, exponentials, reciprocals. Their bodies are their meaning.

Accuracy figures hold for fixed64(16), the default; docs/numerics.md lists domains and errors. Outside its domain a function
saturates as its docstring says.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ShapeMismatch, UsageError
from ..ir.trace import user_line
from ..ir.types import INT64, fixed64
from . import core
from .array import Array, Axis, bind, constant, implements, scope_of
from .core import (
    add,
    astype,
    expand_dims,
    getitem,
    greater_equal,
    less,
    matmul,
    multiply,
    negative,
    reshape,
    retype,
    shift_right,
    square,
    subtract,
    where,
)
from .function import gate
from .piecewise import Curve, Tail, fit, window

WORK = fixed64(24)  # normalised values in [1, 2) are computed with this many fraction bits


@gate("relu")
def _relu(x: Array) -> Array:
    return where(less(x, 0), 0, x)


def relu(x: Array) -> Array:
    """max(x, 0), exact."""
    return _relu(core._numbers(x))


@implements("maximum", "fmax")
def maximum(x: Any, y: Any) -> Array:
    """The larger of x and y, elementwise; exact."""
    return add(y, relu(subtract(x, y)))


@implements("minimum", "fmin")
def minimum(x: Any, y: Any) -> Array:
    """The smaller of x and y, elementwise; exact."""
    return subtract(x, relu(subtract(x, y)))


@implements("absolute", "abs", "fabs")
def absolute(x: Array) -> Array:
    """|x|, exact."""
    return subtract(multiply(relu(x), 2), x)


@implements("clip")
def clip(x: Array, min: Any = None, max: Any = None) -> Array:
    """x limited to [min, max]."""
    x = x if min is None else maximum(x, min)
    return x if max is None else minimum(x, max)


@implements("sign")
def sign(x: Array) -> Array:
    """-1, 0 or 1, of x's dtype."""
    positive, neg = (astype(b, INT64) for b in (less(0, x), less(x, 0)))
    return astype(subtract(positive, neg), x.dtype)


@gate("thresholds", lambda x, values, bits: {"values": list(values), "bits": bits})
def _thresholds(x: Array, values: tuple[int, ...], bits: int) -> Array:
    integer = retype(x, INT64)
    return core.concatenate([expand_dims(greater_equal(integer, v), 0) for v in values], 0)


def thresholds(x: Array, values: Any, bits: int = 63) -> Array:
    """[x >= v] as int64 for K public values, along a new first axis. x is opened once for all of them.

    bits: integers x - v are known to be in [-2^bits, 2^bits); fewer bits are cheaper.
    """
    words = core._words(np.asarray(values), x.dtype.fraction).view(np.int64)
    batches = [tuple(map(int, words[i : i + 52])) for i in range(0, len(words), 52)]
    return astype(core.concatenate([_thresholds(x, batch, bits) for batch in batches], 0), INT64)


def _rows(table: np.ndarray, steps: Array, fraction: int) -> list[Array]:
    """Columns of a public table (K + 1, m), chosen by K steps of zeros and ones (K, ...): m arrays. Local."""
    shape = steps.shape[1:]
    flat = reshape(steps, (steps.shape[0], -1))
    words = core._words(table, fraction)  # differences of encoded rows add up to encoded rows, without rounding
    public = constant(np.ascontiguousarray(np.diff(words, axis=0).T), fixed64(fraction), scope_of(steps))
    chosen = matmul(public, flat)
    return [add(reshape(getitem(chosen, j), shape), float(table[0, j])) for j in range(table.shape[1])]


def piecewise(x: Array, curve: Curve) -> Array:
    """The curve at x by piecewise polynomials and comparisons: any protocol, any number of parties."""
    pieces = fit(curve, 3)
    table = np.column_stack([pieces.centres, pieces.coefficients])
    work = fixed64(x.dtype.fraction + 8)
    steps = thresholds(x, pieces.knots) if len(table) > 1 else None
    chosen = list(table[0]) if steps is None else _rows(table, steps, work.fraction)
    centred = subtract(x, chosen[0])
    y: Any = chosen[-1]
    for coefficient in chosen[-2:0:-1]:
        if isinstance(y, Array):
            y = multiply(y, centred)
        else:  # one piece: its leading coefficient is public
            y = astype(multiply(centred, y), work)
        y = add(y, coefficient)
    result = astype(y, x.dtype)
    if curve.tails and steps is not None:
        # a slope outside stands apart: as a coefficient, its product with x - centre would leave the word from 2^13 on
        below, above = subtract(1, getitem(steps, 0)), getitem(steps, -1)
        for tail, side in zip(curve.tails, (below, above), strict=True):
            result = add(result, multiply(multiply(side, x), tail.slope)) if tail.slope else result
    return result


def _spline_params(x: Array, curve: Curve) -> dict[str, Any]:
    f = x.dtype.fraction
    w = window(curve, f)
    assert w is not None
    return {
        "k": w.k,
        "t": w.t,
        "degree": len(w.tables) - 1,
        "centre": w.centre,
        "tables": w.tables.tobytes(),
        "shift": w.fraction_out - f,
        "bounds": [round(v * 2**f) for v in (curve.low, curve.high)] if curve.tails else [],
        "tails": [[round(t.constant * 2**f), t.slope] for t in curve.tails or ()],
    }


@gate("spline", _spline_params)
def _spline(x: Array, curve: Curve) -> Array:
    return piecewise(x, curve)


def smooth(x: Array, curve: Curve) -> Array:
    """A function of one variable by piecewise polynomials."""
    # the gate rounds with a public coin: where exact rounding is asked for, comparisons and exact products do it
    if scope_of(x).settings.rounding != "dither" or window(curve, x.dtype.fraction) is None:
        return piecewise(x, curve)
    return _spline(x, curve)


def _sigmoid(v: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-v)))


SIGMOID = Curve(_sigmoid, -12.0, 12.0, 2.0**-14, (Tail(0), Tail(1)))
TANH = Curve(np.tanh, -6.0, 6.0, 2.0**-14, (Tail(-1), Tail(1)))
EXP = Curve(np.exp, 0.0, 1.0, 2.0**-18)
RECIPROCAL = Curve(np.reciprocal, 1.0, 2.0, 2.0**-19)
SQRT = Curve(np.sqrt, 1.0, 2.0, 2.0**-19)
RSQRT = Curve(lambda v: v**-0.5, 1.0, 2.0, 2.0**-19)


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x): error below 2^-13; 0 below -12, 1 above 12."""
    return smooth(_real(x), SIGMOID)


@implements("tanh")
def tanh(x: Array) -> Array:
    """Hyperbolic tangent: error below 2^-13; -1 below -6, 1 above 6."""
    return smooth(_real(x), TANH)


_erf = np.vectorize(math.erf, otypes=[float])
IDENTITY = (Tail(0), Tail(0, 1))  # 0 below, x above
GELU = Curve(lambda v: v * 0.5 * (1 + _erf(v / 2**0.5)), -5.0, 5.0, 2.0**-13.5, IDENTITY)
SILU = Curve(lambda v: v * _sigmoid(v), -15.0, 15.0, 2.0**-13, IDENTITY)
SOFTPLUS = Curve(lambda v: np.log1p(np.exp(v)), -12.0, 12.0, 2.0**-13, IDENTITY)
ERF = Curve(_erf, -4.0, 4.0, 2.0**-14, (Tail(-1), Tail(1)))


def gelu(x: Array) -> Array:
    """x (1 + erf(x / sqrt(2))) / 2: error below 2^-13; 0 below -5, x above 5."""
    return smooth(_real(x), GELU)


def silu(x: Array) -> Array:
    """x sigmoid(x): error below 2^-12; 0 below -15, x above 15."""
    return smooth(_real(x), SILU)


def softplus(x: Array) -> Array:
    """log(1 + e^x): error below 2^-12; 0 below -12, x above 12."""
    return smooth(_real(x), SOFTPLUS)


def erf(x: Array) -> Array:
    """The error function: error below 2^-13; -1 below -4, 1 above 4."""
    return smooth(_real(x), ERF)


def approximate(
    f: Callable[[np.ndarray], Any], low: float, high: float, tol: float = 2.0**-13, outside: str = "constant"
) -> Callable[[Array], Array]:
    """A function on secret arrays from any real function of one variable.

    f: takes a float64 array (or a float; then it is called point by point). On [low, high) the error is at most `tol` plus the
    rounding of the result; below and above, the value stays f(low) and f(high) ("constant"), or continues as 0 below and x
    above ("relu"). Pieces and degree are chosen when it is first used; the cost shows in `s.cost`. Raises UsageError if no
    piecewise cubic is that close.
    """
    if not -math.inf < low < high < math.inf or not tol > 0:
        raise UsageError(f"approximate needs finite low < high and tol > 0, not [{low}, {high}] and {tol}")

    def point(v: float) -> float:
        try:
            return float(f(v))  # type: ignore[arg-type]
        except (ValueError, ArithmeticError):  # pieces are also tried a little outside [low, high]
            return math.nan

    def values(v: np.ndarray) -> np.ndarray:
        try:
            result = np.asarray(f(v), float)
        except (TypeError, ValueError, ArithmeticError):
            result = None
        return result if result is not None and result.shape == v.shape else np.vectorize(point, otypes=[float])(v)

    with np.errstate(all="ignore"):
        ends = values(np.array([low, high], float))
    if not np.isfinite(ends).all():
        raise UsageError(f"the function is {ends[0]} at {low} and {ends[1]} at {high}: choose a range where it is finite")
    tails = {"constant": (Tail(float(ends[0])), Tail(float(ends[1]))), "relu": IDENTITY}
    if outside not in tails:
        raise UsageError(f"outside={outside!r}: choose {' or '.join(tails)}")
    curve = Curve(values, float(low), float(high), float(tol), tails[outside])
    try:
        fit(curve, 3)
    except ValueError as error:
        raise UsageError(f"approximate on [{low}, {high}]: {error}; choose a larger tol or a narrower range") from None
    return lambda x: smooth(_real(x), curve)


EXP_LOW, EXP_HIGH = -12, 16


def _exp_by_thresholds(x: Array) -> Array:
    f = x.dtype.fraction
    x = clip(x, float(EXP_LOW), EXP_HIGH + 1 - 2.0**-f)
    steps = thresholds(x, np.arange(EXP_LOW + 1, EXP_HIGH + 1), bits=f + 5)
    fraction = subtract(subtract(x, EXP_LOW), core.sum(steps, 0))  # in [0, 1)
    (integer,) = _rows(np.exp(np.arange(EXP_LOW, EXP_HIGH + 1.0))[:, None], steps, f)  # e^17 2^f 2^20 < 2^61
    part = smooth(astype(fraction, fixed64(20)), EXP)
    return astype(bind("mul", integer, part, bits=20, rounding=scope_of(x).settings.rounding), x.dtype)


@gate("exp", lambda x: {"fraction": x.dtype.fraction, "low": EXP_LOW, "high": EXP_HIGH + 1})
def _exp_gate(x: Array) -> Array:
    return _exp_by_thresholds(x)


@implements("exp")
def exp(x: Array) -> Array:
    """e^x: absolute error below 2^-13 + 2^-13 e^x; saturates at e^17 above 17 and is 0 (to 2^-16) below -12."""
    x = _real(x)
    # as in `smooth`; the gate's words hold e^17 at up to 18 fraction bits
    dithered = scope_of(x).settings.rounding == "dither" and x.dtype.fraction <= 18
    return _exp_gate(x) if dithered else _exp_by_thresholds(x)


def _normalise(x: Array) -> tuple[Array, Array, int]:
    """(t, n, J) for integers 0 < X < 2^J (x = X / 2^f): t_j = [X >= 2^j] for j = 1 .. J-1, and n with X n in [2^(J-1), 2^J)."""
    bits = x.dtype.fraction + 15
    t = thresholds(retype(x, INT64), 1 << np.arange(1, bits), bits)
    weights = (1 << np.arange(bits - 2, -1, -1)).reshape(1, -1)
    scale = subtract(1 << (bits - 1), reshape(matmul(weights, reshape(t, (bits - 1, -1))), x.shape))
    return t, scale, bits


def _unit(x: Array, scale: Array, bits: int) -> Array:
    """X n / 2^(J-1) in [1, 2) with WORK's fraction bits."""
    product, excess = multiply(retype(x, INT64), scale), bits - 1 - WORK.fraction
    return retype(shift_right(product, excess) if excess >= 0 else multiply(product, 1 << -excess), WORK)


def _positive_reciprocal(x: Array) -> Array:
    _, scale, bits = _normalise(x)
    inverse = smooth(_unit(x, scale, bits), RECIPROCAL)
    shift = WORK.fraction + bits - 1 - 2 * x.dtype.fraction
    return retype(shift_right(multiply(retype(inverse, INT64), scale), shift), x.dtype)


@gate("reciprocal")
def _reciprocal_gate(x: Array) -> Array:
    negative_ = less(x, 0)
    y = _positive_reciprocal(where(negative_, negative(x), x))
    return where(negative_, negative(y), y)


@implements("reciprocal")
def reciprocal(x: Array) -> Array:
    """1 / x for 2^-f <= |x| < 2^15: error below 2^-15 + 2^-16 / |x|. 1/0 is a large finite number."""
    return _reciprocal_gate(_real(x))


@implements("divide", "true_divide")
def divide(x: Any, y: Any) -> Array:
    """x / y. A public divisor is a multiplication by its inverse; a secret one must be in the domain of `reciprocal`."""
    if not isinstance(y, Array):
        divisor = np.asarray(y, float)
        if (divisor == 0).any():
            raise ZeroDivisionError(f"division by a public zero at {user_line()}")
        return multiply(_real(x), 1 / divisor)
    return multiply(x, reciprocal(y)) if isinstance(x, Array) or np.any(np.asarray(x) != 1) else reciprocal(y)


@gate("rsqrt")
def _rsqrt_gate(x: Array) -> Array:
    t, scale, bits = _normalise(x)
    root = smooth(_unit(x, scale, bits), RSQRT)
    half_powers = 2.0 ** ((x.dtype.fraction - np.arange(bits)) / 2)  # 2^((f - e) / 2), chosen by the steps of t
    (factor,) = _rows(half_powers[:, None], t, 20)
    return astype(multiply(root, factor), x.dtype)


def rsqrt(x: Array) -> Array:
    """1 / sqrt(x) for 2^-f <= x < 2^15: relative error below 2^-13 (and 2^-15 absolute)."""
    return _rsqrt_gate(_real(x))


@gate("sqrt")
def _sqrt_gate(x: Array) -> Array:
    t, scale, bits = _normalise(x)
    root = smooth(_unit(x, scale, bits), SQRT)
    half_powers = 2.0 ** ((np.arange(bits) - x.dtype.fraction) / 2)
    positive = expand_dims(astype(less(0, x), INT64), 0)
    # one step more: nothing is chosen where x <= 0
    (factor,) = _rows(np.append(0.0, half_powers)[:, None], core.concatenate([positive, t], 0), 24)
    return astype(multiply(root, factor), x.dtype)


@implements("sqrt")
def sqrt(x: Array) -> Array:
    """Square root for 0 <= x < 2^15: error below 2^-15 + 2^-17 sqrt(x); 0 for -2^14 < x < 0."""
    return _sqrt_gate(_real(x))


@implements("std")
def std(x: Array, axis: Any = None, keepdims: bool = False, correction: float = 0, ddof: float = 0) -> Array:
    """Standard deviation over axes: of the variance with this correction (NumPy's ddof)."""
    return sqrt(core.var(x, axis, keepdims, correction + ddof))


@implements("power")
def power(x: Any, exponent: Any) -> Array:
    """x to a public integer power, by repeated squaring; negative powers through `reciprocal`."""
    if isinstance(exponent, Array) or int(exponent) != exponent:
        raise ShapeMismatch(f"the exponent must be a public integer (at {user_line()}); for others use mpc.exp")
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


def _tournament(x: Array, axis: Axis, keepdims: bool, better: Any) -> Array:
    axes = core.axes_of(x, axis)
    if len(axes) != 1:
        rest = [a for a in range(x.ndim) if a not in axes]
        flat = reshape(core.transpose(x, [*rest, *axes]), (*(x.shape[a] for a in rest), math.prod(x.shape[a] for a in axes)))
        y = _tournament(flat, -1, False, better)
        return reshape(y, [1 if a in axes else n for a, n in enumerate(x.shape)]) if keepdims else y
    (axis,) = axes
    if not x.shape[axis]:
        raise ShapeMismatch(f"maximum of no elements (shape {x.shape}) at {user_line()}")
    before = (slice(None),) * axis
    while x.shape[axis] > 1:
        n, half = x.shape[axis], x.shape[axis] // 2
        best = better(x[(*before, slice(0, half))], x[(*before, slice(half, 2 * half))])
        x = core.concatenate([best, x[(*before, slice(2 * half, n))]], axis) if n % 2 else best
    return x if keepdims else core.squeeze(x, axis)


@implements("max", "amax")
def max(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Maximum over axes (all elements by default): ceil(log2 m) levels of 4 rounds."""
    return _tournament(x, axis, keepdims, maximum)


@implements("min", "amin")
def min(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Minimum over axes (all elements by default)."""
    return _tournament(x, axis, keepdims, minimum)


@implements("argmax")
def argmax(x: Array, axis: int | None = None, keepdims: bool = False) -> Array:
    """Index of the maximum along an axis (of all elements by default), the first one among equals; int64."""
    if keepdims:
        shape = [1 if axis is None or a == axis % x.ndim else n for a, n in enumerate(x.shape)]
        return reshape(argmax(x, axis), shape)
    x = core._numbers(x)
    if axis is None:
        x, axis = reshape(x, -1), 0
    (axis,) = core.axes_of(x, axis)
    if not x.shape[axis]:
        raise ShapeMismatch(f"argmax of no elements (shape {x.shape}) at {user_line()}")
    order = [a for a in range(x.ndim) if a != axis]
    values = core.transpose(x, [axis, *order])
    n = values.shape[0]
    index: Any = np.arange(n).reshape(n, *[1] * (x.ndim - 1))
    index = constant(np.broadcast_to(index, values.shape).astype("<u8"), INT64, scope_of(x))
    while n > 1:
        half = n // 2
        # neighbours meet, so that the smaller index is always on the left
        left, right = (values[i : 2 * half : 2] for i in (0, 1))
        right_wins = less(left, right)
        best = where(right_wins, right, left)
        chosen = where(right_wins, index[1 : 2 * half : 2], index[0 : 2 * half : 2])
        if n % 2:
            best, chosen = core.concatenate([best, values[n - 1 :]], 0), core.concatenate([chosen, index[n - 1 :]], 0)
        values, index, n = best, chosen, half + n % 2
    # of one element it is public so far: 0, as a secret like any other result
    return getitem(index, 0) if index.type.secret else retype(multiply(getitem(values, 0), 0), INT64)


LOG = Curve(np.log, 1.0, 2.0, 2.0**-18)


@gate("log")
def _log_gate(x: Array) -> Array:
    t, scale, bits = _normalise(x)
    part = smooth(_unit(x, scale, bits), LOG)
    (whole,) = _rows(((np.arange(bits) - x.dtype.fraction) * np.log(2))[:, None], t, WORK.fraction)
    return astype(add(part, whole), x.dtype)


@implements("log")
def log(x: Array) -> Array:
    """Natural logarithm for 2^-f <= x < 2^15: error below 2^-14. Smaller x give about log(2^-f)."""
    return _log_gate(_real(x))


def log_softmax(x: Array, axis: int = -1) -> Array:
    """log(softmax(x)) along an axis."""
    centred = subtract(x, max(x, axis, keepdims=True))
    return subtract(centred, log(core.sum(exp(centred), axis, keepdims=True)))


def softmax(x: Array, axis: int = -1) -> Array:
    """e^x / sum(e^x) along an axis, after subtracting the maximum."""
    e = exp(subtract(x, max(x, axis, keepdims=True)))
    return multiply(e, reciprocal(core.sum(e, axis, keepdims=True)))


def _real(x: Array) -> Array:
    """Numbers as fixed point."""
    return x if x.dtype.kind == "fixed" else astype(x, scope_of(x).settings.dtype)
