"""Keys on connections: who gets in, who does not, and what strangers can do to those who are in."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import zmq

from mpc.errors import ConfigError, MPCError, PeerLost, ProtocolError
from mpc.net import ZeroMQ
from mpc.net.curve import Curve, is_key

from .test_zeromq import SESSION, WORDS, free_ports, run, words

Pair = tuple[str, str]


def pairs(n: int) -> list[Pair]:
    """(public, secret) of n parties."""
    return [(p.decode(), s.decode()) for p, s in (zmq.curve_keypair() for _ in range(n))]


def curve(keys: Sequence[Pair], me: int, **changed: Any) -> Curve:
    peers = {p: k[0] for p, k in enumerate(keys) if p != me}
    fields = {"me": me, "public": keys[me][0], "secret": keys[me][1], "peers": peers, "hosts": {p: "127.0.0.1" for p in peers}}
    return Curve(**(fields | changed))


def parties(securities: Sequence[Curve], limit: float = 10.0) -> list[ZeroMQ | MPCError]:
    n = len(securities)
    links = [(a, b) for a in range(n) for b in range(a + 1, n)]
    ports = dict(zip(links, free_ports(len(links)), strict=True))
    addresses = {link: f"tcp://127.0.0.1:{port}" for link, port in ports.items()}

    def one(me: int) -> ZeroMQ:
        return ZeroMQ(me, n, addresses, SESSION, connect_deadline=limit, deadline=10.0, security=securities[me])

    return run(*[lambda me=me: one(me) for me in range(n)])


def addresses(channel: ZeroMQ) -> list[tuple[str, int]]:
    """Where it listens."""
    found = [link.address.removeprefix("tcp://").split(":") for link in channel._links.values() if link.binds]
    return [(host, int(port)) for host, port in found]


def ring(channels: Sequence[ZeroMQ], rounds: int) -> list[list[int]]:
    """Each party passes words on to the next one."""
    n = len(channels)

    def one(me: int) -> list[int]:
        got = []
        for r in range(rounds):
            channels[me].send((me + 1) % n, r, words(me, r, 0))
            got.append(int(channels[me].recv((me - 1) % n, r, WORDS)[0].sum()))
        return got

    return run(*[lambda me=me: one(me) for me in range(n)])


def close(channels: Sequence[ZeroMQ]) -> None:
    run(*[c.close for c in channels])


def test_three_parties_who_know_each_other():
    keys = pairs(3)
    channels = parties([curve(keys, me) for me in range(3)])
    assert ring(channels, 20) == [[(me - 1) % 3 + r for r in range(20)] for me in range(3)]
    close(channels)
    assert not [t for t in threading.enumerate() if t.name == "mpc gate"]


def test_a_key_of_another_party_is_no_key_for_this_link():
    """Party 2 knows all public keys, and party 1 expects it under the key of party 0: each link has its own list."""
    keys = pairs(3)
    swapped = curve(keys, 1, peers={0: keys[0][0], 2: pairs(1)[0][0]})
    first, *others = parties([curve(keys, 0), swapped, curve(keys, 2)])
    assert all(isinstance(r, ConfigError) for r in others), others
    with pytest.raises(ConfigError):  # its own links are well, but it is told
        first.recv(1, 0, WORDS)
    first.close()


def test_a_listener_with_another_key_is_refused():
    keys, other = pairs(2), pairs(1)
    results = parties([curve(keys, 0), curve(keys, 1, peers={0: other[0][0]})])
    assert all(isinstance(r, ConfigError) for r in results), results


def test_who_calls_from_an_unknown_address_cannot_end_the_start():
    """Without the address, the listener cannot tell a wrong key from a stranger's: it waits, then says what it saw."""
    keys, other = pairs(2), pairs(1)
    results = parties([curve(keys, 0, hosts={}), curve([keys[0], other[0]], 1)], limit=1.5)
    assert isinstance(results[0], PeerLost) and "keys were refused" in str(results[0])
    assert isinstance(results[1], ConfigError)


def test_keys_are_checked():
    keys = pairs(2)
    for wrong in ({"public": "short"}, {"secret": keys[1][1]}, {"secret": ""}, {"peers": {1: "0" * 40}}, {"peers": {1: ""}}):
        with pytest.raises(ConfigError):
            curve(keys, 0, **wrong)
    assert is_key(keys[0][0]) and not is_key("é" * 40) and not is_key("%" * 40) and not is_key(keys[0][0][:-1])


def test_a_frame_under_another_key_is_refused():
    """What `Link.read` asks with the first frame."""
    keys = pairs(2)
    with zmq.Context() as context, context.socket(zmq.PAIR) as a, context.socket(zmq.PAIR) as b:
        mine = curve(keys, 0)
        mine.secure(a, 1, True)
        port = a.bind_to_random_port("tcp://127.0.0.1")
        curve(keys, 1).secure(b, 0, False)
        b.connect(f"tcp://127.0.0.1:{port}")
        b.send(b"hello")
        frame = a.recv(copy=False)
        mine.confirm(frame, 1)
        mine._peers[1] = keys[0][0]
        with pytest.raises(ProtocolError, match="another key"):
            mine.confirm(frame, 1)
        for s in (a, b):
            s.close(0)
        mine.stop()


