"""Packed bits and fixed point against NumPy."""

import numpy as np
import pytest
from aes_reference import expand, stream
from mpc._native import ffi

from mpc.ring.fixed import exponential

A, B, C, GUARD = 1 << 63 | 5, 6, 7, 0xDEADBEEF
LENGTHS = [*range(68), 127, 128, 129, *range(509, 516), 1025]
MOST = max(LENGTHS)


def ptr(x, kind="uint64_t *"):
    return ffi.NULL if x is None else ffi.from_buffer(kind, x)


def uniform(rng, *shape):
    return rng.integers(0, 1 << 64, shape, np.uint64)


def keys(rng, count):
    rks = [expand(rng.bytes(16)) for _ in range(count)]
    return rks, ptr(b"".join(rks), "uint8_t *")


def words(bits):
    """0 and 1 along the last axis -> packed words, zero beyond."""
    out = np.zeros((*bits.shape[:-1], -(-bits.shape[-1] // 64) * 8), np.uint8)
    raw = np.packbits(bits, axis=-1, bitorder="little")
    out[..., : raw.shape[-1]] = raw
    return out.view(np.uint64)


def bits(packed):
    return np.unpackbits(packed.view(np.uint8), axis=-1, bitorder="little")


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("dealt", [False, True])
def test_and(kernels, rng, first, dealt):
    (rk,), p = keys(rng, 1)
    d, d_peer, e, e_peer, c = uniform(rng, 5, MOST)
    for at in (0, 8 * 77):
        a, b, own = (stream(rk, name, at, MOST) for name in (A, B, C))
        for peers in ((None, None), (d_peer, e_peer)):
            x, y = (v if w is None else v ^ w for v, w in zip((d, e), peers, strict=True))
            want = (c if dealt else own) ^ x & b ^ y & a ^ first * (x & y)
            for n in LENGTHS:
                z = np.full(n + 1, GUARD, np.uint64)
                opened = (ptr(d), ptr(peers[0]), ptr(e), ptr(peers[1]))
                kernels.and_bits(ptr(z), *opened, n, first, ptr(c if dealt else None), p, A, B, C, at)
                assert np.array_equal(z[:n], want[:n]) and z[n] == GUARD


@pytest.mark.parametrize("parties", [2, 3])
def test_and_shares_the_product(kernels, rng, parties):
    """Dealer and evaluators together: the shares of x & y."""
    rks, p = keys(rng, parties)
    n, at = 700, 64
    x, y = uniform(rng, 2, n)
    a, b = (np.bitwise_xor.reduce([stream(rk, name, at, n) for rk in rks]) for name in (A, B))
    c = np.full(n + 1, GUARD, np.uint64)
    kernels.and_deal_bits(ptr(c), n, p, parties, A, B, C, at)
    assert c[n] == GUARD
    d, e, z, total = x ^ a, y ^ b, np.empty(n, np.uint64), np.zeros(n, np.uint64)
    for i in range(parties):
        dealt = ptr(c if i == parties - 1 else None)
        kernels.and_bits(ptr(z), ptr(d), ptr(None), ptr(e), ptr(None), n, i == 0, dealt, p + 176 * i, A, B, C, at)
        total ^= z
    assert np.array_equal(total, x & y)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 7, 8, 9, 17])
def test_transpose(kernels, rng, n):
    x, out = uniform(rng, n, 64), np.full(64 * n + 1, GUARD, np.uint64)
    kernels.transpose_bits(ptr(out), ptr(x), n)
    want = words(bits(x).reshape(n, 64, 64).swapaxes(1, 2))
    assert np.array_equal(out[:-1], want.ravel()) and out[-1] == GUARD


def test_pack_and_unpack(kernels, rng):
    for n in LENGTHS:
        raw = rng.integers(0, 256, n, np.uint8)
        packed = np.full(-(-n // 64) + 1, GUARD, np.uint64)
        kernels.pack_bits(ptr(packed), ptr(raw, "uint8_t *"), n)
        assert np.array_equal(packed[:-1], words(raw & 1)) and packed[-1] == GUARD
        back = np.full(n + 1, 77, np.uint8)
        kernels.unpack_bits(ptr(back, "uint8_t *"), ptr(packed), n)
        assert np.array_equal(back[:-1], raw & 1) and back[-1] == 77


@pytest.mark.parametrize("width", [1, 2, 5])
def test_parity(kernels, rng, width):
    for n in (0, 1, 63, 64, 65, 200):
        x, out = uniform(rng, n, width), np.full(-(-n // 64) + 1, GUARD, np.uint64)
        kernels.parity_bits(ptr(out), ptr(x), n, width)
        assert np.array_equal(out[:-1], words(bits(x).sum(-1, dtype=np.uint8) & 1)) and out[-1] == GUARD


def numbers(rng, f):
    """float64 of every size, ties and their neighbours, and both sides of the limit."""
    ties = (rng.integers(-(1 << 40), 1 << 40, 500) + 0.5) * 2.0**-f
    near = np.concatenate([ties, np.nextafter(ties, np.inf), np.nextafter(ties, -np.inf)])
    powers = np.ldexp(1.0, rng.integers(-90, 70, 500) - f) * rng.choice([-1, 1], 500)
    wide = np.ldexp(rng.uniform(-1, 1, 1000), rng.integers(-70, 66, 1000) - f)
    limit = 2.0 ** (62 - f)
    edges = [0.0, -0.0, 5e-324, -5e-324, 2.2e-308, limit, -limit, np.nextafter(limit, 0), np.nextafter(-limit, 0), 1.7e308]
    halves = np.array([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 2.0**51 + 0.5, 2.0**52 + 1, 2.0**53 - 1]) * 2.0**-f
    return np.concatenate([near, powers, wide, edges, halves])


@pytest.mark.parametrize("f", [0, 1, 16, 32, 52, 53, 62, -5])
def test_encode(kernels, rng, f):
    x = numbers(rng, f)
    with np.errstate(over="ignore"):
        scaled = np.rint(np.ldexp(x, f))
    fits = np.abs(scaled) < 2.0**62
    for some in (x, x[fits]):
        out, errors = np.full(len(some) + 1, GUARD, np.uint64), np.full(3, GUARD, np.uint64)
        kernels.encode_f64(ptr(out), ptr(errors), ptr(some, "double *"), len(some), f)
        assert out[-1] == errors[-1] == GUARD
        assert errors.tolist()[:2] == [0, 0 if some is not x else (~fits).sum()]
        good = fits if some is x else slice(None)
        assert np.array_equal(out[:-1][good].view(np.int64), scaled[fits].astype(np.int64))
    bad = np.array([0.0, np.inf, -np.inf, np.nan, -np.nan, 1e300])
    kernels.encode_f64(ptr(np.empty(6, np.uint64)), ptr(errors), ptr(bad, "double *"), 6, f)
    assert errors.tolist()[:2] == [4, 1]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("f", "bits"), [(0, 0), (1, 20), (16, 13), (16, 30), (30, 44), (50, 50)])
def test_exp(kernels, rng, f, bits, sign):
    v = np.concatenate([uniform(rng, 999), np.array([0, 1, (1 << f) - 1, 1 << 63, (1 << 64) - 1], np.uint64)])
    fractions = np.ldexp((v & np.uint64((1 << f) - 1)).astype(float), -f)
    want = np.rint(np.ldexp(exponential(sign * fractions), bits)).astype(np.uint64)
    for n in (0, 1, 3, 5, 9, len(v)):
        out = np.full(n + 1, GUARD, np.uint64)
        kernels.exp_u64(ptr(out), ptr(v), n, f, sign, bits)
        assert np.array_equal(out[:n], want[:n]) and out[n] == GUARD


@pytest.mark.parametrize("f", [0, 1, 16, 32, 62, -5])
def test_decode(kernels, rng, f):
    x = np.concatenate(
        [uniform(rng, 999), uniform(rng, 999) >> 30, np.array([0, 1, 1 << 63, (1 << 63) - 1, (1 << 64) - 1], np.uint64)]
    )
    for n in (0, 1, 3, 5, len(x)):
        out = np.full(n + 1, 7.5)
        kernels.decode_f64(ptr(out, "double *"), ptr(x), n, f)
        assert np.array_equal(out[:n], np.ldexp(x.view(np.int64).astype(np.float64), -f)[:n]) and out[n] == 7.5
