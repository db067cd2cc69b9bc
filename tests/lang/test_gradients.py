"""Gradients against finite differences of the same function in float64: every rule, control flow, what has no gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special

import mpc
from mpc.errors import UsageError

from ..memory import open_session

rng = np.random.default_rng(5)
X, Y = rng.normal(size=(3, 4)), rng.normal(size=(4, 2))
P = rng.uniform(0.3, 3, (3, 4))  # positive, away from what has no slope
V, T = rng.normal(size=4), rng.normal(size=(2, 3, 4))
IMAGES, FILTERS = rng.normal(size=(2, 2, 5, 6)), rng.normal(size=(4, 2, 3, 2))
GROUPED = rng.normal(size=(4, 1, 3, 2))
PICK = np.array([[0, 2], [2, 2]])
MASK = X > 0.2


def numpys_conv(x: np.ndarray, w: np.ndarray, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Any:
    (sy, sx), (py, px), (dy, dx) = (np.broadcast_to(v, 2) for v in (stride, padding, dilation))
    x = np.pad(x, ((0, 0), (0, 0), (py, py), (px, px)))
    oh, ow = ((x.shape[2 + a] - d * (w.shape[2 + a] - 1) - 1) // s + 1 for a, (s, d) in enumerate(((sy, dy), (sx, dx))))
    out: Any = 0
    per = w.shape[0] // groups
    for i, j in np.ndindex(w.shape[2:]):
        seen = x[:, :, i * dy : i * dy + (oh - 1) * sy + 1 : sy, j * dx : j * dx + (ow - 1) * sx + 1 : sx]
        parts = [
            np.einsum("nchw,oc->nohw", seen[:, g * w.shape[1] : (g + 1) * w.shape[1]], w[g * per : (g + 1) * per, :, i, j])
            for g in range(groups)
        ]
        out = out + np.concatenate(parts, 1)
    return out


def numpys_transposed(x: np.ndarray, w: np.ndarray, stride: int = 1, padding: int = 0, extra: int = 0) -> Any:
    whole = [(n - 1) * stride + k + extra for n, k in zip(x.shape[2:], w.shape[2:], strict=True)]
    out = np.zeros((x.shape[0], w.shape[1], *whole))
    for i, j in np.ndindex(w.shape[2:]):
        there = out[:, :, i : i + (x.shape[2] - 1) * stride + 1 : stride, j : j + (x.shape[3] - 1) * stride + 1 : stride]
        there += np.einsum("nchw,co->nohw", x, w[:, :, i, j])
    return out[:, :, padding : whole[0] - padding, padding : whole[1] - padding]


def numpys_pool(x: np.ndarray, size: int, reduce: Any, stride: int | None = None) -> Any:
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(2, 3))
    return reduce(windows[:, :, :: stride or size, :: stride or size], axis=(4, 5))


def loop(times: int) -> Callable[..., Any]:
    """A loop that uses its index, an outer array, and rows at a moving place."""

    def run(x: Any, c: Any) -> Any:
        def body(i: Any, carry: Any) -> Any:
            y, total = carry
            return y * 0.5 + c * c[i % 4 if isinstance(i, int) else i], total + mpc.square(y)

        if isinstance(x, np.ndarray):
            carry = (x, np.zeros_like(x))
            for i in range(times):
                carry = body(i, carry)
            return carry[0] + carry[1]
        y, total = mpc.fori(0, times, body, (x, mpc.zeros_like(x)))
        return y + total

    return run


def softmax(x: np.ndarray) -> Any:
    return special.softmax(x, -1)


nn = mpc.nn
# name -> (on secrets, on NumPy arrays (None: the same), arguments)
CASES: dict[str, tuple[Callable[..., Any], Callable[..., Any] | None, tuple[np.ndarray, ...]]] = {
    "add, broadcast": (lambda x, v: x + v + 2 - v, None, (X, V)),
    "sub, neg": (lambda x, v: -(v - x) + (1 - v), None, (X, V)),
    "mul, broadcast": (lambda x, v: x * v * 0.3 * np.arange(4) * 4, None, (X, V)),
    "square, power": (lambda x: mpc.square(x) + x**3, lambda x: x**2 + x**3, (X,)),
    "matmul": (lambda x, y: x @ y, None, (X, Y)),
    "matmul, batch": (lambda t, y: t @ y, None, (T, Y)),
    "matmul, two batches": (lambda t, u: t @ u, None, (T, rng.normal(size=(2, 4, 3)))),
    "matmul, batch of the right": (lambda x, u: x @ u, None, (X, rng.normal(size=(2, 4, 3)))),
    "matmul, vector": (lambda x, v: (x @ v) @ x, None, (X, V)),
    "matmul, public": (lambda x: X.T @ x @ Y, None, (X,)),
    "linear": (lambda x, y, b: nn.linear(x, y, b), lambda x, y, b: x @ y + b, (X, Y, V[:2])),
    "sum, mean": (lambda x: x.sum(0) * x.mean(0) + x.mean(1, keepdims=True) + x.sum(), None, (X,)),
    "var": (lambda x: mpc.var(x, 1), lambda x: np.var(x, 1), (X,)),
    "cumsum": (lambda x: np.cumsum(x, 1), None, (X,)),
    "reshape, transpose": (lambda t: t.transpose(2, 0, 1).reshape(8, 3) @ X, None, (T,)),
    "concatenate, stack": (
        lambda x, v: np.concatenate([x, np.stack([v, v * v]), np.ones((1, 4))]) * X[0], None, (X, V)),
    "slices": (lambda t: t[1, ::2, 1:3] + t[0, -2:0:-2, None, ::-3][:, 0] * 2 + t[..., -1].sum(), None, (T,)),
    "steps": (lambda t: np.concatenate([t[:, :, 1::2].reshape(-1), t[:, ::-1, ::3].reshape(-1)]), None, (T,)),
    "positions": (lambda x: x[PICK] * X[PICK] + x[:, [1, 1]][0].sum(), None, (X,)),
    "a mask of positions": (lambda x: x[MASK] * 3, None, (X,)),
    "where, public": (lambda x, v: np.where(MASK, x, v), None, (X, V)),
    "where": (lambda x, v: mpc.where(x > 0.2, x * v, v), lambda x, v: np.where(x > 0.2, x * v, v), (X, V)),
    "where, one side": (lambda x, v: mpc.where(x > 0.2, v, x[:1]), lambda x, v: np.where(x > 0.2, v, x[:1]), (X, V)),
    "at": (
        lambda x, v: x.at[1:, 2].set(v[:2]).at[0].add(v) * X,
        lambda x, v: (np.where(np.eye(3, 4, 2)[[2, 0, 0]] > 0, np.array([0, *v[:2]])[:, None], x)
                      + np.array([[1], [0], [0]]) * v) * X, (X, V)),
    "maximum, minimum": (
        lambda x, v: mpc.maximum(x, v) + 2 * mpc.minimum(x, 0.5),
        lambda x, v: np.maximum(x, v) + 2 * np.minimum(x, 0.5), (X, V)),
    "absolute, clip": (lambda x: abs(x) + mpc.clip(x, -0.5, 0.5), lambda x: abs(x) + np.clip(x, -0.5, 0.5), (X,)),
    "max, min": (lambda x: x.max(0) * 2 + x.min(0), None, (X,)),
    "sign": (lambda x: x * mpc.sign(x), lambda x: x * np.sign(x), (X,)),
    "prod": (lambda x: x.prod(1), None, (X,)),
    "relu": (lambda x: nn.relu(x) + nn.leaky_relu(x), lambda x: np.maximum(x, 0) + np.maximum(x, 0.01 * x), (X,)),
    "sigmoid": (nn.sigmoid, special.expit, (X,)),
    "tanh": (mpc.tanh, np.tanh, (X,)),
    "gelu": (nn.gelu, lambda x: x * special.ndtr(x), (X * 2,)),
    "silu": (nn.silu, lambda x: x * special.expit(x), (X * 3,)),
    "softplus": (nn.softplus, lambda x: np.log1p(np.exp(x)), (X,)),
    "erf": (mpc.erf, special.erf, (X,)),
    "exp, expm1, exp2": (
        lambda x: mpc.exp(x) + mpc.expm1(x) + mpc.exp2(x), lambda x: np.exp(x) + np.expm1(x) + np.exp2(x), (X,)),
    "log, log1p, log2": (
        lambda x: mpc.log(x) + mpc.log1p(x) + mpc.log2(x), lambda x: np.log(x) + np.log1p(x) + np.log2(x), (P,)),
    "reciprocal, divide": (lambda x, v: 1 / x + v / x + x / 7, None, (P, V)),
    "sqrt, rsqrt": (lambda x: mpc.sqrt(x) + nn.layers.rsqrt(x), lambda x: x**0.5 + x**-0.5, (P,)),
    "a power": (lambda x: x**1.5, None, (P,)),
    "sin, cos": (lambda x: mpc.sin(x) + 2 * mpc.cos(x), lambda x: np.sin(x) + 2 * np.cos(x), (X * 3,)),
    "softmax": (nn.softmax, softmax, (X,)),
    "log_softmax": (nn.log_softmax, lambda x: special.log_softmax(x, -1), (X,)),
    "layer_norm": (
        nn.layer_norm, lambda x: (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-3), (X,)),
    "approximate": (mpc.approximate(np.arctan, -4, 4), np.arctan, (X,)),
    "another scale": (lambda x: (x.astype(mpc.fixed64(24)) * x).astype(mpc.fixed64(12)), lambda x: x * x, (X,)),
    "conv2d": (nn.conv2d, numpys_conv, (IMAGES, FILTERS)),
    "conv2d, stride and padding": (
        lambda x, w: nn.conv2d(x, w, stride=2, padding=1), lambda x, w: numpys_conv(x, w, 2, 1), (IMAGES, FILTERS)),
    "conv2d, stride that leaves rows": (
        lambda x, w: nn.conv2d(x, w, stride=(3, 2)), lambda x, w: numpys_conv(x, w, (3, 2)), (IMAGES, FILTERS)),
    "conv2d, dilation": (
        lambda x, w: nn.conv2d(x, w, dilation=2, padding=(0, 3)), lambda x, w: numpys_conv(x, w, 1, (0, 3), 2),
        (IMAGES, FILTERS)),
    "conv1d": (
        lambda x, w: nn.conv1d(x, w, stride=2, padding=1),
        lambda x, w: numpys_conv(x[:, :, None], w[:, :, None], (1, 2), (0, 1))[:, :, 0], (IMAGES[:, :, 0], FILTERS[:, :, 0])),
    "conv_transpose2d": (nn.conv_transpose2d, numpys_transposed, (IMAGES, FILTERS.transpose(1, 0, 2, 3))),
    "conv_transpose2d, stride and padding": (
        lambda x, w: nn.conv_transpose2d(x, w, stride=2, padding=1, output_padding=1),
        lambda x, w: numpys_transposed(x, w, 2, 1, 1), (IMAGES, FILTERS.transpose(1, 0, 2, 3))),
    "conv2d, groups": (
        lambda x, w: nn.conv2d(x, w, groups=2, padding=1), lambda x, w: numpys_conv(x, w, 1, 1, 1, 2), (IMAGES, GROUPED)),
    "max_pool2d": (nn.max_pool2d, lambda x: numpys_pool(x, 2, np.max), (IMAGES,)),
    "max_pool2d, overlapping": (
        lambda x: nn.max_pool2d(x, 3, 1), lambda x: numpys_pool(x, 3, np.max, 1), (IMAGES,)),
    "avg_pool2d": (nn.avg_pool2d, lambda x: numpys_pool(x, 2, np.mean), (IMAGES,)),
    "fori, written out": (loop(4), None, (X, V)),
    "inside a function": (mpc.function(lambda x: nn.relu(x) * x), lambda x: np.maximum(x, 0) * x, (X,)),
}  # fmt: skip


def numerical(f: Callable[..., Any], args: tuple[np.ndarray, ...], weights: np.ndarray) -> list[np.ndarray]:
    """Central differences of sum(f(...) * weights)."""
    found = []
    for k, x in enumerate(args):
        slope = np.zeros_like(x)
        for i in np.ndindex(x.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = x.copy()
                moved[i] += step
                ends.append(np.sum(f(*args[:k], moved, *args[k + 1 :]) * weights))
            slope[i] = (ends[0] - ends[1]) / 2e-5
        found.append(slope)
    return found


def compare(protocol: str, n: int, name: str, rounding: str = "dither") -> None:
    f, reference, args = CASES[name]
    reference = reference or f
    weights = np.random.default_rng(1).normal(size=np.shape(reference(*args)))
    session = open_session(protocol, n, rounding)
    secrets = [session.input(a) for a in args]
    both = mpc.value_and_grad(lambda *xs: (f(*xs) * weights).sum(), argnums=tuple(range(len(args))))
    value, gradients = both(*secrets)
    assert [g.type for g in gradients] == [x.type for x in secrets]
    results = mpc.reveal(value, *gradients)
    assert abs(results[0] - np.sum(reference(*args) * weights)) < 0.02
    for got, wanted in zip(results[1:], numerical(reference, args, weights), strict=True):
        np.testing.assert_allclose(got, wanted, atol=4e-3, rtol=2e-3, err_msg=name)


@pytest.mark.parametrize("name", CASES)
def test_plain(name: str) -> None:
    compare("plain", 2, name)


@pytest.mark.parametrize("name", ["relu", "sin, cos", "sum, mean", "sigmoid"])
def test_exact_rounding(name: str) -> None:
    compare("plain", 2, name, "nearest")


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("protocol", "n"), [("helper", 3), ("additive", 3), ("replicated", 3)])
def test_protocols(protocol: str, n: int, name: str) -> None:
    compare(protocol, n, name)


@pytest.mark.parametrize("times", [11, 30])
@pytest.mark.parametrize("protocol", ["plain", "helper"])
def test_a_long_loop_keeps_what_it_carries(protocol: str, times: int) -> None:
    """The loop's body runs once more backwards: same numbers, and a program that does not grow with the iterations."""
    c = np.array([0.5, -0.25, 0.125, 0.75])
    weights = rng.normal(size=(3, 4))

    def f(x: Any, v: Any) -> Any:
        def body(i: Any, carry: Any) -> Any:
            y, count = carry
            return y * v + c * i * 0.125, count + 1  # the count is an integer: carried, without gradient

        if isinstance(x, np.ndarray):
            carry = (x, 0)
            for i in range(2, times + 2):
                carry = body(i, carry)
            return carry[0]
        return mpc.fori(2, times + 2, body, (x, mpc.zeros_like(x, dtype=mpc.int64)))[0]

    v = np.array([0.9, -0.8, 0.7, 0.95])
    session = open_session(protocol, 3)
    gradients = mpc.grad(lambda x, v: (f(x, v) * weights).sum(), (0, 1))(session.input(X), session.input(v))
    equations = len(list(session.equations(list(gradients)).walk()))
    for got, wanted in zip(mpc.reveal(*gradients), numerical(f, (X, v), weights), strict=True):
        np.testing.assert_allclose(got, wanted, atol=5e-3, rtol=2e-3)
    assert equations < 150


