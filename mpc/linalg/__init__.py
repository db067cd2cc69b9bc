"""Linear algebra on secret matrices, written in the language. Names and meanings are those of `numpy.linalg`."""

from ..lang.core import matmul
from ..lang.manipulation import matrix_transpose
from .exact import exact_det, exact_field, exact_solve, fractions
from .products import cross, diagonal, matrix_trace, outer, tensordot, vecdot
from .products import matrix_trace as trace
from .solvers import cg, cholesky, det, inv, lstsq, ols, qr, slogdet, solve
from .spectra import (
    cond,
    corrcoef,
    cov,
    eigh,
    eigvalsh,
    matrix_norm,
    matrix_power,
    matrix_rank,
    norm,
    pca,
    pinv,
    svd,
    svdvals,
    vector_norm,
)
