"""Gates of large arrays run in chunks: what is opened of one serves whoever reads the array again, and nobody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import mpc
from mpc.protocols import dealt, pieces
from mpc.protocols.base import Share
from mpc.run import interpret
from mpc.run.chunks import CHUNK
from mpc.run.rehearse import Loops, Report, rehearse

from ..memory import open_session

SIZE = 6 * CHUNK + 640
each_setting = pytest.mark.parametrize(("protocol", "n"), [("helper", 3), ("additive", 3), ("replicated", 3)])


@mpc.function
def chain(x: Any, y: Any) -> Any:
    return mpc.where(x * 0.5 < y, mpc.exp(y) - x, 1 / (x + 3)) * y


READ_AGAIN: dict[str, Callable[[Any, Any], Any]] = {
    "twice": lambda x, y: x * y + mpc.nn.relu(x),
    "one after the other": lambda x, y: mpc.nn.relu(x * y * y) + (x < 0) * y,
    "its square": lambda x, y: mpc.square(x) * x,
    "in another shape": lambda x, y: (x * y).reshape(-1, 64) * x.reshape(-1, 64) + mpc.nn.relu(y).reshape(-1, 64),
    "by a chain of products": lambda x, y: x * y * y * y,
    "by a spline": lambda x, y: mpc.nn.sigmoid(x) * x,
    "by a function that reads it again": lambda x, y: mpc.reciprocal(x) * x + mpc.log(y),
    "by a function of the user's": lambda x, y: chain(x, y) * x,
    "in a loop": lambda x, y: mpc.fori(0, 3, lambda i, v: v * y + mpc.nn.relu(v), x),
}


def cost(protocol: str, n: int, f: Callable[[Any, Any], Any], size: int) -> Report:
    with open_session(protocol, n) as s:
        s.compare = "bulk"  # for whatever size
        program = s.equations([f(s.placeholder((size,), owner=0), s.placeholder((size,), owner=n - 1))])
        return rehearse(program, s.protocol, n)


@pytest.mark.parametrize(("protocol", "n"), [("helper", 3), ("additive", 3)])
@pytest.mark.parametrize("name", READ_AGAIN)
def test_many_chunks_open_what_one_does(protocol: str, n: int, name: str):
    """Bytes grow as the array does. Of `replicated` only small gates go on from a truncation: there parties take turns."""
    small, large = (cost(protocol, n, READ_AGAIN[name], size) for size in (640, SIZE))
    assert large.online_bytes * 640 == small.online_bytes * SIZE
    assert large.dealt_bytes * 640 == small.dealt_bytes * SIZE


@pytest.mark.parametrize(("protocol", "n"), [("helper", 3), ("replicated", 3)])
@pytest.mark.parametrize("name", READ_AGAIN)
def test_chunks_that_are_counted_cost_what_they_would(protocol: str, n: int, name: str, monkeypatch: pytest.MonkeyPatch):
    counted = cost(protocol, n, READ_AGAIN[name], SIZE)
    monkeypatch.setattr(Loops, "steady", lambda *args: False)
    assert counted.as_dict() == cost(protocol, n, READ_AGAIN[name], SIZE).as_dict()


@each_setting
def test_a_run_is_right_and_costs_what_is_counted(protocol: str, n: int):
    rng = np.random.default_rng(5)
    X, Y = rng.uniform(0.5, 2, CHUNK + 640), rng.uniform(-2, 2, CHUNK + 640)
    functions = [READ_AGAIN[k] for k in ("one after the other", "in another shape", "by a function that reads it again")]
    for f in (*functions, lambda x, y: (x * y).reshape(64, -1) @ x.reshape(-1, 64) / 1000):  # the last opens what chunks have
        with open_session(protocol, n) as s:
            found = f(s.input(X, owner=0), s.input(np.abs(Y) + 0.1, owner=n - 1))
            value, backend = found.reveal(), s._backend
            report = rehearse(backend.programs[-1], s.protocol, n)
            assert report.rounds == backend.rounds
            assert {k: b for k, b in report.links.items() if b} == {k: b for k, b in backend.links.items() if b}
        with open_session("plain", 1) as s:
            expected = f(s.input(X), s.input(np.abs(Y) + 0.1)).reveal()
        assert np.abs(value - expected).max() < 2.0**-11


@pytest.mark.parametrize(
    ("f", "keeps"),
    [
        (lambda x, y: mpc.nn.relu(x), False),
        (lambda x, y: mpc.nn.sigmoid(x * y), False),
        (lambda x, y: mpc.reciprocal(x * 0.5 + y).sum(), False),
        (lambda x, y: mpc.nn.relu(x) * x, True),
        (lambda x, y: mpc.reciprocal(x) + x * y, True),
    ],
)
def test_what_is_read_once_is_not_kept(f: Callable[[Any, Any], Any], keeps: bool, monkeypatch: pytest.MonkeyPatch):
    count, chunk = 0, pieces.chunk

    def counting(x: Any, start: int, *args: Any) -> Any:
        nonlocal count
        y = chunk(x, start, *args)
        count += isinstance(x, Share) and x.pieces is not None and start in x.pieces
        return y

    monkeypatch.setattr(pieces, "chunk", counting)
    cost("helper", 3, f, 3 * CHUNK)
    assert bool(count) == keeps


@pytest.mark.parametrize(
    ("f", "arrays"),
    [
        (mpc.reciprocal, 1),
        (mpc.log, 1),
        (mpc.nn.sigmoid, 1),
        (lambda x: chain(x, x + 1), 1),
        (lambda x: mpc.nn.relu(x * x), 2),
        (mpc.function(lambda x: mpc.nn.relu(x.reshape(64, -1) * 2.5)), 2),
    ],
)
def test_a_function_of_every_element_runs_by_chunks_as_a_whole(
    f: Callable[[Any], Any], arrays: int, monkeypatch: pytest.MonkeyPatch
):
    """Nothing that it computes on the way is as large as its operand: one array is made, whatever is in its body."""
    made, inner = set(), interpret.in_chunks

    def noting(gate: Any, protocol: Any, tape: Any, *args: Any) -> Any:
        made.add(tape.name)
        return inner(gate, protocol, tape, *args)

    monkeypatch.setattr(interpret, "in_chunks", noting)
    cost("helper", 3, lambda x, y: f(x), 3 * CHUNK)
    assert len(made) == arrays


@each_setting
def test_functions_of_large_arrays_with_other_results(protocol: str, n: int):
    """An argument as it came, a number without axes, a public one: what is not of every element, or not secret."""
    X = np.arange(CHUNK + 640) / 64 - 500

    @mpc.function
    def several(x: Any, one: Any) -> Any:
        return x, x * 0.5, mpc.nn.relu(x) - x, mpc.asarray(2.5) if one is None else one * 2

    with open_session(protocol, n) as s:
        x = s.input(X)
        for one, last in ((None, 2.5), (s.input(3.0), 6.0), (mpc.asarray(1.5), 3.0)):
            same, half, negative, number = several(x, one)
            found = s.reveal(same, half, negative, same * negative + number)
            for value, wanted in zip(found, (X, X / 2, np.maximum(-X, 0), X * np.maximum(-X, 0) + last), strict=True):
                assert np.abs(value - wanted).max() < 2.0**-10


@pytest.mark.parametrize(("protocol", "n"), [("helper", 3), ("additive", 3)])
def test_a_large_operand_is_opened_in_parts(protocol: str, n: int, monkeypatch: pytest.MonkeyPatch):
    """As much is sent as by an opening of the whole, in the same rounds; what is sent at a time is small. A program that opens
    the same array twice at once, or a view of it, waits for the one opening."""
    rng = np.random.default_rng(6)
    X, W = rng.uniform(-1, 1, (30, 70)), rng.uniform(-1, 1, (70, 50))

    def found(part: int) -> tuple[np.ndarray, int, dict[Any, int], int]:
        monkeypatch.setattr(dealt, "PART", part)
        with open_session(protocol, n) as s:
            x, w = s.input(X, owner=0), s.input(W, owner=1)
            value, backend = ((x @ w).T + w.T @ x.T).reveal(), s._backend
            report = rehearse(backend.programs[-1], s.protocol, n)
            assert report.rounds == backend.rounds
            links = {k: b for k, b in backend.links.items() if b}
            assert {k: b for k, b in report.links.items() if b} == links
            return value, backend.rounds, links, report.messages

    whole, rounds, links, messages = found(1 << 20)
    value, *rest, more = found(1000)
    assert np.abs(value - whole).max() < 2.0**-10
    assert rest == [rounds, links] and more > messages
