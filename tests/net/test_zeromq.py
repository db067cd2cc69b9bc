"""The transport between processes: arrays, agreement at the start, every way to end."""

from __future__ import annotations

import inspect
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from mpc.errors import MPCError, PeerLost, ProtocolError, Refused, SessionError, Timeout, UsageError
from mpc.net import ZeroMQ, frame
from mpc.net.frame import Lane, layout_of

from ..scale import nightly

SESSION = bytes(range(16))
WORDS = [("<u8", (3,))]


def words(*values: int) -> list[np.ndarray]:
    return [np.array(values, np.uint64)]


@pytest.fixture
def folder() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="mpc") as path:  # short: a socket's path has at most 107 bytes
        yield path


def party(folder: str, me: int, parties: int, **options: Any) -> ZeroMQ:
    options = {"connect_deadline": 10.0, "deadline": 10.0, "session": SESSION} | options
    return ZeroMQ(me, parties, options.pop("addresses", lambda a, b: f"ipc://{folder}/{a}-{b}"), **options)


def run(*roles: Callable[[], Any]) -> list[Any]:
    """Each role in a thread of its own, as a party; its result, or the error of this package that it raised."""

    def guarded(role: Callable[[], Any]) -> Any:
        try:
            return role()
        except MPCError as error:
            return error

    with ThreadPoolExecutor(len(roles)) as pool:
        return list(pool.map(guarded, roles))


def session(folder: str, parties: int, **options: Any) -> list[ZeroMQ]:
    channels = run(*[lambda me=me: party(folder, me, parties, **options) for me in range(parties)])
    for channel in channels:
        if isinstance(channel, MPCError):
            raise channel
    return channels


