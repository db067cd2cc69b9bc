"""Working precision for linear algebra: secret scaling by powers of two, loops, masks, reciprocal roots to full precision.

Matrices are scaled to entries below 1 by secret powers of two, which lose nothing, and computed with 24 or more fraction bits.
So the result depends on the condition of the problem, not on the units of the data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ShapeMismatch
from ..ir.trace import user_line
from ..ir.types import INT64, DType, fixed64
from ..lang import core, elementwise
from ..lang.array import Array, bind, scope_of
from ..lang.core import add, astype, expand_dims, less, multiply, retype, subtract
from ..lang.elementwise import smooth
from ..lang.function import fori
from ..lang.manipulation import matrix_transpose
from ..lang.piecewise import Curve
from ..lang.wide import rsqrt, sqrt, top

WORK = fixed64(24)
DOWN, UP = 20, 12  # fraction bits of 2^-k and 2^k, -12 <= k <= 20: a product with either leaves room in the word
LONGEST = 60  # bits of the words whose size is looked for
UNROLLED = 6  # steps that are written out; longer loops are one equation
NEAR_ONE = Curve(np.reciprocal, 0.95, 2.05, 2.0**-18)


def real(x: Any) -> Array:
    """x as fixed point."""
    return elementwise._real(x)


def fine(x: Array) -> Array:
    """x with at least 24 fraction bits."""
    return x if x.dtype.fraction >= WORK.fraction else astype(x, WORK)


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
    """(2^-k, 2^k) for size > 0, with 2^k >= size^(1/root) 2^extra, the smallest such k in -12 .. 20. One comparison gate."""
    longest = max(LONGEST, size.dtype.fraction + DOWN)
    exponents = np.arange(longest + 1) - size.dtype.fraction  # size < 2^exponents[j] where it is below the j-th threshold
    k = np.clip(np.ceil(exponents / root).astype(int) + extra, -UP, DOWN)
    steps = elementwise.thresholds(retype(size, INT64), np.array([1 << j for j in range(longest)], object))
    tables = ((2.0**-k, DOWN), (2.0**k, UP))
    down, up = (elementwise._rows(t[:, None], steps, fraction)[0] for t, fraction in tables)
    return retype(down, fixed64(DOWN)), retype(up, fixed64(UP))


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
    """1 / sqrt(x) with 24 fraction bits, for x < 2 with up to 36: `rsqrt` and a Newton step."""
    y = astype(rsqrt(x), WORK)
    x = astype(x, DType("fixed", max(x.dtype.fraction, WORK.fraction)))
    rest = subtract(1.5, multiply(multiply(multiply(x, y), y), 0.5))
    return multiply(y, astype(rest, WORK))


def inverse_near_one(x: Array) -> Array:
    """1 / x for 1 <= x <= 2 with 24 fraction bits."""
    y = smooth(x, NEAR_ONE)
    return multiply(y, subtract(2, multiply(x, y)))


def quotient(x: Array, y: Array) -> Array:
    """x / y for y > 0 of any size, with 24 fraction bits."""
    down, _ = power_scale(y, extra=-1)  # y 2^-k in [1, 2)
    return multiply(multiply(x, down), inverse_near_one(astype(multiply(fine(y), down), WORK)))


def wide_sqrt(x: Array) -> Array:
    """Square root of a sum of products: for 0 <= x < 2^(61 - 2f), where `sqrt` itself stops at 2^15."""
    f = x.dtype.fraction
    half = max(0, (x.dtype.bits - 3 - 2 * f - top(x)) // 2)
    root = sqrt(retype(x, DType("fixed", f + 2 * half)))  # of x / 2^(2 half)
    return astype(retype(root, DType("fixed", f + half)), x.dtype)


def secret(value: Any, like: Array) -> Array:
    """A public value as a secret one, for every matrix of the stack `like`: what a loop carries must be secret throughout."""
    zero = multiply(core.getitem(like, (..., slice(0, 1), slice(0, 1))), 0)
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