def test_trees_aux_and_keywords() -> None:
    session = open_session("plain", 2)
    params = {"w": session.input(Y), "b": [session.input(V[:2]), session.input(V[2:])]}

    def loss(params: Any, x: Any, *, scale: float) -> Any:
        scores = x @ params["w"] + params["b"][0]
        return mpc.mean(mpc.square(scores)) * scale, {"scores": scores}

    (value, aux), gradient = mpc.value_and_grad(loss, has_aux=True)(params, X, scale=3.0)
    again, aux_again = mpc.grad(loss, has_aux=True)(params, X, scale=3.0)
    scores = X @ Y + V[:2]
    np.testing.assert_allclose(value.reveal(), 3 * np.mean(scores**2), atol=1e-3)
    np.testing.assert_allclose(aux["scores"].reveal(), scores, atol=1e-3)
    np.testing.assert_allclose(aux_again["scores"].reveal(), scores, atol=1e-3)
    for g in (gradient, again):
        np.testing.assert_allclose(g["w"].reveal(), X.T @ scores, atol=1e-3)
        np.testing.assert_allclose(g["b"][0].reveal(), scores.sum(0), atol=1e-3)
        assert not g["b"][1].reveal().any()  # not used: zero


def test_a_gradient_of_a_gradient() -> None:
    session = open_session("plain", 2)
    slope = mpc.grad(lambda x: mpc.sum(mpc.tanh(x) * X))
    curvature = mpc.grad(lambda x: mpc.sum(slope(x)))(session.input(X)).reveal()
    t = np.tanh(X)
    np.testing.assert_allclose(curvature, -2 * t * (1 - t * t) * X, atol=2e-3)


