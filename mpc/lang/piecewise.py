"""Fitting piecewise polynomials at trace time, in float64."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

Real = Callable[[np.ndarray], np.ndarray]
MOST_PIECES = 500  # each is a comparison where there is no one-hot gate


class Tail(NamedTuple):
    """constant + slope * x, outside the range of a curve."""

    constant: float
    slope: int = 0


class Curve(NamedTuple):
    """A real function on [low, high) to be approximated with error at most `tol`, and what it is below and above. Without
    tails the argument is known to be inside. `name` is what its equations are called."""

    f: Real
    low: float
    high: float
    tol: float
    tails: tuple[Tail, Tail] | None = None
    name: str = "curve"


CELLS = 16  # parts of a curve's range whose extremes are noted


@lru_cache(maxsize=256)
def extremes(curve: Curve) -> list[list[float]]:
    """[lowest, highest] value on each of CELLS equal parts of the range, the error of an approximation included; rounded
    outward, so that all machines find the same numbers."""
    with np.errstate(all="ignore"):
        y = curve.f(np.linspace(curve.low, curve.high, 64 * CELLS + 1))
    parts = np.stack([y[i * 64 : (i + 1) * 64 + 1] for i in range(CELLS)])
    low, high = parts.min(1), parts.max(1)
    slack = 2.0**-14 + 2 * curve.tol + (high - low) / 32  # an extreme between two of the 64 points
    ends = np.stack([np.floor((low - slack) * 4096), np.ceil((high + slack) * 4096)], 1) / 4096
    return ends.tolist()  # type: ignore[no-any-return]


class Pieces(NamedTuple):
    """Piece i covers [knots[i-1], knots[i]): sum_j coefficients[i, j] (x - centres[i])^j."""

    knots: np.ndarray  # (K - 1,)
    centres: np.ndarray  # (K,)
    coefficients: np.ndarray  # (K, degree + 1)


@lru_cache(maxsize=16)
def _interpolation(degree: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """On [-1, 1]: Chebyshev points, the matrix from values there to coefficients, a fine grid, and its powers."""
    nodes, grid = np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1)), np.linspace(-1, 1, 201)
    return nodes, np.linalg.inv(np.vander(nodes, increasing=True)), grid, np.vander(grid, degree + 1, increasing=True)


def _polynomial(f: Real, low: float, high: float, degree: int) -> tuple[np.ndarray, float]:
    """(coefficients around the centre, maximal error) of the interpolation at Chebyshev points; infinite if f is not finite."""
    centre, half = (low + high) / 2, (high - low) / 2
    nodes, coefficients, grid, powers = _interpolation(degree)
    with np.errstate(all="ignore"):
        at_nodes, at_grid = f(centre + half * nodes), f(centre + half * grid)
    if not (np.isfinite(at_nodes).all() and np.isfinite(at_grid).all()):
        return nodes, np.inf
    p = coefficients @ at_nodes
    error = float(np.max(np.abs(powers @ p - at_grid)))
    return p / half ** np.arange(degree + 1), error


@lru_cache(maxsize=256)
def fit(curve: Curve, degree: int, widest: float = np.inf) -> Pieces:
    """The fewest pieces of one degree that are good enough, with the tails' constants outside if the curve has tails."""
    f, low, high, tol, tails, _ = curve

    def good_enough(start: float, stop: float) -> bool:
        return stop - start <= widest and _polynomial(f, start, stop, degree)[1] <= tol

    edges = [low]
    while edges[-1] < high:
        start, stop = edges[-1], high
        if not good_enough(start, stop):
            good, bad = start, stop
            for _ in range(20):
                middle = (good + bad) / 2
                good, bad = (middle, bad) if good_enough(start, middle) else (good, middle)
            if good == start or len(edges) > MOST_PIECES:
                raise ValueError(f"{MOST_PIECES} polynomials of degree {degree} do not reach an error of {tol}")
            stop = good
        edges.append(stop)
    count = len(edges) - 1
    even = np.linspace(low, high, count + 1)  # spread the slack if uniform pieces will do
    if all(good_enough(a, b) for a, b in pairwise(even)):
        edges = list(even)
    centres = [(a + b) / 2 for a, b in pairwise(edges)]
    rows = [_polynomial(f, a, b, degree)[0] for a, b in pairwise(edges)]
    knots = edges[1:-1]
    if tails is not None:
        outer = []
        for tail in tails:
            row = np.zeros(degree + 1)
            row[0] = tail.constant
            outer.append(row)
        rows = [outer[0], *rows, outer[1]]
        centres = [low, *centres, high]
        knots = [low, *knots, high]
    return Pieces(np.array(knots), np.array(centres), np.array(rows))


class Plan(NamedTuple):
    """Pieces, and the fraction bits that polynomials and their argument are computed with."""

    pieces: Pieces
    fraction: int


@lru_cache(maxsize=256)
def plan(curve: Curve, fraction: int, word: int = 64) -> Plan:
    """The cheapest pieces for comparisons: a higher degree takes more products and rounds, a lower one more thresholds.

    Raises ValueError if none is good enough.
    """
    best: tuple[float, Plan] | None = None
    problem = ValueError(f"{fraction} fraction bits leave no room for polynomials with an error of {curve.tol}")
    # in 128 bits errors are small and pieces of a low degree many: from above the best is found sooner
    for degree in range(3, 8) if word <= 64 else range(10, 2, -1):
        try:
            found = _fitting(curve, degree, fraction, word)
        except ValueError as error:
            problem = error
            continue
        if found is None:
            continue
        # a threshold takes 13 bytes online and 30 dealt; a product 24, 12 and two rounds, which weigh like as much again
        cost = 45 * len(found.pieces.knots) + 150 * degree
        if best is not None and cost >= best[0]:
            break
        best = cost, found
    if best is None:
        raise problem
    return best[1]


