"""Bilinear maps: elementwise product, matrix product, convolution. A protocol multiplies shares by any of them alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np

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
        return np.broadcast_shapes(x, y)

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
class Conv2d(Bilinear):
    """(n, c, h, w) images with (o, c / groups, kh, kw) filters -> (n, o, h', w')."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def shape(self, x: tuple[int, ...], y: tuple[int, ...]) -> tuple[int, ...]:
        if len(x) != 4 or len(y) != 4 or x[1] != y[1] * self.groups or y[0] % self.groups:
            raise ValueError(f"images {x} and filters {y} do not fit (groups={self.groups})")
        spatial = [
            (x[2 + i] + 2 * self.padding[i] - self.dilation[i] * (y[2 + i] - 1) - 1) // self.stride[i] + 1 for i in (0, 1)
        ]
        if min(spatial) < 1:
            raise ValueError(f"filters {y} are larger than the images {x}")
        return (x[0], y[0], *spatial)

    def multiplications(self, x: tuple[int, ...], y: tuple[int, ...]) -> int:
        return prod(self.shape(x, y)) * prod(y[1:])

    def accumulate(self, gemm: Gemm, out: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
        o, c, kh, kw = y.shape
        (n, _, oh, ow), per = out.shape, o // self.groups
        ph, pw = self.padding
        if ph or pw:
            x = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
        (sn, sc, sh, sw), (dh, dw), (th, tw) = x.strides, self.dilation, self.stride
        windows = np.lib.stride_tricks.as_strided(
            x, (n, x.shape[1], kh, kw, oh, ow), (sn, sc, sh * dh, sw * dw, sh * th, sw * tw), writeable=False
        )
        for i in range(n):
            for g in range(self.groups):
                columns = np.ascontiguousarray(windows[i, g * c : (g + 1) * c]).reshape(c * kh * kw, oh * ow)
                filters = np.ascontiguousarray(y[g * per : (g + 1) * per]).reshape(per, c * kh * kw)
                gemm(out[i, g * per : (g + 1) * per].reshape(per, oh * ow), filters, columns)


MUL, MATMUL = Mul(), MatMul()
