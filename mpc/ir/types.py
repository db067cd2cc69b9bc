"""Types of a program's values: shape, dtype, and whether the value is public or secret."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

from ..errors import UsageError
from ..ring.ring import Ring
from ..ring.rings import ring_of


@dataclass(frozen=True, slots=True)
class DType:
    """`fixed` (integers at scale 2^fraction), `int` (wraps) or `bool`, in a ring: that of the session, for all its values."""

    kind: str
    fraction: int = 0
    ring: str = Ring.name

    def __str__(self) -> str:
        return {"fixed": f"fixed{self.bits}.{self.fraction}", "int": f"int{self.bits}", "bool": "bool"}[self.kind]

    @property
    def is_bool(self) -> bool:
        return self.kind == "bool"

    @property
    def bits(self) -> int:
        """Of the ring's words."""
        return ring_of(self.ring).bits

    @property
    def plain(self) -> list[Any]:
        """DType's arguments, as programs store them."""
        return [self.kind, self.fraction] if self.ring == Ring.name else [self.kind, self.fraction, self.ring]

    def within(self, ring: str) -> DType:
        """The same kind and scale in another ring."""
        return self if self.ring == ring else replace(self, ring=ring)


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


INT64 = DType("int")
BOOL = DType("bool")


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
