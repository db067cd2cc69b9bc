"""sin(2 pi v / 2^64) by one word: an angle that is opened under a mask, and sine and cosine of the mask, which are dealt.

A multiplication by a public integer takes x to turns: v = C x mod 2^64 with C = 2^(64-f) / (2 pi) is the fraction of a
turn, for every x, because the ring itself turns. With x_open = x + r public, a = C x_open is a public angle and b = C r is
known to the dealer, and sin(a - b) = sin a cos b - cos a sin b is linear in the two dealt words. They are used after x_open
is known, so the argument of docs/protocols.md holds; any number of evaluators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..ring.ring import Ring
from ..ring.words import WORD, Array
from .base import Share, Steps, Tape
from .fields import Field
from .spline import hidden

if TYPE_CHECKING:
    from .additive import Additive

# scales of the factors, in words of 64 bits 29 and 30 bits: their product stays below 2^(bits - 3)
SLACK = 5
QUARTER, HALF_TURN = WORD.type(1 << 62), WORD.type(1 << 63)


def sine_gate(p: Additive, tape: Tape, x: Share, *, factor: int, phase: int, fraction: int) -> Steps[Share]:
    """Shares of sin(2 pi (factor x + phase) / 2^64) at scale 2^fraction: 2 rounds from an unopened x, 16 bytes online."""
    ring, exact, n = p.ring, p.exact, x.size
    public_bits, dealt_bits = (ring.bits - SLACK) // 2, (ring.bits - SLACK + 1) // 2
    (opened,) = yield from p.masked(x)
    rows = [p.own(tape, Field.SPLINE + k) for k in range(2)]

    def deal() -> list[Array]:
        turns = exact.mul(exact.solid(p.mask_total(x).reshape(-1)), exact.of(factor))
        out = exact.empty((2, n))
        for row, ahead in enumerate((QUARTER, WORD.type(0))):  # the cosine, the sine
            word = exact.local(lambda v, q=ahead: exact.encode(sine(_turns(exact, v) + q), dealt_bits), turns)
            exact.blind(word, -1, rows[row], out=out[row])
        return [out]

    dealt = (yield from p.exchange(dealt=[(p.word, (2, n))], deal=deal)).dealt
    cosine, its_sine = dealt[0] if dealt is not None else [ring.prg((n,), row) for row in rows]

    angle = ring.add(ring.mul(ring.solid(opened.value.reshape(-1)), ring.of(factor)), ring.of(phase))
    mine, ahead = (
        ring.local(lambda v, q=q: ring.encode(sine(_turns(ring, v) + q), public_bits), angle) for q in (WORD.type(0), QUARTER)
    )
    shift = public_bits + dealt_bits - fraction
    y = ring.sub(ring.mul(mine, cosine), ring.mul(ahead, its_sine))
    z, mask = hidden(p, tape, y, shift)
    return p.reshape((yield from p.settle(tape, z, True, mask, shift, "dither")), x.shape)


def sine(turns: Array) -> np.ndarray:
    """sin(2 pi v / 2^64) for words v, with error below 2^-40. Made of additions and multiplications alone: all evaluators must
    find the very same factors, and libraries of functions differ in their last bits."""
    v = turns.view(np.int64)
    # sin(half a turn - v) = sin v brings v to within a quarter of 0, where the series is short
    far = (v >= 1 << 62) | (v < -(1 << 62))
    t = np.where(far, (HALF_TURN - turns).view(np.int64), v).astype(np.float64) * (2 * np.pi / 2.0**64)
    square, y = t * t, np.ones_like(t)
    for k in range(20, 0, -2):  # Taylor: t (1 - t^2 / (2 3) (1 - t^2 / (4 5) (...)))
        y = 1 - y * square / (k * (k + 1))
    return np.asarray(t * y)


def _turns(ring: Ring, v: Array) -> Array:
    """A word as a fraction of a turn in 64 bits."""
    return ring.limbs(v)[-1] << np.uint64(max(0, 64 - ring.bits))
