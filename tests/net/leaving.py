"""Sessions that end at any moment while both send, with a heartbeat every 5 ms: python leaving.py FOLDER SESSIONS."""

from __future__ import annotations

import random
import socket
import sys
import threading
import time
from contextlib import suppress

import numpy as np

from mpc.errors import MPCError
from mpc.net import ZeroMQ


def party(me: int, address: str, seed: str) -> None:
    rng = random.Random(seed)
    linger = rng.choice((0.0, 0.02, 0.3))
    with suppress(MPCError, ValueError), ZeroMQ(me, 2, lambda a, b: address, bytes(16), heartbeat=0.005, linger=linger) as c:
        end, round = time.monotonic() + 0.05 * rng.random(), 0
        while time.monotonic() < end:
            c.send(1 - me, round, [np.zeros(rng.choice((3, 1 << 10, 1 << 16)), np.uint64)])
            round += 1
            time.sleep(0.0003)
        if rng.random() < 0.5:
            raise ValueError("leave by an abort")


def main() -> None:
    folder, sessions = sys.argv[1], int(sys.argv[2])
    for i in range(sessions):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        address = f"ipc://{folder}/{i}" if i % 2 else f"tcp://127.0.0.1:{port}"
        threads = [threading.Thread(target=party, args=(me, address, f"{i}, party {me}")) for me in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main()
