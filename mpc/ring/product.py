"""Matrix products and convolutions on the native kernels. Large ones are split over threads; sums in a ring do not depend
on how, so the results are the same words for every number of threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np

from .kernels import kernels, threads

Array = np.ndarray

SMALL = 1 << 22  # multiplications that one thread does sooner than two
STRIP = 64  # rows per task: three parties on two cores, so no fixed split is fair
LONG = 8  # rows of a one-column product, in strips: those are a matter of memory


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads())


def _each(task: Callable[[int], None], items: Iterable[int], work: int) -> None:
    """Calls task on every item; threads take the next one as they come."""
    items = iter(items)
    if work <= SMALL or threads() == 1:
        for item in items:
            task(item)
        return

    def take(_: int) -> None:
        for item in items:
            task(item)

    list(_pool().map(take, range(threads())))


def aligned(n: int, dtype: type[np.unsignedinteger] = np.uint64) -> Array:
    """n words, 64-byte aligned."""
    size = np.dtype(dtype).itemsize
    raw = np.empty(n + 64 // size, dtype)
    start = -raw.ctypes.data % 64 // size
    return raw[start : start + n]


def _base(x: Array) -> Array:
    """A flat view from x's first element on, for a kernel that is told the strides."""
    extent = 1 + sum((n - 1) * s for n, s in zip(x.shape, x.strides, strict=True)) // x.itemsize
    return np.lib.stride_tricks.as_strided(x, (extent,), (x.itemsize,))


class _Of:
    """The kernels for elements of so many bytes; those of 16 are made of 64-bit words."""

    def __init__(self, size: int) -> None:
        core, ring = kernels(), f"u{8 * size}"
        self.word = np.uint32 if size == 4 else np.uint64
        for name in ("gemm_packed", "gemm_work", "gemm_pack", "gemm", "conv2d_strips", "conv2d_work", "conv2d"):
            setattr(self, name, getattr(core, f"{name}_{ring}"))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        raise AttributeError(name)


_of = cache(_Of)


def gemm(c: Array, a: Array, b: Array) -> None:
    """c += a @ b for matrices. Any strides for a and b (a transpose needs no copy); c's rows are contiguous."""
    (m, k), p, core, size_of = a.shape, b.shape[1], _of(a.itemsize), a.itemsize
    if not (m and k and p):
        return
    if m == 1 and p > 1:  # the product of the transposes reads b once and in place, instead of packing it
        c, a, b, m, p = c.T, b.T, a.T, p, 1
    a, b = (x if min(x.strides, default=0) > 0 or x.size <= 1 else np.ascontiguousarray(x) for x in (a, b))
    steps_a, steps_b = ([s // size_of for s in x.strides] for x in (a, b))
    work = m * k * p

    def pack(j: int, columns: int) -> Array:
        packed = aligned(core.gemm_packed(k, columns), core.word)
        core.gemm_pack(packed, k, columns, _base(b[:, j:]), *steps_b)
        return packed

    def multiply(i: int, rows: int, j: int, columns: int, packed: Array) -> None:
        room = aligned(core.gemm_work(), core.word)
        part = _base(c[i:, j:])
        core.gemm(part, c.strides[0] // size_of, rows, columns, k, _base(a[i:]), *steps_a, packed, room)

    if work <= SMALL or threads() == 1:
        multiply(0, m, 0, p, pack(0, p))
    elif p > 1 and m < 2 * STRIP * threads():  # few rows: each task packs its own columns
        size = max(STRIP, -(-p // (4 * threads() * STRIP)) * STRIP)
        _each(lambda j: multiply(0, m, j, min(size, p - j), pack(j, min(size, p - j))), range(0, p, size), work)
    else:
        packed, size = pack(0, p), STRIP if p > 1 else LONG * STRIP
        _each(lambda i: multiply(i, min(size, m - i), 0, p, packed), range(0, m, size), work)


def conv2d(
    out: Array,
    x: Array,
    y: Array,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
) -> None:
    """out += the convolution of images x (n, c, h, w) with filters y (o, c / groups, kh, kw); out is contiguous."""
    core, work = _of(out.itemsize), out.size * y[0].size
    if not work:
        return
    x, y = np.asarray(x, order="C"), np.asarray(y, order="C")
    (o, _, *kernel), space = y.shape, out.shape[2:]
    shape = np.array([*x.shape, o, *kernel, *space, *stride, *padding, *dilation, groups], np.uintp)
    strips = core.conv2d_strips(shape)
    size = max(1, strips // (8 * threads())) if work > SMALL else strips

    def convolve(first: int) -> None:
        core.conv2d(out, x, y, shape, first, min(first + size, strips), aligned(core.conv2d_work(), core.word))

    _each(convolve, range(0, strips, size), work)
