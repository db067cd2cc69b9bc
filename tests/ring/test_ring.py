"""The ring against big integers, its fused operations against their definitions, and blanks against both."""

from __future__ import annotations

from typing import Any

import gmpy2
import numpy as np
import pytest

from mpc.ring.bilinear import MATMUL, MUL
from mpc.ring.packed import Packed
from mpc.ring.prg import SEED_BYTES, Name, Stream, expand_key, fresh_seed
from mpc.ring.ring import Ring
from mpc.ring.shapes import Shapes, blank
from mpc.ring.words import words_for

MODULUS = gmpy2.mpz(1) << 64
EDGES = [0, 1, 2, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 1, 2**64 - 2, 2**32, 2**32 - 1]
KEYS = np.concatenate([expand_key(bytes([i] * SEED_BYTES), "test") for i in range(3)])
RING = Ring()


def words(*shape: int, seed: int = 1) -> np.ndarray:
    """Uniform words, edge values first."""
    x = np.random.default_rng(seed).integers(0, 2**64, shape, np.uint64)
    flat = x.reshape(-1)
    flat[: len(EDGES)] = np.array(EDGES, np.uint64)[: flat.size]
    return x


def big(x: np.ndarray) -> np.ndarray:
    """As an array of big integers."""
    return np.vectorize(gmpy2.mpz, otypes=[object])(x)


def equal(found: np.ndarray, wanted: Any) -> None:
    wanted = np.asarray(wanted % MODULUS, object)
    assert found.dtype == np.dtype("<u8")
    assert found.shape == wanted.shape
    assert [int(v) for v in found.reshape(-1)] == [int(v) for v in wanted.reshape(-1)]


def test_addition_wraps():
    assert RING.add(np.array([2**64 - 1], "<u8"), np.array([2], "<u8")).tolist() == [1]


@pytest.mark.parametrize("shapes", [((40,), (40,)), ((5, 8), (8,)), ((5, 1), (1, 8)), ((), (3,)), ((0,), (0,)), ((1,), (4,))])
def test_arithmetic(shapes):
    x, y = words(*shapes[0]), words(*shapes[1], seed=2)
    a, b = big(x), big(y)
    equal(RING.add(x, y), a + b)
    equal(RING.sub(x, y), a - b)
    equal(RING.neg(x), -a)
    equal(RING.product(MUL, x, y), a * b)
    equal(RING.total([x, x, x]), 3 * a)
    start = words(*np.broadcast_shapes(*shapes), seed=3)
    equal(RING.product(MUL, x, y, start.copy()), big(start) + a * b)


@pytest.mark.parametrize(
    "shape", [((3, 4), (4, 5)), ((1, 1), (1, 1)), ((70, 33), (33, 9)), ((2, 3, 4), (4, 2)), ((2, 0), (0, 3))]
)
def test_matmul(shape):
    x, y = words(*shape[0]), words(*shape[1], seed=2)
    wanted = np.zeros(MATMUL.shape(*shape), object) if 0 in x.shape else np.matmul(big(x), big(y))
    equal(RING.product(MATMUL, x, y), wanted)
    if x.ndim == 2:
        equal(RING.product(MATMUL, np.asfortranarray(x), y.T.copy().T), wanted)


def test_sums():
    x = words(3, 4, 5)
    for axis in ((0,), (1, 2), (0, 1, 2), (2,)):
        equal(RING.sum(x, axis), big(x).sum(axis=axis))


def test_bits():
    x, y = words(20), words(20, seed=2)
    assert RING.xor([x, y, x]).tolist() == y.tolist()
    for bit in (0, 1, 31, 62, 63):
        plane = RING.bit_plane(x, bit)
        assert Packed(plane, x.shape).bytes().tolist() == [int(v) >> bit & 1 for v in x]
    assert RING.spread(Packed.of(np.array([[0, 1, 1]], np.uint8))).tolist() == [[0, 1, 1]]
    assert [words_for(n) for n in (0, 1, 64, 65)] == [0, 1, 1, 2]


