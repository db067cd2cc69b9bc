"""Prime fields under every protocol: arithmetic against Python's integers, linear algebra against SymPy, what parties see."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
import pytest
import sympy

import mpc
from mpc.errors import InputError, MPCError, RangeError, Singular, TypeMismatch, UsageError
from mpc.lang.array import Settings
from mpc.lang.session import Session
from mpc.linalg.exact import field_solve
from mpc.protocols.base import available
from mpc.run.chunks import CHUNK
from mpc.run.rehearse import rehearse

from .memory import open_session, settings
from .test_transcripts import are_elements, complaints, recorder, recorders

M61, P62, P63 = 2**61 - 1, 2**62 - 57, 2**63 - 25
FIELDS = {"2^61 - 1": mpc.field(M61), "largest": mpc.field(P63), "three primes": mpc.field(M61, P63, P62)}
SETTINGS = settings()
slow = pytest.mark.slow
each_setting = pytest.mark.parametrize(
    ("protocol", "n"), [pytest.param(p, n, id=f"{p}-{n}", marks=[slow] if n != 3 else []) for p, n in SETTINGS]
)
each_field = pytest.mark.parametrize("field", [pytest.param(f, marks=[slow] if f == "largest" else []) for f in FIELDS])
PRIVATE = [(p, n) for p, n in SETTINGS if n < 5 and not available()[p].trust.startswith("INSECURE")]


def test_a_third_is_exact():
    with open_session("helper", 3, dtype=mpc.field(M61)) as s:
        x = s.input(7, owner=0)
        third = x / 3
        assert (third + third + third).reveal() == 7
        assert (3 * x / x).reveal() == 3


# ---- the ring ----
random = np.random.default_rng(6)


def elements(dtype: mpc.DType, *shape: int) -> np.ndarray:
    """Integers that fill the field, in an object array, 0 and the ends of their range among them."""
    modulus = prod(dtype.primes)
    words = random.integers(0, 2**63, (*shape, 34), np.uint64).astype(object)
    numbers = sum(words[..., k] << 63 * k for k in range(34)) % modulus
    edges = [0, 1, modulus - 1, modulus // 2, modulus // 2 + 1][: numbers.size]
    numbers.reshape(-1)[: len(edges)] = edges
    return numbers


def centred(x: Any, dtype: mpc.DType) -> np.ndarray:
    """Integers as a session reveals them: between -P/2 and P/2."""
    modulus = prod(dtype.primes)
    reduced = np.asarray(x, object) % modulus
    found = reduced - np.asarray(reduced > modulus // 2, object) * modulus
    return np.asarray(found, np.int64 if len(dtype.primes) == 1 else object)


def same(found: np.ndarray, want: Any, dtype: mpc.DType) -> bool:
    want = centred(want, dtype)
    return found.dtype == want.dtype and found.shape == want.shape and np.array_equal(found, want)


Maps = Callable[..., list[Any]]
OPERATIONS: dict[str, Maps] = {
    "add": lambda x, y, v: [x + y, x - y, -x, x + v, v[:, None] - x, +x, x + 5, 7 - x, 10**18 + x],
    "multiply": lambda x, y, v: [x * y, x * x, x * v, v * y, x * 3, -2 * x, x * np.arange(4), x * 10**18, x**5],
    "matmul": lambda x, y, v: [x @ y, x @ v, v @ x, x.T @ y, x @ x, x @ np.arange(16).reshape(4, 4), v @ v],
    "sums": lambda x, y, v: [x.sum(), x.sum(0), x.sum(-1, keepdims=True), np.cumsum(x, 0), np.cumsum(v), x.prod(1)],
    "moves": lambda x, y, v: [
        *(x.reshape(2, 8), x.T, x[1:, ::-1], x[[0, 0, 3]], np.concatenate([x, y], 1), np.stack([v, v]), np.diagonal(x)),
        *(np.broadcast_to(v, (3, 4)), np.einsum("ij,kj->ik", x, y), x[:, None] * y[None], (x[1] * y)[::-1] @ v),
    ],
}


@each_setting
@each_field
@pytest.mark.parametrize("operation", OPERATIONS)
def test_arithmetic(protocol: str, n: int, field: str, operation: str):
    dtype, f = FIELDS[field], OPERATIONS[operation]
    X, Y, V = elements(dtype, 4, 4), elements(dtype, 4, 4)[::-1], elements(dtype, 4)
    with open_session(protocol, n, dtype=dtype) as s:
        x, y, v = s.input(X, owner=0), s.input(Y, owner=n - 1), s.input(V, owner=n // 2)
        for found, want in zip(s.reveal(*f(x, y, v)), f(X, Y, V), strict=True):
            assert same(found, want, dtype)


@each_setting
@each_field
def test_equality_and_choice(protocol: str, n: int, field: str):
    dtype = FIELDS[field]
    X = elements(dtype, 30)
    Y = X.copy()
    Y[::3] += 1
    Y[1] += dtype.primes[0]  # equal modulo one prime of several
    Y %= prod(dtype.primes)
    C = random.random(30) < 0.5
    with open_session(protocol, n, dtype=dtype) as s:
        x, y, c = s.input(X, owner=0), s.input(Y, owner=n - 1), s.input(C)
        equal, nought, differs, zero, fixed, bits, truth = s.reveal(
            x == y, x == 0, x != X, mpc.where(c, x, y), mpc.where(x == y, 0, x), c + y, x.astype(bool)
        )
    same_residue = centred(X, dtype) == centred(Y, dtype)
    assert np.array_equal(equal, same_residue) and same_residue.any() and not same_residue.all()
    assert np.array_equal(nought, X == 0) and not differs.any() and np.array_equal(truth, X != 0)
    assert same(zero, np.where(C, X, Y), dtype)
    assert same(fixed, np.where(same_residue, 0, X), dtype)
    assert same(bits, C.astype(object) + Y, dtype)


@each_setting
@each_field
def test_division(protocol: str, n: int, field: str):
    dtype = FIELDS[field]
    modulus = prod(dtype.primes)
    X, Y = elements(dtype, 5, 3), elements(dtype, 3) + 1
    Y[Y % modulus == 0] = 2
    with open_session(protocol, n, dtype=dtype) as s:
        x, y = s.input(X, owner=0), s.input(Y, owner=n - 1)
        quotient, inverse, half, negative = s.reveal(x / y, 1 / y, x / -2, y**-2)
        inverses = np.array([pow(int(v), -1, modulus) for v in Y], object)
        assert same(quotient, X * inverses, dtype)
        assert same(inverse, inverses, dtype)
        assert same(half, X * pow(-2, -1, modulus), dtype)
        assert same(negative, inverses**2, dtype)
        if protocol != "plain":
            assert len(s.audit(x / y).by_design) > len(s.audit(x * y).by_design)
        with pytest.raises(Singular):
            (1 / (y - Y)).reveal()


@each_setting
def test_large_arrays_in_chunks(protocol: str, n: int):
    """Products of more than a chunk, of views, and with public operands."""
    dtype = mpc.field(M61)
    X, Y = (random.integers(0, M61, CHUNK + 777) for _ in range(2))
    with open_session(protocol, n, dtype=dtype) as s:
        x, y = s.input(X, owner=0), s.input(Y, owner=n - 1)
        product, reverse, public, choice = s.reveal(x * y, x[::-1] * x, x * Y, mpc.where(x == y, x, y))
        X, Y = X.astype(object), Y.astype(object)
        assert same(product, X * Y, dtype) and same(reverse, X[::-1] * X, dtype) and same(public, X * Y, dtype)
        assert same(choice, Y, dtype)


@each_setting
def test_functions_and_loops(protocol: str, n: int):
    dtype = mpc.field(M61, P63)
    X = elements(dtype, 3, 3)

    @mpc.function
    def step(x: Any) -> Any:
        return x @ x + 1

    with open_session(protocol, n, dtype=dtype) as s:
        x = s.input(X)
        twice, loop = s.reveal(step(step(x)), mpc.fori(0, 3, lambda i, c: c * x + i, x))
        once = X @ X + 1
        assert same(twice, once @ once + 1, dtype)
        assert same(loop, ((X * X) * X + 1) * X + 2, dtype)
        again = mpc.linalg.inv(x)  # kept from one run to the next, what was opened too
        assert same((again @ x).reveal(), np.eye(3, dtype=int), dtype)
        assert same((x @ again).reveal(), np.eye(3, dtype=int), dtype)


# ---- linear algebra in the field ----
@each_setting
@each_field
def test_inverse_solve_det(protocol: str, n: int, field: str):
    dtype = FIELDS[field]
    modulus = prod(dtype.primes)
    A, B = random.integers(-50, 50, (2, 4, 4)), random.integers(-50, 50, (2, 4, 3))
    with open_session(protocol, n, dtype=dtype) as s:
        a, b = s.input(A, owner=0), s.input(B, owner=n - 1)
        inverse, solved, vector, public, det, powers = s.reveal(
            mpc.linalg.inv(a),
            mpc.linalg.solve(a, b),
            mpc.linalg.solve(a[0], b[0, :, 0]),
            mpc.linalg.solve(a[0], B[0]),
            mpc.linalg.det(a),
            mpc.linalg.matrix_power(a, -2),
        )
    for k in range(2):
        m = sympy.Matrix(A[k]).inv_mod(modulus)
        exact = np.array(m.tolist(), object).astype(object)
        exact = np.vectorize(int, otypes=[object])(exact)
        assert same(inverse[k], exact, dtype)
        assert same(solved[k], exact @ B[k], dtype)
        assert same(powers[k], exact @ exact, dtype)
    assert same(public, solved[0], dtype) and same(vector, solved[0][:, 0], dtype)
    assert same(det, [int(sympy.Matrix(m).det()) for m in A], dtype)


@each_setting
def test_singular_matrices(protocol: str, n: int):
    A = np.arange(9).reshape(3, 3)
    with open_session(protocol, n, dtype=mpc.field(M61)) as s:
        assert mpc.linalg.det(s.input(A)).reveal() == 0
        with pytest.raises(Singular, match="rank"):
            mpc.linalg.inv(s.input(A)).reveal()


# ---- exact results on integers ----
def hilbert_like(n: int) -> np.ndarray:
    """An integer multiple of the Hilbert matrix: its inverse is huge, its determinant small."""
    scale = int(sympy.ilcm(*range(1, 2 * n)))
    return np.array([[scale // (i + j + 1) for j in range(n)] for i in range(n)], object)


RIGHT = random.integers(-(10**6), 10**6, 8)
MATRICES: dict[str, np.ndarray] = {
    "1x1": np.array([[-7]]),
    "2x2": np.array([[3, 5], [7, -11]]),
    "signs": np.array([[1, 1, 1], [1, -1, 1], [1, 1, -1]]),
    "triangle": np.tril(random.integers(1, 100, (5, 5))),
    "permutation": np.eye(6, dtype=int)[[3, 1, 0, 5, 4, 2]] * 10**6,
    "hilbert": hilbert_like(6),
    "8x8 of 10^6": random.integers(-(10**6), 10**6, (8, 8)),
    "singular": np.outer([1, 2, 3], [4, 5, 6]),
    "zero": np.zeros((3, 3), int),
    "nearly singular": np.array([[10**6, 10**6 - 1], [10**6 + 1, 10**6]]),
    "entries of 10^30": np.array([[10**30, 1], [-3, 10**30 - 1]], object),
}


def fractions(matrix: sympy.Matrix) -> np.ndarray:
    return np.array([Fraction(int(x.p), int(x.q)) for x in matrix], object)


@each_setting
@pytest.mark.parametrize("name", MATRICES)
def test_exact_results_are_those_of_sympy(protocol: str, n: int, name: str):
    A = MATRICES[name]
    size, bound = len(A), int(np.abs(A).max()) or 1
    b, m = RIGHT[:size], sympy.Matrix(A.tolist())
    right = 10**6
    with open_session(protocol, n, dtype=mpc.linalg.exact_field(size, bound, right)) as s:
        a, y = s.input(A, owner=0), s.input(b, owner=n - 1)
        assert mpc.linalg.exact_det(a, bound) == int(m.det())
        if m.det():
            found = mpc.linalg.exact_solve(a, y, bound, right, to=0)
            assert found.tolist() == fractions(m.LUsolve(sympy.Matrix(b.tolist()))).tolist()
            assert all(isinstance(x, Fraction) for x in found)
        else:
            with pytest.raises(Singular):
                mpc.linalg.exact_solve(a, y, bound, right)


def test_exact_results_of_stacks_and_columns():
    A, B = random.integers(-9, 9, (2, 3, 3)), random.integers(-9, 9, (3, 2))
    with open_session("helper", 3, dtype=mpc.linalg.exact_field(3, 9)) as s:
        a, b = s.input(A, owner=0), s.input(B, owner=1)
        dets, x = mpc.linalg.exact_det(a, 9), mpc.linalg.exact_solve(a, b, 9)
        assert dets.tolist() == [int(sympy.Matrix(m).det()) for m in A]
        for k in range(2):
            want = sympy.Matrix(A[k]).LUsolve(sympy.Matrix(B))
            assert x[k].reshape(-1).tolist() == fractions(want).tolist()
        public = mpc.linalg.exact_solve(a[0], B, 9)
        assert public.tolist() == x[0].tolist()


def test_a_field_that_is_too_small_is_refused():
    with open_session("helper", 3, dtype=mpc.field(M61)) as s:
        a = s.input(np.eye(8, dtype=int))
        with pytest.raises(RangeError, match=r"exact_field\(8, 1000000\)"):
            mpc.linalg.exact_det(a, 10**6)
        with pytest.raises(RangeError, match=r"exact_field\(8, 10, 3\)"):
            mpc.linalg.exact_solve(a, np.ones(8, int), 10, 3)
    with open_session("helper", 3) as s, pytest.raises(RangeError, match="exact_field"):
        mpc.linalg.exact_det(s.input(np.eye(2, dtype=int)), 10)


def test_entries_above_their_bound_show():
    with open_session("helper", 3, dtype=mpc.linalg.exact_field(2, 10)) as s:
        with pytest.raises(RangeError, match="larger than was declared"):
            mpc.linalg.exact_det(s.input(np.array([[1000, 0], [0, 1000]])), 10)
        with pytest.raises(RangeError, match="larger than was declared"):
            mpc.linalg.exact_solve(s.input(np.array([[999983, 0], [0, 7]])), np.array([3, 1]), 10)


# ---- what is refused ----
@pytest.mark.parametrize("field", [(), (M61, M61), (2**61,), (2**31 - 1,), (2**89 - 1,), (15,), (M61, 9)])
def test_numbers_that_make_no_field(field: tuple[int, ...]):
    with pytest.raises(UsageError, match="primes"):
        mpc.field(*field)


REFUSED: dict[str, Callable[[Session, Any], Any]] = {
    "order": lambda s, x: x < 1,
    "absolute": lambda s, x: abs(x),
    "maximum": lambda s, x: x.max(),
    "sort": lambda s, x: mpc.sort(x),
    "sort of many": lambda s, x: mpc.sort(mpc.tile(x.reshape(-1), 50)),
    "sort by": lambda s, x: mpc.sort_by(x[0], x[0]),
    "clip": lambda s, x: x.clip(0, 1),
    "relu": lambda s, x: mpc.nn.relu(x),
    "floor division": lambda s, x: x // 2,
    "remainder": lambda s, x: x % 3,
    "shift": lambda s, x: x >> 1,
    "fraction": lambda s, x: x + 0.5,
    "factor": lambda s, x: x * 0.5,
    "division by a fraction": lambda s, x: x / 0.5,
    "mean": lambda s, x: x.mean(),
    "std": lambda s, x: x.std(),
    "fixed point": lambda s, x: x.astype(mpc.fixed64(8)),
    "float": lambda s, x: x.astype(float),
    "input of fixed point": lambda s, x: s.input(1.5, dtype=mpc.fixed64(8)),
    "square root": lambda s, x: mpc.sqrt(x),
    "exponential": lambda s, x: mpc.exp(x),
    "convolution": lambda s, x: mpc.nn.conv2d(x.reshape(1, 1, 2, 2), x.reshape(1, 1, 2, 2)),
    "cholesky": lambda s, x: mpc.linalg.cholesky(x),
    "norm": lambda s, x: mpc.linalg.norm(x),
    "least squares": lambda s, x: mpc.linalg.lstsq(x, x),
    "random reals": lambda s, x: mpc.random.uniform(s, 3),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_meaning_in_a_field_is_refused_when_it_is_written(name: str):
    with open_session("helper", 3, dtype=mpc.field(M61)) as s:
        x = s.input(np.array([[1, 2], [3, 4]]))
        with pytest.raises(TypeMismatch, match="field"):
            REFUSED[name](s, x)


def test_other_refusals():
    with open_session("helper", 3, dtype=mpc.field(M61)) as s:
        x = s.input([1, 2])
        with pytest.raises(InputError, match="fractional"):
            s.input(0.5)
        with pytest.raises(RangeError):
            s.input([2**70])
        with pytest.raises(RangeError):
            _ = x * 2**70
        with pytest.raises(ZeroDivisionError):
            _ = x / 0
        with pytest.raises(MPCError, match="square"):
            mpc.linalg.det(x)
    with open_session("helper", 3) as s, pytest.raises(MPCError, match="field"):
        s.input([1], dtype=mpc.field(M61))


# ---- cost ----
@each_setting
@each_field
def test_rehearsed_is_measured(protocol: str, n: int, field: str):
    A = random.integers(-9, 9, (4, 4))
    with open_session(protocol, n, dtype=FIELDS[field]) as s:
        a, b = s.input(A, owner=0), s.input(A[0] + 10, owner=n - 1)
        results = [
            a @ a * b,
            mpc.linalg.inv(a),
            mpc.linalg.solve(a, b),
            mpc.linalg.det(a),
            1 / b,
            a == b,
            mpc.where(a == 1, b, 0),
        ]
        s.reveal(*results)
        backend = s._backend
        report = rehearse(backend.programs[0], available()[protocol], n)
        assert report.rounds == backend.rounds and report.messages == backend.messages
        assert {link: b for link, b in report.links.items() if b} == {link: b for link, b in backend.links.items() if b}


@pytest.mark.parametrize("protocol", ["additive", "helper", "replicated"])
def test_rounds(protocol: str):
    """As the docstrings promise, before the result is revealed; an input of `replicated` needs no opening."""
    with open_session(protocol, 3, dtype=mpc.field(M61)) as s:
        a, b = s.input(np.ones((8, 8), int)), s.input(np.ones(8, int))
        shared, masks = s.cost(a).rounds, int(protocol == "helper")
        assert 0 <= 2 + masks - (s.cost(1 / b).rounds - shared) <= (protocol == "replicated")
        assert 0 <= 4 + masks - (s.cost(field_solve(a, b)).rounds - shared) <= (protocol == "replicated")
        assert 0 <= 7 - (s.cost(mpc.linalg.det(a)).rounds - shared) <= (protocol == "replicated")


# ---- what parties see ----
Gate = Callable[[Any, Any], list[Any]]
GATES: dict[str, Gate] = {
    "input and reveal": lambda x, y: [x + y],
    "multiply": lambda x, y: [x * y, x * x],
    "matmul": lambda x, y: [x @ y],
    "divide": lambda x, y: [y / x],
    "solve": lambda x, y: [mpc.linalg.solve(x + np.eye(len(x.shape) and x.shape[0], dtype=int), y)],
    "det": lambda x, y: [mpc.linalg.det(x[:40, :40])],
    "equal": lambda x, y: [mpc.where(x == y, x, y), x == 0],
    "rows": lambda x, y: [*mpc.shuffle(x, y, x[:, 0] == y[:, 0])],
}


@pytest.mark.parametrize(("protocol", "n"), PRIVATE, ids=lambda v: str(v))
@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("field", ["2^61 - 1", *(pytest.param(f, marks=slow) for f in ("largest", "three primes"))])
def test_what_a_party_receives_is_uniform(protocol: str, n: int, gate: str, field: str):
    """By the statistics of test_transcripts.py, for inputs that are all alike; and what is sent is reduced."""
    X, ring = np.full((80, 80), prod(FIELDS[field].primes) - 1), Settings(dtype=FIELDS[field]).ring
    with open_session(protocol, n, dtype=FIELDS[field], seed=3, record=True) as s:
        x, y = s.input(X, owner=0), s.input(X, owner=n - 1)
        s.reveal(*((r * 0).sum() for r in GATES[gate](x, y)), to=0)
        assert not complaints(s, 10_000 if gate != "input and reveal" else 0)
        words = [a for view in s._backend.views for _, _, a in view.received if a.dtype == ring.word]
        assert gate in ("equal", "rows") or all(are_elements(a, ring) for a in words)


@pytest.mark.parametrize(("protocol", "n"), PRIVATE, ids=lambda v: str(v))
@pytest.mark.parametrize("field", ["2^61 - 1", "three primes"])
def test_no_random_word_hides_two_things(protocol: str, n: int, field: str):
    ring = Settings(dtype=FIELDS[field]).ring
    with open_session(protocol, n, dtype=FIELDS[field], seed=5, ring=lambda: recorder(ring)) as s:
        x, y = s.input(random.integers(0, M61, (6, 6)), owner=0), s.input(random.integers(1, M61, (6, 6)), owner=n - 1)
        c = s.input(np.ones((400, 20), bool), owner=0)
        z: list[Any] = []
        for _ in range(2):
            z += [x * y, x @ y, x.T @ y, y / x, mpc.linalg.solve(x, y), mpc.linalg.det(y), x == y, mpc.where(x == y, x, y)]
            s.reveal(*z, *mpc.shuffle(np.broadcast_to(x[:1], (400, 6)), c, c), mpc.random.bits(x, 70))
        s.reveal(x, *z[:3], to=n - 1)
        found = recorders(s)
        assert any(r.hidden for r in found)
        for r in found:
            assert not r.reused()


# ---- between processes ----
@pytest.mark.parametrize("protocol", ["helper", pytest.param("replicated", marks=slow)])
def test_between_processes(protocol: str):
    A = MATRICES["8x8 of 10^6"]
    with mpc.local(3, protocol, dtype=mpc.linalg.exact_field(8, 10**6)) as s:
        a, b = s.input(A, owner=0, low=-(10**6), high=10**6), s.input(RIGHT, owner=1)
        assert mpc.linalg.exact_det(a, 10**6) == int(sympy.Matrix(A.tolist()).det())
        exact = sympy.Matrix(A.tolist()).LUsolve(sympy.Matrix(RIGHT.tolist()))
        assert mpc.linalg.exact_solve(a, b, 10**6).tolist() == fractions(exact).tolist()
        with pytest.raises(Singular):
            mpc.linalg.inv(s.input(np.zeros((2, 2), int))).reveal()
