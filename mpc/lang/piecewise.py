"""Fitting piecewise polynomials at trace time, in float64."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

Real = Callable[[np.ndarray], np.ndarray]


class Pieces(NamedTuple):
    """Piece i covers [knots[i-1], knots[i]): sum_j coefficients[i, j] (x - centres[i])^j."""

    knots: np.ndarray  # (K - 1,)
    centres: np.ndarray  # (K,)
    coefficients: np.ndarray  # (K, degree + 1)


def _polynomial(f: Real, low: float, high: float, degree: int) -> tuple[np.ndarray, float]:
    """(coefficients around the centre, maximal error) of the interpolation at Chebyshev points."""
    centre, half = (low + high) / 2, (high - low) / 2
    nodes = np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
    p = np.polynomial.polynomial.polyfit(nodes, f(centre + half * nodes), degree)
    grid = np.linspace(-1, 1, 201)
    error = float(np.max(np.abs(np.polynomial.polynomial.polyval(grid, p) - f(centre + half * grid))))
    return p / half ** np.arange(degree + 1), error


@lru_cache(maxsize=256)
def fit(
    f: Real, low: float, high: float, tol: float, degree: int, left: float | None = None, right: float | None = None
) -> Pieces:
    """The fewest pieces of one degree with error at most `tol` on [low, high].

    `left`, `right`: constant values below and above; without them the outer pieces continue.
    """
    edges = [low]
    while edges[-1] < high:
        start, stop = edges[-1], high
        if _polynomial(f, start, stop, degree)[1] > tol:
            good, bad = start, stop
            for _ in range(30):
                middle = (good + bad) / 2
                good, bad = (middle, bad) if _polynomial(f, start, middle, degree)[1] <= tol else (good, middle)
            if good == start:
                raise ValueError(f"no polynomial of degree {degree} reaches an error of {tol}")
            stop = good
        edges.append(stop)
    count = len(edges) - 1
    even = np.linspace(low, high, count + 1)  # spread the slack if uniform pieces will do
    if all(_polynomial(f, a, b, degree)[1] <= tol for a, b in pairwise(even)):
        edges = list(even)
    centres = [(a + b) / 2 for a, b in pairwise(edges)]
    rows = [_polynomial(f, a, b, degree)[0] for a, b in pairwise(edges)]
    knots = edges[1:-1]
    for value, at in ((left, 0), (right, len(rows) + 1)):
        if value is not None:
            row = np.zeros(degree + 1)
            row[0] = value
            where = 0 if at == 0 else len(rows)
            rows.insert(where, row)
            centres.insert(where, low if at == 0 else high)
            knots.insert(where if at == 0 else len(knots), low if at == 0 else high)
    return Pieces(np.array(knots), np.array(centres), np.array(rows))
