"""What options say: inputs and shapes by name, dtypes."""

from __future__ import annotations

import re
from collections.abc import Collection

from ..errors import UsageError
from ..ir.types import BOOL, DType, field, fixed32, fixed64, fixed128, integer
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
    dtype = BOOL if kind == "bool" else integer(kind) or real(kind)
    if dtype is None:
        raise UsageError(f"--shape {text}: no dtype {kind!r}; there are bool, int8 to int64, uint8 to uint64, {REALS}")
    return found, dtype


FIXED = {"fixed32": fixed32, "fixed64": fixed64, "fixed128": fixed128}
REALS = "fixed64, fixed64.20 (fraction bits), fixed128.40, fixed32.8 and field.2^61-1 (a prime, or several with commas)"


def real(name: str) -> DType | None:
    """The dtype that a session may have: `fixed128.40`, `fixed128`, `field.2^61-1`; None if this is none."""
    kind, _, rest = name.partition(".")
    if kind in FIXED and (not rest or rest.isdigit()):
        return FIXED[kind](*map(int, filter(None, [rest])))
    primes = [re.fullmatch(r"(?:2\^(\d{1,2})-)?(\d+)", p) for p in rest.split(",")]
    if kind != "field" or not all(primes):
        return None
    return field(*((1 << int(p[1])) - int(p[2]) if p[1] else int(p[2]) for p in primes if p))


def session_dtype(text: str | None, shapes: Collection[DType | None]) -> DType | None:
    """What `--dtype` says; without it the dtype of a shape that is of another ring than fixed64; None: the default."""
    if text is None:
        usual = fixed64().ring
        return next((d for d in shapes if d is not None and d.ring != usual), None)
    dtype = real(text)
    if dtype is None:
        raise UsageError(f"--dtype {text}: there are {REALS}")
    return dtype
