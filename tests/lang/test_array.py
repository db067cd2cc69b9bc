"""Arrays look like NumPy's: shapes, dtypes, operators, functions, and nothing is sent before `reveal`."""

from __future__ import annotations

import numpy as np
import pytest

import mpc
from mpc.errors import MPCError, RangeError, SecretValueError, SessionError, ShapeMismatch, TypeMismatch
from mpc.lang.session import Session

X = np.arange(6.0).reshape(2, 3)


def test_an_array_knows_its_type(s: Session):
    x = s.input(X)
    assert (x.shape, x.ndim, x.size, len(x), str(x.dtype)) == ((2, 3), 2, 6, 2, "fixed64.16")
    assert repr(x) == "Array(fixed64.16[2, 3], secret)"
    assert x.T.shape == (3, 2)
    assert hash(x) == hash(x)


def test_nothing_runs_before_reveal(s: Session):
    y = mpc.nn.relu(s.input(X) @ s.input(X.T, owner=1))
    assert s._backend.epoch == 0
    y.reveal()
    assert s._backend.epoch == 1


@pytest.mark.parametrize(
    ("data", "dtype", "back"),
    [
        (1.5, "fixed64.16", np.float64),
        ([1, 2], "int64", np.int64),
        ([True, False], "bool", np.bool_),
        (np.float32([0.5]), "fixed64.16", np.float64),
        (np.uint8([200]), "uint8", np.uint8),
        (np.int8([-3]), "int8", np.int8),
        ([], "fixed64.16", np.float64),
        (np.zeros((0, 3), int), "int64", np.int64),
        (True, "bool", np.bool_),
        (7, "int64", np.int64),
    ],
)
def test_dtype_and_shape_follow_the_data(s: Session, data, dtype: str, back: type):
    x = s.input(data)
    assert str(x.dtype) == dtype
    assert x.shape == np.shape(data)
    y = x.reveal()
    assert np.shape(y) == np.shape(data)
    assert np.asarray(y).dtype == back
    assert np.array_equal(y, data)


def test_dtypes_can_be_chosen(s: Session):
    assert s.input([1, 2], dtype=mpc.fixed64(8)).reveal().tolist() == [1.0, 2.0]
    assert s.input([1.0, -2.0], dtype=mpc.int64).reveal().tolist() == [1, -2]
    assert s.input([1, 0], dtype=mpc.bool).reveal().tolist() == [True, False]
    assert s.input([0.1], dtype=mpc.fixed64(30)).reveal()[0] == pytest.approx(0.1, abs=2**-31)


@pytest.mark.parametrize("bits", [0, 41, -1])
def test_fraction_bits_have_limits(bits: int):
    with pytest.raises(MPCError, match="from 1 to 40"):
        mpc.fixed64(bits)


def test_operators_numpy_functions_and_module_functions_are_one(s: Session):
    x, y = s.input(X), s.input(X + 1, owner=1)
    sums = [x + y, np.add(x, y), mpc.add(x, y), X + y, np.add(X, y)]
    for z in s.reveal(*sums):
        assert np.array_equal(z, 2 * X + 1)
    assert x.__array_namespace__() is mpc
    assert np.array_equal(np.concatenate([x, y]).reveal(), np.concatenate([X, X + 1]))


def test_result_dtypes_by_kind(s: Session):
    f, i, b = s.input(X), s.input(X.astype(int)), s.input(X > 2)
    kinds = {
        "fixed64.16": [f + i, i * f, f * b, f + b, i / 2, f + 1, i + 0.5, b * 1.0 + f, mpc.mean(i), mpc.where(b, f, i)],
        "int64": [i + i, i * i, i + 1, i * 3, b + b, -b, b * 2, i * b, mpc.sum(b), mpc.maximum(i, 0), mpc.where(b, i, 1)],
        "bool": [f < i, b & b, ~b, b == b, i != 0, f >= 0.5, b ^ True],
    }
    for dtype, arrays in kinds.items():
        for k, array in enumerate(arrays):
            assert str(array.dtype) == dtype, f"{dtype} {k}"


def test_small_public_factors_keep_their_precision(s: Session):
    """1/5000 at 16 bits would be wrong by 0.8 %."""
    assert (s.input(np.full(3, 10_000.0)) * (1 / 5000)).reveal() == pytest.approx(2.0, rel=1e-5)
    assert s.input(np.full(3000, 7.0)).mean().reveal() == pytest.approx(7.0, rel=1e-4)


def test_means_of_large_numbers(s: Session):
    """The sum of 100 values of 4e8 times 0.01 would not fit a word."""
    assert s.input(np.full(100, 4.0e8)).mean().reveal() == pytest.approx(4.0e8, rel=1e-4)


def test_statistics_of_integers(s: Session):
    """The mean has the session's scale, so its square fits."""
    n = np.arange(1000)
    x = s.input(n)
    assert str(x.mean().dtype) == "fixed64.16"
    assert x.mean().reveal() == pytest.approx(n.mean(), rel=1e-5)
    assert x.var().reveal() == pytest.approx(n.var(), rel=1e-4)


