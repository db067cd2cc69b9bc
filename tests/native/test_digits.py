"""Digits of a radix sort: one-hot entries moved by a public digit, and ranks from prefix sums, against NumPy."""

import numpy as np
import pytest
from mpc._native import ffi

GUARD = 0xDEADBEEF
LENGTHS = [0, 1, 2, 7, 64, 333]


def ptr(x, kind="uint32_t *"):
    return ffi.NULL if x is None else ffi.from_buffer(kind, x)


def uniform(rng, *shape):
    return rng.integers(0, 1 << 32, shape, np.uint32)


def completed(entries, total, at):
    """All 2^k entries of every element."""
    rest = np.uint32(total) - entries.sum(-1, dtype=np.uint32)
    return np.insert(entries, at, rest, axis=-1)


def so_far(entries):
    """(groups, n, K): equal digits so far in the group, and all smaller ones of it."""
    totals = entries.sum(1, keepdims=True, dtype=np.uint32)
    return entries.cumsum(1, dtype=np.uint32) + totals.cumsum(2, dtype=np.uint32) - totals


@pytest.mark.parametrize("k", [1, 2, 3, 4])
@pytest.mark.parametrize("total", [0, 1])
def test_choose(kernels, rng, k, total):
    for n in LENGTHS:
        e, c = uniform(rng, n, (1 << k) - 1), rng.integers(0, 1 << k, n, np.uint8)
        want = np.take_along_axis(completed(e, total, 0), np.arange(1 << k) ^ c[:, None].astype(int), 1)[:, :-1]
        out = np.full(e.size + 1, GUARD, np.uint32)
        kernels.digit_choose_u32(ptr(out), ptr(e), ptr(c, "uint8_t *"), n, k, total)
        assert np.array_equal(out[:-1], want.reshape(-1)) and out[-1] == GUARD


@pytest.mark.parametrize("k", [1, 2, 3, 4])
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("masked", [False, True])
def test_ranks(kernels, rng, k, first, masked):
    for groups, n in ((1, 333), (3, 50), (5, 1), (2, 0)):
        x, r = uniform(rng, 2, groups, n, (1 << k) - 1)
        a, b = completed(x, first, (1 << k) - 1), completed(r if masked else 0 * r, 0, (1 << k) - 1)
        want = ((np.uint32(first) * a - b) * so_far(a) - a * so_far(b)).sum(-1, dtype=np.uint32)
        out = np.full(groups * n + 1, GUARD, np.uint32)
        kernels.digit_ranks_u32(ptr(out), ptr(x), ptr(r if masked else None), groups, n, k, first, first)
        assert np.array_equal(out[:-1], want.reshape(-1)) and out[-1] == GUARD


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_shares_of_places(kernels, rng, k):
    """Two parties' terms and the dealer's add up to the places of a stable sort, plus one."""
    digits = rng.integers(0, 1 << k, 333)
    onehot = (digits[:, None] == np.arange((1 << k) - 1)).astype(np.uint32)
    r = uniform(rng, 2, *onehot.shape)
    x = onehot + r[0] + r[1]
    parts = np.zeros((3, 333), np.uint32)
    for i in (0, 1):
        kernels.digit_ranks_u32(ptr(parts[i]), ptr(x), ptr(r[i]), 1, 333, k, 1 - i, 1)
    total = r[0] + r[1]
    kernels.digit_ranks_u32(ptr(parts[2]), ptr(total), ptr(None), 1, 333, k, 1, 0)
    assert np.array_equal(parts.sum(0, dtype=np.uint32) - 1, np.argsort(np.argsort(digits, kind="stable")))
