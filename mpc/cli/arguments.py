"""What options say: inputs and shapes by name."""

from __future__ import annotations

from collections.abc import Collection

from ..errors import UsageError
from ..ir.types import BOOL, DType, fixed64, integer
from ..lang.program import Program


def named(program: Program, text: str, option: str, example: str, given: Collection[str]) -> tuple[str, str]:
    """(name, value) of `NAME=VALUE`, for an input that the program has and that is not given yet."""
    name, equals, value = text.partition("=")
    if not equals or not value:
        raise UsageError(f"{option} {text}: write NAME=VALUE, for example {option} {example}")
    if name not in program.inputs and (option == "--input" or name not in program.loads):
        known = ", ".join(f"{n} ({i.party})" for n, i in program.inputs.items()) or "none"
        raise UsageError(f"{option} {text}: the program has no input {name!r}; its inputs are {known}")
    if name in given:
        raise UsageError(f"input {name!r} is given twice")
    return name, value


def shape(text: str, value: str) -> tuple[tuple[int, ...], DType | None]:
    """Shape and dtype of `500x30:bool`."""
    lengths, _, kind = value.partition(":")
    try:
        found = tuple(int(n) for n in lengths.lower().split("x")) if lengths != "scalar" else ()
        if any(n < 0 for n in found):
            raise ValueError
    except ValueError:
        raise UsageError(f"--shape {text}: write lengths with x between them, for example a=500x30 (or a=scalar)") from None
    if not kind or kind == "fixed64":
        return found, None
    if kind.startswith("fixed64.") and kind[8:].isdigit():
        return found, fixed64(int(kind[8:]))
    dtype = BOOL if kind == "bool" else integer(kind)
    if dtype is None:
        raise UsageError(
            f"--shape {text}: no dtype {kind!r}; there are bool, int8 to int64, uint8 to uint64, fixed64 and fixed64.20 "
            "(fraction bits)"
        )
    return found, dtype