def test_a_traced_step_is_one_equation() -> None:
    """A step of training inside a function is traced once, however often it runs."""
    session = open_session("helper", 3)
    traced = []

    @mpc.function
    def step(w: Any, x: Any, y: Any) -> Any:
        traced.append(1)
        loss, g = mpc.value_and_grad(lambda w: mpc.mean(mpc.square(x @ w - y)))(w)
        return w - 0.1 * g, loss

    w, x, y = session.input(np.zeros(4)), session.input(X), session.input(X @ V)
    reference = np.zeros(4)
    for _ in range(5):
        w, loss = step(w, x, y)
        assert loss.reveal() > 0
        reference -= 0.1 * 2 / 3 * X.T @ (X @ reference - X @ V)
    np.testing.assert_allclose(w.reveal(), reference, atol=1e-3)
    assert len(traced) == 1


def test_the_next_batch_is_the_same_program() -> None:
    """New inputs are counted from 1 in each run: what the parties have verified once serves every batch."""
    session = open_session("plain", 2)

    @mpc.function
    def step(w: Any, x: Any) -> Any:
        loss, g = mpc.value_and_grad(lambda w: mpc.mean(mpc.square(x @ w)))(w)
        return w - 0.1 * g, loss

    w = session.input(V)
    for _ in range(4):
        w, loss = step(w, session.input(X))
        loss.reveal()
    first, *rest = (p.pack() for p in session._backend.programs)  # type: ignore[union-attr]
    assert len(set(rest)) == 1 and first not in rest  # the first run shares w


