"""Eigenvalues and singular values by Jacobi rotations, and what follows from them: norms, pseudo-inverse, rank, principal axes.

Every step rotates n / 2 disjoint pairs of columns at once and moves the columns on, so that n - 1 steps meet every pair
(Brent and Luk, SIAM J. Sci. Stat. Comput. 6, 1985). The steps are alike, so the whole is one loop. About 30 rounds a step.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..errors import ShapeMismatch, UsageError
from ..ir.trace import user_line
from ..ir.types import DType, fixed64
from ..lang import core, views
from ..lang.array import Array, Axis, implements
from ..lang.core import add, astype, less, matmul, multiply, subtract
from ..lang.creation import zeros_like
from ..lang.elementwise import absolute, max, min, smooth
from ..lang.field import of_field
from ..lang.function import fori
from ..lang.manipulation import concatenate, diagonal, flip, matrix_transpose, moveaxis, swapaxes
from ..lang.piecewise import Curve
from ..lang.views import getitem, reshape
from ..lang.wide import WORK, reciprocal, rsqrt
from .scaling import (
    at_bits,
    column,
    fine,
    inverse_root,
    largest,
    matrix,
    power_scale,
    ranks,
    real,
    refined,
    row,
    secret,
    sorted_by,
    wide_sqrt,
    working,
)
from .solvers import inv

SWEEPS = 8  # 6 are enough up to about 10 columns; convergence is quadratic at the end
MOST = 64  # columns: squares of differences of eigenvalues must fit
ROOT = Curve(lambda v: v**-0.5, 0.9, 4.3, 2.0**-17)


# ---- rotations ----
def _turn(d: Array, e: Array) -> tuple[Array, Array]:
    """(cos, sin) of the angles with tan 2t = e / d, |t| <= 45 degrees; d and e up to 2 n. Where both are tiny, some rotation.

    Any angle keeps matrices similar, so only the normalisation is computed to full precision.
    """
    coarse, bits = (fixed64(20), 36) if d.dtype.bits <= 64 else (fixed64(40), 60)
    d, e = astype(d, coarse), astype(e, coarse)
    size = add(at_bits("mul", d, d, bits), at_bits("mul", e, e, bits))
    unit = rsqrt(add(size, 2.0 ** (6 - bits)))
    d, e = (working(multiply(v, unit)) for v in (d, e))
    sign = subtract(1, multiply(less(d, 0), 2))
    c, s = add(multiply(d, sign), 1), multiply(e, sign)
    square = add(core.square(c), core.square(s))
    half = multiply(square, 0.5)
    r = refined(smooth(astype(square, WORK), ROOT), lambda r: multiply(r, subtract(1.5, multiply(multiply(half, r), r))))
    return multiply(c, r), multiply(s, r)


def _rotation(c: Array, s: Array) -> Array:
    """The matrix that turns column k by [c, s; -s, c] with column k + n/2."""
    eye = np.eye(c.shape[-1], dtype=np.int64)
    c, s = multiply(column(c), eye), multiply(column(s), eye)
    return concatenate([concatenate([c, s], -1), concatenate([core.negative(s), c], -1)], -2)


def _onward(n: int) -> np.ndarray:
    """Where the columns at places 0 .. n-1 come from after a step: a round robin that leaves place 0."""
    half = n // 2
    top, bottom = list(range(half)), list(range(half, n))
    return np.array([top[0], *bottom[:1], *top[1:-1], *bottom[1:], top[-1]] if half > 1 else [0, 1])


def _even(x: Array, axes: tuple[int, ...]) -> Array:
    """x with one more zero place along these axes, if their length is odd."""
    for axis in axes:
        if x.shape[axis] % 2:
            extra = multiply(swapaxes(swapaxes(x, 0, axis)[:1], 0, axis), 0)
            x = concatenate([x, extra], axis)
    return x


def _without_extra(n: int, steps: int, move: np.ndarray) -> np.ndarray:
    """The places that hold real columns after the loop, when the last one was added."""
    places = np.arange(len(move))
    for _ in range(steps % (len(move) - 1)):
        places = places[move]
    return np.flatnonzero(places < n)


def _check(n: int) -> None:
    if n > MOST:
        raise ShapeMismatch(f"Jacobi rotations of {n} columns: at most {MOST} (at {user_line()})")


# ---- symmetric matrices ----
class Eigen(NamedTuple):
    eigenvalues: Array
    eigenvectors: Array


@implements("linalg.eigh")
def eigh(a: Array, sweeps: int = SWEEPS) -> Eigen:
    """(eigenvalues ascending (..., n), eigenvectors as columns) of symmetric matrices of up to 64 columns.

    Absolute error about 2^-20 (in 128 bits 2^-40) of the largest entry times sqrt(n); vectors of equal eigenvalues are some
    orthonormal basis.
    """
    a = matrix(a, square=True)
    n = a.shape[-1]
    _check(n)
    if n == 1:
        return Eigen(getitem(a, (..., 0)), add(zeros_like(a), 1))
    precise = DType("fixed", (a.dtype.bits - 4 - math.ceil(math.log2(n))) // 2)  # products of numbers up to n fit
    down, up = power_scale(largest(a, (-2, -1)))
    b = astype(multiply(fine(a), _scalar(down)), precise)
    b = _even(b, (-1, -2))
    size = b.shape[-1]
    half, move = size // 2, _onward(size)

    def step(i: Any, carry: Any) -> Any:
        b, v = carry
        on = diagonal(b, 0, -2, -1)
        off = diagonal(getitem(b, (..., slice(0, half), slice(half, size))), 0, -2, -1)
        c, s = _turn(subtract(on[..., half:], on[..., :half]), multiply(off, 2))
        j = astype(_rotation(c, s), precise)
        b, v = matmul(matmul(matrix_transpose(j), b), j), matmul(v, j)
        return getitem(b, (..., move[:, None], move)), getitem(v, (..., move))

    steps = sweeps * (size - 1)
    b, v = fori(0, steps, step, (b, astype(secret(np.eye(size), b), precise)))
    real_ones = _without_extra(n, steps, move)
    values = getitem(diagonal(b, 0, -2, -1), (..., real_ones))
    vectors = getitem(v, (..., slice(0, n), real_ones))
    both = concatenate([row(multiply(values, views.expand_dims(up, -1))), vectors], -2)
    (both,) = sorted_by(ranks(values), both)
    both = astype(both, a.dtype)
    return Eigen(getitem(both, (..., 0, slice(None))), getitem(both, (..., slice(1, None), slice(None))))


def _scalar(x: Array) -> Array:
    """A number of every matrix of a stack, to be multiplied with the matrix."""
    return reshape(x, (*x.shape, 1, 1))


@implements("linalg.eigvalsh")
def eigvalsh(a: Array) -> Array:
    """Eigenvalues of symmetric matrices, ascending; see `eigh`."""
    return eigh(a).eigenvalues


# ---- any matrix ----
@implements("linalg.svd")
def svd(a: Array, full_matrices: bool = False, compute_uv: bool = True, sweeps: int = SWEEPS) -> Any:
    """(U (m, k), singular values descending (k), V^T (k, n)) with U diag(s) V^T = a, k = min(m, n) <= 64.

    Only the reduced form. Values below about 2^-10 (in 128 bits 2^-24) of the largest are not resolved. NumPy's and the
    standard's `full_matrices=True` is refused for matrices that are not square.
    """
    a = matrix(a)
    m, n = a.shape[-2:]
    if full_matrices and m != n:
        raise UsageError(f"svd of a {m} x {n} matrix is given in reduced form: full_matrices=False (at {user_line()})")
    if m < n:
        u, s, vt = svd(matrix_transpose(a), sweeps=sweeps)
        return (matrix_transpose(vt), s, matrix_transpose(u)) if compute_uv else s
    _check(n)
    down, up = power_scale(largest(a, (-2, -1)), extra=math.ceil(math.log2(m) / 2))
    b = multiply(fine(a), _scalar(down))
    b = _even(working(b), (-1,))
    size = b.shape[-1]
    half, move = size // 2, _onward(size)

    def step(i: Any, carry: Any) -> Any:
        b, v = carry
        left, right = matrix_transpose(b)[..., :half, :], matrix_transpose(b)[..., half:, :]
        bits = b.dtype.fraction + 16
        products = [core.sum(at_bits("mul", x, y, bits), -1) for x, y in ((left, left), (right, right), (left, right))]
        # a cosine of small columns is as good as that of large ones
        c, s = _turn_small(subtract(products[1], products[0]), multiply(products[2], 2))
        j = _rotation(c, s)
        return getitem(matmul(b, j), (..., move)), getitem(matmul(v, j), (..., move))

    steps = sweeps * (size - 1) if size > 2 else sweeps
    b, v = fori(0, steps, step, (b, secret(np.eye(size), b)))
    real_ones = _without_extra(n, steps, move)
    b, v = getitem(b, (..., real_ones)), getitem(v, (..., slice(0, n), real_ones))
    bits = b.dtype.fraction + 12
    square = core.sum(at_bits("mul", b, b, bits), -2)
    inverse = inverse_root(add(square, 2.0**-bits))
    values = working(multiply(square, inverse))
    (both,) = sorted_by(ranks(core.negative(values)), concatenate([multiply(b, row(inverse)), v, row(values)], -2))
    u, v, s = (getitem(both, (..., k, slice(None))) for k in (slice(0, m), slice(m, m + n), -1))
    s = astype(multiply(s, views.expand_dims(up, -1)), a.dtype)
    return (astype(u, a.dtype), s, matrix_transpose(astype(v, a.dtype))) if compute_uv else s


def _turn_small(d: Array, e: Array) -> tuple[Array, Array]:
    """`_turn` for inner products of columns, where d and e have 16 bits more than they and are below 2."""
    scale, _ = power_scale(add(absolute(d), add(absolute(e), 2.0 ** (10 - d.dtype.fraction))))
    d, e = (working(multiply(v, scale)) for v in (d, e))
    return _turn(d, e)


@implements("linalg.svdvals")
def svdvals(a: Array) -> Array:
    """Singular values, descending; see `svd`."""
    return svd(a, compute_uv=False)  # type: ignore[no-any-return]


@implements("linalg.pinv")
def pinv(a: Array, rcond: float = 2.0**-10) -> Array:
    """Moore-Penrose inverse; singular values below rcond times the largest count as 0."""
    u, s, vt = svd(a)
    keep = core.greater(s, multiply(getitem(s, (..., slice(0, 1))), rcond))
    inverse = core.where(keep, reciprocal(s), 0)
    return matmul(multiply(matrix_transpose(vt), row(inverse)), matrix_transpose(u))


@implements("linalg.matrix_rank")
def matrix_rank(a: Array, rtol: float = 2.0**-10) -> Array:
    """How many singular values exceed rtol times the largest; int64."""
    s = svdvals(a)
    return core.sum(core.greater(s, multiply(getitem(s, (..., slice(0, 1))), rtol)), -1)


@implements("linalg.cond")
def cond(a: Array) -> Array:
    """Largest over smallest singular value."""
    s = svdvals(a)
    return multiply(getitem(s, (..., 0)), reciprocal(getitem(s, (..., -1))))


@implements("linalg.matrix_power")
def matrix_power(a: Array, n: int) -> Array:
    """a to a public whole power, by repeated squaring; negative powers through `inv`."""
    a = matrix(a, square=True) if (n < 0 and not of_field(a)) or a.dtype.kind == "fixed" else a
    if n < 0:
        return matrix_power(inv(a), -n)
    result: Array | None = None
    power = a
    while n:
        if n & 1:
            result = power if result is None else matmul(result, power)
        n >>= 1
        power = matmul(power, power) if n else power
    return result if result is not None else add(zeros_like(a), np.eye(a.shape[-1], dtype=np.int64))


# ---- norms ----
@implements("linalg.vector_norm")
def vector_norm(x: Array, axis: Axis = None, keepdims: bool = False, ord: float = 2) -> Array:
    """Norms over axes: ord 2, 1, inf, -inf or 0 (how many are not 0). The sum of squares must fit, < 2^(61 - 2f)."""
    if ord == 2:
        return wide_sqrt(core.sum(core.square(real(x)), axis, keepdims))
    if ord == 1:
        return core.sum(absolute(x), axis, keepdims)
    if ord == 0:
        return core.sum(core.not_equal(x, 0), axis, keepdims)
    if ord in (math.inf, -math.inf):
        return (max if ord > 0 else min)(absolute(x), axis, keepdims)
    raise UsageError(f"vector norm of order {ord}: choose 2, 1, 0, inf or -inf (at {user_line()})")


@implements("linalg.matrix_norm")
def matrix_norm(x: Array, keepdims: bool = False, ord: Any = "fro") -> Array:
    """Norms of matrices: "fro", "nuc", 2, -2 (by singular values), 1, -1, inf, -inf."""
    if ord in (None, "fro"):
        return vector_norm(x, (-2, -1), keepdims)
    if ord in ("nuc", 2, -2):
        s = svdvals(x)
        y = core.sum(s, -1) if ord == "nuc" else getitem(s, (..., 0 if ord == 2 else -1))
    elif ord in (1, -1, math.inf, -math.inf):
        sums = core.sum(absolute(x), -2 if abs(ord) == 1 else -1)
        y = (max if ord > 0 else min)(sums, -1)
    else:
        raise UsageError(f"matrix norm of order {ord!r}: choose fro, nuc, 2, -2, 1, -1, inf or -inf (at {user_line()})")
    return _scalar(y) if keepdims else y


@implements("linalg.norm")
def norm(x: Array, ord: Any = None, axis: Axis = None, keepdims: bool = False) -> Array:
    """NumPy's norm: of vectors over one axis, of matrices over two, of all elements by default."""
    if axis is None and (ord is None or x.ndim == 1):
        return vector_norm(x, None, keepdims, 2 if ord is None else ord)
    axes = (0, 1) if axis is None else (axis,) if isinstance(axis, int) else axis
    if len(axes) == 1:
        return vector_norm(x, axes, keepdims, 2 if ord is None else ord)
    y = matrix_norm(moveaxis(x, axes, (-2, -1)), keepdims, ord)
    return moveaxis(y, (-2, -1), axes) if keepdims else y


