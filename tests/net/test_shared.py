"""Data through shared memory: order, content and waiting; the ends of a session are those of the ZeroMQ links."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from mpc.errors import PeerLost, ProtocolError, SessionError, Timeout
from mpc.net import shared
from mpc.net.shared import Shared

from .test_zeromq import SESSION, run

SMALL = 1 << 12  # bytes of a pipe in most tests, so that messages go through in many pieces

pytestmark = pytest.mark.skipif(not shared.available(), reason="shared memory with futexes needs Linux")


@pytest.fixture(autouse=True)
def capacity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "CAPACITY", SMALL)


@pytest.fixture
def session(tmp_path) -> Iterator[Callable[..., list[Shared]]]:
    opened: list[Shared] = []

    def start(parties: int, **options: Any) -> list[Shared]:
        memory = shared.create(parties)

        def party(me: int) -> Shared:
            ends = me, parties, lambda i, j: f"ipc://{tmp_path}/{i}-{j}", SESSION
            return Shared(*ends, descriptor=os.dup(memory), **{"deadline": 10.0, "heartbeat": 20.0} | options)

        channels = run(*[lambda me=me: party(me) for me in range(parties)])
        os.close(memory)
        opened.extend(channels)
        return channels

    yield start
    run(*[c.close for c in opened])


def specs(arrays: list[np.ndarray]) -> list[tuple[str, tuple[int, ...]]]:
    return [(a.dtype.str, a.shape) for a in arrays]


def test_every_kind_of_message_arrives_in_order(session):
    a, b = session(2)
    rng = np.random.default_rng(0)
    messages = []
    for size in [0, 1, 7, 64, 300, 4032, 4033, 5000, 40_000]:  # below, at and above a pipe; joined frames and not
        words = rng.integers(0, 1 << 64, size, np.uint64)
        messages.append([words, words.astype(np.uint32).reshape(1, size), words.astype(np.uint8)])
        messages.append([words])

    def send() -> None:
        for k, arrays in enumerate(messages):
            a.send(1, k, arrays)

    def receive() -> list[list[np.ndarray]]:
        return [b.recv(0, k, specs(arrays)) for k, arrays in enumerate(messages)]

    _, got = run(send, receive)
    for want, have in zip(messages, got, strict=True):
        assert all(np.array_equal(x, y) and y.flags.aligned for x, y in zip(want, have, strict=True))
    size = sum(a.nbytes for arrays in messages for a in arrays)
    assert a.meter.bytes_sent == {1: size} == {1: b.meter.bytes_received[0]}


def test_two_who_send_first_do_not_wait_for_each_other(session):
    words = np.arange(SMALL, dtype=np.uint64)  # eight times what a pipe holds

    def role(me: int, channel: Shared) -> bool:
        channel.send(1 - me, 1, [words + np.uint64(me)])
        (got,) = channel.recv(1 - me, 1, specs([words]))
        return np.array_equal(got, words + np.uint64(1 - me))

    a, b = session(2)
    assert run(lambda: role(0, a), lambda: role(1, b)) == [True, True]


def test_a_circle_of_waiting_comes_apart(session):
    """0 stands before the full pipe to 1, which waits for 2, which waits for 0."""
    words, one = np.arange(SMALL, dtype=np.uint64), np.ones(1, np.uint64)
    a, b, c = session(3)

    def first() -> None:
        a.send(1, 1, [words])
        a.send(2, 2, [one])

    def second() -> bool:
        b.recv(2, 3, specs([one]))
        return np.array_equal(b.recv(0, 1, specs([words]))[0], words)

    def third() -> None:
        c.recv(0, 2, specs([one]))
        c.send(1, 3, [one])

    assert run(first, second, third) == [None, True, None]


@pytest.mark.parametrize("size", [4, 5000])
def test_another_shape_is_refused_by_name(session, size):
    a, b = session(2)
    a.send(1, 1, [np.zeros(3, np.uint64)])
    (error,) = run(lambda: b.recv(0, 1, [("<u8", (size,))]))
    assert isinstance(error, ProtocolError) and error.party == 0 and "payload of 24 bytes" in str(error)
    assert run(lambda: b.send(0, 2, [np.zeros(1, np.uint64)])) == [error]


def test_a_round_out_of_step_is_refused(session):
    a, b = session(2)
    a.send(1, 1, [np.zeros(3, np.uint64)])
    (error,) = run(lambda: b.recv(0, 2, [("<u8", (3,))]))
    assert isinstance(error, ProtocolError) and "round 1 instead of 2" in str(error)


def test_what_was_sent_before_leaving_arrives_and_then_the_party_is_gone(session):
    a, b = session(2, linger=0.2)
    a.send(1, 1, [np.arange(3, dtype=np.uint64)])
    closing = threading.Thread(target=a.close)
    closing.start()
    assert b.recv(0, 1, [("<u8", (3,))])[0].tolist() == [0, 1, 2]
    (error,) = run(lambda: b.recv(0, 2, [("<u8", (3,))]))
    assert isinstance(error, PeerLost) and error.party == 0 and "left the session" in str(error)
    closing.join()
    (closed,) = run(lambda: a.send(1, 2, [np.zeros(1, np.uint64)]))
    assert isinstance(closed, SessionError)


def test_an_abort_reaches_who_waits_for_somebody_else(session):
    a, b, c = session(3)

    def fail() -> None:
        time.sleep(0.05)
        a.abort("found a fault")

    error, full, _ = run(lambda: b.recv(2, 1, [("<u8", (1,))]), lambda: c.send(0, 1, [np.zeros(SMALL, np.uint64)]), fail)
    for e in (error, full):
        assert isinstance(e, PeerLost) and e.party == 0 and "found a fault" in str(e)


@pytest.mark.parametrize("role", ["reads nothing", "writes to a full pipe"])
def test_silence_has_a_deadline(session, role):
    a, b = session(2, deadline=0.3)
    if role == "reads nothing":
        (error,) = run(lambda: b.recv(0, 1, [("<u8", (1,))]))
    else:
        (error,) = run(lambda: b.send(0, 1, [np.zeros(SMALL, np.uint64)]))
    assert isinstance(error, Timeout) and error.party == 0
    assert a.me == 0  # alive, and silent
