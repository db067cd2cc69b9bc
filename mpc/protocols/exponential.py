"""e^x for two evaluators: the integer part by a one-hot lookup, the rest by one word that the dealer computes.

With s = x - low and s_open = s + r public, the integer i = (s_open >> f) - (r >> f) mod 64 and the difference d of the low f
bits satisfy s = i 2^f + d, so e^x = e^(low + i) * e^(s_open mod 2^f) * e^(-(r mod 2^f)): the first factor is a table, the
second is public, the third is known to the dealer. The table is looked up as in `spline.py`; its opened entry is multiplied by
the dealt word in the same step.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..ring.fixed import exponential
from ..ring.prg import Name, Stream
from ..ring.words import WORD, Array
from .base import Share, Steps, Tape, together
from .fields import Field
from .spline import beyond, hidden, saturated

if TYPE_CHECKING:
    from .additive import Additive

K = 6  # 64 integers, so that a one-hot vector is a whole word
LOG2_E = 1.4426950408889634
PRECISION = 48  # bits of a factor: more than `exponential` computes
SLACK = 2  # bits of the word above the products of a table entry with the dealt word, and of that with the public factor


def exponential_gate(p: Additive, tape: Tape, x: Share, *, fraction: int, low: int, high: int) -> Steps[Share]:
    """Shares of e^x at x's scale, 4 rounds from an unopened x; 0 below `low`, e^high from `high` on (high - low < 63)."""
    ring, f = p.ring, fraction
    (opened,) = yield from p.masked(x)
    s_open = ring.solid(ring.sub(opened.value, ring.of(low << f)).reshape(-1))
    # scales: of the table (finer where words have room), of its product with the dealt word, up to e^high, and of the public
    # factor, up to e
    table_bits = f + (2 if f < 20 else 1)
    word_bits = min(math.floor(ring.bits - SLACK - high * LOG2_E), table_bits + PRECISION)
    public_bits = min(math.floor(ring.bits - SLACK - table_bits - (high + 1) * LOG2_E), PRECISION)
    y, outside = yield from together(
        _integer_part(p, tape, x, s_open, f, low, high, table_bits, word_bits), beyond(p, tape, x, [low << f, high << f])
    )
    z, mask = hidden(p, tape, y, word_bits - table_bits)
    t = yield from p.settle(tape, z, True, mask, word_bits - table_bits, "dither")
    factor = ring.exponential(s_open, f, 1, public_bits)
    # the second truncation has random words of its own: the addresses of the body that this gate replaces are free
    second = Tape(Name(tape.name.epoch, tape.name.node + 1), tape.at)
    shift = table_bits + public_bits - f
    z, mask = hidden(p, second, ring.mul(t.parts[0], factor), shift)
    tails = [[0, 0], [round(float(exponential(np.array(float(high)))) * 2**f), 0]]
    return (yield from saturated(p, second, x, z, mask, shift, outside, tails))


def _integer_part(
    p: Additive, tape: Tape, x: Share, s_open: Array, f: int, low: int, high: int, table_bits: int, word_bits: int
) -> Steps[Array]:
    """My share of e^(low + i) e^(-(r mod 2^f)) at scale 2^word_bits: 1 round, 8 bytes online, 20 bytes dealt."""
    ring, exact, n = p.ring, p.exact, s_open.size
    rows = [p.own(tape, Field.SPLINE + k) for k in range(2)]
    column, lookup = Field.COLUMN, tape.name.field(Field.LOOKUP)

    def deal() -> list[Array]:
        r = exact.solid(p.mask_total(x).reshape(-1))
        digit = exact.shift_right(r, f)
        onehot, sign = exact.lookup_deal(digit, K, Stream(p.all_keys[:1], lookup, tape.at))
        word = exact.mul(sign, exact.exponential(r, f, -1, word_bits - table_bits))
        rho = exact.prg((n,), p.every(tape, column))
        out = exact.empty((2, n))
        exact.blind(word, -1, rows[0], out=out[0])
        exact.blind(exact.mul(rho, word), -1, rows[1], out=out[1])
        return [onehot, out]

    dealt = (yield from p.exchange(dealt=[(WORD.str, (n,)), (p.word, (2, n))], deal=deal)).dealt
    if dealt is not None:
        onehot, weight, product = dealt[0], dealt[1][0], dealt[1][1]
    else:
        onehot = ring.packed((n,), Stream(p.key, lookup, tape.at))
        weight, product = (ring.prg((n,), row) for row in rows)
    exponents = low + np.arange(float(1 << K))
    table = exact.encode(np.where(exponents <= high, exponential(np.minimum(exponents, high)), 0), table_bits).reshape(1, -1)
    index = ring.shift_right(s_open, f)
    mine = ring.blind(ring.lookup(table, K, onehot, index, 1 if p.first else -1)[0], 1, p.own(tape, column))
    got = yield from p.exchange([mine])
    opened = ring.add(mine, got.words[0])
    return ring.sub(ring.mul(opened, weight), product)
