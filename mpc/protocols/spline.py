"""The one-hot spline gate for two evaluators: a piecewise polynomial of a masked value, with no comparison for the pieces.

Let s = x - centre lie in a window of n = k + t bits and s_open = s + r be public. Its top k bits and those of r differ by
the number of the piece, its low t bits and those of r by the offset in the piece, up to a borrow that cancels: piece i =
(s_open >> t) - (r >> t) mod 2^k and d = (s_open mod 2^t) - (r mod 2^t) satisfy s = i 2^t + d exactly, with |d| < 2^t. So
every piece is fitted on twice its width.

The dealer splits the one-hot vector of r >> t as e_0 ^ e_1. Locally sum_w T[(s_open >> t) - w] e_j[w], with opposite signs,
adds up to +-T[i]; the sign 2 e_0[r >> t] - 1 is the dealer's. Opened under masks rho_j and multiplied by dealt words
(sign (r mod 2^t)^m and rho_j times that), the coefficients become the polynomial's value. Nobody may hold e_0 and e_1 both,
which is why the gate needs exactly two evaluators. Derivation and proof: docs/protocols.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..ring.bilinear import MUL
from ..ring.prg import Stream
from ..ring.ring import spline_words
from ..ring.words import WORD, Array
from .base import Share, Steps, Tape, together
from .fields import Field

if TYPE_CHECKING:
    from .additive import Additive


def seen(p: Additive, x: Share, bits: int) -> Steps[tuple[Array, Callable[[], Array]]]:
    """(a public word, the dealer's mask) whose difference is x mod 2^bits: of what was just truncated the word opened there,
    without a round; otherwise x is opened."""
    settled = x.settled
    if settled is None or x.opening is not None or bits > p.bits - 2 - settled.bits:
        (opened,) = yield from p.masked(x)
        return opened.value, lambda: p.mask_total(x)
    mask, shift = settled.mask, settled.bits

    def shifted() -> Array:
        assert mask is not None
        return p.exact.shift_right(mask, shift)

    return p.ring.shift_right(settled.c, shift), shifted


def polynomial(
    p: Additive, tape: Tape, mask: Callable[[], Array], s_open: Array, k: int, t: int, tables: Array
) -> Steps[Array]:
    """My share of the piecewise polynomial at scale fc + degree * fx: 1 round, (degree + 1) words online. s_open - mask is
    the argument on its lowest k + t bits."""
    ring, exact, degree, n = p.ring, p.exact, len(tables) - 1, s_open.size
    blocks = max(1, (1 << k) // 64)
    weights = p.own(tape, Field.SPLINE)

    def deal() -> list[Array]:
        r = exact.solid(mask().reshape(-1))
        first = Stream(p.all_keys[:1], tape.name.field(Field.LOOKUP), tape.at)
        onehot, sign = exact.lookup_deal(exact.shift_right(r, t), k, first)
        return [onehot, exact.spline_deal(exact.remainder(r, t), sign, degree, weights, p.every(tape, Field.COLUMN))]

    specs = [(WORD.str, (n * blocks,)), (p.word, (spline_words(degree), n))]
    dealt = (yield from p.exchange(dealt=specs, deal=deal)).dealt
    if dealt is not None:
        onehot, words = dealt[0], dealt[1]
    else:
        onehot, words = ring.packed((n * blocks,), Stream(p.key, tape.name.field(Field.LOOKUP), tape.at * blocks)), None
    index = ring.shift_right(s_open, t)
    mine = ring.lookup(tables, k, onehot, index, 1 if p.first else -1)
    for j in range(degree + 1):
        ring.blind(mine[j], 1, p.own(tape, Field.COLUMN + j), out=mine[j])
    got = yield from p.exchange([mine])
    opened = ring.add(mine, got.words[0])
    return ring.spline(ring.remainder(s_open, t), opened, words, degree, weights)


def spline_gate(
    p: Additive,
    tape: Tape,
    x: Share,
    *,
    k: int,
    t: int,
    degree: int,
    centre: int,
    tables: bytes,
    shift: int,
    bounds: list[int],
    tails: list[list[int]],
) -> Steps[Share]:
    """Shares of the spline at x, truncated by `shift` bits: 3 rounds from an unopened x, 2 from one just truncated, 4 with
    saturation.

    bounds, tails: below bounds[0] the result is constant + slope * x with (constant, slope) = tails[0], from bounds[1] on it
    is so with tails[1]; empty: x is in the window.
    """
    ring, shape = p.ring, x.shape
    value, known = yield from seen(p, x, p.bits if bounds else k + t)
    s_open = ring.solid(ring.sub(value, ring.of(centre)).reshape(-1))
    columns = np.frombuffer(tables, ring.word).reshape(degree + 1, 1 << k)
    gate = polynomial(p, tape, known, s_open, k, t, columns)
    if not bounds:
        y = yield from gate
        z, mask = hidden(p, tape, y, shift)
        result = yield from p.settle(tape, z, True, mask, shift, "dither")
        return p.reshape(result, shape)
    y, outside = yield from together(gate, beyond(p, tape, x, bounds))
    z, mask = hidden(p, tape, y, shift)
    return (yield from saturated(p, tape, x, z, mask, shift, outside, tails))


def beyond(p: Additive, tape: Tape, x: Share, bounds: list[int]) -> Steps[tuple[Array, Array]]:
    """Packed shares of ([x < bounds[0]], [x >= bounds[1]]), from the one opening of x."""
    below, under = yield from p.signs(tape, x, bounds)
    return below, p.ring.local(np.invert, under) if p.first else under


def saturated(
    p: Additive,
    tape: Tape,
    x: Share,
    z: Array,
    mask: Callable[[], Array],
    shift: int,
    outside: tuple[Array, Array],
    tails: list[list[int]],
) -> Steps[Share]:
    """z, ready to be opened under the dealer's mask, truncated by `shift` bits; constant + slope * x where x is outside."""
    ring = p.ring
    steps = [p.settle_unless(tape, z, mask, shift, ring.xor(list(outside)))]
    weights = []
    flat = p.reshape(x, (x.size,))
    for side, (bit, (constant, slope)) in enumerate(zip(outside, tails, strict=True)):
        field = Field.TAIL + 5 * side
        if constant:
            steps.append(p.bit_to_word(tape, bit, z.shape, field, field + 1))
            weights.append(constant)
        if slope:
            otherwise = ring.local(np.invert, bit) if p.first else bit
            steps.append(p.unless(tape, otherwise, flat, field + 2, field + 3, field + 4))
            weights.append(slope)
    total, *parts = yield from together(*steps)
    for part, weight in zip(parts, weights, strict=True):
        total = p.add(total, p.scale(MUL, part, ring.of(weight), False))
    return p.reshape(total, x.shape)


def hidden(p: Additive, tape: Tape, y: Array, shift: int) -> tuple[Array, Callable[[], Array]]:
    """(y + rho + offset, the dealer's rho): ready to be opened for truncation."""
    z = p.ring.blind(y, 1, p.own(tape, Field.RHO))
    if p.first:
        z = p.ring.add(z, p.ring.of(p.offset(shift, "dither")))
    return z, lambda: p.exact.prg(y.shape, p.every(tape, Field.RHO))
