"""Sessions of 128 and of 32 bits: every kind of gate on every protocol, at the edges of the word."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

import mpc
from mpc.errors import RangeError, RangeWarning, TypeMismatch, UsageError
from mpc.ir.program import Program
from mpc.run.chunks import CHUNK

from .memory import open_session, settings

SETTINGS = [(p, n) for p, n in settings() if n < 5]
each_setting = pytest.mark.parametrize(("protocol", "n"), SETTINGS, ids=lambda v: str(v))
each_dtype = pytest.mark.parametrize("dtype", [mpc.fixed128(40), mpc.fixed32(8)], ids=str)


def numbers(dtype: mpc.DType, size: int, seed: int = 0) -> np.ndarray:
    """Multiples of 2^-f whose products fit, of every size; edges first."""
    f, bits = dtype.fraction, (dtype.bits - 4) // 2
    rng = np.random.default_rng(seed)
    whole = np.rint(rng.uniform(-1, 1, size) * 2.0 ** rng.integers(0, min(bits, 50), size))
    whole[:6] = [0, 1, -1, 2.0**bits, -(2.0**bits), 2**f]
    return whole * 2.0**-f


@each_setting
@each_dtype
def test_gates(dtype: mpc.DType, protocol: str, n: int):
    X, Y, ulp = numbers(dtype, 100), numbers(dtype, 100, 1)[::-1].copy(), 2.0**-dtype.fraction
    C = np.arange(100) % 3 == 0
    with open_session(protocol, n, dtype=dtype) as s:
        x, y, c = s.input(X, owner=0), s.input(Y, owner=n - 1), s.input(C)
        found = s.reveal(x + y, x - y, -x, x.sum(), mpc.cumsum(x), x * y, x * x, x * 0.75, x < y, x == y, mpc.where(c, x, y),
                         mpc.nn.relu(x), c * x, mpc.maximum(x, y), x[::-1].reshape(10, 10).T, mpc.concatenate([x, y]),
                         mpc.floor(x), x.astype(mpc.int64), (x < 0) & c | ~c)  # fmt: skip
    so_far = np.array([math.fsum(X[: k + 1]) for k in range(100)])
    wanted = [X + Y, X - Y, -X, so_far[-1], so_far, X * Y, X * X, X * 0.75, X < Y, X == Y, np.where(C, X, Y),
              np.maximum(X, 0), C * X, np.maximum(X, Y), X[::-1].reshape(10, 10).T, np.concatenate([X, Y]),
              np.floor(X), np.floor(X), (X < 0) & C | ~C]  # fmt: skip
    for k, (got, want) in enumerate(zip(found, wanted, strict=True)):
        bound = ulp + 2.0**-50 * np.abs(want) if k in (5, 6, 7) else 0
        assert (np.abs(got.astype(float) - np.asarray(want, float)) <= bound).all(), k


@each_setting
@each_dtype
@pytest.mark.parametrize("rounding", ["dither", "floor", "nearest"])
def test_matrices_and_roundings(dtype: mpc.DType, protocol: str, n: int, rounding: str):
    rng, one = np.random.default_rng(4), 2**dtype.fraction
    X, Y = rng.integers(-20 * one, 20 * one, (4, 6)), rng.integers(-one, one, (6, 3))
    exact = X.astype(object) @ Y.astype(object)
    with open_session(protocol, n, truncation=rounding, dtype=dtype) as s:
        found = (s.input(X / one) @ s.input(Y / one, owner=n - 1)).reveal() * one
    low = exact >> dtype.fraction
    if rounding == "floor":
        assert np.array_equal(found, low)
    elif rounding == "nearest":
        assert np.array_equal(found, (exact + one // 2) >> dtype.fraction)
    else:
        assert np.isin(found - low, (0, 1)).all()


@each_setting
def test_integers_are_as_wide_as_the_ring(protocol: str, n: int):
    """They wrap, and are revealed as Python ints where int64 does not hold them."""
    with open_session(protocol, n, dtype=mpc.fixed128(40)) as s:
        x = s.input(np.array([3**60, -(3**60), 7], object))
        assert str(x.dtype) == "int128"
        product, equal, less, small = s.reveal(x * (2**30), x == -x, x < 0, x[2:])
        assert product.tolist() == [3**60 * 2**30, -(3**60) * 2**30, 7 * 2**30]
        assert product.dtype == object
        assert small.dtype == np.int64
        assert equal.tolist() == [False] * 3
        assert less.tolist() == [False, True, False]
        wrapped = (s.input(np.array([2**126], object)) * 3).reveal()
        assert wrapped.tolist() == [3 * 2**126 - 2**128]
        with pytest.raises(RangeError, match=r"2\^127"):
            s.input(np.array([2**127], object))
    with open_session(protocol, n, dtype=mpc.fixed32(8)) as s:
        assert (s.input(np.array([2**30])) * 2).reveal().tolist() == [-(2**31)]
        with pytest.raises(RangeError, match=r"2\^31"):
            s.input(np.array([2**31]))


@pytest.mark.parametrize("protocol", ["helper", "replicated", "plain"])
def test_chunks_of_wide_words(protocol: str):
    X = np.rint(np.random.default_rng(5).uniform(-(2.0**20), 2.0**20, CHUNK + 4465))
    with open_session(protocol, 3, dtype=mpc.fixed128(40)) as s:
        x = s.input(X)
        square, relu, less = s.reveal(x * x, mpc.nn.relu(x), x < X[::-1])
    assert np.array_equal(square, X * X)
    assert np.array_equal(relu, np.maximum(X, 0))
    assert np.array_equal(less, X < X[::-1])


CURVES = np.linspace(-9, 9, 200)
SIZES = np.concatenate([2.0 ** np.linspace(-9, 14, 60), [2.0**36]])
erf = np.vectorize(math.erf, otypes=[float])
FUNCTIONS = {  # name -> function, float64, where, log2 of its error relative to max(1, |y|) in units of 2^-f
    "sigmoid": (mpc.nn.sigmoid, lambda v: 1 / (1 + np.exp(-v)), CURVES, 2.5),
    "tanh": (mpc.tanh, np.tanh, CURVES, 2.5),
    "erf": (mpc.erf, erf, CURVES, 2.5),
    "gelu": (mpc.nn.gelu, lambda v: v * (1 + erf(v / 2**0.5)) / 2, CURVES, 3),
    "silu": (mpc.nn.silu, lambda v: v / (1 + np.exp(-v)), CURVES, 3.5),
    "softplus": (mpc.nn.softplus, lambda v: np.logaddexp(0, v), CURVES, 3.5),
    "exp": (mpc.exp, np.exp, CURVES, 1.5),
    "sin": (mpc.sin, np.sin, 100 * CURVES, 1),
    "reciprocal": (mpc.reciprocal, np.reciprocal, SIZES[:-1], 0.5),
    "rsqrt": (mpc.rsqrt, lambda v: v**-0.5, SIZES, 0.5),
    "sqrt": (mpc.sqrt, np.sqrt, SIZES, 0.5),
    "log": (mpc.log, np.log, SIZES, 0.5),
    "asin": (mpc.asin, np.arcsin, CURVES / 9, 2.5),
    "atan": (mpc.atan, np.arctan, CURVES, 2),
    "atan2": (lambda x: mpc.atan2(x, 1), np.arctan, CURVES, 1),
    "asinh": (mpc.asinh, np.arcsinh, CURVES, 2),
    "cbrt": (mpc.cbrt, np.cbrt, SIZES, 0.5),
}


@pytest.mark.parametrize(
    ("protocol", "n", "rounding"), [("helper", 3, "dither"), ("additive", 3, "dither"), ("replicated", 3, "nearest")]
)
@pytest.mark.parametrize("f", [pytest.param(32, marks=pytest.mark.slow), 40])
def test_functions_at_128_bits(protocol: str, n: int, rounding: str, f: int):
    """All in one run: a few units of 2^-f, where 64 bits end at 2^-23 or so."""
    points = [np.rint(v * 2.0**f) / 2.0**f for _, _, v, _ in FUNCTIONS.values()]
    with open_session(protocol, n, rounding, mpc.fixed128(f)) as s:
        found = s.reveal(*(g(s.input(v)) for (g, *_), v in zip(FUNCTIONS.values(), points, strict=True)))
    for (name, (_, plain, _, units)), v, got in zip(FUNCTIONS.items(), points, found, strict=True):
        exact = plain(v)
        error = np.abs((got - exact) / np.maximum(1, np.abs(exact))).max()
        assert math.log2(error) + f <= units, name


@pytest.mark.parametrize("protocol", ["helper", "replicated", "plain"])
@each_dtype
def test_sorts_of_long_rows(dtype: mpc.DType, protocol: str):
    X = numbers(dtype, 200)
    with open_session(protocol, 3, dtype=dtype) as s:
        assert np.array_equal(mpc.sort(s.input(X)).reveal(), np.sort(X))


def test_ranges_that_leave_64_bits():
    with open_session("helper", 3, dtype=mpc.fixed128(40)) as s:
        assert abs((s.input(1e5) * s.input(1e5)).reveal() - 1e10) < 1e-6
    with open_session("helper", 3, dtype=mpc.fixed128(20)) as s:
        assert (s.input(2.0**40) * s.input(2.0**40)).reveal() == 2.0**80
    with open_session("helper", 3, dtype=mpc.fixed32(8)) as s, pytest.warns(RangeWarning, match=r"fixed32\.8.*fixed64"):
        (s.input(100.0, low=-200, high=200) * s.input(100.0, low=-200, high=200)).reveal()


def test_a_session_has_one_width():
    with open_session("helper", 3, dtype=mpc.fixed128(40)) as s:
        x = s.input(1.5)
        for wrong in (lambda: x.astype(mpc.fixed64(16)), lambda: s.input(1.0, dtype=mpc.fixed32(8))):
            with pytest.raises(TypeMismatch, match=r"mpc\.fixed128"):
                wrong()
        assert str(x.astype(mpc.fixed128(16)).dtype) == "fixed128.16"


@each_dtype
@pytest.mark.parametrize("name", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "uint64"])
def test_integers_of_other_widths_are_refused(dtype: mpc.DType, name: str):
    """But for data, which become the session's own integers."""
    numpys, own, values = np.dtype(name), getattr(mpc, name), np.array([1, 2, 100], name)
    with open_session("helper", 3, dtype=dtype) as s:
        x, c = s.input(np.array([5, 6, 7])), s.input(np.array([True, False, True]))
        for wrong in (
            lambda: x.astype(numpys),
            lambda: x.astype(own),
            lambda: mpc.asarray(x, dtype=numpys),
            lambda: mpc.sum(x, dtype=own),
            lambda: mpc.zeros_like(x, dtype=numpys),
            lambda: mpc.full_like(x, 3, dtype=own),
            lambda: mpc.from_bits(mpc.bits(x, [0, 1]), dtype=own),
            lambda: s.input(values, dtype=own),
        ):
            with pytest.raises(TypeMismatch, match=rf"{name}.*mpc\.int64.*mpc\.fixed64"):
                wrong()
        found = s.reveal(s.input(values), x + values, np.where(c, values, x), mpc.concatenate([x, values]), c * values,
                         *mpc.permute(s.input(np.array([2, 0, 1])), values, x), mpc.sort(s.input(values)))  # fmt: skip
    wanted = [values, [6, 8, 107], [1, 6, 100], [5, 6, 7, 1, 2, 100], [1, 0, 100], [2, 100, 1], [6, 7, 5], values]
    for got, want in zip(found, wanted, strict=True):
        assert got.dtype == np.int64
        assert got.tolist() == list(want)


