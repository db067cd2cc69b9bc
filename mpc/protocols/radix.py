"""What a radix sort asks of the dealer protocols: the bits of a key, and the stable ranks of its digits.

Bits. With x_open = x + r public and the bits of r shared, x = x_open - r is x_open ^ r ^ borrows. Bit k makes a borrow where
r has a one and x_open none, and hands one on where they agree: two bits that are linear in r's. A tree combines them: at level l
the upper half of every block of 2^(l+1) bits takes the pair of bit 2^l - 1 of the block, in one AND of whole words.

Ranks. A digit of k bits is opened under the mask beta; the dealer splits the one-hot vector of beta as words, so the entries at
v ^ (the opened digit) are the one-hot vector D of the digit itself, without a product. The rank is sum_v D_v S_v - 1 with S_v
the elements so far that have digit v, plus all that have a smaller one. S is linear in D, so D + r is opened once for both
factors and the dealer gives sum_v r_v S_v(r): one word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..ring.packed import Packed
from ..ring.ring import WORD, Array, Ring
from .base import Share, Steps, Tape
from .fields import Field

if TYPE_CHECKING:
    from .additive import Additive


def key_bits_gate(p: Additive, tape: Tape, x: Share, *, bits: int, descending: bool) -> Steps[Share]:
    """Shares of the lowest `bits` bits of x, lowest first, along a new last axis, with the highest one flipped, so that their
    order is that of signed numbers; all flipped if `descending`. 1 + ceil(log2 bits) rounds, 16 bytes online each."""
    ring, exact = p.ring, p.exact
    (opened,) = yield from p.masked(x)
    x_open = ring.solid(opened.value.reshape(-1))
    stream = p.own(tape, Field.BIT)
    dealt = (
        yield from p.exchange(
            dealt=[(WORD.str, x_open.shape)], deal=lambda: [exact.blind_bits(p.mask_total(x).reshape(-1), stream)]
        )
    ).dealt
    r = dealt[0] if dealt else ring.prg(x_open.shape, stream)
    # a XOR with something public is the first evaluator's
    make = ring.local(lambda x, r: ~x & r, x_open, r)
    hand = ring.local(lambda x, r: ~x ^ r, x_open, r) if p.first else r
    for level in range((bits - 1).bit_length()):
        make, hand = yield from _combine(p, tape, level, make, hand)
    flip = np.uint64((1 << bits) - 1 if descending else 0) ^ np.uint64(1 << bits - 1)
    out = ring.local(lambda r, g: r ^ g << np.uint64(1), r, make)
    if p.first:
        out = ring.local(lambda v, x: v ^ x ^ flip, out, x_open)
    return Share((ring.from_bit_rows(out.reshape(-1, 1), (x.size, bits)).reshaped((*x.shape, bits)),))


def _combine(p: Additive, tape: Tape, level: int, make: Array, hand: Array) -> Steps[tuple[Array, Array]]:
    """(make, hand) of the lower 2^level bits of every block go into the upper half: make ^ hand * theirs, hand * theirs."""
    ring, exact = p.ring, p.exact
    half = np.uint64(1 << level)
    ends = np.uint64(sum(1 << at for at in range((1 << level) - 1, 64, 2 << level)))
    ones = np.uint64((1 << (1 << level)) - 1)
    upper = (ends << np.uint64(1)) * ones

    def spread(v: Array) -> Array:
        return ((v & ends) << np.uint64(1)) * ones

    # both products in one word: the halves of a block
    left = ring.local(lambda h: h & upper | (h & upper) >> half, hand)
    right = ring.local(lambda g, h: spread(g) | spread(h) >> half, make, hand)
    a, b, ab = (p.own(tape, Field.TREE + 3 * level + k) for k in range(3))
    mine = [ring.blind_bits(left, a), ring.blind_bits(right, b)]
    every = p.every(tape, Field.TREE + 3 * level)
    got = yield from p.exchange(
        bits=mine,
        dealt=[(WORD.str, make.shape)],
        deal=lambda: [exact.and_deal_bits(make.shape, every, b.name, ab.name)],
    )
    z = ring.and_bits(mine, got.bits, p.first, got.dealt[0] if got.dealt else None, a, b.name, ab.name)
    make = ring.local(lambda g, z: g ^ z & upper, make, z)
    return make, ring.local(lambda h, z: h & ~upper | z << half & upper, hand, z)


def digit_ranks_gate(p: Additive, tape: Tape, digit: Share) -> Steps[Share]:
    """Shares of the place of every element in the stable order of its digits along the axis before the last, which holds the
    bits of a digit, lowest first. 2 rounds; for k bits 8 (2^k - 1) bytes online and 2^(k+3) dealt."""
    ring, exact = p.ring, p.exact
    shape, k = digit.shape[:-1], digit.shape[-1]
    hot = p.own(tape, Field.HOT)
    rows = ((1 << k) - 1, *shape)

    def deal(beta: Array) -> list[Array]:
        values = _digits(exact, Packed(beta, digit.shape))
        onehot = exact.local(lambda v, u: (v == u).astype(WORD), values, _column(rows, 1))
        return [exact.blind(onehot, -1, hot)]

    opened, got = yield from p.open_bit(tape, digit.parts[0].words, [(WORD.str, rows)], deal)
    onehot = got.dealt[0] if got.dealt else ring.prg(rows, hot)
    chosen = _chosen(p, onehot, _digits(ring, Packed(opened, digit.shape)))

    product = p.own(tape, Field.PRODUCT)

    def deal_product() -> list[Array]:
        r = exact.blind(exact.filled(rows, 0), 1, p.every(tape, Field.RHO))
        r = _completed(exact, r, 0)
        return [exact.blind(exact.sum(exact.local(np.multiply, r, _so_far(exact, r)), (0,)), -1, product)]

    mine, r = ring.mask(chosen, p.own(tape, Field.RHO))
    got = yield from p.exchange([mine], dealt=[(WORD.str, shape)], deal=deal_product)
    x = _completed(ring, ring.add(mine, got.words[0]), 1)
    r = _completed(ring, r, 0)
    # [first] x S(x) - r S(x) - x S(r)
    left = ring.sub(x, r) if p.first else ring.neg(r)
    terms = ring.local(lambda a, b, c, d: a * b - c * d, left, _so_far(ring, x), x, _so_far(ring, r))
    z = ring.sum(terms, (0,))
    z = ring.add(z, got.dealt[0]) if got.dealt else ring.blind(z, 1, product)
    return p.add_public(Share((z,)), np.array((1 << 64) - 1, WORD))


def _column(rows: tuple[int, ...], start: int) -> Array:
    return np.arange(start, start + rows[0], dtype=WORD).reshape(-1, *[1] * (len(rows) - 1))


def _digits(ring: Ring, bits: Packed) -> Array:
    """Bits along the last axis as numbers."""
    rows = ring.bit_rows(bits.reshaped((bits.size // max(1, bits.shape[-1]), bits.shape[-1])))
    return rows.reshape(bits.shape[:-1])


def _chosen(p: Additive, onehot: Array, digit: Array) -> Array:
    """Rows v = 0 .. 2^k - 2 of the one-hot vector moved by XOR with the public digit; its row 0 is one less the others."""
    ring, count = p.ring, len(onehot)
    zero = ring.neg(ring.sum(onehot, (0,)))
    if p.first:
        zero = ring.add(zero, ring.filled((), 1))
    whole = ring.concatenate([zero.reshape(1, *zero.shape), onehot], 0)
    return ring.local(
        lambda digit, _: np.take_along_axis(whole, (_column(onehot.shape, 0) ^ digit).astype(np.intp), 0), digit, whole[:count]
    )


def _completed(ring: Ring, rows: Array, total: int) -> Array:
    """With the last row, which makes the sum of all rows `total`."""
    last = ring.sub(ring.filled((), total), ring.sum(rows, (0,)))
    return ring.concatenate([rows, last.reshape(1, *last.shape)], 0)


def _so_far(ring: Ring, rows: Array) -> Array:
    """Cumulative sums along every row, plus the sums of all rows above."""
    sums = ring.cumsum(rows, rows.ndim - 1)
    totals = ring.sum(rows, (rows.ndim - 1,))
    above = ring.sub(ring.cumsum(totals, 0), totals)
    return ring.add(sums, above.reshape(*above.shape, 1))
