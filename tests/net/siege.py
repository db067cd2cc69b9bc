"""Strangers in a process of their own, for test_curve.py: python siege.py HOST PORT SERVER_KEY CALLS_A_SECOND HALF_OPEN.

They call from 127.0.0.2, as no party does, and like callers from far away they wait for no answer. Prints "ready" when the
half-open connections have been asked for, and the number of further calls when the standard input ends.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
import threading
import time

import zmq

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01CURVE" + bytes(15 + 1 + 31)
# nothing; not ours; a greeting and no more; a frame of ten gigabytes
WORDS = (b"", b"GET / HTTP/1.1\r\n\r\n", GREETING, GREETING + b"\x02" + (10 << 30).to_bytes(8, "big"))


def call(where: tuple[str, int]) -> socket.socket:
    """A connection, or one that is being made."""
    s = socket.socket()
    s.setblocking(False)
    s.bind(("127.0.0.2", 0))
    s.connect_ex(where)
    return s


def knock(where: tuple[str, int], server: str) -> list[zmq.Socket[bytes]]:
    """Callers without a key and with a wrong one, who try for ever."""
    callers = []
    for i in range(10):
        caller = zmq.Context.instance().socket(zmq.PAIR)
        caller.linger = 0
        if i % 2:
            caller.curve_publickey, caller.curve_secretkey = zmq.curve_keypair()
            caller.curve_serverkey = server.encode()
        caller.connect(f"tcp://127.0.0.2:0;{where[0]}:{where[1]}")
        callers.append(caller)
    return callers


def say(s: socket.socket, words: bytes) -> bool:
    """Send what the other side takes; whether it is still there, or has not answered yet."""
    try:
        s.send(words)
        return bool(s.recv(4096))
    except BlockingIOError:
        return True
    except OSError:
        return False


def main() -> None:
    host, port, server, rate, half_open = sys.argv[1:]
    where = (host, int(port))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.nice(19)  # they are somewhere else: what they compute must not cost the parties their processor
    callers = knock(where, server)
    silent = [call(where) for _ in range(int(half_open))]
    print("ready", flush=True)
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    calls, due, latest = 0, 0.0, [call(where)]
    then = drip = time.monotonic()
    while not over.wait(0.002):
        now = time.monotonic()
        due += min(now - then, 0.1) * float(rate)  # at most: they may have been stopped meanwhile
        then = now
        while calls < due:
            latest.append(call(where))
            calls += 1
        while len(latest) > 100:
            latest.pop(0).close()
        if now - drip > 1:  # a byte a second, and for who was cut off another one
            drip = now
            for i, s in enumerate(silent):
                if not say(s, WORDS[i % 4] or b"\xff"):
                    s.close()
                    silent[i] = call(where)
    print(calls, flush=True)
    for caller in callers:
        caller.close(0)


if __name__ == "__main__":
    main()
