"""What hides small groups before anybody sees them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeMismatch, TypeMismatch, UsageError
from ..ir.trace import user_line
from ..ir.types import INT64
from .array import Array
from .core import greater_equal, where
from .function import gate
from .views import reshape


def suppress(x: Array, counts: Array | int, least: int) -> Array:
    """x where at least so many individuals are behind it, else 0; nobody learns what was hidden.

    counts: secret int64, how many individuals are behind x[i] (all of x[i], if x has more axes), or a public number that holds
    for all of x. One comparison a count, one choice an element. Where all that is revealed went through `suppress`, a policy
    with `min_group` allows it. It protects single small cells: not a cell that follows from others and their total, nor one
    from two tables that differ by a person. That `counts` counts individuals is for readers of the program to see.
    """
    if not isinstance(least, int) or least < 1:
        raise UsageError(f"suppress: least is a whole number from 1 on, not {least!r} (at {user_line()})")
    if not isinstance(counts, Array):
        if counts < least:
            raise UsageError(f"suppress: {counts} individuals are fewer than {least}: nothing would be left (at {user_line()})")
        return _known(x, rows=int(counts), least=least)
    if counts.dtype != INT64:
        raise TypeMismatch(f"suppress: counts are int64, not {counts.dtype} (at {user_line()})")
    if x.shape[: counts.ndim] != counts.shape:
        raise ShapeMismatch(f"suppress: counts {counts.shape} do not fit the first axes of {x.shape} (at {user_line()})")
    return hidden(x, counts, least=least)


@gate("suppress", lambda *_, **stored: stored)
def hidden(x: Array, counts: Array, *, least: int) -> Array:
    enough = greater_equal(reshape(counts, (*counts.shape, *[1] * (x.ndim - counts.ndim))), least)
    return where(enough, x, np.zeros((), bool) if x.dtype.is_bool else 0)


@gate("suppress", lambda *_, **stored: stored)
def _known(x: Array, *, rows: int, least: int) -> Array:
    return x


BODIES: dict[int, Any] = {2: hidden.__wrapped__, 1: _known.__wrapped__}  # type: ignore[attr-defined] # by number of operands
