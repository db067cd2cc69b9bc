"""Prime fields, and several at once: Z_P for a product P of primes p_1 .. p_k, each 2^31 < p_i < 2^63.

A word is one residue for each prime, side by side (a residue number system): sums and products are exact modulo P, whatever
its size, and no carry couples the primes. With one prime this is the field Z_p. An integer x stands for its residues; residues
are read as the integer in (-P/2, P/2) that has them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from math import prod
from typing import Any

import gmpy2
import numpy as np

from ..errors import Singular, UsageError
from .bilinear import MATMUL, MUL, Bilinear
from .composed import Composed
from .fixed import fits, integral
from .prg import Stream
from .words import MOST_LIMBS, WORD, Array, several

SMALLEST, LARGEST = 2**31, 2**63
PREFIX = "mod "


class Residues(Composed):
    """Z_P for P = the product of `primes`."""

    def __init__(self, primes: Sequence[int]) -> None:
        super().__init__()
        self.primes = tuple(int(p) for p in primes)
        wrong = [p for p in self.primes if not SMALLEST < p < LARGEST or not gmpy2.is_prime(p)]
        if wrong or not 1 <= len(self.primes) <= MOST_LIMBS or len(set(self.primes)) < len(self.primes):
            raise UsageError(
                f"a field is made of 1 to {MOST_LIMBS} different primes from 2^31 to 2^63 (2^61 - 1 is the fastest), not of "
                f"{', '.join(map(str, wrong or self.primes)) or 'none'}"
            )
        self.name = PREFIX + "*".join(map(str, self.primes))
        self.count, self.modulus = len(self.primes), prod(self.primes)
        self.bits, self.word = 64 * self.count, several(self.count)
        shifts = [64 - p.bit_length() for p in self.primes]
        rows = [(p, s, (2**128 - 1) // (p << s) - 2**64) for p, s in zip(self.primes, shifts, strict=True)]
        self._fields = np.array(rows, WORD).reshape(-1), self.count

    @staticmethod
    def named(name: str) -> Residues:
        """The ring of a type's `ring`. Raises UsageError for a name that no ring has."""
        primes = name.removeprefix(PREFIX).split("*")
        if not all(p.isascii() and p.isdigit() and len(p) < 20 for p in primes):
            raise UsageError(f"no field is named {name[:100]!r}")
        return Residues([int(p) for p in primes])

    @cached_property
    def parts(self) -> list[Residues]:
        """The field of each prime."""
        return [Residues([p]) for p in self.primes]

    # ---- numbers and words ----
    def of(self, values: Any) -> Array:
        """Words of integers of any size, and of fractions: u / v is u times the inverse of v."""
        array = np.asarray(values)
        if array.dtype.kind == "O" or array.dtype == WORD:
            flat = array.astype(object).reshape(-1)
            return self.from_limbs([np.array([_residue(v, p) for v in flat], WORD).reshape(array.shape) for p in self.primes])
        out, signed = self.empty(array.shape), np.asarray(array, np.int64, order="C")
        self.kernels.field_encode_i64(out, signed, out.size, *self._fields)
        return out

    def integers(self, x: Array) -> Array:
        """int64 with one prime, else Python ints in an object array."""
        limbs, half = self.limbs(x), self.modulus // 2
        if self.count == 1:
            return np.asarray(limbs[0].astype(np.int64) - np.where(limbs[0] > half, self.modulus, 0))
        weights = [rest * int(gmpy2.invert(rest, p)) for p in self.primes for rest in [self.modulus // p]]

        def joined(*residues: int) -> int:
            value = sum(int(r) * w for r, w in zip(residues, weights, strict=True)) % self.modulus
            return value - self.modulus if value > half else value

        return np.asarray(np.frompyfunc(joined, self.count, 1)(*limbs), object)

    def holds(self, values: Array) -> bool:
        """Whether they are less than P away from 0: of an element either integer next to 0 may be given."""
        if values.dtype.kind == "f":
            return fits(values, self.modulus.bit_length() - 1)
        return not values.size or max(abs(int(values.min())), abs(int(values.max()))) < self.modulus

    def limbs(self, x: Array) -> list[Array]:
        words = self.solid(x).reshape(-1).view(WORD).reshape(*x.shape, self.count)
        return [np.asarray(words[..., j], order="C") for j in range(self.count)]

    def from_limbs(self, limbs: Sequence[Array]) -> Array:
        return np.stack(limbs, -1).astype(WORD).reshape(-1).view(self.word).reshape(np.shape(limbs[0]))

    def encode(self, x: Array, fraction: int) -> Array:
        """Words of whole numbers in float64. No other has a place in a field (fraction = 0): a type rule sees to it."""
        return self.of(integral(np.asarray(x, np.float64)))

    def decode(self, x: Array, fraction: int) -> Array:
        return self.integers(x).astype(np.float64)

    # ---- arithmetic ----
    def _each(self, kernel: Callable[..., None], x: Array, y: Array) -> Array:
        if x.shape != y.shape:
            x, y = np.broadcast_arrays(x, y)
        x, y = self.solid(x), self.solid(y)
        out = self.empty(x.shape)
        kernel(out, x, y, out.size, *self._fields)
        return out

    def add(self, x: Array, y: Array) -> Array:
        return self._each(self.kernels.field_add_u64, x, y)

    def sub(self, x: Array, y: Array) -> Array:
        return self._each(self.kernels.field_sub_u64, x, y)

    def neg(self, x: Array) -> Array:
        return self.sub(self.of(0), x)

    def mul(self, x: Array, y: Array) -> Array:
        return self._each(self.kernels.field_mul_u64, x, y)

    def is_zero(self, x: Array) -> Array:
        return np.asarray(np.logical_and.reduce([limb == 0 for limb in self.limbs(x)])).astype(np.uint8)

    def sum(self, x: Array, axis: tuple[int, ...]) -> Array:
        kept = [i for i in range(x.ndim) if i not in axis]
        rows, out = self.solid(x.transpose([*kept, *axis])), self.empty(tuple(x.shape[i] for i in kept))
        self.kernels.field_sum_u64(out, rows, out.size, prod(x.shape[i] for i in axis), *self._fields)
        return out

    def cumsum(self, x: Array, axis: int) -> Array:
        rows = self.solid(np.moveaxis(x, axis, -1))
        out = self.empty(rows.shape)
        self.kernels.field_cumsum_u64(out, rows, prod(rows.shape[:-1]), rows.shape[-1], *self._fields)
        return np.moveaxis(out, -1, axis)

    def product(self, f: Bilinear, x: Array, y: Array, start: Array | None = None) -> Array:
        if f is MUL:
            z = self.mul(x, y)
            return z if start is None else self.add(start, z)
        assert f is MATMUL, "a type rule lets no other product through"
        out = self.filled(f.shape(x.shape, y.shape), 0) if start is None else start
        f.accumulate(self._gemm, out, x, y)
        return out

    def _gemm(self, c: Array, a: Array, b: Array) -> None:
        (m, k), p = a.shape, b.shape[1]
        self.kernels.field_matmul_u64(c, self.solid(a), self.solid(b.T), m, p, k, *self._fields)

    def blind(self, x: Array, sign: int, stream: Stream, out: Array | None = None) -> Array:
        x = self.solid(x)
        out = self.empty(x.shape) if out is None else out
        keys = stream.keys
        self.kernels.field_prg_add_u64(out, x, x.size, sign, keys, len(keys), stream.name, stream.at, *self._fields)
        return out

    # ---- inverses of public values: not constant time ----
    def inverse(self, x: Array, matrix: bool) -> Array:
        """1 / x of every element, or the inverses of square matrices (the last two axes). Raises Singular where one is none."""
        limbs = self.limbs(x)
        return self.from_limbs(
            [
                field._matrices(limb) if matrix else field._reciprocals(limb)
                for field, limb in zip(self.parts, limbs, strict=True)
            ]
        )

    def _reciprocals(self, x: Array) -> Array:
        """x^(p - 2) (Fermat). One prime."""
        if not x.all():
            raise Singular(f"division by zero: {np.count_nonzero(x == 0)} of {x.size} divisors are 0 modulo {self.modulus}")
        power = x
        for bit in bin(self.modulus - 2)[3:]:
            power = self.mul(power, power)
            power = self.mul(power, x) if bit == "1" else power
        return power

    def _matrices(self, x: Array) -> Array:
        """Gauss and Jordan, a matrix at a time. One prime."""
        n, inverses = x.shape[-1], np.empty(x.shape, WORD)
        for place in np.ndindex(x.shape[:-2]):
            rows = np.concatenate([x[place], np.eye(n, dtype=WORD)], 1)
            for j in range(n):
                pivots = np.flatnonzero(rows[j:, j]) + j
                if not pivots.size:
                    raise Singular(f"a matrix of shape {x.shape[-2:]} is singular modulo {self.modulus}: its rank is below {n}")
                rows[[j, pivots[0]]] = rows[[pivots[0], j]]
                rows[j] = self.mul(rows[j], self._reciprocals(rows[j, j : j + 1]))
                rest = np.where(np.arange(n) == j, WORD.type(0), rows[:, j])[:, None]
                rows = self.sub(rows, self.mul(rest, rows[j]))
            inverses[place] = rows[:, n:]
        return inverses


def _residue(value: Any, p: int) -> int:
    """Of an integer or a fraction."""
    bottom = value.denominator % p
    if not bottom:
        raise Singular(f"{value} is no element of a field of characteristic {p}")
    return int(value.numerator * gmpy2.invert(bottom, p) % p)
