"""Replicated sharing: what parties hold, what gates of replicated shares cost, and that nobody bears more than the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import mpc
from mpc.protocols.base import Origin, Share, Tape, available
from mpc.protocols.replicated import Replicated, is_replicated
from mpc.ring.bilinear import MUL
from mpc.ring.packed import Packed
from mpc.ring.prg import Name
from mpc.run.chunks import CHUNK
from mpc.run.rehearse import Report, rehearse

from ..memory import lockstep, make_parties, open_session

SIZE = 640


def together(step: Callable[[Any, int], Any]) -> list[Any]:
    """The step's results at three parties that share one seed in every test."""
    parties = make_parties(Replicated, 3, seed=5)
    return lockstep([step(party, me) for me, party in enumerate(parties)])


def holds(shares: list[Share], value: np.ndarray) -> None:
    """Neighbours hold the same component; the three add up to the value."""
    assert all(map(is_replicated, shares))
    words = [[p.bytes() if isinstance(p, Packed) else p for p in share.parts] for share in shares]
    for me in range(3):
        assert np.array_equal(words[me][1], words[(me + 1) % 3][0])
    join = np.bitwise_xor if shares[0].is_bits else np.add
    assert np.array_equal(join.reduce([mine for mine, _ in words]), value)


X = np.random.default_rng(1).integers(0, 1 << 64, SIZE, np.uint64)
B = np.random.default_rng(2).integers(0, 2, SIZE, np.uint8)


@pytest.mark.parametrize("owner", range(3))
def test_inputs_are_replicated(owner: int):
    tape = Tape(Name(1, 0))
    holds(together(lambda p, me: p.share(tape, owner, X.shape, False, X if me == owner else None)), X)
    holds(together(lambda p, me: p.share(tape, owner, B.shape, True, Packed.of(B) if me == owner else None)), B)


def test_results_are_summands_until_they_are_replicated():
    """Of words and of bits, and of views of them."""

    def step(p: Replicated, me: int) -> Any:
        x = yield from p.share(Tape(Name(1, 0)), 2, X.shape, False, X if me == 2 else None)
        square = yield from p.bilinear(Tape(Name(1, 1)), MUL, x, x, 0, "dither")
        negative = yield from p.ltz(Tape(Name(1, 2)), x)
        square.origin, negative.origin = Origin(Name(1, 1), 0), Origin(Name(1, 2), 0)
        assert not is_replicated(square) and not is_replicated(negative)
        view = p.rearrange(square, lambda a: a[::-1])
        bits = p.rearrange(negative, lambda a: a.reshape(2, -1).T)
        return (yield from p.replicated(square, negative, view, bits, x))

    squares, negative, views, bits, xs = zip(*together(step), strict=True)
    sign = (X >> np.uint64(63)).astype(np.uint8)
    for shares, value in ((squares, X * X), (negative, sign), (views, (X * X)[::-1]), (bits, sign.reshape(2, -1).T), (xs, X)):
        holds(list(shares), value)


def test_a_share_is_replicated_once():
    def step(p: Replicated, me: int) -> Any:
        share = Share((X if me == 1 else np.zeros_like(X),), Origin(Name(3, 1), 0))
        for again in range(2):
            steps = p.replicated(share, share)
            if again:
                with pytest.raises(StopIteration):
                    next(steps)
            else:
                yield from steps
        return share.parts

    assert np.array_equal(np.add.reduce([parts[0] for parts in together(step)]), X)


# ---- cost ----
def cost(f: Callable[..., Any], size: int = SIZE) -> tuple[Report, mpc.Array]:
    """Of f(x, y, z, b), party 0, 1, 2, 2 being the owners, and its reveal; and the result."""
    with open_session("replicated", 3) as s:
        x, y, z = (s.placeholder((size,), owner=i) for i in range(3))
        result = f(x, y, z, s.placeholder((size,), owner=2, dtype=mpc.bool))
        return rehearse(s.equations([result]), available()["replicated"], 3), result


TREE = 2 * 33 / 8  # bytes that two parties open to each other in a comparison
HOT = (232 + 96 + 1) / 8  # dealt for it
BIT = 1 / 8
MULTIPLY = 8 + 8 + 12  # opened each way, dealt


@pytest.mark.parametrize(
    ("gate", "inputs", "rounds", "size"),
    [
        (lambda x, y, z, b: x * y, 16, 1, MULTIPLY),
        (lambda x, y, z, b: x * y * z, 24, 2, MULTIPLY + MULTIPLY + 4),
        (lambda x, y, z, b: x < 0, 8, 2, TREE + HOT),
        (lambda x, y, z, b: mpc.nn.relu(x), 8, 3, TREE + HOT + 2 * BIT + 16),
        (lambda x, y, z, b: mpc.nn.relu(x + y - z), 24, 3, TREE + HOT + 2 * BIT + 16),
        (lambda x, y, z, b: mpc.nn.relu(x * y), 16, 4, MULTIPLY + TREE + HOT + 2 * BIT + 24),
        (lambda x, y, z, b: mpc.where(b, x, y), 16 + BIT, 0, 16),
        (lambda x, y, z, b: mpc.where(x < y, x, y), 16, 3, TREE + HOT + 3 * BIT + 16),
        (lambda x, y, z, b: b & b[::-1], BIT, 0, 0),
        (lambda x, y, z, b: b & b[::-1] & (x < 0), 8 + BIT, 3, TREE + HOT + 6 * BIT),
        (lambda x, y, z, b: b * 1, BIT, 0, 8),
        (lambda x, y, z, b: x * 0.5, 8, 1, 24 + 12),
    ],
)
def test_what_gates_cost(gate: Callable[..., Any], inputs: float, rounds: int, size: float):
    """Beyond the inputs, which take a round, and the reveal: every party's summand to the two others."""
    report, result = cost(gate)
    reveal = 6 * (BIT if result.dtype.is_bool else 8)
    assert report.rounds == 1 + rounds + 1
    assert sum(report.links.values()) / SIZE == inputs + size + reveal


def test_large_arrays_burden_all_parties_alike():
    """Every link in the ring's direction carries the same, and every link against it."""
    report, _ = cost(lambda x, y, z, b: mpc.nn.relu(x + y + z), 6 * CHUNK)
    for step in (1, 2):
        assert len({report.links[i, (i + step) % 3] for i in range(3)}) == 1


def test_who_deals_for_a_small_gate_is_told_nothing():
    report, _ = cost(lambda x, y, z, b: mpc.nn.sigmoid(mpc.nn.relu(x + y)).sum())
    told = report.links[0, 2] + report.links[1, 2]
    y, summand, revealed = 8 * SIZE, 8 * SIZE, 2 * 8  # the sigmoid needs the ReLU replicated
    assert told == y + summand + revealed
