"""What all estimators share: parameters, what was fitted, the checks of their data.

An estimator is a dataclass: its parameters are public and are its fields. What `fit` finds ends in `_` and stays secret until
`reveal_` is called. Nothing is computed before something is revealed, so results that nobody asks for cost nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from ..errors import NotFitted, SessionError, ShapeMismatch, TypeMismatch, UsageError
from ..ir.trace import user_line
from ..ir.types import INT64
from ..lang import core, manipulation, views
from ..lang.array import Array
from ..lang.core import add, astype, matmul, multiply, subtract
from ..lang.function import flatten, unflatten
from ..lang.views import getitem
from ..linalg.scaling import at_bits, column, fine, largest, power_scale, quotient, real, row

Receivers = int | str | list[int | str] | tuple[int | str, ...] | None


@dataclass(eq=False)
class Estimator:
    """Base of all: scikit-learn's parameters, and the results of `fit` as secret arrays."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def set_params(self, **params: Any) -> Self:
        """Changes parameters. Raises UsageError for a name that does not exist."""
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise UsageError(
                    f"{type(self).__name__} has no parameter {name!r}, but {', '.join(known) or 'none'} (at {user_line()})"
                )
            setattr(self, name, value)
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not name.endswith("_"):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        raise NotFitted(
            f"{type(self).__name__} has no {name} at {user_line()}: call fit before predict, transform, score or reveal_"
        )

    def fitted(self) -> dict[str, Any]:
        """What `fit` found, by name: secret arrays, or NumPy arrays where they were revealed."""
        return {k: v for k, v in vars(self).items() if k.endswith("_") and not k.startswith("_")}

    def reveal_(self, *names: str, to: Receivers = None) -> Self:
        """Reveals what `fit` found (all of it, or these attributes) in one run; the attributes are NumPy arrays from then on.

        to: who learns them, as in `Array.reveal`. In a program return the attributes instead. What is public makes
        `predict` cheaper.
        """
        found = self.fitted()
        for name in names or (["what was fitted"] if not found else ()):
            if name not in found:
                raise NotFitted(
                    f"{type(self).__name__} has no {name} to reveal at {user_line()}: "
                    + (f"there are {', '.join(found)}" if found else "call fit first")
                )
        secret, structure = flatten({name: found[name] for name in names or found})
        if not secret:
            return self
        if secret[0].scope.session is None:
            raise SessionError(f"reveal_ inside a program, at {user_line()}: return the estimator's attributes instead")
        values = secret[0].scope.session.reveal(*secret, to=to)
        vars(self).update(unflatten(structure, values))
        return self


# ---- data ----
def public(x: Any, what: str) -> np.ndarray:
    """Plain numbers as a NumPy array."""
    array = np.asarray(x)
    if array.dtype.kind not in "biuf":
        kind = type(x).__name__
        raise TypeMismatch(f"{what} must be a secret array or a public array of numbers, not {kind} (at {user_line()})")
    return array


def rows_of(x: Any, features: int | None = None, what: str = "X") -> Any:
    """x as a matrix of fixed point (a public one as float64), with so many columns."""
    x = real(x) if isinstance(x, Array) else public(x, what).astype(float)
    if len(x.shape) != 2:
        raise ShapeMismatch(
            f"{what} has shape {x.shape} at {user_line()}: give a matrix of samples x features "
            "(x.reshape(-1, 1) for one feature)"
        )
    if features is not None and x.shape[1] != features:
        raise ShapeMismatch(f"{what} has {x.shape[1]} features, the estimator was made for {features} (at {user_line()})")
    return x


def secret_rows(x: Any) -> Array:
    """x as a secret matrix to fit an estimator to."""
    x = rows_of(x)
    if not isinstance(x, Array):
        raise UsageError(f"X is public at {user_line()}: nothing needs a protocol; fit it in the clear")
    return x


