"""Exact integers and fractions from residues: how large results can be, which primes hold them, and how they are read.

Residues modulo primes p_1 .. p_k are one number modulo P = p_1 ... p_k (Chinese remainders). An integer d is known from it
if |d| < P / 2; a fraction u / v if P > 2 U V for bounds |u| <= U and 0 < v <= V: no two such fractions agree modulo P
(Wang, Guy, Davenport, P-adic reconstruction of rational numbers, SIGSAM Bulletin 1982).
"""

from __future__ import annotations

from fractions import Fraction
from math import isqrt

import gmpy2

from ..errors import RangeError

MERSENNE, BELOW = 2**61 - 1, 2**63  # the prime with the fastest kernels; all others are just below 2^63


def hadamard(n: int, bound: int, last: int | None = None) -> int:
    """The largest |determinant| that n columns of n integers can have: all |entries| <= bound, of one column <= `last`.

    Hadamard's inequality: the product of the columns' lengths, each at most bound sqrt(n).
    """
    if n == 0:
        return 1
    return isqrt(n**n * bound ** (2 * (n - 1)) * (bound if last is None else last) ** 2)


def fraction_bounds(n: int, bound: int, right: int | None = None) -> tuple[int, int]:
    """(largest |numerator|, largest denominator) of the entries of x with A x = b, |entries of A| <= bound, of b <= right.

    Cramer's rule: x_i is a quotient of two determinants, and its lowest terms divide them.
    """
    return hadamard(n, bound, right), hadamard(n, bound)


def primes_above(size: int) -> tuple[int, ...]:
    """Primes with a product above `size`: 2^61 - 1 if it does, else as many as it takes of the largest below 2^63."""
    if size < MERSENNE:
        return (MERSENNE,)
    primes, product = [gmpy2.mpz(BELOW)], 1
    while product <= size:
        primes.append(gmpy2.prev_prime(primes[-1]))
        product *= primes[-1]
    return tuple(int(p) for p in primes[1:])


def rational(residue: int, modulus: int, numerator: int, denominator: int) -> Fraction:
    """The fraction u / v with v x = u modulo `modulus`, |u| <= numerator and 0 < v <= denominator; there is one at most, for
    modulus > 2 numerator denominator. Raises RangeError where there is none."""
    if modulus <= 2 * numerator * denominator:
        raise RangeError(f"fractions of {numerator} / {denominator} are ambiguous modulo {modulus}: take more primes")
    # Euclid's remainders: every r satisfies v residue = r modulo `modulus`; the first small one is the numerator
    r, v, before, v_before = gmpy2.mpz(residue) % modulus, gmpy2.mpz(1), gmpy2.mpz(modulus), gmpy2.mpz(0)
    while r > numerator:
        q = before // r
        r, before = before - q * r, r
        v, v_before = v_before - q * v, v
    if abs(v) > denominator or gmpy2.gcd(r, v) != 1:
        raise RangeError(
            "a result is no fraction within the bounds: an entry is larger than was declared. Declare a larger bound, and a "
            "field for it (mpc.linalg.exact_field)."
        )
    return Fraction(int(r), int(v))
