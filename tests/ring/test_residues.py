"""Rings of residues: integers in and out, arithmetic, and inverses of public values, against Python's integers."""

from __future__ import annotations

from fractions import Fraction
from math import prod

import numpy as np
import pytest
import sympy

from mpc.errors import Singular, UsageError
from mpc.ring.bilinear import MATMUL, MUL
from mpc.ring.residues import Residues
from mpc.ring.rings import ring_of
from mpc.ring.shapes import Shapes

M61, P62, P63 = 2**61 - 1, 2**62 - 57, 2**63 - 25
SYSTEMS = {"one": (M61,), "largest": (P63,), "two": (M61, P63), "three": (P62, M61, 2**31 + 11)}


@pytest.fixture(params=SYSTEMS)
def ring(request: pytest.FixtureRequest) -> Residues:
    return Residues(SYSTEMS[request.param])


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def integers(ring: Residues, rng: np.random.Generator, *shape: int) -> np.ndarray:
    words = rng.integers(0, 2**63, (*shape, 4), np.uint64).astype(object)
    return np.asarray(sum(words[..., k] << 63 * k for k in range(4)) % ring.modulus, object)


def centred(values: np.ndarray, ring: Residues) -> np.ndarray:
    return np.vectorize(lambda v: (v + ring.modulus // 2) % ring.modulus - ring.modulus // 2, otypes=[object])(values)


def test_integers_come_back():
    ring = Residues([M61])
    x = np.array([[0, 1, -1], [5, M61 // 2, -(M61 // 2)]])
    assert ring.integers(ring.of(x)).tolist() == x.tolist()


def test_words(ring: Residues, rng: np.random.Generator):
    x = integers(ring, rng, 3, 4)
    assert ring_of(ring.name).primes == ring.primes and prod(ring.primes) == ring.modulus
    for view in (x, x.T, x[1:, ::2], x[0, :1].reshape(()), x[:0]):
        words = ring.of(view)
        assert words.shape == view.shape and words.dtype == ring.word == Shapes(ring).word
        assert np.array_equal(ring.integers(words), centred(view, ring) if view.size else view)
        assert np.array_equal(ring.from_limbs(ring.limbs(words)), words)
        for p, limb in zip(ring.primes, ring.limbs(words), strict=True):
            assert np.array_equal(limb, view % p)
    assert (
        ring.integers(ring.of(np.array([2**63 - 1, -(2**63)]))).tolist()
        == centred(np.array([2**63 - 1, -(2**63)], object), ring).tolist()
    )
    assert ring.integers(ring.of(np.array([2**64 - 1], np.uint64)))[0] == centred(np.array([2**64 - 1], object), ring)[0]
    assert np.array_equal(ring.of(np.array([True, False])), ring.of([1, 0]))
    assert ring.integers(ring.mul(ring.of(np.array(Fraction(-5, 3), object)), ring.of(3))) == -5


def test_arithmetic(ring: Residues, rng: np.random.Generator):
    x, y, z = (integers(ring, rng, 2, 3, 3) for _ in range(3))
    a, b, c = map(ring.of, (x, y, z))
    for found, want in (
        *(
            (ring.add(a, b), x + y),
            (ring.sub(a, b[:, :1]), x - y[:, :1]),
            (ring.neg(a), -x),
            (ring.mul(a, b[0, 0]), x * y[0, 0]),
        ),
        *(
            (ring.sum(a, (0, 2)), x.sum((0, 2))),
            (ring.sum(a, ()), x),
            (ring.cumsum(a, 1), x.cumsum(1)),
            (ring.cumsum(a, 0), x.cumsum(0)),
        ),
        *((ring.product(MUL, a, b, c.copy()), x * y + z), (ring.product(MATMUL, a, b), x @ y)),
        *((ring.product(MATMUL, a[0].T, b, c.copy()), x[0].T @ y + z), (ring.total([a, b, c]), x + y + z)),
    ):
        assert np.array_equal(ring.integers(found), centred(want, ring))
    assert ring.is_zero(ring.of([0, 1, ring.modulus, ring.primes[0]])).tolist() == [1, 0, 1, int(len(ring.primes) == 1)]


def test_inverses(ring: Residues, rng: np.random.Generator):
    x = integers(ring, rng, 5) + 1
    assert np.array_equal(ring.integers(ring.mul(ring.inverse(ring.of(x), False), ring.of(x))), np.ones(5))
    m = np.array(rng.integers(-9, 9, (2, 4, 4)), object)
    m[1, 0, 0] = 0  # the first pivot is in another row
    found = ring.inverse(ring.of(m), True)
    for k in range(2):
        want = np.array(sympy.Matrix(m[k]).inv_mod(ring.modulus).tolist(), object)
        assert np.array_equal(ring.integers(found[k]), centred(np.vectorize(int, otypes=[object])(want), ring))


def test_what_has_no_inverse(ring: Residues):
    with pytest.raises(Singular, match="1 of 2 divisors"):
        ring.inverse(ring.of([1, 0]), False)
    with pytest.raises(Singular, match="below 2"):
        ring.inverse(ring.of([[1, 2], [2, 4]]), True)
    with pytest.raises(Singular):
        ring.inverse(ring.of([ring.primes[-1]]), False)  # of one of the fields
    with pytest.raises(Singular):
        ring.of(np.array(Fraction(1, ring.primes[0]), object))


@pytest.mark.parametrize("name", ["mod 15", "mod 7", f"mod {M61}*{M61}", "mod 9223372036854775837"])
def test_names_of_no_field(name: str):
    with pytest.raises(UsageError):
        ring_of(name)
