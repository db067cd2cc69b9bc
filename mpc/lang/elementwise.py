"""Functions made of smaller ones: absolute value, maxima, exponentials, reciprocals. Their bodies are their meaning.

Accuracy figures hold for fixed64(16), the default; docs/numerics.md lists domains and errors, for more bits too. Outside its
domain a function saturates as its docstring says.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ShapeMismatch, UsageError
from ..ir.trace import user_line
from ..ir.types import INT64, UINT64, DType, fixed64
from ..protocols.fields import most_trees
from . import core, manipulation, views
from .array import Array, Axis, bind, constant, implements, scope_of, whole
from .core import add, astype, greater_equal, less, matmul, multiply, retype, subtract, where
from .function import gate
from .piecewise import Curve, Tail, extremes, fit, plan, window
from .views import expand_dims, getitem, reshape
from .widths import exact


@gate("relu")
def _relu(x: Array) -> Array:
    return where(less(x, 0), 0, x)


def relu(x: Array) -> Array:
    """max(x, 0), exact."""
    if x.dtype.wraps:
        return retype(_relu(exact(x)), x.dtype) if x.dtype.signed else x
    return _relu(core._numbers(x))


@gate("maximum")
def _maximum(x: Array, y: Array) -> Array:
    return add(y, relu(subtract(x, y)))


@gate("minimum")
def _minimum(x: Array, y: Array) -> Array:
    return subtract(x, relu(subtract(x, y)))


@gate("absolute")
def _absolute(x: Array) -> Array:
    return subtract(multiply(relu(x), 2), x)


@implements("maximum", "fmax")
def maximum(x: Any, y: Any) -> Array:
    """The larger of x and y, elementwise; exact."""
    return _better(_maximum, *core._align(x, y))


@implements("minimum", "fmin")
def minimum(x: Any, y: Any) -> Array:
    """The smaller of x and y, elementwise; exact."""
    return _better(_minimum, *core._align(x, y))


def _better(f: Callable[[Array, Array], Array], x: Array, y: Array) -> Array:
    if x.dtype == UINT64:
        return where(less(x, y), *((y, x) if f is _maximum else (x, y)))
    return retype(f(exact(x), exact(y)), x.dtype)


@implements("absolute", "abs", "fabs")
def absolute(x: Array) -> Array:
    """|x|, exact; of an integer modulo its 2^w, as NumPy's."""
    if x.dtype.wraps:
        return retype(_absolute(exact(x)), x.dtype) if x.dtype.signed else x
    return _absolute(core._numbers(x))


@implements("clip")
def clip(x: Array, min: Any = None, max: Any = None) -> Array:
    """x limited to [min, max]."""
    x = x if min is None else maximum(x, min)
    return x if max is None else minimum(x, max)


@implements("sign")
def sign(x: Array) -> Array:
    """-1, 0 or 1, of x's dtype."""
    nonzero = astype(core.not_equal(x, 0), INT64)
    if x.dtype.is_int and not x.dtype.signed:
        return astype(nonzero, x.dtype)
    return astype(subtract(nonzero, multiply(less(x, 0), 2)), x.dtype)


@gate("thresholds", lambda x, values, bits: {"values": list(values), "bits": bits})
def _thresholds(x: Array, values: tuple[int, ...], bits: int) -> Array:
    integer = retype(x, INT64)
    return manipulation.concatenate([expand_dims(greater_equal(integer, v), 0) for v in values], 0)


def thresholds(x: Array, values: Any, bits: int | None = None) -> Array:
    """[x >= v] as int64 for K public values, along a new first axis. x is opened once for all of them.

    bits: integers x - v are known to be in [-2^bits, 2^bits); fewer bits are cheaper. By default the whole word.
    """
    bits = x.dtype.bits - 1 if bits is None else bits
    ring = scope_of(x).settings.ring
    words = ring.integers(core._words(np.asarray(values), x.dtype.fraction, scope_of(x)))
    most = most_trees(bits)
    batches = [tuple(map(int, words[i : i + most])) for i in range(0, len(words), most)]
    return astype(manipulation.concatenate([_thresholds(x, batch, bits) for batch in batches], 0), INT64)


