"""Results of LARGE words (tier.h) and more go past the caches: the same words as from two calls on parts of them."""

import numpy as np
import pytest
from aes_reference import expand
from conftest import TIERS
from mpc._native import ffi, lib

LARGE_TIERS = [pytest.param(tier, marks=pytest.mark.slow if tier == "ref" else ()) for tier in TIERS]
N, CUT, GUARD = (1 << 20) + 517, 1 << 19, 0xDEADBEEF


def ptr(x, dtype=np.uint64):
    return ffi.from_buffer({8: "uint64_t *", 4: "uint32_t *"}[np.dtype(dtype).itemsize], x)


# name -> outputs, and the call on (kernel, outputs, four inputs of n words, packed bits, n, keys, position)
KERNELS = {
    "prg_u64": (1, lambda f, z, x, b, n, rks, at: f(*z, n, rks, 2, 5, at)),
    "prg_add_u64": (1, lambda f, z, x, b, n, rks, at: f(*z, x[0], n, -1, rks, 2, 5, at)),
    "prg_xor_u64": (1, lambda f, z, x, b, n, rks, at: f(*z, x[0], n, rks, 2, 5, at)),
    "mask_u64": (2, lambda f, z, x, b, n, rks, at: f(*z, x[0], n, rks, 5, at)),
    "mul_pair_u64": (1, lambda f, z, x, b, n, rks, at: f(*z, *x, n, 9, rks, 5, at)),
    "mul_beaver_u64": (1, lambda f, z, x, b, n, rks, at: f(*z, *x, n, 1, 9, ffi.NULL, rks, 5, at)),
    "trunc_u64": (1, lambda f, z, x, b, n, rks, at: f(*z, x[0], x[1], n, 16, 1, ffi.NULL, ffi.NULL, rks, 5, 6, at)),
    "trunc_deal_u64": (2, lambda f, z, x, b, n, rks, at: f(*z, x[0], n, 48, rks, 2, 5, 6, at)),
    "select_u64": (1, lambda f, z, x, b, n, rks, at: f(*z, x[0], x[1], b, n, ffi.NULL, ffi.NULL, rks, 5, 6, at)),
    "select_deal_u64": (2, lambda f, z, x, b, n, rks, at: f(*z, x[0], b, n, rks, 2, 5, 6, at)),
    "bit_words_u64": (1, lambda f, z, x, b, n, rks, at: f(*z, b, n, 1, ffi.NULL, rks, 5, at)),
    "and_bits": (1, lambda f, z, x, b, n, rks, at: f(*z, *x, n, 1, ffi.NULL, rks, 5, 6, 7, at)),
    "and_deal_bits": (1, lambda f, z, x, b, n, rks, at: f(*z, n, rks, 2, 5, 6, 7, at)),
    "transpose_bits": (1, lambda f, z, x, b, n, rks, at: f(*z, x[0], n // 64)),
}


@pytest.mark.parametrize("tier", LARGE_TIERS)
@pytest.mark.parametrize("name", KERNELS)
def test_large_is_the_parts(rng, tier, name):
    function, (outputs, call) = getattr(lib.mpc_tier(tier.encode()), name), KERNELS[name]
    n = N - N % 64 if name == "transpose_bits" else N
    x, bits = rng.integers(0, 1 << 64, (4, N), np.uint64), rng.integers(0, 1 << 64, N // 64 + 1, np.uint64)
    rks = ffi.from_buffer("uint8_t *", expand(rng.bytes(16)) + expand(rng.bytes(16)))
    whole, parts = np.full((2, outputs, n + 1), GUARD, np.uint64)
    call(function, [ptr(z) for z in whole], [ptr(a) for a in x], ptr(bits), n, rks, 0)
    for start, stop in ((0, CUT), (CUT, n)):
        at = [ptr(z[start:]) for z in parts], [ptr(a[start:]) for a in x], ptr(bits[start // 64 :])
        call(function, *at, stop - start, rks, start)
    assert np.array_equal(whole, parts) and (whole[:, -1] == GUARD).all()
    assert len(np.unique(whole[0, :1000])) > 900


@pytest.mark.parametrize("tier", LARGE_TIERS)
def test_large_of_32_bits_is_the_parts(rng, tier):
    kernels, n = lib.mpc_tier(tier.encode()), 2 * N + 1
    x, out = rng.integers(0, 1 << 32, n, np.uint32), np.full((2, n + 1), GUARD, np.uint32)
    rks = ffi.from_buffer("uint8_t *", expand(rng.bytes(16)) + expand(rng.bytes(16)))
    kernels.prg_add_u32(ptr(out[0], np.uint32), ptr(x, np.uint32), n, -1, rks, 2, 5, 0)
    for start in range(0, n, N - N % 512):
        part = min(N - N % 512, n - start)
        kernels.prg_add_u32(ptr(out[1, start:], np.uint32), ptr(x[start:], np.uint32), part, -1, rks, 2, 5, start)
    assert np.array_equal(*out) and (out[:, -1] == GUARD).all()
