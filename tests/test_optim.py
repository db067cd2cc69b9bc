"""Optimisers against the same recipes in NumPy, learning rates against their formulas."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import mpc
from mpc.errors import UsageError
from mpc.optim import SGD, Adam, AMSGrad, cosine, step_decay, warmup

from .memory import open_session

rng = np.random.default_rng(4)
W, B = rng.normal(size=(3, 2)), rng.normal(size=2)
GRADIENTS = [(rng.normal(size=(3, 2)) * 0.3, rng.normal(size=2) * 0.05) for _ in range(12)]


def numpys_sgd(w: np.ndarray, gs: Any, lr: float, momentum: float, nesterov: bool, decay: float) -> np.ndarray:
    v = np.zeros_like(w)
    for g in gs:
        g = g + decay * w
        v = momentum * v + g
        w = w - lr * (g + momentum * v if nesterov else v)
    return w


def numpys_adam(w: np.ndarray, gs: Any, lr: float, eps: float, decay: float, amsgrad: bool) -> np.ndarray:
    m = v = largest = np.zeros_like(w)
    for t, g in enumerate(gs, 1):
        g = g + decay * w
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        corrected = v / (1 - 0.999**t)
        largest = np.maximum(largest, corrected)
        w = w - lr * m / (1 - 0.9**t) / np.sqrt((largest if amsgrad else corrected) + eps**2)
    return w


def trained(optimiser: Any, protocol: str = "plain", n: int = 2) -> tuple[np.ndarray, np.ndarray]:
    session = open_session(protocol, n)
    params = {"layer": [session.input(W), session.input(B)]}
    state = optimiser.init(params)

    @mpc.function
    def step(params: Any, state: Any, g: Any) -> Any:
        return optimiser.update(params, {"layer": g}, state)

    for g in GRADIENTS:
        params, state = step(params, state, [session.input(x) for x in g])
        mpc.reveal(*params["layer"])  # each step is a run
    w, b = mpc.reveal(*params["layer"])
    return w, b


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"momentum": 0.9},
        {"momentum": 0.8, "nesterov": True},
        {"weight_decay": 0.1},
        {"momentum": 0.9, "weight_decay": 0.01},
    ],
)
def test_sgd(options: dict[str, Any]) -> None:
    rest = options.get("momentum", 0.0), options.get("nesterov", False), options.get("weight_decay", 0.0)
    for got, start, gs in zip(trained(SGD(0.1, **options)), (W, B), zip(*GRADIENTS, strict=True), strict=True):
        np.testing.assert_allclose(got, numpys_sgd(start, gs, 0.1, *rest), atol=5e-4)


@pytest.mark.parametrize(("decay", "amsgrad"), [(0.0, False), (0.1, False), (0.0, True)])
def test_adam(decay: float, amsgrad: bool) -> None:
    optimiser = (AMSGrad if amsgrad else Adam)(0.05, eps=1e-3, weight_decay=decay)
    for got, start, gs in zip(trained(optimiser), (W, B), zip(*GRADIENTS, strict=True), strict=True):
        np.testing.assert_allclose(got, numpys_adam(start, gs, 0.05, 1e-3, decay, amsgrad), atol=2e-3)


@pytest.mark.parametrize(("protocol", "n"), [("helper", 3), ("replicated", 3)])
def test_protocols(protocol: str, n: int) -> None:
    got = trained(AMSGrad(0.05), protocol, n)
    np.testing.assert_allclose(got[0], numpys_adam(W, [g for g, _ in GRADIENTS], 0.05, 1e-3, 0, True), atol=2e-3)


def test_another_rate_and_other_forms() -> None:
    session = open_session("plain", 2)
    w, g = session.input(W), session.input(GRADIENTS[0][0])
    after, state = SGD(0.1).update(w, g, {}, lr=0.5)
    np.testing.assert_allclose(after.reveal(), W - 0.5 * GRADIENTS[0][0], atol=1e-4)
    assert state == {}
    with pytest.raises(UsageError, match="different forms"):
        SGD(0.1).update({"w": w}, [g], {})


def test_learning_rates() -> None:
    assert [step_decay(0.5, 10, 0.1)(t) for t in (0, 9, 10, 25)] == pytest.approx([0.5, 0.5, 0.05, 0.005])
    half = cosine(0.2, 100, 0.02)
    assert [half(t) for t in (0, 50, 100, 300)] == pytest.approx([0.2, 0.11, 0.02, 0.02])
    warm = warmup(half, 4)
    assert [warm(t) for t in (0, 3, 4, 54)] == pytest.approx([0.05, 0.2, 0.2, 0.11])
    assert math.isclose(warm(104), 0.02)
