"""Random secrets that nobody knows: every party contributes uniform bits, and one honest contribution is enough.

The first argument of every function is the session (or any secret array of it). A value is drawn when a result that needs it
is revealed, once; parties keep it as long as the array lives.
"""

from __future__ import annotations

import decimal
import math
from typing import Any

import numpy as np

from .errors import UsageError
from .ir.trace import user_line
from .ir.types import BOOL, INT64
from .lang import manipulation
from .lang.array import Array, tracing, whole
from .lang.core import add, less, multiply, retype, shift_right, subtract
from .lang.elementwise import smooth
from .lang.function import gate
from .lang.integers import from_bits, remainder
from .lang.piecewise import Curve
from .lang.session import Session
from .lang.sorting import shuffle
from .lang.views import reshape
from .lang.wide import log, sqrt

Source = Session | Array
Shape = int | tuple[int, ...]
SLACK = 20  # bits more than needed: results are uniform to 2^-20
KEY = 60  # bits of words that are compared or divided
COSINE = Curve(lambda v: np.cos(2 * np.pi * v), 0.0, 1.0, 2.0**-14)
SINE = Curve(lambda v: np.sin(2 * np.pi * v), 0.0, 1.0, 2.0**-14)
FINE = 60  # bits of the probabilities of noise
TAIL = 45  # noise of a scale ends where its probability is e^-45


def _tuple(shape: Shape) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)


def bits(source: Source, shape: Shape = ()) -> Array:
    """Uniform bool. Nothing is sent, unless a party that owns inputs holds no shares (`helper`: 1 bit dealt each)."""
    scope = tracing.get() or source.scope
    dtype = BOOL.within(scope.settings.dtype.ring)
    return Array(scope.graph.bind("random", [], {"shape": list(_tuple(shape)), "dtype": dtype.plain})[0], scope)


def words(source: Source, shape: Shape, count: int) -> Array:
    """Uniform int64 from 0 to 2^count - 1, count < 64 and less than the bits of the session's integers. One round, `count` bits
    an element online."""
    own = INT64.within((tracing.get() or source.scope).settings.dtype.ring)
    most = min(63, (own.bounds[1] + 1).bit_length() - 1)
    if not 0 < count <= most:
        raise UsageError(
            f"random words of {count} bits at {user_line()}: {own} takes 1 to {most}. More are in a session with "
            "dtype=mpc.fixed64(f)"
        )
    return from_bits(bits(source, (count, *_tuple(shape))), range(count))


def integers(source: Source, low: int, high: int, shape: Shape = ()) -> Array:
    """Uniform int64 with low <= x < high, for up to 2^40 values: exactly if their number is a power of two, else to 2^-20."""
    count = high - low
    size = (count - 1).bit_length()
    if not 2 <= count <= 1 << 40:
        raise UsageError(f"random integers from {low} to {high}: 2 to 2^40 values (at {user_line()})")
    if count == 1 << size:
        return add(words(source, shape, size), low)
    if size <= 20:  # the product with a word of 40 bits fits
        return add(shift_right(multiply(words(source, shape, 2 * SLACK), count), 2 * SLACK, "floor"), low)
    return add(remainder(words(source, shape, KEY), count), low)


def uniform(source: Source, shape: Shape = (), low: float = 0.0, high: float = 1.0) -> Array:
    """Uniform multiples of 2^-f in [0, 1), scaled to [low, high); f fraction bits are the session's."""
    dtype = (tracing.get() or source.scope).settings.real
    x = retype(words(source, shape, dtype.fraction), dtype)
    x = x if high - low == 1 else multiply(x, high - low)
    return add(x, low) if low else x


def bernoulli(source: Source, p: Any, shape: Shape | None = None) -> Array:
    """Bool that is True with probability p, public or secret, to 2^-f. shape: p's by default."""
    shape = shape if shape is not None else p.shape if isinstance(p, Array) else np.shape(p)
    return less(uniform(source, shape), p)


def normal(source: Source, shape: Shape = (), mean: float = 0.0, std: float = 1.0) -> Array:
    """Normal deviates, in pairs by Box and Muller (Ann. Math. Stat. 29, 1958): |x - mean| < 4.8 std at f = 16."""
    shape = _tuple(shape)
    size = int(np.prod(shape))
    half = -(-size // 2)
    u, v = uniform(source, half), uniform(source, half)
    step = 2.0**-u.dtype.fraction
    radius = sqrt(multiply(log(add(u, step)), -2))
    pair = manipulation.concatenate([multiply(radius, smooth(v, curve)) for curve in (COSINE, SINE)])
    x = reshape(pair[:size], shape)
    x = x if std == 1 else multiply(x, std)
    return add(x, mean) if mean else x


def permutation(source: Source, x: int | Array) -> Array:
    """A uniform permutation of 0 .. n-1, or of the rows of x: one shuffle."""
    scope = tracing.get() or source.scope
    return shuffle(x if isinstance(x, Array) else whole(np.arange(x), scope))  # type: ignore[no-any-return]


def discrete_laplace(source: Source, shape: Shape, scale: float) -> Array:
    """int64 k with probability in proportion to exp(-|k| / scale), that no party knows.

    The difference of two geometric variables, whose binary digits are independent: digit j is 1 with probability
    1 / (1 + exp(2^j / scale)) (Dwork et al., EUROCRYPT 2006, section 4). Each digit compares a uniform word of 60 bits with
    that probability, so an element is within 2^-54 of the distribution; |k| < 2^ceil(log2(45 scale)), at most 2^61.
    """
    count = max(1, math.ceil(math.log2(TAIL * scale))) if scale > 0 else 0
    if not 0 < count <= 61:
        raise UsageError(f"discrete Laplace noise of scale {scale}: above 0, up to 2^55 (at {user_line()})")
    shape = _tuple(shape)
    ones = np.array([_digit(j, scale) for j in range(count)], np.int64).reshape(count, *[1] * (1 + len(shape)))
    digits = less(words(source, (count, 2, *shape), FINE), ones)
    pair = from_bits(digits, range(count))
    return subtract(pair[0], pair[1])


def _digit(j: int, scale: float) -> int:
    """2^60 / (1 + exp(2^j / scale)), the same at every party: correctly rounded, where float64 has too few digits."""
    with decimal.localcontext(decimal.Context(prec=60)):
        return int(decimal.Decimal(1 << FINE) / (1 + (decimal.Decimal(1 << j) / decimal.Decimal(scale)).exp()))


def private(x: Array, epsilon: float, sensitivity: float) -> Array:
    """x with discrete Laplace noise: `epsilon`-differentially private towards whoever learns nothing else of the data.

    sensitivity: by how much all elements of x together (the sum of their absolute changes) can change if one individual's data
    do, roundings included; you declare it, and what a policy with `dp` charges is right only if it is. The noise is drawn
    jointly in units of x's last bit: no party knows it, and there are no floating point digits to give it away (Mironov, CCS
    2012). Besides epsilon, a delta of (1 + e^epsilon) 2^-54 an element. Parties still see the shapes and who takes part.
    """
    units = math.ceil(sensitivity * 2**x.dtype.fraction)
    if x.dtype.is_bool or not (0 < epsilon < math.inf and units > 0):
        raise UsageError(
            f"private: numbers with epsilon and sensitivity above 0, not {x.dtype}, {epsilon}, {sensitivity} (at {user_line()})"
        )
    return noisy(x, epsilon=float(epsilon), units=units)


@gate("private", lambda x, **stored: stored)
def noisy(x: Array, *, epsilon: float, units: int) -> Array:
    return add(x, retype(discrete_laplace(x, x.shape, units / epsilon), x.dtype))
