"""Losses. Each is a mean over everything by default (`reduction="sum"` or `"none"` otherwise) and has a gradient; where only
the gradient is used, what the value alone takes (a logarithm, a softplus) is not computed.

Targets may be secret arrays or plain NumPy arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeMismatch, UsageError
from ..ir.trace import user_line
from ..lang import core, views
from ..lang.array import Array, scope_of
from ..lang.core import add, as_array, astype, equal, mean, multiply, square, subtract
from ..lang.elementwise import absolute, clip, exp, max, relu, softplus
from ..lang.function import gate
from ..lang.slopes import RULES, Call, Gradient, Rule
from ..lang.wide import log, log_softmax, reciprocal


def _reduced(x: Array, reduction: str) -> Array:
    found = {"mean": mean, "sum": core.sum, "none": lambda x: x}.get(reduction)
    if found is None:
        raise UsageError(f'reduction={reduction!r} at {user_line()}: choose "mean", "sum" or "none"')
    return found(x)  # type: ignore[no-any-return]


def mse(x: Any, y: Any, reduction: str = "mean") -> Array:
    """(x - y)^2."""
    return _reduced(square(subtract(x, y)), reduction)


def l1(x: Any, y: Any, reduction: str = "mean") -> Array:
    """|x - y|; its gradient is -1 where x = y."""
    return _reduced(absolute(subtract(x, y)), reduction)


def _huber_parts(d: Array, delta: float) -> tuple[Array, Array]:
    near = clip(d, -delta, delta)
    return multiply(near, subtract(d, multiply(near, 0.5))), near


@gate("huber", lambda d, delta: {"delta": delta})
def _huber(d: Array, delta: float) -> Array:
    return _huber_parts(d, delta)[0]


def huber(x: Any, y: Any, delta: float = 1.0, reduction: str = "mean") -> Array:
    """d^2 / 2 for |d| <= delta, delta (|d| - delta / 2) beyond, d = x - y. Its gradient is d, clipped: one product."""
    return _reduced(_huber(subtract(x, y), float(delta)), reduction)


def bce(p: Array, y: Any, reduction: str = "mean") -> Array:
    """-(y log p + (1 - y) log(1 - p)) for probabilities p, |gradient| < 2^f. `bce_with_logits` is cheaper and exacter."""
    other = 1 - y
    terms = add(multiply(y, log(p)), multiply(other, log(subtract(1, p))))
    return _reduced(core.negative(terms), reduction)


def bce_with_logits(x: Array, y: Any, reduction: str = "mean") -> Array:
    """`bce` of sigmoid(x): log(1 + e^x) - x y. Its gradient is sigmoid(x) - y."""
    return _reduced(subtract(softplus(x), multiply(x, y)), reduction)


def _entropy_parts(x: Array, y: Array) -> tuple[Array, Array]:
    """(a loss for each row, the softmax)."""
    centred = subtract(x, max(x, -1, keepdims=True))
    e = exp(centred)
    total = core.sum(e, -1)
    rows = subtract(log(total), core.sum(multiply(centred, y), -1))
    return rows, multiply(e, views.expand_dims(reciprocal(total), -1))


@gate("cross_entropy")
def _cross_entropy(x: Array, y: Array) -> Array:
    return _entropy_parts(x, y)[0]


def cross_entropy(x: Array, y: Any, reduction: str = "mean") -> Array:
    """-log(softmax(x)) of the true class: scores x (..., classes). Its gradient is softmax(x) - y.

    y: weights of x's shape that sum to 1 in each row (one-hot as a rule), or integer classes (...,), secret ones at the price
    of an equality for every class.
    """
    shape, classes = np.shape(y) if not isinstance(y, Array) else y.shape, np.arange(x.shape[-1])
    if shape == x.shape[:-1]:
        y = equal(y[..., None], classes) if isinstance(y, Array) else np.asarray(y)[..., None] == classes
    elif shape != x.shape:
        raise ShapeMismatch(f"targets {shape} for scores {x.shape} at {user_line()}: one-hot rows, or {x.shape[:-1]} classes")
    y = astype(y, np.int64) if isinstance(y, Array) and y.dtype.is_bool else y
    if not isinstance(y, Array):
        y = as_array(np.asarray(y) * 1, x.dtype, scope_of(x))
    return _reduced(_cross_entropy(x, y), reduction)


def hinge(x: Array, y: Any, reduction: str = "mean") -> Array:
    """max(0, 1 - x y) for classes y of -1 and 1."""
    return _reduced(relu(subtract(1, multiply(x, y))), reduction)


def poisson(x: Array, y: Any, reduction: str = "mean") -> Array:
    """e^x - x y: the likelihood of counts y at rates e^x, but for what does not depend on x."""
    return _reduced(subtract(exp(x), multiply(x, y)), reduction)


def quantile(x: Any, y: Any, q: float, reduction: str = "mean") -> Array:
    """q (y - x) where y > x, (1 - q) (x - y) elsewhere: least where x is the q-quantile of y."""
    if not 0 < q < 1:
        raise UsageError(f"quantile q={q} at {user_line()}: choose 0 < q < 1")
    d = subtract(y, x)
    return _reduced(add(multiply(d, q), relu(core.negative(d))), reduction)


# ---- gradients that are cheaper than those of the bodies ----
def _entropy_gradient(c: Call, g: Array) -> list[Gradient]:
    x, y = c.ins
    g = views.expand_dims(g, -1)
    of_y = multiply(g, core.negative(log_softmax(x))) if c.need[1] else None
    return [multiply(g, subtract(c.saved, y)) if c.need[0] else None, of_y]


RULES["huber"] = Rule(lambda c, g: (multiply(g, c.saved),), lambda ins, params: _huber_parts(ins[0], params["delta"]))
RULES["cross_entropy"] = Rule(_entropy_gradient, lambda ins, params: _entropy_parts(*ins))
