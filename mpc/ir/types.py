"""Types of a program's values: shape, dtype, and whether the value is public or secret."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from ..errors import UsageError


@dataclass(frozen=True, slots=True)
class DType:
    """`fixed` (integers at scale 2^fraction in 64 bits), `int` (64 bits, wraps) or `bool`."""

    kind: str
    fraction: int = 0

    def __str__(self) -> str:
        return {"fixed": f"fixed64.{self.fraction}", "int": "int64", "bool": "bool"}[self.kind]

    @property
    def is_bool(self) -> bool:
        return self.kind == "bool"


def fixed64(fraction_bits: int = 16) -> DType:
    """Real numbers in 64 bits with `fraction_bits` bits after the point: resolution 2^-f, products up to 2^(61-2f)."""
    if not 1 <= fraction_bits <= 40:
        raise UsageError(f"fixed64({fraction_bits}): the number of fraction bits must be from 1 to 40")
    return DType("fixed", fraction_bits)


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
