"""Residues modulo primes: every kernel against Python's integers, modulo one prime and modulo several at once."""

import itertools

import numpy as np
import pytest
from mpc._native import ffi

M61 = 2**61 - 1
LARGEST = 2**63 - 25
SYSTEMS = {
    "2^61 - 1": (M61,),
    "largest": (LARGEST,),
    "smallest": (2**31 + 11,),
    "2^62 - 57": (2**62 - 57,),
    "three": (M61, LARGEST, 2**31 + 11),
    "twice 2^61 - 1": (M61, M61),
}
LENGTHS = [0, 1, 3, 255, 256, 257, 700]
GUARD = 0xDEADBEEF


@pytest.fixture(params=SYSTEMS)
def primes(request):
    return SYSTEMS[request.param]


def fields(primes):
    out = ffi.new("mpc_field[]", len(primes))
    for f, p in zip(out, primes, strict=True):
        f.p, f.shift = p, 64 - p.bit_length()
        f.reciprocal = (2**128 - 1) // (p << f.shift) - 2**64
    return out, len(primes)


def ptr(x):
    return ffi.NULL if x is None else ffi.from_buffer("uint64_t *", x)


def residues(rng, primes, *shape):
    """Uniform, with 0, 1 and p - 1 among them: (*shape, primes) words, and the same as Python's integers."""
    words = np.stack([rng.integers(0, p, shape, np.uint64) for p in primes], -1)
    flat = words.reshape(-1, len(primes))
    for j, p in enumerate(primes):
        edges = np.array([0, p - 1, 1, p - 1, p - 2][: len(flat)], np.uint64)
        flat[: len(edges), j] = edges
    return words, words.astype(object)


def room(*shape):
    return np.full(int(np.prod(shape)) + 1, GUARD, np.uint64)


def check(out, want):
    assert np.array_equal(out[:-1], np.asarray(want).reshape(-1)) and out[-1] == GUARD


@pytest.mark.parametrize("op", ["add", "sub", "mul"])
def test_elementwise(kernels, rng, primes, op):
    p = np.array(primes, object)
    for n in LENGTHS:
        (x, a), (y, b) = residues(rng, primes, n), residues(rng, primes, n)
        y, b = y[::-1].copy(), b[::-1]
        out = room(n, len(primes))
        getattr(kernels, f"field_{op}_u64")(ptr(out), ptr(x), ptr(y), n, *fields(primes))
        check(out, {"add": a + b, "sub": a - b, "mul": a * b}[op] % p)
        y[:] = x  # and an element with itself, in place
        getattr(kernels, f"field_{op}_u64")(ptr(y), ptr(y), ptr(x), n, *fields(primes))
        assert np.array_equal(y, {"add": a + a, "sub": a - a, "mul": a * a}[op] % p)


def test_the_edges_of_a_product(kernels, primes):
    """All pairs of residues beside 0, beside p, and beside powers of two."""
    for p in primes:
        values = sorted({v % p for k in range(64) for v in (2**k - 1, 2**k, 2**k + 1, -(2**k), p // (k + 1))})
        pairs = list(itertools.product(values, values))
        x, y = (np.array(v, np.uint64) for v in zip(*pairs, strict=True))
        out = room(len(pairs))
        kernels.field_mul_u64(ptr(out), ptr(x), ptr(y), len(pairs), *fields([p]))
        check(out, [a * b % p for a, b in pairs])


def test_encode(kernels, rng, primes):
    edges = [0, 1, -1, 2**63 - 1, -(2**63), *primes, *(-p for p in primes), *(p - 1 for p in primes)]
    x = np.concatenate([np.array(edges, np.int64), rng.integers(-(2**63), 2**63 - 1, 300)])
    out = room(x.size, len(primes))
    kernels.field_encode_i64(ptr(out), ffi.from_buffer("int64_t *", x), x.size, *fields(primes))
    check(out, x.astype(object)[:, None] % np.array(primes, object))


def test_sums(kernels, rng, primes):
    p = np.array(primes, object)
    for rows, n in itertools.product([0, 1, 5], LENGTHS):
        x, a = residues(rng, primes, rows, n)
        out = room(rows, len(primes))
        kernels.field_sum_u64(ptr(out), ptr(x), rows, n, *fields(primes))
        check(out, a.sum(1) % p if n else np.zeros((rows, len(p)), object))
        out = room(rows, n, len(primes))
        kernels.field_cumsum_u64(ptr(out), ptr(x), rows, n, *fields(primes))
        check(out, a.cumsum(1) % p if n else a)


def test_the_largest_sum(kernels, primes):
    x = np.tile(np.array(primes, np.uint64) - np.uint64(1), (100_000, 1))
    out = room(len(primes))
    kernels.field_sum_u64(ptr(out), ptr(x), 1, len(x), *fields(primes))
    check(out, [(p - 1) * len(x) % p for p in primes])


@pytest.mark.parametrize(
    "sizes", [(0, 3, 2), (2, 0, 3), (1, 1, 1), (3, 5, 4), (2, 33, 3), (4, 64, 5), (1, 1000, 2), (9, 7, 70)]
)
def test_matmul(kernels, rng, primes, sizes):
    m, k, p = sizes
    (x, a), (y, b), (z, c) = (residues(rng, primes, *s) for s in ((m, k), (p, k), (m, p)))
    out = np.append(z, np.uint64(GUARD))
    kernels.field_matmul_u64(ptr(out), ptr(x), ptr(y), m, p, k, *fields(primes))
    want = c + np.stack([a[..., j] @ b[..., j].T for j in range(len(primes))], -1) if k else c
    check(out, want % np.array(primes, object))


def test_the_largest_inner_product(kernels, primes):
    """p - 1 times p - 1, 10,000 times: whatever is not carried is missing."""
    x = np.tile(np.array(primes, np.uint64) - np.uint64(1), (10_000, 1))
    out = np.append(np.array(primes, np.uint64) - np.uint64(1), np.uint64(GUARD))
    kernels.field_matmul_u64(ptr(out), ptr(x), ptr(x), 1, 1, len(x), *fields(primes))
    check(out, [(len(x) - 1) % p for p in primes])


@pytest.fixture
def keys(kernels):
    rks = np.empty((3, 176), np.uint8)
    for i in range(3):
        kernels.aes_key(ffi.from_buffer("uint8_t *", rks[i]), ffi.from_buffer("uint8_t *", np.full(16, i, np.uint8)))
    return rks


@pytest.mark.parametrize("parties", [0, 1, 3])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("at", [0, 512, 77])
def test_random_words(kernels, rng, keys, primes, parties, sign, at):
    """Element i is 128 bits of the stream for each prime, wherever one begins to read."""
    count, total = len(primes), np.zeros((777, len(primes)), object)
    for key in keys[:parties]:
        words = np.empty(2 * count * 1300, np.uint64)
        kernels.prg_u64(ptr(words), words.size, ffi.from_buffer("uint8_t *", key), 1, 5, 0)
        low, high = words.astype(object).reshape(-1, count, 2)[at : at + 777].transpose(2, 0, 1)
        total += low + (high << 64)
    for n in (0, 1, 256, 777):
        x, a = residues(rng, primes, n)
        for start in (a, 0 * a):
            out, given = room(n, count), x if start is a else None
            rks = ffi.from_buffer("uint8_t *", keys)
            kernels.field_prg_add_u64(ptr(out), ptr(given), n, sign, rks, parties, 5, at, *fields(primes))
            check(out, (start + sign * total[:n]) % np.array(primes, object))
