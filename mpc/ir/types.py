"""Types of a program's values: shape, dtype, and whether the value is public or secret."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from ..errors import TypeMismatch, UsageError

INTEGERS = {"int": (64, True)} | {  # kind -> (width in bits, whether signed)
    f"{name}{bits}": (bits, name == "int")
    for name in ("int", "uint")
    for bits in (8, 16, 32, 64)
    if (name, bits) != ("int", 64)
}


@dataclass(frozen=True, slots=True)
class DType:
    """`fixed` (integers at scale 2^fraction in 64 bits), `bool`, `int` (int64) or another of INTEGERS, by its name.

    The word of an integer of w bits is known modulo 2^w only: sums and products need not care, and whatever reads more than
    the lowest w bits extends the word first.
    """

    kind: str
    fraction: int = 0

    def __str__(self) -> str:
        return {"fixed": f"fixed64.{self.fraction}", "int": "int64"}.get(self.kind, self.kind)

    @property
    def is_bool(self) -> bool:
        return self.kind == "bool"

    @property
    def is_int(self) -> bool:
        return self.kind in INTEGERS

    @property
    def wraps(self) -> bool:
        """Whether it is an integer type other than int64, which the engine computes with."""
        return self.is_int and self.kind != "int"

    @property
    def width(self) -> int:
        """Bits of an integer."""
        return INTEGERS[self.kind][0]

    @property
    def signed(self) -> bool:
        return INTEGERS[self.kind][1]

    @property
    def bounds(self) -> tuple[int, int]:
        """The smallest and the largest integer."""
        return (-(1 << self.width - 1), (1 << self.width - 1) - 1) if self.signed else (0, (1 << self.width) - 1)


def fixed64(fraction_bits: int = 16) -> DType:
    """Real numbers in 64 bits with `fraction_bits` bits after the point: resolution 2^-f, products up to 2^(61-2f)."""
    if not 1 <= fraction_bits <= 40:
        raise UsageError(f"fixed64({fraction_bits}): the number of fraction bits must be from 1 to 40")
    return DType("fixed", fraction_bits)


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