@each_dtype
def test_limits_of_types(dtype: mpc.DType):
    with open_session("plain", 3, dtype=dtype) as s:
        x = s.input(np.array([3, 5, 3]))
        info, whole = mpc.finfo(dtype), mpc.iinfo(x)
        assert (info.bits, whole.bits) == (dtype.bits, dtype.bits)
        assert s.input(info.max).reveal() == info.max
        with pytest.raises(RangeError):
            s.input(2.0 ** (dtype.bits - 2 - dtype.fraction))
        top = s.input(np.array([whole.max, whole.min], object))
        assert [int(v) for v in top.reveal()] == [whole.max, whole.min]
        assert np.array_equal(mpc.zeros(2, dtype=x.dtype), np.zeros(2, np.int64))
        assert mpc.result_type(x, np.zeros(2, np.uint8)) == x.dtype
        assert mpc.group_by(x, x).sums[0].reveal().tolist() == [6, 5, 0]


@pytest.mark.parametrize("dtype", [mpc.fixed64(16), mpc.fixed128(40), mpc.fixed32(8)], ids=str)
def test_bits_and_shifts(dtype: mpc.DType):
    """Whole words of bits give no warning; a public shift that is none has an error."""
    X, last = np.array([5, -3, 7]), dtype.bits - 1
    with open_session("plain", 3, dtype=dtype) as s:
        x = s.input(X, low=-10, high=10)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = s.reveal(mpc.from_bits(mpc.bits(x)), x & x[::-1], x ^ -1, x << (x * 0 + 1), x >> 1, x >> last)
        for got, want in zip(found, (X, X & X[::-1], X ^ -1, X << 1, X >> 1, X >> 63), strict=True):
            assert np.array_equal(got, want)
        for wrong in (lambda: x << -1, lambda: x >> -1, lambda: x << np.array([1, -2, 0]), lambda: x >> last + 1):
            with pytest.raises(UsageError, match=rf"0 to {last} bits"):
                wrong()


