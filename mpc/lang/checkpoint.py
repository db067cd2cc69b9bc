"""Saving secret arrays and loading them again: every party keeps its shares, nobody sees a value."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UsageError
from ..run.audit import ZEROS
from ..run.checkpoint import Contents
from . import core
from .array import Array
from .function import _LEAF, flatten, unflatten
from .session import Session


def save(path: str | Path, arrays: Any) -> None:
    """Saves secret arrays in the folder `path`: each party writes its shares to its own file, `party-0.shares`.

    arrays: an array, or tuples, lists and dicts of arrays, numbers and text; what is pending for them is computed. Shares
    at rest are fresh: every party adds a sharing of zero, so they say nothing together with what was sent before. A save
    that is interrupted leaves the one before it. The files of one save belong to one protocol and roster of parties, and
    load together only. Raises CheckpointError if a file cannot be written.
    """
    leaves, structure = flatten(arrays)
    session = leaves[0].scope.session if leaves else None
    if session is None:
        raise UsageError("mpc.save takes secret arrays of a session, at least one, outside functions that are traced")
    session.save(Path(path).absolute(), *to_keep(leaves, structure, session))


def load(path: str | Path, session: Session) -> Any:
    """What `save` was given, in a session of the same protocol and parties; in whatever process, on the parties' machines.

    Raises CheckpointError that names the file if it is missing, damaged, of another save, protocol or party. Then the session
    is closed.
    """
    arrays, structure = session.load(Path(path).absolute())
    return nested(structure, arrays)


def to_keep(leaves: Sequence[Array], structure: Any, session: Session) -> tuple[list[Array], Contents]:
    """(fresh shares of these arrays, what everybody may know of them)."""
    types = [[list(x.shape), *x.dtype.plain] for x in leaves]
    behind = Contents.supplied(session.supplies(leaves))
    contents = Contents(session.protocol_name, list(session.names), types, _plain(structure), behind)
    return [_fresh(x, session) for x in leaves], contents


def nested(structure: Any, arrays: Sequence[Array]) -> Any:
    """The arrays, nested as a checkpoint says."""
    return unflatten(_nested(structure), arrays)


def _fresh(x: Array, session: Session) -> Array:
    """x in shares that no party could have predicted: x plus zeros that every party shares."""
    zeros = np.zeros(x.shape, bool if x.dtype.is_bool else float)
    for owner in range(session.n):
        zero = session.input(zeros, owner, x.dtype, name=ZEROS)
        x = core.bitwise_xor(x, zero) if x.dtype.is_bool else core.add(x, zero)
    return x


def _plain(structure: Any) -> Any:
    """`flatten`'s structure as it can be stored: lists for tuples."""
    if structure == _LEAF:
        return None
    kind, *rest = structure
    if kind == "dict":
        return [kind, [[k, _plain(v)] for k, v in rest[0]]]
    if kind in ("tuple", "list"):
        return [kind, [_plain(v) for v in rest[0]]]
    if kind == "array" or not isinstance(rest[0], (bool, int, float, str, type(None))):
        raise UsageError("mpc.save takes secret arrays, numbers and text: keep plain arrays in files of your own")
    return [kind, rest[0]]


def _nested(plain: Any) -> Any:
    if plain is None:
        return _LEAF
    kind, value = plain
    if kind == "dict":
        return kind, tuple((k, _nested(v)) for k, v in value)
    return (kind, tuple(map(_nested, value))) if kind in ("tuple", "list") else (kind, value)
