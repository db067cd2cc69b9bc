"""Convolution against its definition by an explicit matrix of windows."""

import numpy as np
import pytest
from mpc._native import ffi
from rings import RINGS, Ring

# images (n, c, h, w), filters (o, kh, kw), stride, padding, dilation, groups
CASES = [
    ((1, 1, 1, 1), (1, 1, 1), (1, 1), (0, 0), (1, 1), 1),
    ((2, 3, 5, 7), (4, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    ((1, 2, 12, 13), (5, 3, 2), (2, 3), (1, 0), (1, 1), 1),
    ((1, 3, 11, 9), (2, 3, 3), (1, 1), (4, 5), (2, 2), 1),
    ((1, 4, 6, 6), (6, 3, 3), (1, 2), (2, 1), (1, 2), 2),
    ((2, 5, 8, 8), (5, 3, 3), (1, 1), (1, 1), (1, 1), 5),
    ((1, 3, 9, 20), (9, 1, 5), (1, 1), (0, 2), (1, 1), 3),
    ((1, 9, 17, 16), (7, 5, 5), (1, 1), (2, 2), (1, 1), 1),
    ((1, 40, 3, 3), (50, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    ((1, 1, 2, 300), (2, 1, 7), (1, 1), (0, 3), (1, 1), 1),
    ((1, 1, 3, 3), (1, 1, 1), (1, 1), (3, 3), (1, 1), 1),
]


@pytest.fixture(params=RINGS, ids=[r.name for r in RINGS])
def ring(request) -> Ring:
    return request.param


def windows(ring, x, kernel, out, stride, padding, dilation):
    """(n, c * kh * kw, oh * ow), the matrix that an explicit im2col makes."""
    (n, c), pads = x.shape[:2], [(0, 0), (0, 0), *[(p, p) for p in padding], *[(0, 0) for _ in ring.tail]]
    x = np.pad(x, pads)
    columns = ring.zeros(n, c, *kernel, *out)
    for i, j in np.ndindex(*kernel):
        rows, cols = (np.arange(out[d]) * stride[d] + (i, j)[d] * dilation[d] for d in (0, 1))
        columns[:, :, i, j] = x[:, :, rows[:, None], cols]
    return columns.reshape(n, c * kernel[0] * kernel[1], out[0] * out[1], *ring.tail)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_conv2d(kernels, rng, ring, case):
    (n, c, h, w), (o, *kernel), stride, padding, dilation, groups = case
    out = [((h, w)[d] + 2 * padding[d] - dilation[d] * (kernel[d] - 1) - 1) // stride[d] + 1 for d in (0, 1)]
    x, y = ring.uniform(rng, n, c, h, w), ring.uniform(rng, o, c // groups, *kernel)
    room = ring.uniform(rng, n * o * out[0] * out[1] + 1)
    z = room[:-1].reshape(n, o, out[0] * out[1], *ring.tail)
    want, guard = z.copy(), room[-1].copy()
    columns, cg, og = windows(ring, x, kernel, out, stride, padding, dilation), c // groups, o // groups
    k = cg * kernel[0] * kernel[1]
    for image, g in np.ndindex(n, groups):
        filters = y[g * og : (g + 1) * og].reshape(og, k, *ring.tail)
        part = ring.matmul(filters, columns[image, g * k : (g + 1) * k])
        want[image, g * og : (g + 1) * og] = ring.add(want[image, g * og : (g + 1) * og], part)

    shape = ffi.new("mpc_conv2d *", (n, c, h, w, o, kernel, out, stride, padding, dilation, groups))
    work = ring.room(ring.of(kernels, "conv2d_work")())
    strips = ring.of(kernels, "conv2d_strips")(shape)
    assert strips == n * groups * -(-out[0] * out[1] // 128)
    for cut in ((0, strips // 2), (strips // 2, strips)):
        ring.of(kernels, "conv2d")(ring.ptr(room), ring.ptr(x), ring.ptr(y), shape, *cut, ring.ptr(work))
    assert np.array_equal(z, want)
    assert np.array_equal(room[-1], guard) and work[-1] == ring.guard
