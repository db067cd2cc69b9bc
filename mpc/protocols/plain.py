"""No protection at all: every party holds every value. The oracle that other protocols are tested against, and the file
to copy when writing one."""

from __future__ import annotations

import numpy as np

from ..ring.bilinear import Bilinear
from ..ring.packed import Packed
from ..ring.prg import Stream, expand_key
from ..ring.ring import Ring
from ..ring.words import Array
from .base import Exchange, Part, Protocol, Share, Steps, Tape

KEY = expand_key(bytes(32), "shuffle")  # everybody may know the order


def truncated(ring: Ring, x: Array, bits: int, rounding: str) -> Array:
    """x / 2^bits of signed words: "floor", or "nearest" (which is also what "dither" is on average)."""
    if not bits:
        return x
    sign = 1 << ring.bits - 1  # added, it makes signed words unsigned ones
    half = 1 << bits - 1 if rounding != "floor" else 0
    return ring.sub(ring.shift_right(ring.add(x, ring.of(sign + half)), bits), ring.of(sign >> bits))


class Plain(Protocol):
    """INSECURE: every party sees every value. Share = (the value,)."""

    trust = "INSECURE: no protection, every party sees every value; for tests and as a reference"
    parties = range(1, 6)

    def share(self, tape: Tape, owner: int, shape: tuple[int, ...], bits: bool, value: Part | None) -> Steps[Share]:
        mine: Array = self.ring.planes(1, int(np.prod(shape))) if bits else self.ring.empty(shape)
        if self.me == owner:
            mine = self.ring.solid(value.words if bits else value)  # type: ignore[union-attr, arg-type]
            yield Exchange({p: [mine] for p in range(self.n) if p != owner}, {})
        else:
            mine = (yield Exchange({}, {owner: [(mine.dtype.str, mine.shape)]}))[owner][0]
        return Share((Packed(mine, shape) if bits else mine,))

    def reveal(self, tape: Tape, x: Share, to: tuple[int, ...]) -> Steps[Part | None]:
        yield from ()
        return x.parts[0] if self.me in to else None

    def add_public(self, x: Share, c: Array) -> Share:
        if x.is_bits:
            return self.xor(x, self.constant(np.broadcast_to(c, x.shape)))
        return self.each(lambda a: self.ring.add(a, c), x)

    def constant(self, c: Array) -> Share:
        return Share((Packed.of(c) if c.dtype == np.uint8 else c,))

    def bilinear(self, tape: Tape, f: Bilinear, x: Share, y: Share, bits: int, rounding: str) -> Steps[Share]:
        z = self.each(lambda a, b: self.ring.product(f, a, b), x, y)
        return (yield from self.trunc(tape, z, bits, rounding))

    def trunc(self, tape: Tape, x: Share, bits: int, rounding: str) -> Steps[Share]:
        yield from ()
        return self.each(lambda a: truncated(self.ring, a, bits, rounding), x)

    def and_(self, tape: Tape, x: Share, y: Share) -> Steps[Share]:
        yield from ()
        return self.each(lambda a, b: Packed(self.ring.local(np.bitwise_and, a.words, b.words), a.shape), x, y)

    def ltz(self, tape: Tape, x: Share, bits: int | None = None) -> Steps[Share]:
        yield from ()
        return self.each(lambda a: Packed(self.ring.bit_plane(a, self.ring.bits - 1), a.shape), x)

    def eqz(self, tape: Tape, x: Share, bits: int | None = None) -> Steps[Share]:
        yield from ()
        return self.each(lambda a: Packed.of(self.ring.is_zero(a)), x)

    def b2a(self, tape: Tape, b: Share) -> Steps[Share]:
        yield from ()
        return self.each(self.ring.spread, b)

    def shuffle(self, tape: Tape, *columns: Share) -> Steps[list[Share]]:
        yield from ()
        order = self.ring.permutation(columns[0].shape[0], Stream(KEY, tape.name.field(0)))
        return self.moved(columns, order)

    def select(self, tape: Tape, b: Share, x: Share, y: Share) -> Steps[Share]:
        yield from ()
        return self.each(lambda c, p, q: self.ring.local(np.where, c.bytes(), p, q), b, x, y)
