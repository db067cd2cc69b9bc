"""Layers as functions: convolution, pooling, normalisation. Weights may be secret arrays or plain NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeMismatch
from ..ir.trace import user_line
from ..lang import core
from ..lang.array import Array
from ..lang.elementwise import maximum, relu
from ..lang.wide import rsqrt

Pair = int | tuple[int, int]


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def linear(x: Array, weight: Any, bias: Any = None) -> Array:
    """x @ weight + bias, x (..., k), weight (k, p)."""
    y = core.matmul(x, weight)
    return y if bias is None else core.add(y, bias)


def conv2d(
    x: Any, weight: Any, bias: Any = None, stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1, groups: int = 1
) -> Array:
    """Images (n, c, h, w) with filters (o, c / groups, kh, kw), bias (o,): (n, o, h', w'). The image is opened, not its
    windows, so a convolution sends as much as its image and its filters hold."""
    sides = {"stride": list(_pair(stride)), "padding": list(_pair(padding)), "dilation": list(_pair(dilation))}
    y = core.product("conv2d", x, weight, **sides, groups=groups)
    if bias is None:
        return y
    row = (1, -1, 1, 1)
    return core.add(y, _shaped(bias, row))


def _windows(x: Array, size: Pair, stride: Pair | None) -> list[Array]:
    """The image shifted to every place of a window: views of the windows' shape, no copy and no message."""
    (kh, kw), (sh, sw) = _pair(size), _pair(size if stride is None else stride)
    if x.ndim != 4:
        raise ShapeMismatch(f"pooling takes images (n, c, h, w), not {x.shape} (at {user_line()})")
    oh, ow = (x.shape[2] - kh) // sh + 1, (x.shape[3] - kw) // sw + 1
    if oh < 1 or ow < 1:
        raise ShapeMismatch(f"windows {(kh, kw)} are larger than the images {x.shape} (at {user_line()})")
    return [x[:, :, i : i + (oh - 1) * sh + 1 : sh, j : j + (ow - 1) * sw + 1 : sw] for i in range(kh) for j in range(kw)]


def max_pool2d(x: Array, size: Pair = 2, stride: Pair | None = None) -> Array:
    """Maximum over windows, exact: ceil(log2 of the window's size) levels of 4 rounds."""
    parts = _windows(x, size, stride)
    while len(parts) > 1:
        half = len(parts) // 2
        best = maximum(core.stack(parts[:half]), core.stack(parts[half : 2 * half]))
        parts = [best[i] for i in range(half)] + parts[2 * half :]
    return parts[0]


def avg_pool2d(x: Array, size: Pair = 2, stride: Pair | None = None) -> Array:
    """Mean over windows."""
    parts = _windows(x, size, stride)
    total = parts[0]
    for part in parts[1:]:
        total = core.add(total, part)
    return core.multiply(total, 1 / len(parts))


def global_avg_pool2d(x: Array) -> Array:
    """(n, c, h, w) -> (n, c)."""
    return core.mean(x, (2, 3))


def layer_norm(x: Array, weight: Any = None, bias: Any = None, eps: float = 1e-3) -> Array:
    """(x - mean) / sqrt(var + eps) over the last axis, times weight, plus bias. The variance must be below 2^15."""
    centred = core.subtract(x, core.mean(x, -1, keepdims=True))
    variance = core.mean(core.square(centred), -1, keepdims=True)
    y = core.multiply(centred, rsqrt(core.add(variance, eps)))
    y = y if weight is None else core.multiply(y, weight)
    return y if bias is None else core.add(y, bias)


def batch_norm(x: Array, mean: Any, var: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Array:
    """(x - mean) / sqrt(var + eps) * weight + bias with known statistics of each channel (c,); x is (n, c, ...).

    Public statistics and weights become one factor and one summand per channel: local but for a truncation.
    """
    row = (1, -1, *(1,) * (x.ndim - 2))
    gain = rsqrt(core.add(var, eps)) if isinstance(var, Array) else 1 / np.sqrt(np.asarray(var) + eps)
    if weight is not None:
        gain = weight * gain
    shift = -(mean * gain) if bias is None else bias - mean * gain
    return core.add(core.multiply(x, _shaped(gain, row)), _shaped(shift, row))


def _shaped(value: Any, shape: tuple[int, ...]) -> Any:
    return core.reshape(value, shape) if isinstance(value, Array) else np.reshape(value, shape)


def cosine_similarity(x: Array, y: Any, axis: int = -1, eps: float = 1e-4) -> Array:
    """x . y / (|x| |y|) along an axis; 0 for a vector of zeros. Every |x|^2 must be below 2^15 and, for a relative error of
    2^-10, above 2^-6."""
    dot = core.sum(core.multiply(x, y), axis)
    lengths = [rsqrt(core.add(core.sum(core.square(v), axis), eps)) if isinstance(v, Array)
               else 1 / np.sqrt(np.sum(np.square(v), axis) + eps) for v in (x, y)]  # fmt: skip
    return core.multiply(core.multiply(dot, lengths[0]), lengths[1])


def leaky_relu(x: Array, slope: float = 0.01) -> Array:
    """x where x > 0, else slope * x."""
    return core.add(core.multiply(relu(x), 1 - slope), core.multiply(x, slope))


def relu6(x: Array) -> Array:
    """min(max(x, 0), 6), exact."""
    y = relu(x)
    return core.subtract(y, relu(core.subtract(y, 6)))
