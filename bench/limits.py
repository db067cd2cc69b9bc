"""What limits a kernel, measured in the process that asks: the loops of limits.c, and memcpy."""

import ctypes
import shutil
import statistics
import subprocess
import time
from pathlib import Path

import numpy as np

AES_ROUNDS, BLOCK = 10, 16  # of a block of 16 bytes
REGISTER = {"avx2": 32, "avx512": 64}  # bytes


class Limits:
    """Rates of the loops in limits.c and of memcpy, each taken when it is asked for, so that the clock is the same."""

    def __init__(self, folder):
        library = folder / "limits.so"
        source = Path(__file__).with_name("limits.c")
        subprocess.run([shutil.which("gcc") or "cc", "-O2", "-fPIC", "-shared", source, "-o", library], check=True)
        self.loops = ctypes.CDLL(str(library))
        flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
        self.vaes = " vaes" in flags

    @staticmethod
    def seconds(call, rounds=5):
        times = []
        for _ in range(rounds):
            start = time.thread_time()
            call()
            times.append(time.thread_time() - start)
        return statistics.median(times)

    def loop(self, name, per_round):
        rounds = 200_000
        return per_round * rounds / self.seconds(lambda: getattr(self.loops, name)(ctypes.c_uint64(rounds)))

    def multiply(self, ring, tier):
        """Products a second."""
        if tier not in REGISTER:
            return None
        return self.loop(f"{ring}_{tier}", 8 * REGISTER[tier] // (4 if ring == "u32" else 8))

    def aes(self, tier):
        """Bytes of random words a second."""
        if tier not in REGISTER:
            return None
        size = REGISTER[tier] if self.vaes else BLOCK
        return self.loop(f"aes_{ {16: 'x', 32: 'y', 64: 'z'}[size] }mm", 8 * size) / AES_ROUNDS

    def memory(self, size):
        """Bytes a second, read and written, of a copy between arrays of `size` bytes together."""
        x, y = np.ones((2, max(1, size // 16)), np.uint64)
        return 2 * x.nbytes / self.seconds(lambda: np.copyto(x, y), 9)