def samples(x: Any, y: Any) -> tuple[Array, Array]:
    """(X, y) to fit: a matrix and a vector of as many rows, of which at least one is secret. A public one joins as a secret."""
    x = rows_of(x)
    y = y if isinstance(y, Array) else public(y, "y")
    if len(y.shape) != 1 or y.shape[0] != x.shape[0]:
        raise ShapeMismatch(f"y has shape {y.shape} at {user_line()}: X {x.shape} needs a vector of length {x.shape[0]}")
    if not isinstance(x, Array) and not isinstance(y, Array):
        raise UsageError(f"X and y are both public at {user_line()}: fit in the clear, and bring the model with from_sklearn")
    if not isinstance(x, Array):
        x = add(multiply(column(real(y)), 0), x)
    if not isinstance(y, Array):
        zero = multiply(getitem(x, (slice(None), 0)), 0)
        y = add(astype(zero, INT64) if y.dtype.kind in "biu" else zero, y)
    return x, y


def one_hot(y: Array, classes: int) -> Array:
    """(samples, classes) int64 of zeros and ones for labels 0 .. classes - 1, or bool for two classes."""
    if y.dtype.is_bool and classes == 2:
        y = astype(y, INT64)
        return manipulation.stack([subtract(1, y), y], -1)
    if y.dtype.kind == "fixed":
        raise TypeMismatch(f"labels must be int64 or bool, not {y.dtype} (at {user_line()}): share them with dtype=mpc.int64")
    y = astype(y, INT64)
    return astype(core.equal(column(y), np.arange(classes)), INT64)


# ---- scores ----
class Regressor(Estimator, ABC):
    """An estimator that predicts a number."""

    @abstractmethod
    def predict(self, x: Any) -> Array:
        """A number for each sample."""

    def score(self, x: Any, y: Any) -> Array:
        """R^2 of the prediction: 1 - sum (y - predicted)^2 / sum (y - mean)^2, error about 2^-14, whatever y's units."""
        return r2(y, self.predict(x))


class Classifier(Estimator, ABC):
    """An estimator that predicts a class."""

    @abstractmethod
    def predict(self, x: Any) -> Array:
        """A class for each sample."""

    def score(self, x: Any, y: Any) -> Array:
        """The share of samples whose class is predicted right."""
        return accuracy(y, self.predict(x))


def accuracy(y: Any, predicted: Array) -> Array:
    """The share of equal labels, as fixed point."""
    y = y if isinstance(y, Array) else public(y, "y").astype(np.int64)
    if y.shape != predicted.shape:
        raise ShapeMismatch(f"y has shape {y.shape}, the prediction {predicted.shape} (at {user_line()})")
    return core.mean(core.equal(predicted, y))


def r2(y: Any, predicted: Array) -> Array:
    """1 - residual over total sum of squares, of y's fixed point."""
    y = real(y) if isinstance(y, Array) else add(multiply(predicted, 0), public(y, "y"))
    if y.shape != predicted.shape:
        raise ShapeMismatch(f"y has shape {y.shape}, the prediction {predicted.shape} (at {user_line()})")
    centred, missed = subtract(y, core.mean(y)), subtract(y, predicted)
    down, _ = power_scale(largest(centred, 0))  # in these units squares are below 1
    units = [multiply(fine(v), down) for v in (centred, missed)]
    total, rest = (core.shift_right(core.sum(at_bits("mul", v, v, 32)), len(y).bit_length()) for v in units)
    return astype(subtract(1, quotient(rest, total)), predicted.dtype)


def divided(total: Array, n: int) -> Array:
    """A sum of n numbers over n: by a power of two first, so that the other factor takes no more bits than the dtype has."""
    bits = n.bit_length() - 1
    return multiply(core.shift_right(total, bits), (1 << bits) / n)


def squared_distances(x: Any, centres: Any) -> Array:
    """(samples, centres) of |x - c|^2 - |x|^2, by one product: enough to see which centre is nearest."""
    flip = views.transpose if isinstance(centres, Array) else np.transpose
    norms = core.sum(core.square(centres), 1) if isinstance(centres, Array) else np.sum(np.square(centres), 1)
    return subtract(row(norms) if isinstance(norms, Array) else norms[None], multiply(matmul(x, flip(centres)), 2))
