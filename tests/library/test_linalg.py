"""Linear algebra against NumPy and SciPy, on real data and on random matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.datasets import load_diabetes, load_iris
from statsmodels.api import OLS

import mpc
from mpc.errors import ShapeMismatch, UsageError
from mpc.lang.session import Session

from ..memory import open_session
from .test_arrays import PROTOCOLS, check, each_protocol

rng = np.random.default_rng(11)
DIABETES, RAW = load_diabetes(), load_diabetes(scaled=False)
CORRELATION = DIABETES.data.T @ DIABETES.data  # 10 x 10, condition 470
COVARIANCE = np.cov(RAW.data.T)  # entries from 0.2 to 1200, condition 76000
A, B = rng.normal(size=(4, 4)) + 2 * np.eye(4), rng.normal(size=(4, 3))
STACK = rng.normal(size=(2, 3, 3)) + 2 * np.eye(3)
SPD = STACK @ STACK.transpose(0, 2, 1)
TALL = load_iris().data[::10]  # 15 x 4
few = settings(max_examples=25, deadline=None, derandomize=True)
fewer = settings(few, max_examples=4)
T = rng.normal(size=(2, 3, 4))
U = rng.normal(size=(4, 3, 2))
W = U.transpose(1, 0, 2)
V3 = rng.normal(size=(5, 3))

PRODUCTS: dict[str, Any] = {
    "dot": (
        lambda x, y: (np.dot(x, y), np.dot(x[0], y[0]), np.dot(x, 2.0), np.dot(x[0, 0], y[0, :, 0]), np.dot(x, y[0, :, 0])),
        (T, W),
    ),
    "inner": (lambda x, y: (np.inner(x, y), np.vdot(x, y), np.inner(x, 3.0)), (T, T[::-1])),
    "vecdot": (lambda x, y: (np.vecdot(x, y), np.linalg.vecdot(x, y, axis=1)), (T, T[:1])),
    "outer": (lambda x, y: (np.outer(x, y), np.linalg.outer(x[0], V3[0]), np.multiply.outer(x[0], y)), (V3[:2], V3)),
    "kron": (lambda x, y: (np.kron(x, y), np.kron(x, V3[0]), np.kron(2 * np.eye(2), y)), (A, B)),
    "cross": (lambda x, y: (np.cross(x, y), np.linalg.cross(x, V3), np.cross(x.T, y.T, axis=0)), (V3, V3[::-1])),
    "tensordot": (lambda x, y: (np.tensordot(x, y), np.tensordot(x, y[0], 1), np.tensordot(x, y, ([0, 2], [2, 1]))), (T, W)),
    "trace": (lambda x: (np.trace(x), np.linalg.trace(x, offset=1), np.linalg.diagonal(x)), (T,)),
    "matrix_power": (
        lambda x: (np.linalg.matrix_power(x, 3), np.linalg.matrix_power(x, 0), np.linalg.matrix_power(x, 1)),
        (STACK,),
    ),
    "np.matmul with public": (lambda x: (np.matmul(x, B), np.matmul(B.T, x), x @ B[:, 0]), (A,)),
}
EINSUMS = [
    ("ij,jk->ik", (A, B)),
    ("ij,jk", (A, B)),
    ("ij->ji", (A,)),
    ("ii->i", (A,)),
    ("ii", (A,)),
    ("ij->", (A,)),
    ("i,j->ij", (B[0], B[1])),
    ("ij,ij->i", (A, A.T)),
    ("bij,bjk->bik", (STACK, STACK)),
    ("...ij,...jk->...ik", (STACK, STACK[0])),
    ("ij,jk,kl->il", (A, B, B.T)),
    ("ij,kj,ik->j", (A, A, A)),
    ("abc,cbd,d->a", (T.transpose(0, 1, 2), U, B[0, :2])),
    ("ij,kl->", (A, B)),
    ("iij,j->i", (rng.normal(size=(3, 3, 2)), B[0, :2])),
]


@each_protocol
@pytest.mark.parametrize("name", PRODUCTS)
def test_products(name: str, protocol: str, n: int):
    f, inputs = PRODUCTS[name]
    with open_session(protocol, n) as s:
        check(s, f, inputs, 2.0**-11)


@each_protocol
@pytest.mark.parametrize(("text", "inputs"), EINSUMS, ids=lambda v: v if isinstance(v, str) else "")
def test_einsum(protocol: str, n: int, text: str, inputs: tuple[np.ndarray, ...]):
    with open_session(protocol, n) as s:
        check(s, lambda *xs: np.einsum(text, *xs), inputs, 2.0**-10)
        if len(inputs) > 1:  # one operand public
            check(s, lambda x: np.einsum(text, x, *inputs[1:]), inputs[:1], 2.0**-10)


@given(data=st.data())
@few
def test_any_einsum(data: Any):
    """Any letters in one or two operands, any of them kept."""
    sizes = {"a": 2, "b": 3, "c": 1, "d": 2}
    terms = [data.draw(st.text("abcd", min_size=1, max_size=3)) for _ in range(data.draw(st.integers(1, 2)))]
    kept = data.draw(st.permutations(sorted(set("".join(terms)))))
    text = ",".join(terms) + "->" + "".join(kept[: data.draw(st.integers(0, len(kept)))])
    xs = [np.random.default_rng(k).integers(-3, 4, [sizes[c] for c in t]) for k, t in enumerate(terms)]
    with open_session("plain", 2) as s:
        check(s, lambda *v: np.einsum(text, *v), tuple(xs), 0)


# ---- factors and systems ----
def close(got: Any, wanted: np.ndarray, tolerance: float) -> None:
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() <= tolerance * np.abs(wanted).max()


@each_protocol
def test_factors_multiply_to_the_matrix(protocol: str, n: int):
    with open_session(protocol, n) as s:
        low, up, q, r, q3, r3 = s.reveal(
            np.linalg.cholesky(s.input(SPD)),
            np.linalg.cholesky(s.input(SPD[0]), upper=True),
            *np.linalg.qr(s.input(B)),
            *mpc.linalg.qr(s.input(B.T), mode="complete"),
        )
        close(low, np.linalg.cholesky(SPD), 1e-4)
        close(up, np.linalg.cholesky(SPD[0]).T, 1e-4)
        close(q, np.linalg.qr(B)[0], 1e-4)
        close(r, np.linalg.qr(B)[1], 1e-4)
        close(q3 @ r3, B.T, 1e-4)
        close(q3.T @ q3, np.eye(3), 1e-4)
        assert not np.tril(r3, -1).any()


@each_protocol
def test_systems(protocol: str, n: int):
    with open_session(protocol, n) as s:
        a, b = s.input(A), s.input(B, owner=1)
        inverse, x, v, public = s.reveal(
            np.linalg.inv(a), np.linalg.solve(a, b), np.linalg.solve(a, b[:, 0]), mpc.linalg.solve(a, B)
        )
        close(inverse, np.linalg.inv(A), 1e-3)
        close(x, np.linalg.solve(A, B), 1e-3)
        close(v, np.linalg.solve(A, B[:, 0]), 1e-3)
        close(public, np.linalg.solve(A, B), 1e-3)
        stack = s.input(SPD)
        close(mpc.linalg.inv(stack, assume_a="pos").reveal(), np.linalg.inv(SPD), 1e-3)
        close(mpc.linalg.cg(s.input(SPD[0]), s.input(B[:3, 0])).reveal(), np.linalg.solve(SPD[0], B[:3, 0]), 1e-3)


@each_protocol
def test_determinants(protocol: str, n: int):
    with open_session(protocol, n) as s:
        a = s.input(np.concatenate([STACK, -STACK]))
        det, (sign, log) = np.linalg.det(a), np.linalg.slogdet(a)
        det, sign, log = s.reveal(det, sign, log)
        wanted = np.linalg.slogdet(np.concatenate([STACK, -STACK]))
        close(det, wanted.sign * np.exp(wanted.logabsdet), 1e-3)
        assert np.array_equal(sign, wanted.sign)
        assert np.abs(log - wanted.logabsdet).max() < 1e-3


@given(seed=st.integers(0, 999), size=st.integers(1, 4), unit=st.sampled_from([2.0**-4, 1.0, 100.0, 1000.0]))
@fewer
def test_units_do_not_matter(seed: int, size: int, unit: float):
    """The error depends on the condition of the matrix, as in floating point."""
    random = np.random.default_rng(seed)
    a = random.normal(size=(size, size)) * unit
    x = random.normal(size=size)
    with open_session("plain", 1) as s:
        got = np.linalg.solve(s.input(a, dtype=mpc.fixed64(24 if unit < 10 else 16)), s.input(a @ x)).reveal()
        room = 2.0**-15 / np.linalg.svd(a)[1][-1]  # rounding of the right-hand side
        assert np.abs(got - x).max() < 4 * room + np.linalg.cond(a) * 2.0**-19 + 2.0**-15


@pytest.mark.parametrize(("protocol", "n"), [pytest.param("additive", 2, marks=pytest.mark.slow), ("helper", 3)])
def test_jacobi_rotations(protocol: str, n: int):
    with open_session(protocol, n) as s:
        a = A + A.T
        for m, sweeps in ((a, 5), (a[:3, :3], 5), (np.array([[0.0, 2.0], [2.0, 0.0]]), 3), (a[:1, :1], 1)):
            values, vectors = s.reveal(*mpc.linalg.eigh(s.input(m), sweeps=sweeps))
            close(values, np.linalg.eigvalsh(m), 1e-4)
            close(vectors * values @ vectors.T, m, 2e-4)
            close(vectors.T @ vectors, np.eye(len(m)), 1e-4)
        u, d, vt = s.reveal(*mpc.linalg.svd(s.input(B), sweeps=4))
        close(d, np.linalg.svd(B)[1], 1e-4)
        close(u * d @ vt, B, 2e-4)
        close(u.T @ u, np.eye(3), 1e-3)


@pytest.mark.slow
def test_what_follows_from_singular_values(s: Session):
    low = np.outer(B[:, 0], [1.0, 2.0])  # rank 1
    b = B[:, :2]
    a = s.input(b.T)
    inverse, rank, rank1, nuclear, two, condition = s.reveal(
        np.linalg.pinv(a),
        np.linalg.matrix_rank(a),
        np.linalg.matrix_rank(s.input(low)),
        np.linalg.norm(a, "nuc"),
        np.linalg.norm(a, 2),
        np.linalg.cond(a),
    )
    close(inverse, np.linalg.pinv(b.T), 1e-3)
    assert (rank, rank1) == (2, 1)
    close(nuclear, np.linalg.norm(b, "nuc"), 1e-3)
    close(two, np.linalg.norm(b, 2), 1e-3)
    close(condition, np.linalg.cond(b), 2e-3)


@each_protocol
def test_norms(protocol: str, n: int):
    def f(x: Any) -> tuple[Any, ...]:
        norm = np.linalg.norm
        vectors = [norm(x[0, 0], o) for o in (None, 1, 2, np.inf, -np.inf, 0)]
        matrices = [norm(x[0], o) for o in ("fro", 1, -1, np.inf, -np.inf)]
        return (*vectors, *matrices, norm(x), norm(x, axis=1), norm(x, 1, axis=(0, 2), keepdims=True), np.linalg.vector_norm(x))

    with open_session(protocol, n) as s:
        check(s, f, (T,), 2.0**-11)
        large = np.array([3000.0, -4000.0])
        assert np.linalg.norm(s.input(large)).reveal() == pytest.approx(5000, rel=1e-4)


# ---- statistics on real data ----
def ordinary(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(coefficients, standard errors, t) by statsmodels."""
    fit = OLS(y, np.column_stack([np.ones(len(y)), x])).fit()
    return fit.params, fit.bse, fit.tvalues


