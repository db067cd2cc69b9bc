"""The polynomial of the spline gate, and a truncated value times a bit: what both evaluators hold adds up to the plain one."""

import numpy as np
import pytest
from mpc._native import ffi, lib

GUARD, NAME, COLUMN = 0xDEADBEEF, 1 << 40, 1 << 41
REF = lib.mpc_tier(b"ref")
U = np.uint64


def ptr(x, kind="uint64_t *"):
    return ffi.NULL if x is None else ffi.from_buffer(kind, x)


def uniform(rng, *shape):
    return rng.integers(0, 1 << 64, shape, dtype=U)


def keys(rng, n):
    rks = np.empty((n, 176), np.uint8)
    for rk in rks:
        REF.aes_key(ptr(rk, "uint8_t *"), rng.bytes(16))
    return rks


def stream(rk, name, n, at=0):
    out = np.empty(n, U)
    REF.prg_u64(ptr(out), n, ptr(rk, "uint8_t *"), 1, name, at)
    return out


def room(*shape):
    return np.full(int(np.prod(shape)) + 1, GUARD, U)


def done(block, *shape):
    assert block[-1] == GUARD
    return block[:-1].reshape(shape)


def pairs(degree):
    return [(j, m) for j in range(degree + 1) for m in range(j + 1)]


def deal(kernels, r, sign, degree, rks, at=0):
    rows = degree + 1 + len(pairs(degree))
    out = room(rows, r.size)
    kernels.spline_deal_u64(ptr(out), ptr(r), ptr(sign), r.size, degree, ptr(rks, "uint8_t *"), NAME, COLUMN, at)
    return done(out, rows, r.size)


def spline(kernels, low, opened, words, degree, rk, at=0):
    out = room(low.size)
    kernels.spline_u64(ptr(out), ptr(low), ptr(opened), ptr(words), low.size, degree, ptr(rk, "uint8_t *"), NAME, at)
    return done(out, low.size)


@pytest.mark.parametrize("degree", [1, 2, 3])
@pytest.mark.parametrize("n", [0, 1, 67, 512, 1100])
def test_evaluators_share_the_polynomial(kernels, rng, degree, n):
    rks, t = keys(rng, 2), 15
    r, x = (uniform(rng, n) >> U(64 - t) for _ in range(2))
    sign = np.where(rng.integers(0, 2, n).astype(bool), U(1), ~U(0))
    coefficients = uniform(rng, degree + 1, n)
    rho = [stream(rks[0], COLUMN + j, n) + stream(rks[1], COLUMN + j, n) for j in range(degree + 1)]
    opened = np.array([sign * c + p for c, p in zip(coefficients, rho, strict=True)], U).reshape(degree + 1, n)
    words = deal(kernels, r, sign, degree, rks)
    shares = spline(kernels, x, opened, None, degree, rks[0]), spline(kernels, x, opened, words, degree, rks[1])
    want = sum((c * (x - r) ** U(j) for j, c in enumerate(coefficients)), np.zeros(n, U))
    assert np.array_equal(shares[0] + shares[1], want)


def test_dealt_words_hide_under_the_first_evaluators_streams(kernels, rng):
    rks, n, degree = keys(rng, 2), 700, 2
    r, sign = uniform(rng, n) >> U(50), np.full(n, U(1))
    words = deal(kernels, r, sign, degree, rks)
    for m in range(degree + 1):
        assert np.array_equal(words[m] + stream(rks[0], NAME + m, n), r ** U(m))
    for row, (j, m) in enumerate(pairs(degree), degree + 1):
        rho = stream(rks[0], COLUMN + j, n) + stream(rks[1], COLUMN + j, n)
        assert np.array_equal(words[row] + stream(rks[0], NAME + row, n), rho * r ** U(m))


def test_chunks_and_tiers_equal_one_whole_run(kernels, rng):
    rks, n, degree = keys(rng, 2), 1100, 3
    r, x, sign = uniform(rng, n) >> U(49), uniform(rng, n) >> U(49), np.full(n, ~U(0))
    opened = uniform(rng, degree + 1, n)
    whole, y = deal(REF, r, sign, degree, rks), spline(REF, x, opened, None, degree, rks[0])
    for a, b in ((0, 512), (512, 1024), (1024, 1100)):
        part = deal(kernels, r[a:b].copy(), sign[a:b].copy(), degree, rks, a)
        assert np.array_equal(part, whole[:, a:b])
        assert np.array_equal(spline(kernels, x[a:b].copy(), opened[:, a:b].copy(), None, degree, rks[0], a), y[a:b])


@pytest.mark.parametrize("f", [1, 16, 32, 40])
@pytest.mark.parametrize("n", [1, 64, 67, 513])
def test_a_truncated_value_times_a_bit(kernels, rng, f, n):
    """y = t (1 - bit) for t = floor((v + d) / 2^f) shared, beta and its products dealt."""
    rk, names = keys(rng, 1), (NAME, NAME + 7, NAME + 9)
    v = (uniform(rng, n).view(np.int64) >> 3).view(U)
    r, beta, bit = uniform(rng, n), rng.integers(0, 2, n).astype(U), rng.integers(0, 2, n).astype(U)
    c = v + U(1 << 62) + r
    wrap = (U(1) - (c >> U(63))) * (r >> U(63)) << U(64 - f)
    t = (c >> U(f)) - U(1 << 62 - f) - (r >> U(f)) + wrap
    values = np.array([beta, beta * (r >> U(f)), beta * (r >> U(63))])
    mine = np.array([stream(rk, name, n) for name in names])
    packed = np.zeros(-(-n // 64) * 8, np.uint8)
    raw = np.packbits((bit ^ beta).astype(np.uint8), bitorder="little")
    packed[: raw.size] = raw
    t_0 = uniform(rng, n)
    total = np.zeros(n, U)
    for share, words in ((t_0, None), (t - t_0, values - mine)):
        out = room(n)
        args = ptr(share), ptr(c), ptr(packed), n, f, ptr(words), ptr(rk, "uint8_t *"), *names, 0
        kernels.settled_u64(ptr(out), *args)
        total += done(out, n)
    assert np.array_equal(total, t * (U(1) - bit))


@pytest.mark.parametrize("n", [0, 1, 64, 67, 1100])
def test_a_bit_as_words(kernels, rng, n):
    rk, beta, bit = keys(rng, 1), rng.integers(0, 2, n).astype(U), rng.integers(0, 2, n).astype(U)
    packed = np.zeros(-(-n // 64) * 8, np.uint8)
    raw = np.packbits((bit ^ beta).astype(np.uint8), bitorder="little")
    packed[: raw.size] = raw
    total = np.zeros(n, U)
    for first, words in ((1, None), (0, beta - stream(rk, NAME, n))):
        out = room(n)
        kernels.bit_words_u64(ptr(out), ptr(packed), n, first, ptr(words), ptr(rk, "uint8_t *"), NAME, 0)
        total += done(out, n)
    assert np.array_equal(total, bit)
