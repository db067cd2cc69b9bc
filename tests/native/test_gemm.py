"""Matrix product mod 2^64 against NumPy, for shapes around every block size and any strides."""

import numpy as np
import pytest
from mpc._native import ffi

GUARD = 0xDEADBEEF
SMALL = [0, 1, 2, 3, 4, 5, 7, 8, 9]
SHAPES = [
    *[(m, k, p) for m in SMALL for k in (0, 1, 2, 5) for p in SMALL],
    *[(m, 257, p) for m in (1, 2, 6, 49, 65) for p in (1, 2, 7, 16, 25)],
    (1, 600, 130), (130, 600, 1), (64, 64, 64), (97, 513, 51), (513, 3, 1), (600, 40, 1), (50, 300, 3), (8, 1030, 24),
]  # fmt: skip


def ptr(x):
    return ffi.from_buffer("uint64_t *", x)


def aligned(words):
    """64-byte aligned room for `words` words and one guard word behind it."""
    raw = np.full(words + 9, GUARD, np.uint64)
    start = -raw.ctypes.data % 64 // 8
    return raw[start : start + words + 1]


def uniform(rng, *shape):
    return rng.integers(0, 1 << 64, shape, np.uint64)


def product(kernels, a, b, c):
    """c + a @ b by the kernels: a and b are views of any strides, of c the rows may be apart."""
    (m, k), (_, p) = a.shape, b.shape
    base = [ptr(np.lib.stride_tricks.as_strided(x, (max(x.size, 1),), (8,))) if x.size else ffi.NULL for x in (a, b, c)]
    packed, work = aligned(kernels.gemm_packed_u64(k, p)), aligned(kernels.gemm_work_u64())
    steps = [[s // 8 for s in x.strides] for x in (a, b, c)]
    kernels.gemm_pack_u64(ptr(packed), k, p, base[1], *steps[1])
    kernels.gemm_u64(base[2], steps[2][0], m, p, k, base[0], *steps[0], ptr(packed), ptr(work))
    assert packed[-1] == work[-1] == GUARD


def view(rng, rows, cols, how):
    """A (rows, cols) matrix that lies in memory as `how` says."""
    if how == "rows":
        return uniform(rng, rows, cols)
    if how == "columns":
        return uniform(rng, cols, rows).T
    if how == "part":
        return uniform(rng, rows + 2, cols + 3)[1 : 1 + rows, 2 : 2 + cols]
    return uniform(rng, 2 * cols, 3 * rows).T[::3, ::2]


def check(kernels, rng, m, k, p, how_a, how_b):
    a, b = view(rng, m, k, how_a), view(rng, k, p, how_b)
    wide = uniform(rng, m + 1, p + 3)
    want = wide.copy()
    want[:m, :p] += a @ b
    product(kernels, a, b, wide[:m, :p])
    assert np.array_equal(wide, want), (m, k, p, how_a, how_b)


@pytest.mark.parametrize("how", ["rows", "columns", "part", "apart"])
def test_shapes(kernels, rng, how):
    for m, k, p in SHAPES:
        check(kernels, rng, m, k, p, how, "rows")


@pytest.mark.parametrize("how", ["columns", "part", "apart"])
def test_right_operand(kernels, rng, how):
    for m, k, p in SHAPES[::3]:
        check(kernels, rng, m, k, p, "rows", how)


def test_random_shapes(kernels, rng):
    hows = ["rows", "columns", "part", "apart"]
    for _ in range(60):
        m, k, p = (int(2 ** rng.uniform(0, 7.5)) for _ in range(3))
        check(kernels, rng, m, k, p, *rng.choice(hows, 2))


def test_extreme_words(kernels):
    """All bits set: every partial product and every carry is as large as it can be."""
    a, b = np.full((7, 1000), 2**64 - 1, np.uint64), np.full((1000, 19), 2**64 - 1, np.uint64)
    c = np.zeros((7, 19), np.uint64)
    product(kernels, a, b, c)
    assert np.array_equal(c, a @ b)
