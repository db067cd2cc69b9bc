"""Optimisers and learning rates. An optimiser is a recipe; what it remembers is a tree of secret arrays beside the parameters:

    optimiser = mpc.optim.SGD(0.1, momentum=0.9)
    state = optimiser.init(params)
    params, state = optimiser.update(params, gradients, state)

Parameters are an array or tuples, lists and dicts of arrays. `update` takes another learning rate as `lr`, a public number: a
schedule gives one for each step or epoch. Within `@mpc.function` every new number is traced anew, so change it each epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .errors import UsageError
from .ir.types import DType, fixed64
from .lang import views
from .lang.array import Array, bind
from .lang.core import add, astype, multiply, subtract
from .lang.creation import zeros_like
from .lang.elementwise import maximum
from .lang.function import flatten, unflatten
from .lang.wide import reciprocal, rsqrt

SQUARES = 32  # fraction bits of squared gradients: 2^-16 squared
WEIGHT = fixed64(24)  # of the weights of moving means


def _map(f: Callable[..., Any], *trees: Any) -> list[Any]:
    """f over the leaves of trees of one form: its results, leaf by leaf."""
    leaves = [flatten(t) for t in trees]
    if any(shape != leaves[0][1] for _, shape in leaves):
        raise UsageError("parameters, gradients and state have different forms: give what `grad` and `init` returned")
    return [f(*xs) for xs in zip(*(xs for xs, _ in leaves), strict=True)]


def _like(tree: Any, leaves: list[Any]) -> Any:
    return unflatten(flatten(tree)[1], leaves)


@dataclass(frozen=True)
class SGD:
    """w - lr v with v = momentum v + gradient + weight_decay w (nesterov: v is looked at one step ahead). One public product
    an element for each of the three that is not 0 or 1."""

    lr: float
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def init(self, params: Any) -> Any:
        """Zeros, if there is a momentum."""
        return {"velocity": _like(params, _map(zeros_like, params))} if self.momentum else {}

    def update(self, params: Any, gradients: Any, state: Any, lr: float | None = None) -> tuple[Any, Any]:
        """(parameters, state) one step on. lr: instead of the optimiser's."""
        rate = self.lr if lr is None else lr
        if self.weight_decay:
            decayed = _map(lambda g, w: add(g, multiply(w, self.weight_decay)), gradients, params)
            gradients = _like(params, decayed)
        if not self.momentum:
            return _like(params, _map(lambda w, g: subtract(w, multiply(g, rate)), params, gradients)), state
        velocity = _like(params, _map(lambda v, g: add(multiply(v, self.momentum), g), state["velocity"], gradients))
        ahead = velocity
        if self.nesterov:
            ahead = _like(params, _map(lambda v, g: add(multiply(v, self.momentum), g), velocity, gradients))
        return _like(params, _map(lambda w, v: subtract(w, multiply(v, rate)), params, ahead)), {"velocity": velocity}


@dataclass(frozen=True)
class Adam:
    """w - lr m / sqrt(v + eps^2), m and v the means of gradients and of their squares with weights beta^age, as Kingma and Ba
    (ICLR 2015) correct them. m and v are kept corrected: m += a (g - m) with a = (1 - beta) / (1 - beta^t), so nothing small
    is ever stored; squares have 32 fraction bits. amsgrad: the largest v so far is used (Reddi et al., ICLR 2018).

    |gradient| < 5. eps: below it gradients count as small, 2^-16 is the least. weight_decay: of the gradient, as in SGD.
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-3
    weight_decay: float = 0.0
    amsgrad: bool = False

    def init(self, params: Any) -> Any:
        """Zeros; and two secret numbers, how much weight the means have gathered (1 - beta^t)."""
        squares = _like(params, _map(lambda w: zeros_like(w, dtype=_squares(w)[0]), params))
        gathered = zeros_like(_number(params), dtype=WEIGHT)
        state = {"mean": _like(params, _map(zeros_like, params)), "square": squares, "gathered": [gathered, gathered]}
        return {**state, "largest": squares} if self.amsgrad else state

    def update(self, params: Any, gradients: Any, state: Any, lr: float | None = None) -> tuple[Any, Any]:
        """(parameters, state) one step on. lr: instead of the optimiser's."""
        rate = self.lr if lr is None else lr
        if self.weight_decay:
            gradients = _like(params, _map(lambda g, w: add(g, multiply(w, self.weight_decay)), gradients, params))
        gathered = [add(multiply(s, b), 1 - b) for s, b in zip(state["gathered"], self.betas, strict=True)]
        newest = [multiply(reciprocal(s), 1 - b) for s, b in zip(gathered, self.betas, strict=True)]
        mean = _like(params, _map(lambda m, g: add(m, astype(multiply(newest[0], subtract(g, m)), m.dtype)),
                                  state["mean"], gradients))  # fmt: skip
        square = _like(params, _map(lambda v, g: add(v, multiply(newest[1], subtract(_square(g), v))),
                                    state["square"], gradients))  # fmt: skip
        after = {"mean": mean, "square": square, "gathered": gathered}
        if self.amsgrad:
            square = after["largest"] = _like(params, _map(maximum, state["largest"], square))

        def step(w: Array, m: Array, v: Array) -> Array:
            scale = astype(rsqrt(add(v, self.eps**2)), w.dtype)
            return subtract(w, multiply(multiply(m, scale), rate))

        return _like(params, _map(step, params, mean, square)), after


def AMSGrad(lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-3, weight_decay: float = 0.0) -> Adam:
    """`Adam` that divides by the largest mean of squares so far."""
    return Adam(lr, betas, eps, weight_decay, amsgrad=True)


def _squares(w: Array) -> tuple[DType, int]:
    """(dtype of squares of w's dtype, bits to truncate): exact up to 16 fraction bits."""
    bits = max(0, 2 * w.dtype.fraction - SQUARES)
    return DType("fixed", 2 * w.dtype.fraction - bits), bits


def _square(g: Array) -> Array:
    return bind("mul", g, g, bits=_squares(g)[1], rounding="dither")  # type: ignore[no-any-return]


def _number(params: Any) -> Array:
    """One number of the parameters' session."""
    first: Array = flatten(params)[0][0]
    return views.getitem(views.reshape(first, -1), 0)


# ---- learning rates: functions of the step (or epoch), counted from 0 ----
Schedule = Callable[[int], float]


def step_decay(lr: float, every: int, factor: float = 0.1) -> Schedule:
    """lr, times `factor` after every so many steps."""
    return lambda step: lr * factor ** (step // every)


def cosine(lr: float, steps: int, lowest: float = 0.0) -> Schedule:
    """From lr to `lowest` along half a cosine in `steps` steps, then `lowest`."""
    return lambda step: lowest + (lr - lowest) * (1 + math.cos(math.pi * min(step, steps) / steps)) / 2


def warmup(schedule: Schedule, steps: int) -> Schedule:
    """From 1/steps of the schedule's first value to all of it in `steps` steps; then the schedule from its start."""
    return lambda step: schedule(0) * (step + 1) / steps if step < steps else schedule(step - steps)
