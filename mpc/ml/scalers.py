"""Transformers: standard scores, ranges, principal components."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from ..lang import core
from ..lang.array import Array
from ..lang.core import add, astype, matmul, multiply, subtract
from ..lang.elementwise import max, min
from ..linalg import spectra
from ..linalg.scaling import at_bits, fine, inverse_root, largest, power_scale, quotient, working
from .estimator import Estimator, rows_of, secret_rows


class Transformer(Estimator, ABC):
    """An estimator that gives the data other coordinates."""

    @abstractmethod
    def fit(self, x: Any, y: Any = None) -> Self:
        """Takes from the data what `transform` needs."""

    @abstractmethod
    def transform(self, x: Any) -> Array:
        """The data in the other coordinates."""

    def fit_transform(self, x: Any, y: Any = None) -> Array:
        """`fit` and `transform` of the same data."""
        return self.fit(x).transform(x)


def _times(x: Array, factors: np.ndarray) -> Array:
    """x times public factors, each column's in its own binary size: one scale for all would leave few bits to the smallest."""
    size = 2.0 ** np.floor(np.log2(factors))
    return astype(multiply(multiply(fine(x), size), factors / size), x.dtype)


@dataclass(eq=False)
class StandardScaler(Transformer):
    """Columns with mean 0 and standard deviation 1, whatever their units. A constant column becomes 0.

    Fitted: mean_, scale_ (the standard deviation). About 20 rounds; relative error 2^-15.
    """

    def fit(self, x: Any, y: Any = None) -> Self:
        x = secret_rows(x)
        self.mean_ = core.mean(x, 0)
        centred = subtract(x, self.mean_)
        down, up = power_scale(largest(centred, 0))  # by powers of two to below 1, where squares keep their precision
        unit = working(multiply(fine(centred), down))
        # a sum of n squares over the power of two below n: what is missing to n is public, and its root a factor
        bits = len(x).bit_length() - 1
        variance = core.shift_right(core.sum(at_bits("mul", unit, unit, 36), 0), bits)
        rest = (len(x) / 2**bits) ** 0.5
        root = inverse_root(variance)
        deviation = multiply(working(multiply(variance, root)), 1 / rest)
        self.scale_ = astype(multiply(deviation, up), x.dtype)
        root = multiply(root, rest)
        self._unit = down, root
        return self

    def transform(self, x: Any) -> Array:
        """(x - mean_) / scale_."""
        x = rows_of(x, self.mean_.shape[0])
        centred = subtract(x, self.mean_)
        if not isinstance(self.scale_, Array):
            return _times(centred, 1 / np.where(self.scale_ == 0, 1, self.scale_))
        down, root = self._unit
        return astype(multiply(working(multiply(fine(centred), down)), root), centred.dtype)

    def inverse_transform(self, x: Any) -> Array:
        """x scale_ + mean_."""
        return add(multiply(rows_of(x, self.mean_.shape[0]), self.scale_), self.mean_)


@dataclass(eq=False)
class MinMaxScaler(Transformer):
    """Columns from `low` to `high`, by their smallest and largest value. A constant column becomes `low`.

    Fitted: data_min_, data_max_. 4 rounds for every doubling of the number of samples.
    """

    low: float = 0.0
    high: float = 1.0

    def fit(self, x: Any, y: Any = None) -> Self:
        x = secret_rows(x)
        self.data_min_, self.data_max_ = min(x, 0), max(x, 0)
        return self

    def transform(self, x: Any) -> Array:
        """low + (x - data_min_) / (data_max_ - data_min_) * (high - low)."""
        x = rows_of(x, self.data_min_.shape[0])
        above, span = subtract(x, self.data_min_), self.data_max_ - self.data_min_
        if isinstance(span, Array):
            part = astype(quotient(fine(above), span), above.dtype)
        else:
            part = _times(above, 1 / np.where(span == 0, 1, span))
        return add(multiply(part, self.high - self.low), self.low)


@dataclass(eq=False)
class PCA(Transformer):
    """The `n_components` directions of largest variance, of up to 64 features. Signs of axes are arbitrary.

    Fitted: components_ (n_components, features), explained_variance_, explained_variance_ratio_, mean_. Rounds and errors are
    those of `mpc.linalg.eigh`.
    """

    n_components: int = 2

    def fit(self, x: Any, y: Any = None) -> Self:
        x = secret_rows(x)
        found = spectra.pca(x, self.n_components)
        self.components_, self.explained_variance_, self.mean_ = found.axes, found.variances, found.mean
        total = core.sum(core.var(x, 0, ddof=1))
        self.explained_variance_ratio_ = astype(quotient(found.variances, total), x.dtype)
        return self

    def transform(self, x: Any) -> Array:
        """Coordinates along the components (samples, n_components)."""
        x = rows_of(x, self.mean_.shape[0])
        return matmul(subtract(x, self.mean_), self.components_.T)

    def inverse_transform(self, x: Any) -> Array:
        """The data that these coordinates stand for."""
        return add(matmul(rows_of(x, self.components_.shape[0]), self.components_), self.mean_)
