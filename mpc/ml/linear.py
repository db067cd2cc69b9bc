"""Linear models: least squares with standard errors, ridge, logistic regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from ..errors import UsageError
from ..ir.trace import user_line
from ..ir.types import INT64
from ..lang import core, manipulation, views
from ..lang.array import Array
from ..lang.core import add, astype, greater, matmul, multiply, subtract
from ..lang.elementwise import absolute, argmax, max, sigmoid
from ..lang.function import fori
from ..lang.manipulation import concatenate
from ..lang.views import getitem
from ..lang.wide import softmax
from ..linalg import solvers
from ..linalg.scaling import column, fine, gram, quotient
from .estimator import Classifier, Regressor, divided, one_hot, r2, rows_of, samples


class _Line(Regressor):
    """Predicts by coef_ and intercept_."""

    def predict(self, x: Any) -> Array:
        """x @ coef_ + intercept_."""
        return add(matmul(rows_of(x, self.coef_.shape[0]), self.coef_), self.intercept_)


@dataclass(eq=False)
class LinearRegression(_Line):
    """Ordinary least squares, with what a statistician reads beside the coefficients.

    Fitted: coef_ (features), intercept_, and, with the intercept first: standard_errors_, t_values_; r2_. Domain and errors
    are those of `mpc.linalg.ols`: about 29 rounds a feature, error 2^-22 times the squared condition of X.
    """

    fit_intercept: bool = True

    def fit(self, x: Any, y: Any) -> Self:
        x, y = samples(x, y)
        found = solvers.ols(x, y, self.fit_intercept)
        if self.fit_intercept:
            self.intercept_, self.coef_ = getitem(found.coefficients, 0), getitem(found.coefficients, slice(1, None))
        else:
            self.intercept_, self.coef_ = multiply(getitem(found.coefficients, 0), 0), found.coefficients
        self.standard_errors_, self.t_values_ = found.errors, found.t
        self.r2_ = r2(y, self.predict(x))
        return self


@dataclass(eq=False)
class Ridge(_Line):
    """Least squares with alpha |coef|^2 added, in the units of X; the intercept is not penalised.

    Fitted: coef_ (features), intercept_. Sums of squares around the means stay below 2^(61 - 2f).
    """

    alpha: float = 1.0
    fit_intercept: bool = True

    def fit(self, x: Any, y: Any) -> Self:
        x, y = samples(x, y)
        means, middle = core.mean(x, 0), core.mean(y)
        if self.fit_intercept:
            x, y = subtract(x, means), subtract(y, middle)
        square = add(gram(x, x), self.alpha * np.eye(x.shape[1]))
        found = solvers.solve(square, gram(x, column(y)), assume_a="pos")
        self.coef_ = astype(getitem(found, (slice(None), 0)), x.dtype)
        shift = subtract(middle, matmul(means, self.coef_))
        self.intercept_ = shift if self.fit_intercept else multiply(shift, 0)
        return self


@dataclass(eq=False)
class LogisticRegression(Classifier):
    """Logistic regression with scikit-learn's penalty |coef|^2 / (2 C); labels are 0 .. classes - 1 as int64, or bool.

    solver "gradient": Nesterov's accelerated gradient descent on all samples, about 10 rounds an iteration; `max_iter` 200 by
    default. Its step follows from the data; scale them first, since it converges slowly where units differ. solver "newton",
    for two classes: about 29 rounds a feature and iteration, 8 by default.
    Fitted: coef_ (features) and intercept_ for two classes, else (features, classes) and (classes).
    """

    C: float = 1.0
    classes: int = 2
    solver: str = "gradient"
    max_iter: int | None = None
    momentum: float = 0.9

    def fit(self, x: Any, y: Any) -> Self:
        if self.solver not in ("gradient", "newton") or (self.solver == "newton" and self.classes != 2):
            raise UsageError(
                f"solver={self.solver!r} for {self.classes} classes at {user_line()}: "
                "choose gradient, or newton for two classes"
            )
        x, y = samples(x, y)
        hot = one_hot(y, self.classes)
        target = hot if self.classes > 2 else getitem(hot, (slice(None), slice(1, 2)))
        ones = np.ones((x.shape[0], 1))
        dtype, x = x.dtype, fine(concatenate([x, ones], 1))
        start = multiply(matmul(views.transpose(x[:1]), multiply(target[:1], 0)), 0)
        w = (self._newton if self.solver == "newton" else self._descend)(x, target, start)
        w = astype(w, dtype)
        w = w if self.classes > 2 else getitem(w, (slice(None), 0))
        self.coef_, self.intercept_ = getitem(w, slice(0, -1)), getitem(w, -1)
        return self

    def _gradient(self, x: Array, target: Array, w: Array) -> tuple[Array, Array]:
        """(probabilities, gradient of the mean loss without the penalty)."""
        p = self._probabilities(matmul(x, w))
        total = matmul(views.transpose(x), subtract(p, target))
        return p, divided(total, x.shape[0])

    def _probabilities(self, scores: Array) -> Array:
        return softmax(scores) if self.classes > 2 else sigmoid(scores)

    def _penalty(self, n: int, features: int) -> np.ndarray:
        """Of every coefficient in the mean loss; none on the intercept."""
        return np.append(np.full(features - 1, 1 / (self.C * n)), 0.0)[:, None]

    def _descend(self, x: Array, target: Array, w: Array) -> Array:
        n, features = x.shape
        penalty = self._penalty(n, features)
        # the largest eigenvalue of X^T X / n is at most its largest row sum; the loss bends by a quarter of it (softmax: half)
        square = divided(matmul(views.transpose(x), x), n)
        curvature = multiply(max(core.sum(absolute(square), 1)), 0.5 if self.classes > 2 else 0.25)
        step = quotient(add(multiply(curvature, 0), 1), add(curvature, float(penalty.max())))

        def body(_: Any, carry: Any) -> Any:
            w, before = carry
            ahead = add(w, multiply(subtract(w, before), self.momentum))
            _, gradient = self._gradient(x, target, ahead)
            return subtract(ahead, multiply(add(gradient, multiply(ahead, penalty)), step)), w

        return fori(0, 200 if self.max_iter is None else self.max_iter, body, (w, w))[0]  # type: ignore[no-any-return]

    def _newton(self, x: Array, target: Array, w: Array) -> Array:
        n, features = x.shape
        penalty = self._penalty(n, features)
        ridge = np.diag(penalty[:, 0] + 2.0**-20)  # of a feature that never varies the intercept is a multiple

        def body(_: Any, w: Array) -> Array:
            p, gradient = self._gradient(x, target, w)
            bend = divided(matmul(views.transpose(x), multiply(x, multiply(p, subtract(1, p)))), n)
            change = solvers.solve(add(bend, ridge), add(gradient, multiply(w, penalty)), assume_a="pos")
            return subtract(w, astype(change, w.dtype))

        return fori(0, 8 if self.max_iter is None else self.max_iter, body, w)  # type: ignore[no-any-return]

    def decision_function(self, x: Any) -> Array:
        """x @ coef_ + intercept_."""
        return add(matmul(rows_of(x, self.coef_.shape[0]), self.coef_), self.intercept_)

    def predict_proba(self, x: Any) -> Array:
        """Probabilities (samples, classes)."""
        p = self._probabilities(self.decision_function(x))
        return p if self.classes > 2 else manipulation.stack([subtract(1, p), p], -1)

    def predict(self, x: Any) -> Array:
        """The likeliest class, int64. No probability is computed."""
        scores = self.decision_function(x)
        return argmax(scores, 1) if self.classes > 2 else astype(greater(scores, 0), INT64)
