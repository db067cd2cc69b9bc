"""The secret shuffle of the dealer protocols: every evaluator in turn moves the rows by an order of its own.

In the pass of owner p the others send their shares of the rows less masks a_q, and the owner adds them to its own: it holds
x - a, a = sum of the a_q, and puts that in its order. The dealer knows the order and a, and splits a, in that order, among all
evaluators as it splits every dealt value: those are their new shares, to which the owner adds what it holds. So a pass costs a
word an element from each of the others, a dealt word, and one round. Whoever is not the owner sees fresh words only; after
all passes the order is known to no proper subset of the evaluators.

Permutation correlations: Chase, Ghosh, Poburinnaya, ASIACRYPT 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import lcm, prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from msgspec.structs import replace

from ..ring.packed import Packed
from ..ring.prg import Stream
from ..ring.ring import Ring
from ..ring.words import Array
from .base import Exchange, Share, Spec, Steps, Tape
from .fields import Field

if TYPE_CHECKING:
    from .additive import Additive


class Rows(NamedTuple):
    """A column as rows of words: (n, w). `at`: where its words begin in a stream that serves all columns, in bytes."""

    words: Array
    bits: bool
    at: int

    def hide(self, ring: Ring, x: Array, sign: int, stream: Stream) -> Array:
        """x + sign * the stream's words; XOR for bits."""
        stream = self.within(ring, stream)
        return ring.blind_bits(x, stream) if self.bits else ring.blind(x, sign, stream)

    def within(self, ring: Ring, stream: Stream) -> Stream:
        """The stream from this column's words on."""
        return replace(stream, at=self.at // self.drawn(ring))

    def drawn(self, ring: Ring) -> int:
        """Bytes of the stream that a word takes."""
        return self.words.itemsize if self.bits else ring.drawn

    def fresh(self, ring: Ring, stream: Stream) -> Array:
        """The stream's words for this column."""
        stream = self.within(ring, stream)
        return ring.packed(self.words.shape, stream) if self.bits else ring.prg(self.words.shape, stream)

    def total(self, ring: Ring, xs: Sequence[Array]) -> Array:
        return ring.xor(xs) if self.bits else ring.total(xs)


def passes(p: Additive, tape: Tape, columns: Sequence[Share]) -> Steps[list[Share]]:
    """Shares of the columns with their rows in an order that only all evaluators together, or the dealer, know."""
    rows, at = [], 0
    unit = lcm(8192, p.ring.drawn)  # streams are read from whole words on, and from multiples of 512 of them
    for column in columns:
        rows.append(_rows(p, column, at))
        at += -(-rows[-1].words.size * rows[-1].drawn(p.ring) // unit) * unit
    for owner in range(p.evaluators):
        rows = yield from _pass(p, tape, rows, owner)
    return [_share(p, r, column.shape) for r, column in zip(rows, columns, strict=True)]


def _pass(p: Additive, tape: Tape, rows: list[Rows], owner: int) -> Steps[list[Rows]]:
    ring, exact, n = p.ring, p.exact, len(rows[0].words)
    mask, fresh = tape.name.field(Field.ROWS + owner), p.own(tape, Field.MOVED + owner)
    order = Stream(p.all_keys[owner : owner + 1] if p.deals else p.key, tape.name.field(Field.ORDER + owner))

    def deal() -> list[Array]:
        others, moves = Stream(np.delete(p.all_keys, owner, axis=0), mask), exact.permutation(n, order)
        masks = [r.hide(exact, exact.filled(r.words.shape, 0, r.words.dtype), 1, others) for r in rows]
        return [r.hide(exact, exact.gather(a, moves), -1, fresh) for r, a in zip(rows, masks, strict=True)]

    specs: list[Spec] = [(r.words.dtype.str, r.words.shape) for r in rows]
    if p.deals:
        yield Exchange({p.last: deal()}, {})
        return rows
    mine = p.me == owner
    send = {} if mine else {owner: [r.hide(ring, r.words, -1, Stream(p.key, mask)) for r in rows]}
    expected = dict.fromkeys(p.peers, specs) if mine else {}
    if p.me == p.last:
        expected[p.dealer] = specs
    got = yield Exchange(send, expected)
    if p.me == p.last:
        shares = got[p.dealer]
    else:
        shares = [r.fresh(ring, fresh) for r in rows]
    if mine:
        moves = ring.permutation(n, order)
        for k, r in enumerate(rows):
            held = r.total(ring, [r.words, *(got[q][k] for q in p.peers)])
            shares[k] = r.total(ring, [ring.gather(held, moves), shares[k]])
    return [r._replace(words=words) for r, words in zip(rows, shares, strict=True)]


def common_order(p: Additive, tape: Tape, columns: Sequence[Share]) -> Sequence[Share]:
    """Columns in an order that two evaluators know and the dealer does not, who may be told what is in them. Local.

    More evaluators have a dealer who is told nothing, and no key in common.
    """
    if p.evaluators != 2 or p.deals:
        return columns
    (key,) = p.pair_keys.values()
    return p.moved(columns, p.ring.permutation(columns[0].shape[0], Stream(key, tape.name.field(Field.ORDER + 5))))


def _rows(p: Additive, column: Share, at: int) -> Rows:
    part = column.parts[0]
    if isinstance(part, Packed):
        return Rows(p.ring.bit_rows(part), True, at)
    return Rows(p.ring.solid(part).reshape(part.shape[0], prod(part.shape[1:])), False, at)


def _share(p: Additive, rows: Rows, shape: tuple[int, ...]) -> Share:
    return Share((p.ring.from_bit_rows(rows.words, shape) if rows.bits else rows.words.reshape(shape),))
