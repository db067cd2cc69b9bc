"""Bits, 64 a word."""

from __future__ import annotations

import numpy as np
import pytest

from mpc.ring.packed import Packed
from mpc.ring.shapes import blank


def test_bit_i_is_bit_i_of_its_word():
    bits = np.zeros(130, np.uint8)
    bits[[0, 65, 129]] = 1
    packed = Packed.of(bits)
    assert packed.words.tolist() == [1, 2, 2]
    assert packed.size == 130
    assert np.array_equal(packed.bytes(), bits)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (7,), (64,), (65,), (3, 5), (2, 0, 3), (2, 64, 3), (1000,)])
def test_there_and_back(shape: tuple[int, ...]):
    bits = np.random.default_rng(1).integers(0, 2, shape, np.uint8)
    packed = Packed.of(bits)
    assert packed.shape == shape
    assert packed.words.dtype == np.dtype("<u8")
    assert packed.words.shape == (-(-bits.size // 64),)
    assert np.array_equal(packed.bytes(), bits)


@pytest.mark.parametrize(
    "layout", [lambda b: b.T, lambda b: b[::-1, ::2], lambda b: np.broadcast_to(b[0], (3, 6)), np.asfortranarray]
)
def test_any_memory_layout(layout):
    bits = layout(np.random.default_rng(2).integers(0, 2, (4, 6), np.uint8))
    assert np.array_equal(Packed.of(bits).bytes(), bits)


@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize("shape", [(1,), (5,), (3, 70)])
def test_one_bit_for_all_takes_no_memory(shape: tuple[int, ...], value: int):
    """A broadcast constant is one word, however large: `~x` on 10^9 elements is rehearsed so."""
    packed = Packed.of(np.broadcast_to(np.uint8(value), shape))
    assert not any(packed.words.strides)
    assert np.array_equal(packed.bytes(), np.full(shape, value, np.uint8))
    assert np.array_equal(Packed.of(packed.bytes()).bytes(), packed.bytes())
    assert np.array_equal(packed.rearranged(lambda b: b[..., :1]).bytes(), np.full((*shape[:-1], 1), value, np.uint8))


def test_a_blank_stays_one():
    packed = Packed.of(blank((10**9,), np.dtype(np.uint8)))
    assert packed.words.strides == (0,)
    assert packed.bytes().strides == (0,)
    assert packed.bytes()[-1] == 0


def test_bits_beyond_the_size_mean_nothing():
    words = np.array([2**64 - 1], "<u8")
    assert np.array_equal(Packed(words, (3,)).bytes(), np.ones(3, np.uint8))
    assert Packed.of(Packed(words, (3,)).bytes()).words.tolist() == [7]


def test_rearranged_reshaped_cut():
    bits = np.random.default_rng(3).integers(0, 2, (4, 96), np.uint8)
    packed = Packed.of(bits)
    assert np.array_equal(packed.rearranged(lambda b: b.T[::-1]).bytes(), bits.T[::-1])
    assert np.array_equal(packed.reshaped((96, 4)).bytes(), bits.reshape(96, 4))
    flat = packed.reshaped((384,))
    for start, stop in ((0, 64), (64, 100), (320, 384), (128, 128)):
        assert np.array_equal(flat.cut(start, stop).bytes(), bits.reshape(-1)[start:stop])
