"""Bits, shifts, division with remainder, rounding: exact, as NumPy has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mpc
from mpc.errors import TypeMismatch
from mpc.lang.session import Session

from ..memory import open_session
from .test_arrays import check, each_protocol

ULP = 2.0**-16
EDGES = np.array([0, 1, -1, 2, 255, -256, 2**31, -(2**31), 2**60, -(2**60), 2**61 - 1, 1 - 2**61, 12345678901, -98765])
WHOLE = np.array([0, 1, -1, 2**63 - 1, -(2**63), 2**62, -(2**62) - 1, 0x0123456789ABCDEF])
HALVES = np.array([-2.5, -2.0, -1.5, -1.0, -0.5, -ULP, 0.0, ULP, 0.5, 1.0, 1.5, 2.5, 3.5, 0.25, -0.75, 1e4 + 0.5])
few = settings(max_examples=20, deadline=None, derandomize=True)
words = st.integers(-(2**63), 2**63 - 1)


@each_protocol
def test_bits_are_the_words(protocol: str, n: int):
    with open_session(protocol, n) as s:
        x = s.input(WHOLE)
        planes = mpc.bits(x)
        got, back, few = s.reveal(planes, mpc.from_bits(planes), mpc.bits(x, [0, 63]))
        assert np.array_equal(got, [(WHOLE >> k & 1).astype(bool) for k in range(64)])
        assert np.array_equal(back, WHOLE)
        assert np.array_equal(few, [WHOLE & 1, WHOLE < 0])


@each_protocol
def test_bit_operations(protocol: str, n: int):
    y = np.roll(WHOLE, 3)

    def f(x: Any, y: Any) -> tuple[Any, ...]:
        return x & y, x | y, x ^ y, ~x, x & 255, -4096 | x, x ^ WHOLE[::-1], x & 0, x & (y < 0)

    with open_session(protocol, n) as s:
        check(s, f, (WHOLE, y), 0)


@each_protocol
def test_shifts(protocol: str, n: int):
    by = np.arange(len(EDGES)) * 5 % 64

    def f(x: Any, by: Any) -> tuple[Any, ...]:
        return x << 3, x >> 5, x << 63, x >> 61, x << np.arange(len(EDGES)), x >> np.arange(len(EDGES)), x << by, x >> by

    with open_session(protocol, n) as s:
        check(s, f, (EDGES, by), 0)


@given(x=st.lists(words, min_size=1, max_size=5), y=words)
@few
def test_any_words(x: list[int], y: int):
    with open_session("helper", 3) as s:
        check(s, lambda x: (x & y, x | y, x ^ y, ~x), (np.array(x, np.int64),), 0)


# ---- division ----
@given(
    x=st.lists(st.integers(1 - 2**61, 2**61 - 1), min_size=1, max_size=6),
    y=st.one_of(st.integers(1, 100), st.integers(-(2**61), 2**61)).filter(bool),
)
@few
def test_division_by_any_public_number(x: list[int], y: int):
    with open_session("helper", 3) as s:
        check(s, lambda x: (x // y, x % y, *divmod(x, y)), (np.array([*x, 0, y if abs(y) < 2**61 else 1, -1]),), 0)


@each_protocol
def test_division(protocol: str, n: int):
    divisors = np.array([1, -1, 3, -7, 2**20, 10**9, -(10**15)])[:, None]
    small, secret = EDGES[np.abs(EDGES) < 2**28], np.array([[1], [-1], [3], [-250], [32767]])
    with open_session(protocol, n) as s:
        check(s, lambda x: (x // divisors, x % divisors), (EDGES,), 0)
        check(s, lambda x, y: (x // y, x % y), (small, secret), 0)
        check(s, lambda y: (100_000 // y, -7 % y), (secret,), 0)


@each_protocol
def test_division_of_reals(protocol: str, n: int):
    x = np.concatenate([HALVES, [2.0**44, 1 - 2.0**44]])
    y = np.array([[1.0], [-2.5], [0.75], [100.0]])
    with open_session(protocol, n) as s:
        check(s, lambda x: (x // 3, x % 3, x // -0.25, x % 0.75, x % -1.5, x // y), (x,), 0)
        check(s, lambda x, y: (x // y, x % y), (HALVES, y), 0)


def test_division_by_zero(s: Session):
    for divide in (lambda x: x // 0, lambda x: x % np.array([1, 0])):
        with pytest.raises(ZeroDivisionError, match=r"test_integers.py:\d+"):
            divide(s.input([1, 2]))


# ---- rounding ----
@each_protocol
def test_rounding(protocol: str, n: int):
    def f(x: Any) -> tuple[Any, ...]:
        return np.floor(x), np.ceil(x), np.trunc(x), np.round(x), np.rint(x)

    with open_session(protocol, n) as s:
        check(s, f, (HALVES,), 0)
        check(s, f, (np.array([-(2.0**44), 2.0**44, 2.0**30 + 0.5, -(2.0**30) - 0.5]),), 0)
        check(s, lambda x: (np.floor(x), np.round(x), x.round()), (EDGES,), 0)
        check(s, lambda x: np.round(x, 2), (np.array([1.234, -5.678, 0.0]),), 2 * 2.0**-16)


@pytest.mark.parametrize("f", [lambda x: x & 1, lambda x: ~x, lambda x: x >> 1, lambda x: 1 << x, lambda x: x | x])
def test_bits_of_reals_are_refused(s: Session, f: Any):
    with pytest.raises(TypeMismatch, match=r"test_integers.py:\d+"):
        f(s.input([1.5]))
