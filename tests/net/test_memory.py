"""Channels within one process."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mpc.errors import PeerLost, ProtocolError, SessionError, Timeout
from mpc.net import MemoryHub

WORDS = [("<u8", (3,))]


def words(*values: int) -> list[np.ndarray]:
    return [np.array(values, np.uint64)]


def test_an_array_reaches_the_peer():
    hub = MemoryHub(2)
    a, b = hub.channel(0), hub.channel(1)
    a.send(1, 0, words(1, 2, 3))
    np.testing.assert_array_equal(b.recv(0, 0, WORDS)[0], [1, 2, 3])
    assert a.meter.bytes_sent == {1: 24} and a.meter.messages_sent == {1: 1} and a.meter.overhead == 64
    assert b.meter.bytes_received == {0: 24} and b.meter.messages_received == {0: 1} and b.meter.overhead == 0
    a.meter.reset()
    assert a.meter.bytes_sent == {1: 0} and a.meter.overhead == 0


@pytest.mark.parametrize("count", [3, 100_000])
def test_what_was_sent_is_a_copy(count):
    hub = MemoryHub(2)
    x = np.arange(count, dtype=np.uint64)
    hub.channel(0).send(1, 0, [x])
    x[:] = 9
    np.testing.assert_array_equal(hub.channel(1).recv(0, 0, [("<u8", (count,))])[0], np.arange(count))


def test_waiting_for_ever_is_an_error_at_once():
    with pytest.raises(ProtocolError, match="nothing, though a message is due"):
        MemoryHub(2).channel(0).recv(1, 0, WORDS)


@pytest.mark.parametrize(
    ("round", "specs", "reason"),
    [
        (1, WORDS, "round 0 instead of 1"),
        (0, [("<u8", (1, 3))], "other dtypes or shapes"),
        (0, [("<u8", (4,))], "24 bytes instead of 32"),
        (0, [], "24 bytes instead of 0"),
    ],
)
def test_the_receiver_gets_what_it_expects_or_nothing(round, specs, reason):
    hub = MemoryHub(2)
    hub.channel(0).send(1, 0, words(1, 2, 3))
    channel = hub.channel(1)
    for _ in range(2):  # and from then on, always the same error
        with pytest.raises(ProtocolError, match=reason):
            channel.recv(0, round, specs)


def test_faults_of_a_network_are_refused():
    faults = {
        "drop": lambda q: q.popleft(),
        "duplicate": lambda q: q.appendleft(q[0]),
        "reorder": lambda q: q.rotate(1),
        "truncate": lambda q: q.__setitem__(0, [q[0][0][:-1]]),
        "flip": lambda q: q.__setitem__(0, [bytes([q[0][0][0] ^ 1]) + q[0][0][1:]]),
        "splice": lambda q: q.__setitem__(0, [q[0][0] + q[1][0]]),
    }
    for name, fault in faults.items():
        hub = MemoryHub(2)
        sender, receiver = hub.channel(0), hub.channel(1)
        for i in range(3):
            sender.send(1, i, words(i, i, i))
        fault(hub.queues[0, 1])
        with pytest.raises(ProtocolError):
            for i in range(3):
                receiver.recv(0, i, WORDS)
            pytest.fail(f"{name} went unnoticed")


def test_threads_wait_for_each_other():
    hub = MemoryHub(3, blocking=True, deadline=10)

    def party(me: int) -> list[int]:
        sums = []
        with hub.channel(me) as channel:
            for round in range(50):
                channel.send((me + 1) % 3, round, words(me, round, 0))
                sums.append(int(channel.recv((me - 1) % 3, round, WORDS)[0].sum()))
        return sums

    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(party, range(3)))
    assert results == [[(me - 1) % 3 + round for round in range(50)] for me in range(3)]


def test_a_silent_party_is_a_timeout():
    with pytest.raises(Timeout) as caught:
        MemoryHub(2, blocking=True, deadline=0.05).channel(0).recv(1, 3, WORDS)
    assert caught.value.party == 1 and caught.value.round == 3


def test_an_abort_reaches_one_who_waits_for_somebody_else():
    hub = MemoryHub(3, blocking=True, deadline=10)
    waiting = threading.Event()

    def wait() -> PeerLost:
        waiting.set()
        with pytest.raises(PeerLost) as caught:
            hub.channel(0).recv(1, 0, WORDS)
        return caught.value

    with ThreadPoolExecutor(1) as pool:
        error = pool.submit(wait)
        assert waiting.wait(5)
        hub.channel(2).abort("sent nonsense", blame=1)
        assert error.result(5).party == 1 and "sent nonsense (says party 2)" in str(error.result())


def test_what_was_sent_before_leaving_still_arrives():
    hub = MemoryHub(2)
    with hub.channel(0) as a:
        a.send(1, 0, words(1, 2, 3))
    b = hub.channel(1)
    assert b.recv(0, 0, WORDS)[0].sum() == 6
    with pytest.raises(PeerLost, match="left the session"):
        b.recv(0, 1, WORDS)
    with pytest.raises(SessionError, match="closed"):
        a.send(1, 1, words(1, 2, 3))


def test_leaving_by_an_exception_aborts_and_tells_only_its_class():
    hub = MemoryHub(2)
    with pytest.raises(ValueError, match="4711"), hub.channel(0):
        raise ValueError("the secret is 4711")
    with pytest.raises(PeerLost, match="ended the session: stopped with ValueError") as caught:
        hub.channel(1).recv(0, 0, WORDS)
    assert caught.value.party == 0 and "4711" not in str(caught.value)
