"""Matrix product mod 2^32, 2^64 and 2^128 against NumPy, for shapes around every block size and any strides."""

import numpy as np
import pytest
from rings import RINGS, Ring

SMALL = [0, 1, 2, 3, 4, 5, 7, 8, 9]
SHAPES = [
    *[(m, k, p) for m in SMALL for k in (0, 1, 2, 5) for p in SMALL],
    *[(m, 257, p) for m in (1, 2, 6, 49, 65) for p in (1, 2, 7, 16, 25)],
    (1, 600, 130), (130, 600, 1), (64, 64, 64), (97, 513, 51), (513, 3, 1), (600, 40, 1), (50, 300, 3), (8, 1030, 24),
]  # fmt: skip


@pytest.fixture(params=RINGS, ids=[r.name for r in RINGS])
def ring(request) -> Ring:
    return request.param


def product(kernels, ring, a, b, c):
    """c += a @ b by the kernels: a and b are views of any strides, of c the rows may be apart."""
    (m, k), p = a.shape[:2], b.shape[1]
    packed, work = ring.room(ring.of(kernels, "gemm_packed")(k, p)), ring.room(ring.of(kernels, "gemm_work")())
    ring.of(kernels, "gemm_pack")(ring.ptr(packed), k, p, ring.ptr(b), *ring.steps(b))
    shape = (ring.steps(c)[0], m, p, k)
    ring.of(kernels, "gemm")(ring.ptr(c), *shape, ring.ptr(a), *ring.steps(a), ring.ptr(packed), ring.ptr(work))
    assert packed[-1] == work[-1] == ring.guard


def view(rng, ring, rows, cols, how):
    """A (rows, cols) matrix that lies in memory as `how` says."""
    if how == "rows":
        return ring.uniform(rng, rows, cols)
    if how == "columns":
        return ring.uniform(rng, cols, rows).swapaxes(0, 1)
    if how == "part":
        return ring.uniform(rng, rows + 2, cols + 3)[1 : 1 + rows, 2 : 2 + cols]
    return ring.uniform(rng, 2 * cols, 3 * rows).swapaxes(0, 1)[::3, ::2]


def check(kernels, ring, rng, m, k, p, how_a, how_b):
    a, b = view(rng, ring, m, k, how_a), view(rng, ring, k, p, how_b)
    wide = ring.uniform(rng, m + 1, p + 3)
    want = wide.copy()
    want[:m, :p] = ring.add(want[:m, :p], ring.matmul(a, b))
    product(kernels, ring, a, b, wide[:m, :p])
    assert np.array_equal(wide, want), (m, k, p, how_a, how_b)


@pytest.mark.parametrize("how", ["rows", "columns", "part", "apart"])
def test_shapes(kernels, rng, ring, how):
    for m, k, p in SHAPES[:: 11 if ring.tail else 1]:
        check(kernels, ring, rng, m, k, p, how, "rows")


@pytest.mark.parametrize("how", ["columns", "part", "apart"])
def test_right_operand(kernels, rng, ring, how):
    for m, k, p in SHAPES[:: 13 if ring.tail else 3]:
        check(kernels, ring, rng, m, k, p, "rows", how)


def test_random_shapes(kernels, rng, ring):
    hows = ["rows", "columns", "part", "apart"]
    for _ in range(12 if ring.tail else 60):
        m, k, p = (int(2 ** rng.uniform(0, 7.5)) for _ in range(3))
        check(kernels, ring, rng, m, k, p, *rng.choice(hows, 2))


@pytest.mark.parametrize("word", [2**64 - 1, 2**63, 0xFFFFFFFF001FFFFF, 0x001FFFFF001FFFFF, 0xFFE00000FFE00000])
def test_extreme_words(kernels, ring, word):
    """Partial products and carries as large as they can be; what top bits say of a product is as wrong as it can be."""
    a, b, c = (ring.zeros(*shape) for shape in ((7, 1000), (1000, 19), (7, 19)))
    a[:] = b[:] = np.uint64(word).astype(ring.dtype)
    product(kernels, ring, a, b, c)
    assert np.array_equal(c, ring.matmul(a, b))
