"""What one party is told is uniform, whatever the inputs are; and no random word ever hides two things.

The first test of a kind says what is looked at. A party sees the arrays it receives; with its own messages it knows every
opened word; and it may subtract one from another. All of these are put to a chi-square test of their bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import mpc
from mpc.lang.session import Session
from mpc.protocols.additive import Additive
from mpc.protocols.base import Origin, Protocol, available
from mpc.ring.prg import Name, Stream
from mpc.ring.ring import Ring

from .memory import View, open_session, settings

LIMIT = 414.5  # chi-square, 255 degrees of freedom: exceeded by chance once in 10^9
SIZE = 50_000  # elements; no multiple of 64
PRIVATE = [(p, n) for p, n in settings() if not available()[p].trust.startswith("INSECURE")]
each_setting = pytest.mark.parametrize(("protocol", "n"), PRIVATE, ids=lambda v: str(v))


def chi_square(data: np.ndarray) -> float:
    """Of the bytes against the uniform distribution."""
    counts = np.bincount(data.view(np.uint8), minlength=256)
    expected = data.nbytes / 256
    return float(((counts - expected) ** 2).sum() / expected)


def suspicious(name: str, data: np.ndarray, least: int = 20_000) -> Iterator[str]:
    """Complaints about an array that should be uniform: all bytes, and the highest and lowest byte of every word."""
    data = np.ascontiguousarray(data).reshape(-1)
    parts = {"": data.view(np.uint8)}
    if data.itemsize == 8:
        octets = data.view(np.uint8).reshape(-1, 8)
        parts |= {", low bytes": octets[:, 0].copy(), ", high bytes": octets[:, 7].copy()}
    for what, octets in parts.items():
        if octets.size >= least and (statistic := chi_square(octets)) > LIMIT:
            yield f"{name}{what}: chi-square {statistic:.0f} over {octets.size} bytes"


def learned(view: View, me: int, dealer: int | None) -> Iterator[tuple[str, np.ndarray]]:
    """What a party computes from its view without effort: messages, opened words, differences of these."""
    by_step: dict[int, dict[int, list[np.ndarray]]] = {}
    for step, peer, array in view.received:
        by_step.setdefault(step, {}).setdefault(peer, []).append(array)
    said: dict[int, dict[int, list[np.ndarray]]] = {}
    for step, peer, array in view.sent:
        said.setdefault(step, {}).setdefault(peer, []).append(array)
    opened: list[tuple[str, np.ndarray]] = []
    dealt: list[tuple[str, np.ndarray]] = []
    for step, peers in by_step.items():
        for peer, arrays in peers.items():
            for k, array in enumerate(arrays):
                name = f"step {step}, from {peer}, array {k} {array.dtype}{list(array.shape)}"
                yield name, array
                if peer == dealer:
                    dealt.append((name, array))
        others = [arrays for peer, arrays in peers.items() if peer != dealer]
        mine = next((arrays for peer, arrays in said.get(step, {}).items() if peer in peers), [])
        for k, arrays in enumerate(zip(mine, *others, strict=False)):
            with np.errstate(over="ignore"):
                opened.append((f"step {step}, opened {k} by addition", sum(arrays[1:], arrays[0])))
            opened.append((f"step {step}, opened {k} by xor", np.bitwise_xor.reduce(arrays)))
    yield from opened
    for kind in (opened[::2], opened[1::2], dealt):
        for (a, x), (b, y) in pairwise(kind):
            if x.shape == y.shape and x.dtype == y.dtype:
                yield f"{a} minus {b}", x - y
                yield f"{a} xor {b}", x ^ y


def complaints(session: Session) -> list[str]:
    """Everything suspicious in the views of all processes of a session, and that there was enough to look at."""
    backend = session._backend
    dealer = getattr(backend.parties[0], "dealer", None)
    out: list[str] = []
    for me, view in enumerate(backend.views):
        out += [f"party {me}: {text}" for name, data in learned(view, me, dealer) for text in suspicious(name, data)]
        everything = np.concatenate([np.zeros(0, np.uint8), *(a.reshape(-1).view(np.uint8) for _, _, a in view.received)])
        if me != dealer:
            assert everything.size >= 100_000, "too little was said to judge"
            out += [f"party {me}: {text}" for text in suspicious("all it received", everything)]
    return out


Gate = Callable[[Any, Any, Any], list[Any]]
GATES: dict[str, Gate] = {
    "multiply": lambda x, y, c: [x * y],
    "multiply twice": lambda x, y, c: [x * y, x * (y + 1), (x * y) * x],
    "multiply int": lambda x, y, c: [x.astype(mpc.int64) * y.astype(mpc.int64)],
    "square": lambda x, y, c: [mpc.square(x)],
    "matmul": lambda x, y, c: [x.reshape(250, 200) @ y.reshape(200, 250)],
    "truncate": lambda x, y, c: [x * 0.3, y.astype(mpc.fixed64(8))],
    "less": lambda x, y, c: [x < y],
    "equal": lambda x, y, c: [x == y],
    "thresholds": lambda x, y, c: [x < 1, x < 2, x < -1],
    "relu": lambda x, y, c: [mpc.nn.relu(x), mpc.nn.relu(y)],
    "where": lambda x, y, c: [mpc.where(c, x, y)],
    "bit to number": lambda x, y, c: [c * 3, c * y],
    "and": lambda x, y, c: [c & (x < y)],
    "sigmoid": lambda x, y, c: [mpc.nn.sigmoid(x)],
    "views": lambda x, y, c: [x[::-1] * x, x.reshape(250, 200).T @ y.reshape(250, 200)],
    "layer": lambda x, y, c: [mpc.nn.relu(x.reshape(250, 200) @ y.reshape(200, 250))],
    "function": lambda x, y, c: [mpc.fori(0, 2, lambda i, v: mpc.nn.relu(v * y), x)],
}


def inputs(kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if kind == "zero":
        return np.zeros(SIZE), np.zeros(SIZE), np.zeros(SIZE, bool)
    if kind == "equal":
        x = np.random.default_rng(3).uniform(-8, 8, SIZE)
        return x, x, np.ones(SIZE, bool)
    return np.full(SIZE, 2.0**13), np.full(SIZE, -(2.0**13) + 2.0**-16), np.ones(SIZE, bool)  # the ends of a product's domain


def talk(protocol: str, n: int, gate: Gate, kind: str, seed: int, truncation: str = "dither", ring: Any = Ring) -> Session:
    """A session in which `gate` has run; of its results only zero times their sum is revealed, to party 0."""
    X, Y, C = inputs(kind)
    s = open_session(protocol, n, truncation, seed=seed, ring=ring, record=True)
    x, y, c = s.input(X, owner=0), s.input(Y, owner=n - 1), s.input(C, owner=n - 1)
    results = gate(x, y, c)
    s.reveal(*(r & False if r.dtype.is_bool else (r * 0).sum() for r in results), to=0)
    return s


@each_setting
@pytest.mark.parametrize("gate", GATES)
def test_what_a_party_receives_is_uniform(protocol: str, n: int, gate: str):
    for seed, kind in enumerate(("zero", "extreme", "equal")):
        with talk(protocol, n, GATES[gate], kind, seed) as s:
            found = complaints(s)
            assert not found, f"seed {seed}, inputs {kind}:\n" + "\n".join(found)
