"""Fixed point: rounding to the nearest multiple of 2^-f, refusing what does not fit. Oracle: exact rationals."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mpc.errors import InputError, RangeError
from mpc.ring.fixed import decode, encode, exact_fraction_bits


def test_one_and_a_half():
    words = encode(np.array([1.5, -1.5]), 16)
    assert words.dtype == np.dtype("<u8")
    assert words.tolist() == [3 << 15, 2**64 - (3 << 15)]
    assert decode(words, 16).tolist() == [1.5, -1.5]


@given(st.floats(-(2.0**20), 2.0**20), st.integers(1, 40))
@example(2.0**-17, 16)  # a tie goes to the even neighbour
@example(3 * 2.0**-17, 16)
@example(-(2.0**-17), 16)
@example(0.0, 1)
@example(-0.0, 1)
def test_encode_rounds_to_nearest_even(x: float, f: int):
    wanted = round(Fraction(x) * 2**f)  # of a rational: ties to even
    assert encode(np.array([x]), f).view(np.int64)[0] == wanted


@pytest.mark.parametrize("f", [1, 16, 24, 40])
def test_the_ends_of_the_domain(f: int):
    end = 2.0 ** (62 - f)
    inside = np.array([np.nextafter(end, 0), -np.nextafter(end, 0)])
    assert np.array_equal(decode(encode(inside, f), f), inside)
    for outside in (end, -end, 1e300):
        with pytest.raises(RangeError, match=rf"1 of 2 values.*fixed64\({f}\).*2\^{62 - f}.*index 1"):
            encode(np.array([0.0, outside]), f)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused_with_its_place(bad: float):
    x = np.zeros((2, 3))
    x[1, 2] = bad
    with pytest.raises(InputError, match=r"1 of 6.*index \(1, 2\).*nan_to_num"):
        encode(x, 16)


def test_an_error_does_not_show_the_value():
    with pytest.raises(RangeError) as error:
        encode(np.array([123456789.0e12]), 16)
    assert "123456" not in str(error.value)


@given(st.integers(-(2**62) + 1, 2**62 - 1), st.integers(1, 40))
def test_decode_is_the_nearest_double(integer: int, f: int):
    word = np.array([integer % 2**64], "<u8")
    assert decode(word, f)[0] == float(Fraction(integer, 2**f))


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3, 4)])
def test_shapes_stay(shape: tuple[int, ...]):
    x = np.full(shape, 0.25)
    assert np.shape(encode(x, 16)) == shape
    assert np.shape(decode(encode(x, 16), 16)) == shape


@pytest.mark.parametrize(
    ("values", "bits"),
    [
        ([2.0, -4.0], 0),
        ([0.5], 1),
        ([0.25, 1.5], 2),
        ([0.3], 16),
        ([0.0], 0),
        ([], 0),
        ([2.0**-16], 16),
        ([3 * 2.0**-10, 7], 10),
    ],
)
def test_fraction_bits_that_are_needed(values: list[float], bits: int):
    x = np.array(values)
    found = exact_fraction_bits([encode(x, 16)], 16)
    assert found == bits
    assert np.array_equal(decode(encode(x, 16), 16), decode(encode(x, found), found))