@contextmanager
def process(role: str, me: int, parties: int, folder: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    script = Path(__file__).with_name("party.py")
    paths = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    child = subprocess.Popen(
        [sys.executable, str(script), role, str(me), str(parties), folder, repr(options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | paths,
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait(10)
        for stream in (child.stdin, child.stdout):
            assert stream
            stream.close()


def line(child: subprocess.Popen[str]) -> str:
    assert child.stdout
    return child.stdout.readline().strip()


def until(condition: Callable[[], bool], limit: float = 10.0) -> None:
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)


# Arrays


def test_two_parties_swap_arrays(folder):
    def swap(me: int) -> list[int]:
        with party(folder, me, 2) as channel:
            channel.send(1 - me, 0, words(me, 2, 3))
            return channel.recv(1 - me, 0, WORDS)[0].tolist()

    assert run(lambda: swap(0), lambda: swap(1)) == [[1, 2, 3], [0, 2, 3]]


def test_small_and_large_arrays_between_processes(folder):
    rng = np.random.default_rng(3)
    with process("echo", 1, 2, folder), party(folder, 0, 2) as channel:
        round = 0
        for size in (1, 7, 2000, 5000, (70 << 20) // 8, 0):
            sent = [
                rng.integers(0, 2**64, size, np.uint64),
                rng.integers(0, 2**32, (3, size // 3), np.uint32),
                np.array(5, np.uint8),
                np.zeros((0, 2), np.uint64),
            ]
            channel.send(1, round, [np.array(size, np.uint64)])
            channel.send(1, round + 1, sent)
            specs = [("<u8", (size,)), ("<u4", (3, size // 3)), ("|u1", ()), ("<u8", (0, 2))]
            for got, want in zip(channel.recv(1, round + 1, specs), sent, strict=True):
                assert got.dtype == want.dtype and got.shape == want.shape and got.flags.aligned
                assert np.array_equal(got, want)
            round += 2
        assert channel.meter.bytes_sent[1] == channel.meter.bytes_received[1] + 8 * 6
        assert channel.meter.messages_sent == {1: 12} and channel.meter.messages_received == {1: 6}


def test_both_may_send_16_mib_first(folder):
    big = np.arange(1 << 21, dtype=np.uint64)

    def swap(me: int) -> bool:
        with party(folder, me, 2) as channel:
            for round in range(2):
                channel.send(1 - me, round, [big])
            return all(np.array_equal(channel.recv(1 - me, r, [("<u8", big.shape)])[0], big) for r in range(2))

    assert run(lambda: swap(0), lambda: swap(1)) == [True, True]


def free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def test_three_parties_over_tcp_whatever_strangers_do(folder):
    pairs = [(0, 1), (0, 2), (1, 2)]
    ports = dict(zip(pairs, free_ports(3), strict=True))
    channels = session(folder, 3, addresses={pair: f"tcp://127.0.0.1:{port}" for pair, port in ports.items()})
    with zmq.Context() as context, context.socket(zmq.PAIR) as stranger, socket.socket() as plain:
        stranger.linger = 0
        stranger.connect(f"tcp://127.0.0.1:{ports[0, 1]}")
        stranger.send(b"let me in")
        plain.setblocking(False)
        plain.connect_ex(("127.0.0.1", ports[0, 1]))  # nobody answers: see test_curve.py for strangers who come earlier
        with suppress(OSError):
            plain.send(b"GET / HTTP/1.1\r\n\r\n")

        def ring(me: int) -> list[int]:
            with channels[me] as channel:
                got = []
                for round in range(20):
                    channel.send((me + 1) % 3, round, words(me, round, 0))
                    got.append(int(channel.recv((me - 1) % 3, round, WORDS)[0].sum()))
                return got

        expected = [[(me - 1) % 3 + round for round in range(20)] for me in range(3)]
        assert run(*[lambda me=me: ring(me) for me in range(3)]) == expected


# The start


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"session": bytes(16)}, "a frame of another session"),
        ({"epoch": 1}, "a frame of epoch . instead of ."),
        ({"parties": 3}, "a HELLO for . parties instead of ."),
    ],
)
def test_a_session_that_two_do_not_agree_on_starts_at_neither(folder, options, reason):
    parties = options.pop("parties", 2)
    first, second = run(lambda: party(folder, 0, 2), lambda: party(folder, 1, parties, connect_deadline=2, **options))
    assert isinstance(first, ProtocolError) and first.party == 1 and re.search(reason, str(first))
    # The other one finds out by itself, or is told.
    assert isinstance(second, ProtocolError | PeerLost | Refused) and re.search(reason, str(second))


def test_a_party_of_another_version_is_refused(folder):
    with zmq.Context() as context, context.socket(zmq.PAIR) as bare:
        bare.linger = 0
        bare.connect(f"ipc://{folder}/0-1")
        hello = Lane(SESSION, 1, 0).control(frame.HELLO, frame.hello(2))
        bare.send(hello[:4] + b"\x01" + hello[5:])
        with pytest.raises(ProtocolError, match="wire version 1, but this party speaks version 3"):
            party(folder, 0, 2)


def test_an_absent_party_is_named_by_all_the_others(folder):
    start = time.monotonic()
    results = run(*[lambda me=me: party(folder, me, 3, connect_deadline=0.5) for me in (0, 2)])
    assert [(type(error), error.party) for error in results] == [(PeerLost, 1)] * 2
    assert f"ipc://{folder}/0-1" in str(results[0]) or f"ipc://{folder}/1-2" in str(results[1])
    assert time.monotonic() - start < 5


def test_all_who_are_absent_are_named(folder):
    with pytest.raises(PeerLost, match=r"party 1 did not appear at ipc://.*/0-1 within 0\.3 s; nor did party 2"):
        party(folder, 0, 3, connect_deadline=0.3)


def test_arguments_are_checked(folder):
    for wrong in (
        lambda: party(folder, 2, 2),
        lambda: party(folder, 0, 2, session=b"short"),
        lambda: party(folder, 0, 2, addresses={}),
        lambda: party(folder, 0, 2, addresses={(0, 1): f"ipc://{folder}/no/such/folder"}),
    ):
        with pytest.raises(UsageError):
            wrong()


class Keys:
    """CURVE keys as `Security` would have them, without the allow-list."""

    def __init__(self) -> None:
        (self.public, self.secret), self.confirmed = zmq.curve_keypair(), []

    def secure(self, socket: zmq.Socket[bytes], peer: int, binds: bool) -> None:
        socket.curve_publickey, socket.curve_secretkey = self.public, self.secret
        if binds:
            socket.curve_server = True
        else:
            socket.curve_serverkey = self.public

    def confirm(self, hello: zmq.Frame, peer: int) -> None:
        self.confirmed.append(peer)

    def calls_from(self, peer: int, host: str) -> bool:
        return False

    def stop(self) -> None:
        pass


@pytest.mark.skipif(not zmq.has("curve"), reason="this libzmq is built without CURVE")
def test_keys_are_applied_before_the_connection_is_made(folder):
    keys = Keys()
    a, b = session(folder, 2, security=keys)
    assert sorted(keys.confirmed) == [0, 1]
    a.send(1, 0, words(1, 2, 3))
    assert b.recv(0, 0, WORDS)[0].tolist() == [1, 2, 3]
    run(a.close, b.close)
    results = run(
        lambda: party(folder, 0, 2, security=keys, connect_deadline=0.5), lambda: party(folder, 1, 2, connect_deadline=0.5)
    )
    assert [(type(error), error.party) for error in results] == [(PeerLost, 1), (PeerLost, 0)]
    # Which of its two words for it libzmq uses depends on who hangs up first.
    assert all(re.search("broke during the handshake|does not speak our security", str(error)) for error in results)


# Ends


def test_a_dealer_may_leave_long_before_its_data_are_read(folder):
    with process("deal", 1, 2, folder, linger=0.1) as child, party(folder, 0, 2) as channel:
        assert line(child) == "ready" and line(child) == "done"
        assert child.wait(10) == 0
        for i in range(40):
            assert (channel.recv(1, i, [("<u8", (1 << 17,))])[0] == i).all()
        with pytest.raises(PeerLost, match="left the session"):
            channel.recv(1, 40, WORDS)


def test_a_killed_party_is_noticed_while_waiting_for_another(folder):
    with process("wait", 1, 3, folder) as other, process("idle", 2, 3, folder) as victim:
        with party(folder, 0, 3, deadline=60) as channel:
            assert line(other) == line(victim) == "ready"
            start = time.monotonic()
            threading.Timer(0.2, victim.kill).start()
            with pytest.raises(PeerLost, match="party 2 is gone") as caught:
                channel.recv(1, 5, WORDS)
            assert time.monotonic() - start < 2
            assert caught.value.party == 2 and caught.value.round == 5
            with pytest.raises(PeerLost, match="party 2 is gone"):  # from now on, always the same
                channel.send(1, 6, words(1, 2, 3))
        assert line(other).startswith("PeerLost 2:")


def test_the_loss_of_the_party_that_one_waits_for(folder):
    with process("vanish", 1, 2, folder) as child, party(folder, 0, 2, deadline=60) as channel:
        child.wait(10)  # it left without a BYE, after a message
        with pytest.raises(PeerLost, match="party 1 is gone"):
            for round in range(2):
                channel.recv(1, round, WORDS)


def test_sending_to_a_lost_party_fails_at_both_ends_of_the_numbering(folder):
    for me in (0, 1):
        with process("idle", 1 - me, 2, folder) as child, party(folder, me, 2) as channel:
            assert line(child) == "ready"
            child.kill()
            child.wait(10)
            with pytest.raises(PeerLost) as caught:
                channel.send(1 - me, 0, words(1, 2, 3))
                channel.recv(1 - me, 0, WORDS)
            assert caught.value.party == 1 - me


def stopped(folder: str, limit: float, **options: Any) -> None:
    with process("idle", 1, 2, folder, **options) as child, party(folder, 0, 2, deadline=60, **options) as channel:
        assert line(child) == "ready"
        start = time.monotonic()
        os.kill(child.pid, signal.SIGSTOP)
        with pytest.raises(PeerLost, match="party 1 is gone"):
            channel.recv(1, 0, WORDS)
        assert time.monotonic() - start < limit


def test_a_stopped_party_is_noticed_by_its_heart(folder):
    stopped(folder, 3.0, heartbeat=0.2, silence=0.6)


@pytest.mark.slow
def test_a_stopped_party_is_noticed_within_5_s_by_default(folder):
    stopped(folder, 5.5, heartbeat=inspect.signature(ZeroMQ).parameters["heartbeat"].default)


def test_a_short_pause_is_no_loss(folder):
    options = {"heartbeat": 0.2, "silence": 3.0}
    with process("echo", 1, 2, folder, **options) as child, party(folder, 0, 2, **options) as channel:
        assert line(child) == "ready"
        os.kill(child.pid, signal.SIGSTOP)
        threading.Timer(0.8, os.kill, (child.pid, signal.SIGCONT)).start()
        channel.send(1, 0, [np.array(0, np.uint64)])
        nothing = [("<u8", (0,)), ("<u4", (3, 0)), ("|u1", ()), ("<u8", (0, 2))]
        channel.send(1, 1, [np.zeros(shape, dtype) for dtype, shape in nothing])
        assert len(channel.recv(1, 1, nothing)) == 4


def test_a_party_that_is_alive_but_silent_is_a_timeout(folder):
    a, b = session(folder, 2, deadline=0.2)
    with pytest.raises(Timeout, match=r"sent nothing for 0.2 s.* in round 4") as caught:
        a.recv(1, 4, WORDS)
    assert caught.value.party == 1
    a.close()
    with pytest.raises(PeerLost) as caught:
        b.recv(0, 4, WORDS)
    assert caught.value.party == 1 and "(says party 0)" in str(caught.value)
    b.close()


def test_an_abort_reaches_everybody_with_its_reason(folder):
    a, b, c = session(folder, 3)
    start = time.monotonic()
    _, first, second = run(
        lambda: c.abort("found a\nwrong MAC", blame=1), lambda: a.recv(1, 0, WORDS), lambda: b.recv(0, 0, WORDS)
    )
    for error in (first, second):
        assert isinstance(error, PeerLost) and error.party == 1
    assert "found a?wrong MAC (says party 2)" in str(first) or "found a?wrong MAC (says party 2)" in str(second)
    assert time.monotonic() - start < 2
    run(a.close, b.close)
    with pytest.raises(SessionError):
        c.recv(0, 0, WORDS)


def test_leaving_by_an_exception_aborts_and_tells_only_its_class(folder):
    a, b = session(folder, 2)

    def fail() -> None:
        with a:
            raise ValueError("the secret is 4711")

    with ThreadPoolExecutor(1) as pool:
        failed = pool.submit(fail)
        with pytest.raises(PeerLost, match="party 0 ended the session: stopped with ValueError") as caught:
            b.recv(0, 0, WORDS)
        assert "4711" not in str(caught.value)
        with pytest.raises(ValueError, match="4711"):
            failed.result(5)
    b.close()


def test_what_was_sent_before_leaving_still_arrives(folder):
    for size in (3, 1 << 20):
        a, b = session(folder, 2, linger=0.05)
        a.send(1, 0, [np.arange(size, dtype=np.uint64)])
        a.close()
        assert b.recv(0, 0, [("<u8", (size,))])[0][-1] == size - 1
        with pytest.raises(PeerLost, match="left the session"):
            b.recv(0, 1, WORDS)
        b.close()


def test_one_may_leave_while_two_go_on(folder):
    a, b, c = session(folder, 3, linger=0.05)
    c.close()

    def answer() -> None:
        until(lambda: a._links[2].gone)  # while it waits for us, it sees that the link to party 2 has ended
        b.send(0, 0, words(1, 2, 3))

    _, got = run(answer, lambda: a.recv(1, 0, WORDS))
    assert got[0].tolist() == [1, 2, 3]
    with pytest.raises(PeerLost, match="party 2 left the session"):
        a.recv(2, 1, WORDS)
    with pytest.raises(PeerLost, match="party 2 left the session"):
        b.recv(2, 1, WORDS)
    run(a.close, b.close)


def test_leaving_together_is_quick_and_leaves_no_file(folder):
    channels = session(folder, 3)
    start = time.monotonic()
    run(*[channel.close for channel in channels])
    assert time.monotonic() - start < 0.5 and not os.listdir(folder), "a few ms, on an idle machine"
    channels[0].close()
    with pytest.raises(SessionError, match="closed"):
        channels[0].send(1, 0, words(1, 2, 3))


@pytest.mark.parametrize("me", [0, 1])
def test_leaving_is_quick_if_the_peer_dies_or_aborts_meanwhile(folder, me):
    ignored = [np.zeros(1 << 20, np.uint64)]
    with process("idle", 1 - me, 2, folder) as child, party(folder, me, 2) as channel:
        assert line(child) == "ready"
        channel.send(1 - me, 0, ignored)
        child.kill()
        start = time.monotonic()
        channel.close()
        assert time.monotonic() - start < 0.5
    channels = session(folder, 2)
    channels[me].send(1 - me, 0, ignored)
    start = time.monotonic()
    run(lambda: channels[1 - me].abort("has had enough"), channels[me].close)
    assert time.monotonic() - start < 2


@pytest.mark.parametrize("me", [0, 1])
def test_leaving_ends_with_a_peer_that_dies_before_all_is_sent(folder, me):
    with process("idle", 1 - me, 2, folder) as child, party(folder, me, 2, linger=0.1) as channel:
        assert line(child) == "ready"
        os.kill(child.pid, signal.SIGSTOP)
        channel.send(1 - me, 0, [np.zeros(1 << 23, np.uint64)])  # more than the operating system takes
        threading.Timer(1.3, child.kill).start()  # after `linger`, and after a heartbeat
        start = time.monotonic()
        channel.close()
        assert 1 < time.monotonic() - start < 3


def leave_often(folder: str, sessions: int) -> None:
    """In a process of their own: an assertion of libzmq would end this one."""
    script, paths = Path(__file__).with_name("leaving.py"), {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    child = subprocess.run([sys.executable, str(script), folder, str(sessions)], env=os.environ | paths, timeout=600, text=True)
    assert child.returncode == 0


def test_no_heartbeat_strikes_a_closing_socket(folder):
    leave_often(folder, 30)


@pytest.mark.slow
def test_no_heartbeat_strikes_any_of_many_closing_sockets(folder):
    leave_often(folder, nightly(1000))


# A peer that does not play by the rules


@contextmanager
def puppet(folder: str, address: str = "") -> Iterator[tuple[ZeroMQ, zmq.Socket[bytes], Lane]]:
    """A channel of party 0, and in place of party 1 a bare socket that has said HELLO."""
    with zmq.Context() as context, context.socket(zmq.PAIR) as bare, ThreadPoolExecutor(1) as pool:
        bare.linger = 0
        bare.reconnect_ivl = 5  # ms
        address = address or f"ipc://{folder}/0-1"
        bare.connect(address)
        lane = Lane(SESSION, 1, 0)
        bare.send(lane.control(frame.HELLO, frame.hello(2)))
        channel = pool.submit(party, folder, 0, 2, addresses={(0, 1): address}).result(10)
        assert frame.parse(bare.recv()[: frame.HEADER], 0).kind == frame.HELLO
        try:
            yield channel, bare, lane
        finally:
            channel.abort("the test is over")


def test_faulty_frames_are_refused_over_a_socket(folder):
    refuse_faulty_frames(folder, 50)


@pytest.mark.slow
def test_a_thousand_faulty_frames_are_refused_over_a_socket(folder):
    refuse_faulty_frames(folder, nightly(1000))


def refuse_faulty_frames(folder: str, count: int) -> None:
    """Over TCP: each in a session of its own."""
    rng = random.Random(7)
    for i in range(count):
        with puppet(folder, f"tcp://127.0.0.1:{free_ports(1)[0]}") as (channel, bare, lane):
            what = words(1, 2, 3) if i % 2 else [np.zeros(1 << 13, np.uint64)]
            plan = layout_of(what)
            frames = [lane.join(0, plan, what)] if plan.joined else [bytes(f) for f in lane.split(0, plan, what)]
            fault = i % 5
            if fault == 0:
                bit = rng.randrange(8 * frame.HEADER)
                head = bytearray(frames[0])
                head[bit // 8] ^= 1 << bit % 8
                frames[0] = bytes(head)
            elif fault == 1:
                frames[-1] = frames[-1][: rng.randrange(len(frames[-1]))]
            elif fault == 2:
                frames[-1] += b"\0"
            elif fault == 3:
                frames.append(b"more")
            elif fault == 4:
                frames = frames[1:] or [b""]
            bare.send_multipart(frames)
            with pytest.raises(ProtocolError) as caught:
                for round in range(2):  # an extra frame is refused with the message that follows, at the latest
                    channel.recv(1, round, [(plan.places[0][0].str, plan.places[0][1])])
            assert caught.value.party == 1


@pytest.mark.parametrize("kind", [frame.HELLO, frame.ABORT, frame.BYE])
def test_control_frames_out_of_place(folder, kind):
    payloads = {frame.HELLO: frame.hello(2), frame.ABORT: frame.abort(7, "")}
    with puppet(folder) as (channel, bare, lane):
        bare.send(lane.control(kind, payloads.get(kind, b"")))
        with pytest.raises(PeerLost if kind == frame.BYE else ProtocolError):
            channel.recv(1, 0, WORDS)


def test_a_frame_above_the_limit_ends_the_session(folder):
    with puppet(folder) as (channel, bare, _):
        bare.send(bytes(frame.FRAME + 1))
        with pytest.raises(PeerLost, match="party 1 is gone"):
            channel.recv(1, 0, WORDS)


def test_a_reconnect_is_the_end_even_if_nothing_was_lost(folder):
    address = f"tcp://127.0.0.1:{free_ports(1)[0]}"
    with puppet(folder, address) as (channel, bare, lane), zmq.Context() as context, context.socket(zmq.PAIR) as again:
        bare.close()
        again.linger = 0
        again.connect(address)
        what = words(1, 2, 3)
        again.send(lane.join(0, layout_of(what), what))
        with pytest.raises(PeerLost, match="party 1 is gone"):
            for round in range(2):
                channel.recv(1, round, WORDS)


@pytest.mark.parametrize("size", [3, 1 << 16])
def test_an_interruption_within_a_message_is_no_bad_message(folder, size):
    """Ctrl-C may come between numbering a message and sending it: then nothing more is said, and the peer is simply gone."""
    a, b = session(folder, 2)
    link = a._links[1]

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    link.push = interrupted
    with pytest.raises(KeyboardInterrupt), a:
        a.send(1, 0, [np.zeros(size, np.uint64)])
    with pytest.raises(PeerLost, match="party 0 is gone"):
        b.recv(0, 0, [("<u8", (size,))])
    b.close()