# ---- random words ----
def stream(keys: np.ndarray = KEYS[:1], at: int = 0) -> Stream:
    return Stream(keys, Name(1, 2).field(3), at)


def test_a_stream_is_a_function_of_its_address():
    whole = RING.prg((2048,), stream())
    assert np.array_equal(RING.prg((1000,), stream(at=512)), whole[512:1512])
    assert len(np.unique(whole)) == 2048
    for other in (Name(1, 2).field(4), Name(1, 3).field(3), Name(2, 2).field(3)):
        assert not np.intersect1d(RING.prg((2048,), Stream(KEYS[:1], other)), whole).size
    assert not np.intersect1d(RING.prg((2048,), stream(KEYS[1:2])), whole).size


def test_addresses_do_not_overlap():
    seen = {Name(e, n).field(f) for e in (0, 1, 2**24 - 1) for n in (0, 1, 2**32 - 1) for f in (0, 1, 255)}
    assert len(seen) == 27
    assert max(seen) < 2**64
    assert (Name(5, 7).epoch, Name(5, 7).node) == (5, 7)
    for epoch, node in ((1 << 24, 0), (0, 1 << 32), (-1, 0), (0, -1)):
        with pytest.raises(OverflowError, match="new session"):
            Name(epoch, node)
    for field in (256, -1):
        with pytest.raises(OverflowError, match="none of 0 to 255"):
            Name(0, 0).field(field)


def test_keys_differ_by_seed_and_purpose():
    assert len({expand_key(seed * SEED_BYTES, purpose).tobytes() for seed in (b"a", b"b") for purpose in ("deal", "pair")}) == 4
    assert fresh_seed() != fresh_seed()
    assert len(fresh_seed()) == SEED_BYTES


@pytest.mark.parametrize("shape", [(), (7,), (3, 5), (1000,)])
def test_blinding(shape):
    x = words(*shape) if shape else np.asarray(words(1)[0])
    pads = [big(RING.prg(shape, stream(KEYS[i : i + 1]))) for i in range(3)]
    equal(RING.blind(x, 1, stream(KEYS)), big(x) + sum(pads))
    equal(RING.blind(x, -1, stream(KEYS)), big(x) - sum(pads))
    masked, mask = RING.mask(x, stream())
    equal(mask, pads[0])
    equal(masked, big(x) + pads[0])
    hidden = RING.blind_bits(x, stream(KEYS[:2]))
    assert np.array_equal(RING.blind_bits(hidden, stream(KEYS[:2])), x)


# ---- products of opened operands, truncation: shares add up to the definition ----
@pytest.mark.parametrize(("f", "shapes"), [(MUL, ((6, 5), (6, 5))), (MUL, ((6, 1), (1, 5))), (MATMUL, ((4, 3), (3, 2)))])
def test_pair_and_beaver(f, shapes):
    x, y = words(*shapes[0]), words(*shapes[1], seed=2)
    r, s = [words(*shapes[0], seed=i) for i in (3, 4)], [words(*shapes[1], seed=i) for i in (5, 6)]
    x_open, y_open = x + r[0] + r[1], y + s[0] + s[1]
    product, shape = RING.product(f, x, y), f.shape(*shapes)
    rho = [RING.prg(shape, stream(KEYS[i : i + 1])) for i in (0, 1)]
    z = [RING.pair(f, x_open, r[i], y_open, s[i], 9 * (1 - i), stream(KEYS[i : i + 1])) for i in (0, 1)]
    mask = RING.pair_deal(f, r, s, rho[0] + rho[1])
    assert np.array_equal(z[0] + z[1] - mask, 2 * product + 9)
    dealt = RING.product(f, r[0] + r[1], s[0] + s[1])
    z = [RING.beaver(f, x_open, r[i], y_open, s[i], i == 0, 9 * (1 - i), t, stream()) for i, t in ((0, None), (1, dealt))]
    assert np.array_equal(z[0] + z[1] - RING.prg(shape, stream()), product + 9)


