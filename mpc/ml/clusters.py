"""Clusters: k-means with secret centres and assignments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from ..errors import ShapeMismatch, UsageError
from ..ir.trace import user_line
from ..ir.types import INT64
from ..lang import core, manipulation, views
from ..lang.array import Array
from ..lang.core import add, astype, greater, less, matmul, multiply, subtract, where
from ..lang.elementwise import min, minimum, relu
from ..lang.function import fori
from ..lang.reductions import argmin
from ..lang.views import getitem
from ..linalg.scaling import column, quotient, row
from .estimator import Estimator, one_hot, public, rows_of, secret_rows, squared_distances

GOLDEN = (5**0.5 - 1) / 2  # its multiples modulo 1 are spread evenly over [0, 1)


@dataclass(eq=False)
class KMeans(Estimator):
    """Lloyd's algorithm, a public number of iterations; scale the features first, squared distances stay below 2^(61 - 2f).

    init: "k-means++" (every further centre is a sample, likelier the farther it is from those so far; the public `seed` says
    how far along), the best of `n_init` starts, or a public or secret (clusters, features) array. A cluster that loses all its
    samples keeps its centre.
    Fitted: cluster_centers_ (clusters, features), labels_ (samples, int64), inertia_ (the sum of squared distances).
    About 20 rounds an iteration.
    """

    n_clusters: int = 8
    init: Any = "k-means++"
    n_init: int = 2
    max_iter: int = 10
    seed: int = 0

    def fit(self, x: Any, y: Any = None) -> Self:
        x = secret_rows(x)

        def body(_: Any, centres: Array) -> Array:
            members = one_hot(argmin(squared_distances(x, centres), 1), self.n_clusters)
            counts = column(core.sum(members, 0))
            new = astype(quotient(matmul(views.transpose(members), x), astype(counts, x.dtype)), x.dtype)
            return where(greater(counts, 0), new, centres)

        square = core.sum(core.square(x))
        best: Any = None
        for start in range(self.n_init if isinstance(self.init, str) else 1):
            centres = fori(0, self.max_iter, body, self._start(x, self.seed + start))
            inertia = add(core.sum(min(squared_distances(x, centres), 1)), square)
            if best:
                better = less(inertia, best[1])
                centres, inertia = where(better, centres, best[0]), where(better, inertia, best[1])
            best = centres, inertia
        self.cluster_centers_, self.inertia_ = best
        self.labels_ = argmin(squared_distances(x, self.cluster_centers_), 1)
        return self

    def _start(self, x: Array, seed: int) -> Array:
        shape = (self.n_clusters, x.shape[1])
        if isinstance(self.init, str):
            if self.init != "k-means++":
                raise UsageError(f"init={self.init!r} at {user_line()}: choose k-means++ or give the first centres")
            return self._spread(x, seed)
        init = self.init if isinstance(self.init, Array) else public(self.init, "init")
        if init.shape != shape:
            raise ShapeMismatch(f"init has shape {init.shape} at {user_line()}, not clusters x features {shape}")
        return astype(init, x.dtype) if isinstance(init, Array) else add(multiply(x[: self.n_clusters], 0), init)

    def _spread(self, x: Array, seed: int) -> Array:
        """k-means++ (Arthur and Vassilvitskii, SODA 2007) with public places on the scale of the secret cumulated distances."""
        places = (np.arange(1, self.n_clusters + 1) + seed * self.n_clusters) * GOLDEN % 1
        norms = core.sum(core.square(x), 1)
        first = int(places[0] * x.shape[0])
        centres = [x[first : first + 1]]
        nearest: Array | None = None
        for place in places[1:]:
            distance = add(getitem(squared_distances(x, centres[-1]), (slice(None), 0)), norms)
            nearest = distance if nearest is None else minimum(nearest, distance)
            # rounding may leave a distance a little below 0
            reached = core.cumsum(relu(nearest), 0)
            after = astype(greater(reached, multiply(reached[-1], float(place))), INT64)
            chosen = subtract(after, manipulation.concatenate([np.zeros(1, np.int64), after[:-1]], 0))
            centres.append(matmul(row(chosen), x))
        return manipulation.concatenate(centres, 0)

    def predict(self, x: Any) -> Array:
        """The nearest centre of every row, int64."""
        return argmin(squared_distances(rows_of(x, self.cluster_centers_.shape[1]), self.cluster_centers_), 1)

    def transform(self, x: Any) -> Array:
        """Squared distances to the centres (samples, clusters)."""
        x = rows_of(x, self.cluster_centers_.shape[1])
        norms = core.sum(core.square(x), 1) if isinstance(x, Array) else np.sum(np.square(x), 1)
        return add(squared_distances(x, self.cluster_centers_), norms[:, None])