@each_protocol
@pytest.mark.parametrize("columns", [1, 3, pytest.param(10, marks=pytest.mark.slow)])
def test_regression_on_raw_data(protocol: str, n: int, columns: int):
    """Diabetes: ages, blood pressures and lipids in their own units."""
    x, y = RAW.data[:, 10 - columns :], RAW.target
    with open_session(protocol, n) as s:
        got = s.reveal(*mpc.linalg.ols(s.input(x), s.input(y, owner=1)))
    beta, errors, t = ordinary(x, y)
    assert (np.abs(got[0] - beta) <= 1e-2 * errors).all()
    assert got[1] == pytest.approx(errors, rel=1e-2)
    assert np.abs(got[2] - t).max() < 1e-2
    if columns == 1:
        line = stats.linregress(x[:, 0], y)
        assert got[0] == pytest.approx([line.intercept, line.slope], rel=1e-3)
        assert got[2][1] == pytest.approx(line.slope / line.stderr, abs=1e-2)


def test_least_squares(s: Session):
    x, y = TALL[:, 1:], TALL[:, 0]
    design = np.column_stack([np.ones(len(y)), x])
    a, b = s.input(design), s.input(y)
    close(np.linalg.lstsq(a, b).reveal(), np.linalg.lstsq(design, y)[0], 5e-3)
    close(mpc.linalg.lstsq(a, s.input(TALL)).reveal(), np.linalg.lstsq(design, TALL)[0], 5e-3)
    close(mpc.linalg.lstsq(a, y).reveal(), np.linalg.lstsq(design, y)[0], 5e-3)
    without = s.reveal(*mpc.linalg.ols(a, b, intercept=False))
    for got, wanted in zip(without, ordinary(x, y), strict=True):
        close(got, wanted, 1e-2)


