"""What a radix sort asks of the dealer protocols: the bits of a key and the stable ranks of its digits.

Bits. With x_open = x + r public and the bits of r shared, x = x_open - r is x_open ^ r ^ borrows. Bit k makes a borrow where
r has a one and x_open none, and hands one on where they agree: two bits that are linear in r's. A tree combines them: at
level l the upper half of every block of 2^(l+1) bits takes the pair of bit 2^l - 1 of the block, in one AND of whole words.

Ranks. A digit of k bits is opened under the mask beta; the dealer splits the one-hot vector of beta as words, so the entries at
v ^ (the opened digit) are the one-hot vector D of the digit itself, without a product. The rank is sum_v D_v S_v - 1 with S_v
the elements so far that have digit v, plus all that have a smaller one. S is linear in D, so D + r is opened once for both
factors and the dealer gives sum_v r_v S_v(r): one word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..ring.packed import Packed
from ..ring.words import HALF_WORD, WORD, Array
from .base import Share, Steps, Tape
from .fields import Field

if TYPE_CHECKING:
    from .additive import Additive


def key_bits_gate(p: Additive, tape: Tape, x: Share, *, bits: int, descending: bool) -> Steps[Share]:
    """Shares of the lowest `bits` bits of x, lowest first, along a new last axis, with the highest one flipped, so that their
    order is that of signed numbers; all flipped if `descending`. 1 + ceil(log2 bits) rounds, 16 bytes online each."""
    ring, exact = p.ring, p.exact
    (opened,) = yield from p.masked(x)
    limbs = -(-bits // 64)

    def words(v: Array) -> Array:
        """The lowest bits as words of 64; of a wide word the upper limbs of all elements after the lower ones."""
        parts = ring.limbs(v.reshape(-1))[:limbs]
        return ring.solid(ring.concatenate(parts, 0) if limbs > 1 else parts[0])

    def deal() -> list[Array]:
        parts = exact.limbs(p.mask_total(x).reshape(-1))[:limbs]
        return [exact.blind_bits(exact.concatenate(parts, 0), stream)]

    x_open = words(opened.value)
    stream = p.own(tape, Field.BIT)
    dealt = (yield from p.exchange(dealt=[(WORD.str, x_open.shape)], deal=deal)).dealt
    r = dealt[0] if dealt else ring.packed(x_open.shape, stream)
    # a XOR with something public is the first evaluator's
    make = ring.local(lambda x, r: ~x & r, x_open, r)
    hand = ring.local(lambda x, r: ~x ^ r, x_open, r) if p.first else r
    for level in range((min(bits, 64) - 1).bit_length()):
        make, hand = yield from _combine(p, tape, level, make, hand)
    flip = ((1 << bits) - 1 if descending else 0) ^ 1 << bits - 1
    borrows = ring.local(lambda g: g << np.uint64(1), make)
    if limbs > 1:  # the upper limbs take the borrow of the lower ones
        lower, upper = make[: x.size], make[x.size :]
        borrow = ring.local(lambda g: g >> np.uint64(63), lower)
        handed = yield from _and(p, tape, hand[x.size :], ring.local(np.negative, borrow), 6)
        carried = ring.local(lambda g, z, b: (g ^ z) << np.uint64(1) | b, upper, handed, borrow)
        borrows = ring.concatenate([borrows[: x.size], carried], 0)
    out = ring.xor([r, borrows])
    if p.first:
        flips = np.repeat(np.array([flip >> 64 * k & (1 << 64) - 1 for k in range(limbs)], WORD), x.size)
        out = ring.xor([out, x_open, flips])
    rows = ring.solid(out.reshape(limbs, x.size).T)
    return Share((ring.from_bit_rows(rows, (x.size, bits)).reshaped((*x.shape, bits)),))


def _and(p: Additive, tape: Tape, left: Array, right: Array, slot: int) -> Steps[Array]:
    """Shares of left & right, packed words."""
    ring, exact = p.ring, p.exact
    a, b, ab = (p.own(tape, Field.TREE + 3 * slot + k) for k in range(3))
    mine = [ring.blind_bits(left, a), ring.blind_bits(right, b)]
    every = p.every(tape, Field.TREE + 3 * slot)
    got = yield from p.exchange(
        bits=mine,
        dealt=[(WORD.str, left.shape)],
        deal=lambda: [exact.and_deal_bits(left.shape, every, b.name, ab.name)],
    )
    return ring.and_bits(mine, got.bits, p.first, got.dealt[0] if got.dealt else None, a, b.name, ab.name)


def _combine(p: Additive, tape: Tape, level: int, make: Array, hand: Array) -> Steps[tuple[Array, Array]]:
    """(make, hand) of the lower 2^level bits of every block go into the upper half: make ^ hand * theirs, hand * theirs."""
    ring = p.ring
    half = np.uint64(1 << level)
    ends = np.uint64(sum(1 << at for at in range((1 << level) - 1, 64, 2 << level)))
    ones = np.uint64((1 << (1 << level)) - 1)
    upper = (ends << np.uint64(1)) * ones

    def spread(v: Array) -> Array:
        return ((v & ends) << np.uint64(1)) * ones

    # both products in one word: the halves of a block
    left = ring.local(lambda h: h & upper | (h & upper) >> half, hand)
    right = ring.local(lambda g, h: spread(g) | spread(h) >> half, make, hand)
    z = yield from _and(p, tape, left, right, level)
    make = ring.local(lambda g, z: g ^ z & upper, make, z)
    return make, ring.local(lambda h, z: h & ~upper | z << half & upper, hand, z)


def digit_ranks_gate(p: Additive, tape: Tape, bits: Array, size: tuple[int, ...]) -> Steps[Share]:
    """Shares of 2^32 times the place of every element in the stable order of its digits along the axis before the last: a place
    needs 32 bits. `bits`: packed, of an array of that size, whose last axis holds the k bits of a digit, lowest first.

    2 rounds; 4 (2^k - 1) bytes online and 2^(k+2) dealt an element.
    """
    ring, exact = p.ring, p.exact
    shape, k = size[:-1], size[-1]
    entries = (*shape, (1 << k) - 1)
    hot, mask, product = p.own(tape, Field.HOT), p.own(tape, Field.RHO), p.own(tape, Field.PRODUCT)

    def deal(beta: Array) -> list[Array]:
        values = exact.digits(Packed(beta, size))
        onehot = exact.local(lambda v, u: (v == u).astype(HALF_WORD), values[..., None], np.arange(1, 1 << k, dtype=HALF_WORD))
        return [exact.blind_half(onehot, -1, hot)]

    opened, got = yield from p.open_bit(tape, bits, [(HALF_WORD.str, entries)], deal)
    onehot = got.dealt[0] if got.dealt else ring.half_words(entries, hot)
    chosen = ring.digit_choose(onehot, ring.digits(Packed(opened, size)), k, int(p.first))

    def deal_product() -> list[Array]:
        r = exact.blind_half(exact.filled(entries, 0, HALF_WORD), 1, p.every(tape, Field.RHO))
        return [exact.blind_half(exact.digit_ranks(r, None, k, True, 0), -1, product)]

    r = ring.half_words(entries, mask)
    mine = ring.add(chosen, r)
    got = yield from p.exchange([mine], dealt=[(HALF_WORD.str, shape)], deal=deal_product)
    ranks = ring.digit_ranks(ring.add(mine, got.words[0]), r, k, p.first, 1)
    if got.dealt:
        ranks = ring.add(ranks, got.dealt[0])
    else:
        ranks = ring.blind_half(ranks, 1, product)
    places = ring.shift_left(ring.of(ranks), ring.bits - 32)
    return p.add_public(Share((places,)), ring.of(-1 << ring.bits - 32))
