"""Losses and their gradients against NumPy's formulas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special

import mpc
from mpc import nn
from mpc.errors import ShapeMismatch, UsageError

from ..memory import open_session
from .conftest import SETTINGS

rng = np.random.default_rng(9)
X, Y = rng.normal(size=(5, 4)) * 2, rng.normal(size=(5, 4))
BITS, SIGNS = (Y > 0).astype(float), np.where(Y > 0, 1, -1)
CLASSES = np.array([0, 3, 1, 1, 2])
ONE_HOT = np.eye(4)[CLASSES]
P = special.expit(X)

# name -> (loss, scores, targets, value of each element or row, gradient of their sum)
CASES: dict[str, tuple[Callable[..., Any], np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = {
    "mse": (nn.mse, X, Y, (X - Y) ** 2, 2 * (X - Y)),
    "l1": (nn.l1, X, Y, abs(X - Y), np.sign(X - Y)),
    "huber": (lambda x, y, **k: nn.huber(x, y, 1.5, **k), X, Y, special.huber(1.5, X - Y), np.clip(X - Y, -1.5, 1.5)),
    "bce": (nn.bce, P, BITS, -np.log(np.where(BITS > 0, P, 1 - P)), (P - BITS) / (P * (1 - P))),
    "bce_with_logits": (nn.bce_with_logits, X, BITS, -np.log(np.where(BITS > 0, P, 1 - P)), P - BITS),
    "cross_entropy": (
        nn.cross_entropy, X, ONE_HOT, -(special.log_softmax(X, -1) * ONE_HOT).sum(-1), special.softmax(X, -1) - ONE_HOT),
    "cross_entropy, classes": (
        nn.cross_entropy, X, CLASSES, -(special.log_softmax(X, -1) * ONE_HOT).sum(-1), special.softmax(X, -1) - ONE_HOT),
    "hinge": (nn.hinge, X, SIGNS, np.maximum(0, 1 - X * SIGNS), np.where(X * SIGNS < 1, -SIGNS, 0)),
    "poisson": (nn.poisson, X / 2, BITS, np.exp(X / 2) - X / 2 * BITS, np.exp(X / 2) - BITS),
    "quantile": (
        lambda x, y, **k: nn.quantile(x, y, 0.8, **k), X, Y, np.maximum(0.8 * (Y - X), 0.2 * (X - Y)),
        np.where(Y > X, -0.8, 0.2)),
}  # fmt: skip


@pytest.mark.parametrize("public", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name: str, public: bool) -> None:
    loss, x, y, values, slopes = CASES[name]
    session = open_session("plain", 2)
    target = y if public else session.input(y)
    secret = session.input(x)
    np.testing.assert_allclose(loss(secret, target, reduction="none").reveal(), values, atol=2e-3, rtol=1e-3)
    for reduction, scale in (("mean", 1 / values.size), ("sum", 1.0)):
        both = mpc.value_and_grad(lambda x, reduction=reduction: loss(x, target, reduction=reduction))
        value, gradient = mpc.reveal(*both(secret))
        np.testing.assert_allclose(value, values.sum() * scale, atol=2e-2 * scale + 1e-3)
        np.testing.assert_allclose(gradient, slopes * scale, atol=2e-3 * scale + 3e-5, rtol=2e-3)


@pytest.mark.parametrize(("protocol", "n"), SETTINGS[1:])
@pytest.mark.parametrize("name", CASES)
def test_protocols(protocol: str, n: int, name: str) -> None:
    loss, x, y, values, slopes = CASES[name]
    session = open_session(protocol, n)
    target = session.input(y)
    value, gradient = mpc.reveal(*mpc.value_and_grad(lambda x: loss(x, target))(session.input(x)))
    np.testing.assert_allclose(value, values.mean(), atol=2e-3)
    relative = 2e-3 if name == "bce" else 0  # whose slopes reach 156: a quotient by P (1 - P)
    np.testing.assert_allclose(gradient, slopes / values.size, atol=2e-4, rtol=relative)


def test_a_gradient_alone_leaves_the_value_out() -> None:
    session = open_session("helper", 3)
    x, y = session.input(X), session.input(ONE_HOT)
    program = session.equations([mpc.grad(nn.cross_entropy)(x, y)])
    assert "log" not in {e.op for e in program.walk()}


def test_gradient_by_the_targets() -> None:
    session = open_session("plain", 2)
    g = mpc.grad(lambda y: nn.cross_entropy(session.input(X), y, reduction="sum"))(session.input(ONE_HOT))
    np.testing.assert_allclose(g.reveal(), -special.log_softmax(X, -1), atol=2e-3)


def test_refusals() -> None:
    x = open_session("plain", 2).input(X)
    with pytest.raises(UsageError, match=r"reduction='max'.*test_losses.py"):
        nn.mse(x, Y, reduction="max")
    with pytest.raises(UsageError, match="0 < q < 1"):
        nn.quantile(x, Y, 1.5)
    with pytest.raises(ShapeMismatch, match=r"one-hot rows, or \(5,\) classes"):
        nn.cross_entropy(x, np.zeros((5, 3)))
