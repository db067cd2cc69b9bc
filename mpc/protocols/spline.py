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
from math import comb
from typing import TYPE_CHECKING

import numpy as np

from ..ring.bilinear import MUL
from ..ring.prg import Stream
from ..ring.ring import WORD, Array
from .base import Share, Steps, Tape, together
from .fields import Field

if TYPE_CHECKING:
    from .additive import Additive


def polynomial(p: Additive, tape: Tape, x: Share, s_open: Array, k: int, t: int, tables: Array) -> Steps[Array]:
    """My share of the piecewise polynomial at scale fc + degree * fx: 1 round after x is open, 8 (degree + 1) bytes online."""
    ring, degree, n = p.ring, len(tables) - 1, s_open.size
    pairs = [(j, m) for j in range(degree + 1) for m in range(j + 1)]
    low = np.array((1 << t) - 1, WORD)
    powers = [p.own(tape, Field.POWER + m) for m in range(degree + 1)]
    products = [p.own(tape, Field.TERM + i) for i in range(len(pairs))]
    words = max(1, (1 << k) // 64)

    def deal() -> list[Array]:
        exact = p.exact
        r = exact.solid(p.mask_total(x).reshape(-1))
        onehot, sign = exact.lookup_deal(
            exact.local(lambda v: v >> np.uint64(t), r), k, Stream(p.all_keys[:1], tape.name.field(Field.LOOKUP), tape.at)
        )
        r_low = exact.local(lambda v: v & low, r)
        weights = [sign]
        for _ in range(degree):
            weights.append(exact.local(np.multiply, weights[-1], r_low))
        zero = exact.filled((n,), 0)
        rho = [exact.blind(zero, 1, p.every(tape, Field.COLUMN + j)) for j in range(degree + 1)]
        out = [onehot, *(exact.blind(w, -1, s) for w, s in zip(weights, powers, strict=True))]
        for (j, m), stream in zip(pairs, products, strict=True):
            out.append(exact.blind(exact.local(np.multiply, rho[j], weights[m]), -1, stream))
        return out

    specs = [(WORD.str, (n * words,)), *[(WORD.str, (n,))] * (len(powers) + len(products))]
    dealt = (yield from p.exchange(dealt=specs, deal=deal)).dealt
    if dealt is None:
        at = tape.at * words
        dealt = [ring.prg((n * words,), Stream(p.key, tape.name.field(Field.LOOKUP), at))]
        dealt += [ring.prg((n,), s) for s in (*powers, *products)]
    index = ring.local(lambda v: v >> np.uint64(t), s_open)
    columns = ring.lookup(tables, k, dealt[0], index, 1 if p.first else -1)
    mine = [ring.blind(columns[j], 1, p.own(tape, Field.COLUMN + j)) for j in range(degree + 1)]
    got = yield from p.exchange(mine)
    opened = [ring.add(a, b) for a, b in zip(mine, got.words, strict=True)]
    s_low = ring.local(lambda v: v & low, s_open)
    return _combine(p, s_low, opened, dealt[1 : degree + 2], dict(zip(pairs, dealt[degree + 2 :], strict=True)))


def _combine(
    p: Additive, s_low: Array, opened: list[Array], weights: list[Array], products: dict[tuple[int, int], Array]
) -> Array:
    """sum over m <= j of C(j, m) s_low^(j-m) (-1)^m (opened_j weights_m - products_jm) = sum_j T_j (s_low - r_low)^j."""
    ring, degree = p.ring, len(opened) - 1

    def horner(rows: list[Array], m: int) -> Array:
        """sum over j >= m of C(j, m) s_low^(j-m) rows[j-m]."""
        total = ring.local(lambda a: a * np.uint64(comb(degree, m)), rows[-1])
        for j in range(degree - 1, m - 1, -1):
            weight = np.uint64(comb(j, m))
            total = ring.local(lambda a, s, b, c=weight: a * s + b * c, total, s_low, rows[j - m])
        return total

    result: Array | None = None
    for m in range(degree + 1):
        public = horner(opened[m:], m)
        secret = horner([products[j, m] for j in range(m, degree + 1)], m)
        term = ring.local(lambda a, w, b: a * w - b, public, weights[m], secret)
        if result is None:
            result = term
        else:
            result = (ring.sub if m % 2 else ring.add)(result, term)
    assert result is not None
    return result


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
    """Shares of the spline at x, truncated by `shift` bits: 3 rounds from an unopened x, 4 with saturation.

    bounds, tails: below bounds[0] the result is constant + slope * x with (constant, slope) = tails[0], from bounds[1] on it
    is so with tails[1]; empty: x is in the window.
    """
    ring, shape = p.ring, x.shape
    (opened,) = yield from p.masked(x)
    s_open = ring.solid(ring.sub(opened.value, np.array(centre % (1 << 64), WORD)).reshape(-1))
    columns = np.frombuffer(tables, WORD).reshape(degree + 1, 1 << k)
    gate = polynomial(p, tape, x, s_open, k, t, columns)
    if not bounds:
        y = yield from gate
        z, mask = _hidden(p, tape, y, shift)
        result = yield from p.settle(tape, z, True, mask, shift, "dither")
        return p.reshape(result, shape)
    y, (below, under) = yield from together(gate, p.signs(tape, x, bounds))
    above = ring.local(np.invert, under) if p.first else under
    z, mask = _hidden(p, tape, y, shift)
    steps = [p.settle_unless(tape, z, mask, shift, ring.xor([below, above]))]
    weights = []
    flat = p.reshape(x, (x.size,))
    for side, (bit, (constant, slope)) in enumerate(zip((below, above), tails, strict=True)):
        field = Field.TAIL + 5 * side
        if constant:
            steps.append(p.bit_to_word(tape, bit, y.shape, field, field + 1))
            weights.append(constant)
        if slope:
            otherwise = ring.local(np.invert, bit) if p.first else bit
            steps.append(p.unless(tape, otherwise, flat, field + 2, field + 3, field + 4))
            weights.append(slope)
    total, *parts = yield from together(*steps)
    for part, weight in zip(parts, weights, strict=True):
        total = p.add(total, p.scale(MUL, part, np.array(weight % (1 << 64), WORD), False))
    return p.reshape(total, shape)


def _hidden(p: Additive, tape: Tape, y: Array, shift: int) -> tuple[Array, Callable[[], Array]]:
    """(y + rho + offset, the dealer's rho): ready to be opened for truncation."""
    z = p.ring.blind(y, 1, p.own(tape, Field.RHO))
    if p.first:
        z = p.ring.add(z, p.ring.filled(y.shape, p.offset(shift, "dither")))
    return z, lambda: p.exact.blind(p.exact.filled(y.shape, 0), 1, p.every(tape, Field.RHO))
