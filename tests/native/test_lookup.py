"""One-hot lookup: the two evaluators' sums add up to s * T[x], s the sign that the dealer knows."""

import numpy as np
import pytest
from mpc._native import ffi, lib

GUARD, NAME = 0xDEADBEEF, 1 << 63 | 9
REF = lib.mpc_tier(b"ref")
LENGTHS = [0, 1, 5, 512, 700]


def ptr(x, kind="uint64_t *"):
    return ffi.from_buffer(kind, x)


def key(rng):
    rk = np.empty(176, np.uint8)
    REF.aes_key(ptr(rk, "uint8_t *"), rng.bytes(16))
    return rk


def uniform(rng, *shape):
    return rng.integers(0, 1 << 64, shape, dtype=np.uint64)


def room(size):
    return np.full(size + 1, GUARD, np.uint64)


def done(block):
    assert block[-1] == GUARD
    return block[:-1]


def row(k):
    """Words of e per element."""
    return max(1, (1 << k) // 64)


def deal(kernels, r, k, rk, at=0):
    e, s = room(len(r) * row(k)), room(len(r))
    kernels.lookup_deal_u64(ptr(e), ptr(s), ptr(r), len(r), k, ptr(rk, "uint8_t *"), NAME, at)
    return done(e), done(s)


def expand(n, k, rk, at=0):
    """P0's one-hot share, from its own stream."""
    e = np.empty(n * row(k), np.uint64)
    REF.prg_u64(ptr(e), e.size, ptr(rk, "uint8_t *"), 1, NAME, at * row(k))
    return e


def lookup(kernels, table, k, e, v, sign, exclusive=0):
    out = room(len(table) * len(v))
    kernels.lookup_u64(ptr(out), ptr(table), len(table), k, ptr(e), ptr(v), len(v), sign, exclusive)
    return done(out).reshape(len(table), len(v))


def entries(e, k):
    """(n, K) bits."""
    one = np.unpackbits(e.view(np.uint8), bitorder="little").reshape(-1, 64 * row(k))
    return one[:, : 1 << k].astype(np.uint64)


@pytest.mark.parametrize("k", range(1, 10))
def test_both_sums_add_up_to_signed_entry(kernels, k):
    rng, K = np.random.default_rng(k), 1 << k
    rk = key(rng)
    for n in LENGTHS:
        for columns in (1, 2, 3, 4, 7):
            table, x, r, at = uniform(rng, columns, K), uniform(rng, n), uniform(rng, n), 512 * int(rng.integers(99))
            r[:3], x[3:5] = 0, np.uint64(2**64 - 1)
            e1, s = deal(kernels, r, k, rk, at)
            assert np.isin(s, np.array([1, 2**64 - 1], np.uint64)).all()
            for v, exclusive in ((x + r, 0), (x ^ r, 1))[: 1 + (k <= 7)]:
                shares = [lookup(kernels, table, k, e, v, sign, exclusive) for e, sign in ((expand(n, k, rk, at), 1), (e1, -1))]
                assert (shares[0] + shares[1] == s * table[:, x % np.uint64(K)]).all(), (k, n, columns, exclusive)


@pytest.mark.parametrize("k", range(1, 10))
def test_dealer(kernels, k):
    """e1 = e0 ^ onehot(r), nothing above bit K; s = 2 e0[r] - 1; a chunk is a part of the whole."""
    rng, K, n = np.random.default_rng(k), 1 << k, 1100
    rk, r = key(rng), uniform(rng, 1100)
    e1, s = deal(kernels, r, k, rk, 512)
    e0, place = entries(expand(n, k, rk, 512), k), (r % np.uint64(K)).astype(int)
    assert (entries(e1, k) == e0 ^ np.eye(K, dtype=np.uint64)[place]).all()
    assert k >= 6 or (e1 >> np.uint64(K) == 0).all()
    assert (s == np.uint64(2) * e0[np.arange(n), place] - np.uint64(1)).all()
    parts = [deal(kernels, r[a:b].copy(), k, rk, 512 + a) for a, b in ((0, 512), (512, 1024), (1024, n))]
    assert (np.concatenate([p[0] for p in parts]) == e1).all() and (np.concatenate([p[1] for p in parts]) == s).all()


@pytest.mark.parametrize("k", range(1, 10))
def test_lookup_is_the_sum_over_all_set_bits(kernels, k):
    rng, K, n = np.random.default_rng(k), 1 << k, 70
    table, e, v = uniform(rng, 5, K), uniform(rng, n * row(k)), uniform(rng, n)
    places = np.arange(K, dtype=np.uint64)
    for exclusive, index in enumerate((v[:, None] - places, v[:, None] ^ places)[: 1 + (k <= 7)]):
        want = (table[:, (index % np.uint64(K)).astype(int)] * entries(e, k)).sum(-1, dtype=np.uint64)
        assert (lookup(kernels, table, k, e, v, 1, exclusive) == want).all()
        assert (lookup(kernels, table, k, e, v, -1, exclusive) == 0 - want).all()
