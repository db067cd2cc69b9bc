"""The kernels of random words, ring arithmetic and matrix products on each tier: time and rate, one thread.

Elements are uniform and every page is written before the clock starts; pytest-benchmark warms up and takes the median.
"""

from itertools import count, takewhile

import numpy as np
import pytest
from mpc._native import ffi, lib

TIERS = [ffi.string(t).decode() for t in takewhile(bool, map(lib.mpc_tiers().__getitem__, count()))]
SIZES = {"cached": 1 << 14, "memory": 1 << 22}
SHAPES = [
    (64, 64, 64),
    (256, 256, 256),
    (1024, 1024, 1024),
    (512, 4096, 64),
    (1, 4096, 1024),
    (1024, 4096, 1),
    (1024, 1024, 10),
]


@pytest.fixture(params=TIERS)
def kernels(request):
    return lib.mpc_tier(request.param.encode())


def ptr(x, kind="uint64_t *"):
    return ffi.from_buffer(kind, x)


def uniform(*shape):
    return np.random.default_rng(1).integers(0, 1 << 64, shape, np.uint64)


def aligned(words):
    raw = np.zeros(words + 8, np.uint64)
    start = -raw.ctypes.data % 64 // 8
    return raw[start : start + words]


def key(kernels):
    rk = np.empty(176, np.uint8)
    kernels.aes_key(ptr(rk, "uint8_t *"), bytes(range(16)))
    return ptr(rk, "uint8_t *")


def report(benchmark, unit, amount, call):
    benchmark.pedantic(call, rounds=7, iterations=max(1, int(2e6 / amount)), warmup_rounds=1)
    benchmark.extra_info[unit] = round(amount / benchmark.stats["median"] * 1e-9, 2)


# name -> call of the kernel on (kernels, six arrays, packed bits, n, round keys)
RING = {
    "prg": lambda k, x, b, n, rk: k.prg_u64(x[0], n, rk, 5, 0),
    "prg_add": lambda k, x, b, n, rk: k.prg_add_u64(x[0], x[1], n, -1, rk, 1, 5, 0),
    "prg_xor": lambda k, x, b, n, rk: k.prg_xor_u64(x[0], x[1], n, rk, 1, 5, 0),
    "mask": lambda k, x, b, n, rk: k.mask_u64(x[0], x[1], x[2], n, rk, 5, 0),
    "mul_pair": lambda k, x, b, n, rk: k.mul_pair_u64(*x[:5], n, 1 << 62, rk, 5, 0),
    "mul_beaver": lambda k, x, b, n, rk: k.mul_beaver_u64(*x[:5], n, 1, 0, ffi.NULL, rk, 5, 0),
    "trunc": lambda k, x, b, n, rk: k.trunc_u64(*x[:3], n, 16, 1, ffi.NULL, ffi.NULL, rk, 5, 6, 0),
    "trunc, dealt": lambda k, x, b, n, rk: k.trunc_u64(*x[:3], n, 16, 0, x[3], x[4], rk, 5, 6, 0),
    "trunc_deal": lambda k, x, b, n, rk: k.trunc_deal_u64(*x[:3], n, 16, rk, 1, 5, 6, 0),
    "select": lambda k, x, b, n, rk: k.select_u64(*x[:3], b, n, ffi.NULL, ffi.NULL, rk, 5, 6, 0),
    "select_deal": lambda k, x, b, n, rk: k.select_deal_u64(*x[:3], b, n, rk, 1, 5, 6, 0),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", RING)
def test_ring(benchmark, kernels, name, size):
    n = SIZES[size]
    x, bits = [ptr(row.copy()) for row in uniform(5, n)], ptr(uniform(n // 64))
    rk = key(kernels)
    report(benchmark, "G elements/s", n, lambda: RING[name](kernels, x, bits, n, rk))


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
def test_gemm(benchmark, kernels, shape):
    """Packed operand at hand, as for a fixed right operand."""
    m, k, p = shape
    a, b, c = uniform(m, k), uniform(k, p), np.zeros((m, p), np.uint64)
    packed, work = ptr(aligned(kernels.gemm_packed_u64(k, p))), ptr(aligned(kernels.gemm_work_u64()))
    kernels.gemm_pack_u64(packed, k, p, ptr(b), p, 1)
    args = (ptr(c), p, m, p, k, ptr(a), k, 1, packed, work)
    report(benchmark, "GMAC/s", m * k * p, lambda: kernels.gemm_u64(*args))


@pytest.mark.parametrize("how", ["rows", "columns"])
def test_pack(benchmark, kernels, how):
    k = p = 1024
    b, packed = ptr(uniform(k, p)), ptr(aligned(kernels.gemm_packed_u64(k, p)))
    row, col = (p, 1) if how == "rows" else (1, k)
    report(benchmark, "G elements/s", k * p, lambda: kernels.gemm_pack_u64(packed, k, p, b, row, col))