def _rows(table: np.ndarray, steps: Array, fraction: int) -> list[Array]:
    """Columns of a public table (K + 1, m), chosen by K steps of zeros and ones (K, ...): m arrays. Local."""
    shape = steps.shape[1:]
    flat = reshape(steps, (steps.shape[0], -1))
    ring = scope_of(steps).settings.ring
    words = ring.encode(table, fraction)  # differences of encoded rows add up to encoded rows, without rounding
    public = constant(ring.solid(ring.sub(words[1:], words[:-1]).T), DType("fixed", fraction), scope_of(steps))
    chosen = matmul(public, flat)
    return [add(reshape(getitem(chosen, j), shape), float(table[0, j])) for j in range(table.shape[1])]


def piecewise(x: Array, curve: Curve) -> Array:
    """The curve at x by piecewise polynomials and comparisons: any protocol, any number of parties."""
    try:
        pieces, bits = plan(curve, x.dtype.fraction, x.dtype.bits)
    except ValueError as error:
        raise UsageError(f"{curve.name} at {user_line()}: {error}; use a larger tol or a narrower range") from None
    table = np.column_stack([pieces.centres, pieces.coefficients])
    work = DType("fixed", bits)
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
    w = window(curve, f, x.dtype.bits)
    assert w is not None
    return {
        "k": w.k,
        "t": w.t,
        "degree": len(w.tables) - 1,
        "centre": w.centre,
        "tables": scope_of(x).settings.ring.encode(w.tables, 0).tobytes(),
        "shift": w.fraction_out - f,
        "bounds": [round(v * 2**f) for v in (curve.low, curve.high)] if curve.tails else [],
        "tails": [[round(t.constant * 2**f), t.slope] for t in curve.tails or ()],
    }


@gate("spline", _spline_params)
def _spline(x: Array, curve: Curve) -> Array:
    return piecewise(x, curve)


def _curve_params(x: Array, curve: Curve) -> dict[str, Any]:
    """What a range analysis needs to know."""
    return {"low": curve.low, "high": curve.high, "extremes": extremes(curve), "tails": [list(t) for t in curve.tails or ()]}


@gate(lambda x, curve: curve.name, _curve_params)
def smooth(x: Array, curve: Curve) -> Array:
    """A function of one variable by piecewise polynomials."""
    # the gate rounds with a public coin: where exact rounding is asked for, comparisons and exact products do it
    if scope_of(x).settings.rounding != "dither" or window(curve, x.dtype.fraction, x.dtype.bits) is None:
        return piecewise(x, curve)
    return _spline(x, curve)


def _sigmoid(v: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-v)))


SIGMOID = Curve(_sigmoid, -12.0, 12.0, 2.0**-14, (Tail(0), Tail(1)), "sigmoid")
TANH = Curve(np.tanh, -6.0, 6.0, 2.0**-14, (Tail(-1), Tail(1)), "tanh")
EXP = Curve(np.exp, 0.0, 1.0, 2.0**-18)


MOST_BITS, WIDE_MOST_BITS = 26, 40  # with more, polynomials and exponentials leave their words; in words of 128 bits


def _activation(x: Array, curve: Curve) -> Array:
    """The curve, made for 16 fraction bits, at x: with more bits on a wider range, for a smaller error."""

    def at(x: Array) -> Array:
        finer = builtins.max(0, x.dtype.fraction - 16)
        wider, tol = 1 + finer / 16, curve.tol * 2.0**-finer
        if x.dtype.bits < 64:  # there is no room for more than the result can show
            tol = builtins.max(tol, 2.0 ** (-2 - x.dtype.fraction))
        return smooth(x, curve._replace(low=curve.low * wider, high=curve.high * wider, tol=tol))

    return _in_reach(x, at)


