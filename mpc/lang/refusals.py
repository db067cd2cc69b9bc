"""Names of the Array API standard that secrets cannot have, with what to write instead."""

from __future__ import annotations

from typing import NoReturn

_SHAPE = "Its result's shape would depend on secret values, and shapes are public. "
_COMPLEX = "There are no complex secrets: keep real and imaginary parts as two arrays (mpc.fft returns such pairs)."
_REAL = "Secret real numbers are fixed point: mpc.fixed64(f) has f bits after the point."
_UNIQUE = _SHAPE + "Sort, and mark the first of each run: a[1:] != a[:-1]."

REFUSED: dict[str, str] = {
    "nonzero": _SHAPE + "Keep the mask: mpc.where(mask, x, 0), mpc.sum(mask), or x * mask.",
    "argwhere": _SHAPE + "Keep the mask: mpc.where(mask, x, 0), mpc.sum(mask), or x * mask.",
    "flatnonzero": _SHAPE + "Keep the mask: mpc.where(mask, x, 0), mpc.sum(mask), or x * mask.",
    "compress": _SHAPE + "Keep the mask: mpc.where(mask, x, 0), or x * mask.",
    "extract": _SHAPE + "Keep the mask: mpc.where(mask, x, 0), or x * mask.",
    "unique": _UNIQUE,
    "unique_all": _UNIQUE,
    "unique_counts": _UNIQUE,
    "unique_inverse": _UNIQUE,
    "unique_values": _UNIQUE,
    "from_dlpack": "A secret has no memory to share. Give plain data to s.input(x), or call .reveal() if everyone may know it.",
    "complex64": _COMPLEX,
    "complex128": _COMPLEX,
    "conj": _COMPLEX,
    "real": _COMPLEX,
    "imag": _COMPLEX,
    "float32": _REAL,
    "float64": _REAL,
    "nextafter": _REAL + " The next number above x is x + 2.0**-f.",
}


def absent(name: str) -> NoReturn:
    """The package's `__getattr__`: what a name that is not there stands for, and what to write."""
    reason = REFUSED.get(name)
    raise AttributeError(f"module 'mpc' has no attribute {name!r}" + (f".\n    {reason}" if reason else ""))
