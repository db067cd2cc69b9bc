"""AES-128 by the text of FIPS 197, on NumPy arrays, and the streams of mpc_kernels.h by their definition."""

from functools import cache

import numpy as np


def double(x):
    return x << 1 & 0xFF ^ (x >> 7) * 0x1B


def times(x, y):
    z = 0
    for bit in range(8):
        z ^= x * (y >> bit & 1)
        x = double(x)
    return z


def s_box(x):
    y = next((y for y in range(256) if times(x, y) == 1), 0)
    return y ^ 0x63 ^ (y << 1 | y >> 7) & 0xFF ^ (y << 2 | y >> 6) & 0xFF ^ (y << 3 | y >> 5) & 0xFF ^ (y << 4 | y >> 4) & 0xFF


SBOX = np.array([s_box(x) for x in range(256)], np.uint8)
DOUBLE = np.array([double(x) for x in range(256)], np.uint8)
SHIFT = np.array([(i + 4 * (i % 4)) % 16 for i in range(16)])


def expand(key):
    """The 11 round keys, 176 bytes."""
    words = [list(key[i : i + 4]) for i in range(0, 16, 4)]
    rcon = 1
    for i in range(4, 44):
        t = words[-1]
        if i % 4 == 0:
            t = [int(SBOX[b]) for b in t[1:] + t[:1]]
            t[0] ^= rcon
            rcon = double(rcon)
        words.append([a ^ b for a, b in zip(words[i - 4], t, strict=True)])
    return bytes(b for w in words for b in w)


def encrypt(rk, blocks):
    """blocks: (n, 16) bytes"""
    keys = np.frombuffer(rk, np.uint8).reshape(11, 16)
    s = blocks ^ keys[0]
    for r in range(1, 11):
        s = SBOX[s][:, SHIFT]
        if r < 10:
            a = s.reshape(-1, 4, 4)
            b, c, d = (np.roll(a, -i, axis=2) for i in (1, 2, 3))
            s = (DOUBLE[a] ^ DOUBLE[b] ^ b ^ c ^ d).reshape(-1, 16)
        s = s ^ keys[r]
    return s


@cache
def stream(rk, name, at, n):
    """n words of the stream `name` from word `at` (even) on"""
    count = np.uint64(at // 2) + np.arange((n + 1) // 2, dtype=np.uint64)
    blocks = np.stack([count, np.full_like(count, name)], axis=1)
    words = np.ascontiguousarray(encrypt(rk, blocks.astype("<u8").view(np.uint8))).view("<u8").reshape(-1)[:n]
    words.flags.writeable = False
    return words