def test_the_mean_of_small_numbers_keeps_its_precision() -> None:
    """1/4096 of a gradient is less than 2^-16 of it can show: the power of two waits until the sum is done."""
    session = open_session("plain", 2)
    x = rng.normal(size=(4096, 2)) * 0.05
    g = mpc.grad(lambda w: mpc.mean(nn.relu(x @ w)))(session.input(np.array([0.5, 0.25])))
    wanted = x[x @ [0.5, 0.25] > 0].sum(0) / 4096
    np.testing.assert_allclose(g.reveal(), wanted, atol=4e-5)


def test_a_small_public_factor_is_not_rounded_to_16_bits() -> None:
    """A ridge of 1e-4 would be wrong by 7 % there."""
    session = open_session("plain", 2)
    x = rng.normal(size=5) * 50
    for f in (lambda w: mpc.sum(mpc.square(w)) * 1e-4, lambda w: mpc.mean(mpc.square(w) * 1e-2) * 0.05):
        np.testing.assert_allclose(mpc.grad(f)(session.input(x)).reveal(), 2e-4 * x, atol=4e-5)


def test_masks_serve_backwards() -> None:
    """The gradients of x @ w open the gradient that arrives, and nothing of x and w again."""
    session = open_session("helper", 3)
    x, w = session.input(rng.normal(size=(64, 50))), session.input(rng.normal(size=(50, 40)))

    def sent(*arrays: Any) -> int:
        return session.cost(*arrays).online_bytes

    forward = sent(mpc.square(x @ w).sum())
    both = sent(*(g.sum() for g in mpc.grad(lambda x, w: mpc.square(x @ w).sum(), (0, 1))(x, w)))
    # two evaluators open 8 bytes each: of what arrives at the product, and to truncate each gradient
    assert both - forward < 1.05 * 2 * 8 * (64 * 40 + (64 * 50 + 50 * 40))


