"""The rules of gradients: one row an operation in `RULES`. See `gradients.py`, which applies them.

A rule says what reaches an equation's operands, given what reaches its result, in the language. A derived operation without a
row is differentiated through its body.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..ir.ops import index_key
from ..ir.types import DType
from . import core, views
from .array import Array, Scope, bind, constant, scope_of, whole
from .core import multiply, negative, square, subtract
from .elementwise import ERF, GELU, SILU, _activation, _erf, _sigmoid, cos, exp, sigmoid, sin
from .manipulation import concatenate
from .piecewise import Curve, Tail
from .sorting import move_rows
from .views import broadcast_to, reshape, transpose
from .wide import reciprocal, rsqrt


class Cotangent(NamedTuple):
    """What reaches a value: array 2^shift."""

    array: Array
    shift: int = 0


class Call(NamedTuple):
    """An equation with its operands and results, as a rule sees it. `need`: the operands that want a gradient. `saved`: what
    the rule's own forward pass kept. `result`: which result the gradient has reached."""

    op: str
    params: dict[str, Any]
    ins: list[Array]
    outs: list[Array]
    need: list[bool]
    saved: Any = None
    result: int = 0


Gradient = Array | Cotangent | None
Backward = Callable[[Call, Array], Sequence[Gradient]]
Forward = Callable[[list[Array], dict[str, Any]], tuple[Array, Any]]


class Rule(NamedTuple):
    """`backward`: one gradient an operand (a Cotangent: with a further power of two). `forward`: instead of the equation, its
    result and what backward wants of the way there."""

    backward: Backward
    forward: Forward | None = None


def _summed(g: Array, shape: tuple[int, ...]) -> Array:
    """The gradient of broadcasting `shape`."""
    extra = g.ndim - len(shape)
    axes = (*range(extra), *(i + extra for i, n in enumerate(shape) if n == 1 and g.shape[i + extra] != 1))
    return reshape(core.sum(g, axes), shape) if axes else g


def _excess(known: Array, g: Array) -> int:
    """Bits to truncate after a product: it keeps the scale of what is secret, and of two public factors 40 bits."""
    fractions = known.dtype.fraction, g.dtype.fraction
    if 0 in fractions:
        return 0
    if known.type.secret and g.type.secret:
        return min(fractions)
    if known.type.secret or g.type.secret:
        return fractions[1] if known.type.secret else fractions[0]
    return max(0, sum(fractions) - core.MOST_FRACTION)


def _times(op: str, x: Array, y: Array, factor: int, **params: Any) -> Gradient:
    """op(x, y), of which operand `factor` (0 or 1) was there forward and the other is a gradient, at the gradient's scale."""
    known, g = (x, y) if factor == 0 else (y, x)
    value = known.node.value
    if op == "mul" and value is not None and value.size == 1 and known.dtype.kind == "int":
        size = int(scope_of(g).settings.ring.integers(value.reshape(-1))[0])
        if size > 0 and size & (size - 1) == 0:  # a change of scale
            return Cotangent(broadcast_to(g, np.broadcast_shapes(x.shape, y.shape)), size.bit_length() - 1)
    bits = _excess(known, g)
    if op == "mul" and known.type.secret and g.type.secret:
        x, y = core._same_shape(x, y)
    return bind(op, x, y, bits=bits, rounding=scope_of(g).settings.rounding, **params)  # type: ignore[no-any-return]


def _after(f: Callable[[Array], Array], g: Gradient) -> Gradient:
    """f of a gradient, whatever its power of two."""
    if g is None:
        return None
    return g._replace(array=f(g.array)) if isinstance(g, Cotangent) else f(g)


def _mul(c: Call, g: Array) -> Sequence[Gradient]:
    x, y = c.ins
    return (
        _after(lambda a: _summed(a, x.shape), _times("mul", g, y, 1)) if c.need[0] else None,
        _after(lambda a: _summed(a, y.shape), _times("mul", x, g, 0)) if c.need[1] else None,
    )


def _swapped(x: Array) -> Array:
    return transpose(x, [*range(x.ndim - 2), x.ndim - 1, x.ndim - 2])


def _matmul(c: Call, g: Array) -> Sequence[Gradient]:
    x, y = c.ins
    g = broadcast_to(g, c.outs[0].shape)
    of_x: Gradient = None
    if c.need[0]:
        of_x = _after(lambda a: _summed(a, x.shape), _times("matmul", g, _swapped(y), 1))
    of_y: Gradient = None
    if c.need[1]:
        if y.ndim == 2 and x.ndim > 2:  # one product over the whole batch
            x, g = reshape(x, (-1, x.shape[-1])), reshape(g, (-1, g.shape[-1]))
        of_y = _after(lambda a: _summed(a, y.shape), _times("matmul", _swapped(x), g, 0))
    return of_x, of_y


