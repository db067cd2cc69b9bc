"""Numbers of any size brought to a known one, for two evaluators: a power of two by one lookup at the place of the top bit.

The bits t_1 >= t_2 >= ... of comparisons with rising values are a count in unary, and bit j of the count is the XOR of t at the
multiples of 2^j: local on XOR shares. So a few bits, opened under a mask beta, take the place of a dealt word for every
threshold. The dealer splits the one-hot vector of beta, and as in `spline.py` the sums of T[opened ^ w] over both shares add up
to s T[count], s known to the dealer. Opened as V = s T + rho, with s, s rho and s r dealt (x_open = x + r),

    T = s V - s rho,    x T = x_open T - V s r + r s rho,

and the last term, which the dealer knows, moves into the mask of the opening that truncates x T. Words are used after all that
they depend on has been opened; beta, rho and that mask serve nothing else: the argument of docs/protocols.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace

from ..ring.prg import Name, Stream
from ..ring.words import WORD, Array
from .base import Opening, Origin, Share, Steps, Tape, together
from .fields import Field, most_trees
from .spline import hidden

if TYPE_CHECKING:
    from .additive import Additive


def rescale_gate(
    p: Additive,
    tape: Tape,
    x: Share,
    *,
    powers: Sequence[int],
    bits: int,
    states: Sequence[int],
    signed: bool,
    tables: bytes,
    columns: int,
    shift: int,
    results: Sequence[int],
    factors: Sequence[int],
) -> Steps[list[Share]]:
    """[x T_0 / 2^shift, then T_j for j in `results`], T_j = tables[j, place + 2^b state]: the place counts the `powers` that x
    reaches (|x| if `signed`, where states[1] is about 0), known to be less than 2^bits, in b bits; the state the `states` that
    x reaches, in as many bits as are left. factors: results that products read next; they are opened while x T_0 is.

    6 rounds from an unopened x, 10 if signed; dealt besides the comparisons 36 + 8 columns bytes, for up to 64 entries.
    """
    (opened,) = yield from p.masked(x)
    # addresses of the body that this gate replaces are free
    inner = replace(tape, name=Name(tape.name.epoch, tape.name.node + 1))
    if signed:
        lower = yield from p.signs(tape, x, states)
        kept = yield from p.unless(tape, lower[1], x)
        size = p.sub(p.add(kept, kept), x)
        size.origin = Origin(tape.name, Field.DELTA, tape.at)
        below = yield from _below(p, inner, size, powers, bits)
    else:
        lower, below = yield from together(_below(p, tape, x, states), _below(p, inner, x, powers, bits))
    k = (len(tables) // p.ring.word.itemsize // columns).bit_length() - 1
    place_bits = len(powers).bit_length()
    index = p.ring.concatenate([*_count(p, below, place_bits), *_count(p, lower, k - place_bits)], 0)
    entries, (z, known) = yield from _looked_up(p, inner, x, opened, index, k, tables, columns)
    made = [Share((entries[j],), Origin(tape.name, 1 + i, tape.at)) for i, j in enumerate(results)]
    ahead = [made[i] for i in factors] if p.opens_ahead else []
    z, rho = hidden(p, inner, z, shift)
    step = p.settle(inner, z, True, lambda: p.exact.sub(rho(), known()), shift, "dither")
    product, _ = yield from together(step, p.masked(*ahead))
    return [y if x.shape == y.shape else p.reshape(y, x.shape) for y in (product, *made)]


def _below(p: Additive, tape: Tape, x: Share, values: Sequence[int], bits: int | None = None) -> Steps[list[Array]]:
    """Packed shares of [x < v] for any number of values."""
    most = most_trees(bits or p.bits)

    def batch(i: int) -> Steps[list[Array]]:
        name = Name(tape.name.epoch, tape.name.node + i // most)
        return p.signs(replace(tape, name=name), x, values[i : i + most], bits)

    found = yield from together(*(batch(i) for i in range(0, len(values), most)))
    return [plane for planes in found for plane in planes]


def _count(p: Additive, below: Sequence[Array], bits: int) -> list[Array]:
    """The lowest bits of how many values are reached, from the bits that they are not."""
    planes = []
    for j in range(bits):
        chosen = below[(1 << j) - 1 :: 1 << j]
        plane = p.ring.xor(chosen)
        planes.append(p.ring.local(np.invert, plane) if p.first and len(chosen) % 2 else plane)
    return planes


def _looked_up(
    p: Additive,
    tape: Tape,
    x: Share,
    opened: Opening,
    bits: Array,
    k: int,
    tables: bytes,
    columns: int,
) -> Steps[tuple[list[Array], tuple[Array, Callable[[], Array]]]]:
    """My shares of the entries at an index whose k bit planes are shared, and of x times the first one, less what the dealer
    knows: 2 rounds."""
    ring, exact, n, blocks = p.ring, p.exact, x.size, max(1, (1 << k) // 64)
    lookup, rows = tape.name.field(Field.LOOKUP), [p.own(tape, Field.SPLINE + j) for j in range(columns + 2)]
    last: list[Array] = []  # the dealer's r s rho_0

    def deal(beta: Array) -> list[Array]:
        onehot, sign = exact.lookup_deal(exact.numbers(beta.reshape(k, -1), n), k, Stream(p.all_keys[:1], lookup, tape.at))
        r = exact.solid(p.mask_total(x).reshape(-1))
        rho = [exact.prg((n,), p.every(tape, Field.COLUMN + j)) for j in range(columns)]
        words = [sign, exact.mul(sign, r), *(exact.mul(sign, a) for a in rho)]
        last.append(exact.mul(r, words[2]))
        out = exact.empty((len(words), n))
        for word, stream, row in zip(words, rows, out, strict=True):
            exact.blind(word, -1, stream, out=row)
        return [onehot, out]

    specs = [(WORD.str, (n * blocks,)), (p.word, (columns + 2, n))]
    index, got = yield from p.open_bit(replace(tape, at=tape.at * k), bits, specs, deal)
    if got.dealt is not None:
        onehot, (sign, with_r, *with_rho) = got.dealt
    else:
        onehot = ring.packed((n * blocks,), Stream(p.key, lookup, tape.at * blocks))
        sign, with_r, *with_rho = (ring.prg((n,), row) for row in rows)
    table = np.frombuffer(tables, ring.word).reshape(columns, 1 << k)
    mine = ring.lookup(table, k, onehot, ring.numbers(index.reshape(k, -1), n), 1 if p.first else -1, exclusive=True)
    for j in range(columns):
        ring.blind(mine[j], 1, p.own(tape, Field.COLUMN + j), out=mine[j])
    entries = ring.add(mine, (yield from p.exchange([mine])).words[0])
    found = [ring.sub(ring.mul(v, sign), a) for v, a in zip(entries, with_rho, strict=True)]
    x_open = ring.solid(opened.value.reshape(-1))
    return found, (ring.sub(ring.mul(x_open, found[0]), ring.mul(entries[0], with_r)), lambda: last[0])