def test_covariances(s: Session):
    x = s.input(RAW.data)
    cov, cov0, correlation = s.reveal(np.cov(x, rowvar=False), np.cov(x.T, ddof=0), np.corrcoef(x, rowvar=False))
    close(cov, COVARIANCE, 1e-5)
    close(cov0, np.cov(RAW.data.T, ddof=0), 1e-5)
    close(correlation, np.corrcoef(RAW.data.T), 1e-4)


@pytest.mark.parametrize("sides", [pytest.param(10, marks=pytest.mark.slow), 4])
def test_the_diabetes_covariance(s: Session, sides: int):
    """Relative error below 1e-3 on a correlated matrix: condition 470 in full."""
    c = CORRELATION[-sides:, -sides:]
    a = s.input(c)
    inverse, definite, factor = s.reveal(np.linalg.inv(a), mpc.linalg.inv(a, "pos"), np.linalg.cholesky(a))
    close(inverse, np.linalg.inv(c), 1e-3)
    close(definite, np.linalg.inv(c), 1e-3)
    close(factor, np.linalg.cholesky(c), 1e-3)
    if sides == 10:
        values, vectors = s.reveal(*np.linalg.eigh(a))
        assert values == pytest.approx(np.linalg.eigvalsh(c), rel=1e-3)
        close(vectors * values @ vectors.T, c, 1e-3)


