"""Convolutions and transposed convolutions of one to three dimensions: images (n, c, *space), PyTorch's filters and sizes.

Images or filters may be public. A secret image is opened under its mask, not its windows, so a convolution sends as much as its
image and its filters hold, in the 2 rounds of a product.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ShapeMismatch
from ..ir.trace import user_line
from ..lang import core, views
from ..lang.array import Array

Sides = int | tuple[int, ...]


def sides(value: Sides, rank: int) -> tuple[int, ...]:
    """One number for every dimension; a single one is meant for all."""
    found = (value,) * rank if isinstance(value, int) else tuple(int(v) for v in value)
    if len(found) != rank:
        raise ShapeMismatch(f"{value} for {rank} dimensions: give one number or {rank} (at {user_line()})")
    return found


def per_channel(value: Any, ndim: int) -> Any:
    """(c,) as (1, c, 1, ...), to go with (n, c, ...)."""
    row = (1, -1, *(1,) * (ndim - 2))
    return views.reshape(value, row) if isinstance(value, Array) else np.reshape(value, row)


def _convolve(op: str, x: Any, weight: Any, bias: Any, rank: int, groups: int, **geometry: Sides) -> Array:
    y = core.product(op, x, weight, groups=groups, **{name: list(sides(v, rank)) for name, v in geometry.items()})
    return y if bias is None else core.add(y, per_channel(bias, y.ndim))


def conv1d(
    x: Any, weight: Any, bias: Any = None, stride: Sides = 1, padding: Sides = 0, dilation: Sides = 1, groups: int = 1
) -> Array:
    """Signals (n, c, w) with filters (o, c / groups, kw), bias (o,): (n, o, w')."""
    return _convolve("conv", x, weight, bias, 1, groups, stride=stride, padding=padding, dilation=dilation)


def conv2d(
    x: Any, weight: Any, bias: Any = None, stride: Sides = 1, padding: Sides = 0, dilation: Sides = 1, groups: int = 1
) -> Array:
    """Images (n, c, h, w) with filters (o, c / groups, kh, kw), bias (o,): (n, o, h', w'). groups = c: depthwise."""
    return _convolve("conv", x, weight, bias, 2, groups, stride=stride, padding=padding, dilation=dilation)


def conv3d(
    x: Any, weight: Any, bias: Any = None, stride: Sides = 1, padding: Sides = 0, dilation: Sides = 1, groups: int = 1
) -> Array:
    """Volumes (n, c, d, h, w) with filters (o, c / groups, kd, kh, kw), bias (o,): (n, o, d', h', w')."""
    return _convolve("conv", x, weight, bias, 3, groups, stride=stride, padding=padding, dilation=dilation)


def _transposed(rank: int, sizes: str) -> Callable[..., Array]:
    def conv_transpose(
        x: Any,
        weight: Any,
        bias: Any = None,
        stride: Sides = 1,
        padding: Sides = 0,
        output_padding: Sides = 0,
        groups: int = 1,
        dilation: Sides = 1,
    ) -> Array:
        geometry = {"stride": stride, "padding": padding, "dilation": dilation, "extra": output_padding}
        return _convolve("conv_transposed", x, weight, bias, rank, groups, **geometry)

    conv_transpose.__name__ = conv_transpose.__qualname__ = f"conv_transpose{rank}d"
    conv_transpose.__doc__ = f"""The transposed map of a convolution: {sizes}, bias (o,); along every axis
    h' = (h - 1) stride - 2 padding + dilation (kh - 1) + output_padding + 1."""
    return conv_transpose


conv_transpose1d = _transposed(1, "(n, c, w) with filters (c, o / groups, kw)")
conv_transpose2d = _transposed(2, "(n, c, h, w) with filters (c, o / groups, kh, kw)")
conv_transpose3d = _transposed(3, "(n, c, d, h, w) with filters (c, o / groups, kd, kh, kw)")