ORDERED: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "sort": (lambda x: mpc.sort(x, 0), lambda x: np.sort(x, 0)),
    "sort down": (lambda x: mpc.sort(x, descending=True), lambda x: -np.sort(-x)),
    "topk": (lambda x: mpc.topk(x, 2)[0], lambda x: -np.sort(-x)[:, :2]),
    "median": (lambda x: mpc.median(x, 1), lambda x: np.median(x, 1)),
    "quantile": (lambda x: mpc.quantile(x, [0.1, 0.8], 0), lambda x: np.quantile(x, [0.1, 0.8], 0)),
    "sort_by": (lambda x: mpc.sort_by(x[:, 0], x * x)[1], lambda x: (x * x)[np.argsort(x[:, 0])][1]),
}


@pytest.mark.parametrize(
    ("name", "protocol", "n"),
    [*((name, "plain", 2) for name in ORDERED), ("topk", "helper", 3), ("sort", "additive", 2), ("median", "replicated", 3)],
)
def test_order_passes_gradients_to_where_values_came_from(name: str, protocol: str, n: int) -> None:
    f, reference = ORDERED[name]
    weights = np.random.default_rng(3).normal(size=np.shape(reference(X)))
    gradient = mpc.grad(lambda x: mpc.sum(f(x) * weights))(open_session(protocol, n).input(X))
    (wanted,) = numerical(reference, (X,), weights)
    np.testing.assert_allclose(gradient.reveal(), wanted, atol=1e-3)


