"""What can be asked about dtypes. Promotion (`ir.types.promote`): bool -> integers -> fixed64(f). As in NumPy, of two widths
the wider, of a signed and an unsigned integer a signed one that holds both; of two scales the finer.

Public operands are Python numbers and NumPy arrays. Python's take the secret's dtype, NumPy's integers promote a narrower
secret, and an int64 or fixed-point secret keeps its dtype. A public fraction with an integer gives the session's fixed point.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from ..errors import TypeMismatch
from ..ir.types import DType, promote
from .array import Array
from .widths import plain_dtype


class IntegerInfo(NamedTuple):
    bits: int
    min: int
    max: int
    dtype: DType


class FixedInfo(NamedTuple):
    """`eps`: the distance of neighbours, everywhere. `max`: what an input may be; products need more room."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: DType


def _dtype_of(value: Any) -> Any:
    return value.dtype if isinstance(value, (Array, np.ndarray)) else value


def iinfo(dtype: Any) -> Any:
    """Limits of an integer type of secrets or of NumPy."""
    dtype = _dtype_of(dtype)
    if not isinstance(dtype, DType):
        return np.iinfo(dtype)
    if not dtype.is_int:
        raise TypeMismatch(f"iinfo of {dtype}: int8 to int64 and uint8 to uint64 are the integer types of secrets")
    return IntegerInfo(dtype.width, *dtype.bounds, dtype)


def finfo(dtype: Any) -> Any:
    """Limits of a fixed point, or of a NumPy float."""
    dtype = _dtype_of(dtype)
    if isinstance(dtype, DType):
        if dtype.kind != "fixed":
            raise TypeMismatch(f"finfo of {dtype}: fixed64(f) are the real types of secrets")
        eps, end = 2.0**-dtype.fraction, 2.0 ** (dtype.bits - 2 - dtype.fraction)
        most = min(end - eps, math.nextafter(end, 0))  # as float64
        return FixedInfo(dtype.bits, eps, most, -most, eps, dtype)
    return np.finfo(dtype)


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether a dtype is of a kind: "bool", "integral", "signed integer", "unsigned integer", "real floating", "numeric", or a
    tuple of kinds."""
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    if isinstance(kind, DType) or not isinstance(dtype, DType):
        return dtype == kind if isinstance(kind, DType) else bool(np.isdtype(dtype, kind))
    if dtype.is_bool:
        return bool(kind == "bool")
    if not dtype.is_int:
        return kind in ("real floating", "numeric")
    return kind in ("integral", "numeric", "signed integer" if dtype.signed else "unsigned integer")


def _secret_dtype(value: Any) -> DType | None:
    """The dtype that an operand asks for; None for public reals, which take the secret's scale."""
    value = _dtype_of(value)
    if isinstance(value, DType):
        return value
    return plain_dtype(np.dtype(value) if isinstance(value, (np.dtype, type)) else np.asarray(value).dtype)


def _is_weak(value: Any) -> bool:
    """Whether an operand takes the dtype of the others: Python's numbers."""
    return isinstance(value, (int, float)) and not isinstance(value, (bool, np.generic))


def result_type(*operands: Any) -> Any:
    """The dtype of a sum of these arrays, dtypes and numbers."""
    if not any(isinstance(_dtype_of(v), DType) for v in operands):
        return np.result_type(*operands)
    known = [d for d in map(_secret_dtype, (v for v in operands if not _is_weak(v))) if d is not None]
    best = functools.reduce(promote, known)
    if best.kind != "fixed" and any(_secret_dtype(v) is None for v in operands):
        raise TypeMismatch(
            f"{best} with a public fraction gives the session's fixed point: name it with .astype(mpc.fixed64(f))"
        )
    return best


def can_cast(source: Any, target: DType) -> bool:
    """Whether every value of a dtype keeps its value as the other."""
    dtype = _secret_dtype(source)
    if dtype is None or (dtype.is_int and not target.is_int):
        return False
    if dtype.is_int:
        return target.bounds[0] <= dtype.bounds[0] and dtype.bounds[1] <= target.bounds[1]
    return promote(dtype, target) == target
