"""Cholesky and QR factors, and what follows from them: linear systems, inverses, determinants, least squares.

Rounds grow with the number of columns (about 30 a column), not with the rows. Relative errors are about 2^-22 times the
condition number, in 128 bits 2^-44; a singular matrix gives finite nonsense, since nobody can see that it is singular.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..errors import ShapeMismatch, UsageError
from ..ir.trace import user_line
from ..ir.types import DType
from ..lang import core, manipulation, views
from ..lang.array import Array, implements, scope_of
from ..lang.core import add, astype, less, matmul, multiply, subtract
from ..lang.creation import triu, zeros_like
from ..lang.elementwise import absolute
from ..lang.field import of_field
from ..lang.manipulation import diagonal, flip, matrix_transpose
from ..lang.reductions import prod
from ..lang.views import expand_dims, getitem
from ..lang.wide import log, reciprocal
from .exact import field_det, field_solve
from .scaling import (
    at_bits,
    column,
    fine,
    gram,
    here,
    inverse_near_one,
    inverse_root,
    largest,
    loop,
    matrix,
    onward,
    power_scale,
    quotient,
    real,
    row,
    secret,
    wide_sqrt,
    working,
)


# ---- positive definite: Cholesky ----
class _Factor(NamedTuple):
    """A = D^-1 L L^T D^-1 with D = diag(down), D^-1 = diag(up) powers of two; `inverse`: 1 / diag(L)."""

    lower: Array
    inverse: Array
    down: Array
    up: Array


def _factor(a: Array) -> _Factor:
    """Column by column on the matrix scaled to a diagonal in [1/4, 1)."""
    n = a.shape[-1]
    down, up = power_scale(diagonal(a, 0, -2, -1), root=2)
    a = working(multiply(multiply(fine(a), column(down)), row(down)))

    def step(j: Any, carry: Any) -> Any:
        a, lower, inverse = carry
        r = inverse_root(getitem(a, (..., j, j)))
        l = multiply(multiply(getitem(a, (..., slice(None), j)), onward(j, n)), expand_dims(r, -1))
        place = here(j, n)
        return (
            subtract(a, matmul(column(l), row(l))),
            add(lower, multiply(column(l), _public_row(place))),
            add(inverse, multiply(expand_dims(r, -1), place)),
        )

    zero = zeros_like(a)
    _, lower, inverse = loop(n, step, (a, zero, getitem(zero, (..., 0, slice(None)))))
    return _Factor(lower, inverse, down, up)


def _public_row(place: Any) -> Any:
    return row(place) if isinstance(place, Array) else place[None, :]


def _public_column(place: Any) -> Any:
    return column(place) if isinstance(place, Array) else place[:, None]


def _forward(lower: Array, inverse: Array, b: Array) -> Array:
    """x with lower x = b, where 1 / diag(lower) is known. 4 rounds a row."""
    n = lower.shape[-1]

    def step(i: Any, x: Array) -> Array:
        rest = subtract(row(getitem(b, (..., i, slice(None)))), matmul(row(getitem(lower, (..., i, slice(None)))), x))
        value = multiply(rest, column(expand_dims(getitem(inverse, (..., i)), -1)))
        return add(x, multiply(_public_column(here(i, n)), value))

    return loop(n, step, zeros_like(b))  # type: ignore[no-any-return]


def _backward(upper: Array, inverse: Array, b: Array) -> Array:
    """x with upper x = b."""
    return flip(_forward(flip(upper, (-2, -1)), flip(inverse, -1), flip(b, -2)), -2)


def _solve_factored(f: _Factor, b: Array) -> Array:
    """(L L^T)^-1 b in the scaled coordinates."""
    return _backward(matrix_transpose(f.lower), f.inverse, _forward(f.lower, f.inverse, b))


@implements("linalg.cholesky")
def cholesky(a: Array, upper: bool = False) -> Array:
    """Lower triangular L with L L^T = a, for symmetric positive definite a with a diagonal below 2^34 (in 128 bits 2^64)."""
    a = matrix(a, square=True)
    f = _factor(a)
    lower = astype(multiply(f.lower, column(f.up)), a.dtype)
    return matrix_transpose(lower) if upper else lower


# ---- any matrix: Householder reflections ----
class _Triangle(NamedTuple):
    """R of a scaled matrix A D, what became of the right-hand sides, the reflections I - w beta w^T, 1 / diag(R)."""

    r: Array
    b: Array | None
    w: Array
    beta: Array
    inverse: Array
    down: Array
    up: Array


def _triangle(a: Array, b: Array | None, steps: int) -> _Triangle:
    """Reflects column after column to a multiple of a unit vector. Columns are scaled to norms below 1."""
    m, n = a.shape[-2:]
    down, up = power_scale(largest(a, -2), extra=int(np.ceil(np.log2(m) / 2)))
    a = working(multiply(fine(a), row(down)))
    whole = a if b is None else manipulation.concatenate([a, b], -1)

    def step(j: Any, carry: Any) -> Any:
        whole, ws, betas, inverse = carry
        x = multiply(getitem(whole, (..., slice(None), j)), onward(j, m))
        # squares of small columns need more bits than the columns have
        square = getitem(at_bits("matmul", row(x), column(x), x.dtype.fraction + 12), (..., 0, 0))
        r = expand_dims(inverse_root(square), -1)
        sign = subtract(1, multiply(less(getitem(x, (..., j)), 0), 2))
        w = multiply(x, r)
        beta = expand_dims(inverse_near_one(add(multiply(getitem(w, (..., j)), sign), 1)), -1)
        sign = expand_dims(sign, -1)
        w = add(w, multiply(sign, here(j, m)))
        change = matmul(column(w), multiply(matmul(row(w), whole), column(beta)))
        place = here(j, n)
        return (
            subtract(whole, change),
            add(ws, multiply(column(w), _public_row(place))),
            add(betas, multiply(beta, place)),
            subtract(inverse, multiply(multiply(r, sign), place)),
        )

    zero = zeros_like(a)
    vector = getitem(zero, (..., 0, slice(None)))
    whole, w, beta, inverse = loop(steps, step, (whole, zero, vector, vector))
    return _Triangle(
        triu(getitem(whole, (..., slice(0, n)))),
        None if b is None else getitem(whole, (..., slice(n, None))),
        w,
        beta,
        inverse,
        down,
        up,
    )


@implements("linalg.qr")
def qr(a: Array, mode: str = "reduced") -> tuple[Array, Array]:
    """(Q, R) with Q R = a: Q (m, k) with orthonormal columns, R (k, n) upper triangular; k = min(m, n), or m if "complete"."""
    if mode not in ("reduced", "complete"):
        raise UsageError(f"qr mode {mode!r}: choose reduced or complete (at {user_line()})")
    a = matrix(a)
    m, n = a.shape[-2:]
    t = _triangle(a, None, min(m - 1, n))
    k = min(m, n) if mode == "reduced" else m
    steps = min(m - 1, n)

    def step(i: Any, q: Array) -> Array:
        j = subtract(steps - 1, i) if isinstance(i, Array) else steps - 1 - i
        w = getitem(t.w, (..., slice(None), j))
        beta = column(expand_dims(getitem(t.beta, (..., j)), -1))
        return subtract(q, matmul(column(w), multiply(matmul(row(w), q), beta)))

    eye = getitem(secret(np.eye(m), t.r), (..., slice(0, k)))
    q = loop(steps, step, eye)
    r = getitem(multiply(t.r, row(t.up)), (..., slice(0, k), slice(None)))
    return astype(q, a.dtype), astype(r, a.dtype)


# ---- linear systems ----
@implements("linalg.solve")
def solve(a: Array, b: Any, assume_a: str = "gen") -> Array:
    """x with a x = b; b is a vector or a matrix of columns. assume_a="pos": a is symmetric positive definite, which is cheaper.

    Entries of a below 2^13 ("pos": below 2^34 on the diagonal), of x below 2^(37 - f); in 128 bits 2^32, 2^64, 2^(79 - f).
    About 40 n rounds ("pos": 29 n). In a field exact, in 4 rounds (`exact.field_solve`).
    """
    if assume_a not in ("gen", "pos"):
        raise UsageError(f"solve assume_a={assume_a!r}: choose gen or pos (at {user_line()})")
    if of_field(a):
        return field_solve(a, b)
    a = matrix(a, square=True)
    b = real(b) if isinstance(b, Array) else np.asarray(b, float)
    vector = b.ndim == 1
    b = b[:, None] if vector else b
    if b.shape[-2] != a.shape[-1]:
        raise ShapeMismatch(f"solve of shapes {a.shape} and {b.shape} (at {user_line()})")
    b = b if isinstance(b, Array) else secret(b, a)
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = (views.broadcast_to(v, (*batch, *v.shape[-2:])) for v in (a, b))
    down, up = power_scale(largest(b, -2))
    b = working(multiply(fine(b), row(down)))
    if assume_a == "pos":
        f = _factor(a)
        x = _unscaled(_solve_factored(f, multiply(b, column(f.down))), f.down, up, a.dtype)
    else:
        t = _triangle(a, b, a.shape[-1])
        assert t.b is not None
        x = _unscaled(_backward(t.r, t.inverse, t.b), t.down, up, a.dtype)
    return getitem(x, (..., 0)) if vector else x


def _unscaled(x: Array, down: Array, up: Array, dtype: DType) -> Array:
    """x in the units of the problem: one factor for both scales, since a small one by itself would cost bits of x."""
    return astype(multiply(x, astype(multiply(column(down), row(up)), dtype)), dtype)


@implements("linalg.inv")
def inv(a: Array, assume_a: str = "gen") -> Array:
    """The inverse of a square matrix: `solve` with the identity."""
    return solve(a, np.eye(a.shape[-1], dtype=np.int64 if of_field(a) else float), assume_a)


@implements("linalg.det")
def det(a: Array) -> Array:
    """Determinant: the product of R's diagonal, which must fit, like the product of the columns' sizes. In a field exact
    (`exact.field_det`)."""
    if of_field(a):
        return field_det(a)
    sign, factors = _diagonal_of(matrix(a, square=True))
    return multiply(prod(factors, -1), sign)


@implements("linalg.slogdet")
def slogdet(a: Array) -> tuple[Array, Array]:
    """(sign, logarithm of the absolute value) of the determinant: error below n 2^-14, for |R_ii| from 2^-f to 2^15."""
    _, factors = _diagonal_of(matrix(a, square=True))
    negative = less(factors, 0)
    size = core.sum(log(absolute(factors)), -1)
    flips = -1 if (a.shape[-1] - 1) % 2 else 1
    return multiply(prod(subtract(1, multiply(negative, 2)), -1), flips), size


def _diagonal_of(a: Array) -> tuple[int, Array]:
    """(determinant of Q, diagonal of R) for a = Q R: every reflection changes the sign once."""
    n = a.shape[-1]
    t = _triangle(a, None, n - 1)
    return -1 if (n - 1) % 2 else 1, astype(multiply(diagonal(t.r, 0, -2, -1), t.up), a.dtype)


# ---- least squares ----
@implements("linalg.lstsq")
def lstsq(a: Array, b: Any, rcond: Any = None) -> Array:
    """x that minimises |a x - b|, by the normal equations: for tall matrices whose columns are independent, sums of squares
    of a and b below 2^(61 - 2f), relative error about 2^-22 cond(a)^2. Returns x alone.
    """
    a = matrix(a)
    b = real(b) if isinstance(b, Array) else core.as_array(np.asarray(b, float), a.dtype, scope_of(a))
    right = column(b) if b.ndim == 1 else b
    x = astype(solve(gram(a, a), gram(a, right), assume_a="pos"), a.dtype)
    return getitem(x, (..., 0)) if b.ndim == 1 else x


class Fit(NamedTuple):
    """An ordinary least squares fit: per coefficient the estimate, its standard error, and their quotient."""

    coefficients: Array
    errors: Array
    t: Array


def ols(x: Array, y: Array, intercept: bool = True) -> Fit:
    """Regression of y (m) on the columns of x (m, n), m > n + 1; the intercept comes first.

    Computed on centred data in scaled units, so means and units do not matter while sums of squares around the means
    (around 0 without intercept) stay below 2^(61 - 2f).
    """
    x, y = matrix(x), real(y)
    m, n = x.shape
    means, middle = core.mean(x, 0), core.mean(y)
    if intercept:
        x, y = subtract(x, means), subtract(y, middle)
    f = _factor(gram(x, x))
    target = gram(x, column(y))
    down, up = power_scale(largest(target, -2))
    scaled = multiply(working(multiply(target, row(down))), column(f.down))
    inverse = _solve_factored(f, secret(np.eye(n), f.lower))
    solution = matmul(inverse, scaled)  # in units of which the columns have norms from 1/2 to 1
    beta = getitem(_unscaled(solution, f.down, up, x.dtype), (..., 0))
    residual = subtract(y, matmul(x, beta))
    deviation = working(wide_sqrt(multiply(core.sum(core.square(residual)), 1 / (m - n - intercept))))
    unit = multiply(getitem(solution, (..., 0)), up)
    root = multiply(wide_sqrt(diagonal(inverse)), deviation)  # root by root: a product of variances may leave the domain
    errors = astype(multiply(root, f.down), x.dtype)
    t = astype(quotient(unit, root), x.dtype)
    if intercept:
        centre = multiply(means, f.down)
        spread = add(getitem(matmul(row(centre), matmul(inverse, column(centre))), (0, 0)), 1 / m)
        first = subtract(middle, core.sum(multiply(means, beta)))
        error = multiply(wide_sqrt(spread), deviation)
        beta, errors, t = (
            manipulation.concatenate([views.reshape(a, 1), b])
            for a, b in ((first, beta), (astype(error, x.dtype), errors), (astype(quotient(first, error), x.dtype), t))
        )
    return Fit(beta, errors, t)


def cg(a: Array, b: Array, iterations: int | None = None) -> Array:
    """x with a x = b for a symmetric positive definite matrix, by conjugate gradients.

    About 37 rounds an iteration (2 n by default), each one product of the matrix with a vector: cheaper than `solve` if few do.
    """
    a, b = matrix(a, square=True), real(b)
    scale, _ = power_scale(diagonal(a, 0, -2, -1), root=2)
    down, up = power_scale(largest(multiply(fine(b), scale), -1))
    a_scaled = working(multiply(multiply(fine(a), column(scale)), row(scale)))
    r = working(multiply(multiply(multiply(fine(b), scale), down), 16))  # squares of small residuals need bits

    bits = r.dtype.fraction + 8

    def square(u: Array, v: Array) -> Array:
        return getitem(at_bits("matmul", row(u), column(v), bits), (0, 0))

    def ratio(u: Array, v: Array) -> Array:
        # where nothing is left to divide, a step too short rather than one by chance
        return working(multiply(u, astype(reciprocal(add(v, 2.0 ** (4 - bits))), DType("fixed", bits - 14))))

    def step(i: Any, carry: Any) -> Any:
        x, r, p, rr = carry
        ap = matmul(a_scaled, p)
        alpha = ratio(rr, square(p, ap))
        x, r = add(x, multiply(p, alpha)), subtract(r, multiply(ap, alpha))
        new = square(r, r)
        beta = ratio(new, rr)
        return x, r, add(r, multiply(p, beta)), new

    x, *_ = loop(iterations or 2 * b.shape[0], step, (zeros_like(r), r, r, square(r, r)))
    return astype(multiply(multiply(multiply(x, 1 / 16), scale), up), b.dtype)
