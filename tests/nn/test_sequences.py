"""Attention, positions, recurrent layers, embeddings: against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import mpc
from mpc import nn
from mpc.errors import ShapeMismatch

from ..memory import open_session
from .conftest import ULP, fixed


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attended(q, k, v, mask=None):
    scores = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5
    return softmax(scores if mask is None else np.where(mask, scores, -np.inf)) @ v


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_attention(close, rng):
    q, k, v = fixed(rng, 2, 4, 6), fixed(rng, 2, 5, 6), fixed(rng, 2, 5, 3)
    mask = rng.random((2, 4, 5)) < 0.6
    mask[..., 0] = True
    close(nn.attention, attended(q, k, v), q, k, v, tol=2.0**-11)
    close(
        lambda q, k, v: nn.attention(q, k, v, causal=True), attended(q, k, v, np.tri(4, 5, dtype=bool)), q, k, v, tol=2.0**-11
    )
    close(lambda q, k, v: nn.attention(q, k, v, mask=mask), attended(q, k, v, mask), q, k, v, tol=2.0**-11)
    close(lambda q, k, v, m: nn.attention(q, k, v, mask=m), attended(q, k, v, mask), q, k, v, mask, tol=2.0**-11)


@pytest.mark.parametrize("causal", [False, True])
def test_multi_head_attention(close, rng, causal):
    n, t, e, heads = 2, 3, 8, 2
    x, y = fixed(rng, n, t, e, below=1), fixed(rng, n, t, e, below=1)
    wi, bi, wo, bo = fixed(rng, 3 * e, e, below=1), fixed(rng, 3 * e), fixed(rng, e, e, below=0.5), fixed(rng, e)

    def want(x, y):
        parts = [v @ w.T + b for v, w, b in zip((x, y, y), np.split(wi, 3), np.split(bi, 3), strict=True)]
        q, k, v = (p.reshape(n, t, heads, -1).transpose(0, 2, 1, 3) for p in parts)
        out = attended(q, k, v, np.tri(t, dtype=bool) if causal else None)
        return out.transpose(0, 2, 1, 3).reshape(n, t, e) @ wo.T + bo

    close(lambda x, *w: nn.multi_head_attention(x, x, x, heads, *w, causal=causal), want(x, x), x, wi, bi, wo, bo, tol=2.0**-9)
    close(lambda x, y: nn.multi_head_attention(x, y, y, heads, wi, bi, wo, bo, causal=causal), want(x, y), x, y, tol=2.0**-9)


def test_heads_must_divide_the_features(rng):
    with open_session("plain", 1) as s, pytest.raises(ShapeMismatch, match="3 heads"):
        x = s.input(np.zeros((1, 2, 8)))
        nn.multi_head_attention(x, x, x, 3, np.zeros((24, 8)), None, np.zeros((8, 8)), None)


def test_positions(close, rng):
    table = nn.sinusoidal_positions(7, 5)
    assert np.allclose(table[3], [np.sin(3), np.cos(3), np.sin(3 / 10000**0.4), np.cos(3 / 10000**0.4), np.sin(3 / 10000**0.8)])
    x = fixed(rng, 2, 5, 6)
    pairs = x[..., :3] + 1j * x[..., 3:]
    turned = pairs * np.exp(1j * np.arange(5)[:, None] / 10000.0 ** (np.arange(3) / 3))
    close(nn.rotary, np.concatenate([turned.real, turned.imag], -1), x, tol=4 * ULP)


def test_embedding(close, rng):
    table, index = fixed(rng, 7, 3), np.array([[0, 6, 2], [5, 5, 1]])
    close(nn.embedding, table[index], index, table, tol=0)
    close(lambda i: nn.embedding(i, table), table[index], index, tol=0)
    close(lambda w: nn.embedding(index, w), table[index], table, tol=0)
    close(lambda i: nn.embedding(i, table), np.zeros((2, 3)), np.array([7, -1]), tol=0)
    assert np.array_equal(nn.embedding(index, table), table[index])


def stepped_lstm(x, wi, wh, bi, bh, h, c):
    out = []
    for now in x.swapaxes(0, 1):
        i, f, g, o = np.split(now @ wi.T + bi + h @ wh.T + bh, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        out.append(h)
    return np.stack(out, 1), h, c


def stepped_gru(x, wi, wh, bi, bh, h):
    out = []
    for now in x.swapaxes(0, 1):
        (ri, zi, ni), (rh, zh, nh) = np.split(now @ wi.T + bi, 3, axis=1), np.split(h @ wh.T + bh, 3, axis=1)
        r, z = sigmoid(ri + rh), sigmoid(zi + zh)
        new = np.tanh(ni + r * nh)
        h = (1 - z) * new + z * h
        out.append(h)
    return np.stack(out, 1), h


def joined(result):
    out, state = result
    return mpc.concatenate([mpc.ravel(v) for v in (out, *(state if isinstance(state, tuple) else (state,)))])


def test_lstm(close, rng):
    x, wi, wh, bi, bh = (fixed(rng, *s, below=1) for s in ((2, 4, 3), (20, 3), (20, 5), (20,), (20,)))
    h, c = fixed(rng, 2, 5, below=1), fixed(rng, 2, 5)
    want = [v.ravel() for v in stepped_lstm(x, wi, wh, bi, bh, np.zeros((2, 5)), np.zeros((2, 5)))]
    close(lambda *a: joined(nn.lstm(*a)), np.concatenate(want), x, wi, wh, bi, bh, tol=2.0**-10)
    want = [v.ravel() for v in stepped_lstm(x, wi, wh, 0, 0, h, c)]
    close(lambda x, h, c: joined(nn.lstm(x, wi, wh, state=(h, c))), np.concatenate(want), x, h, c, tol=2.0**-10)


def test_gru(close, rng):
    x, wi, wh, bi, bh = (fixed(rng, *s, below=1) for s in ((2, 4, 3), (15, 3), (15, 5), (15,), (15,)))
    want = [v.ravel() for v in stepped_gru(x, wi, wh, bi, bh, np.zeros((2, 5)))]
    close(lambda *a: joined(nn.gru(*a)), np.concatenate(want), x, wi, wh, bi, bh, tol=2.0**-10)


def test_weights_of_another_size_are_refused():
    with open_session("plain", 1) as s, pytest.raises(ShapeMismatch, match=r"\(4 h, i\)"):
        nn.lstm(s.input(np.zeros((1, 2, 3))), np.zeros((10, 3)), np.zeros((10, 2)))
