"""Fused arithmetic of Z_2^64 against the formulas of mpc_kernels.h in NumPy, whose uint64 wraps as the ring does."""

import numpy as np
import pytest
from aes_reference import expand, stream
from mpc._native import ffi

NAME, OTHER, GUARD = 1 << 63 | 5, 6, 0xDEADBEEF
LENGTHS = [*range(68), *range(509, 516), *range(1021, 1028), 1600]
MOST = max(LENGTHS)
EDGES = [0, 1, 2, 1 << 31, 1 << 32, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
AT = [0, 5 * 512]


def ptr(x, kind="uint64_t *"):
    return ffi.NULL if x is None else ffi.from_buffer(kind, x)


def uniform(rng, *shape):
    """Uniform words, the edges among them."""
    x = rng.integers(0, 1 << 64, shape, np.uint64)
    x[..., : len(EDGES)] = rng.permuted(np.broadcast_to(np.array(EDGES, np.uint64), (*shape[:-1], len(EDGES))), axis=-1)
    return x


def keys(rng, count):
    rks = [expand(rng.bytes(16)) for _ in range(count)]
    return rks, ptr(b"".join(rks), "uint8_t *")


def total(rks, name, at):
    return sum((stream(rk, name, at, MOST) for rk in rks), np.zeros(MOST, np.uint64))


def total_top(rks, name, at, f):
    """As `top` is dealt: 32-bit words up to f = 32."""
    if f > 32:
        return total(rks, name, at)
    return sum((stream(rk, name, at // 2, MOST).astype("<u8").view("<u4")[:MOST] for rk in rks), np.zeros(MOST, np.uint32))


def check(want, call):
    """call(n, outs) writes n elements; `want` holds what each output is for the largest n."""
    for n in LENGTHS:
        outs = [np.full(n + 1, GUARD, w.dtype) for w in want]
        call(n, *outs)
        for out, w in zip(outs, want, strict=True):
            assert np.array_equal(out[:n], w[:n]) and out[n] == GUARD


@pytest.mark.parametrize("at", AT)
def test_mul_pair(kernels, rng, at):
    (rk,), p = keys(rng, 1)
    x, r, y, s = uniform(rng, 4, MOST)
    want = (x - 2 * r) * (y - 2 * s) + stream(rk, NAME, at, MOST) + np.uint64(1 << 62)
    check([want], lambda n, z: kernels.mul_pair_u64(ptr(z), ptr(x), ptr(r), ptr(y), ptr(s), n, 1 << 62, p, NAME, at))


@pytest.mark.parametrize("at", AT)
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("dealt", [False, True])
def test_mul_beaver(kernels, rng, at, first, dealt):
    (rk,), p = keys(rng, 1)
    x, r, y, s, t = uniform(rng, 5, MOST)
    own = t if dealt else stream(rk, NAME, at, MOST)
    want = first * x * y - x * s - r * y + own + np.uint64(99)
    c = ptr(t if dealt else None)
    check([want], lambda n, z: kernels.mul_beaver_u64(ptr(z), ptr(x), ptr(r), ptr(y), ptr(s), n, first, 99, c, p, NAME, at))


def test_operand(kernels, rng):
    x, r = uniform(rng, 2, MOST)
    check([x - 2 * r], lambda n, out: kernels.operand_u64(ptr(out), ptr(x), ptr(r), n))


def test_mul_pair_deal(kernels, rng):
    a0, a1, b0, b1, r = uniform(rng, 5, MOST)

    def call(n, out):
        out[:n] = r[:n]
        kernels.mul_pair_deal_u64(ptr(out), ptr(a0), ptr(a1), ptr(b0), ptr(b1), n)

    check([r + 2 * (a0 - a1) * (b0 - b1)], call)


@pytest.mark.parametrize("f", [1, 16, 31, 32, 33, 47, 62])
@pytest.mark.parametrize("first", [0, 1])
def test_trunc(kernels, rng, f, first):
    (rk,), p = keys(rng, 1)
    z, peer, hi = uniform(rng, 3, MOST)
    at = 512 * f
    top = rng.integers(0, 1 << 32, MOST, np.uint32) if f <= 32 else uniform(rng, MOST)
    for z_peer in (None, peer):
        c = z if z_peer is None else z + peer
        for h, w in ((None, None), (hi, top)):
            own_hi, own_top = (stream(rk, NAME, at, MOST), total_top([rk], OTHER, at, f)) if h is None else (hi, top)
            wrap = np.where(c >> np.uint64(63), 0, own_top.astype(np.uint64) << np.uint64(64 - f))
            want = first * ((c >> np.uint64(f)) - np.uint64(1 << (62 - f))) - own_hi + wrap

            def call(n, t, z_peer=z_peer, h=h, w=w):
                kernels.trunc_u64(ptr(t), ptr(z), ptr(z_peer), n, f, first, ptr(h), ptr(w, "void *"), p, NAME, OTHER, at)

            check([want], call)


@pytest.mark.parametrize("f", [1, 16, 32, 33, 62])
@pytest.mark.parametrize("count", [1, 2])
def test_trunc_deal(kernels, rng, f, count):
    rks, p = keys(rng, count)
    r = uniform(rng, MOST)
    at = 512 * f
    hi = (r >> np.uint64(f)) - total(rks, NAME, at)
    sum_top = total_top(rks, OTHER, at, f)
    top = (r >> np.uint64(63)).astype(sum_top.dtype) - sum_top
    check(
        [hi, top],
        lambda n, h, t: kernels.trunc_deal_u64(ptr(h), ptr(t, "void *"), ptr(r), n, f, p, count, NAME, OTHER, at),
    )


@pytest.mark.parametrize("f", [16, 32, 40])
def test_trunc_shares_the_quotient(kernels, rng, f):
    """Dealer and both evaluators together: x / 2^f rounded up or down, for |x| < 2^61."""
    _, p = keys(rng, 1)
    n = MOST
    x = uniform(rng, n).view(np.int64) >> 2
    r = uniform(rng, n)
    c = x.view(np.uint64) + np.uint64(1 << 62) + r
    hi, top = np.empty(n, np.uint64), np.empty(n, np.uint32 if f <= 32 else np.uint64)
    kernels.trunc_deal_u64(ptr(hi), ptr(top, "void *"), ptr(r), n, f, p, 1, NAME, OTHER, 0)
    t0, t1 = np.empty((2, n), np.uint64)
    none = ffi.NULL
    kernels.trunc_u64(ptr(t0), ptr(c), none, n, f, 1, none, none, p, NAME, OTHER, 0)
    kernels.trunc_u64(ptr(t1), ptr(c), none, n, f, 0, ptr(hi), ptr(top, "void *"), p, NAME, OTHER, 0)
    up = (t0 + t1).view(np.int64) - (x >> f)
    assert set(up.tolist()) <= {0, 1}


@pytest.mark.parametrize("f", [1, 16, 32])
@pytest.mark.parametrize("dealt", [False, True])
def test_chain(kernels, rng, f, dealt):
    (rk,), p = keys(rng, 1)
    c, t, y, q = uniform(rng, 4, MOST)
    d = rng.integers(0, 1 << 32, MOST, np.uint32)
    at = 512 * f
    words = (d if dealt else total_top([rk], OTHER, at, f)).astype(np.uint64)
    wrap = np.where(c >> np.uint64(63), 0, words << np.uint64(64 - f))
    want = t * y - ((c >> np.uint64(f)) - np.uint64(1 << (62 - f))) * q - wrap + stream(rk, NAME, at, MOST) + np.uint64(5)
    own = ptr(d if dealt else None, "uint32_t *")
    check(
        [want],
        lambda n, z: kernels.chain_u64(ptr(z), ptr(c), ptr(t), ptr(y), ptr(q), n, f, 5, own, p, OTHER, NAME, at),
    )


@pytest.mark.parametrize("f", [1, 16, 32])
@pytest.mark.parametrize("count", [2, 3])
def test_chain_deal(kernels, rng, f, count):
    rks, p = keys(rng, count)
    r, q = uniform(rng, 2, MOST)
    at = 512 * f
    wrap = ((r >> np.uint64(63)) * q).astype(np.uint32) - total_top(rks[:-1], OTHER, at, f)
    hidden = total(rks, NAME, at) - (r >> np.uint64(f)) * q
    check(
        [wrap, hidden],
        lambda n, d, m: kernels.chain_deal_u64(ptr(d, "uint32_t *"), ptr(m), ptr(r), ptr(q), n, f, p, count, OTHER, NAME, at),
    )


@pytest.mark.parametrize("dealt", [False, True])
def test_select(kernels, rng, dealt):
    (rk,), p = keys(rng, 1)
    x, xhat, B, R = uniform(rng, 4, MOST)
    b = uniform(rng, (MOST + 63) // 64)
    on = np.unpackbits(b.astype("<u8").view(np.uint8), bitorder="little", count=MOST).astype(bool)
    for at in AT:
        beta, rbeta = (B, R) if dealt else (stream(rk, NAME, at, MOST), stream(rk, OTHER, at, MOST))
        xb = xhat * beta - rbeta
        args = (ptr(B), ptr(R)) if dealt else (ffi.NULL, ffi.NULL)
        check(
            [np.where(on, xb, x - xb)],
            lambda n, y, args=args, at=at: kernels.select_u64(ptr(y), ptr(x), ptr(xhat), ptr(b), n, *args, p, NAME, OTHER, at),
        )


@pytest.mark.parametrize("count", [1, 2])
def test_select_deal(kernels, rng, count):
    rks, p = keys(rng, count)
    r, bits = uniform(rng, MOST), uniform(rng, (MOST + 63) // 64)
    beta = np.unpackbits(bits.astype("<u8").view(np.uint8), bitorder="little", count=MOST).astype(np.uint64)
    for at in AT:
        check(
            [beta - total(rks, NAME, at), r * beta - total(rks, OTHER, at)],
            lambda n, B, R, at=at: kernels.select_deal_u64(ptr(B), ptr(R), ptr(r), ptr(bits), n, p, count, NAME, OTHER, at),
        )


def test_outputs_may_be_inputs(kernels, rng):
    """The same array, not a shifted view of it."""
    _, p = keys(rng, 1)
    x, r, y, s = uniform(rng, 4, MOST)
    want, at = np.empty(MOST, np.uint64), 0
    kernels.mul_pair_u64(ptr(want), ptr(x), ptr(r), ptr(y), ptr(s), MOST, 7, p, NAME, at)
    z = x.copy()
    kernels.mul_pair_u64(ptr(z), ptr(z), ptr(r), ptr(y), ptr(s), MOST, 7, p, NAME, at)
    assert np.array_equal(z, want)
    kernels.trunc_u64(ptr(want), ptr(x), ptr(y), MOST, 16, 1, ffi.NULL, ffi.NULL, p, NAME, OTHER, at)
    z = x.copy()
    kernels.trunc_u64(ptr(z), ptr(z), ptr(y), MOST, 16, 1, ffi.NULL, ffi.NULL, p, NAME, OTHER, at)
    assert np.array_equal(z, want)
