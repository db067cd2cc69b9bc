"""What of the Python Array API standard (2024.12) works on secrets: `python -m mpc.lang.coverage`.

Every name of the standard is supported, refused by nature (with what to write instead), or missing.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

from .array import Array
from .refusals import REFUSED

SECTIONS: dict[str, str] = {
    "constants": "e inf nan newaxis pi",
    "creation": "arange asarray empty empty_like eye from_dlpack full full_like linspace meshgrid ones ones_like tril triu "
    "zeros zeros_like",
    "data types": "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64 complex64 complex128",
    "data type functions": "astype can_cast finfo iinfo isdtype result_type",
    "elementwise": "abs acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_invert bitwise_left_shift bitwise_or "
    "bitwise_right_shift bitwise_xor ceil clip conj copysign cos cosh divide equal exp expm1 floor floor_divide greater "
    "greater_equal hypot imag isfinite isinf isnan less less_equal log log10 log1p log2 logaddexp logical_and logical_not "
    "logical_or logical_xor maximum minimum multiply negative nextafter not_equal positive pow real reciprocal remainder round "
    "sign signbit sin sinh sqrt square subtract tan tanh trunc",
    "indexing": "take take_along_axis",
    "linear algebra": "matmul matrix_transpose tensordot vecdot",
    "manipulation": "broadcast_arrays broadcast_to concat expand_dims flip moveaxis permute_dims repeat reshape roll squeeze "
    "stack tile unstack",
    "searching": "argmax argmin count_nonzero nonzero searchsorted where",
    "set": "unique_all unique_counts unique_inverse unique_values",
    "sorting": "argsort sort",
    "statistical": "cumulative_prod cumulative_sum max mean min prod std sum var",
    "utility": "all any diff",
    "linalg extension": "cholesky cross det diagonal eigh eigvalsh inv matmul matrix_norm matrix_power matrix_rank "
    "matrix_transpose outer pinv qr slogdet solve svd svdvals tensordot trace vecdot vector_norm",
    "fft extension": "fft ifft fftn ifftn rfft irfft rfftn irfftn hfft ihfft fftfreq rfftfreq fftshift ifftshift",
    "array object": "T mT dtype device ndim shape size to_device __abs__ __add__ __and__ __array_namespace__ __bool__ "
    "__complex__ __dlpack__ __dlpack_device__ __eq__ __float__ __floordiv__ __ge__ __getitem__ __gt__ __index__ __int__ "
    "__invert__ __le__ __lshift__ __lt__ __matmul__ __mod__ __mul__ __ne__ __neg__ __or__ __pos__ __pow__ __rshift__ "
    "__setitem__ __sub__ __truediv__ __xor__",
}
_PLAIN = "It would need the value of a secret: choose with mpc.where, or call .reveal() if everyone may know it."
_DEVICE = "Shares live in the memory of the parties' processes; there are no devices to move them between."
_ARRAY = {
    **dict.fromkeys(("__bool__", "__complex__", "__float__", "__index__", "__int__"), _PLAIN),
    **dict.fromkeys(("__dlpack__", "__dlpack_device__"), REFUSED["from_dlpack"]),
    **dict.fromkeys(("device", "to_device"), _DEVICE),
    "__setitem__": "Arrays are immutable: x = x.at[i].set(y).",
}


class Coverage(NamedTuple):
    section: str
    supported: list[str]
    refused: dict[str, str]  # name -> what to write instead
    missing: list[str]


def coverage() -> list[Coverage]:
    """Every section of the standard, against the package as it is."""
    package = sys.modules["mpc"]
    rooms: dict[str, object] = {
        "linalg extension": package.linalg,
        "fft extension": package.fft,
        "array object": Array,
    }
    return [_section(name, names.split(), rooms.get(name, package)) for name, names in SECTIONS.items()]


def _section(section: str, names: list[str], room: object) -> Coverage:
    # arrays have methods that refuse; the package lacks what it refuses
    refused = {n: _ARRAY[n] for n in names if n in _ARRAY} if room is Array else {
        n: REFUSED[n] for n in names if n in REFUSED and not hasattr(room, n)
    }  # fmt: skip
    found = [n for n in names if n not in refused and hasattr(room, n)]
    return Coverage(section, found, refused, [n for n in names if n not in found and n not in refused])


def report() -> str:
    """The table that the command prints."""
    lines = ["section               supported  refused  missing"]
    parts = coverage()
    for c in parts:
        lines.append(f"{c.section:<22}{len(c.supported):>9}{len(c.refused):>9}{len(c.missing):>9}")
    lines += ["", "refused by nature"]
    reasons: dict[str, list[str]] = {}
    for c in parts:
        for name, reason in c.refused.items():
            reasons.setdefault(reason, []).append(name)
    lines += [f"  {' '.join(names)}\n      {reason}" for reason, names in reasons.items()]
    missing = [f"  {c.section}: {' '.join(c.missing)}" for c in parts if c.missing]
    return "\n".join([*lines, "", "missing", *(missing or ["  nothing"])])


if __name__ == "__main__":
    print(report())
