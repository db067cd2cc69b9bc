"""What can be asked about dtypes. Promotion: bool -> int64 -> fixed64(f), and of two scales the finer one.

Public operands are Python numbers and NumPy arrays; they take the secret's dtype where they fit it exactly (integers of any
width, fractions at the scale of a fixed point). A public fraction with an int64 secret gives the session's fixed point.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..errors import TypeMismatch
from ..ir.types import BOOL, INT64, DType
from .array import Array

KINDS = {"bool": "bool", "int": "integral", "fixed": "real floating"}


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
    """Limits of int64, or of a NumPy integer."""
    dtype = _dtype_of(dtype)
    if dtype == INT64:
        return IntegerInfo(64, -(2**63), 2**63 - 1, INT64)
    if isinstance(dtype, DType):
        raise TypeMismatch(f"iinfo of {dtype}: only int64 is an integer type of secrets")
    return np.iinfo(dtype)


def finfo(dtype: Any) -> Any:
    """Limits of a fixed point, or of a NumPy float."""
    dtype = _dtype_of(dtype)
    if isinstance(dtype, DType):
        if dtype.kind != "fixed":
            raise TypeMismatch(f"finfo of {dtype}: fixed64(f) are the real types of secrets")
        eps = 2.0**-dtype.fraction
        return FixedInfo(64, eps, 2.0 ** (62 - dtype.fraction) - eps, eps - 2.0 ** (62 - dtype.fraction), eps, dtype)
    return np.finfo(dtype)


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether a dtype is of a kind: "bool", "integral", "signed integer", "real floating", "numeric", or a tuple of kinds."""
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    if isinstance(kind, DType) or not isinstance(dtype, DType):
        return dtype == kind if isinstance(kind, DType) else bool(np.isdtype(dtype, kind))
    own = KINDS[dtype.kind]
    return kind == own or (kind == "signed integer" and own == "integral") or (kind == "numeric" and own != "bool")


def _rank(dtype: DType) -> tuple[int, int]:
    return ("bool", "int", "fixed").index(dtype.kind), dtype.fraction


def _secret_dtype(value: Any) -> DType | None:
    """The dtype that an operand asks for; None for public reals, which take the secret's scale."""
    value = _dtype_of(value)
    if isinstance(value, DType):
        return value
    plain = np.dtype(value) if isinstance(value, (np.dtype, type)) else np.asarray(value).dtype
    return {"b": BOOL, "i": INT64, "u": INT64}.get(plain.kind)


def result_type(*operands: Any) -> Any:
    """The dtype of a sum of these arrays, dtypes and numbers."""
    if not any(isinstance(_dtype_of(v), DType) for v in operands):
        return np.result_type(*operands)
    known = [d for d in map(_secret_dtype, operands) if d is not None]
    best = max(known, key=_rank)
    if len(known) < len(operands) and best.kind != "fixed":
        raise TypeMismatch(
            f"{best} with a public fraction gives the session's fixed point: name it with .astype(mpc.fixed64(f))"
        )
    return best


def can_cast(source: Any, target: DType) -> bool:
    """Whether every value of a dtype keeps its value as the other."""
    dtype = _secret_dtype(source)
    return dtype is not None and _rank(dtype) <= _rank(target) and (dtype.kind != "int" or target.kind == "int")