def _conv(c: Call, g: Array) -> Sequence[Gradient]:
    """Both are convolutions: of the gradient, spread by the stride, with the mirrored filters; and of images and gradient
    with channels and batch exchanged."""
    x, w = c.ins
    g = broadcast_to(g, c.outs[0].shape)
    groups, (stride, padding, dilation) = c.params["groups"], (c.params[k] for k in ("stride", "padding", "dilation"))
    o, per, *kernel = w.shape
    d = len(kernel)
    of_x: Gradient = None
    if c.need[0]:
        wide, pad = g, [0] * d
        for a in range(d):
            reach = dilation[a] * (kernel[a] - 1)
            length = x.shape[2 + a] + 2 * padding[a] - reach
            wide, pad[a] = _spread(wide, 2 + a, 0, stride[a], length), reach - padding[a]
            if pad[a] < 0:  # padded by more than filters reach: those rows saw no image
                key = [slice(None)] * (2 + d)
                key[2 + a] = slice(-pad[a], length + pad[a])
                wide, pad[a] = wide[tuple(key)], 0
        mirrored = w[(slice(None), slice(None), *[slice(None, None, -1)] * d)]
        turned = _exchanged(reshape(mirrored, (groups, o // groups, per, *kernel)), 1)
        turned = reshape(turned, (groups * per, o // groups, *kernel))
        of_x = _times("conv", wide, turned, 1, stride=[1] * d, padding=pad, dilation=dilation, groups=groups)
    return of_x, _of_filters(x, g, kernel, c.params, 0) if c.need[1] else None


def _conv_transposed(c: Call, g: Array) -> Sequence[Gradient]:
    """What it transposes is a convolution: of the gradient, which stands for the images, to the operand."""
    x, w = c.ins
    g = broadcast_to(g, c.outs[0].shape)
    sides = {k: c.params[k] for k in ("stride", "padding", "dilation", "groups")}
    of_x = _times("conv", g, w, 1, **sides) if c.need[0] else None
    return of_x, _of_filters(g, x, list(w.shape[2:]), c.params, 1) if c.need[1] else None


def _exchanged(x: Array, axis: int) -> Array:
    """x with two neighbouring axes exchanged."""
    axes = [*range(x.ndim)]
    axes[axis], axes[axis + 1] = axes[axis + 1], axes[axis]
    return transpose(x, axes)


def _of_filters(images: Array, found: Array, kernel: list[int], params: dict[str, Any], operand: int) -> Gradient:
    """What filters contribute to `found`, the convolution of the images with them; which of the two is the gradient's other
    factor is `operand`."""
    groups, n, channels = params["groups"], images.shape[0], images.shape[1]
    per, space = channels // groups, images.shape[2:]
    images = transpose(reshape(images, (n, groups, per, *space)), [2, 1, 0, *range(3, 3 + len(space))])
    images = reshape(images, (per, groups * n, *space))
    sides = {"stride": params["dilation"], "padding": params["padding"], "dilation": params["stride"]}
    product = _times("conv", images, _exchanged(found, 0), operand, groups=groups, **sides)
    inside = (slice(None), slice(None), *(slice(k) for k in kernel))
    return _after(lambda a: _exchanged(a[inside], 0), product)


def _zeros(shape: Sequence[int], dtype: DType, scope: Scope) -> Array:
    return broadcast_to(constant(scope.settings.ring.of(0), dtype, scope), shape)


def _spread(g: Array, axis: int, start: int, step: int, length: int) -> Array:
    """Zeros, with g[k] at start + k step along an axis of this length. Local, and no table of positions."""
    scope, n = scope_of(g), g.shape[axis]
    if step > 1 and n > 1:
        g = views.expand_dims(g, axis + 1)
        gap = [step - 1 if a == axis + 1 else m for a, m in enumerate(g.shape)]
        g = concatenate([g, _zeros(gap, g.dtype, scope)], axis + 1)
        n *= step
        g = reshape(g, [n if a == axis else m for a, m in enumerate(g.shape) if a != axis + 1])
        if start + n > length:
            n = length - start
            g = g[(*[slice(None)] * axis, slice(0, n))]
    ends = [_zeros([m if a != axis else k for a, m in enumerate(g.shape)], g.dtype, scope) for k in (start, length - start - n)]
    parts = [p for p in (ends[0], g, ends[1]) if p.shape[axis]]
    return concatenate(parts, axis) if len(parts) > 1 or parts[0] is not g else g


def _index(c: Call, g: Array) -> Sequence[Gradient]:
    shape, key = c.ins[0].shape, index_key(c.params["key"])
    if any(isinstance(k, np.ndarray) for k in key):
        return (_scatter(g, np.arange(c.ins[0].size).reshape(shape)[key], shape),)
    taken = sum(k is not None and k is not Ellipsis for k in key)
    if Ellipsis not in key:
        key = (*key, Ellipsis)
    at = key.index(Ellipsis)
    whole = [slice(None)] * (len(shape) - taken)
    items = [k for k in (*key[:at], *whole, *key[at + 1 :]) if k is not None]
    slices = [k if isinstance(k, slice) else slice(k, k + 1 or None) for k in items]
    ranges = [range(*k.indices(n)) for k, n in zip(slices, shape, strict=True)]
    g = reshape(g, [len(r) for r in ranges])  # axes that integers took away come back, new ones go
    if any(r.step < 0 for r in ranges):
        g = g[tuple(slice(None, None, -1) if r.step < 0 else slice(None) for r in ranges)]
        ranges = [r[::-1] if r.step < 0 else r for r in ranges]
    for axis, r in enumerate(ranges):
        if len(r) != shape[axis]:
            g = _spread(g, axis, r.start, r.step, shape[axis])
    return (g,)


def _scatter(g: Array, positions: np.ndarray, shape: tuple[int, ...]) -> Array:
    """Zeros of `shape`, with every element of g added at its flat position."""
    flat, size = positions.reshape(-1), math.prod(shape)
    order = np.argsort(flat, kind="stable")
    counts = np.bincount(flat, minlength=size)
    table = np.full((int(counts.max(initial=1)), size), flat.size)  # row k: what comes k-th to each position; else the zero
    table[np.arange(flat.size) - np.repeat(np.cumsum(counts) - counts, counts), flat[order]] = order
    rows = views.getitem(concatenate([reshape(g, -1), [0]]), table)
    return reshape(core.sum(rows, 0), shape)


def _take(c: Call, g: Array) -> Sequence[Gradient]:
    """A window of zeros around g, cut so that g lies at `start`: local, wherever the loop is."""
    x, start = c.ins
    rest = x.shape[0] - c.params["length"]
    around = _zeros((rest, *x.shape[1:]), g.dtype, scope_of(g))
    wide = concatenate([around, g, around], 0)
    return views.dynamic_slice(wide, subtract(rest, start), x.shape[0]), None


def _concatenate(c: Call, g: Array) -> Sequence[Gradient]:
    axis, at, found = c.params["axis"], 0, []
    for x in c.ins:
        found.append(g[(*[slice(None)] * axis, slice(at, at + x.shape[axis]))])
        at += x.shape[axis]
    return found


def _sum(c: Call, g: Array) -> Sequence[Gradient]:
    shape = c.ins[0].shape
    kept = [1 if a in c.params["axis"] else n for a, n in enumerate(shape)]
    return (broadcast_to(reshape(g, kept), shape),)


def _cumsum(c: Call, g: Array) -> Sequence[Gradient]:
    back = (*[slice(None)] * c.params["axis"], slice(None, None, -1))
    return (core.cumsum(g[back], c.params["axis"])[back],)


def _trunc(c: Call, g: Array) -> Sequence[Gradient]:
    return (Cotangent(g, -c.params["bits"]) if c.ins[0].dtype.kind == "int" else g,)


def _select(c: Call, g: Array) -> Sequence[Gradient]:
    chosen = core.where(c.ins[0], g, 0)
    return None, chosen, subtract(g, chosen) if c.need[2] else None


def _relu_forward(ins: list[Array], params: dict[str, Any]) -> tuple[Array, Any]:
    positive = core.less(0, ins[0])
    return core.where(positive, ins[0], 0), positive


def _extend(curve: Curve, f: Callable[[np.ndarray], np.ndarray], tails: tuple[Tail, Tail], name: str) -> Curve:
    return Curve(f, curve.low, curve.high, 2.0**-12, tails, name)


FLAT_TO_ONE = (Tail(0), Tail(1))


def _gelu_slope(v: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * (1 + _erf(v / 2**0.5)) + v * np.exp(-v * v / 2) / math.sqrt(2 * math.pi))


def _silu_slope(v: np.ndarray) -> np.ndarray:
    s = _sigmoid(v)
    return np.asarray(s + v * s * (1 - s))


SLOPES = {
    "gelu": _extend(GELU, _gelu_slope, FLAT_TO_ONE, "gelu_slope"),
    "silu": _extend(SILU, _silu_slope, FLAT_TO_ONE, "silu_slope"),
    "erf": _extend(ERF, lambda v: 2 / math.sqrt(math.pi) * np.exp(-v * v), (Tail(0), Tail(0)), "erf_slope"),
}


def _slope(c: Call, g: Array) -> Sequence[Gradient]:
    return (multiply(g, _activation(c.ins[0], SLOPES[c.op])),)


def _softmax(c: Call, g: Array) -> Sequence[Gradient]:
    y, axis = c.outs[0], c.params["axis"]
    return (multiply(y, subtract(g, core.sum(multiply(g, y), axis, keepdims=True))),)


def _log_softmax(c: Call, g: Array) -> Sequence[Gradient]:
    return (subtract(g, multiply(exp(c.outs[0]), core.sum(g, c.params["axis"], keepdims=True))),)


def _permute(c: Call, g: Array) -> Sequence[Gradient]:
    """Rows of the gradient back to where the column's came from: two shuffles more."""
    places = whole(np.arange(len(c.ins[0])), scope_of(c.ins[0]))
    back = bind("permute", c.ins[0], places, shift=c.params["shift"])
    (moved,) = move_rows("permute", [broadcast_to(g, c.outs[c.result].shape)], back, shift=0)
    return None, *(moved if k == c.result else None for k in range(len(c.outs)))


def _retype(c: Call, g: Array) -> Sequence[Gradient]:
    return (Cotangent(g, c.ins[0].dtype.fraction - c.outs[0].dtype.fraction),)


def _of_result(slope: Callable[[Array], Array]) -> Rule:
    """The slope follows from the result."""
    return Rule(lambda c, g: (multiply(g, slope(c.outs[0])),))


def _of_operand(slope: Callable[[Array], Array]) -> Rule:
    return Rule(lambda c, g: (multiply(g, slope(c.ins[0])),))


RULES: dict[str, Rule] = {
    "add": Rule(lambda c, g: [_summed(broadcast_to(g, c.outs[0].shape), x.shape) for x in c.ins]),
    "sub": Rule(lambda c, g: (_summed(broadcast_to(g, c.outs[0].shape), c.ins[0].shape),
                              negative(_summed(broadcast_to(g, c.outs[0].shape), c.ins[1].shape)))),
    "neg": Rule(lambda c, g: (negative(g),)),
    "sum": Rule(_sum),
    "cumsum": Rule(_cumsum),
    "reshape": Rule(lambda c, g: (reshape(g, c.ins[0].shape),)),
    "transpose": Rule(lambda c, g: (transpose(g, np.argsort(c.params["axes"]).tolist()),)),
    "broadcast": Rule(lambda c, g: (_summed(g, c.ins[0].shape),)),
    "index": Rule(_index),
    "take": Rule(_take),
    "concatenate": Rule(_concatenate),
    "retype": Rule(_retype),
    "mul": Rule(_mul),
    "matmul": Rule(_matmul),
    "conv": Rule(_conv),
    "conv_transposed": Rule(_conv_transposed),
    "trunc": Rule(_trunc),
    "select": Rule(_select),
    "permute": Rule(_permute),
    # derived, where a rule is cheaper or closer than the gradient of the body
    "relu": Rule(lambda c, g: (core.where(c.saved, g, 0),), _relu_forward),  # 0 at 0, as elsewhere
    "sigmoid": _of_result(lambda s: subtract(s, square(s))),
    "tanh": _of_result(lambda t: subtract(1, square(t))),
    "exp": _of_result(lambda y: y),
    "exponential": _of_result(lambda y: y),
    "reciprocal": _of_result(lambda y: negative(square(y))),
    "rsqrt": _of_result(lambda y: multiply(multiply(square(y), y), -0.5)),
    "sqrt": _of_operand(lambda x: multiply(rsqrt(x), 0.5)),
    "log": _of_operand(reciprocal),
    "softplus": _of_operand(sigmoid),
    "sin": _of_operand(cos),
    "cos": _of_operand(lambda x: negative(sin(x))),
    "sine": Rule(lambda c, g: (multiply(g, negative(sin(c.ins[0])) if c.params["quarter"] else cos(c.ins[0])),)),
    "gelu": Rule(_slope),
    "silu": Rule(_slope),
    "erf": Rule(_slope),
    "softmax": Rule(_softmax),
    "log_softmax": Rule(_log_softmax),
}  # fmt: skip
