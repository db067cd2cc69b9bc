"""Tangent, inverse and hyperbolic functions: curves on an interval and the identities that lead to it.

Errors are for fixed64(16) and absolute unless said; docs/numerics.md lists them for more bits too.
"""

from __future__ import annotations

import builtins
import math
from typing import Any

import numpy as np

from ..ir.types import INT64, DType
from . import core
from .array import Array, implements
from .core import add, astype, bitwise_and, bitwise_xor, invert, less, multiply, negative, retype, subtract, where
from .elementwise import _in_reach, _real, cos, exp, maximum, sin, smooth
from .function import gate
from .piecewise import Curve
from .wide import (
    RECIPROCAL,
    Column,
    Scaling,
    _bits_of,
    _exponents,
    _mantissa,
    _product,
    _root,
    _scales,
    divide,
    log,
    reciprocal,
    rescale,
    sqrt,
    top,
    work,
)

HALF_TURN = math.pi


def _ratio(v: np.ndarray) -> np.ndarray:
    """acos(v) / sqrt(1 - v), which is smooth at 1 and goes on as acosh(v) / sqrt(v - 1)."""
    near = np.abs(v - 1) < 1e-9
    v = np.where(near, 0.5, v)
    inside = np.arccos(np.minimum(v, 1)) / np.sqrt(np.abs(1 - v))
    outside = np.arccosh(np.maximum(v, 1)) / np.sqrt(np.abs(v - 1))
    return np.where(near, math.sqrt(2), np.where(v < 1, inside, outside))


# made for 16 fraction bits; with more, `_finer` asks for more
RATIO = Curve(_ratio, 0.0, 1.0, 2.0**-16)
ATAN = Curve(np.arctan, -1.0, 1.0, 2.0**-16)
ASINH = Curve(np.arcsinh, 0.0, 1.0, 2.0**-16)
ASINH_OF_INVERSE = Curve(lambda v: np.log(1 + np.sqrt(1 + v * v)), 0.0, 1.0, 2.0**-16)  # asinh(1/v) + log(v)
UNIT_ATAN = Curve(np.arctan, 0.0, 1.0, 2.0**-21)  # in the working precision of `wide`
CBRT = Curve(np.cbrt, 1.0, 4.0, 2.0**-22)


def _finer(x: Array, curve: Curve) -> Array:
    return smooth(x, curve._replace(tol=curve.tol * 2.0 ** -builtins.max(0, x.dtype.fraction - 16)))


def _split(x: Array) -> tuple[Array, Array]:
    """([x < 0], |x|)."""
    below = less(x, 0)
    return below, _signed(x, below)


def _signed(x: Array, negated: Array) -> Array:
    """-x where the bit is set, else x."""
    return subtract(x, multiply(where(negated, x, 0), 2))


def _level(bit: Array, value: float, dtype: DType) -> Array:
    """value where the bit (as int64) is set, else 0; local."""
    return retype(multiply(bit, round(value * 2**dtype.fraction)), dtype)


@implements("tan")
def tan(x: Array) -> Array:
    """sin(x) / cos(x): error below 2^-13 (1 + tan(x)^2), for |tan(x)| < 2^(61 - 2f). Where cos(x) rounds to 0 it is 2^f, with
    the sign of sin(x)."""
    return divide(sin(x), cos(x))


@gate("asin")
def _asin_gate(x: Array) -> Array:
    below, size = _split(x)
    # outside [-1, 1] the root is 0, whatever its factor
    return _signed(subtract(HALF_TURN / 2, multiply(sqrt(subtract(1, size)), _finer(size, RATIO))), below)


@implements("asin", "arcsin")
def asin(x: Array) -> Array:
    """Inverse sine: error below 2^-13; -pi/2 below -1, pi/2 above 1."""
    return _in_reach(x, _asin_gate)


@implements("acos", "arccos")
def acos(x: Array) -> Array:
    """Inverse cosine: error below 2^-13; pi below -1, 0 above 1."""
    return subtract(HALF_TURN / 2, asin(x))


@gate("atan")
def _atan_gate(x: Array) -> Array:
    # atan(x) = +-pi/2 - atan(1/x) for large x
    above, below = less(1, x), less(x, -1)
    outside, side = bitwise_xor(above, below), subtract(astype(above, INT64), astype(below, INT64))
    small = where(outside, reciprocal(x), x)
    angle = _signed(_finer(small, ATAN), outside)
    return add(angle, _level(side, HALF_TURN / 2, x.dtype))


