"""The rings that a session may compute in, by the name that types of values bear."""

from __future__ import annotations

from functools import cache

from ..errors import UsageError
from .composed import Narrow
from .residues import PREFIX, Residues
from .ring import Ring
from .wide import Wide

RINGS: dict[str, type[Ring]] = {ring.name: ring for ring in (Narrow, Ring, Wide)}


@cache
def ring_of(name: str) -> Ring:
    """The ring of that name: one for all, since it keeps nothing."""
    if name.startswith(PREFIX):
        return Residues.named(name)
    if name not in RINGS:
        raise UsageError(f"no ring {name!r}; there are {', '.join(RINGS)}")
    return RINGS[name]()