def relative(got: np.ndarray, wanted: np.ndarray) -> float:
    """The error in norm."""
    return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))


def worst(got: np.ndarray, wanted: np.ndarray) -> float:
    """The largest relative error of an element."""
    return float(np.max(np.abs(got - wanted)[wanted != 0] / np.abs(wanted[wanted != 0])))


@pytest.mark.parametrize(
    ("protocol", "n", "sides"),
    [("helper", 3, 3), *(pytest.param(*p, 10, marks=pytest.mark.slow, id=f"{p[0]}-10") for p in PROTOCOLS)],
)
def test_the_raw_covariance(protocol: str, n: int, sides: int):
    """In the units of the data, whose variances are from 0.2 to 1200 (condition 76000), with fixed64(24). Without
    assume_a="pos" `solve` of all ten columns takes 128 bits."""
    c = COVARIANCE[-sides:, -sides:]
    wanted = np.linspace(-1, 1, sides)
    with open_session(protocol, n, dtype=mpc.fixed64(24)) as s:
        a, b = s.input(c), s.input(c @ wanted, owner=1)
        kinds = ("gen", "pos") if sides == 3 else ("pos",)
        factor, *solved = s.reveal(np.linalg.cholesky(a), *(mpc.linalg.solve(a, b, kind) for kind in kinds))
        values, vectors = s.reveal(*np.linalg.eigh(a))
        u, singular, vt = s.reveal(*np.linalg.svd(a))
    for got, want in (
        (factor, np.linalg.cholesky(c)),
        *((x, wanted) for x in solved),
        (values, np.linalg.eigvalsh(c)),
        (vectors * values @ vectors.T, c),
        (singular, np.linalg.svd(c)[1]),
        (u * singular @ vt, c),
    ):
        assert relative(got, want) <= 1e-3


SLOW_TEN = [pytest.param(*p, 10, marks=pytest.mark.slow, id=f"{p[0]}-10") for p in PROTOCOLS]