def test_a_gradient_through_a_radix_sort() -> None:
    x = np.random.default_rng(4).normal(size=150)
    weights = np.random.default_rng(5).normal(size=150)
    gradient = mpc.grad(lambda x: mpc.sum(mpc.sort(x, bits=20) * weights))(open_session("plain", 2).input(x)).reveal()
    wanted = np.empty(150)
    wanted[np.argsort(x)] = weights
    np.testing.assert_allclose(gradient, wanted, atol=1e-3)


def test_refusals_name_the_line() -> None:
    session = open_session("plain", 2)
    x, k = session.input(X), session.input(np.arange(4))
    with pytest.raises(UsageError, match=r"ltz at test_gradients.py:\d+ has none"):
        mpc.grad(lambda x: mpc.mean((x > 0) * 1.0))(x)
    with pytest.raises(UsageError, match=r"trunc at test_gradients.py:\d+ has none"):
        mpc.grad(lambda x: mpc.mean(mpc.floor(x)))(x)
    with pytest.raises(UsageError, match=r"int64\[4\].*not defined.*astype"):
        mpc.grad(lambda k: mpc.sum(k * 0.5))(k)
    with pytest.raises(UsageError, match="one number"):
        mpc.grad(lambda x: x * 2)(x)
    with pytest.raises(UsageError, match="has_aux"):
        mpc.grad(lambda x: (mpc.sum(x), x))(x)
    with pytest.raises(UsageError, match="argnums=3"):
        mpc.grad(lambda x: mpc.sum(x), 3)(x)
    with pytest.raises(UsageError, match=r"shuffle at test_gradients.py:\d+ has no gradient"):
        mpc.grad(lambda x: mpc.sum(mpc.shuffle(x)[0]))(x)
    assert math.isclose(float(mpc.grad(lambda x: mpc.sum(x[0] * 2) + mpc.sum(x > 0))(x).reveal().sum()), 8)
