"""Comparison of opened words with the dealer's mask: one-hot digits of the mask, and a tree of AND nodes over packed bits.

Source: docs/protocols.md (one-hot blocks).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..ring.ring import WORD, Array, Comparison, words_for
from .base import Steps, Tape
from .fields import Field

if TYPE_CHECKING:
    from .additive import Additive


def less(
    p: Additive,
    tape: Tape,
    opened: Sequence[Array],
    mask: Callable[[], Array],
    bits: int,
    equal: bool = False,
    sign_bit: int | None = None,
) -> Steps[list[Array]]:
    """For each of `opened` = x + r + (a public offset), one mask r for all: packed XOR shares of [opened < r] (or ==) on
    the lowest `bits` bits; with `sign_bit`, XORed with that bit of `opened` and of r, which is the sign of x + offset.

    One-hot digits of r, dealt once; a tree for each: 1 round up to 16 bits or where the tape says `wide`, else 2.
    """
    what, n = Comparison(bits, equal, tape.wide), opened[0].size
    count = p.ring.compare_counts(what)
    hot = p.own(tape, Field.HOT)
    sign = p.own(tape._replace(at=tape.at // 64), Field.SIGN)
    trees = []  # each with AND masks of its own: they serve one evaluation
    for k in range(len(opened)):
        node, and1, and2 = (Field.TREE + 3 * k + i for i in range(3))
        trees.append((p.every(tape, node), p.own(tape, and1), p.own(tape, and2)))

    def deal() -> list[Array]:
        r = mask()
        every = p.every(tape, Field.HOT)
        planes = [a for k, tree in enumerate(trees) for a in p.exact.compare_deal(r, what, k > 0, every, *tree)]
        if sign_bit is not None:
            planes.append(p.exact.blind_bits(p.exact.bit_plane(r, sign_bit), sign))
        return planes

    sizes = [count["hot"], *(count["and1"], count["and2"]) * len(opened), *([1] if sign_bit is not None else [])]
    dealt = (yield from p.exchange(dealt=[(WORD.str, (k * words_for(n),)) for k in sizes], deal=deal)).dealt
    planes: Sequence[Array | None] = dealt if dealt is not None else (None,) * len(sizes)
    leaves = [p.ring.compare_leaves(x, what, p.first, planes[0], hot, tree[0]) for x, tree in zip(opened, trees, strict=True)]
    local, mine = [a for a, _ in leaves], [b for _, b in leaves]
    for level in (1, 2) if count["open2"] else (1,):
        others = (yield from p.exchange(bits=mine)).bits
        mine_next = []
        for k, tree in enumerate(trees):
            ands = planes[2 * k + level]
            local[k], following = p.ring.compare_level(
                level, local[k], mine[k], others[k], n, what, p.first, ands, tree[level], tree[0]
            )
            mine_next += [following] if following is not None else []
        mine = mine_next
    if sign_bit is None:
        return local
    top = planes[-1] if planes[-1] is not None else p.ring.blind_bits(p._zeros(local[0]), sign)
    return [
        p.ring.xor([b, top, p.ring.bit_plane(x, sign_bit)] if p.first else [b, top]) for b, x in zip(local, opened, strict=True)
    ]