@pytest.mark.parametrize(("protocol", "n", "sides"), [("plain", 2, 10), ("helper", 3, 3), *SLOW_TEN])
def test_systems_at_128_bits(protocol: str, n: int, sides: int):
    """The raw covariance element for element."""
    c = COVARIANCE[-sides:, -sides:]
    wanted = np.linspace(-1, 1, sides + sides % 2)[:sides]  # without 0
    with open_session(protocol, n, dtype=mpc.fixed128(40)) as s:
        a, b = s.input(c), s.input(c @ wanted, owner=1)
        x, definite, factor = s.reveal(np.linalg.solve(a, b), mpc.linalg.solve(a, b, "pos"), np.linalg.cholesky(a))
    assert worst(x, wanted) < 1e-7
    assert worst(definite, wanted) < 1e-8
    assert worst(factor, np.linalg.cholesky(c)) < 1e-8


@pytest.mark.parametrize(("protocol", "n", "sides"), [("plain", 2, 3), *SLOW_TEN])
def test_rotations_at_128_bits(protocol: str, n: int, sides: int):
    """Of the raw covariance the smallest eigenvalue and singular value as well, and every element of the products."""
    c = COVARIANCE[-sides:, -sides:]
    sweeps = 4 if sides == 3 else 8
    with open_session(protocol, n, dtype=mpc.fixed128(40)) as s:
        a = s.input(c)
        values, vectors = s.reveal(*mpc.linalg.eigh(a, sweeps))
        u, singular, vt = s.reveal(*mpc.linalg.svd(a, sweeps=sweeps))
    assert worst(values, np.linalg.eigvalsh(c)) < 1e-8
    assert worst(singular, np.linalg.svd(c)[1]) < 1e-5
    assert worst(vectors * values @ vectors.T, c) < 1e-6
    assert worst(u * singular @ vt, c) < 1e-6
    assert np.abs(vectors.T @ vectors - np.eye(sides)).max() < 1e-9
    assert np.abs(u.T @ u - np.eye(sides)).max() < 1e-5  # columns of small singular values are as exact as those


@pytest.mark.parametrize(("protocol", "n", "columns"), [("plain", 2, 10), ("helper", 3, 1), *SLOW_TEN])
def test_regression_at_128_bits(protocol: str, n: int, columns: int):
    """On the raw data: coefficients and standard errors to 1e-6 of themselves, t-values to 1e-7."""
    x, y = RAW.data[:, :columns], RAW.target
    with open_session(protocol, n, dtype=mpc.fixed128(40)) as s:
        got = s.reveal(*mpc.linalg.ols(s.input(x), s.input(y, owner=1)))
    for found, wanted in zip(got, ordinary(x, y), strict=True):
        assert worst(found, wanted) < 1e-6
    assert np.abs(got[2] - ordinary(x, y)[2]).max() < 1e-7


def test_principal_components(s: Session):
    x = TALL
    axes, variances, mean, scores = s.reveal(*mpc.linalg.pca(s.input(x), 2))
    _, singular, vt = np.linalg.svd(x - x.mean(0), full_matrices=False)
    signs = np.sign((axes * vt[:2]).sum(1))[:, None]
    close(axes * signs, vt[:2], 1e-3)
    close(variances, singular[:2] ** 2 / (len(x) - 1), 1e-3)
    close(mean, x.mean(0), 1e-4)
    close(scores * signs.T, (x - x.mean(0)) @ vt[:2].T, 1e-3)


# ---- what is refused ----
@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda a, b: np.linalg.inv(b), ShapeMismatch),
        (lambda a, b: np.linalg.solve(a, b.T), ShapeMismatch),
        (lambda a, b: mpc.linalg.solve(a, b, assume_a="sym"), UsageError),
        (lambda a, b: mpc.linalg.qr(a, mode="raw"), UsageError),
        (lambda a, b: mpc.linalg.svd(b, full_matrices=True), UsageError),
        (lambda a, b: np.linalg.norm(a[0], 3), UsageError),
        (lambda a, b: np.linalg.norm(a, 3), UsageError),
        (lambda a, b: mpc.linalg.eigh(mpc.zeros_like(a[0, 0]) + np.zeros((65, 65))), ShapeMismatch),
        (lambda a, b: np.einsum("ij,jk", a, b.T), ShapeMismatch),
        (lambda a, b: np.tensordot(a, b, 2), ShapeMismatch),
        (lambda a, b: np.cross(a, b), ShapeMismatch),
        (lambda a, b: np.linalg.cholesky(a[0]), ShapeMismatch),
    ],
)
def test_refusals(s: Session, call: Any, error: type):
    with pytest.raises(error, match=r"test_linalg.py:\d+"):
        call(s.input(A), s.input(B))
