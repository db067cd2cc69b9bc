"""Large elementwise operations, a chunk at a time: it stays in the cache, and messages overlap with work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

from msgspec.structs import replace

from ..protocols import pieces
from ..protocols.base import OPERAND, PENDING, SILENT, Origin, Part, Protocol, Share, Steps, Tape, Value, in_order, pipeline
from ..ring.packed import Packed
from ..ring.ring import Ring
from ..ring.shapes import is_blank, room

CHUNK = 1 << 17  # elements: a megabyte of words. Half as many cost a tenth more: twice the Python, cold each time
WINDOW = 3  # chunks in flight: one computes while the others travel
# whether the rest of a loop can be counted instead of run: (address of the loop, iterations done, all, what they read)
Steady = Callable[[int, int, int, Sequence[Value]], bool]


class Later(NamedTuple):
    """Of an equation: which operands are read again after it, and of which results a reader may go on from what a truncation
    opened."""

    operands: tuple[bool, ...] = ()
    results: tuple[bool, ...] = ()


def in_chunks(
    gate: Callable[..., Steps[Any]],
    protocol: Protocol,
    tape: Tape,
    ins: Sequence[Value],
    shape: tuple[int, ...],
    later: Later,
    steady: Callable[[], Steady | None],
) -> Steps[list[Share]]:
    """What `gate(tape, *ins)` makes element by element. What is opened of a chunk is kept with it only while someone reads it
    again, so that long streams take little memory."""
    size = prod(shape)
    while any(isinstance(x, Share) and in_order(x).opening is PENDING for x in ins):  # another equation opens the whole
        yield SILENT
    keep = {id(x): again for x, again in zip(ins, later.operands, strict=True)}
    flat = {id(x): pieces.flat(protocol.ring, x, size, Origin(tape.name, OPERAND + k), keep[id(x)]) for k, x in enumerate(ins)}
    whole: list[Share] = []

    def chunks(i: int) -> dict[int, Value]:
        return {k: pieces.chunk(x, i * CHUNK, min((i + 1) * CHUNK, size), keep[k]) for k, x in flat.items()}

    def lane(i: int) -> Steps[None]:
        cut = chunks(i)
        found = yield from gate(replace(tape, at=i * CHUNK, chunk=i), *(cut[id(x)] for x in ins))
        results = found if isinstance(found, list) else [found]
        if not whole:
            whole.extend(_whole(protocol.ring, y, size, i * CHUNK) for y in results)
        for x, y, goes_on in zip(whole, results, later.results, strict=True):
            _put(protocol, x, y, i * CHUNK, goes_on)

    def repeated(i: int, like: int) -> None:
        _repeated([x for x in (*flat.values(), *whole) if isinstance(x, Share)], i * CHUNK, like * CHUNK)

    yield from _lanes(lane, size, protocol, tape, steady(), repeated)
    results = []
    for x in whole:
        y = Share(tuple(_shaped(p, shape) for p in x.parts), x.origin)
        y.pieces = x.pieces
        results.append(y)
    return results


def revealed_in_chunks(
    reveal: Callable[[Tape, Share], Steps[Part | None]],
    protocol: Protocol,
    tape: Tape,
    x: Share,
    steady: Callable[[], Steady | None],
) -> Steps[Part | None]:
    """What `reveal(tape, x)` reveals: nothing but the value leaves the cache."""
    size = x.size
    flat = [pieces.flatten(protocol.ring, a) for a in x.parts]
    whole: list[Part] = []

    def lane(i: int) -> Steps[None]:
        start, stop = i * CHUNK, min((i + 1) * CHUNK, size)
        piece = Share(tuple(pieces.cut(a, start, stop) for a in flat))
        value = yield from reveal(replace(tape, at=start, chunk=i), piece)
        if value is None:
            return
        if not whole:
            whole.append(room(value, size))
        if not is_blank(value):
            pieces.put(whole[0], value, start)

    yield from _lanes(lane, size, protocol, tape, steady())
    return _shaped(whole[0], x.shape) if whole else None


def _lanes(
    lane: Callable[[int], Steps[None]],
    size: int,
    protocol: Protocol,
    tape: Tape,
    steady: Steady | None,
    repeated: Callable[[int, int], None] = lambda i, like: None,
) -> Steps[None]:
    """Runs `lane(i)` for every chunk i, some at once. In a rehearsal (`steady`) one after the other, until they cost what the
    last ones did: those that are then counted and not run are told to `repeated`, with one that they are like."""

    def lanes() -> Iterator[Steps[None]]:
        i, cycle = 0, protocol.cycle
        cycles = size // CHUNK // cycle
        while i * CHUNK < size:
            yield lane(i)
            i += 1
            full = not i % cycle and i // cycle < cycles
            if steady is not None and full and steady(tape.name.node, i // cycle, cycles, ()):
                for k in range(i, cycles * cycle):
                    repeated(k, k - cycle)
                i = cycles * cycle

    yield from pipeline(lanes(), WINDOW if steady is None else 1)


def _put(protocol: Protocol, whole: Share, y: Share, start: int, goes_on: bool) -> None:
    """The result of a chunk into the whole's."""
    if not protocol.ring.abstract:
        for a, b in zip(whole.parts, y.parts, strict=True):
            pieces.put(a, b, start)
    if goes_on and (y.settled is not None or y.opening is not None):
        piece = Share(tuple(a[start : start + y.size] for a in whole.parts))
        piece.settled, piece.opening = y.settled, y.opening
        whole.pieces = whole.pieces or {}
        whole.pieces[start] = piece


def _repeated(xs: Sequence[Share], start: int, like: int) -> None:
    """In a rehearsal: notes that a chunk that was not run would have left what the one at `like` did."""
    for x in xs:
        if x.pieces is not None and like in x.pieces:
            done, piece = x.pieces[like], Share(x.pieces[like].parts)
            piece.opening, piece.settled = done.opening, done.settled
            x.pieces[start] = piece


def _whole(ring: Ring, y: Share, size: int, start: int) -> Share:
    """Room for the vector of which y is the piece from `start` on, under its mask."""
    parts = (Packed(ring.planes(1, size), (size,)) if isinstance(a, Packed) else ring.empty((size,)) for a in y.parts)
    return Share(tuple(parts), y.origin and y.origin._replace(at=y.origin.at - start))


def _shaped(a: Part, shape: tuple[int, ...]) -> Part:
    return a.reshaped(shape) if isinstance(a, Packed) else a.reshape(shape)
