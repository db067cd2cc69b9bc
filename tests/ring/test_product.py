"""Matrix products and convolutions of arrays: against NumPy and the definition, and the same words on any number of threads."""

import os
import subprocess
import sys

import numpy as np
import pytest

from mpc.ring.bilinear import MATMUL, Conv, Conv1d, Conv2d, Conv3d, ConvTransposed
from mpc.ring.product import gemm
from mpc.ring.ring import Ring


@pytest.fixture
def rng():
    return np.random.default_rng(20)


def uniform(rng, *shape):
    return rng.integers(0, 1 << 64, shape, np.uint64)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 7, 5), (5, 7, 1), (1, 900, 300), (3, 40, 900), (200, 9, 33)], ids=str)
@pytest.mark.parametrize("turned", [False, True])
def test_gemm(rng, shape, turned):
    m, k, p = shape
    a, b = uniform(rng, m, k), uniform(rng, k, p)
    if turned:
        a, b = np.asfortranarray(a), np.asfortranarray(b)[::-1][::-1]
    c = uniform(rng, m, p)
    want = c + a @ b
    gemm(c, a, b)
    assert np.array_equal(c, want)


def test_a_row_times_a_matrix_in_a_batch(rng):
    x, y = uniform(rng, 4, 1, 30), uniform(rng, 4, 30, 17)
    assert np.array_equal(Ring().product(MATMUL, x, y), x @ y)


def defined(f, x, y):
    """Convolution by its definition: one place of the kernel at a time, over images in any number of dimensions."""
    shape, dims = f.shape(x.shape, y.shape), len(f.stride)
    x = np.pad(x, [(0, 0), (0, 0), *[(p, p) for p in f.padding]])
    out, cg, og = np.zeros(shape, np.uint64), y.shape[1], y.shape[0] // f.groups
    for place in np.ndindex(*y.shape[2:]):
        seen = x[(slice(None), slice(None), *(slice(place[i] * f.dilation[i], None, f.stride[i]) for i in range(dims)))]
        seen = seen[(slice(None), slice(None), *(slice(n) for n in shape[2:]))]
        for g in range(f.groups):
            part = y[(slice(g * og, (g + 1) * og), slice(None), *place)]
            out[:, g * og : (g + 1) * og] += np.einsum("oc,nc...->no...", part, seen[:, g * cg : (g + 1) * cg])
    return out


CONVOLUTIONS = [
    (Conv1d(), (2, 3, 9), (4, 3, 3)),
    (Conv1d((2,), (3,), (2,), groups=2), (1, 4, 10), (6, 2, 3)),
    (Conv2d(), (2, 3, 6, 5), (4, 3, 3, 2)),
    (Conv2d((2, 1), (1, 2), (1, 2), groups=3), (2, 3, 8, 7), (3, 1, 3, 3)),
    (Conv3d(), (1, 2, 4, 5, 6), (3, 2, 2, 3, 1)),
    (Conv3d((2, 1, 2), (2, 1, 0), (1, 2, 1), groups=2), (2, 4, 5, 6, 7), (4, 2, 3, 2, 2)),
    (Conv3d((3, 1, 1), (4, 0, 0), (2, 1, 1)), (1, 1, 3, 2, 2), (1, 1, 4, 1, 1)),
]


@pytest.mark.parametrize(("f", "x", "y"), CONVOLUTIONS, ids=str)
def test_convolution(rng, f, x, y):
    x, y = uniform(rng, *x), uniform(rng, *y)
    assert np.array_equal(Ring().product(f, x, y), defined(f, x, y))
    start = uniform(rng, *f.shape(x.shape, y.shape))
    want = start + defined(f, x, y)
    assert np.array_equal(Ring().product(f, np.asfortranarray(x), y, start), want)


@pytest.mark.parametrize(("f", "x", "y"), CONVOLUTIONS, ids=str)
def test_transposed_convolution_is_the_transposed_map(rng, f, x, y):
    """<f(x, y), z> = <x, f^T(z, y)> for every x and z: what defines it."""
    x, y = uniform(rng, *x), uniform(rng, *y)
    z = uniform(rng, *f.shape(x.shape, y.shape))
    plain = ConvTransposed(f.stride, f.padding, f.dilation, f.groups).shape(z.shape, y.shape)
    extra = tuple(n - m for n, m in zip(x.shape[2:], plain[2:], strict=True))
    back = ConvTransposed(f.stride, f.padding, f.dilation, f.groups, extra)
    assert back.shape(z.shape, y.shape) == x.shape
    assert (Ring().product(f, x, y) * z).sum() == (x * Ring().product(back, z, y)).sum()


def test_shapes_that_do_not_fit():
    for f, x, y in [
        (Conv2d(), (1, 3, 5, 5), (2, 2, 3, 3)),
        (Conv1d(), (1, 3, 5, 5), (2, 3, 3)),
        (Conv2d(), (1, 1, 2, 2), (1, 1, 3, 3)),
        (Conv2d(groups=2), (1, 4, 3, 3), (3, 2, 1, 1)),
        (ConvTransposed((1, 1), (2, 2), (1, 1)), (1, 1, 2, 2), (1, 1, 3, 3)),
    ]:
        with pytest.raises(ValueError):
            f.shape(x, y)


DIGEST = """
import hashlib
import numpy as np
from mpc.ring.bilinear import MATMUL, Conv
from mpc.ring.ring import Ring

rng, ring, digest = np.random.default_rng(5), Ring(), hashlib.sha256()
for m, k, p in [(300, 200, 150), (40, 300, 700), (1, 3000, 2100), (3000, 2100, 1), (1030, 90, 64)]:
    digest.update(ring.product(MATMUL, *(rng.integers(0, 1 << 64, s, np.uint64) for s in ((m, k), (k, p)))))
for groups in (1, 4):
    shapes = (2, 8, 40, 37), (16, 8 // groups, 5, 5)
    f = Conv((1, 1), (2, 2), (1, 1), groups)
    digest.update(ring.product(f, *(rng.integers(0, 1 << 64, s, np.uint64) for s in shapes)))
print(digest.hexdigest())
"""


def test_results_do_not_depend_on_the_number_of_threads():
    digests = {
        subprocess.run(
            [sys.executable, "-c", DIGEST], env={**os.environ, "MPC_THREADS": n}, capture_output=True, check=True, text=True
        ).stdout
        for n in "1237"
    }
    assert len(digests) == 1


def test_conv_of_two_dimensions_is_conv2d(rng):
    x, y = uniform(rng, 1, 2, 5, 5), uniform(rng, 3, 2, 3, 3)
    f, g = Conv((1, 1), (1, 1), (1, 1)), Conv2d(padding=(1, 1))
    assert np.array_equal(Ring().product(f, x, y), Ring().product(g, x, y))