def _in_reach(x: Array, f: Callable[[Array], Array]) -> Array:
    """f(x) with as many fraction bits as its word has room for, at x's scale."""
    x = _real(x)
    most = MOST_BITS if x.dtype.bits <= 64 else WIDE_MOST_BITS
    return f(x) if x.dtype.fraction <= most else astype(f(astype(x, fixed64(most))), x.dtype)


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x): error below 2^-13; 0 below -12, 1 above 12."""
    return _activation(x, SIGMOID)


@implements("tanh")
def tanh(x: Array) -> Array:
    """Hyperbolic tangent: error below 2^-13; -1 below -6, 1 above 6."""
    return _activation(x, TANH)


_erf = np.vectorize(math.erf, otypes=[float])
IDENTITY = (Tail(0), Tail(0, 1))  # 0 below, x above
GELU = Curve(lambda v: v * 0.5 * (1 + _erf(v / 2**0.5)), -5.0, 5.0, 2.0**-13.5, IDENTITY, "gelu")
SILU = Curve(lambda v: v * _sigmoid(v), -12.5, 12.5, 2.0**-13, IDENTITY, "silu")
SOFTPLUS = Curve(lambda v: np.log1p(np.exp(v)), -12.0, 12.0, 2.0**-13, IDENTITY, "softplus")
ERF = Curve(_erf, -4.0, 4.0, 2.0**-14, (Tail(-1), Tail(1)), "erf")


def gelu(x: Array) -> Array:
    """x (1 + erf(x / sqrt(2))) / 2: error below 2^-13; 0 below -5, x above 5."""
    return _activation(x, GELU)


def silu(x: Array) -> Array:
    """x sigmoid(x): error below 2^-12; 0 below -12.5, x above 12.5."""
    return _activation(x, SILU)


def softplus(x: Array) -> Array:
    """log(1 + e^x): error below 2^-12; 0 below -12, x above 12."""
    return _activation(x, SOFTPLUS)


def erf(x: Array) -> Array:
    """The error function: error below 2^-13; -1 below -4, 1 above 4."""
    return _activation(x, ERF)


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
    return lambda x: _in_reach(x, lambda v: smooth(v, curve))


def exp_ends(fraction: int, word: int = 64) -> tuple[int, int]:
    """Below the first e^x is 0, from the second on it stays: e^low is less than a unit, and e^high 2^(f + 20) fits a word."""
    room = word - 3 - fraction - _exp_bits(fraction, word)
    return -math.ceil(fraction * math.log(2)), builtins.min(17, int(room * math.log(2)))


def _exp_bits(fraction: int, word: int) -> int:
    """Fraction bits of e^x for 0 <= x < 1."""
    return builtins.max(fraction, 20 if word >= 64 else 12)


@gate("exponential", lambda x: {"ends": list(exp_ends(x.dtype.fraction, x.dtype.bits))})
def _exp_by_thresholds(x: Array) -> Array:
    f, (low, high) = x.dtype.fraction, exp_ends(x.dtype.fraction, x.dtype.bits)
    bits = _exp_bits(f, x.dtype.bits)
    x = clip(x, float(low), high - 2.0**-f)
    steps = thresholds(x, np.arange(low + 1, high), bits=f + (high - low).bit_length())
    fraction = subtract(subtract(x, low), core.sum(steps, 0))  # in [0, 1)
    (integer,) = _rows(np.exp(np.arange(low, float(high)))[:, None], steps, f)
    part = smooth(astype(fraction, fixed64(bits)), EXP._replace(tol=2.0 ** (2 - bits)))
    return astype(bind("mul", integer, part, bits=bits, rounding=scope_of(x).settings.rounding), x.dtype)


def _exp_params(x: Array) -> dict[str, Any]:
    low, high = exp_ends(x.dtype.fraction, x.dtype.bits)
    return {"fraction": x.dtype.fraction, "low": low, "high": high}


@gate("exp", _exp_params)
def _exp_gate(x: Array) -> Array:
    return _exp_by_thresholds(x)


@implements("exp")
def exp(x: Array) -> Array:
    """e^x: absolute error below 2^-13 + 2^-13 e^x; saturates at e^17 above 17 (17 to 14 for up to 20 fraction bits, then less:
    e^6 at 26) and is 0 (to 2^-f) below -f log 2, which is -12 for 16 bits."""

    def at(x: Array) -> Array:
        return (_exp_gate if scope_of(x).settings.rounding == "dither" else _exp_by_thresholds)(x)  # as in `smooth`

    return _in_reach(x, at)


TURN = Curve(lambda v: np.sin(2 * np.pi * v), 0.0, 1.0, 2.0**-18)
TURN_BITS = {32: 10, 64: 24, 128: 44}  # of a fraction of a turn, in words of so many bits


def _sine_params(x: Array, quarter: int) -> dict[str, Any]:
    f = x.dtype.fraction
    return {"factor": round(2.0 ** (x.dtype.bits - f) / (2 * math.pi)), "phase": quarter << x.dtype.bits - 2, "fraction": f}


@gate("sine", lambda x, quarter: {"quarter": quarter})
def _sine_by_curve(x: Array, quarter: int) -> Array:
    scale, bits = x.dtype.bits // 2 - 2, TURN_BITS[x.dtype.bits]  # |x| < 2^(33 - f) in 64 bits
    turns = multiply(retype(x, INT64), round(2.0**scale / (2 * math.pi)))
    turns = add(core.shift_right(turns, x.dtype.fraction + scale - bits), quarter << (bits - 2))
    whole = multiply(core.shift_right(turns, bits, "floor"), 1 << bits)
    curve = TURN if x.dtype.bits == 64 else TURN._replace(tol=2.0 ** -builtins.min(bits, 42))
    return astype(smooth(retype(subtract(turns, whole), DType("fixed", bits)), curve), x.dtype)


@gate(lambda x, quarter: "cos" if quarter else "sin", _sine_params)
def _sine_gate(x: Array, quarter: int) -> Array:
    return _sine_by_curve(x, quarter)


def _sine(x: Array, quarter: int) -> Array:
    x = _real(x)
    return (_sine_gate if scope_of(x).settings.rounding == "dither" else _sine_by_curve)(x, quarter)  # as in `smooth`


@implements("sin")
def sin(x: Array) -> Array:
    """sin(x), x in radians: error below 2^(1-f) + 2^-27 for |x| < 2^(37-f). Any number of parties: 2 rounds, 16 bytes online.

    Where the protocol has no gate for it, or rounding is exact: error below 2^-14, |x| < 2^(33-f).
    """
    return _sine(x, 0)


@implements("cos")
def cos(x: Array) -> Array:
    """cos(x): as `sin`."""
    return _sine(x, 1)


def _tournament(x: Array, axis: Axis, keepdims: bool, better: Any) -> Array:
    axes = views.axes_of(x, axis)
    if len(axes) != 1:
        rest = [a for a in range(x.ndim) if a not in axes]
        flat = reshape(views.transpose(x, [*rest, *axes]), (*(x.shape[a] for a in rest), math.prod(x.shape[a] for a in axes)))
        y = _tournament(flat, -1, False, better)
        return reshape(y, [1 if a in axes else n for a, n in enumerate(x.shape)]) if keepdims else y
    (axis,) = axes
    if not x.shape[axis]:
        raise ShapeMismatch(f"maximum of no elements (shape {x.shape}) at {user_line()}")
    before = (slice(None),) * axis
    while x.shape[axis] > 1:
        n, half = x.shape[axis], x.shape[axis] // 2
        best = better(x[(*before, slice(0, half))], x[(*before, slice(half, 2 * half))])
        x = manipulation.concatenate([best, x[(*before, slice(2 * half, n))]], axis) if n % 2 else best
    return x if keepdims else views.squeeze(x, axis)


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
    x = exact(core._numbers(x))
    if axis is None:
        x, axis = reshape(x, -1), 0
    (axis,) = views.axes_of(x, axis)
    if not x.shape[axis]:
        raise ShapeMismatch(f"argmax of no elements (shape {x.shape}) at {user_line()}")
    order = [a for a in range(x.ndim) if a != axis]
    values = views.transpose(x, [axis, *order])
    n = values.shape[0]
    index: Any = np.arange(n).reshape(n, *[1] * (x.ndim - 1))
    index = whole(np.broadcast_to(index, values.shape), scope_of(x))
    while n > 1:
        half = n // 2
        # neighbours meet, so that the smaller index is always on the left
        left, right = (values[i : 2 * half : 2] for i in (0, 1))
        right_wins = less(left, right)
        best = where(right_wins, right, left)
        chosen = where(right_wins, index[1 : 2 * half : 2], index[0 : 2 * half : 2])
        if n % 2:
            best, chosen = (
                manipulation.concatenate([best, values[n - 1 :]], 0),
                manipulation.concatenate([chosen, index[n - 1 :]], 0),
            )
        values, index, n = best, chosen, half + n % 2
    # of one element it is public so far: 0, as a secret like any other result
    return getitem(index, 0) if index.type.secret else retype(multiply(getitem(values, 0), 0), INT64)


def _real(x: Array) -> Array:
    """Numbers as fixed point."""
    return x if x.dtype.kind == "fixed" else astype(x, scope_of(x).settings.real)
