"""Division in prime fields (`mpc.field`), and what is opened for it.

A secret x is inverted under a mask (Bar-Ilan, Beaver, PODC 1989): for a uniformly random secret r the product x r is opened.
For x != 0 it is uniform whatever x is, and 1 / x = r / (x r).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from ..errors import TypeMismatch
from ..ir.trace import user_line
from .array import Array, bind, scope_of, whole
from .core import multiply


def of_field(*values: Any) -> bool:
    """Whether an array among these is of a prime field."""
    return any(isinstance(v, Array) and bool(v.dtype.primes) for v in values)


def uniform(like: Array, shape: Sequence[int]) -> Array:
    """Secret elements of the field of `like`, uniformly random: the sum of what every party draws. Shape `shape`."""
    scope = scope_of(like)
    return Array(scope.graph.bind("random", [], {"shape": list(shape), "dtype": like.dtype.plain})[0], scope)


def reciprocal(x: Array) -> Array:
    """1 / x in the field. 2 rounds. Those who compute see which elements are 0: then they raise Singular, as they do by chance
    once in p times."""
    mask = uniform(x, x.shape)
    return multiply(mask, bind("inverse", multiply(x, mask), matrix=False))


def over(x: Array, numbers: Any) -> Array:
    """x / numbers in the field for public integers; local. Raises ZeroDivisionError, and Singular for a multiple of a prime."""
    plain = np.asarray(numbers)
    if plain.dtype.kind not in "iuO":
        raise TypeMismatch(f"a field is divided by integers, not by {plain.dtype} (at {user_line()}): 2/3 x is x * 2 / 3")
    if np.any(plain == 0):
        raise ZeroDivisionError(f"division by a public zero at {user_line()}")
    inverses = np.asarray(np.frompyfunc(lambda v: Fraction(1, int(v)), 1, 1)(plain), object)
    return bind("mul", x, whole(inverses, scope_of(x)), bits=0, rounding="dither")  # type: ignore[no-any-return]


def divide(x: Any, y: Any) -> Array:
    """x / y in the field: by public integers local, by a secret as `reciprocal` does."""
    return multiply(x, reciprocal(y)) if isinstance(y, Array) else over(x, y)
