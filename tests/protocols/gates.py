"""The gates of the protocols with a dealer, as steps on shares, with parameters for the full ring."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from msgspec.structs import replace

from mpc.protocols.additive import Additive
from mpc.protocols.base import Origin, Share, Steps, Tape, together
from mpc.protocols.spline import polynomial, seen
from mpc.ring.bilinear import MATMUL, MUL
from mpc.ring.packed import Packed
from mpc.ring.prg import Name
from mpc.ring.ring import DEEP, WIDE
from mpc.ring.words import WORD, Array

Step = Callable[..., Steps[Any]]


class Operand(NamedTuple):
    """The shape of a secret in one lane, and whether it is a bit."""

    shape: tuple[int, ...] = ()
    is_bit: bool = False


class Gate(NamedTuple):
    step: Step
    operands: tuple[Operand, ...]
    two_only: bool = False


WORDS, BITS, ROW, COLUMN = Operand(), Operand((), True), Operand((1, 2)), Operand((2, 1))


def by(tree: int, step: Step) -> Step:
    """The gate with its comparisons by such trees."""
    return lambda p, tape, *shares: step(p, replace(tape, tree=tree), *shares)


def nth(tape: Tape, k: int) -> Tape:
    """The tape of the k-th equation after this one."""
    return replace(tape, name=Name(tape.name.epoch, tape.name.node + 100 + 10 * k))


def equation(step: Steps[Share], tape: Tape) -> Steps[Share]:
    """Its result gets a mask of its own, as the interpreter gives it one."""
    share = yield from step
    share.origin = Origin(tape.name, 0, tape.at)
    return share


def multiply(p: Additive, tape: Tape, x: Share, y: Share) -> Steps[Share]:
    return p.bilinear(tape, MUL, x, y, 0, "dither")


def square(p: Additive, tape: Tape, x: Share) -> Steps[Share]:
    return p.bilinear(tape, MUL, x, x, 0, "dither")


def inner(p: Additive, tape: Tape, x: Share, y: Share) -> Steps[Share]:
    return p.bilinear(tape, MATMUL, x, y, 0, "dither")


def norm(p: Additive, tape: Tape, x: Share) -> Steps[Share]:
    """x times its transpose, which is opened through x."""
    return p.bilinear(tape, MATMUL, x, p.rearrange(x, lambda a: a.swapaxes(1, 2)), 0, "dither")


def truncate(bits: int, rounding: str = "dither") -> Step:
    return lambda p, tape, x: p.trunc(tape, x, bits, rounding)


def multiply_truncate(bits: int, rounding: str = "dither") -> Step:
    return lambda p, tape, x, y: p.bilinear(tape, MUL, x, y, bits, rounding)


def inner_truncate(bits: int) -> Step:
    return lambda p, tape, x, y: p.bilinear(tape, MATMUL, x, y, bits, "dither")


def truncate_relu(bits: int) -> Step:
    """The sign of what was truncated is read off the word opened for the truncation."""

    def step(p: Additive, tape: Tape, x: Share) -> Steps[Share]:
        t = yield from p.trunc(tape, x, bits, "dither")
        return (yield from p.relu(nth(tape, 1), t))

    return step


def layer(bits: int) -> Step:
    """relu(xy / 2^bits)"""

    def step(p: Additive, tape: Tape, x: Share, y: Share) -> Steps[Share]:
        t = yield from p.bilinear(tape, MUL, x, y, bits, "dither")
        return (yield from p.relu(nth(tape, 1), t))

    return step


def chain(bits: int, times: int = 1) -> Step:
    """((x / 2^bits) y / 2^bits) y / 2^bits ..."""

    def step(p: Additive, tape: Tape, x: Share, y: Share) -> Steps[Share]:
        t = yield from p.trunc(tape, x, bits, "dither")
        for k in range(times):
            t = yield from p.bilinear(nth(tape, k), MUL, t, y, bits, "dither")
        return t

    return step


def negative(p: Additive, tape: Tape, x: Share) -> Steps[Share]:
    return p.ltz(tape, x)


def zero(p: Additive, tape: Tape, x: Share) -> Steps[Share]:
    return p.eqz(tape, x)


def below(*values: int) -> Step:
    """Bits [x < v] of the last of several values, which share an opening."""

    def step(p: Additive, tape: Tape, x: Share) -> Steps[Share]:
        planes = yield from p.signs(tape, x, values)
        return Share((Packed(planes[-1], x.shape),))

    return step


def select(p: Additive, tape: Tape, b: Share, x: Share, y: Share) -> Steps[Share]:
    return p.select(tape, b, x, y)


def relu(p: Additive, tape: Tape, x: Share) -> Steps[Share]:
    return p.relu(tape, x)


def to_word(p: Additive, tape: Tape, b: Share) -> Steps[Share]:
    return p.b2a(tape, b)


def both(p: Additive, tape: Tape, x: Share, y: Share) -> Steps[Share]:
    return p.and_(tape, x, y)


def piecewise(k: int, t: int, tables: Array, bits: int = 0) -> Step:
    """The polynomial of the piece that x / 2^bits lies in, from x's own opening or the truncation's; one row: a lookup."""

    def step(p: Additive, tape: Tape, x: Share) -> Steps[Share]:
        if bits:
            x, tape = (yield from p.trunc(tape, x, bits, "dither")), nth(tape, 1)
        value, mask = yield from seen(p, x, k + t)
        return Share(((yield from polynomial(p, tape, mask, value, k, t, tables)),))

    return step


def spline(**params: Any) -> Step:
    return lambda p, tape, x: p.spline(tape, x, **params)


def rescaled(result: int, **params: Any) -> Step:
    """One of the gate's results."""

    def step(p: Additive, tape: Tape, x: Share) -> Steps[Share]:
        found = yield from p.rescale(tape, x, **params)
        return found[result]

    return step


