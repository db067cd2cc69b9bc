"""The emulated network: nothing arrives early, nothing of it is counted, and what is refused stays refused."""

from __future__ import annotations

import time

import numpy as np
import pytest

import mpc
from mpc.errors import PeerLost, ProtocolError, UsageError
from mpc.net import LAN, WAN, Channel, MemoryHub, Network, Shaped

SPEC = ("<u8", (1000,))


def pair(network: Network) -> tuple[Channel, Channel]:
    hub = MemoryHub(2)
    a, b = (Shaped(hub.channel(me), network) for me in range(2))
    return a, b


def test_a_message_takes_half_a_round_trip_and_its_bytes():
    a, b = pair(Network(rtt_ms=20, mbit=8))  # a microsecond a byte
    start = time.monotonic()
    for round in range(3):
        a.send(1, round, [np.arange(1000, dtype="<u8")])
    for round in range(3):
        (x,) = b.recv(0, round, [SPEC])
        assert time.monotonic() - start >= 0.010 + (round + 1) * 0.008  # one line: the bytes leave one after the other
        assert np.array_equal(x, np.arange(1000))


def test_what_came_long_ago_is_there():
    a, b = pair(Network(rtt_ms=2, mbit=1000))
    a.send(1, 0, [np.zeros(1000, "<u8")])
    time.sleep(0.01)
    naps: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", naps.append)
        b.recv(0, 0, [SPEC])
    assert not naps


def test_stamps_are_not_counted():
    a, b = pair(LAN)
    for round, arrays in enumerate(([np.zeros(3, "<u8")], [np.zeros(70_000, "|u1"), np.zeros((2, 2), "<u4")], [])):
        a.send(1, round, arrays)
        assert len(b.recv(0, round, [(x.dtype.str, x.shape) for x in arrays])) == len(arrays)
    assert a.meter.bytes_sent == {1: 24 + 70_000 + 16} and b.meter.bytes_received == {0: 24 + 70_000 + 16}
    assert a.meter.messages_sent == {1: 3} and b.meter.messages_received == {0: 3}
    a.meter.reset()
    assert a.meter.bytes_sent == {1: 0}


def test_refusals_and_endings_pass():
    a, b = pair(LAN)
    a.send(1, 0, [np.zeros(999, "<u8")])
    with pytest.raises(ProtocolError):
        b.recv(0, 0, [SPEC])
    a, b = pair(LAN)
    a.abort("has no more data")
    with pytest.raises(PeerLost, match="has no more data"):
        b.recv(0, 0, [SPEC])
    a, b = pair(LAN)
    a.close()
    with pytest.raises(PeerLost, match="left"):
        b.recv(0, 0, [SPEC])


def test_names_of_networks():
    assert Network.of("lan") is LAN and Network.of("WAN") is WAN
    assert Network.of("40,100") == Network(rtt_ms=40, mbit=100)
    assert Network.of(Network(1, 2)) == Network(1, 2)
    assert str(WAN) == "WAN (40 ms, 100 Mbit/s)" and str(Network(1, 2)) == "1 ms, 2 Mbit/s"
    for wrong in ("moon", "40", "40,0", "-1,100", "1,2,3"):
        with pytest.raises(UsageError):
            Network.of(wrong)
    assert WAN.seconds(rounds=10, sent=12_500_000) == pytest.approx(0.2 + 1.0)


def test_a_session_on_a_slow_network():
    """Same rounds and bytes as ever, and no round is shorter than half a round trip."""
    x = np.linspace(-2, 2, 300)
    with mpc.local(2, "additive", network=Network(rtt_ms=10, mbit=50)) as s:
        y = mpc.nn.relu(s.input(x, owner=0) * s.input(x, owner=1))
        cost = s.cost(y)
        assert cost.networks[0] == s.network == Network(10, 50)
        assert y.reveal() == pytest.approx(x * x, abs=1e-3)
        assert [m.rounds for m in s.measured] == [cost.rounds] * 3
        assert {(i, j): b for i, m in enumerate(s.measured) for j, b in m.sent.items() if b} == {
            link: b for link, b in cost.links.items() if b
        }
        assert max(m.seconds for m in s.measured) >= s.network.seconds(cost.rounds, 0)