def test_iteration_and_length(s: Session):
    rows = list(s.input(X))
    assert [r.shape for r in rows] == [(3,), (3,)]
    assert np.array_equal(s.reveal(*rows), X)
    with pytest.raises(TypeError, match="without axes"):
        len(s.input(1.0))


# ---- wrong shapes, types and ranges: said where they are written ----
SHAPES = {
    "add": lambda x, v: x + v,
    "add public": lambda x, v: x + np.zeros(5),
    "multiply": lambda x, v: x * v,
    "compare": lambda x, v: x < v,
    "where": lambda x, v: mpc.where(x > 0, x, v),
    "matmul": lambda x, v: x @ x,
    "matmul public": lambda x, v: x @ np.zeros((2, 2)),
    "matmul scalar": lambda x, v: x @ v.sum(),
    "reshape": lambda x, v: x.reshape(4, 2),
    "reshape -1": lambda x, v: x.reshape(-1, 4),
    "transpose": lambda x, v: x.transpose(0, 0),
    "concatenate": lambda x, v: mpc.concatenate([x, v]),
    "stack": lambda x, v: mpc.stack([x, v]),
    "squeeze": lambda x, v: mpc.squeeze(x, 0),
    "sum axis": lambda x, v: x.sum(axis=2),
    "max axis": lambda x, v: x.max(axis=-3),
    "mean of nothing": lambda x, v: x[:0].mean(),
    "max of nothing": lambda x, v: x[:0].max(axis=0),
    "index": lambda x, v: x[2],
    "index array": lambda x, v: x[[0, 2]],
    "too many indices": lambda x, v: x[0, 0, 0],
    "short mask": lambda x, v: x[np.array([True])],
    "long mask": lambda x, v: x[np.array([True, False, False])],
    "mask of another shape": lambda x, v: x[np.ones((3, 2), bool)],
    "broadcast_to": lambda x, v: mpc.broadcast_to(x, (2, 4)),
    "secret exponent": lambda x, v: x**v,
    "array exponent": lambda x, v: x ** np.array([2, 3]),
}


@pytest.mark.parametrize("name", SHAPES)
def test_wrong_shapes(s: Session, name: str):
    x, v = s.input(X), s.input(np.zeros(4), owner=1)
    with pytest.raises(ShapeMismatch, match=r"test_array.py:\d+") as error:
        SHAPES[name](x, v)
    assert isinstance(error.value, ValueError)


TYPES = {
    "and of numbers": lambda x, i, b: x & b,
    "not of numbers": lambda x, i, b: ~x,
    "xor of numbers": lambda x, i, b: x ^ i,
    "shift of numbers": lambda x, i, b: x << 1,
    "uint64 and signed": lambda x, i, b: i.astype(np.uint64) + i,
    "where on numbers": lambda x, i, b: mpc.where(x, x, i),
    "and with a fraction": lambda x, i, b: b & 2.5,
    "text": lambda x, i, b: x + "1",
    "object": lambda x, i, b: x + np.array([None]),
    "complex": lambda x, i, b: x * 1j,
    "fraction index": lambda x, i, b: x[1.5],
}


@pytest.mark.parametrize("name", TYPES)
def test_wrong_types(s: Session, name: str):
    x, i, b = s.input(X), s.input(X.astype(int)), s.input(X > 1)
    with pytest.raises(TypeMismatch, match=r"test_array.py:\d+") as error:
        TYPES[name](x, i, b)
    assert isinstance(error.value, TypeError)


RANGES = {
    "public too large": lambda x, i: x + 1e15,
    "public factor too large": lambda x, i: x * 1e30,
    "public integer too large": lambda x, i: i + 2**63,
    "public integer factor": lambda x, i: i * np.uint64(2**64 - 1),
}


@pytest.mark.parametrize("name", RANGES)
def test_public_operands_out_of_range(s: Session, name: str):
    with pytest.raises(RangeError):
        RANGES[name](s.input(X), s.input(X.astype(int)))


def test_division_by_a_public_zero(s: Session):
    with pytest.raises(ZeroDivisionError, match=r"test_array.py:\d+"):
        s.input(X) / np.array([1.0, 0.0, 2.0])


def test_arrays_of_two_sessions_do_not_mix(s: Session, plain: Session):
    x, y = s.input(X), plain.input(X)
    for mix in (lambda: x + y, lambda: mpc.where(x > 0, y, 1), lambda: mpc.concatenate([x, y])):
        with pytest.raises(SessionError, match="different sessions"):
            mix()
    with pytest.raises(SessionError, match="another session"):
        s.reveal(x, y)


@pytest.mark.parametrize(
    "call",
    [
        np.linalg.eig,
        np.i0,
        lambda x: np.partition(x, 1),
        lambda x: np.add(x, 1, where=True),
        np.subtract.reduce,
        lambda x: np.add.at(x, 0, 1),
    ],
)
def test_what_is_not_available_is_listed(s: Session, call):
    with pytest.raises(
        SecretValueError, match=r"np\.\w+.* is not available on secrets.*test_array.py:\d+[\s\S]*Available:.*matmul"
    ):
        call(s.input(X))
