"""Creation, rearranging, indexing, update and reductions: what NumPy says, for any shape."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import mpc
from mpc.errors import MPCError, SecretValueError, ShapeMismatch, TypeMismatch
from mpc.lang.session import Session

from ..memory import open_session

ULP = 2.0**-16
rng = np.random.default_rng(7)
X = np.rint(rng.uniform(-8, 8, (2, 3, 4)) / ULP) * ULP
M = np.rint(rng.uniform(-8, 8, (4, 4)) / ULP) * ULP
I = rng.integers(-20, 20, (3, 4))
B = rng.random((3, 4)) < 0.5
V = np.array([-3.0, -0.5, 0.0, 2.5, 4.0])
PROTOCOLS = [("additive", 2), ("helper", 3), ("replicated", 3)]
each_protocol = pytest.mark.parametrize(("protocol", "n"), PROTOCOLS, ids=str)

# name -> (function of NumPy arrays or secrets, inputs, absolute tolerance)
CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...], float]] = {
    "flip": (lambda x: (np.flip(x), np.flip(x, 1), np.flip(x, (0, -1))), (X,), 0),
    "roll": (lambda x: (np.roll(x, 5), np.roll(x, -1, 2), np.roll(x, (1, 2), (0, 2)), np.roll(x, 2, (0, 1))), (X,), 0),
    "pad": (lambda x: (np.pad(x, 1), np.pad(x, ((0, 1), (2, 0), (1, 1)), constant_values=2.5)), (X,), 0),
    "pad modes": (lambda x: tuple(np.pad(x, (2, 1), m) for m in ("edge", "reflect", "symmetric", "wrap")), (M,), 0),
    "tile": (lambda x: (np.tile(x, 2), np.tile(x, (2, 1, 3, 1)), np.tile(x, (2, 1))), (X,), 0),
    "repeat": (lambda x: (np.repeat(x, 2), np.repeat(x, 3, 1), np.repeat(x, [1, 0, 2], 1)), (X,), 0),
    "take": (lambda x: (np.take(x, [5, 0, -1]), np.take(x, [[0, 2], [1, 1]], 2), np.take(x, 1, 1)), (X,), 0),
    "take_along_axis": (lambda x: np.take_along_axis(x, np.argsort(M, 0), 0), (M,), 0),
    "moveaxis": (lambda x: (np.moveaxis(x, 0, -1), np.moveaxis(x, (0, 2), (1, 0)), np.swapaxes(x, 0, 2)), (X,), 0),
    "split": (lambda x: (*np.split(x, 2, 2), *np.split(x, [1, 2], 1), *np.array_split(x, 3, -1)), (X,), 0),
    "stacks": (lambda x, y: (np.vstack([x, y]), np.hstack([x, y]), np.column_stack([x, y, V[:4]])), (M, M[::-1]), 0),
    "unstack": (lambda x: np.unstack(x, axis=1), (X,), 0),
    "expand_dims": (lambda x: (np.expand_dims(x, (0, 3)), np.expand_dims(x, -1)), (X,), 0),
    "broadcast_arrays": (lambda x, y: tuple(np.broadcast_arrays(x, y)), (M, M[:1]), 0),
    "meshgrid": (lambda x, y: (*np.meshgrid(x, y), *np.meshgrid(x, y, indexing="ij")), (V, V[:2]), 0),
    "triangles": (lambda x: (np.tril(x), np.triu(x, 1), np.tril(x, -1)), (X,), 0),
    "diagonals": (lambda x: (np.diagonal(x, 1), np.diag(x), np.diag(x[0], 1), np.trace(x), np.diag(x[0])), (M,), 0),
    "matrix_transpose": (lambda x: (np.matrix_transpose(x), x.mT), (X,), 0),
    "atleast": (lambda x: (np.atleast_1d(x[0]), np.atleast_2d(x)), (V,), 0),
    "bools move": (lambda x: (np.flip(x, 1), np.roll(x, 1), np.pad(x, 1), np.tile(x, 2), np.tril(x), np.diff(x)), (B,), 0),
    "bools choose": (lambda c, x, y: (np.where(c, x, y), np.where(c, x, True), np.where(B, x, y)), (B, ~B, B[::-1]), 0),
    "bools of public": (lambda c: (np.where(c, True, False), np.where(c, B, ~B)), (B,), 0),
    "like": (lambda x: (np.zeros_like(x), np.ones_like(x), np.full_like(x, 2.5)), (X,), 0),
    "bools like": (lambda x: (np.zeros_like(x), np.ones_like(x)), (B,), 0),
    "sums": (lambda x: (np.cumsum(x), np.cumsum(x, 1), np.cumulative_sum(x[0, 0], include_initial=True)), (X,), 0),
    "diff": (lambda x: (np.diff(x), np.diff(x, 2, axis=1), np.diff(x, prepend=x[..., :1], append=x[..., 1:3])), (X,), 0),
    "any and all": (lambda x: (np.any(x, 0), np.all(x, 1, keepdims=True), np.any(x), np.all(x)), (B,), 0),
    "any of numbers": (lambda x: (np.any(x > 5, (0, 2)), np.all(x > -7, axis=0), np.all(x)), (X,), 0),
    "count_nonzero": (lambda x: (np.count_nonzero(x, axis=0), np.count_nonzero(x)), (I // 10,), 0),
    "extremes": (lambda x: (np.max(x, axis=(0, 2)), np.min(x, axis=(1, 2), keepdims=True), np.ptp(x, axis=1)), (X,), 0),
    "argmin": (lambda x: (np.argmin(x), np.argmin(x, axis=1), np.argmax(x, axis=0, keepdims=True)), (X,), 0),
    "prod": (lambda x: (np.prod(x, axis=0), np.prod(x, axis=(0, 1), keepdims=True)), (I,), 0),
    "prod of reals": (lambda x: (np.prod(x / 4, axis=0), np.cumprod(x[0, 0] / 4)), (X,), 2.0**-12),
    "prod of nothing": (lambda x: np.prod(x[:0], axis=0), (I,), 0),
    "variances": (lambda x: (np.var(x, ddof=1), np.std(x, axis=0, ddof=1), np.var(x, correction=2)), (M,), 2.0**-10),
    "average": (lambda x: (np.average(x, 0, [1.0, 2, 3, 4]), np.average(x)), (M,), 2.0**-13),
    "secret weights": (lambda x, w: np.average(x, 0, w), (M, np.array([1.0, 2, 3, 4])), 2.0**-9),
    "searchsorted": (lambda v, x: (np.searchsorted(v, x), np.searchsorted(V, x), np.searchsorted(v, 2.5)), (V, X), 0),
    "searchsorted right": (lambda v, x: np.searchsorted(v, x, side="right"), (V, np.array([0.0, 2.5, 9, -9])), 0),
    "isin": (lambda x: (np.isin(x, [1, 2, 3, -5]), np.isin(x, [0], invert=True)), (I,), 0),
    "array_equal": (lambda x, y: (np.array_equal(x, y), np.array_equal(x, x)), (M, M + 1), 0),
    "ufunc methods": (lambda x: (np.add.reduce(x), np.maximum.reduce(x, axis=1), np.add.accumulate(x)), (M,), 0),
    "ufunc outer": (lambda x, y: (np.add.outer(x, y), np.less.outer(V, x)), (M, V), 0),
    "hypot": (lambda x, y: np.hypot(x, y), (M, M[::-1]), 2.0**-11),
    "logaddexp": (lambda x, y: np.logaddexp(x, y), (M, M[::-1]), 2.0**-11),
    "copysign": (lambda x, y: (np.copysign(x, y), np.copysign(x, -1.0), np.copysign(2.5, x), np.signbit(x)), (M, M.T), 0),
    "states": (lambda x: (np.isnan(x), np.isinf(x), np.isfinite(x)), (M,), 0),
    "methods": (
        lambda x: (x.prod(0), x.cumsum(1), x.any(), x.all(0), x.argmin(1), x.trace(), x.take([1, 2], 0)),
        (I @ I.T,),
        0,
    ),
    "clip by name": (lambda x: (np.clip(x, min=-1, max=2.5), x.clip(max=0), x.clip(min=M)), (M,), 0),
    "empty keys": (lambda x: (x[[]], x[:, []], x[np.zeros(2, bool)]), (X,), 0),
}


def revealed(s: Session, results: Any) -> list[Any]:
    parts = list(results) if isinstance(results, (tuple, list)) else [results]
    values = iter(s.reveal(*[p for p in parts if isinstance(p, mpc.Array)]))
    return [next(values) if isinstance(p, mpc.Array) else p for p in parts]


def check(s: Session, f: Callable[..., Any], inputs: tuple[Any, ...], tolerance: float) -> None:
    found = revealed(s, f(*(s.input(x, owner=i % s.n) for i, x in enumerate(inputs))))
    wanted = f(*map(np.asarray, inputs))
    wanted = list(wanted) if isinstance(wanted, (tuple, list)) else [wanted]
    assert len(found) == len(wanted)
    for k, (got, want) in enumerate(zip(found, wanted, strict=True)):
        assert np.shape(got) == np.shape(want), k
        assert np.asarray(got).dtype.kind == np.asarray(want).dtype.kind or tolerance, k
        assert np.all(np.abs(np.asarray(got, float) - want) <= tolerance), f"result {k}: {got} is not {want}"


@each_protocol
@pytest.mark.parametrize("name", CASES)
def test_function(name: str, protocol: str, n: int):
    with open_session(protocol, n) as s:
        check(s, *CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_cost_is_what_a_run_measures(s: Session, name: str):
    f, inputs, _ = CASES[name]
    results = f(*map(s.input, inputs))
    arrays = [r for r in (results if isinstance(results, (tuple, list)) else [results]) if isinstance(r, mpc.Array)]
    if arrays:
        report = s.cost(*arrays)
        s.reveal(*arrays)
        assert report.rounds == s._backend.rounds
        assert {k: b for k, b in report.links.items() if b} == {k: b for k, b in s._backend.links.items() if b}


# ---- any shape ----
shapes = hnp.array_shapes(max_dims=3, max_side=4)
few = settings(max_examples=25, deadline=None, derandomize=True)


@given(data=st.data(), shape=shapes)
@few
def test_any_key(data: Any, shape: tuple[int, ...]):
    """Reading and functional update at any public key."""
    x = np.arange(float(np.prod(shape))).reshape(shape)
    key = data.draw(hnp.basic_indices(shape, allow_newaxis=True) | hnp.integer_array_indices(shape) | hnp.arrays(bool, shape))
    y = np.arange(np.prod(x[key].shape)).reshape(x[key].shape) + 0.5
    put, added = x.copy(), x.copy()
    put[key] = y
    np.add.at(added, key, y)
    with open_session("helper", 3) as s:
        a = s.input(x)
        got = s.reveal(a[key], a.at[key].set(y), a.at[key].add(y), a.at[key].set(s.input(y, owner=1)), a.at[key].get())
        for found, wanted in zip(got, (x[key], put, added, put, x[key]), strict=True):
            assert np.array_equal(found, wanted)


@given(data=st.data(), shape=shapes)
@few
def test_any_shape(data: Any, shape: tuple[int, ...]):
    """Rearranging and reducing along any axes."""
    x = np.rint(np.random.default_rng(3).uniform(-4, 4, shape) / ULP) * ULP
    axes = tuple(data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1)))
    shift, keep = data.draw(st.integers(-5, 5)), data.draw(st.booleans())
    axis = axes[0]

    def f(x: Any) -> tuple[Any, ...]:
        return (
            np.flip(x, axes),
            np.roll(x, shift, axes),
            np.moveaxis(x, axis, -1),
            np.repeat(x, 2, axis),
            np.tile(x, (2,) * len(axes)),
            np.sum(x, axes, keepdims=keep),
            np.max(x, axes, keepdims=keep),
            np.cumsum(x, axis),
            np.diff(x, axis=axis),
            np.any(x > 1, axes, keepdims=keep),
            np.argmin(x, axis),
        )

    with open_session("plain", 2) as s:
        check(s, f, (x,), 0)


@given(data=st.data())
@few
def test_any_broadcast(data: Any):
    shape_x, shape_y = data.draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3)).input_shapes
    x, y = (np.random.default_rng(k).integers(-4, 4, shape).astype(float) for k, shape in enumerate((shape_x, shape_y)))
    with open_session("helper", 3) as s:
        check(
            s,
            lambda x, y: (x + y, x * y, x < y, np.where(x < y, x, y), np.maximum(x, y), *np.broadcast_arrays(x, y)),
            (x, y),
            0,
        )


# ---- creation, and functions of public values ----
def test_public_values_are_numpy_arrays():
    for made, wanted in (
        (mpc.zeros((2, 3)), np.zeros((2, 3))),
        (mpc.ones(2, dtype=mpc.int64), np.ones(2, int)),
        (mpc.full((2,), 7), np.full(2, 7)),
        (mpc.empty(3, dtype=mpc.bool), np.zeros(3, bool)),
        (mpc.arange(5), np.arange(5)),
        (mpc.arange(1, 5, 2), np.arange(1, 5, 2)),
        (mpc.linspace(0, 1, 5), np.linspace(0, 1, 5)),
        (mpc.eye(3, dtype=mpc.fixed64()), np.eye(3)),
        (mpc.asarray([1, 2]), np.array([1, 2])),
        (mpc.sum(np.arange(4)), 6),
        (mpc.concat([np.zeros(1), np.ones(1)]), [0, 1]),
        (mpc.linalg.inv(np.eye(2) * 2), np.eye(2) / 2),
        (mpc.astype(np.array([1.5]), mpc.int64), [1]),
    ):
        assert isinstance(made, (np.ndarray, np.generic))
        assert np.array_equal(made, wanted)


def test_code_for_the_standard_runs_on_secrets(s: Session):
    """Generic code asks the array for its namespace."""

    def standardised(x: Any) -> Any:
        xp = x.__array_namespace__()
        centred = x - xp.mean(x, axis=0)
        return xp.concat([xp.zeros((1, x.shape[1])), centred / xp.std(x, axis=0)])

    x = rng.normal(size=(20, 3))
    assert np.abs(standardised(s.input(x)).reveal() - standardised(x)).max() < 2.0**-8


def test_asarray_stacks_secrets(s: Session):
    x = s.input(V)
    assert np.array_equal(mpc.asarray([x[0], [x[1], x[2]][0], 7.0]).reveal(), [-3, -0.5, 7])
    assert mpc.asarray(x) is x
    assert str(mpc.asarray(x, dtype=mpc.int64).dtype) == "int64"


def test_secrets_like_others_can_be_carried(s: Session):
    x = s.input(I)
    total = mpc.fori(0, 3, lambda i, c: c + x[i], mpc.zeros_like(x[0]))
    assert np.array_equal(total.reveal(), I.sum(0))


def test_a_loop_reads_and_writes_at_its_index(s: Session):
    x = s.input(X)

    def step(i: Any, c: Any) -> Any:
        return c.at[:, i, 1].set(c[:, i, 2] * 2).at[i].add(1)

    wanted = X.copy()
    for i in range(2):
        wanted[:, i, 1] = wanted[:, i, 2] * 2
        wanted[i] += 1
    assert np.array_equal(mpc.fori(0, 2, step, x).reveal(), wanted)
    flags = mpc.fori(0, 3, lambda i, c: c.at[i].set(~c[i]), s.input(B))
    assert np.array_equal(flags.reveal(), ~B)


def test_dtypes(s: Session):
    x, i, b = s.input(X), s.input(I), s.input(B)
    assert mpc.result_type(x, i) == x.dtype == mpc.result_type(i, 1, x)
    assert mpc.result_type(b, i) == mpc.int64
    assert mpc.isdtype(x.dtype, "real floating")
    assert mpc.isdtype(i.dtype, ("bool", "integral"))
    assert not mpc.isdtype(b.dtype, "numeric")
    assert mpc.finfo(x).eps == ULP
    assert mpc.iinfo(i).max == 2**63 - 1
    assert mpc.can_cast(b, mpc.int64)
    assert not mpc.can_cast(i, x.dtype)
    assert str(i.astype(float).dtype) == "fixed64.16"
    assert str(x.astype(bool).dtype) == "bool"
    for wrong in (lambda: mpc.result_type(i, 0.5), lambda: mpc.finfo(i), lambda: mpc.iinfo(x), lambda: x.astype(np.complex64)):
        with pytest.raises(TypeMismatch):
            wrong()


# ---- refusals ----
REFUSED = {
    "nonzero": (np.nonzero, "mpc.where"),
    "argwhere": (np.argwhere, "mpc.where"),
    "unique": (np.unique, "Sort"),
    "counts": (np.unique_counts, "Sort"),
    "item": (lambda x: x.item(), "reveal"),
    "tolist": (lambda x: x.tolist(), "reveal"),
    "secret place": (lambda x: x.at[x[0]].set(0), "mpc.where"),
    "secret take": (lambda x: mpc.take(x, x), "mpc.where"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_say_what_to_write(s: Session, name: str):
    call, advice = REFUSED[name]
    with pytest.raises(SecretValueError, match=rf"test_arrays.py:\d+[\s\S]*{advice}"):
        call(s.input(I[0]))


@pytest.mark.parametrize("name", ["nonzero", "float32", "complex128", "from_dlpack", "unique_values"])
def test_absent_names_say_why(name: str):
    assert not hasattr(mpc, name)
    with pytest.raises(AttributeError, match=rf"no attribute '{name}'\.\n    \w+"):
        getattr(mpc, name)
    with pytest.raises(AttributeError, match=r"no attribute 'nonsense'$"):
        mpc.nonsense  # noqa: B018


WRONG = {
    "roll axis": lambda x: np.roll(x, 1, 5),
    "expand twice": lambda x: mpc.expand_dims(x, (0, 0)),
    "split unevenly": lambda x: np.split(x, 3, 0),
    "take outside": lambda x: np.take(x, [9], 1),
    "take_along shape": lambda x: np.take_along_axis(x, np.full((2, 3, 1), 9), 2),
    "transpose of a vector": lambda x: mpc.matrix_transpose(x[0, 0]),
    "cumulative without axis": lambda x: mpc.cumulative_sum(x),
    "update shape": lambda x: x.at[0].set(np.zeros(7)),
    "update outside": lambda x: x.at[9].set(0),
    "variance of too few": lambda x: x[:1].var(0, correction=1),
    "searchsorted in a matrix": lambda x: np.searchsorted(x, 1),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_shapes(s: Session, name: str):
    with warnings.catch_warnings(), pytest.raises(ShapeMismatch, match=r"test_arrays.py:\d+") as error:
        WRONG[name](s.input(X))
    assert isinstance(error.value, MPCError)
