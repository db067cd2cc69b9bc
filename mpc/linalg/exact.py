"""Exact linear algebra in prime fields, and on integers of any size: solutions as fractions, determinants as integers.

A secret matrix A is inverted under masks: for uniformly random secret matrices L and R the product L A R is opened, which is
uniform among the matrices of A's rank, and R (L A R)^-1 L = 1 / A. (Bar-Ilan, Beaver, Non-cryptographic fault-tolerant
computing in constant number of rounds, PODC 1989, with one mask; then a singular A would show what its columns span.)

Results on integers are computed modulo primes whose product is larger than any result can be (`exact_field`). What is revealed
is a function of the true result alone, whether that is as small as declared or not, so a wrong bound costs the result and
nothing else becomes known.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ..errors import RangeError, ShapeMismatch, UsageError
from ..ir.trace import user_line
from ..ir.types import DType, field
from ..lang.array import Array, bind
from ..lang.core import add, matmul, multiply
from ..lang.core import sum as sum_of
from ..lang.field import over, uniform
from ..lang.manipulation import diagonal, matrix_transpose
from ..lang.views import expand_dims, getitem
from .rational import fraction_bounds, hadamard, primes_above, rational

To = int | str | Sequence[int | str] | None


# ---- in the field: what `solve`, `inv` and `det` mean there ----
def field_solve(a: Array, b: Any) -> Array:
    """x with a x = b for square a; b is a vector or a matrix of columns, secret or public. 4 rounds, whatever the size.

    Those who compute learn the rank of a singular a, and raise Singular; a regular one raises it by chance 2 in p times.
    """
    _square("solve", a)
    b = b if isinstance(b, Array) else np.asarray(b)
    if b.ndim == 1:
        return getitem(field_solve(a, expand_dims(b, 1) if isinstance(b, Array) else b[:, None]), (..., 0))
    if b.shape[-2] != a.shape[-1]:
        raise ShapeMismatch(f"solve of shapes {a.shape} and {b.shape} (at {user_line()})")
    left, right = uniform(a, a.shape), uniform(a, a.shape)
    opened = bind("inverse", matmul(matmul(left, a), right), matrix=True)
    return matmul(right, matmul(opened, matmul(left, b)))


def field_det(a: Array) -> Array:
    """The determinant by Faddeev and LeVerrier: n - 1 rounds and matrix products. Nothing is opened, whatever the rank.

    With M_1 = 1 and M_{k+1} = a M_k + c_k, c_k = -trace(a M_k) / k, the characteristic polynomial of a is
    x^n + c_1 x^(n-1) + ... + c_n. Divides by 1 .. n: every prime of a field is larger.
    """
    n, product = _square("det", a).shape[-1], a
    m: Any = None
    for k in range(1, n):
        trace = sum_of(diagonal(product, 0, -2, -1), -1)
        m = add(product, multiply(expand_dims(over(trace, -k), (-2, -1)), np.eye(n, dtype=np.int64)))
        product = matmul(a, m) if k < n - 1 else product
    if n == 1:
        return getitem(a, (..., 0, 0))
    last = sum_of(multiply(a, matrix_transpose(m)), (-2, -1))
    return over(last, n if n % 2 else -n)


def _square(name: str, a: Array) -> Array:
    if a.ndim < 2 or a.shape[-1] != a.shape[-2] or not a.shape[-1]:
        raise ShapeMismatch(f"{name} of shape {a.shape}: square matrices are the last two axes (at {user_line()})")
    return a


# ---- on integers ----
def exact_field(n: int, bound: int, right: int | None = None) -> DType:
    """The field for `exact_solve` and `exact_det` of n x n matrices with |entries| <= bound, right sides |b| <= `right`
    (`bound` by default): primes for the largest solution that Hadamard's inequality allows, some n log2(n bound^2) bits.

    with mpc.local(3, dtype=mpc.linalg.exact_field(8, 10**6)) as s:
        x = mpc.linalg.exact_solve(s.input(A, owner=0), s.input(b, owner=1), 10**6)
    """
    if n < 1 or bound < 1 or (right is not None and right < 1):
        raise UsageError(f"exact_field({n}, {bound}, {right}): sizes and bounds are positive")
    numerator, denominator = fraction_bounds(n, bound, right)
    return field(*primes_above(2 * numerator * denominator))


def exact_det(a: Array, bound: int, to: To = None) -> Any:
    """The determinant of an integer matrix with |entries| <= bound, revealed to the parties `to` (everyone by default).

    a: (n, n) in a session of `exact_field`; a Python int. Of (..., n, n) an array of them. n rounds; nothing else is opened.
    Raises RangeError for a field that is too small, or if the result shows that an entry exceeds its bound. A result that is
    wrong for a wrong bound need not show.
    """
    most = hadamard(_square("exact_det", a).shape[-1], bound)
    _large_enough("exact_det", a, 2 * most, bound, None)
    found = np.asarray(field_det(a).reveal(to), object)
    if np.any(np.abs(found) > most):
        raise RangeError(f"a determinant exceeds what entries up to {bound} allow: one is larger than was declared")
    return found if found.ndim else int(found.item())


def exact_solve(a: Array, b: Any, bound: int, right: int | None = None, to: To = None) -> np.ndarray:
    """The solution of a x = b for integers |a| <= bound and |b| <= `right` (`bound` by default), revealed to the parties `to`
    (everyone by default): an array of `fractions.Fraction` of x's shape. In a program see `fractions`.

    a: (..., n, n), b: (..., n, k) or (n), in a session of `exact_field`. 5 rounds. Raises Singular if a has no inverse (those
    who compute learn its rank then), RangeError for a field that is too small, or if the result shows that an entry exceeds
    its bound.
    """
    n = _square("exact_solve", a).shape[-1]
    numerator, denominator = fraction_bounds(n, bound, right)
    _large_enough("exact_solve", a, 2 * numerator * denominator, bound, right)
    return fractions(field_solve(a, b).reveal(to), a.dtype, n, bound, right)


def fractions(residues: Any, field: DType, n: int, bound: int, right: int | None = None) -> np.ndarray:
    """What `solve` of n x n integers with |entries| <= bound has given in a field, as `fractions.Fraction`: public numbers, for
    those who receive the result of a program.

        def main(a: mpc.Input("bank"), b: mpc.Input("fund")) -> mpc.Output("fund", name="x"):
            return mpc.linalg.solve(a, b)                    # with `primes` of exact_field(n, bound) in the configuration

    residues: integers, or texts of them as the files of `mpc run --output` hold. Raises RangeError as `exact_solve` does.
    """
    numerator, denominator = fraction_bounds(n, bound, right)
    found, modulus = np.asarray(residues), prod(field.primes)
    out = np.empty(found.shape, object)
    for place in np.ndindex(found.shape):
        out[place] = rational(int(found[place]), modulus, numerator, denominator)
    return out


def _large_enough(name: str, a: Array, size: int, bound: int, right: int | None) -> int:
    """The product of the field's primes, if it is larger than `size`."""
    modulus, n = prod(a.dtype.primes), a.shape[-1]
    if modulus <= size:
        arguments = ", ".join(str(v) for v in (n, bound, right) if v is not None)
        raise RangeError(
            f"{name} of {a.dtype} at {user_line()}: results of {n} x {n} integers up to {bound} take {size.bit_length()} bits. "
            f"Open the session with dtype=mpc.linalg.exact_field({arguments})."
        )
    return modulus
