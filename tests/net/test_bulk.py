"""Sealed payloads beside a CURVE connection: what gets through, and every way of bending them that must not."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import zmq

from mpc.errors import MPCError, PeerLost, ProtocolError, UsageError
from mpc.net import frame, link
from mpc.net.bulk import Cipher, word_of
from mpc.net.curve import Curve
from mpc.net.frame import layout_of
from mpc.net.link import Link
from mpc.net.zeromq import ZeroMQ

from .test_curve import answers

SESSION, AGREED, KEY = b"bulk test       ", b"what all agreed.", bytes(range(32))
LARGE = np.arange(20_005, dtype="<u8")  # three frames of the size below


@pytest.fixture(autouse=True)
def small_frames(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for module in (frame, link):
        monkeypatch.setattr(module, "FRAME", 80_000)
    frame.layout.cache_clear()
    frame._layout_of.cache_clear()
    yield
    frame.layout.cache_clear()
    frame._layout_of.cache_clear()


def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def pair(work: Callable[[ZeroMQ], Any], addresses: dict[tuple[int, int], str] | None = None) -> list[Any]:
    """What `work` gives or raises at both parties of a sealed link."""
    pairs = [zmq.curve_keypair() for _ in range(2)]
    main, bulk = ({(0, 1): f"tcp://127.0.0.1:{port()}"} for _ in range(2))

    def one(me: int) -> Any:
        public, secret = (k.decode() for k in pairs[me])
        try:
            security = Curve(me, public, secret, {1 - me: pairs[1 - me][0].decode()}, {})
            with ZeroMQ(me, 2, main, SESSION, connect_deadline=10, deadline=20, security=security) as channel:
                channel.bind(AGREED)
                channel.seal_bulk(addresses or bulk, 5)
                return work(channel)
        except MPCError as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, range(2)))


def swap(channel: ZeroMQ, count: int = 1) -> list[np.ndarray]:
    """Both send and receive large and small messages."""
    got = []
    for i in range(1, count + 1):
        for arrays in ([LARGE + channel.me], [LARGE[:3]], [LARGE[:5000], LARGE[:9000].astype("<u4")]):
            channel.send(1 - channel.me, i, arrays)
            got = channel.recv(1 - channel.me, i, [(a.dtype.str, a.shape) for a in arrays])
            assert all(np.array_equal(g - g[0], a - a[0]) for g, a in zip(got, arrays, strict=True))
    return got


def test_large_and_small_messages_pass():
    results = pair(lambda channel: (swap(channel, 3), channel.meter.bytes_sent[1 - channel.me]))
    (_, sent), (_, back) = results
    assert sent == back == 32 + 3 * (LARGE.nbytes + 24 + 40_000 + 36_000)


def test_nothing_large_is_in_the_clear_and_keys_are_fresh(monkeypatch: pytest.MonkeyPatch):
    """The same message in two sessions: what the plain connection carries has no word of it, and differs."""
    seen: list[bytes] = []
    seal = Cipher.seal
    monkeypatch.setattr(Cipher, "seal", lambda self, *a: seen.append(seal(self, *a)) or seen[-1])
    for _ in range(2):
        pair(lambda channel: swap(channel))
    data = [np.frombuffer(s[: len(s) // 8 * 8], "<u8") for s in seen]
    words = np.concatenate(data)
    assert len(seen) == 2 * 2 * (3 + 2) and np.unique(words).size == words.size and words.min() > 1 << 32


@pytest.mark.parametrize("fault", ["flip", "repeat", "swap", "cut", "tag", "empty", "direction", "header", "lost"])
def test_a_bent_payload_ends_the_session(monkeypatch: pytest.MonkeyPatch, fault: str):
    """At both ends, by name, whatever an attacker on the network does with sealed frames."""
    sent: dict[int, list[bytes]] = {0: [], 1: []}
    seal = Cipher.seal

    def bent(self: Cipher, frame: Any, header: Any) -> bytes:
        data = seal(self, frame, header)
        mine, theirs = sent[self._src], sent[1 - self._src]
        mine.append(data)
        if self._src == 1 or len(mine) != 6:
            return data
        return {
            "flip": lambda: data[:1000] + bytes([data[1000] ^ 1]) + data[1001:],
            "repeat": lambda: mine[0],
            "swap": lambda: seal(self, frame, header),  # the frame after the next one
            "cut": lambda: data[:-1],
            "tag": lambda: data[:-16],
            "empty": lambda: b"",
            "direction": lambda: theirs[0],
            "header": lambda: Cipher(KEY, 0, 1).seal(frame, header),
            "lost": lambda: data[:100],
        }[fault]()

    monkeypatch.setattr(Cipher, "seal", bent)
    results = pair(lambda channel: swap(channel, 3))
    assert isinstance(results[1], ProtocolError) and results[1].party == 0 and "its tag does not fit" in str(results[1])
    assert isinstance(results[0], PeerLost) and "its tag does not fit" in str(results[0])


def test_a_cipher_opens_the_next_frame_of_its_direction_alone():
    header, other = b"h" * 64, b"h" * 63 + b"i"
    writer = Cipher(KEY, 0, 1)
    first, second = (writer.seal(b"frame" * n, header) for n in (1, 2))
    reader = Cipher(KEY, 0, 1)
    assert reader.open(first, header) == b"frame" and reader.open(second, header) == b"frameframe"
    bent = [(second, header, 0), (first, other, 0), (first, header, 1), (first[:-1], header, 0), (b"", header, 0)]
    for sealed, head, src in bent:
        with pytest.raises(ProtocolError, match="changed, repeated or moved"):
            Cipher(KEY, src, 1 - src).open(sealed, head)
    nonces = {Cipher(KEY, a, b)._nonce() for a in range(3) for b in range(3)} | {reader._nonce() for _ in range(100)}
    assert len(nonces) == 9 + 100 and all(len(n) == 12 for n in nonces)


def test_strangers_do_not_get_in(monkeypatch: pytest.MonkeyPatch):
    """Without the word of the session nobody takes the peer's place, though the connection is in the clear."""
    address = f"tcp://127.0.0.1:{port()}"
    context, stop = zmq.Context(), threading.Event()

    def strange() -> None:
        callers = []
        for i in range(20):
            caller = context.socket(zmq.PAIR)
            caller.linger = 0
            if i % 2:
                caller.plain_username, caller.plain_password = b"mpc", word_of(KEY, bytes(32))
            caller.connect(address)
            with suppress(zmq.Again):
                caller.send(b"let me in", zmq.NOBLOCK)
            callers.append(caller)
        stop.wait(20)
        for caller in callers:
            caller.close(0)

    start = Link.start

    def late(self: Link, *options: Any) -> None:
        if not self.binds and self.address == address:
            stop.wait(0.5)  # the strangers come first
        start(self, *options)

    monkeypatch.setattr(Link, "start", late)
    thread = threading.Thread(target=strange)
    thread.start()
    try:
        results = pair(lambda channel: swap(channel, 2), {(0, 1): address})
        assert not any(isinstance(r, MPCError) for r in results), results
    finally:
        stop.set()
        thread.join()
        context.term()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a listener hears strangers to the end")
