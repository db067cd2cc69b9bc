"""The sine gate: its own sine of words, arguments of many turns, and arrays that run in chunks."""

from __future__ import annotations

import numpy as np
import pytest

import mpc
from mpc.protocols.sine import sine
from mpc.run.chunks import CHUNK

from ..memory import open_session

ULP = 2.0**-16


def test_sine_of_words():
    rng = np.random.default_rng(3)
    edges = [q * (1 << 62) + d for q in range(4) for d in (-2, -1, 0, 1, 2)]
    turns = np.concatenate(
        [np.array([e % (1 << 64) for e in edges], "<u8"), rng.integers(0, 1 << 64, 100_000, dtype=np.uint64)]
    )
    exact = np.sin(turns.view(np.int64).astype(float) * (2 * np.pi / 2.0**64))
    assert np.abs(sine(turns) - exact).max() < 2.0**-40


@pytest.mark.parametrize(("protocol", "n"), [("helper", 3), ("additive", 2), ("additive", 5)])
def test_many_turns_and_chunks(protocol: str, n: int):
    v = np.rint(np.random.default_rng(4).uniform(-(2.0**19), 2.0**19, CHUNK + 777) / ULP) * ULP
    with open_session(protocol, n) as s:
        x = s.input(v)
        found, ahead, last = s.reveal(mpc.sin(x), mpc.cos(x), mpc.sin(x[-1]))
    assert np.abs(found - np.sin(v)).max() < 1.1 * ULP
    assert np.abs(ahead - np.cos(v)).max() < 1.1 * ULP
    assert abs(last - np.sin(v[-1])) < 1.1 * ULP
