"""Keys on connections: who gets in, who does not, and what strangers can do to those who are in."""

from __future__ import annotations

import resource
import select
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from mpc.errors import ConfigError, MPCError, PeerLost, ProtocolError
from mpc.net import ZeroMQ
from mpc.net.curve import Curve, is_key

from ..scale import nightly
from . import siege
from .test_zeromq import SESSION, WORDS, free_ports, run, words

Pair = tuple[str, str]


def pairs(n: int) -> list[Pair]:
    """(public, secret) of n parties."""
    return [(p.decode(), s.decode()) for p, s in (zmq.curve_keypair() for _ in range(n))]


def curve(keys: Sequence[Pair], me: int, **changed: Any) -> Curve:
    peers = {p: k[0] for p, k in enumerate(keys) if p != me}
    fields = {"me": me, "public": keys[me][0], "secret": keys[me][1], "peers": peers, "hosts": {p: "127.0.0.1" for p in peers}}
    return Curve(**(fields | changed))


def parties(
    securities: Sequence[Curve], limit: float = 10.0, first: int | None = None, go: threading.Event | None = None
) -> list[ZeroMQ | MPCError]:
    """Parties who find each other. Who listens first does so on the port `first`; the others come when they may go."""
    n = len(securities)
    links = [(a, b) for a in range(n) for b in range(a + 1, n)]
    ports = dict(zip(links, free_ports(len(links)), strict=True)) | ({links[0]: first} if first else {})
    addresses = {link: f"tcp://127.0.0.1:{port}" for link, port in ports.items()}

    def one(me: int) -> ZeroMQ:
        if me and go:
            go.wait()
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
def waiting(securities: Sequence[Curve]) -> Iterator[tuple[tuple[str, int], Any]]:
    """Where party 0 listens, while the others are not there yet, and what lets them come and gives all channels."""
    go, (port,) = threading.Event(), free_ports(1)
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(parties, securities, 60.0, port, go)

        def meet() -> list[ZeroMQ]:
            go.set()
            channels = found.result()
            assert not [c for c in channels if isinstance(c, MPCError)], channels
            return channels

        try:
            while not answers(("127.0.0.1", port)):
                assert not found.done(), found.result()
            yield ("127.0.0.1", port), meet
        finally:
            go.set()


@contextmanager
def hostile(where: tuple[str, int], server: str, half_open: int) -> Iterator[list[socket.socket]]:
    """Everything that an outsider can do to a port at once."""
    callers, silent = siege.knock(where, server), []
    try:
        for i in range(half_open):
            silent.append(socket.create_connection(where, source_address=("127.0.0.2", 0)))
            silent[-1].sendall(siege.WORDS[i % 4])
        yield silent
    finally:
        for s in silent:
            s.close()
        for caller in callers:
            caller.close(0)


def answers(where: tuple[str, int], limit: float = 0.2) -> bool:
    """Whether a stranger's call is answered within this time in seconds."""
    with siege.call(where) as s:
        return bool(select.select([], [s], [], limit)[1]) and not s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def besieged(half_open: int, rounds: int) -> None:
    """Strangers who come before the others do, and stay."""
    keys = pairs(3)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with (
        waiting([curve(keys, me) for me in range(3)]) as (where, meet),
        hostile(where, keys[0][0], half_open) as silent,
    ):
        channels = meet()
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


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a listener hears strangers to the end")
def test_strangers_are_not_answered_once_all_are_there():
    """Until the party has nothing more to say, and whoever comes next may be its peer in the next session."""
    keys = pairs(3)
    channels = parties([curve(keys, me) for me in range(3)])
    doors = [where for channel in channels for where in addresses(channel)]
    assert len(doors) == 3 and not any(map(answers, doors))
    assert ring(channels, 3) == [[(me - 1) % 3 + r for r in range(3)] for me in range(3)]
    with ThreadPoolExecutor(1) as pool:
        closing = pool.submit(channels[0].close)
        while not all(map(answers, doors[:2])):
            assert not closing.done()  # it waits for the others
        assert not answers(doors[2])
        close(channels[1:])
        closing.result()