@implements("atan", "arctan")
def atan(x: Array) -> Array:
    """Inverse tangent: error below 2^-13, for every x."""
    return _in_reach(x, _atan_gate)


@gate("atan2")
def _atan2_gate(y: Array, x: Array) -> Array:
    bits, precision = _bits_of(x), work(x.dtype)
    end, scales = _scales(0, bits, precision)
    (below_y, size_y), (below_x, size_x) = _split(y), _split(x)
    steep = less(size_x, size_y)
    exchanged = where(steep, subtract(size_y, size_x), 0)
    high, low = add(size_x, exchanged), subtract(size_y, exchanged)
    high, scale = rescale(high, Scaling(0, bits, (Column(scales),), factors=(0,)), end)
    low = retype(_product(low, scale, end - 2 - precision.fraction), precision)
    slope = multiply(low, _mantissa(high, RECIPROCAL, x.dtype.fraction))  # 0 to 1
    # in the first octant; a steep one counts from the y axis, one with x < 0 from the other side
    angle = astype(_mantissa(slope, UNIT_ATAN, 18), x.dtype)
    quarters = add(astype(steep, INT64), multiply(bitwise_and(below_x, invert(steep)), 2))
    turned = _signed(angle, bitwise_xor(bitwise_xor(below_x, below_y), steep))
    return add(turned, _level(_signed(quarters, below_y), HALF_TURN / 2, x.dtype))


@implements("atan2", "arctan2")
def atan2(y: Any, x: Any) -> Array:
    """The angle of the point (x, y), -pi to pi: error below 2^-13, for |x|, |y| < 2^15; beyond, it means nothing. 0 at the
    origin; there is no -0, so pi on the negative x axis."""
    return _atan2_gate(*core._same_shape(*map(_real, core._align(y, x))))


def _halved(x: Array) -> Array:
    return multiply(x, 0.5)


@implements("sinh")
def sinh(x: Array) -> Array:
    """(e^x - e^-x) / 2: error below 2^-13 + 2^-13 cosh(x); saturates where `exp` does, beyond +-17."""
    return _halved(subtract(exp(x), exp(negative(x))))


@implements("cosh")
def cosh(x: Array) -> Array:
    """(e^x + e^-x) / 2: error below 2^-13 + 2^-13 cosh(x); saturates where `exp` does, beyond +-17."""
    return _halved(add(exp(x), exp(negative(x))))


@gate("asinh")
def _asinh_gate(x: Array) -> Array:
    below, size = _split(x)
    large = maximum(size, 1)
    beyond = add(log(large), _finer(reciprocal(large), ASINH_OF_INVERSE))
    return _signed(where(less(size, 1), _finer(size, ASINH), beyond), below)


@implements("asinh", "arcsinh")
def asinh(x: Array) -> Array:
    """Inverse hyperbolic sine: error below 2^-13; stays +-16 log 2 beyond +-2^15."""
    return _in_reach(x, _asinh_gate)


@implements("acosh", "arccosh")
def acosh(x: Array) -> Array:
    """Inverse hyperbolic cosine of 1 <= x < 2^14: error below 2^-13. log x below 1; log 2^15 from 2^14 on. Two roots are
    multiplied, so x < 2^(60 - 2f): of 2^8 for f = 26."""
    x = _real(x)
    return log(add(x, multiply(sqrt(subtract(x, 1)), sqrt(add(x, 1)))))


@implements("atanh", "arctanh")
def atanh(x: Array) -> Array:
    """Inverse hyperbolic tangent, (log(1 + x) - log(1 - x)) / 2, of -1 < x < 1: error below 2^-13. Stays +-(f + 1) log(2) / 2
    from +-1 on, until 1 + |x| is 2^15."""
    x = _real(x)
    return _halved(subtract(log(add(x, 1)), log(subtract(1, x))))


@implements("log10")
def log10(x: Array) -> Array:
    """Logarithm to base 10: domain of `log`, error below 2^-14."""
    return multiply(log(x), 1 / math.log(10))


@gate("cbrt")
def _cbrt_gate(x: Array) -> Array:
    below, size = _split(x)
    powers = 2.0 ** ((_exponents(x) - x.dtype.fraction) / 3)
    return _signed(_root(size, CBRT, powers, 24, 0.0, 2.0 ** (top(x) / 3)), below)


@implements("cbrt")
def cbrt(x: Array) -> Array:
    """Cube root: error below 2^-15 + 2^-17 |cbrt(x)|; stays +-2^5 beyond +-2^15."""
    return _cbrt_gate(_real(x))
