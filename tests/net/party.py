"""A party in a process of its own, for test_zeromq.py: python party.py ROLE ME PARTIES FOLDER OPTIONS."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable

import numpy as np

from mpc.errors import MPCError
from mpc.net import ZeroMQ

SESSION = bytes(range(16))
WORDS = [("<u8", (3,))]


def echo(channel: ZeroMQ) -> None:
    """Return to party 0 what it sends: arrays of u64, u32, u8, of a size that is announced first."""
    size = -1
    round = 0
    while size:
        size = int(channel.recv(0, round, [("<u8", ())])[0])
        specs = [("<u8", (size,)), ("<u4", (3, size // 3)), ("|u1", ()), ("<u8", (0, 2))]
        channel.send(0, round + 1, channel.recv(0, round + 1, specs))
        round += 2


def wait(channel: ZeroMQ) -> None:
    """Wait for data from party 0, which does not come."""
    channel.recv(0, 0, WORDS)


def idle(channel: ZeroMQ) -> None:
    """Stay in the session, outside of any call, until the standard input ends."""
    sys.stdin.read()


def vanish(channel: ZeroMQ) -> None:
    """End the process without a word."""
    channel.send(0, 0, [np.zeros(3, np.uint64)])
    sys.stdout.flush()
    import os

    os._exit(0)


def deal(channel: ZeroMQ) -> None:
    """Send 40 MiB ahead of party 0, then leave at once."""
    for i in range(40):
        channel.send(0, i, [np.full(1 << 17, i, np.uint64)])


def main() -> None:
    role, me, parties, folder, options = sys.argv[1:]
    roles: dict[str, Callable[[ZeroMQ], None]] = {f.__name__: f for f in (echo, wait, idle, vanish, deal)}
    try:
        channel = ZeroMQ(int(me), int(parties), lambda a, b: f"ipc://{folder}/{a}-{b}", SESSION, **ast.literal_eval(options))
        with channel:
            print("ready", flush=True)
            roles[role](channel)
    except MPCError as error:
        print(f"{type(error).__name__} {getattr(error, 'party', '')}: {error}", flush=True)
    else:
        print("done", flush=True)


if __name__ == "__main__":
    main()
