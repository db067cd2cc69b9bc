"""Integers of every width, as NumPy has them: wrap-around, promotion, comparisons, bits, division, order."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mpc
from mpc.errors import RangeError, RangeWarning, TypeMismatch
from mpc.lang.session import Session

from ..memory import open_session
from .test_arrays import PROTOCOLS, revealed

NAMES = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
NARROW = [n for n in NAMES if "64" not in n]
# every width under one protocol, each in turn; the slow runs fill the table
each_width = pytest.mark.parametrize(
    ("protocol", "n", "name"),
    [
        pytest.param(*p, name, marks=[] if (i + k) % 3 == 0 else pytest.mark.slow, id=f"{p[0]}-{name}")
        for k, p in enumerate(PROTOCOLS)
        for i, name in enumerate(NAMES)
    ],
)
rng = np.random.default_rng(11)


def numbers(name: str, count: int = 24) -> np.ndarray:
    """The ends of the type, what is next to them and in the middle, and random ones."""
    i = np.iinfo(name)
    edges = np.array([i.min, i.min + 1, i.max, i.max - 1, 0, 1, i.max // 2, i.max // 2 + 1], name)
    return rng.permutation(np.concatenate([edges, rng.integers(i.min, i.max, count - 8, name, endpoint=True)]))


def same(s: Session, f: Callable[..., Any], *inputs: np.ndarray) -> None:
    """f on secrets gives NumPy's values, in NumPy's dtypes."""
    with np.errstate(all="ignore"):
        wanted = f(*inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RangeWarning)  # wrapping around is what these types are for
        found = revealed(s, f(*(s.input(x, owner=k % s.n) for k, x in enumerate(inputs))))
    for k, (got, want) in enumerate(zip(found, wanted, strict=True)):
        assert got.dtype == want.dtype, f"result {k}: {got.dtype}, not {want.dtype}"
        assert np.array_equal(got, want), f"result {k}: {got[got != want]}, not {want[got != want]}"


@each_width
def test_arithmetic_wraps_around(protocol: str, n: int, name: str):
    def f(x: Any, y: Any) -> tuple[Any, ...]:
        return (
            x + y,
            x - y,
            x * y,
            -x,
            x * 3 + 1 - y,
            np.abs(x),
            np.sign(x),
            np.square(x),
            np.diff(x),
            x.reshape(4, 6) @ y.reshape(6, 4),
        )

    with open_session(protocol, n) as s:
        same(s, f, numbers(name), numbers(name))


@each_width
def test_comparisons_are_exact(protocol: str, n: int, name: str):
    def f(x: Any, y: Any) -> tuple[Any, ...]:
        equal = x == y, (x + y) != (y + 1), x.astype(bool), np.any(x)
        if name == "int64":  # there differences must fit
            return equal
        order = (
            x < y,
            x <= y,
            (x + y) < (x * y),
            np.maximum(x, y),
            np.minimum(x + y, y),
            np.clip(x, 3, 100),
            np.where(x > y, x, y),
        )
        return *equal, *order, np.argmax(x), np.argmin(x), np.max(x), np.min(x)

    with open_session(protocol, n) as s:
        same(s, f, numbers(name), numbers(name))


@each_width
def test_bits_and_shifts(protocol: str, n: int, name: str):
    width = np.iinfo(name).bits
    by = rng.integers(0, width, 24).astype(name)

    def f(x: Any, y: Any, by: Any) -> tuple[Any, ...]:
        bits = x & y, (x + y) | y, x ^ y, ~(x + y), x & 5
        return *bits, x << 3, x >> 2, (x + y) >> (width - 1), x << by, x >> by, 100 >> by

    with open_session(protocol, n) as s:
        same(s, f, numbers(name), numbers(name), by)
        x = numbers(name)
        planes = mpc.bits(s.input(x))
        assert len(planes) == width
        assert np.array_equal(mpc.from_bits(planes, dtype=s.input(x).dtype).reveal(), x)


@each_width
def test_division(protocol: str, n: int, name: str):
    last = np.iinfo(name).max
    x, y = numbers(name), numbers(name)
    y = np.where(y == 0, np.array(5, name), y)
    if name == "int64":
        x //= 4
    divisors = np.array([[1], [3], [100], [last], [last // 2]], name)
    with open_session(protocol, n) as s:
        same(s, lambda x: (x // 7, x % 7, *divmod(x, 100), x // divisors, x % divisors), x)
        if name in NARROW:
            same(s, lambda x, y: (x // y, x % y, 100 // y), x, y)


def test_division_by_large_secrets(s: Session):
    x = np.array([2**32 - 1, -(2**32), 2**31, 12345678901 % 2**32, 7, 0, -1, 2**32 - 1])
    y = np.array([1, 2**32 - 1, -(2**31), 97, 2**32, 3, 2**20, -(2**16) - 1])
    same(s, lambda x, y: (x // y, x % y, x[:, None] // y, x[:, None] % y), x, y)


@each_width
def test_sums_and_order(protocol: str, n: int, name: str):
    def f(x: Any) -> tuple[Any, ...]:
        sums = np.sum(x), np.cumsum(x), np.prod(x[:2]), np.sum(x, dtype=name), np.count_nonzero(x)
        moved = np.concatenate([x, x[:1]]), np.pad(x, 1), np.diag(x[:3]), np.roll(x, 3)
        order = np.argsort(x, stable=True), np.argsort(-x, stable=True)
        return *sums, *moved, *(() if name == "int64" else (np.sort(x), *order, np.ptp(x)))

    with open_session(protocol, n) as s, warnings.catch_warnings():
        same(s, f, numbers(name) // (8 if name in ("int32", "int64") else 1))


@pytest.mark.parametrize("name", ["int8", "uint16", "uint64"])
def test_long_rows_are_sorted(s: Session, name: str):
    x = numbers(name, 200)
    same(s, lambda x: (np.sort(x), np.argsort(x, stable=True)), x)
    found = mpc.group_by(s.input(x // 16), s.input(x))
    keys, counts = np.unique(x // 16, return_counts=True)
    got, many, total = s.reveal(found.keys, found.counts, found.number)
    assert total == len(keys)
    assert got.dtype == x.dtype
    assert np.array_equal(got[:total], keys)
    assert np.array_equal(many[:total], counts)


@each_width
def test_conversions_and_promotion(protocol: str, n: int, name: str):
    x = numbers(name)
    others = [o for o in NAMES if np.result_type(name, o).kind != "f"]
    with open_session(protocol, n) as s:
        same(s, lambda x: tuple((x + x).astype(o) for o in NAMES), x)
        for other in others:
            z = numbers(other)
            same(s, lambda x, z: (x * z + x, np.concatenate([x, z]), np.where(x == z, x, z)), x, z)
            if name not in ("int64", "uint64") or other == name:  # public integers of NumPy promote like secrets
                same(s, lambda x, z=z: (x * z + x, z - x), x)
        small = (x.astype(np.int64) & 127).astype(name)
        values = small.astype(float)
        a, b = s.input(small), s.input(np.arange(24) / 4)
        found = s.reveal(a * 0.5, a + 0.5, a / 4, np.mean(a), a * b, a + b, np.median(a), a.astype(float))
        wanted = (values / 2, values + 0.5, values / 4, values.mean(), values * np.arange(24) / 4, values + np.arange(24) / 4,
                  np.median(values), values)  # fmt: skip
        for got, want in zip(found, wanted, strict=True):
            assert np.abs(got - want).max() <= 2.0**-9


@given(data=st.data(), name=st.sampled_from(NAMES), other=st.sampled_from(NARROW))
@settings(max_examples=10, deadline=None, derandomize=True)
def test_any_numbers(data: st.DataObject, name: str, other: str):
    i, j = np.iinfo(name), np.iinfo(other)
    x = np.array(data.draw(st.lists(st.integers(int(i.min), int(i.max)), min_size=1, max_size=4)), name)
    y = np.array(data.draw(st.integers(int(j.min), int(j.max)).filter(bool)), other)
    with open_session("helper", 3) as s:
        if np.result_type(x, y).kind == "f":
            with pytest.raises(TypeMismatch, match="uint64"):
                s.input(x) + s.input(y)
        else:
            same(s, lambda x, y: (x * y, x ^ y, x == y, ~(x + x), x.astype(other) // y, x.astype(other) < y), x, y)


def test_what_is_opened_are_the_bits_of_the_type():
    """Higher bits of the words would tell how a value was computed."""
    with open_session("additive", 2, record=True) as s:
        x, y = s.input(np.uint8([200, 16])), s.input(np.uint8([77, 17]), owner=1)
        assert (x * y + x).reveal().tolist() == [(200 * 78) % 256, (16 * 18) % 256]
        (last,) = {step for v in s._backend.views[:2] for step, *_ in v.sent[-1:]}
        shares = [a for v in s._backend.views[:2] for step, _, a in v.sent if step == last]
        assert not (sum(shares) & np.uint64(2**56 - 1)).any()


def bytes_of(s: Session, x: mpc.Array) -> int:
    return sum(s.cost(x).links.values())


def test_ranges_show_where_nothing_wraps(s: Session):
    """Fresh inputs are compared in a window of their width, and widened for nothing."""
    x, y, wide = s.input(np.uint8([1])), s.input(np.uint8([2])), s.input([1])
    assert bytes_of(s, x < y) < bytes_of(s, wide < wide + 1) / 2
    assert s.cost(x.astype(mpc.int64)).rounds == s.cost(wide).rounds
    assert s.cost((x.astype(mpc.int16) + y).astype(mpc.int64)).rounds == s.cost(wide).rounds
    assert s.cost((x * 200).astype(mpc.uint8).astype(mpc.int64)).rounds > s.cost(wide).rounds


@pytest.mark.parametrize(
    ("f", "error", "says"),
    [
        (lambda x: x + 256, RangeError, "0 .. 255"),
        (lambda x: x.astype(mpc.uint64) + x.astype(mpc.int8), TypeMismatch, "astype"),
        (lambda x: x & 0.5, TypeMismatch, "integers"),
        (lambda x: mpc.bits(x, [8]), mpc.errors.UsageError, "0 to 7"),
        (lambda x: mpc.grad(mpc.sum)(x), mpc.errors.UsageError, "fixed64"),
    ],
)
def test_what_cannot_be_says_why(s: Session, f: Any, error: type[Exception], says: str):
    with pytest.raises(error, match=says):
        f(s.input(np.uint8([1, 2])))


def test_what_dtypes_say(s: Session):
    x = s.input(np.uint8([1]))
    assert str(x.dtype) == "uint8"
    assert mpc.iinfo(mpc.int16) == (16, -(2**15), 2**15 - 1, mpc.int16)
    assert mpc.result_type(x, mpc.int8) == mpc.int16 == mpc.result_type(x, mpc.int8, 3)
    assert mpc.isdtype(x.dtype, "unsigned integer")
    assert not mpc.isdtype(x.dtype, "signed integer")
    assert mpc.can_cast(x, mpc.int16)
    assert not mpc.can_cast(x, mpc.int8)
    assert mpc.zeros(2, mpc.uint16).dtype == np.uint16
    assert s.input([1, 2], dtype=mpc.int32).reveal().dtype == np.int32
    with pytest.raises(RangeError, match=r"-128 \.\. 127"):
        s.input([128], dtype=mpc.int8)
