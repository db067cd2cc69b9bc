"""What parties of different hosts tell each other before anything else, and what must be the same at all of them."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from itertools import zip_longest

import msgspec
import numpy as np

from ..errors import ProgramMismatch, ProtocolError, UsageError
from ..ir.types import INTEGERS, DType
from ..net.channel import Channel
from ..net.frame import printable
from ..ring.ring import Ring
from ..ring.rings import ring_of

LIMIT = 4 << 20  # bytes of terms: a program's text, mostly
LARGEST = 1 << 40  # elements of an input


class Supplied(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The type of an input: what the others need to know of it."""

    shape: list[int]
    kind: str
    fraction: int
    ring: str = Ring.name

    @property
    def dtype(self) -> DType:
        return DType(self.kind, self.fraction, self.ring)


class Terms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one party comes with."""

    common: list[tuple[str, str]]  # (what, value): must be the same at all
    source: str  # text of the program file: must be the same at all
    inputs: dict[str, Supplied]  # what this party supplies
    stored: dict[str, list[bytes]] = {}  # what it holds of results of earlier runs: name -> marks of the saves
    problem: str = ""  # with one of these
    approval: str = ""  # its signed approval, if it has one
    nonce: bytes = b""  # fresh: no two sessions have the same id


# Made once, here: msgspec learns what a class is at its first use, and a process dies if two threads do that at once (0.22).
_terms = msgspec.msgpack.Decoder(Terms).decode


def exchange(channel: Channel, mine: Terms) -> tuple[list[Terms], bytes]:
    """The terms of all parties in order, and the 16-byte id of the session that follows from them.

    Two messages to every party, before any key or share. The id covers what every party said to this one: who was told
    something else computes another id, and the first message ends the session. Raises ProtocolError for terms that are none.
    """
    data = msgspec.msgpack.encode(msgspec.structs.replace(mine, nonce=secrets.token_bytes(32)))
    peers = [p for p in range(channel.parties) if p != channel.me]
    for p in peers:
        channel.send(p, 0, [np.array([len(data)], "<u8")])
        channel.send(p, 0, [np.frombuffer(data, np.uint8)])
    all_data = {channel.me: data}
    for p in peers:
        size = int(channel.recv(p, 0, [("<u8", (1,))])[0][0])
        if size > LIMIT:
            raise ProtocolError(p, f"terms of {size} bytes; at most {LIMIT} are read")
        all_data[p] = channel.recv(p, 0, [("|u1", (size,))])[0].tobytes()
    h = hashlib.blake2b(digest_size=16, person=b"mpc session v1")
    for p in range(channel.parties):
        h.update(len(all_data[p]).to_bytes(8, "little") + all_data[p])
    return [_read(all_data[p], p) for p in range(channel.parties)], h.digest()


def _read(data: bytes, party: int) -> Terms:
    try:
        terms = _terms(data)
    except (ValueError, RecursionError):
        raise ProtocolError(party, "terms that cannot be read") from None
    for supplied in terms.inputs.values():
        size = 1
        for n in supplied.shape:
            size *= n
        if any(n < 0 for n in supplied.shape) or len(supplied.shape) > 32 or size > LARGEST or not _is_dtype(supplied):
            raise ProtocolError(party, "the type of an input that cannot be")
    return terms


def _is_dtype(d: Supplied) -> bool:
    try:
        if ring_of(d.ring).primes:
            return d.kind in ("bool", "int") and not d.fraction
    except UsageError:
        return False
    return (d.kind in ("bool", *INTEGERS) and not d.fraction) or (d.kind == "fixed" and 1 <= d.fraction <= 60)


def compare(terms: Sequence[Terms], names: Sequence[str]) -> None:
    """Raises ProgramMismatch with the first difference. All parties compare with party 0, so all name the same one."""
    first = terms[0]
    for name, other in zip(names[1:], terms[1:], strict=True):
        for (what, here), (theirs, there) in zip_longest(first.common, other.common, fillvalue=("nothing", "")):
            if (what, here) != (theirs, there):
                raise ProgramMismatch(
                    f"{names[0]} and {name} differ: {_show(what, here)} at {names[0]}, {_show(theirs, there)} at {name}. "
                    "Nothing was sent."
                )
        if first.source != other.source:
            difference = _line(first.source, other.source, names[0], name)
            raise ProgramMismatch(
                f"{names[0]} and {name} run different programs. First difference: {difference}. Nothing was sent."
            )


def _show(what: str, value: str) -> str:
    return printable(f"{what} {value}"[:160])


def _line(mine: str, theirs: str, me: str, them: str) -> str:
    """In words: the first line in which two texts differ."""
    pairs = zip_longest(mine.splitlines(), theirs.splitlines())
    for number, (here, there) in enumerate(pairs, 1):
        if here != there:
            a, b = ("no such line" if x is None else f"`{printable(x.strip()[:100])}`" for x in (here, there))
            if a == b:
                return f"line {number}, in its spaces"
            return f"line {number}: {a} at {me}, {b} at {them}"
    return "the end of the file"