def test_strangers_are_not_answered_once_the_peer_is_there():
    address = f"tcp://127.0.0.1:{port()}"

    def one(channel: ZeroMQ) -> bool:
        answered = channel.me == 0 and answers(("127.0.0.1", int(address.rpartition(":")[2])))
        swap(channel)
        return answered

    assert pair(one, {(0, 1): address}) == [False, False]


def test_a_cut_connection_ends_the_session():
    """Only that of the payloads: whoever waits for one says so, at once."""

    def cut(channel: ZeroMQ) -> None:
        if channel.me == 0:
            main = channel._links[1]
            main.push(main.out.split(1, layout_of([LARGE]), [LARGE])[0], zmq.NOBLOCK)
            channel._bulk.pop(1).link.stop()
            channel.recv(1, 1, [("<u8", (1,))])
        else:
            channel.recv(0, 1, [("<u8", LARGE.shape)])

    results = pair(cut)
    assert isinstance(results[1], PeerLost) and "is gone" in str(results[1])


def test_keys_need_curve():
    main = {(0, 1): f"tcp://127.0.0.1:{port()}"}

    def one(me: int) -> None:
        with ZeroMQ(me, 2, main, SESSION) as channel, pytest.raises(UsageError, match="keys that came over CURVE"):
            channel.seal_bulk(main, 1)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, range(2)))
