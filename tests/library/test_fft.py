"""Fourier and cosine transforms against SciPy, and that they are computed on shares alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.fft
from sklearn.datasets import load_digits

import mpc
from mpc.errors import UsageError
from mpc.lang.session import Session

from ..memory import open_session
from .test_arrays import each_protocol

PICTURES = load_digits().images[:5]  # 5 of 8 x 8
TOLERANCE = 2.0**-12


def near(s: Session, found: Any, wanted: np.ndarray) -> None:
    pair = found if isinstance(found, tuple) else (found,)
    values = s.reveal(*pair)
    got = values[0] + 1j * values[1] if len(values) == 2 else values[0]
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() < TOLERANCE * max(1, np.abs(wanted).max())


@each_protocol
@pytest.mark.parametrize("length", [7, 8])
def test_transforms(protocol: str, n: int, length: int):
    x = PICTURES[:, :length]
    y = x[::-1]
    z = x + 1j * y
    with open_session(protocol, n) as s:
        a, b = s.input(x), s.input(y, owner=1)
        near(s, mpc.fft.fft(a, axis=1), np.fft.fft(x, axis=1))
        near(s, mpc.fft.fft(a, b, axis=1), np.fft.fft(z, axis=1))
        near(s, mpc.fft.ifft(a, b, axis=1), np.fft.ifft(z, axis=1))
        real, imag = mpc.fft.rfft(a, axis=1)
        near(s, (real, imag), np.fft.rfft(x, axis=1))
        near(s, mpc.fft.irfft(real, imag, length, axis=1), x)
        near(s, mpc.fft.hfft(a[0, 0], b[0, 0]), np.fft.hfft(z[0, 0]))
        near(s, mpc.fft.ihfft(a, axis=1), np.fft.ihfft(x, axis=1))
        near(s, mpc.fft.dct(a, axis=1), scipy.fft.dct(x, axis=1, norm="ortho"))
        near(s, mpc.fft.idct(mpc.fft.dct(a)), x)
        near(s, mpc.fft.fftn(a, axes=(1, 2)), np.fft.fftn(x, axes=(1, 2)))
        near(s, mpc.fft.ifftn(a, b), np.fft.ifftn(z))
        near(s, mpc.fft.rfftn(a), np.fft.rfftn(x))
        near(s, mpc.fft.irfftn(*mpc.fft.rfftn(a)), x)
        near(s, mpc.fft.fftshift(a, (0, 1)), np.fft.fftshift(x, (0, 1)))
        near(s, mpc.fft.ifftshift(a), np.fft.ifftshift(x))


def test_one_round(s: Session):
    x = s.input(PICTURES)
    assert s.cost(*mpc.fft.fft(x)).rounds == s.cost(x * 0.3).rounds


def test_vectors_and_frequencies(s: Session):
    near(s, mpc.fft.rfft(s.input(PICTURES[0, 3])), np.fft.rfft(PICTURES[0, 3]))
    assert np.array_equal(mpc.fft.fftfreq(5), np.fft.fftfreq(5))
    assert np.array_equal(mpc.fft.rfftfreq(5, 2.0), np.fft.rfftfreq(5, 2.0))
    with pytest.raises(UsageError, match=r"test_fft.py:\d+"):
        mpc.fft.irfft(s.input([1.0, 2]), s.input([1.0, 2]), 7)
