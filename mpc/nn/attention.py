"""Attention (Vaswani et al., NeurIPS 2017), and positions."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeMismatch
from ..ir.trace import user_line
from ..lang import core
from ..lang.array import Array
from ..lang.core import add, matmul, multiply
from ..lang.manipulation import concatenate, swapaxes
from ..lang.views import reshape, transpose
from ..lang.wide import softmax
from .layers import linear

HIDDEN = -(2.0**12)  # a score so far below any other that its exponential is 0


def attention(query: Array, key: Array, value: Array, causal: bool = False, mask: Any = None) -> Array:
    """softmax(query key^T / sqrt(d)) value: (..., t, d), (..., s, d), (..., s, e) -> (..., t, e).

    causal: position i sees positions 0 .. i only. mask: bool (..., t, s), public or secret, True where a position may be
    seen; each must see one. Scores lie within 2^11 of 0.
    """
    scores = matmul(multiply(query, query.shape[-1] ** -0.5), swapaxes(key, -1, -2))
    if causal:
        scores = core.where(np.tril(np.ones(scores.shape[-2:], bool)), scores, HIDDEN)
    if mask is not None:
        scores = core.where(mask, scores, HIDDEN)
    return matmul(softmax(scores), value)


def multi_head_attention(
    query: Array,
    key: Array,
    value: Array,
    heads: int,
    in_weight: Any,
    in_bias: Any,
    out_weight: Any,
    out_bias: Any,
    causal: bool = False,
    mask: Any = None,
) -> Array:
    """(n, t, e), (n, s, e), (n, s, e) -> (n, t, e), each head on e / heads of the features.

    in_weight (3 e, e) and in_bias (3 e,) hold the maps of query, key and value below each other; out_weight (e, e). A bias may
    be None. mask: as in `attention`, for all heads, so (n, 1, t, s) or (t, s).
    """
    e = query.shape[-1]
    if query.ndim != 3 or e % heads or in_weight.shape != (3 * e, e):
        raise ShapeMismatch(
            f"{heads} heads on queries {query.shape} with weights {in_weight.shape}: (n, t, e), heads that divide e, and "
            f"(3 e, e) are wanted (at {user_line()})"
        )
    split = [slice(i * e, (i + 1) * e) for i in range(3)]
    if query is key is value:  # one product for the three
        projected = linear(query, in_weight.T, in_bias)
        parts = [projected[..., part] for part in split]
    else:
        biases = [None if in_bias is None else in_bias[part] for part in split]
        parts = [linear(x, in_weight[part].T, b) for x, part, b in zip((query, key, value), split, biases, strict=True)]
    q, k, v = (transpose(reshape(x, (*x.shape[:2], heads, e // heads)), (0, 2, 1, 3)) for x in parts)
    joined = reshape(transpose(attention(q, k, v, causal, mask), (0, 2, 1, 3)), query.shape)
    return linear(joined, out_weight.T, out_bias)


def sinusoidal_positions(length: int, size: int) -> np.ndarray:
    """(length, size), public: sines of position / 10000^(2 i / size) in even columns, cosines in odd ones. To be added to x."""
    angles = np.arange(length)[:, None] / 10000.0 ** (np.arange(0, size, 2) / size)
    out = np.zeros((length, size))
    out[:, 0::2], out[:, 1::2] = np.sin(angles), np.cos(angles)[:, : size // 2]
    return out


def rotary(x: Array, base: float = 10000.0) -> Array:
    """Queries or keys (..., t, d) with the pairs (x_i, x_{i + d/2}) turned by angles position / base^(2 i / d), d even (Su et
    al., 2021): their products depend on the distance of positions alone. Local but for a truncation."""
    t, d = x.shape[-2:]
    angles = np.arange(t)[:, None] / base ** (np.arange(0, d, 2) / d)
    cosines, sines = np.tile(np.cos(angles), 2), np.tile(np.sin(angles), 2)
    ahead = concatenate([core.negative(x[..., d // 2 :]), x[..., : d // 2]], -1)
    return add(multiply(x, cosines), multiply(ahead, sines))
