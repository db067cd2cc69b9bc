"""Layers that hold parameters: names, loading, training; and normalisation and dropout, whose states they keep."""

from __future__ import annotations

import numpy as np
import pytest

import mpc
from mpc import nn
from mpc.errors import ShapeMismatch, UsageError

from ..memory import open_session
from .conftest import SETTINGS, ULP, fixed


def standardised(x, axes, eps=1e-3):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def per_channel(v, ndim):
    return v.reshape(1, -1, *[1] * (ndim - 2))


def test_a_small_network(rng):
    """The same weights, public and secret, against NumPy."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3), nn.relu)
    shapes = {k: v.shape for k, v in model.parameters().items()}
    assert shapes == {"0.weight": (2, 1, 3, 3), "0.bias": (2,), "4.weight": (3, 8), "4.bias": (3,)}
    state = {k: fixed(rng, *shape, below=1) for k, shape in shapes.items()}
    x = fixed(rng, 2, 1, 4, 4)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)]), (3, 3), (2, 3))
    y = np.einsum("nchwij,ocij->nohw", windows, state["0.weight"]) + per_channel(state["0.bias"], 4)
    y = np.maximum(y, 0).reshape(2, 2, 2, 2, 2, 2).max((3, 5)).reshape(2, 8)
    want = np.maximum(y @ state["4.weight"].T + state["4.bias"], 0)
    for protocol, n in SETTINGS:
        with open_session(protocol, n) as s:
            public = model.load(state)(s.input(x))
            secret = model.load({k: s.input(v, owner=n - 1) for k, v in state.items()})(s.input(x))
            for found in s.reveal(public, secret):
                assert np.abs(found - want).max() < 12 * ULP


def test_names_and_shapes_are_checked(rng):
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm(3))
    with open_session("plain", 1) as s:
        with pytest.raises(UsageError, match=r"weight of Linear has no value at test_modules.py:\d+"):
            model(s.input(np.zeros((1, 2))))
        with pytest.raises(UsageError, match=r"no parameter '0.wight' .* 0.weight, 0.bias, 1.weight"):
            model.load({"0.wight": np.zeros((3, 2))})
        with pytest.raises(ShapeMismatch, match=r"0.weight has shape \(3, 2\), not \(2, 3\)"):
            model.load({"0.weight": np.zeros((2, 3))})
        model.load({"0.weight": np.ones((3, 2)), "0.bias": [1, 2, 3], "1.num_batches_tracked": 7})
        assert (model.children()["0"](s.input([[1.0, 2.0]])).reveal() == [[4, 5, 6]]).all()
    assert list(model.state()) == [f"{i}.{k}" for i, ks in (
        (0, ["weight", "bias"]), (1, ["weight", "bias", "running_mean", "running_var"])) for k in ks]  # fmt: skip
    assert "1.running_mean" not in model.parameters()


def test_every_layer_has_pytorchs_names():
    """A state of PyTorch loads: names and shapes as documented there."""
    wanted = {
        nn.Conv1d(4, 6, 3, groups=2): {"weight": (6, 2, 3), "bias": (6,)},
        nn.Conv3d(1, 2, (1, 2, 3), bias=False): {"weight": (2, 1, 1, 2, 3)},
        nn.ConvTranspose1d(4, 6, 3, groups=2): {"weight": (4, 3, 3), "bias": (6,)},
        nn.ConvTranspose2d(2, 3, 2): {"weight": (2, 3, 2, 2), "bias": (3,)},
        nn.ConvTranspose3d(2, 3, 2): {"weight": (2, 3, 2, 2, 2), "bias": (3,)},
        nn.Embedding(9, 4): {"weight": (9, 4)},
        nn.LayerNorm(4): {"weight": (4,), "bias": (4,)},
        nn.GroupNorm(2, 4): {"weight": (4,), "bias": (4,)},
        nn.InstanceNorm(4): {"weight": (4,), "bias": (4,)},
        nn.RMSNorm(4): {"weight": (4,)},
        nn.MultiheadAttention(4, 2): {
            "in_proj_weight": (12, 4), "in_proj_bias": (12,), "out_proj.weight": (4, 4), "out_proj.bias": (4,),
        },
        nn.LSTM(3, 5, layers=2): {
            "weight_ih_l0": (20, 3), "weight_hh_l0": (20, 5), "bias_ih_l0": (20,), "bias_hh_l0": (20,),
            "weight_ih_l1": (20, 5), "weight_hh_l1": (20, 5), "bias_ih_l1": (20,), "bias_hh_l1": (20,),
        },
        nn.GRU(3, 5, bias=False): {"weight_ih_l0": (15, 3), "weight_hh_l0": (15, 5)},
    }  # fmt: skip
    for layer, names in wanted.items():
        assert {k: v.shape for k, v in layer.state().items()} == names


def test_layers_call_their_functions(rng):
    """Each with weights, against its function on the same weights."""
    images, rows = fixed(rng, 2, 4, 6, 6), fixed(rng, 2, 3, 4)
    cases = [
        (nn.Conv2d(4, 4, 3, groups=4, stride=2), images, lambda x, w, b: nn.conv2d(x, w, b, groups=4, stride=2)),
        (nn.ConvTranspose2d(4, 2, 2, stride=2), images, lambda x, w, b: nn.conv_transpose2d(x, w, b, stride=2)),
        (nn.AvgPool2d(3), images, lambda x: nn.avg_pool2d(x, 3)),
        (nn.AdaptiveAvgPool2d((2, 1)), images, lambda x: nn.adaptive_avg_pool2d(x, (2, 1))),
        (nn.LeakyReLU(0.2), images, lambda x: nn.leaky_relu(x, 0.2)),
        (nn.LayerNorm(4), rows, lambda x, w, b: nn.layer_norm(x, w, b, 1e-5)),
        (nn.RMSNorm(4), rows, lambda x, w: nn.rms_norm(x, w, 1e-5)),
        (nn.GroupNorm(2, 4), images, lambda x, w, b: nn.group_norm(x, 2, w, b, 1e-5)),
        (nn.InstanceNorm(4), images, lambda x, w, b: nn.instance_norm(x, w, b, 1e-5)),
        (nn.Embedding(4, 3), np.array([3, 0]), nn.embedding),
        (nn.MultiheadAttention(4, 2, causal=True), rows, lambda x, *w: nn.multi_head_attention(x, x, x, 2, *w, causal=True)),
        (nn.LSTM(4, 2), rows, nn.lstm),
        (nn.GRU(4, 2), rows, nn.gru),
    ]
    with open_session("plain", 1) as s:
        for layer, x, f in cases:
            values = {k: fixed(rng, *v.shape, below=1) for k, v in layer.state().items()}
            one, other = layer.load(values)(s.input(x)), f(s.input(x), *values.values())
            if isinstance(one, tuple):
                one, other = one[0], other[0]
            assert np.array_equal(*s.reveal(one, other)), layer


def test_layers_of_your_own(rng):
    class Residual(nn.Module):
        def __init__(self) -> None:
            self.inner = nn.Linear(3, 3)
            self.scale = np.array(0.5)

        def forward(self, x):
            return x + self.inner(x) * self.scale

    layer, x = Residual(), fixed(rng, 2, 3)
    w = {"inner.weight": fixed(rng, 3, 3), "inner.bias": fixed(rng, 3)}
    assert set(layer.state()) == {"scale", *w}
    with open_session("helper", 3) as s:
        found = layer.load(w)(s.input(x)).reveal()
    assert np.abs(found - x - 0.5 * (x @ w["inner.weight"].T + w["inner.bias"])).max() < 3 * ULP


def test_initial_values_are_secret_and_of_the_right_size():
    with open_session("helper", 3) as s:
        model = nn.Sequential(nn.Linear(16, 50), nn.BatchNorm(50)).initialise(s)
        weight, bias, gain = (model.parameters()[k] for k in ("0.weight", "0.bias", "1.weight"))
        assert all(isinstance(v, mpc.Array) for v in model.parameters().values())
        weight, bias, gain = s.reveal(weight, bias, gain)
    assert np.abs(weight).max() <= 0.25 + ULP
    assert np.abs(bias).max() <= 0.25 + ULP
    assert abs(weight.std() - 0.25 / 3**0.5) < 0.01
    assert (gain == 1).all()


def test_normalisation(close, rng):
    x, w, b = fixed(rng, 2, 4, 3, 5), fixed(rng, 4), fixed(rng, 4)
    grouped = standardised(x.reshape(2, 2, -1), 2).reshape(x.shape) * per_channel(w, 4) + per_channel(b, 4)
    alone = standardised(x.reshape(2, 4, -1), 2).reshape(x.shape) * per_channel(w, 4) + per_channel(b, 4)
    close(lambda x, w, b: nn.group_norm(x, 2, w, b), grouped, x, w, b, tol=2.0**-9)
    close(lambda x, w, b: nn.instance_norm(x, w, b), alone, x, w, b, tol=2.0**-9)
    gain = fixed(rng, 5)
    close(lambda x: nn.rms_norm(x, gain), x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-3) * gain, x, tol=2.0**-9)
    with open_session("plain", 1) as s, pytest.raises(ShapeMismatch, match="3 groups"):
        nn.group_norm(s.input(x), 3)


@pytest.mark.parametrize(("protocol", "n"), SETTINGS)
def test_batch_norm_learns_its_statistics(rng, protocol, n):
    x, layer = fixed(rng, 6, 3, 4), nn.BatchNorm(3)
    with open_session(protocol, n) as s:
        secret = s.input(x)
        before = layer(secret)
        trained = layer.train()(secret)
        after = layer.train(False)(secret)
        mean, var = layer.running_mean, layer.running_var
        before, trained, after, mean, var = s.reveal(before, trained, after, mean, var)
    assert np.abs(before - x).max() < 2.0**-13
    assert np.abs(trained - standardised(x, (0, 2), 1e-5)).max() < 2.0**-9
    running = 0.1 * x.mean((0, 2)), 0.9 + 0.1 * x.var((0, 2), ddof=1)
    assert np.abs(mean - running[0]).max() < 4 * ULP
    assert np.abs(var - running[1]).max() < 4 * ULP
    assert np.abs(after - (x - per_channel(running[0], 3)) / np.sqrt(per_channel(running[1], 3))).max() < 2.0**-9


@pytest.mark.parametrize(("protocol", "n"), SETTINGS)
def test_dropout(protocol, n):
    x = np.full(4000, 3.0)
    with open_session(protocol, n) as s:
        layer = nn.Dropout(0.25)
        off = layer(s.input(x)).reveal()
        on = layer.train()(s.input(x)).reveal()
    assert np.array_equal(off, x)
    kept = on != 0
    assert np.abs(on[kept] - 4).max() <= 2 * ULP
    assert abs(kept.mean() - 0.75) < 0.04  # five standard deviations and more
    with open_session("plain", 1) as s, pytest.raises(UsageError, match="probability 1"):
        nn.dropout(s.input(x), 1.0)
