"""Working precision for linear algebra: secret scaling by powers of two, loops, masks, reciprocal roots to full precision.

Matrices are scaled to entries below 1 by secret powers of two, which lose nothing, and computed with 24 or more fraction bits,
46 in words of 128 bits. So the result depends on the condition of the problem, not on the units of the data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ShapeMismatch
from ..ir.trace import user_line
from ..ir.types import INT64, DType, fixed64
from ..lang import core, elementwise, views
from ..lang.array import Array, bind, scope_of
from ..lang.core import add, astype, less, multiply, retype, subtract
from ..lang.elementwise import smooth
from ..lang.function import fori
from ..lang.manipulation import matrix_transpose
from ..lang.piecewise import Curve
from ..lang.views import expand_dims
from ..lang.wide import WORK, rsqrt, sqrt, top, work

UNROLLED = 6  # steps that are written out; longer loops are one equation
NEAR_ONE = Curve(np.reciprocal, 0.95, 2.05, 2.0**-18)


def real(x: Any) -> Array:
    """x as fixed point."""
    return elementwise._real(x)


def fine(x: Array) -> Array:
    """x with at least the fraction bits of the working precision."""
    return x if x.dtype.fraction >= work(x.dtype).fraction else working(x)


def working(x: Array) -> Array:
    """x in the working precision."""
    return astype(x, work(x.dtype))


def matrix(x: Array, square: bool = False) -> Array:
    """x, a matrix or a stack of them, as fixed point."""
    if x.ndim < 2 or (square and x.shape[-1] != x.shape[-2]):
        raise ShapeMismatch(f"shape {x.shape} is no {'square ' if square else ''}matrix or stack of them (at {user_line()})")
    return real(x)


def at_bits(op: str, x: Array, y: Array, fraction: int) -> Array:
    """A bilinear operation whose result keeps this many fraction bits (at most those of its operands together)."""
    bits = x.dtype.fraction + y.dtype.fraction - fraction
    return bind(op, x, y, bits=bits, rounding=scope_of(x).settings.rounding)  # type: ignore[no-any-return]


def gram(x: Array, y: Array) -> Array:
    """x^T y with 8 more fraction bits than x has."""
    return at_bits("matmul", matrix_transpose(x), y, x.dtype.fraction + 8)


def power_scale(size: Array, root: int = 1, extra: int = 0) -> tuple[Array, Array]:
    """(2^-k, 2^k) for size > 0, with 2^k >= size^(1/root) 2^extra, the smallest such k in -12 .. 20 (in 128 bits in -32 .. 32).
    One comparison gate."""
    # fraction bits of 2^-k and 2^k: a product with either leaves room in the word
    most, least = (20, 12) if size.dtype.bits <= 64 else (32, 32)
    exponents = np.arange(size.dtype.bits - 3) - size.dtype.fraction  # size < 2^exponents[j] where it is below 2^j
    k = np.clip(np.ceil(exponents / root).astype(int) + extra, -least, most)
    change = np.flatnonzero(np.diff(k))
    steps = elementwise.thresholds(retype(size, INT64), np.array([1 << int(j) for j in change], object))
    k = k[[0, *(change + 1)]]
    tables = ((2.0**-k, fixed64(most)), (2.0**k, fixed64(least)))
    down, up = (retype(elementwise._rows(t[:, None], steps, d.fraction)[0], d) for t, d in tables)
    return down, up


def largest(x: Array, axis: Any) -> Array:
    """Maximum of |x| over axes."""
    return elementwise.max(elementwise.absolute(x), axis)


def column(x: Array) -> Array:
    return expand_dims(x, -1)


def row(x: Array) -> Array:
    return expand_dims(x, -2)


def loop(n: int, body: Callable[[Any, Any], Any], carry: Any) -> Any:
    """carry = body(i, carry) for i in 0 .. n - 1: written out if short, else one equation."""
    if n > UNROLLED:
        return fori(0, n, body, carry)
    for i in range(n):
        carry = body(i, carry)
    return carry


def here(i: Any, n: int) -> Any:
    """A public vector of 0 and 1: whether the place is i (an int, or the index of a loop)."""
    return core.astype(core.equal(np.arange(n), i), INT64) if isinstance(i, Array) else np.eye(n, dtype=np.int64)[i]


def onward(i: Any, n: int) -> Any:
    """A public vector of 0 and 1: whether the place is i or after it."""
    return subtract(1, astype(less(np.arange(n), i), INT64)) if isinstance(i, Array) else (np.arange(n) >= i).astype(np.int64)


def inverse_root(x: Array) -> Array:
    """1 / sqrt(x) in the working precision, for x < 2 with up to 12 bits more: `rsqrt`, in 64 bits with a Newton step."""
    y = working(rsqrt(x))
    if x.dtype.bits > 64:
        return y
    rest = subtract(1.5, multiply(multiply(multiply(fine(x), y), y), 0.5))
    return multiply(y, working(rest))


def inverse_near_one(x: Array) -> Array:
    """1 / x for 1 <= x <= 2 in the working precision."""
    return refined(smooth(astype(x, WORK), NEAR_ONE), lambda y: multiply(y, subtract(2, multiply(x, y))))


def refined(y: Array, newton: Callable[[Array], Array]) -> Array:
    """y, good to 2^-17, after as many steps as the working precision takes; each doubles the bits that are right."""
    for _ in range(1 if y.dtype.bits <= 64 else 2):
        y = newton(y)
    return y


def quotient(x: Array, y: Array) -> Array:
    """x / y for y > 0 of any size, in the working precision."""
    down, _ = power_scale(y, extra=-1)  # y 2^-k in [1, 2)
    return multiply(multiply(x, down), inverse_near_one(working(multiply(fine(y), down))))


def wide_sqrt(x: Array) -> Array:
    """Square root of a sum of products: for 0 <= x < 2^(61 - 2f), where `sqrt` itself stops at 2^15."""
    f = x.dtype.fraction
    half = max(0, (x.dtype.bits - 3 - 2 * f - top(x)) // 2)
    root = sqrt(retype(x, DType("fixed", f + 2 * half)))  # of x / 2^(2 half)
    return astype(retype(root, DType("fixed", f + half)), x.dtype)


def secret(value: Any, like: Array) -> Array:
    """A public value as a secret one, for every matrix of the stack `like`: what a loop carries must be secret throughout."""
    zero = multiply(views.getitem(like, (..., slice(0, 1), slice(0, 1))), 0)
    return add(zero, value)


def ranks(keys: Array) -> Array:
    """Places of the keys in ascending order along the last axis, equal ones in their order; int64. n^2 comparisons."""
    n = keys.shape[-1]
    before = less(column(keys), row(keys))  # [..., i, j]: key i before key j
    upper = np.triu(np.ones((n, n), bool), 1)
    # of a pair i < j: i goes first unless j is smaller; so one comparison decides both places
    first = core.bitwise_and(core.invert(matrix_transpose(before)), upper)
    return core.sum(core.bitwise_xor(first, core.bitwise_and(before, upper.T)), -2)


def sorted_by(order: Array, *stacks: Array) -> list[Array]:
    """Columns (..., m, n) moved to the places `order` (..., n): one product with a 0-1 matrix each."""
    n = order.shape[-1]
    places = astype(core.equal(column(order), np.arange(n)), INT64)
    return [core.matmul(x, places) for x in stacks]
