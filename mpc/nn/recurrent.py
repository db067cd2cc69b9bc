"""Recurrent layers: sequences (n, t, i), one iteration of a loop a step, so that a program's length does not grow with t."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import ShapeMismatch
from ..ir.trace import user_line
from ..lang import views
from ..lang.array import Array
from ..lang.core import add, multiply, subtract
from ..lang.creation import zeros_like
from ..lang.elementwise import sigmoid, tanh
from ..lang.function import fori
from ..lang.manipulation import concatenate
from .layers import linear

State = tuple[Array, ...]


def _start(x: Array, size: int) -> Array:
    """Secret zeros (n, size), of x's dtype."""
    return views.broadcast_to(zeros_like(x[:, 0, :1]), (x.shape[0], size))


def _scan(x: Array, step: Callable[[Array, State], State], state: State) -> tuple[Array, State]:
    """(the first of every state (n, t, h), the last state) of the steps on x (n, t, ...)."""
    out = views.broadcast_to(views.expand_dims(zeros_like(state[0]), 1), (x.shape[0], x.shape[1], state[0].shape[1]))

    def body(i: Array, carry: tuple[Array, ...]) -> tuple[Array, ...]:
        out, *state = carry
        state = list(step(x[:, i], tuple(state)))
        return (out.at[:, i].set(state[0]), *state)

    out, *last = fori(0, x.shape[1], body, (out, *state))
    return out, tuple(last)


def _inputs(x: Array, weight: Any, bias: Any, gates: int) -> tuple[Array, int]:
    """(x weight^T + bias for all steps at once, the size of the state)."""
    if x.ndim != 3 or weight.shape[0] % gates or weight.shape[1] != x.shape[-1]:
        raise ShapeMismatch(
            f"sequences (n, t, i) with weights ({gates} h, i), not {x.shape}, {weight.shape} (at {user_line()})"
        )
    return linear(x, weight.T, bias), weight.shape[0] // gates


def lstm(
    x: Array,
    weight_ih: Any,
    weight_hh: Any,
    bias_ih: Any = None,
    bias_hh: Any = None,
    state: tuple[Any, Any] | None = None,
) -> tuple[Array, tuple[Array, Array]]:
    """(outputs (n, t, h), (h, c) at the end (n, h)) of sequences (n, t, i) (Hochreiter and Schmidhuber, 1997).

    weight_ih (4 h, i), weight_hh (4 h, h), biases (4 h,): input, forget, cell and output gate below each other. state: (h, c)
    at the start, zeros by default. A step takes 14 rounds under `helper`.
    """
    projected, size = _inputs(x, weight_ih, bias_ih, 4)
    start = (_start(projected, size),) * 2 if state is None else state

    def step(now: Array, state: State) -> State:
        h, c = state
        z = add(now, linear(h, weight_hh.T, bias_hh))
        enter, forget, cell, leave = (z[:, i * size : (i + 1) * size] for i in range(4))
        opened = sigmoid(concatenate([enter, forget, leave], 1))
        enter, forget, leave = (opened[:, i * size : (i + 1) * size] for i in range(3))
        c = add(multiply(forget, c), multiply(enter, tanh(cell)))
        return multiply(leave, tanh(c)), c

    out, (h, c) = _scan(projected, step, start)
    return out, (h, c)


def gru(
    x: Array, weight_ih: Any, weight_hh: Any, bias_ih: Any = None, bias_hh: Any = None, state: Any = None
) -> tuple[Array, Array]:
    """(outputs (n, t, h), the last of them (n, h)) of sequences (n, t, i) (Cho et al., 2014, in PyTorch's form).

    weight_ih (3 h, i), weight_hh (3 h, h), biases (3 h,): reset, update and new gate below each other. state: h at the start.
    """
    projected, size = _inputs(x, weight_ih, bias_ih, 3)

    def step(now: Array, state: State) -> State:
        (h,) = state
        old = linear(h, weight_hh.T, bias_hh)
        opened = sigmoid(add(now[:, : 2 * size], old[:, : 2 * size]))
        reset, update = opened[:, :size], opened[:, size:]
        new = tanh(add(now[:, 2 * size :], multiply(reset, old[:, 2 * size :])))
        return (add(new, multiply(update, subtract(h, new))),)

    out, (h,) = _scan(projected, step, (_start(projected, size) if state is None else state,))
    return out, h
