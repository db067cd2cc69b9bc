"""Types of a program's values: shape, dtype, and whether the value is public or secret."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

from ..errors import TypeMismatch, UsageError
from ..ring.residues import Residues
from ..ring.ring import Ring
from ..ring.rings import ring_of

INTEGERS = {"int": (64, True)} | {  # kind -> (width in bits, whether signed)
    f"{name}{bits}": (bits, name == "int")
    for name in ("int", "uint")
    for bits in (8, 16, 32, 64)
    if (name, bits) != ("int", 64)
}


@dataclass(frozen=True, slots=True)
class DType:
    """`fixed` (integers at scale 2^fraction), `bool`, `int` (all of the ring's words) or another of INTEGERS, by its name, in a
    ring: that of the session, for all its values.

    The word of an integer of w bits is known modulo 2^w only: sums and products need not care, and whatever reads more than
    the lowest w bits extends the word first.
    """

    kind: str
    fraction: int = 0
    ring: str = Ring.name

    def __str__(self) -> str:
        if self.primes and not self.is_bool:
            return f"field({', '.join(map(_prime, self.primes))})"
        return {"fixed": f"fixed{self.bits}.{self.fraction}", "int": f"int{self.bits}"}.get(self.kind, self.kind)

    @property
    def is_bool(self) -> bool:
        return self.kind == "bool"

    @property
    def bits(self) -> int:
        """Of the ring's words."""
        return ring_of(self.ring).bits

    @property
    def primes(self) -> tuple[int, ...]:
        """Of a field; none of any other ring."""
        return ring_of(self.ring).primes

    def refuse_field(self, what: str) -> None:
        """Raises TypeMismatch for an element of a field, where `what` has no meaning."""
        if self.primes:
            raise TypeMismatch(
                f"{what} has no meaning in {self}, which has + - * / @ and ==. Open the session with mpc.fixed64(f) or "
                "mpc.fixed128(f) for it, or reveal the numbers first if everyone may know them"
            )

    @property
    def plain(self) -> list[Any]:
        """DType's arguments, as programs store them."""
        return [self.kind, self.fraction] if self.ring == Ring.name else [self.kind, self.fraction, self.ring]

    def within(self, ring: str, where: str = "") -> DType:
        """The same kind and scale in another ring. Raises TypeMismatch for an integer that is narrower than its word, or
        unsigned: words of 64 bits alone have those."""
        if self.ring == ring:
            return self
        if self.wraps:
            raise TypeMismatch(
                f"{self}{where}: integers of that width need words of 64 bits. Write mpc.int64, which is this session's own "
                f"integer ({DType('int', 0, ring)}), or open the session with dtype=mpc.fixed64(f)"
            )
        return replace(self, ring=ring)

    @property
    def is_int(self) -> bool:
        return self.kind in INTEGERS

    @property
    def wraps(self) -> bool:
        """Whether it is an integer type other than that of whole words, which the engine computes with."""
        return self.is_int and self.kind != "int"

    @property
    def width(self) -> int:
        """Bits of an integer."""
        return self.bits if self.kind == "int" else INTEGERS[self.kind][0]

    @property
    def signed(self) -> bool:
        return INTEGERS[self.kind][1]

    @property
    def bounds(self) -> tuple[int, int]:
        """The smallest and the largest integer."""
        if self.primes:
            half = prod(self.primes) // 2
            return -half, half
        return (-(1 << self.width - 1), (1 << self.width - 1) - 1) if self.signed else (0, (1 << self.width) - 1)


def fixed64(fraction_bits: int = 16) -> DType:
    """Real numbers in 64 bits with `fraction_bits` bits after the point: resolution 2^-f, products up to 2^(61-2f)."""
    return _fixed("2^64", fraction_bits, 40)


def fixed128(fraction_bits: int = 40) -> DType:
    """Real numbers in 128 bits: products up to 2^(125-2f). As `dtype` of a session it makes all its numbers 128 bits wide, for
    twice the bytes and some ten times the work."""
    return _fixed("2^128", fraction_bits, 60)


def fixed32(fraction_bits: int = 8) -> DType:
    """Real numbers in 32 bits: products up to 2^(29-2f). As `dtype` of a session it makes all its numbers 32 bits wide, for
    half the bytes: declare the ranges of inputs, which are checked before the run."""
    return _fixed("2^32", fraction_bits, 14)


def _fixed(ring: str, fraction: int, most: int) -> DType:
    dtype = DType("fixed", fraction, ring)
    if not 1 <= fraction <= most:
        raise UsageError(f"fixed{dtype.bits}({fraction}): the number of fraction bits must be from 1 to {most}")
    return dtype


def field(*primes: int) -> DType:
    """Integers modulo a prime, or modulo the product of several: exact sums, products and quotients of any size.

    As `dtype` of a session it makes all its numbers elements of that field. Primes are from 2^31 to 2^63, 32 at most; 2^61 - 1
    is the fastest. Elements are given and revealed as integers between -P/2 and P/2, P the product of the primes; one prime
    gives int64, several Python ints. There is no order among them and no fixed point. Raises UsageError for other numbers.
    """
    return DType("int", 0, Residues(primes).name)


def _prime(p: int) -> str:
    """2^61 - 1, and the like."""
    bits = p.bit_length()
    return f"2^{bits} - {(1 << bits) - p}" if (1 << bits) - p < 1 << 20 else str(p)


INT64 = DType("int")
INT8, INT16, INT32 = (DType(f"int{w}") for w in (8, 16, 32))
UINT8, UINT16, UINT32, UINT64 = (DType(f"uint{w}") for w in (8, 16, 32, 64))
BOOL = DType("bool")


def integer(name: str) -> DType | None:
    """The integer type of this name, e.g. "uint8"; None if there is none."""
    return INT64 if name == "int64" else DType(name) if name in INTEGERS and name != "int" else None


def promote(a: DType, b: DType) -> DType:
    """The dtype of a sum: bool -> integers -> fixed64(f). Of two scales the finer, of two widths the wider one; of an unsigned
    and a signed integer a signed one that holds both. Raises TypeMismatch for uint64 with a signed one: there is none."""
    if not (a.is_int and b.is_int):
        return max(a, b, key=lambda d: (d.kind == "fixed", d.is_int, d.fraction))
    if a.signed == b.signed:
        return max(a, b, key=lambda d: d.width)
    unsigned, signed = (b, a) if a.signed else (a, b)
    width = max(signed.width, 2 * unsigned.width)
    if width == signed.width:
        return signed
    if width > 64:
        raise TypeMismatch(f"no integer type holds both {a} and {b}: convert one of them, e.g. with .astype(mpc.int64)")
    found = integer(f"int{width}")
    assert found is not None
    return found


@dataclass(frozen=True, slots=True)
class Type:
    """An array's type. Only `reveal` turns secret into public."""

    shape: tuple[int, ...]
    dtype: DType
    secret: bool = True

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)}, {'secret' if self.secret else 'public'}"

    @property
    def size(self) -> int:
        return prod(self.shape)

    def with_shape(self, shape: tuple[int, ...]) -> Type:
        return replace(self, shape=shape)

    def with_dtype(self, dtype: DType) -> Type:
        return replace(self, dtype=dtype)