@contextmanager
def hostile(where: tuple[str, int], server: str, half_open: int) -> Iterator[list[socket.socket]]:
    """Everything that an outsider can do to a port at once."""
    silent = []
    with zmq.Context() as context:
        callers = []
        for i in range(10):
            caller = context.socket(zmq.PAIR)
            caller.linger = 0
            if i % 2:
                caller.curve_publickey, caller.curve_secretkey = zmq.curve_keypair()
                caller.curve_serverkey = server.encode()
            caller.connect(f"tcp://{where[0]}:{where[1]}")
            caller.send(b"let me in", zmq.NOBLOCK)
            callers.append(caller)
        for i in range(half_open):
            s = socket.create_connection(where)
            # nothing; not ours; a greeting and no more; a frame of ten gigabytes
            greeting = b"\xff" + bytes(8) + b"\x7f\x03\x01CURVE" + bytes(15 + 1 + 31)
            s.sendall((b"", b"GET / HTTP/1.1\r\n\r\n", greeting, greeting + b"\x02" + (10 << 30).to_bytes(8, "big"))[i % 4])
            silent.append(s)
        try:
            yield silent
        finally:
            for s in silent:
                s.close()
            for caller in callers:
                caller.close(0)


def besieged(half_open: int, rounds: int) -> None:
    keys = pairs(3)
    channels = parties([curve(keys, me) for me in range(3)])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with hostile(addresses(channels[0])[0], keys[0][0], half_open) as silent:
        assert ring(channels, rounds) == [[(me - 1) % 3 + r for r in range(rounds)] for me in range(3)]
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # KiB
        drip(silent[: min(20, half_open)])
        assert ring(channels, 1) != []
    close(channels)


def drip(silent: Sequence[socket.socket]) -> None:
    """A byte to each, where it is still open."""
    for s in silent:
        try:
            s.send(b"\x00")
        except OSError:
            continue


def test_strangers_do_not_disturb_a_session():
    besieged(100, 50)


@pytest.mark.slow
def test_a_thousand_half_open_connections_are_cut_off():
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
    besieged(1000, 500)
    keys = pairs(2)
    channels = parties([curve(keys, me) for me in range(2)])
    with hostile(addresses(channels[0])[0], keys[0][0], 200) as silent:
        begun = time.monotonic()
        for s in silent:
            s.settimeout(8)
            try:
                while s.recv(4096):
                    pass
            except ConnectionError:
                continue
        assert time.monotonic() - begun < 5.0 + 1.5  # HANDSHAKE_IVL, and half a second on a machine that does nothing else
    close(channels)


@pytest.mark.slow
def test_many_connections_a_second():
    """About 10^5 a minute, while the parties go on."""
    keys = pairs(2)
    channels = parties([curve(keys, me) for me in range(2)])
    where, stop = addresses(channels[0])[0], threading.Event()

    def call() -> int:
        count = 0
        while not stop.is_set():
            socket.create_connection(where).close()
            count += 1
        return count

    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(call) for _ in range(2)]
        end = time.monotonic() + 5
        while time.monotonic() < end:
            channels[0].send(1, 0, words(1, 2, 3))
            assert channels[1].recv(0, 0, WORDS)[0].tolist() == [1, 2, 3]
        stop.set()
        assert sum(c.result() for c in calls) > 1000
    close(channels)


@pytest.mark.slow
def test_slow_senders_are_cut_off_and_slow_nobody(record_property):
    keys = pairs(3)
    channels = parties([curve(keys, me) for me in range(3)])
    where, stop, lasted = addresses(channels[0])[0], threading.Event(), []  # type: ignore[var-annotated]

    def drip_on() -> None:
        """A byte a second of a greeting that never ends, until the other side hangs up."""
        with socket.create_connection(where) as s:
            begun = time.monotonic()
            s.settimeout(1.0)
            while not stop.is_set():
                try:
                    s.send(b"\xff")
                    if not s.recv(4096):
                        break
                except TimeoutError:
                    continue
                except OSError:
                    break
            lasted.append(time.monotonic() - begun)

    def rounds_a_second(seconds: float) -> float:
        begun, rounds = time.monotonic(), 0
        while time.monotonic() - begun < seconds:
            ring(channels, 20)
            rounds += 20
        return rounds / (time.monotonic() - begun)

    alone = rounds_a_second(3)
    with ThreadPoolExecutor(50) as pool:
        for _ in range(50):
            pool.submit(drip_on)
        besieged = rounds_a_second(9)
        stop.set()
    record_property("rounds a second, alone and with 50 slow senders", [round(alone), round(besieged)])
    record_property("seconds until the last of them was cut off", round(max(lasted), 2))
    assert len(lasted) == 50 and max(lasted) < 5.0 + 2.5  # HANDSHAKE_IVL, half a second, and a busy machine
    close(channels)


def test_data_carry_the_agreed_session_and_control_frames_do_not():
    keys = pairs(2)
    for same in (True, False):
        a, b = parties([curve(keys, me) for me in range(2)])
        a.bind(b"agreed by all   ")
        b.bind(b"agreed by all   " if same else b"agreed by others")
        a.send(1, 0, [np.array([1, 2, 3], np.uint64)])
        if same:
            assert b.recv(0, 0, WORDS)[0].tolist() == [1, 2, 3]
            a.abort("has had enough")
            with pytest.raises(PeerLost, match="has had enough"):
                b.recv(0, 1, WORDS)
        else:
            with pytest.raises(ProtocolError, match="another session"):
                b.recv(0, 0, WORDS)
            b.close()
            with pytest.raises(PeerLost, match="another session"):
                a.recv(1, 0, WORDS)
        close([a, b])