@pytest.mark.parametrize("dtype", [mpc.fixed64(16), mpc.fixed128(16), mpc.fixed32(8)], ids=str)
@pytest.mark.parametrize("size", ["small", "large", "several"])
def test_division_by_public_integers(dtype: mpc.DType, size: str):
    top = dtype.bits - 3
    X = [s * (1 << k) + e for k in range(top) for s in (1, -1) for e in (-1, 0, 1)] + [2**top - 1, 1 - 2**top]
    Y = {"small": [7], "large": [-(1 << top - 2) - 1], "several": [(1 << k % (top - 1)) + 1 for k in range(len(X))]}[size]
    with open_session("plain", 3, dtype=dtype) as s:
        quotient, rest = s.reveal(*divmod(s.input(np.array(X, object)), np.array(Y, object)))
    wanted = [divmod(x, y) for x, y in zip(X, Y * (len(X) // len(Y)), strict=True)]
    assert list(zip(map(int, quotient), map(int, rest), strict=True)) == wanted


def test_random_words_fit_the_word():
    with open_session("helper", 3, dtype=mpc.fixed32(8)) as s:
        assert (mpc.random.words(s, 40, 31).reveal() >= 0).all()
        for wrong in (lambda: mpc.random.words(s, 4, 32), lambda: mpc.random.private(s.input(np.arange(3)), 1.0, 1.0)):
            with pytest.raises(UsageError, match=r"1 to 31.*mpc\.fixed64"):
                wrong()


@each_setting
@each_dtype
def test_rehearsed_is_measured(dtype: mpc.DType, protocol: str, n: int):
    X = numbers(dtype, 300)
    with open_session(protocol, n, dtype=dtype) as s:
        x, y = s.input(X), s.input(X[::-1], owner=n - 1)
        z = mpc.where(x < y, x * y, mpc.nn.relu(x)) + mpc.sort(x) + mpc.sin(y)
        z = z + mpc.sqrt(x) if dtype.bits == 128 else z
        cost = s.cost(z)
        z.reveal()
        backend = s._backend
        assert {k: b for k, b in backend.links.items() if b} == {k: b for k, b in cost.links.items() if b}  # type: ignore[union-attr]
        assert cost.rounds == backend.rounds  # type: ignore[union-attr]


def test_a_program_survives_its_binary_form():
    with open_session("helper", 3, dtype=mpc.fixed128(40)) as s:
        program = s.equations([mpc.sin(s.input(1.0)) * 2.0**50])
    again = Program.unpack(program.pack())
    assert again.ring == "2^128"
    assert again.digest == program.digest
