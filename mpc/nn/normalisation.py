"""Normalisation: (x - mean) / sqrt(variance + eps), times weight, plus bias. Variances must be below 2^15."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..errors import ShapeMismatch
from ..ir.trace import user_line
from ..lang import core
from ..lang.array import Array, Axis
from ..lang.core import add, mean, multiply, square, subtract
from ..lang.views import reshape
from ..lang.wide import rsqrt
from .convolution import per_channel


def _affine(y: Array, weight: Any, bias: Any) -> Array:
    y = y if weight is None else multiply(y, weight)
    return y if bias is None else add(y, bias)


def _standardised(x: Array, eps: float) -> Array:
    """Over the last axis."""
    centred = subtract(x, mean(x, -1, keepdims=True))
    return multiply(centred, rsqrt(add(mean(square(centred), -1, keepdims=True), eps)))


def layer_norm(x: Array, weight: Any = None, bias: Any = None, eps: float = 1e-3) -> Array:
    """Over the last axis; weight and bias have its length."""
    return _affine(_standardised(x, eps), weight, bias)


def rms_norm(x: Array, weight: Any = None, eps: float = 1e-3) -> Array:
    """x / sqrt(mean(x^2) + eps) over the last axis, times weight (Zhang and Sennrich, NeurIPS 2019)."""
    return _affine(multiply(x, rsqrt(add(mean(square(x), -1, keepdims=True), eps))), weight, None)


def group_norm(x: Array, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-3) -> Array:
    """(n, c, ...) over groups of channels and all that is behind them; weight and bias (c,) (Wu and He, ECCV 2018)."""
    if x.ndim < 2 or groups < 1 or x.shape[1] % groups:
        raise ShapeMismatch(f"{groups} groups of the channels of (n, c, ...) = {x.shape} (at {user_line()})")
    y = reshape(_standardised(reshape(x, (x.shape[0], groups, -1)), eps), x.shape)
    return _affine(y, *(v if v is None else per_channel(v, x.ndim) for v in (weight, bias)))


def instance_norm(x: Array, weight: Any = None, bias: Any = None, eps: float = 1e-3) -> Array:
    """(n, c, ...) of every image and channel by itself; weight and bias (c,)."""
    return group_norm(x, x.shape[1] if x.ndim > 1 else 0, weight, bias, eps)


def batch_statistics(x: Array) -> tuple[Array, Array]:
    """Mean and variance (without correction) of every channel of (n, c, ...): (c,) each."""
    axes: Axis = (0, *range(2, x.ndim))
    average = mean(x, axes)
    return average, mean(square(subtract(x, per_channel(average, x.ndim))), axes)


def batch_norm(x: Array, mean: Any, var: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Array:
    """With known statistics of each channel (c,), of training or from `batch_statistics`; x is (n, c, ...).

    Public statistics and weights become one factor and one summand per channel: local but for a truncation.
    """
    gain = rsqrt(add(var, eps)) if isinstance(var, Array) else 1 / np.sqrt(np.asarray(var) + eps)
    if weight is not None:
        gain = weight * gain
    shift = -(mean * gain) if bias is None else bias - mean * gain
    return add(multiply(x, per_channel(gain, x.ndim)), per_channel(shift, x.ndim))


def unbiased(var: Array, x: Array) -> Array:
    """The variance of each channel of x, corrected as an estimate of the population's."""
    count = prod(x.shape) // x.shape[1]
    return core.multiply(var, count / (count - 1)) if count > 1 else var
