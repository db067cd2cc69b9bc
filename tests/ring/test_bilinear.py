"""Bilinear maps: shapes by NumPy's rules, values against big integers and SciPy, and linearity in each operand."""

from __future__ import annotations

import gmpy2
import numpy as np
import pytest
from scipy import signal

from mpc.ring.bilinear import MATMUL, MUL, Conv2d
from mpc.ring.ring import Ring

RING = Ring()
GEOMETRIES = [Conv2d(), Conv2d((2, 1), (1, 2)), Conv2d((1, 2), (0, 1), (2, 1)), Conv2d((3, 2), (2, 2), (1, 2), 2)]


def words(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, shape, np.uint64)


def convolved(f: Conv2d, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """By SciPy's correlation on big integers, channel by channel."""
    (ph, pw), (dh, dw), (sh, sw) = f.padding, f.dilation, f.stride
    x = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    spread = np.zeros((*w.shape[:2], (w.shape[2] - 1) * dh + 1, (w.shape[3] - 1) * dw + 1), w.dtype)
    spread[:, :, ::dh, ::dw] = w
    per = w.shape[0] // f.groups
    rows = []
    for image in x:
        for o, kernel in enumerate(spread):
            channels = image[o // per * w.shape[1] :][: w.shape[1]]
            full = sum(signal.correlate(c, k, "valid", "direct") for c, k in zip(channels, kernel, strict=True))
            rows.append(full[::sh, ::sw])
    return np.stack(rows).reshape(len(x), len(w), *rows[0].shape)


def test_a_matrix_times_a_vector_of_ones_sums_rows():
    assert RING.product(MATMUL, np.arange(6, dtype="<u8").reshape(2, 3), np.ones((3, 1), "<u8")).tolist() == [[3], [12]]


@pytest.mark.parametrize("f", GEOMETRIES, ids=str)
def test_conv2d(f: Conv2d):
    x, w = words(2, 4, 9, 8), words(6, 4 // f.groups, 3, 2, seed=1)
    x, w = x % np.uint64(1000), w % np.uint64(1000)
    found = RING.product(f, x, w)
    assert np.array_equal(found, convolved(f, x.astype(np.int64), w.astype(np.int64)))
    assert found.shape == f.shape(x.shape, w.shape)
    assert f.multiplications(x.shape, w.shape) == found.size * w[0].size


@pytest.mark.parametrize("f", GEOMETRIES, ids=str)
def test_conv2d_wraps(f: Conv2d):
    """Products of full words, against the definition on big integers."""
    x, w = words(1, 4, 5, 4, seed=2), words(2, 4 // f.groups, 3, 2, seed=3)
    found = RING.product(f, x, w)
    padded = np.pad(x, ((0, 0), (0, 0), *((p, p) for p in f.padding)))
    for n, o, i, j in np.ndindex(found.shape):
        total, per = gmpy2.mpz(0), w.shape[0] // f.groups
        for c, a, b in np.ndindex(w.shape[1:]):
            at = (i * f.stride[0] + a * f.dilation[0], j * f.stride[1] + b * f.dilation[1])
            total += int(padded[(n, o // per * w.shape[1] + c, *at)]) * int(w[o, c, a, b])
        assert int(found[n, o, i, j]) == total % 2**64


@pytest.mark.parametrize(
    ("f", "shapes"),
    [
        (MUL, ((3, 4), (4,))),
        (MATMUL, ((2, 3, 4), (4, 5))),
        (MATMUL, ((2, 1, 3, 4), (5, 4, 2))),
        *((g, ((2, 4, 7, 6), (4, 4 // g.groups, 3, 2))) for g in GEOMETRIES),
    ],
    ids=lambda v: str(v) if isinstance(v, (tuple, Conv2d)) else type(v).__name__,
)
def test_linear_in_each_operand(f, shapes):
    x, y = (words(*shapes[0], seed=s) for s in (1, 2))
    w, v = (words(*shapes[1], seed=s) for s in (3, 4))
    product = RING.product
    assert np.array_equal(product(f, x + y, w), product(f, x, w) + product(f, y, w))
    assert np.array_equal(product(f, x, w + v), product(f, x, w) + product(f, x, v))
    start = words(*f.shape(*shapes), seed=5)
    assert np.array_equal(product(f, x, w, start.copy()), start + product(f, x, w))
    assert product(f, x, w).shape == f.shape(*shapes)


@pytest.mark.parametrize(
    ("f", "x", "y"),
    [
        (MUL, (3,), (4,)),
        (MATMUL, (2, 3), (4, 5)),
        (MATMUL, (3,), (3, 2)),
        (MATMUL, (2, 3, 4), (3, 4, 5)),
        (Conv2d(), (1, 2, 5, 5), (3, 1, 2, 2)),
        (Conv2d(), (1, 2, 5, 5), (3, 2, 6, 2)),
        (Conv2d(groups=2), (1, 4, 5, 5), (3, 2, 2, 2)),
        (Conv2d(), (2, 5, 5), (3, 2, 2, 2)),
    ],
)
def test_operands_that_do_not_fit(f, x, y):
    with pytest.raises(ValueError, match=r"shape|fit|larger|broadcast"):
        f.shape(x, y)
