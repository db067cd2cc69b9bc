"""Models whose numbers are one party's secret, while their structure is public: linear models and networks.

All numbers of a model are one vector, so that it is one input of a program. A party that only knows the structure writes it
down (`Linear(30, 1, "sigmoid")`) and can plan, audit and run the same program.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from ..errors import NotFitted, ShapeMismatch, UsageError
from ..ir.trace import user_line
from ..ir.types import INT64
from ..lang import core, manipulation
from ..lang.array import Array
from ..lang.core import add, astype, matmul, subtract
from ..lang.elementwise import argmax, relu, sigmoid, tanh
from ..lang.session import Session
from ..lang.views import getitem
from ..lang.wide import softmax
from .estimator import Estimator, accuracy, public, r2, rows_of

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {"relu": relu, "tanh": tanh, "logistic": sigmoid, "identity": lambda x: x}
LINKS = ("number", "sigmoid", "softmax", "share", "sign")


class Model(Estimator):
    """A trained model: a public structure, and `numbers`, a vector that is public, secret, or unknown so far (None).

    link says what scores mean: "number" (a regression), "sigmoid" and "softmax" (probabilities follow by that function),
    "share" (they are probabilities), "sign" (classes alone). One score decides between two classes by its sign.
    """

    link: str
    numbers: Any
    features: int
    outputs: int

    @property
    @abstractmethod
    def shapes(self) -> list[tuple[int, ...]]:
        """Of the arrays that the numbers are cut into."""

    @property
    def inputs(self) -> int:
        """How many features a sample has."""
        return self.features

    @property
    def scores(self) -> int:
        """How many scores a sample gets."""
        return self.outputs

    @abstractmethod
    def decision_function(self, x: Any) -> Any:
        """Scores (samples, scores) of secret or public samples."""

    def __post_init__(self) -> None:
        if self.link not in LINKS:
            raise UsageError(f"link={self.link!r} at {user_line()}: choose {', '.join(LINKS)}")

    @property
    def size(self) -> int:
        """How many numbers the model has: the shape of its input is (size,)."""
        return sum(math.prod(shape) for shape in self.shapes)

    def bind(self, numbers: Any) -> Self:
        """The same structure with these numbers: a secret vector (an input of a program or session), or a public one."""
        numbers = numbers if isinstance(numbers, Array) else public(numbers, "numbers")
        if numbers.shape != (self.size,):
            raise ShapeMismatch(f"numbers have shape {numbers.shape} at {user_line()}; {self!r} takes a vector of {self.size}")
        bound = copy(self)
        bound.numbers = numbers
        return bound

    def share(self, session: Session, owner: int | str = 0) -> Self:
        """The model with its numbers as a secret input of `owner` to a session."""
        return self.bind(session.input(self._known(), owner, name=type(self).__name__))

    def _known(self) -> Any:
        if self.numbers is None:
            raise NotFitted(
                f"{type(self).__name__} has no numbers at {user_line()}: bind(numbers) a secret input of its owner, "
                "or make it with from_sklearn"
            )
        return self.numbers

    def _parts(self) -> list[Any]:
        numbers, at, parts = self._known(), 0, []
        for shape in self.shapes:
            parts.append(numbers[at : at + math.prod(shape)].reshape(shape))
            at += math.prod(shape)
        return parts

    def predict(self, x: Any) -> Any:
        """The place of the class (int64), or the number (samples, or samples x outputs)."""
        scores = self.decision_function(x)
        one = scores.shape[1] == 1
        if self.link == "number":
            return getitem(scores, (slice(None), 0)) if one else scores
        return astype(core.greater(getitem(scores, (slice(None), 0)), 0), INT64) if one else argmax(scores, 1)

    def predict_proba(self, x: Any) -> Any:
        """Probabilities (samples, classes). Raises UsageError where the model has none."""
        if self.link not in ("sigmoid", "softmax", "share"):
            raise UsageError(f"{type(self).__name__} with link={self.link!r} has no probabilities (at {user_line()})")
        scores = self.decision_function(x)
        if self.link == "share":
            return scores
        if self.link == "softmax":
            return softmax(scores)
        p = sigmoid(scores)
        return manipulation.concatenate([subtract(1, p), p], 1) if self.scores == 1 else p

    def score(self, x: Any, y: Any) -> Array:
        """R^2 of numbers, the share of right classes otherwise."""
        found = self.predict(x)
        return r2(y, found) if self.link == "number" else accuracy(y, found)


def flat(arrays: Sequence[Any]) -> np.ndarray:
    """The numbers of a model as one vector."""
    return np.concatenate([np.ravel(np.asarray(a, float)) for a in arrays])


@dataclass(eq=False)
class Linear(Model):
    """x @ weights + intercepts: linear and logistic regression, ridge, linear support vector machines. Numbers: weights
    (features, outputs), intercepts (outputs)."""

    features: int
    outputs: int = 1
    link: str = "number"
    numbers: Any = field(default=None, repr=False)

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        return [(self.features, self.outputs), (self.outputs,)]

    def decision_function(self, x: Any) -> Any:
        weights, intercepts = self._parts()
        return add(matmul(rows_of(x, self.features), weights), intercepts)


@dataclass(eq=False)
class Network(Model):
    """Fully connected layers, `sizes` from the features to the outputs; activation relu, tanh, logistic or identity between
    them. Numbers: the weights (in, out) of every layer, then the biases of every layer."""

    sizes: tuple[int, ...]
    activation: str = "relu"
    link: str = "number"
    numbers: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.activation not in ACTIVATIONS or len(self.sizes) < 2:
            raise UsageError(
                f"a network of sizes {self.sizes} with activation={self.activation!r} at {user_line()}: "
                f"two sizes or more, and one of {', '.join(ACTIVATIONS)}"
            )

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        return [*zip(self.sizes, self.sizes[1:], strict=False), *((n,) for n in self.sizes[1:])]

    @property
    def inputs(self) -> int:
        return self.sizes[0]

    @property
    def scores(self) -> int:
        return self.sizes[-1]

    def decision_function(self, x: Any) -> Any:
        x, parts, layers = rows_of(x, self.inputs), self._parts(), len(self.sizes) - 1
        for i in range(layers):
            x = add(matmul(x, parts[i]), parts[layers + i])
            x = ACTIVATIONS[self.activation](x) if i < layers - 1 else x
        return x
