"""What can be checked before a run: this party's own host, and every link while the other parties check theirs."""

from __future__ import annotations

import os
import platform
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any, NamedTuple

import msgspec
import numpy as np
import zmq

from ..errors import ConfigError, MPCError, PeerLost, ProtocolError
from ..net.channel import Channel
from ..net.curve import Curve
from ..net.frame import VERSION, printable
from ..net.zeromq import ZeroMQ
from ..ring.kernels import kernels
from .config import Config
from .remote import version

SESSION = b"mpc doctor call "  # a party that runs a program instead is told that this is another session
PINGS, BULK = 30, 4 << 20  # round trips; bytes in either direction
CLOCK_SECONDS = 2.0  # apart: records and logs of two parties can still be laid side by side


class Finding(NamedTuple):
    """One line of the report."""

    good: bool
    what: str
    detail: str


class About(msgspec.Struct, forbid_unknown_fields=True):
    """What parties tell each other."""

    mpc: str
    wire: int
    libzmq: str
    python: str
    tier: str
    cores: int
    roster: str
    encryption: str


_about = msgspec.msgpack.Decoder(About).decode  # once, as in run/agreement.py


class Measured(NamedTuple):
    """A link, as its lower party measured it."""

    rtt: float  # seconds, median
    there: float  # bytes per second from the lower to the higher party
    back: float
    ahead: float  # seconds that the clock of the higher party is ahead


def about(config: Config) -> About:
    """This party's versions and machine."""
    machine = zmq.zmq_version(), platform.python_version(), kernels().tier, os.cpu_count() or 1
    return About(version(), VERSION, *machine, config.roster_digest, config.encryption)


def here(config: Config) -> Iterator[Finding]:
    """This host: versions, keys, names, ports, the state folder, the policy."""
    mine = about(config)
    yield Finding(True, "versions", f"mpc {mine.mpc}, wire {VERSION}, libzmq {mine.libzmq}, Python {mine.python}")
    yield Finding(True, "processor", f"kernels {mine.tier}, {mine.cores} cores")
    try:
        _ = config.secrets
        yield Finding(True, "keys", f"{config.keys} is {config.me}'s, and nobody else can read it")
    except ConfigError as error:
        yield Finding(False, "keys", str(error))
    how = {"curve": "CURVE on every link", "gcm": "CURVE on every link, AES-256-GCM for large payloads"}
    yield Finding(config.encrypted, "encryption", how.get(config.encryption, "OFF: for tests only"))
    found = config.hosts()
    for i, member in enumerate(config.party):
        yield Finding(i in found, "name", f"{member.name}: {member.host} is {found.get(i, 'unknown to this host')}")
    for peer in range(config.number + 1, len(config.party)):
        for bulk in (False, True)[: 1 + config.bulk]:
            yield _port(config, peer, bulk)
    folder = config.path(config.state)
    parent = folder if folder.is_dir() else folder.parent
    yield Finding(os.access(parent, os.W_OK), "state", f"{folder} can{'' if os.access(parent, os.W_OK) else 'not'} be written")
    entries = len(config.allow)
    yield Finding(entries > 0, "policy", f"{entries} [[allow]] entries" + ("" if entries else ": every run would be refused"))


def _port(config: Config, peer: int, bulk: bool) -> Finding:
    port = config.party[config.number].port + peer + len(config.party) * bulk
    what = f"{config.listens}:{port} for {config.party[peer].name}"
    host = "" if config.listens == "*" else config.listens
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return Finding(True, "port", f"{what} is free")
    except OSError as error:
        return Finding(False, "port", f"{what}: {error.strerror}")


def links(config: Config, seconds: float) -> Iterator[Finding]:
    """Every link of this party, if the peer checks at the same time; waits for it up to `seconds`."""
    me = config.number
    pairs = [(min(me, p), max(me, p)) for p in range(len(config.party)) if p != me]
    with ThreadPoolExecutor(len(pairs)) as pool:
        channels = dict(zip(pairs, pool.map(lambda pair: _connect(config, pair, seconds), pairs), strict=True))
    for pair in sorted(pairs):  # every party in this order, so that links are measured one after the other
        peer = config.party[sum(pair) - me]
        channel = channels[pair]
        if isinstance(channel, MPCError):
            yield Finding(False, "link", f"{peer.name}: {_why(config, pair, channel)}")
            continue
        try:
            with channel:
                theirs = _introduce(channel, about(config))
                if config.bulk and theirs.encryption == config.encryption:
                    channel.seal_bulk({(0, 1): config.endpoint(*pair, bulk=True)}, seconds)
                m = _measure(channel)
        except MPCError as error:
            yield Finding(False, "link", f"{peer.name}: {error}")
            continue
        to, back = (m.there, m.back) if me == pair[0] else (m.back, m.there)
        ahead = m.ahead if me == pair[0] else -m.ahead
        yield Finding(True, "link", f"{peer.name}: {1e3 * m.rtt:.2f} ms round trip, {_rate(to)} to it, {_rate(back)} from it")
        yield Finding(abs(ahead) < CLOCK_SECONDS, "clock", f"{peer.name}'s is {ahead:+.3f} s from ours")
        yield from _alike(peer.name, about(config), theirs)


