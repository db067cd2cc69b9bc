"""Pieces that share one opened word, at the full size of the ring: relu of a truncated product, products in a chain.

Truncation adds a public d in [0, 2^f) before it takes the floor, so a result in units of 2^-f is the floor or the ceiling
of the exact one: here it is compared with integers of any size, not with floats.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mpc
from mpc.run.chunks import CHUNK

from ..memory import open_session

ULP = 2.0**-16
EDGE = 1 << 45  # words; a product of two is below 2^61
each_setting = pytest.mark.parametrize(("protocol", "n"), [("helper", 3), ("additive", 2), ("additive", 3), ("replicated", 3)])
# the last batch runs in chunks
each_batch = pytest.mark.parametrize(("size", "seed"), [(50_000, 1), (CHUNK - 100, 2), (CHUNK + 30_000, 3)])


def words(size: int, seed: int, bits: int = 22) -> np.ndarray:
    """Random integers of every length up to `bits`, both signs."""
    rng = np.random.default_rng(seed)
    return rng.integers(-(1 << bits), 1 << bits, size) >> rng.integers(0, bits, size)


def pairs(size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Factors: of 0, of +-1 around the multiples of 2^16, of the ends of the domain; then random ones."""
    edges = [(a, b) for a in (0, 1, -1, 2, -2) for b in (0, 1, -1, 1 << 15, 1 << 16, -(1 << 16), 1 << 44)]
    edges += [(m * (1 << 16) + d, s) for m in (0, 1, -1, 5, -5) for d in (-1, 0, 1) for s in (1, -1)]
    edges += [(EDGE - 1, 1 << 15), (1 << 15, 1 - EDGE), (EDGE - 1, -(1 << 15) + 1), ((1 << 30) - 1, 1 << 30)]
    edges += [(1 << 30, -(1 << 30) + 1), (-(1 << 30) + 1, 1 << 30), (EDGE - 1, 1 << 16), (1 - EDGE, 1 << 16)]
    x, y = (np.array(v) for v in zip(*edges, strict=True))
    return np.concatenate([x, words(size, 2 * seed, 29)]), np.concatenate([y, words(size, 2 * seed + 1, 29)])


def integers(revealed: np.ndarray) -> np.ndarray:
    """Units of 2^-16; floats hold them exactly up to 2^53."""
    found = revealed / ULP
    assert (found == np.rint(found)).all()
    return found.astype(np.int64)


