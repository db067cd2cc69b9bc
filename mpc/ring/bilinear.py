"""Bilinear maps: elementwise product, matrix product, convolution. A protocol multiplies shares by any of them alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np

from .product import conv2d

Gemm = Callable[[np.ndarray, np.ndarray, np.ndarray], None]  # c += a @ b


class Bilinear(ABC):
    """f(x, y), linear in each operand."""

    @abstractmethod
    def shape(self, x: tuple[int, ...], y: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of f(x, y); raises ValueError if the operands do not fit."""

    @abstractmethod
    def multiplications(self, x: tuple[int, ...], y: tuple[int, ...]) -> int:
        """How many ring multiplications f(x, y) takes."""

    @abstractmethod
    def accumulate(self, gemm: Gemm, out: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
        """out += f(x, y) in the ring."""


class Mul(Bilinear):
    """Elementwise, with broadcasting."""

    def shape(self, x: tuple[int, ...], y: tuple[int, ...]) -> tuple[int, ...]:
        return x if x == y else np.broadcast_shapes(x, y)

    def multiplications(self, x: tuple[int, ...], y: tuple[int, ...]) -> int:
        return prod(self.shape(x, y))

    def accumulate(self, gemm: Gemm, out: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
        out += x * y


class MatMul(Bilinear):
    """(..., m, k) @ (..., k, p); the leading axes broadcast. Operands have at least two axes."""

    def shape(self, x: tuple[int, ...], y: tuple[int, ...]) -> tuple[int, ...]:
        if len(x) < 2 or len(y) < 2 or x[-1] != y[-2]:
            raise ValueError(f"cannot multiply matrices of shapes {x} and {y}")
        return (*np.broadcast_shapes(x[:-2], y[:-2]), x[-2], y[-1])

    def multiplications(self, x: tuple[int, ...], y: tuple[int, ...]) -> int:
        return prod(self.shape(x, y)) * x[-1]

    def accumulate(self, gemm: Gemm, out: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
        if out.ndim > 2 and y.ndim == 2 and x.flags.c_contiguous:
            # one product for the whole batch: the right operand is packed once
            gemm(out.reshape(-1, out.shape[-1]), x.reshape(-1, x.shape[-1]), y)
            return
        batch = out.shape[:-2]
        x, y = (np.broadcast_to(a, (*batch, *a.shape[-2:])) for a in (x, y))
        for i in np.ndindex(batch):
            gemm(out[i], x[i], y[i])


@dataclass(frozen=True)
class Conv(Bilinear):
    """(n, c, *space) images with (o, c / groups, *kernel) filters -> (n, o, *space'); as many dimensions as `stride` has."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1

    def shape(self, x: tuple[int, ...], y: tuple[int, ...]) -> tuple[int, ...]:
        if len(x) != 2 + len(self.stride) or len(y) != len(x) or x[1] != y[1] * self.groups or y[0] % self.groups:
            raise ValueError(f"images {x} and filters {y} do not fit (groups={self.groups})")
        sizes = zip(x[2:], y[2:], self.stride, self.padding, self.dilation, strict=True)
        space = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes]
        if min(space) < 1:
            raise ValueError(f"filters {y} are larger than the images {x}")
        return (x[0], y[0], *space)

    def multiplications(self, x: tuple[int, ...], y: tuple[int, ...]) -> int:
        return prod(self.shape(x, y)) * prod(y[1:])

    def accumulate(self, gemm: Gemm, out: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
        if len(self.stride) == 3:
            self._by_depth(gemm, out, x, y)
            return
        if len(self.stride) == 1:  # an image of height 1
            out, x, y = (a[:, :, None] for a in (out, x, y))
        one, none = (1,) * (2 - len(self.stride)), (0,) * (2 - len(self.stride))
        conv2d(out, x, y, one + self.stride, none + self.padding, one + self.dilation, self.groups)

    def _by_depth(self, gemm: Gemm, out: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
        """For each layer of the filters, layers of the input as a batch of images, added to the layers of the result."""
        flat = Conv(self.stride[1:], self.padding[1:], self.dilation[1:], self.groups)
        step, depth = self.stride[0], x.shape[2]
        images, result = np.moveaxis(x, 2, 1), np.moveaxis(out, 2, 1).copy(order="C")
        for i, layer in np.ndindex(x.shape[0], y.shape[2]):
            at = layer * self.dilation[0] - self.padding[0]  # result layer z sees input layer z * step + at
            start, stop = max(0, -(at // step)), min(out.shape[2], (depth - 1 - at) // step + 1)
            if start < stop:
                seen = images[i, start * step + at : (stop - 1) * step + at + 1 : step]
                flat.accumulate(gemm, result[i, start:stop], seen, y[:, :, layer])
        out[...] = np.moveaxis(result, 1, 2)


@dataclass(frozen=True)
class Conv1d(Conv):
    """(n, c, w) with (o, c / groups, kw) -> (n, o, w')."""

    stride: tuple[int, ...] = (1,)
    padding: tuple[int, ...] = (0,)
    dilation: tuple[int, ...] = (1,)


@dataclass(frozen=True)
class Conv2d(Conv):
    """(n, c, h, w) images with (o, c / groups, kh, kw) filters -> (n, o, h', w')."""

    stride: tuple[int, ...] = (1, 1)
    padding: tuple[int, ...] = (0, 0)
    dilation: tuple[int, ...] = (1, 1)


@dataclass(frozen=True)
class Conv3d(Conv):
    """(n, c, d, h, w) with (o, c / groups, kd, kh, kw) -> (n, o, d', h', w')."""

    stride: tuple[int, ...] = (1, 1, 1)
    padding: tuple[int, ...] = (0, 0, 0)
    dilation: tuple[int, ...] = (1, 1, 1)


@dataclass(frozen=True)
class ConvTransposed(Bilinear):
    """The transposed map of a convolution, by which gradients and upsampling go: (n, c, *space) with filters
    (c, o / groups, *kernel) -> (n, o, *space'), space' = (space - 1) stride - 2 padding + dilation (kernel - 1) + 1 + extra."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1
    extra: tuple[int, ...] = ()  # of the sizes that the convolution maps to one, which is meant

    def shape(self, x: tuple[int, ...], y: tuple[int, ...]) -> tuple[int, ...]:
        if len(x) != 2 + len(self.stride) or len(y) != len(x) or x[1] != y[0] or y[0] % self.groups:
            raise ValueError(f"images {x} and filters {y} do not fit (groups={self.groups})")
        sizes = zip(x[2:], y[2:], self.stride, self.padding, self.dilation, self._extra, strict=True)
        space = [(n - 1) * s - 2 * p + d * (k - 1) + 1 + e for n, k, s, p, d, e in sizes]
        if min(space) < 1:
            raise ValueError(f"padding {self.padding} leaves nothing of images {x} under filters {y}")
        return (x[0], y[1] * self.groups, *space)

    @property
    def _extra(self) -> tuple[int, ...]:
        return self.extra or (0,) * len(self.stride)

    def multiplications(self, x: tuple[int, ...], y: tuple[int, ...]) -> int:
        return prod(self.shape(x, y)) * x[1] // self.groups * prod(y[2:])

    def accumulate(self, gemm: Gemm, out: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
        """A convolution of the images with zeros between their pixels, by the filters turned round."""
        space, kernel, dims = out.shape[2:], y.shape[2:], len(self.stride)
        reach = [d * (k - 1) for d, k in zip(self.dilation, kernel, strict=True)]
        wide = np.zeros((*x.shape[:2], *(n + r for n, r in zip(space, reach, strict=True))), x.dtype)
        source, target = [slice(None)] * 2, [slice(None)] * 2
        for n, to, r, s, p in zip(x.shape[2:], wide.shape[2:], reach, self.stride, self.padding, strict=True):
            start = r - p  # where pixel 0 goes; pixel i goes to start + i s, or nowhere
            first = max(0, -(start // s))
            last = min(n, (to - 1 - start) // s + 1)
            source.append(slice(first, max(first, last)))
            target.append(slice(start + first * s, max(start + first * s, start + (last - 1) * s + 1), s))
        wide[tuple(target)] = x[tuple(source)]
        turned = np.flip(y.reshape(self.groups, -1, *y.shape[1:]).swapaxes(1, 2), tuple(range(3, 3 + dims)))
        filters = np.ascontiguousarray(turned).reshape(out.shape[1], -1, *kernel)
        Conv((1,) * dims, (0,) * dims, self.dilation, self.groups).accumulate(gemm, out, wide, filters)


MUL, MATMUL = Mul(), MatMul()