def _alike(name: str, mine: About, theirs: About) -> Iterator[Finding]:
    machine = f"kernels {printable(theirs.tier)}, {theirs.cores} cores, libzmq {printable(theirs.libzmq)}"
    yield Finding(True, "peer", f"{name}: mpc {printable(theirs.mpc)}, wire {theirs.wire}, {machine}")
    for what in ("mpc", "wire", "roster", "encryption"):
        if getattr(mine, what) != getattr(theirs, what):
            yield Finding(False, what, f"{name} has {printable(str(getattr(theirs, what)))}, we {getattr(mine, what)}")


def _rate(bytes_per_second: float) -> str:
    return f"{8e-6 * bytes_per_second:,.0f} Mbit/s"


def _connect(config: Config, pair: tuple[int, int], seconds: float) -> ZeroMQ | MPCError:
    """A channel of these two parties alone."""
    me, peer = pair.index(config.number), sum(pair) - config.number
    security = None
    try:
        if config.encrypted:
            secrets, hosts = config.secrets, config.hosts()
            calls = {1 - me: hosts[peer]} if peer in hosts else {}
            security = Curve(me, secrets.public, secrets.curve, {1 - me: config.party[peer].key}, calls)
        address = config.endpoint(*pair)
        return ZeroMQ(me, 2, {(0, 1): address}, SESSION, connect_deadline=seconds, deadline=60.0, security=security)
    except MPCError as error:
        return error


def _why(config: Config, pair: tuple[int, int], error: MPCError) -> str:
    """Why there is no connection, as far as this side can tell."""
    if not isinstance(error, PeerLost):
        return str(error)
    listener = config.party[pair[0]]
    port = listener.port + pair[1]
    if config.number == pair[0]:
        return f"did not call {config.listens}:{port}. Is `mpc doctor` running there, and is the port open to it?"
    try:
        with socket.create_connection((listener.host, port), 3):
            return f"{listener.host}:{port} accepts connections, but no handshake came to an end: {error.reason}"
    except ConnectionRefusedError:
        return f"nobody listens at {listener.host}:{port}. Is `mpc doctor` running there?"
    except TimeoutError:
        return f"{listener.host}:{port} does not answer: a firewall between us drops packets"
    except OSError as problem:
        return f"{listener.host}:{port}: {problem.strerror or problem}"


def _introduce(channel: Channel, mine: About) -> About:
    peer, data = 1 - channel.me, msgspec.msgpack.encode(mine)
    channel.send(peer, 0, [np.array([len(data)], "<u8")])
    channel.send(peer, 0, [np.frombuffer(data, np.uint8)])
    size = int(channel.recv(peer, 0, [("<u8", (1,))])[0][0])
    if size > 4096:
        raise ProtocolError(peer, f"an introduction of {size} bytes")
    text = channel.recv(peer, 0, [("|u1", (size,))])[0].tobytes()
    try:
        return _about(text)
    except (ValueError, RecursionError):
        raise ProtocolError(peer, "an introduction that cannot be read") from None


def _measure(channel: Channel) -> Measured:
    """Round trips, then bulk one way and the other; the lower party holds the watch and tells the other one."""
    word, bulk = [("<u8", (1,))], np.zeros(BULK, np.uint8)
    if channel.me == 1:
        for i in range(1, PINGS + 1):
            channel.recv(0, i, word)
            channel.send(0, i, [np.array([time.time_ns()], "<u8")])
        channel.recv(0, PINGS + 1, [("|u1", (BULK,))])
        channel.send(0, PINGS + 1, [np.zeros(1, "<u8")])
        channel.send(0, PINGS + 2, [bulk])
        return Measured(*channel.recv(0, PINGS + 3, [("<u8", (4,))])[0].view("<f8").tolist())
    trips, clocks = [], []
    for i in range(1, PINGS + 1):
        begun, watch = time.time_ns(), time.perf_counter()
        channel.send(1, i, [np.zeros(1, "<u8")])
        clock = int(channel.recv(1, i, word)[0][0])
        trips.append(time.perf_counter() - watch)
        clocks.append((clock - (begun + time.time_ns()) / 2) / 1e9)
    rtt, start = median(trips), time.perf_counter()
    channel.send(1, PINGS + 1, [bulk])
    channel.recv(1, PINGS + 1, word)
    middle = time.perf_counter()
    channel.recv(1, PINGS + 2, [("|u1", (BULK,))])
    end = time.perf_counter()
    there, back = BULK / max(middle - start - rtt / 2, 1e-6), BULK / max(end - middle + rtt / 2, 1e-6)
    ahead = clocks[int(np.argmin(trips))]  # the quickest trip says most
    found: Any = np.array([rtt, there, back, ahead], "<f8")
    channel.send(1, PINGS + 3, [found.view("<u8")])
    return Measured(rtt, there, back, ahead)
