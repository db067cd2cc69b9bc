"""Comparison of opened words with the dealer's mask: one-hot digits of the mask, and a tree of AND nodes over packed bits.

Source: docs/protocols.md (one-hot blocks).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from ..ring.packed import Packed
from ..ring.prg import Stream
from ..ring.ring import Comparison
from ..ring.words import WORD, Array, words_for
from .base import Share, Steps, Tape, together
from .fields import Field

if TYPE_CHECKING:
    from .additive import Additive

Test = tuple[int, bool]  # what is taken off the opened word, and whether it is tested for ==, or else <


class Tree(NamedTuple):
    """One test of a limb, and the random words that serve this one evaluation."""

    value: int
    what: Comparison
    again: bool  # whether its one-hots were dealt for a tree before it: all of the same digits share them
    hot: int  # field of the one-hots
    mask: Stream  # of the factors that are opened
    ands: Stream


def less(
    p: Additive,
    tape: Tape,
    opened: Array,
    mask: Callable[[], Array],
    bits: int,
    equal: bool = False,
    sign_bit: int | None = None,
    values: Sequence[int] = (0,),
) -> Steps[list[Array]]:
    """For each v of `values`, where opened = x + r + (a public offset): packed XOR shares of [opened - v < r] (or ==) on the
    lowest `bits` bits; with `sign_bit`, XORed with that bit of opened - v and of r, which is the sign of x + offset - v.

    One-hot digits of r, dealt once; a tree for each, as the tape says: 1 round up to 16 bits or where it is wide, else 2, or 3
    where it is deep; words of several limbs take the rounds of one, and 1 more for every doubling of their number.
    """
    tests = [(v, equal) for v in values]
    if p.ring.primes and bits > p.ring.limb:
        assert tests == [(0, True)], "a field has no order"
        return [(yield from _residues(p, tape, opened, mask))]
    if bits > p.ring.limb:
        return (yield from _wide(p, tape, opened, tests, mask, bits, sign_bit))
    return (yield from _limb(p, tape, opened, tests, mask, bits, sign_bit))


def _limb(
    p: Additive,
    tape: Tape,
    opened: Array,
    tests: Sequence[Test],
    mask: Callable[[], Array],
    bits: int,
    sign_bit: int | None = None,
    limb: int = 0,
    hot: int = Field.HOT,
    tree: Callable[[int], int] = lambda k: Field.TREE + 3 * k,
) -> Steps[list[Array]]:
    """The tests on the lowest `bits` bits of one limb. hot, tree: fields of the random words, the second for the k-th test."""
    n, fields, trees = opened.size, count(hot), list[Tree]()
    sets: dict[int, int] = {}  # number of one-hots, which tells the digits -> field
    for k, (value, equal) in enumerate(tests):
        what = Comparison(bits, equal, tape.tree)
        hots = p.ring.compare_counts(what)["hot"]
        again = hots in sets
        field = sets[hots] if again else sets.setdefault(hots, next(fields))
        node = tree(k)
        trees.append(Tree(value, what, again, field, p.every(tape, node), p.own(tape, node + 1)))
    sign = p.own(replace(tape, at=tape.at // 64), Field.SIGN)

    def deal() -> list[Array]:
        r = mask()
        part = p.exact.limbs(r)[limb]
        planes = [a for t in trees for a in p.exact.compare_deal(part, t.what, t.again, p.every(tape, t.hot), t.mask, t.ands)]
        if sign_bit is not None:
            planes.append(p.exact.blind_bits(p.exact.bit_plane(r, sign_bit), sign))
        return planes

    sizes = [p.ring.compare_counts(t.what)[k] for t in trees for k in ("hot", "ands")[t.again :]]
    sizes += [1] if sign_bit is not None else []
    got = (yield from p.exchange(dealt=[(WORD.str, (size * words_for(n),)) for size in sizes], deal=deal)).dealt
    dealt = iter(got if got is not None else [None] * len(sizes))
    hot_planes: dict[int, Array | None] = {}
    ands, local, mine, tops = [], [], [], []
    for t in trees:  # each while its words are in the cache
        if not t.again:
            hot_planes[t.hot] = next(dealt)
        ands.append(next(dealt))
        x = p.ring.sub(opened, p.ring.of(t.value)) if t.value else opened
        part = p.ring.limbs(x)[limb]
        kept, hidden = p.ring.compare_leaves(part, t.what, p.first, hot_planes[t.hot], p.own(tape, t.hot), t.mask)
        local.append(kept)
        mine.append(hidden)
        tops.append([p.ring.bit_plane(x, sign_bit)] if sign_bit is not None and p.first and not t.what.equal else [])
    for level in range(1, p.ring.compare_counts(trees[0].what)["levels"] + 1):
        others = (yield from p.exchange(bits=mine)).bits
        mine_next = []
        for k, t in enumerate(trees):
            local[k], following = p.ring.compare_level(
                level, local[k], mine[k], others[k], n, t.what, p.first, ands[k], t.ands, t.mask
            )
            mine_next += [following] if following is not None else []
        mine = mine_next
    if sign_bit is None:
        return local
    own = next(dealt)
    of_mask = own if own is not None else p.ring.blind_bits(p._zeros(local[0]), sign)
    return [b if t.what.equal else p.ring.xor([b, of_mask, *top]) for b, t, top in zip(local, trees, tops, strict=True)]


def _wide(
    p: Additive, tape: Tape, opened: Array, tests: Sequence[Test], mask: Callable[[], Array], bits: int, sign_bit: int | None
) -> Steps[list[Array]]:
    """`less` for words of two limbs: [high < r_high] ^ [high == r_high] & [low < r_low], or the AND of ==. 1 round more.

    Both tests of the high limb are of one opened word, with one set of one-hots.
    """
    n, width = len(tests), p.ring.limb
    upper = [(v, True) for v, _ in tests] + [(v, False) for v, equal in tests if not equal]

    def tree(k: int) -> int:
        return Field.TREE + 12 * (k % n) + 3 * (1 + k // n)

    low, high = yield from together(
        _limb(p, tape, opened, tests, mask, width, tree=lambda k: Field.TREE + 12 * k),
        _limb(p, tape, opened, upper, mask, bits - width, sign_bit, 1, Field.HOT + 1, tree),
    )
    size = (opened.size,)
    both = yield from together(
        *(
            p.and_(tape, Share((Packed(a, size),)), Share((Packed(b, size),)), Field.TREE + 12 * k + 9)
            for k, (a, b) in enumerate(zip(low, high[:n], strict=True))
        )
    )
    found = [b.parts[0].words for b in both]
    return [p.ring.xor([a, b]) for a, b in zip(high[n:], found, strict=True)] if high[n:] else found


def _residues(p: Additive, tape: Tape, opened: Array, mask: Callable[[], Array]) -> Steps[Array]:
    """[opened == r] for words of one residue for each of k primes: the AND of all of them, in log2 k rounds more."""
    primes, n, width = len(p.ring.primes), opened.size, p.ring.limb

    def part(i: int) -> Tape:
        """Random words of its own: as many places as this chunk has, for each residue."""
        return replace(tape, at=tape.at * primes + i * (-(-n // 512) * 512))

    planes = yield from together(*(_limb(p, part(j), opened, [(0, True)], mask, width, limb=j) for j in range(primes)))
    rows, level = [Share((Packed(plane, (n,)),)) for (plane,) in planes], 1
    while len(rows) > 1:
        pairs = zip(rows[::2], rows[1::2], strict=False)
        both = yield from together(*(p.and_(part(i), a, b, Field.TREE + 3 * level) for i, (a, b) in enumerate(pairs)))
        rows, level = both + rows[len(both) * 2 :], level + 1
    return rows[0].parts[0].words  # type: ignore[no-any-return]
