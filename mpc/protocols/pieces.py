"""An elementwise operation on a large array, piece by piece: what is cut off it, and what it keeps of that.

A piece is a share of its own, with the whole's mask from its first element on. What is opened of pieces stays with the share
that they are cut off (`Share.pieces`) while someone reads it again.
"""

from __future__ import annotations

from functools import partial

from ..ring.packed import Packed
from ..ring.ring import Ring
from .base import Opening, Origin, Part, Share, Value, in_order, is_open


def flatten(ring: Ring, a: Part) -> Part:
    """The numbers or bits of a part as a vector."""
    return a.reshaped((a.size,)) if isinstance(a, Packed) else ring.solid(a).reshape(-1)


def cut(a: Part, start: int, stop: int) -> Part:
    """Elements start .. stop - 1 of a vector."""
    return a.cut(start, stop) if isinstance(a, Packed) else a[start:stop]


def put(whole: Part, a: Part, start: int) -> None:
    """Writes a piece into the vector that it is a piece of."""
    if isinstance(a, Packed):
        whole.words[start // 64 : -(-(start + a.size) // 64)] = a.words
    else:
        whole[start : start + a.size] = a


def flat(ring: Ring, x: Value, size: int, fresh: Origin, keep: bool = False) -> Value:
    """x as a vector of `size` elements, to be cut by `chunk`. A view gets a fresh mask if its own is laid out otherwise.
    keep: what will be opened of its chunks is kept, since x is read again."""
    if not isinstance(x, Share):
        return x.reshape(()) if x.size == 1 else ring.solid(x).reshape(-1)

    vector = partial(flatten, ring)
    whole = in_order(x)
    own = whole.parent is None and whole.origin is not None  # else an opening belongs to the mask of what x is a view of
    y = Share(tuple(map(vector, x.parts)), whole.origin if own else fresh)
    y.settled = x.settled and x.settled.rearranged(vector)
    if own and is_open(whole):
        y.opening = Opening(*map(vector, whole.opening))  # type: ignore[arg-type]
    elif own:
        if keep and whole.pieces is None:
            whole.pieces = {}
        y.pieces = whole.pieces
    return y


def chunk(x: Value, start: int, stop: int, keep: bool = False) -> Value:
    """Elements start .. stop - 1 of a `flat` value; the piece that was kept, if there is one."""
    if not isinstance(x, Share):
        return x if x.size == 1 else x[start:stop]

    piece = partial(cut, start=start, stop=stop)
    assert x.origin is not None
    y = x.pieces.pop(start, None) if x.pieces is not None else None
    if y is None:
        y = Share(tuple(map(piece, x.parts)))
        y.settled = x.settled and x.settled.rearranged(piece)
    y.origin = x.origin._replace(at=x.origin.at + start)
    if x.opening is not None:
        y.opening = Opening(*map(piece, x.opening))
    elif keep and x.pieces is not None:
        x.pieces[start] = y
    return y


def join(ring: Ring, x: Share) -> None:
    """What was opened of every piece becomes what is open of the whole."""
    assert x.pieces is not None
    pieces = [x.pieces[start] for start in sorted(x.pieces)]
    if x.opening is not None or sum(y.size for y in pieces) != x.size or not all(map(is_open, pieces)):
        return

    def joined(*parts: Part) -> Part:
        if isinstance(parts[0], Packed):
            return Packed(ring.concatenate([part.words for part in parts], 0), x.shape)
        return ring.concatenate(parts, 0).reshape(x.shape)

    x.opening = Opening(*(joined(*parts) for parts in zip(*(y.opening for y in pieces), strict=True)))
    x.pieces = None
