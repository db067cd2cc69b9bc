"""Layers as functions that need no room of their own. Weights may be secret arrays or plain NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import UsageError
from ..ir.trace import user_line
from ..lang import core
from ..lang.array import Array
from ..lang.elementwise import relu
from ..lang.sorting import take_secret
from ..lang.wide import rsqrt
from ..random import bernoulli


def linear(x: Array, weight: Any, bias: Any = None) -> Array:
    """x @ weight + bias, x (..., k), weight (k, p)."""
    y = core.matmul(x, weight)
    return y if bias is None else core.add(y, bias)


def embedding(index: Any, weight: Any) -> Array:
    """weight[index], weight (v, e): rows of a table. A public index costs nothing; a secret one (int64) takes v comparisons and
    gives zeros where it is out of range."""
    return take_secret(weight, index) if isinstance(index, Array) else weight[np.asarray(index)]


def dropout(x: Array, p: float = 0.5, training: bool = True) -> Array:
    """x with every element set to 0 with probability p and else divided by 1 - p, where training. Nobody knows which."""
    if not 0 <= p < 1:
        raise UsageError(f"dropout with probability {p}: choose 0 <= p < 1 (at {user_line()})")
    return core.where(bernoulli(x, 1 - p, x.shape), core.multiply(x, 1 / (1 - p)), 0) if training and p else x


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
