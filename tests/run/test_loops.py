"""Loops are rehearsed by a few iterations and counted: the count must be what running every iteration measures."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import mpc
from mpc.run.chunks import CHUNK
from mpc.run.rehearse import Loops, rehearse

from ..memory import open_session

X = np.linspace(-0.5, 0.5, 6).reshape(3, 2)


def plain_loop(x: Any, w: Any) -> Any:
    return mpc.fori(0, 9, lambda i, c: c + x.T @ (x @ c) * 0.125, w)


def delay_line(x: Any, w: Any) -> Any:
    """Only the oldest value is multiplied: what iterations find open changes until the line is full."""
    a, b, c = mpc.fori(0, 8, lambda i, c: (c[0] * c[2], c[0], c[1]), (w, w + 1, w - 1))
    return a + b + c


def swap(x: Any, w: Any) -> Any:
    """The carried values take turns in being opened: every second iteration is the same."""
    a, b = mpc.fori(0, 9, lambda i, c: (c[1], c[0] * x[0]), (w, w + 1))
    return a + b


def views(x: Any, w: Any) -> Any:
    return mpc.fori(0, 7, lambda i, c: c + (c.reshape(2, 1) * x[:1].T).reshape(2) + x[i % 1 if isinstance(i, int) else 0], w)


def rows(x: Any, w: Any) -> Any:
    return mpc.fori(0, 3, lambda i, c: c * x[i], w)


def nested(x: Any, w: Any) -> Any:
    return mpc.fori(0, 5, lambda i, c: mpc.fori(0, 6, lambda j, d: d * x[1] + 0.5, c) * w, w)


def in_company(x: Any, w: Any) -> Any:
    """Other equations run beside the loop for a while and share its rounds."""
    y = mpc.maximum(x, x.T[0, 0])
    for _ in range(3):
        y = y * y
    return mpc.fori(0, 12, lambda i, c: c * c, w) + y.sum()


def two_loops(x: Any, w: Any) -> Any:
    a = mpc.fori(0, 11, lambda i, c: c * c, w)
    return a + mpc.fori(0, 4, lambda i, c: mpc.where(c > 0, c, -c) * x[0], w)


def in_a_function(x: Any, w: Any) -> Any:
    @mpc.function
    def train(x: Any, w: Any) -> Any:
        return mpc.fori(0, 9, lambda i, c: c - x.T @ mpc.nn.sigmoid(x @ c), w)

    return train(x, w) + train(x, w + 1)


def local_body(x: Any, w: Any) -> Any:
    return mpc.fori(0, 30, lambda i, c: c + x[0], w)


LOOPS = [plain_loop, delay_line, swap, views, rows, nested, in_company, two_loops, in_a_function, local_body]


@pytest.mark.parametrize(("protocol", "n"), [("helper", 3), ("additive", 2), ("additive", 3), ("replicated", 3), ("plain", 2)])
@pytest.mark.parametrize("loop", LOOPS, ids=lambda f: f.__name__)
def test_counted_as_measured(loop: Callable[[Any, Any], Any], protocol: str, n: int):
    with open_session(protocol, n) as s:
        y = loop(s.input(X, owner=0), s.input(X[0], owner=1))
        s.reveal(y)
        backend: Any = s._backend
        report = rehearse(backend.programs[-1], s.protocol, s.n)
    assert report.rounds == backend.rounds and report.messages == backend.messages
    assert {link: b for link, b in report.links.items() if b} == {link: b for link, b in backend.links.items() if b}


@pytest.mark.parametrize("loop", LOOPS, ids=lambda f: f.__name__)
def test_counted_as_run_on_shapes(loop: Callable[[Any, Any], Any], monkeypatch: pytest.MonkeyPatch):
    """The attribution to operations and lines, and the work, too."""
    with open_session("helper", 3) as s:
        program = s.equations([loop(s.input(X, owner=0), s.input(X[0], owner=1))])
        counted = rehearse(program, s.protocol, s.n)
        monkeypatch.setattr(Loops, "steady", lambda *args: False)
        run = rehearse(program, s.protocol, s.n)
    assert counted.as_dict() == run.as_dict()
    assert (counted.multiplications, counted.words) == (run.multiplications, run.words)


@pytest.mark.parametrize("protocol", ["helper", "replicated"])
@pytest.mark.parametrize("chunks", [2.5, 3, 9.1, 11])
def test_chunks_counted_as_run_on_shapes(protocol: str, chunks: float, monkeypatch: pytest.MonkeyPatch):
    """Also where their costs repeat after three, as parties take turns."""
    with open_session(protocol, 3) as s:
        x = s.placeholder((int(chunks * CHUNK),), owner=0)
        program = s.equations([mpc.nn.relu(x)])
        counted = rehearse(program, s.protocol, s.n)
        monkeypatch.setattr(Loops, "steady", lambda *args: False)
        run = rehearse(program, s.protocol, s.n)
    assert counted.as_dict() == run.as_dict()


def test_a_long_loop_costs_no_time():
    with open_session("helper", 3) as s:
        w = s.input(X[0])
        begun = time.perf_counter()
        cost = s.cost(mpc.fori(0, 1_000_000, lambda i, c: c * c, w))
        assert time.perf_counter() - begun < 5
        assert cost.rounds > 1_000_000