def _fitting(curve: Curve, degree: int, fraction: int, word: int) -> Plan | None:
    """Pieces of one degree that a word can compute; narrow ones if need be, because high powers take bits."""
    for widest in (np.inf, 2.0):
        pieces = fit(curve, degree, widest)
        bits = _work_bits(pieces, curve, fraction, word)
        if bits is not None:
            return Plan(pieces, bits)
    return None


def _work_bits(pieces: Pieces, curve: Curve, fraction: int, word: int) -> int | None:
    """Fraction bits with which no product of Horner's rule leaves its word and rounding stays below the curve's error."""
    edges = np.concatenate([[curve.low], pieces.knots, [curve.high]])
    edges = edges[1:-1] if curve.tails and len(pieces.knots) else edges  # the outer pieces are constants
    centres, rows = (a[1:-1] if curve.tails and len(pieces.knots) else a for a in (pieces.centres, pieces.coefficients))
    half = np.maximum(edges[1:] - centres, centres - edges[:-1])
    reach, y = 1.0, np.abs(rows[:, -1])
    for column in rows.T[-2::-1]:
        reach = max(reach, float((y * half).max()))
        y = y * half + np.abs(column)
    bits = min(fraction + 8, (word - 4 - int(np.ceil(np.log2(reach)))) // 2)
    rounding = (half[:, None] ** np.arange(rows.shape[1])).sum(1).max() * 2.0**-bits
    return bits if bits >= fraction and rounding <= max(curve.tol, 2.0 ** (1 - fraction)) else None


class Window(NamedTuple):
    """Tables for the one-hot spline gate: x - centre is read in a window of k + t bits at scale 2^fraction_in."""

    k: int
    t: int
    centre: int
    tables: np.ndarray  # (degree + 1, 2^k) float64 integers; column j at scale fraction_out - j * fraction_in
    fraction_out: int


@lru_cache(maxsize=256)
def window(curve: Curve, fraction: int, word: int = 64) -> Window | None:
    """The cheapest tables that are good enough for arguments with `fraction` bits, or None if a word cannot hold any.

    Piece i is centred at i 2^t and serves offsets in (-2^t, 2^t), twice its width; the outermost piece at each end is left
    unused, because the borrow wraps there.
    """
    middle = round((curve.low + curve.high) / 2 * 2**fraction) / 2**fraction
    reach = max(curve.high - middle, middle - curve.low)
    for k, degree in ((5, 3), (6, 2), (6, 3), (7, 2), (8, 2), (7, 3), (8, 3), (9, 2)):
        count = 1 << k
        half = int(np.ceil(np.log2(reach / (1 - 2 / count))))  # log2 of half the window
        t = half + 1 + fraction - k
        if t < 1:
            continue
        width = 2.0 ** (t - fraction)
        i = np.arange(count)
        centres = np.where(i >= count // 2, i - count, i) * width
        used = np.abs(centres) <= reach + width
        nodes = np.cos(np.pi * (np.arange(16) + 0.5) / 16)
        with np.errstate(all="ignore"):
            values = curve.f(np.clip(middle + centres + nodes[:, None] * width, curve.low - 2 * width, curve.high + 2 * width))
        values = np.where(used & np.isfinite(values), values, 0.0)
        p = np.polynomial.polynomial.polyfit(nodes, values, degree)
        size = int(np.ceil(np.log2(np.max(np.abs(values)) + 1e-9))) + 1
        most = min(word - 4 - max(size, 0), 24 + degree * fraction)
        for out in (min(most, fraction + 32), most):  # a truncation by 32 bits is dealt half words, and products chain on it
            rows = _rounded(p, width, out, fraction)
            if rows is not None and _error(curve, rows, out, fraction, middle, width) <= curve.tol:
                return Window(k, t, round(middle * 2**fraction), rows, out)
    return None


def _rounded(p: np.ndarray, width: float, out: int, fraction: int) -> np.ndarray | None:
    """Coefficients of offsets in units of `width`, as integers: column j at scale 2^(out - j fraction), if that is one."""
    degree = len(p) - 1
    if out - degree * fraction < 0:
        return None
    return np.stack([np.rint(p[j] / width**j * 2.0 ** (out - j * fraction)) for j in range(degree + 1)])


def _error(curve: Curve, rows: np.ndarray, out: int, fraction: int, middle: float, width: float) -> float:
    """The largest on a grid; each point is served by two pieces."""
    degree, count = len(rows) - 1, rows.shape[1]
    x = np.linspace(curve.low, curve.high, 4001, endpoint=False)
    near = np.floor((x - middle) / width).astype(int)
    with np.errstate(all="ignore"):
        exact = curve.f(x)
    error = 0.0
    for piece in (near, near + 1):
        d = x - middle - piece * width
        y = sum(rows[j][piece % count] / 2.0 ** (out - j * fraction) * d**j for j in range(degree + 1))
        error = max(error, float(np.max(np.abs(y - exact))))
    return error