@pytest.mark.slow
def test_a_thousand_half_open_connections_are_cut_off():
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
    besieged(1000, 500)
    keys = pairs(2)
    with waiting([curve(keys, me) for me in range(2)]) as (where, meet), hostile(where, keys[0][0], 200) as silent:
        begun = time.monotonic()
        for s in silent:
            s.settimeout(8)
            try:
                while s.recv(4096):
                    pass
            except ConnectionError:
                continue
        assert time.monotonic() - begun < 5.0 + 1.5  # HANDSHAKE_IVL, and half a second on a machine that does nothing else
        close(meet())


@pytest.mark.slow
def test_throughput_while_strangers_call(record_property):
    """About 10^5 calls a minute, 1000 silent ones, wrong keys and none. In turns with quiet, since machines have moods; a
    party's own expense is its processor time, and speed also what the strangers and the kernel take of the same cores."""
    keys = pairs(2)
    channels, mebibyte = parties([curve(keys, me) for me in range(2)]), [np.zeros(1 << 17, np.uint64)]
    specs = [("<u8", (1 << 17,))]

    def exchange(count: int) -> tuple[float, float]:
        """Seconds, and seconds of processor time, for a MiB each way: of both parties, who are all of this process."""

        def one(me: int) -> None:
            for r in range(count):
                channels[me].send(1 - me, r, mebibyte)
                channels[me].recv(1 - me, r, specs)

        begun, used = time.perf_counter(), time.process_time()
        run(*[lambda me=me: one(me) for me in range(2)])
        return (time.perf_counter() - begun) / count, (time.process_time() - used) / count

    where, figures = addresses(channels[0])[0], {True: [], False: []}  # type: ignore[var-annotated]
    script, words = Path(siege.__file__), [where[0], str(where[1]), keys[0][0], "1700", "1000"]
    with subprocess.Popen([sys.executable, str(script), *words], stdin=-1, stdout=-1, text=True) as strangers:
        assert strangers.stdin and strangers.stdout and strangers.stdout.readline() == "ready\n"
        out = 0.0
        for turn in range(nightly(20)):
            for loud in (turn % 2 == 0, turn % 2 == 1):
                strangers.send_signal(signal.SIGCONT if loud else signal.SIGSTOP)
                began = time.monotonic()
                exchange(20)
                figures[loud].append(exchange(100))
                out += time.monotonic() - began if loud else 0.0
        strangers.send_signal(signal.SIGCONT)
        strangers.stdin.close()
        calls = int(strangers.stdout.readline())
    (wall, cpu), (wall_loud, cpu_loud) = (
        [statistics.median(f) for f in zip(*figures[loud], strict=True)] for loud in (False, True)
    )
    record_property("MiB a second, alone and besieged", [round(2 / wall), round(2 / wall_loud)])
    record_property("ms of processor time for a MiB, alone and besieged", [round(500 * c, 3) for c in (cpu, cpu_loud)])
    record_property("calls a second", round(calls / out))
    assert calls > 1000 and cpu_loud < 1.2 * cpu
    close(channels)


@pytest.mark.slow
def test_slow_senders_are_cut_off_and_slow_nobody(record_property):
    keys = pairs(3)
    stop, lasted = threading.Event(), []  # type: ignore[var-annotated]

    def drip_on(s: socket.socket) -> None:
        """A byte a second of a greeting that never ends, until the other side hangs up."""
        with s:
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

    with waiting([curve(keys, me) for me in range(3)]) as (where, meet), ThreadPoolExecutor(50) as pool:
        for _ in range(50):
            pool.submit(drip_on, socket.create_connection(where, source_address=("127.0.0.2", 0)))
        channels = meet()
        besieged = rounds_a_second(4)
        rounds_a_second(4)  # until they have gone
        alone = rounds_a_second(3)
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
