"""Random secrets: their distributions, and that parties contribute to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

import mpc
from mpc.errors import UsageError
from mpc.lang.session import Session

from ..memory import open_session

each_protocol = pytest.mark.parametrize(
    ("protocol", "n"), [("additive", 2), ("additive", 3), ("helper", 3), ("replicated", 3), ("plain", 3)], ids=str
)
RARE = 1e-5  # a p-value that fixed seeds do not meet by chance


@each_protocol
def test_bits_are_fair_and_independent(protocol: str, n: int):
    with open_session(protocol, n) as s:
        first, second = s.reveal(mpc.random.bits(s, (20, 1000)), mpc.random.bits(s, (20, 1000)))
        for count in (first.sum(), second.sum(), (first ^ second).sum()):
            assert stats.binomtest(int(count), 20_000).pvalue > RARE
        assert abs(first.mean(1) - 0.5).max() < 0.1


@each_protocol
def test_distributions(protocol: str, n: int):
    with open_session(protocol, n) as s:
        u, k, b, z = s.reveal(
            mpc.random.uniform(s, 3000, -1, 3),
            mpc.random.integers(s, -3, 4, 3000),
            mpc.random.bernoulli(s, np.array([[0.0], [0.2], [1.0]]), (3, 3000)),
            mpc.random.normal(s, (3, 667), mean=2, std=3),
        )
        assert stats.kstest(u, stats.uniform(-1, 4).cdf).pvalue > RARE
        assert stats.chisquare(np.bincount(k + 3, minlength=7)).pvalue > RARE
        assert not b[0].any()
        assert b[2].all()
        assert stats.binomtest(int(b[1].sum()), 3000, 0.2).pvalue > RARE
        assert stats.kstest(z.ravel(), stats.norm(2, 3).cdf).pvalue > RARE


def test_ranges(s: Session):
    power, large, coin = s.reveal(
        mpc.random.integers(s, 5, 5 + 2**40, 200),
        mpc.random.integers(s, 0, 3 << 30, 500),
        mpc.random.bernoulli(s, s.input(np.full(2000, 0.75))),
    )
    assert power.min() >= 5
    assert power.max() < 5 + 2**40
    assert stats.kstest(large / (3 << 30), "uniform").pvalue > RARE
    assert stats.binomtest(int(coin.sum()), 2000, 0.75).pvalue > RARE


def test_permutations(s: Session):
    rows = np.arange(15.0).reshape(5, 3)
    draws = s.reveal(*(mpc.random.permutation(s, 5) for _ in range(40)), mpc.random.permutation(s, s.input(rows)))
    assert all(sorted(p) == list(range(5)) for p in draws[:-1])
    assert stats.chisquare(np.bincount([p[0] for p in draws[:-1]], minlength=5)).pvalue > RARE
    assert sorted(map(tuple, draws[-1])) == sorted(map(tuple, rows))


def test_a_value_is_drawn_once(s: Session):
    x = mpc.random.bits(s, 64)
    assert np.array_equal(x.reveal(), x.reveal())
    assert not np.array_equal(x.reveal(), mpc.random.bits(s, 64).reveal())


def test_every_call_and_iteration_draws_anew(s: Session):
    @mpc.function
    def noisy(x: Any) -> Any:
        return x + mpc.random.words(x, 8, 30)

    x = s.input(np.zeros(8, int))
    one, two, total = s.reveal(noisy(x), noisy(x), mpc.fori(0, 2, lambda i, c: c * 2**31 + mpc.random.words(c, 8, 30), x))
    assert not np.array_equal(one, two)
    assert not np.array_equal(total >> 31, total & (2**31 - 1))


@pytest.mark.parametrize(("protocol", "n"), [("additive", 3), ("helper", 3)], ids=str)
def test_cost_is_what_a_run_measures(protocol: str, n: int):
    with open_session(protocol, n) as s:
        x = [mpc.random.uniform(s, (7, 9)), mpc.random.bits(s, 100), mpc.random.normal(s, 5)]
        report = s.cost(*x)
        s.reveal(*x)
        assert report.rounds == s._backend.rounds
        assert {k: b for k, b in report.links.items() if b} == {k: b for k, b in s._backend.links.items() if b}


def test_no_single_party_decides():
    """With other private keys at one party alone the bits are others."""
    found = []
    for key in (b"\x07", b"\x09"):
        with open_session("helper", 3) as s:
            s._backend.private[1] = key * 32
            found.append(mpc.random.bits(s, 256).reveal())
    assert 70 < np.count_nonzero(found[0] != found[1]) < 186


@pytest.mark.parametrize("call", [lambda s: mpc.random.integers(s, 3, 3), lambda s: mpc.random.words(s, 2, 64)])
def test_wrong_ranges(s: Session, call: Any):
    with pytest.raises(UsageError, match=r"test_random.py:\d+"):
        call(s)
