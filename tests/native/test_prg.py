"""Random words: AES-128 in counter mode against FIPS 197, and the fused forms against the words themselves."""

import numpy as np
import pytest
from aes_reference import expand, stream
from mpc._native import ffi, lib

NAME, GUARD = 3 << 62 | 77, 0xDEADBEEF
LENGTHS = [*range(68), *range(509, 516), *range(1021, 1028), 2048]
MOST = max(LENGTHS)
POSITIONS = [0, 512, 3 * 512, 1 << 40, (1 << 64) - 4096]


def ptr(x, kind="uint64_t *"):
    return ffi.from_buffer(kind, x)


def keys(rng, count):
    """`count` expanded keys, and the same one after another in memory."""
    rks = [expand(rng.bytes(16)) for _ in range(count)]
    return rks, ptr(b"".join(rks), "uint8_t *")


def uniform(rng, n, dtype=np.uint64):
    return rng.integers(0, np.iinfo(dtype).max, n, dtype, endpoint=True)


def halves(words):
    return words.astype("<u8").view("<u4")


def test_key_expansion():
    """FIPS 197, appendix A.1, the last round key."""
    rk = np.empty(176, np.uint8)
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    lib.mpc_tier(b"ref").aes_key(ptr(rk, "uint8_t *"), key)
    assert rk[160:].tobytes().hex() == "d014f9a8c9ee2589e13f0cc8b6630ca6"
    assert rk.tobytes() == expand(key)


def test_block(kernels, rng):
    """FIPS 197, appendix C.1: the plaintext is the counter block of this name and position."""
    rk = np.empty(176, np.uint8)
    kernels.aes_key(ptr(rk, "uint8_t *"), bytes(range(16)))
    plain = bytes.fromhex("00112233445566778899aabbccddeeff")
    count, name = (int.from_bytes(half, "little") for half in (plain[:8], plain[8:]))
    out = np.empty(2, np.uint64)
    kernels.prg_u64(ptr(out), 2, ptr(rk, "uint8_t *"), 1, name, 2 * count)
    assert out.astype("<u8").tobytes().hex() == "69c4e0d86a7b0430d8cdb78070b4c55a"


def test_keys_are_the_same(kernels, rng):
    for _ in range(20):
        key, rk = rng.bytes(16), np.empty(176, np.uint8)
        kernels.aes_key(ptr(rk, "uint8_t *"), key)
        assert rk.tobytes() == expand(key)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("at", [*POSITIONS, 8, 88])
def test_words(kernels, rng, at, count):
    rks, p = keys(rng, count)
    want = sum((stream(rk, NAME, at, MOST) for rk in rks), np.zeros(MOST, np.uint64))
    for n in LENGTHS:
        out = np.full(n + 1, GUARD, np.uint64)
        kernels.prg_u64(ptr(out), n, p, count, NAME, at)
        assert np.array_equal(out[:n], want[:n]) and out[n] == GUARD


@pytest.mark.parametrize("count", [0, 1, 2, 3])
@pytest.mark.parametrize("sign", [1, -1])
def test_add(kernels, rng, count, sign):
    rks, p = keys(rng, count)
    x = uniform(rng, MOST)
    for at in POSITIONS[:3]:
        total = sum((stream(rk, NAME, at, MOST) for rk in rks), np.zeros(MOST, np.uint64))
        want = x + total if sign > 0 else x - total
        for n in LENGTHS:
            out = np.full(n + 1, GUARD, np.uint64)
            kernels.prg_add_u64(ptr(out), ptr(x), n, sign, p, count, NAME, at)
            assert np.array_equal(out[:n], want[:n]) and out[n] == GUARD
            out[:n] = x[:n]
            kernels.prg_add_u64(ptr(out), ptr(out), n, sign, p, count, NAME, at)
            assert np.array_equal(out[:n], want[:n]) and out[n] == GUARD


@pytest.mark.parametrize("count", [0, 1, 2, 3])
@pytest.mark.parametrize("sign", [1, -1])
def test_add_u32(kernels, rng, count, sign):
    rks, p = keys(rng, count)
    x = uniform(rng, MOST, np.uint32)
    for at in POSITIONS[:3]:
        total = sum((halves(stream(rk, NAME, at // 2, MOST))[:MOST] for rk in rks), np.zeros(MOST, np.uint32))
        want = x + total if sign > 0 else x - total
        for n in LENGTHS:
            out = np.full(n + 1, GUARD, np.uint32)
            kernels.prg_add_u32(ptr(out, "uint32_t *"), ptr(x, "uint32_t *"), n, sign, p, count, NAME, at)
            assert np.array_equal(out[:n], want[:n]) and out[n] == GUARD
            out[:n] = x[:n]
            kernels.prg_add_u32(ptr(out, "uint32_t *"), ptr(out, "uint32_t *"), n, sign, p, count, NAME, at)
            assert np.array_equal(out[:n], want[:n]) and out[n] == GUARD


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_xor(kernels, rng, count):
    rks, p = keys(rng, count)
    x = uniform(rng, MOST)
    for at in [0, 8, 40, 512]:
        want = x.copy()
        for rk in rks:
            want ^= stream(rk, NAME, at, MOST)
        for n in LENGTHS:
            out = np.full(n + 1, GUARD, np.uint64)
            kernels.prg_xor_u64(ptr(out), ptr(x), n, p, count, NAME, at)
            assert np.array_equal(out[:n], want[:n]) and out[n] == GUARD
            out[:n] = x[:n]
            kernels.prg_xor_u64(ptr(out), ptr(out), n, p, count, NAME, at)
            assert np.array_equal(out[:n], want[:n]) and out[n] == GUARD


def test_mask(kernels, rng):
    (rk,), p = keys(rng, 1)
    x = uniform(rng, MOST)
    for at in POSITIONS[:3]:
        mask = stream(rk, NAME, at, MOST)
        for n in LENGTHS:
            m, r = np.full((2, n + 1), GUARD, np.uint64)
            kernels.mask_u64(ptr(m), ptr(r), ptr(x), n, p, NAME, at)
            assert np.array_equal(r[:n], mask[:n]) and np.array_equal(m[:n], (x + mask)[:n])
            assert m[n] == r[n] == GUARD
