"""Identity on the wire: CURVE keys, one per party, and a gate that lets exactly the peer's key onto each link.

A connection is encrypted and authenticated both ways: whoever connects pins the listener's key; the listener asks the gate
(ZeroMQ's ZAP, RFC 27) about the key that calls, separately for each link. Nothing in a message says who sent it.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Mapping
from contextlib import suppress
from hmac import compare_digest
from typing import Any

import zmq
from zmq.utils import z85

from mpc.errors import ConfigError, ProtocolError

__all__ = ["Curve"]

_GATE = "inproc://zeromq.zap.01"
_WAKE = 50  # ms: how soon the gate notices that it is to close


class Curve:
    """`Security` of party `me`: `secret` and `public` are its own keys, `peers` the public keys of the others (all in Z85).

    `hosts` are numeric addresses from which parties are known to call, where they are known. For one channel.
    Raises `ConfigError` for a key that is none, and if libzmq was built without CURVE.
    """

    def __init__(self, me: int, public: str, secret: str, peers: Mapping[int, str], hosts: Mapping[int, str]) -> None:
        if not zmq.has("curve"):
            raise ConfigError("this libzmq is built without CURVE: install the pyzmq wheel of the package index")
        for party, key in {me: public, **peers}.items():
            if not is_key(key):
                raise ConfigError(f"the key of party {party} is no CURVE key: 40 characters, as `mpc keygen` prints it")
        if not is_key(secret) or zmq.curve_public(secret.encode()).decode() != public:
            raise ConfigError("the secret key does not belong to this party's public key in the roster")
        self.me, self._public, self._secret = me, public, secret
        self._peers, self._hosts = dict(peers), dict(hosts)
        self._turned_away: set[int] = set()  # whose link somebody with another key has called, from its address
        self._words: dict[bytes, bytes] = {}  # domain of a connection without CURVE -> what lets the peer in
        self._closing, self._thread = threading.Event(), None  # type: tuple[threading.Event, threading.Thread | None]

    def secure(self, socket: zmq.Socket[bytes], peer: int, binds: bool) -> None:
        """See `Security.secure`."""
        socket.curve_publickey, socket.curve_secretkey = self._public.encode(), self._secret.encode()
        if binds:
            self._open(socket.context)
            socket.curve_server = True
            socket.zap_domain = str(peer).encode()
        else:
            socket.curve_serverkey = self._peers[peer].encode()

    def confirm(self, hello: zmq.Frame, peer: int) -> None:
        """See `Security.confirm`. Who connects has pinned the listener's key, and gets no User-Id."""
        if self.me < peer and hello.get("User-Id") != self._peers[peer]:
            raise ProtocolError(peer, "a frame under another key")

    def calls_from(self, peer: int, host: str) -> bool:
        """See `Security.calls_from`."""
        return peer in self._turned_away or (bool(host) and self._hosts.get(peer) == host)

    def stop(self) -> None:
        """See `Security.stop`."""
        self._closing.set()
        if self._thread is not None and self._thread.ident is not None:  # an interruption may have come before it started
            self._thread.join()

    def admit(self, context: zmq.Context[Any], peer: int, word: bytes) -> bytes:
        """The domain of a listener without CURVE that lets in who knows the word (see `bulk.Pass`)."""
        self._open(context)
        domain = f"bulk {peer}".encode()
        self._words[domain] = word
        return domain

    def _open(self, context: zmq.Context[Any]) -> None:
        if self._thread is not None:
            return
        gate = context.socket(zmq.REP)
        gate.linger = 0
        gate.bind(_GATE)  # before any listener: without a gate libzmq lets every key in
        self._thread = threading.Thread(target=self._guard, args=(gate,), daemon=True, name="mpc gate")
        self._thread.start()

    def _guard(self, gate: zmq.Socket[bytes]) -> None:
        """Answers for every handshake whether this key may use this link."""
        try:
            while not self._closing.is_set():
                if not gate.poll(_WAKE):
                    continue
                version, number, domain, host, _, mechanism, *credentials = gate.recv_multipart()
                who = self._known(domain, mechanism, credentials)
                if not who and domain.isdigit() and self._hosts.get(int(domain)) == host.decode():
                    self._turned_away.add(int(domain))
                answer = (b"200", b"OK", who) if who else (b"400", b"unknown key", b"")
                gate.send_multipart([version, number, *answer, b""])
        except zmq.ZMQError:
            pass  # the context is gone: nobody can ask any more
        finally:
            with suppress(zmq.ZMQError):
                gate.close(0)

    def _known(self, domain: bytes, mechanism: bytes, credentials: list[bytes]) -> bytes:
        """Who calls, as far as this link lets it in; else nothing."""
        if mechanism == b"PLAIN" and len(credentials) == 2 and domain in self._words:
            return b"bulk" if compare_digest(credentials[1], self._words[domain]) else b""
        key = z85.encode(credentials[0]).decode() if mechanism == b"CURVE" and len(credentials) == 1 else ""
        peer = int(domain) if domain.isdigit() else self.me
        return key.encode() if key and self._peers.get(peer) == key else b""


def is_key(text: str) -> bool:
    """Whether this is a CURVE key in Z85; that of nobody (zero, with which everybody shares the same secret) is none."""
    try:
        return len(text) == 40 and any(z85.decode(text))
    except (ValueError, KeyError, struct.error):
        return False
