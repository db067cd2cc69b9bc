"""Comparison of opened words with the dealer's mask: one-hot digits of the mask, and a tree of AND nodes over packed bits.

Source: docs/protocols.md (one-hot blocks).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..ring.packed import Packed
from ..ring.ring import WORD, Array, Comparison, words_for
from .base import Share, Steps, Tape, together
from .fields import Field

if TYPE_CHECKING:
    from .additive import Additive


def less(
    p: Additive,
    tape: Tape,
    opened: Array,
    mask: Callable[[], Array],
    bits: int,
    equal: bool = False,
    sign_bit: int | None = None,
    values: Sequence[int] = (0,),
    limb: int = 0,
    hot: int = Field.HOT,
    tree: Callable[[int], int] = lambda k: Field.TREE + 3 * k,
) -> Steps[list[Array]]:
    """For each v of `values`, where opened = x + r + (a public offset): packed XOR shares of [opened - v < r] (or ==) on the
    lowest `bits` bits; with `sign_bit`, XORed with that bit of opened - v and of r, which is the sign of x + offset - v.

    One-hot digits of r, dealt once; a tree for each: 1 round up to 16 bits or where the tape says `wide`, else 2; for words of
    several limbs see below. limb: which 64 bits of the words are compared; hot, tree: fields of the random words, the second
    for `values[k]`.
    """
    if bits > 64 and p.ring.primes:
        assert equal and tuple(values) == (0,), "a field has no order"
        return [(yield from _residues(p, tape, opened, mask))]
    if bits > 64:
        return (yield from _wide(p, tape, opened, mask, bits, equal, sign_bit, values))
    what, n = Comparison(bits, equal, tape.wide), opened.size
    count = p.ring.compare_counts(what)
    digits = p.own(tape, hot)
    sign = p.own(tape._replace(at=tape.at // 64), Field.SIGN)
    trees = []  # each with AND masks of its own: they serve one evaluation
    for k in range(len(values)):
        node, and1, and2 = (tree(k) + i for i in range(3))
        trees.append((p.every(tape, node), p.own(tape, and1), p.own(tape, and2)))

    def deal() -> list[Array]:
        r = mask()
        every, part = p.every(tape, hot), p.exact.limbs(r)[limb]
        planes = [a for k, names in enumerate(trees) for a in p.exact.compare_deal(part, what, k > 0, every, *names)]
        if sign_bit is not None:
            planes.append(p.exact.blind_bits(p.exact.bit_plane(r, sign_bit), sign))
        return planes

    sizes = [count["hot"], *(count["and1"], count["and2"]) * len(values), *([1] if sign_bit is not None else [])]
    dealt = (yield from p.exchange(dealt=[(WORD.str, (k * words_for(n),)) for k in sizes], deal=deal)).dealt
    planes: Sequence[Array | None] = dealt if dealt is not None else (None,) * len(sizes)
    local, mine, top = [], [], []
    for v, names in zip(values, trees, strict=True):  # each while its words are in the cache
        x = p.ring.sub(opened, p.ring.of(v)) if v else opened
        kept, open_next = p.ring.compare_leaves(p.ring.limbs(x)[limb], what, p.first, planes[0], digits, names[0])
        local.append(kept)
        mine.append(open_next)
        top.append([p.ring.bit_plane(x, sign_bit)] if sign_bit is not None and p.first else [])
    for level in (1, 2) if count["open2"] else (1,):
        others = (yield from p.exchange(bits=mine)).bits
        mine_next = []
        for k, names in enumerate(trees):
            ands = planes[2 * k + level]
            local[k], following = p.ring.compare_level(
                level, local[k], mine[k], others[k], n, what, p.first, ands, names[level], names[0]
            )
            mine_next += [following] if following is not None else []
        mine = mine_next
    if sign_bit is None:
        return local
    of_mask = planes[-1] if planes[-1] is not None else p.ring.blind_bits(p._zeros(local[0]), sign)
    return [p.ring.xor([b, of_mask, *bit]) for b, bit in zip(local, top, strict=True)]


def _wide(
    p: Additive,
    tape: Tape,
    opened: Array,
    mask: Callable[[], Array],
    bits: int,
    equal: bool,
    sign_bit: int | None,
    values: Sequence[int],
) -> Steps[list[Array]]:
    """`less` for words of two limbs: [high < r_high] ^ [high == r_high] & [low < r_low], or the AND of ==. 1 round more."""

    def part(limb: int, equal: bool, slot: int, sign: int | None = None) -> Steps[list[Array]]:
        width = bits - 64 if limb else 64
        fields = (Field.HOT + slot, lambda k: Field.TREE + 12 * k + 3 * slot)
        return less(p, tape, opened, mask, width, equal, sign, values, limb, *fields)

    parts = [part(0, equal, 0), part(1, True, 1)]
    if not equal:
        parts.append(part(1, False, 2, sign_bit))
    low, same, *high = yield from together(*parts)
    size = (opened.size,)
    both = yield from together(
        *(
            p.and_(tape, Share((Packed(a, size),)), Share((Packed(b, size),)), Field.TREE + 12 * k + 9)
            for k, (a, b) in enumerate(zip(low, same, strict=True))
        )
    )
    found = [b.parts[0].words for b in both]
    return [p.ring.xor([a, b]) for a, b in zip(high[0], found, strict=True)] if high else found


def _residues(p: Additive, tape: Tape, opened: Array, mask: Callable[[], Array]) -> Steps[Array]:
    """[opened == r] for words of one residue for each of k primes: the AND of all of them, in log2 k rounds more."""
    count, n = p.bits // 64, opened.size

    def part(i: int) -> Tape:
        """Random words of its own: as many places as this chunk has, for each residue."""
        return tape._replace(at=tape.at * count + i * (-(-n // 512) * 512))

    planes = yield from together(*(less(p, part(j), opened, mask, 64, True, limb=j) for j in range(count)))
    rows, level = [Share((Packed(plane, (n,)),)) for (plane,) in planes], 1
    while len(rows) > 1:
        pairs = zip(rows[::2], rows[1::2], strict=False)
        both = yield from together(*(p.and_(part(i), a, b, Field.TREE + 3 * level) for i, (a, b) in enumerate(pairs)))
        rows, level = both + rows[len(both) * 2 :], level + 1
    return rows[0].parts[0].words  # type: ignore[no-any-return]