def exponential(p: Additive, tape: Tape, x: Share) -> Steps[Share]:
    return p.exp(tape, x, fraction=16, low=-20, high=14)


def circuit(p: Additive, tape: Tape, x: Share, y: Share) -> Steps[Share]:
    """What an opening, or a truncation's word, is reused for, all in one: two products of x, a layer, products that follow
    it, comparisons of what was multiplied, in the same rounds where they can be."""

    def named(k: int, gate: Callable[..., Steps[Share]], *args: Any) -> Steps[Share]:
        return equation(gate(nth(tape, k), *args), nth(tape, k))

    product, again, own, sign = yield from together(
        named(0, p.bilinear, MUL, x, y, 16, "dither"),
        named(1, p.bilinear, MUL, x, y, 16, "dither"),
        named(2, p.bilinear, MUL, x, x, 16, "dither"),
        named(3, p.ltz, x),
    )
    rectified, chained, chosen = yield from together(
        named(4, p.relu, product),
        named(5, p.bilinear, MUL, again, y, 16, "dither"),
        named(6, p.select, sign, x, own),
    )
    total = p.add(rectified, chained)
    total.origin = Origin(nth(tape, 9).name, 0)
    out, word = yield from together(named(7, p.bilinear, MUL, total, chosen, 16, "floor"), named(8, p.b2a, sign))
    return p.add(out, p.sub(word, chosen))


RNG = np.random.default_rng(3)
TABLES = RNG.integers(0, 1 << 40, (3, 16), np.uint64).astype(WORD)
CURVE = {"k": 4, "t": 14, "degree": 2, "centre": 5, "tables": TABLES.tobytes(), "shift": 20}
SCALES = {
    "powers": [4 << 2 * j for j in range(15)],
    "bits": 31,
    "tables": RNG.integers(0, 1 << 40, (3, 64), np.uint64).astype(WORD).tobytes(),
    "columns": 3,
    "shift": 6,
    "results": [1, 2],
    "factors": [1],
}
ONE, TWO = (WORDS,), (WORDS, WORDS)

GATES = {
    "multiply": Gate(multiply, TWO),
    "square": Gate(square, ONE),
    "inner product": Gate(inner, (ROW, COLUMN)),
    "product of two views": Gate(norm, (ROW,)),
    "truncate": Gate(truncate(16), ONE),
    "truncate far": Gate(truncate(40), ONE),
    "truncate to floor": Gate(truncate(16, "floor"), ONE),
    "truncate to nearest": Gate(truncate(20, "nearest"), ONE),
    "multiply and truncate": Gate(multiply_truncate(16), TWO),
    "multiply and truncate to floor": Gate(multiply_truncate(16, "floor"), TWO),
    "inner product and truncate": Gate(inner_truncate(16), (ROW, COLUMN)),
    "truncate and relu": Gate(truncate_relu(16), ONE),
    "layer": Gate(layer(16), TWO),
    "chain": Gate(chain(16, 3), TWO),
    "negative": Gate(negative, ONE),
    "zero": Gate(zero, ONE),
    "below": Gate(below(-3 << 16, 0, 77), ONE),
    "select": Gate(select, (BITS, WORDS, WORDS)),
    "relu": Gate(relu, ONE),
    "bit to word": Gate(to_word, (BITS,)),
    "and": Gate(both, (BITS, BITS)),
    "lookup": Gate(piecewise(4, 10, TABLES[:2]), ONE, True),
    "truncate and look up": Gate(piecewise(4, 10, TABLES[:2], 16), ONE, True),
    "spline": Gate(spline(**CURVE, bounds=[], tails=[]), ONE, True),
    "spline with tails": Gate(spline(**CURVE, bounds=[-(1 << 17), 1 << 17], tails=[[0, 1], [1 << 16, 0]]), ONE, True),
    "exponential": Gate(exponential, ONE, True),
    "rescale": Gate(rescaled(0, **SCALES, states=[1, 1 << 31], signed=False), ONE, True),
    "rescale with a sign": Gate(rescaled(2, **SCALES, states=[1 - (1 << 31), 0, 1, 1 << 31], signed=True), ONE, True),
    "circuit": Gate(circuit, TWO),
}
TREES = {
    f"{name} {what}": Gate(by(tree, step), operands)
    for name, tree in (("wide", WIDE), ("deep", DEEP))
    for what, step, operands in (
        ("negative", negative, ONE),
        ("zero", zero, ONE),
        ("truncate and relu", truncate_relu(4), ONE),
        ("multiply and truncate to floor", multiply_truncate(17, "floor"), TWO),
    )
}
