"""Words of 128 and of 32 bits against Python's integers."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from mpc.errors import InputError, RangeError, UsageError
from mpc.ring.bilinear import MATMUL, MUL, Conv2d, Conv3d
from mpc.ring.prg import Stream, expand_key
from mpc.ring.ring import Ring
from mpc.ring.rings import RINGS, ring_of

KEYS = np.concatenate([expand_key(bytes([k] * 32), "test") for k in range(2)])
each_ring = pytest.mark.parametrize("ring", [ring_of(name) for name in RINGS], ids=list(RINGS))


def sample(ring: Ring, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Random integers of every length, and the edges of the ring, as Python ints."""
    rng = np.random.default_rng(seed)
    values = [int.from_bytes(rng.bytes(16), "little") >> int(rng.integers(0, 127)) for _ in range(int(np.prod(shape)))]
    edges = [0, 1, (1 << ring.bits - 1) - 1, 1 << ring.bits - 1, (1 << ring.bits) - 1, 1 << 63, (1 << 64) - 1]
    values[: len(edges)] = edges[: len(values)]
    return np.array([v % (1 << ring.bits) for v in values], object).reshape(shape)


def value(ring: Ring, x: np.ndarray) -> np.ndarray:
    """Words as integers without a sign."""
    return np.asarray(ring.integers(x).astype(object) % (1 << ring.bits), object)


@each_ring
def test_arithmetic_is_that_of_integers(ring: Ring):
    a, b = sample(ring, (5, 40)), sample(ring, (40,), 1)
    x, y, size = ring.of(a), ring.of(b), 1 << ring.bits
    assert x.dtype == ring.word
    assert np.array_equal(value(ring, x), a)
    for got, want in (
        (ring.add(x, y), a + b),
        (ring.sub(x, y), a - b),
        (ring.mul(x, y), a * b),
        (ring.neg(x), -a),
        (ring.sum(x, (0,)), a.sum(0)),
        (ring.sum(x, (0, 1)), a.sum()),
        (ring.sum(x.T, (1,)), a.sum(0)),
        (ring.cumsum(x, 1), a.cumsum(1)),
        (ring.cumsum(x, 0), a.cumsum(0)),
        (ring.product(MUL, x, y, x.copy()), a * b + a),
        (ring.product(MATMUL, x, x.T), a @ a.T),
        (ring.product(MATMUL, x[:, :1], x[:1]), a[:, :1] @ a[:1]),
        (ring.from_limbs(ring.limbs(x)), a),
        (ring.filled((3,), -2), np.full(3, -2, object)),
    ):
        assert np.array_equal(value(ring, got), np.asarray(want % size, object))
    for bits in (0, 1, 31, ring.bits // 2, ring.bits - 1):
        assert np.array_equal(value(ring, ring.shift_left(x, bits)), (a << bits) % size)
        assert np.array_equal(value(ring, ring.shift_right(x, bits)), a >> bits)
        assert np.array_equal(value(ring, ring.remainder(x, bits)), a % (1 << bits))
    assert np.array_equal(ring.is_zero(x), (a == 0).astype(np.uint8))
    assert np.array_equal(np.unpackbits(ring.bit_plane(x, ring.bits - 1).view(np.uint8), bitorder="little")[:200], (
        a.reshape(-1) >> ring.bits - 1))  # fmt: skip


@each_ring
@pytest.mark.parametrize("f", [Conv2d((2, 1), (1, 0)), Conv3d((1, 1, 1), (1, 0, 1))], ids=str)
def test_convolutions_agree_with_sums_of_products(ring: Ring, f: Any):
    dims = len(f.stride)
    a, b = sample(ring, (2, 3, *[5] * dims)), sample(ring, (4, 3, *[2] * dims), 1)
    padded = np.full((2, 3, *(5 + 2 * p for p in f.padding)), 0, object)
    padded[(slice(None), slice(None), *(slice(p, p + 5) for p in f.padding))] = a
    want = np.zeros(f.shape(a.shape, b.shape), object)
    for at in np.ndindex(want.shape):
        n, o, *space = at
        window = tuple(slice(i * s, i * s + 2) for i, s in zip(space, f.stride, strict=True))
        want[at] = sum((padded[(n, slice(None), *window)] * b[o]).flat)
    got = ring.product(f, ring.of(a), ring.of(b))
    assert np.array_equal(value(ring, got), want % (1 << ring.bits))


@each_ring
def test_streams_are_added_and_taken_away(ring: Ring):
    x, stream = ring.of(sample(ring, (1000,))), Stream(KEYS, 77, 512)
    hidden = ring.blind(x, 1, stream)
    assert not np.array_equal(hidden, x)
    assert np.array_equal(ring.blind(hidden, -1, stream), x)
    words = [ring.prg((1000,), replace(stream, keys=KEYS[k : k + 1])) for k in range(2)]
    assert np.array_equal(ring.add(x, ring.total(words)), hidden)
    later = ring.prg((488,), Stream(KEYS[:1], 77, 1024))
    assert np.array_equal(later, words[0][512:]), "a word is named by its position alone"
    bits = np.unpackbits(words[0].view(np.uint8))
    assert abs(bits.mean() - 0.5) < 5 * 0.5 / len(bits) ** 0.5


@each_ring
def test_reals_are_rounded_once(ring: Ring):
    rng = np.random.default_rng(3)
    f = {32: 8, 64: 20, 128: 50}[ring.bits]
    top = 2.0 ** (ring.bits - 2 - f)
    x = np.concatenate([rng.normal(size=200) * 2.0 ** rng.integers(-60, ring.bits - 5 - f, 200), [0, -0.0, 2.0**-f, 0.5**f / 2,
                        1.5 * 2.0**-f, 5e-324, np.nextafter(top, 0) if ring.bits > 32 else top - 1, -top / 2]])  # fmt: skip
    words = ring.encode(x, f)
    exact = [round(Fraction(v) * 2**f) for v in x]  # of ties, the even one
    assert [int(v) for v in ring.integers(words)] == exact
    assert np.array_equal(ring.decode(words, f), [float(Fraction(v, 2**f)) for v in exact])
    for bad in (top, -top, 1e300):
        with pytest.raises(RangeError, match=f"fixed{ring.bits}"):
            ring.encode(np.array([0.0, bad]), f)
    for bad in (np.nan, np.inf):
        with pytest.raises(InputError):
            ring.encode(np.array([bad]), f)


def test_unknown_rings_are_refused():
    with pytest.raises(UsageError, match="no ring"):
        ring_of("2^65")