@pytest.mark.parametrize("bits", [1, 8, 16, 31, 32, 33, 47, 61])
def test_truncation(bits: int):
    """floor((x + d) / 2^bits), d = 2^bits - 1 - (c mod 2^bits): on the whole domain |x| < 2^62, whatever the mask."""
    rng = np.random.default_rng(bits)
    x = rng.integers(-(2**62), 2**62, 4000)
    x[:9] = [0, 1, -1, 2**62 - 1, -(2**62), 1 << bits, -(1 << bits), (1 << bits) - 1, -(1 << bits) - 1]
    r = rng.integers(0, 2**64, 4000, np.uint64)
    r[:200:3], r[1:200:3] = 2**64 - 1, 0
    r[300:400] = 2**62  # c = x + 2^62 + r wraps or not
    z, others = rng.integers(0, 2**64, 4000, np.uint64), None
    c = x.view(np.uint64) + np.uint64(1 << 62) + r
    others = c - z
    names = Stream(KEYS[:1], Name(0, 0).field(1)), Stream(KEYS[:1], Name(0, 0).field(2))
    dealt = RING.trunc_deal(r, bits, *names)
    t = RING.trunc(z, others, bits, True, None, *names) + RING.trunc(c, None, bits, False, dealt, *names)
    wanted = [(int(v) + (1 << bits) - 1 - int(o) % (1 << bits)) >> bits for v, o in zip(x, c, strict=True)]
    assert t.view(np.int64).tolist() == wanted


# ---- blanks ----
def test_a_blank_takes_no_memory_and_cannot_be_written():
    b = blank((10**6, 10**6))
    assert b.shape == (10**6, 10**6)
    assert b.base is not None
    with pytest.raises(ValueError, match="read-only"):
        b[0, 0] = 1


def test_shapes_gives_the_shapes_and_types_of_ring():
    shapes, x, y = Shapes(), words(6, 5), words(5)
    a, b = blank(x.shape), blank(y.shape)
    bits, packed = Packed.of(np.ones((6, 5), np.uint8)), Packed.of(blank((6, 5), np.dtype(np.uint8)))
    m, n = words(5, 3), blank((5, 3))
    calls = [
        lambda r, x, y, m, p: r.add(x, y),
        lambda r, x, y, m, p: r.neg(x),
        lambda r, x, y, m, p: r.sum(x, (0,)),
        lambda r, x, y, m, p: r.sum(x, (0, 1)),
        lambda r, x, y, m, p: r.product(MATMUL, x, m),
        lambda r, x, y, m, p: r.product(MUL, x, y),
        lambda r, x, y, m, p: r.concatenate([x, x], 1),
        lambda r, x, y, m, p: r.prg((3, 2), stream()),
        lambda r, x, y, m, p: r.blind(x, 1, stream()),
        lambda r, x, y, m, p: r.mask(x, stream())[0],
        lambda r, x, y, m, p: r.pair(MATMUL, x, x, m, m, 0, stream()),
        lambda r, x, y, m, p: r.beaver(MUL, x, x, x, x, True, 0, None, stream()),
        lambda r, x, y, m, p: r.trunc_deal(x, 16, stream(), stream())[1],
        lambda r, x, y, m, p: r.trunc_deal(x, 40, stream(), stream())[1],
        lambda r, x, y, m, p: r.bit_plane(x, 3),
        lambda r, x, y, m, p: r.spread(p),
        lambda r, x, y, m, p: r.filled((2, 2), 7),
    ]
    for k, call in enumerate(calls):
        real, abstract = call(RING, x, y, m, bits), call(shapes, a, b, n, packed)
        assert (abstract.shape, abstract.dtype) == (real.shape, real.dtype), k
        assert not any(abstract.strides), k
    assert shapes.multiplications == 6 * 5 * 3 + 6 * 5 + 6 * 5 * 3
