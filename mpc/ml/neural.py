"""Multi-layer perceptrons, trained on secret data by stochastic gradient descent with a backward pass written out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np

from ..errors import UsageError
from ..ir.trace import user_line
from ..lang import core, views
from ..lang.array import Array
from ..lang.core import add, greater, matmul, multiply, subtract, where
from ..lang.elementwise import argmax, relu
from ..lang.function import fori
from ..lang.views import dynamic_slice
from ..lang.wide import softmax
from ..linalg.scaling import column, real
from .estimator import Classifier, Estimator, Regressor, one_hot, rows_of, samples


def first_weights(sizes: tuple[int, ...], seed: int) -> list[np.ndarray]:
    """Public weights to start from, by a hash: uniform within sqrt(6 / (in + out)) (Glorot and Bengio, AISTATS 2010)."""
    weights = []
    for i, (m, n) in enumerate(pairwise(sizes)):
        stream = hashlib.shake_128(f"first weights {seed} {i}".encode()).digest(4 * m * n)
        weights.append((np.frombuffer(stream, "<u4").reshape(m, n) / 2**31 - 1) * (6 / (m + n)) ** 0.5)
    return weights


@dataclass(eq=False)
class _Perceptron(Estimator):
    hidden_layer_sizes: tuple[int, ...] = (16,)
    learning_rate: float = 0.1
    momentum: float = 0.9
    alpha: float = 1e-4
    batch_size: int = 32
    max_iter: int = 20
    seed: int = 0

    def _train(self, x: Array, target: Array) -> Self:
        n, size = x.shape[0], min(self.batch_size, x.shape[0])
        if size < 1 or self.max_iter < 1:
            raise UsageError(f"batch_size={self.batch_size}, max_iter={self.max_iter} at {user_line()}: give 1 or more of each")
        sizes = (x.shape[1], *self.hidden_layer_sizes, target.shape[1])
        zero = multiply(x[0, 0], 0)
        weights = [add(zero, w) for w in first_weights(sizes, self.seed)]
        biases = [add(zero, np.zeros(k)) for k in sizes[1:]]
        parts = [*weights, *biases]

        def batch(i: Any, carry: Any) -> Any:
            parts, speed = carry
            inside, wanted = (dynamic_slice(v, multiply(i, size), size) for v in (x, target))
            slope = self._gradient(parts, inside, wanted)
            rate = self.learning_rate / size
            speed = [subtract(multiply(v, self.momentum), multiply(g, rate)) for v, g in zip(speed, slope, strict=True)]
            layers = len(sizes) - 1
            shrink = [1 - self.learning_rate * self.alpha] * layers + [1] * layers
            return [add(multiply(p, s), v) for p, s, v in zip(parts, shrink, speed, strict=True)], speed

        carry = parts, [multiply(p, 0) for p in parts]
        parts, _ = fori(0, self.max_iter, lambda _, c: fori(0, n // size, batch, c), carry)
        self.coefs_, self.intercepts_ = parts[: len(weights)], parts[len(weights) :]
        return self

    def _gradient(self, parts: list[Array], x: Array, target: Array) -> list[Array]:
        """Of the loss summed over a batch, for weights and biases; for both losses the last error is output less target."""
        layers = len(parts) // 2
        weights, biases = parts[:layers], parts[layers:]
        inputs, active = [x], []
        for w, b in zip(weights[:-1], biases[:-1], strict=True):
            z = add(matmul(inputs[-1], w), b)
            active.append(greater(z, 0))
            inputs.append(where(active[-1], z, 0))
        error = subtract(self._output(add(matmul(inputs[-1], weights[-1]), biases[-1])), target)
        slopes: list[Array] = []
        shifts: list[Array] = []
        for i in reversed(range(layers)):
            slopes.insert(0, matmul(views.transpose(inputs[i]), error))
            shifts.insert(0, core.sum(error, 0))
            if i:
                error = where(active[i - 1], matmul(error, views.transpose(weights[i])), 0)
        return [*slopes, *shifts]

    def _output(self, scores: Array) -> Array:
        return scores

    def decision_function(self, x: Any) -> Array:
        """Scores (samples, outputs) before the last function."""
        x = rows_of(x, self.coefs_[0].shape[0])
        for i, (w, b) in enumerate(zip(self.coefs_, self.intercepts_, strict=True)):
            x = add(matmul(x, w), b)
            x = relu(x) if i < len(self.coefs_) - 1 else x
        return x  # type: ignore[no-any-return]


@dataclass(eq=False)
class MLPClassifier(Classifier, _Perceptron):
    """ReLU layers and a softmax over `classes`, cross-entropy, momentum; labels 0 .. classes - 1 as int64, or bool.

    Samples are taken in their order, in batches of `batch_size` (a last smaller one is left out): shuffle and scale first.
    Fitted: coefs_, intercepts_, a list by layer. About 25 + 8 per layer rounds a batch.
    """

    classes: int = 2

    def fit(self, x: Any, y: Any) -> Self:
        x, y = samples(x, y)
        return self._train(x, one_hot(y, self.classes))

    def _output(self, scores: Array) -> Array:
        return softmax(scores)

    def predict_proba(self, x: Any) -> Array:
        """Probabilities (samples, classes)."""
        return softmax(self.decision_function(x))

    def predict(self, x: Any) -> Array:
        """The likeliest class, int64."""
        return argmax(self.decision_function(x), 1)


@dataclass(eq=False)
class MLPRegressor(Regressor, _Perceptron):
    """ReLU layers and one number, squared error, momentum. Scale features and the target; see `MLPClassifier`."""

    learning_rate: float = 0.02

    def fit(self, x: Any, y: Any) -> Self:
        x, y = samples(x, y)
        return self._train(x, column(real(y)))

    def predict(self, x: Any) -> Array:
        """The number of every row."""
        return self.decision_function(x)[:, 0]
