"""Naive Bayes with normal features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from ..lang import core, manipulation, views
from ..lang.array import Array
from ..lang.core import add, astype, matmul, multiply, subtract
from ..lang.elementwise import argmax
from ..lang.wide import log, softmax
from ..linalg.scaling import column, quotient
from .estimator import Classifier, one_hot, rows_of, samples


@dataclass(eq=False)
class GaussianNB(Classifier):
    """Every feature normal and independent given the class; labels 0 .. classes - 1. Scale the features first.

    Fitted: theta_ and var_ (classes, features), class_prior_. `smoothing` is added to every variance: with the default, scores
    keep an error of about 2^-8 for features within 8 standard deviations.
    """

    classes: int = 2
    smoothing: float = 2.0**-10

    def fit(self, x: Any, y: Any) -> Self:
        x, y = samples(x, y)
        members = one_hot(y, self.classes)
        counts = core.sum(members, 0)
        size = column(astype(counts, x.dtype))
        # around the common mean squares are smaller
        middle = core.mean(x, 0)
        x = subtract(x, middle)
        sums = matmul(views.transpose(members), manipulation.concatenate([x, core.square(x)], 1))
        means, squares = (astype(quotient(part, size), x.dtype) for part in (sums[:, : x.shape[1]], sums[:, x.shape[1] :]))
        self.theta_ = add(means, middle)
        self.var_ = add(subtract(squares, core.square(means)), self.smoothing)
        self.class_prior_ = multiply(counts, 1 / x.shape[0])
        return self

    def joint_log_likelihood(self, x: Any) -> Array:
        """log P(class) + log p(x | class) up to a constant, (samples, classes)."""
        x = rows_of(x, self.theta_.shape[1])
        precision = 1 / self.var_
        logs = log if isinstance(self.var_, Array) else np.log
        constant = logs(self.class_prior_) - (logs(self.var_) + self.theta_ * self.theta_ * precision).sum(1) / 2
        square = core.square(x) if isinstance(x, Array) else np.square(x)
        return add(subtract(matmul(x, (self.theta_ * precision).T), matmul(square, precision.T / 2)), constant)

    def predict_proba(self, x: Any) -> Array:
        """Probabilities (samples, classes)."""
        return softmax(self.joint_log_likelihood(x))

    def predict(self, x: Any) -> Array:
        """The likeliest class, int64."""
        return argmax(self.joint_log_likelihood(x), 1)