def floor_and_ceiling(product: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return product >> 16, -(-product >> 16)


def between(found: np.ndarray, low: np.ndarray, high: np.ndarray) -> bool:
    return bool(((low <= found) & (found <= high)).all())


@each_setting
@each_batch
def test_relu_of_a_truncated_product(protocol: str, n: int, size: int, seed: int):
    X, Y = pairs(size, seed)
    low, high = floor_and_ceiling(X * Y)
    with open_session(protocol, n) as s:
        x, y = s.input(X * ULP, owner=0), s.input(Y * ULP, owner=n - 1)
        t = x * y
        alone, product, relu, negated = map(integers, s.reveal(mpc.nn.relu(x * y), t, mpc.nn.relu(t), mpc.nn.relu(-t)))
    for found in (alone, relu):
        assert ((found == np.maximum(low, 0)) | (found == np.maximum(high, 0))).all()
    assert ((product == low) | (product == high)).all()
    assert np.array_equal(relu, np.maximum(product, 0)), "relu is exact on what the truncation gave"
    assert np.array_equal(negated, np.maximum(-product, 0))
    exact = X * Y % (1 << 16) == 0
    assert np.array_equal(product[exact], low[exact]), "a multiple of 2^16 is not moved"


@each_setting
@each_batch
def test_relu_of_a_truncation_by_a_public_factor(protocol: str, n: int, size: int, seed: int):
    X, _ = pairs(size, seed)
    X = X[np.abs(X) < 1 << 44]
    low, high = floor_and_ceiling(X * 3 << 14)  # 0.75 x
    with open_session(protocol, n) as s:
        t = s.input(X * ULP, owner=0) * 0.75
        product, relu = map(integers, s.reveal(t, mpc.nn.relu(t)))
    assert ((product == low) | (product == high)).all()
    assert np.array_equal(relu, np.maximum(product, 0))


@each_setting
@each_batch
@pytest.mark.parametrize("view", ["whole", "reversed", "rows"])
def test_chained_products(protocol: str, n: int, size: int, seed: int, view: str):
    """((x y) z) z: each step is the floor or the ceiling of the product of what the one before gave."""
    X, Y, Z = words(size, seed), words(size, seed + 10), words(size, seed + 20, 20)
    edges = np.array([0, 1, -1, 1 << 16, -(1 << 16), (1 << 16) + 1, (1 << 15) - 1, (1 << 22) - 1])
    X[:512], Y[:512], Z[:512] = (g.ravel() for g in np.meshgrid(edges, edges, np.minimum(edges, 1 << 20)))
    X[512], Y[512], Z[512] = EDGE - 1, 1 << 14, 2  # the first product near 2^43 units, the second at 2^44 / 2^16

    def seen(a: Any) -> Any:
        return {"whole": a, "reversed": a[::-1], "rows": a.reshape(4, -1)}[view]

    with open_session(protocol, n) as s:
        x, y, z = s.input(X * ULP, owner=0), s.input(Y * ULP, owner=n - 1), s.input(Z * ULP, owner=0)
        first = seen(x * y)
        w = seen(z)
        second = first * w
        third = w * second
        # what is only used, and what is revealed as well; chained on both sides; rectified at the end
        last = mpc.nn.relu(third)
        both = (x * y) * (z * z)
        found = s.reveal(first, second, third, last, both, x * y, z * z)
    one, two, three, rectified, product, xy, _ = map(integers, found)
    W = seen(Z)
    exact = seen(X * Y)
    for got, before in ((one, exact), (two, one * W), (three, two * W)):
        low, high = floor_and_ceiling(before)
        assert ((got == low) | (got == high)).all()
    assert np.array_equal(rectified, np.maximum(three, 0))
    low, high = floor_and_ceiling(X * Y)
    assert ((xy == low) | (xy == high)).all()
    # neither factor of `product` was revealed: each is off by less than a unit
    rest = np.abs(product * 2.0**48 - (X * Y).astype(float) * (Z * Z).astype(float))
    assert (rest < (np.abs(X * Y) / 2.0**16 + np.abs(Z * Z) / 2.0**16 + 2) * 2.0**32 + 2.0**48).all()


@each_setting
@each_batch
def test_a_chain_is_as_good_as_its_steps_when_nothing_else_is_revealed(protocol: str, n: int, size: int, seed: int):
    """x y y y with |y| <= 1: every step adds less than a unit."""
    X, Y = words(size, seed, 24), np.clip(words(size, seed + 10, 17), -(1 << 16), 1 << 16)
    with open_session(protocol, n) as s:
        x, y = s.input(X * ULP, owner=0), s.input(Y * ULP, owner=n - 1)
        found = integers((x * y * y * y).reveal())
    low = high = X
    for _ in range(3):
        products = np.stack([low * Y, high * Y])
        low, high = products.min(0) >> 16, -(-products.max(0) >> 16)
    assert between(found, low, high)


BATCH = 1 << 20
# 10^6 in every run of the tests, 10^8 where time does not matter
each_amount = pytest.mark.parametrize("batches", [1, pytest.param(96, marks=pytest.mark.slow)])


def spread(size: int, bits: int, rng: np.random.Generator) -> np.ndarray:
    """Integers of every length below 2^bits, both signs, and the powers of two with their neighbours."""
    x = rng.integers(-(1 << bits), 1 << bits, size) >> rng.integers(0, bits, size)
    powers = 1 << rng.integers(0, bits, size // 4)
    x[: size // 4] = np.where(rng.random(size // 4) < 0.5, powers, -powers) + rng.integers(-1, 2, size // 4)
    return np.clip(x, -(1 << bits), (1 << bits) - 1)


@each_amount
def test_comparisons_make_no_error(batches: int):
    """On pairs that are equal, next to each other, or far apart."""
    for batch in range(batches):
        rng = np.random.default_rng(1000 + batch)
        X = spread(BATCH, 61, rng)
        Y = np.where(rng.random(BATCH) < 0.5, X + rng.integers(-1, 2, BATCH), spread(BATCH, 61, rng))
        with open_session("helper", 3, seed=batch) as s:
            x, y = s.input(X, owner=0), s.input(Y, owner=1)
            less, equal, relu = s.reveal(x < y, x == y, mpc.nn.relu(x))
        assert np.count_nonzero(less != (X < Y)) == 0
        assert np.count_nonzero(equal != (X == Y)) == 0
        assert np.count_nonzero(relu != np.maximum(X, 0)) == 0


@each_amount
@pytest.mark.parametrize("rounding", ["floor", "nearest"])
def test_exact_truncations_make_no_error(batches: int, rounding: str):
    for batch in range(batches):
        rng = np.random.default_rng(2000 + batch)
        X, Y = spread(BATCH, 30, rng), spread(BATCH, 30, rng)
        with open_session("helper", 3, rounding, seed=batch) as s:
            found = integers((s.input(X * ULP, owner=0) * s.input(Y * ULP, owner=1)).reveal())
        assert np.count_nonzero(found != (X * Y + (1 << 15 if rounding == "nearest" else 0)) >> 16) == 0