# ---- statistics ----
@implements("cov")
def cov(x: Array, rowvar: bool = True, ddof: int = 1) -> Array:
    """Covariance matrix of the rows of x (of its columns if not rowvar); sums of squares must fit, < 2^(61 - 2f)."""
    x = real(matrix_transpose(x) if rowvar else x)
    centred = subtract(x, core.mean(x, 0, keepdims=True))
    return astype(multiply(matmul(matrix_transpose(centred), centred), 1 / (x.shape[0] - ddof)), x.dtype)


@implements("corrcoef")
def corrcoef(x: Array, rowvar: bool = True) -> Array:
    """Correlation matrix of the rows of x (of its columns if not rowvar)."""
    x = real(matrix_transpose(x) if rowvar else x)
    centred = subtract(x, core.mean(x, 0, keepdims=True))
    square = at_bits("matmul", matrix_transpose(centred), centred, x.dtype.fraction + 8)
    down, _ = power_scale(diagonal(square), root=2)
    unit = working(multiply(multiply(square, column(down)), row(down)))
    r = inverse_root(diagonal(unit))
    return astype(multiply(multiply(unit, column(r)), row(r)), x.dtype)


class Components(NamedTuple):
    """Principal components: `axes` (k, n) as rows, variances along them (k), the mean (n), the data's coordinates (m, k)."""

    axes: Array
    variances: Array
    mean: Array
    scores: Array


def pca(x: Array, components: int) -> Components:
    """The directions of largest variance of the rows of x (m, n), n <= 64. Signs of axes are arbitrary."""
    x = matrix(x)
    mean = core.mean(x, 0)
    centred = subtract(x, mean)
    square = at_bits("matmul", matrix_transpose(centred), centred, x.dtype.fraction + 8)
    values, vectors = eigh(multiply(square, 1 / (x.shape[0] - 1)))
    top = astype(flip(vectors, 1)[:, :components], x.dtype)
    return Components(views.transpose(top), astype(flip(values)[:components], x.dtype), mean, matmul(centred, top))
