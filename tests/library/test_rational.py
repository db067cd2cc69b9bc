"""Bounds of determinants, primes for them, and fractions from residues, against SymPy."""

from __future__ import annotations

import random
from fractions import Fraction
from math import gcd, prod

import pytest
import sympy

from mpc.errors import RangeError
from mpc.linalg.rational import MERSENNE, fraction_bounds, hadamard, primes_above, rational

SOURCE = random.Random(7)


def matrix(n: int, bound: int) -> sympy.Matrix:
    return sympy.Matrix(n, n, lambda i, j: SOURCE.randint(-bound, bound))


def test_two_thirds_modulo_a_prime():
    assert rational(2 * pow(3, -1, MERSENNE), MERSENNE, 1000, 1000) == Fraction(2, 3)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
def test_no_determinant_exceeds_the_bound(n: int):
    for bound in (1, 7, 10**6):
        for _ in range(10):
            assert abs(matrix(n, bound).det()) <= hadamard(n, bound)
    corner = sympy.Matrix(n, n, lambda i, j: 3 if i >= j else -3)
    assert abs(corner.det()) <= hadamard(n, 3)


def test_hadamard_matrices_reach_the_bound():
    h = sympy.Matrix([[1]])
    for n in (1, 2, 4, 8):
        assert abs((5 * h).det()) == hadamard(n, 5)
        h = sympy.Matrix(sympy.BlockMatrix([[h, h], [h, -h]]))
    assert hadamard(0, 5) == 1
    assert hadamard(3, 2, 10) == int((3 * 3 * 3 * 2**4 * 10**2) ** 0.5)


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_solutions_are_within_their_bounds(n: int):
    for bound, right in ((9, 9), (1000, 10**9), (10**9, 3)):
        top, bottom = fraction_bounds(n, bound, right)
        a, b = matrix(n, bound), sympy.Matrix([SOURCE.randint(-right, right) for _ in range(n)])
        for x in a.LUsolve(b) if a.det() else ():
            assert abs(x.p) <= top and x.q <= bottom


@pytest.mark.parametrize("bits", [0, 1, 60, 61, 62, 63, 200, 2000])
def test_primes_hold_a_size(bits: int):
    for size in (2**bits - 1, 2**bits, 2**bits + 1):
        primes = primes_above(size)
        assert prod(primes) > size and len(set(primes)) == len(primes)
        assert all(sympy.isprime(p) and 2**31 < p < 2**63 for p in primes)
        assert len(primes) == 1 or prod(primes[:-1]) <= size, "no more than it takes"


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_fraction_is_found(count: int):
    modulus = prod(primes_above(2 ** (62 * count)))
    for bits in (1, 5, modulus.bit_length() // 2 - 1):
        top, bottom = 1 << bits, (modulus - 1) // 2 >> bits
        for _ in range(100):
            v = SOURCE.randint(1, SOURCE.choice([3, bottom]))
            u = SOURCE.choice([0, 1, -1, top, -top, SOURCE.randint(-top, top)])
            if gcd(v, modulus) == 1:
                assert rational(u * pow(v, -1, modulus), modulus, top, bottom) == Fraction(u, v)


def test_fractions_agree_with_sympy():
    modulus = prod(primes_above(2**200))
    for _ in range(50):
        x = sympy.Rational(SOURCE.randint(-(2**90), 2**90), SOURCE.randint(1, 2**90))
        found = rational(sympy.mod_inverse(x.q, modulus) * x.p % modulus, modulus, 2**90, 2**90)
        assert sympy.Rational(found.numerator, found.denominator) == x


def test_no_fraction_within_the_bounds():
    with pytest.raises(RangeError, match="larger than was declared"):
        rational(123456789 * pow(987654321, -1, MERSENNE), MERSENNE, 1000, 1000)
    with pytest.raises(RangeError, match="more primes"):
        rational(5, MERSENNE, 2**40, 2**40)


def test_all_small_fractions_modulo_a_small_number():
    """By enumeration: what is found is the only fraction, what is refused has none."""
    modulus, top, bottom = 101 * 103, 70, 72
    found = {}
    for v in range(1, bottom + 1):
        for u in range(-top, top + 1):
            if gcd(u, v) == 1:
                found[u * pow(v, -1, modulus) % modulus] = Fraction(u, v)
    for x in range(modulus):
        if x in found:
            assert rational(x, modulus, top, bottom) == found[x]
        else:
            with pytest.raises(RangeError):
                rational(x, modulus, top, bottom)
