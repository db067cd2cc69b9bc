"""Fourier and cosine transforms: public linear maps, so each is one product with a public matrix, computed on shares alone
(one round, for the truncation). Complex arrays are pairs (real part, imaginary part). Norms and scales are NumPy's and SciPy's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .errors import UsageError
from .ir.trace import user_line
from .lang.array import Array, Axis, bind, constant, scope_of
from .lang.core import add, multiply, negative, subtract
from .lang.elementwise import _real
from .lang.manipulation import moveaxis, roll
from .lang.views import axes_of
from .lang.wide import work

Pair = tuple[Array, Array]


def _apply(matrix: np.ndarray, x: Array, axis: int) -> Array:
    """matrix @ x along an axis; x in the session's scale. |x| n < 2^(37 - f)."""
    x = moveaxis(_real(x), axis, -1)
    entries = work(x.dtype)
    public = constant(scope_of(x).settings.ring.encode(matrix.T, entries.fraction), entries, scope_of(x))
    wide = x.reshape(1, -1) if x.ndim == 1 else x
    y = bind("matmul", wide, public, bits=entries.fraction, rounding=scope_of(x).settings.rounding)
    return moveaxis(y.reshape(*x.shape[:-1], matrix.shape[0]), -1, axis)


def _angles(rows: np.ndarray, columns: np.ndarray, n: float) -> np.ndarray:
    return 2 * np.pi * np.outer(rows, columns) / n


def fft(x: Array, imag: Array | None = None, axis: int = -1) -> Pair:
    """Discrete Fourier transform of x (+ i imag): sum over j of x_j e^(-2 pi i j k / n)."""
    n = x.shape[axis]
    angles = _angles(np.arange(n), np.arange(n), n)
    real, imaginary = _apply(np.cos(angles), x, axis), _apply(-np.sin(angles), x, axis)
    if imag is None:
        return real, imaginary
    return add(real, _apply(np.sin(angles), imag, axis)), add(imaginary, _apply(np.cos(angles), imag, axis))


def ifft(real: Array, imag: Array, axis: int = -1) -> Pair:
    """The inverse of `fft`."""
    n = real.shape[axis]
    angles = _angles(np.arange(n), np.arange(n), n)
    cos, sin = np.cos(angles) / n, np.sin(angles) / n
    return (
        subtract(_apply(cos, real, axis), _apply(sin, imag, axis)),
        add(_apply(sin, real, axis), _apply(cos, imag, axis)),
    )


def rfft(x: Array, axis: int = -1) -> Pair:
    """The first n // 2 + 1 coefficients of `fft` of a real x; the others are their conjugates."""
    n = x.shape[axis]
    angles = _angles(np.arange(n // 2 + 1), np.arange(n), n)
    return _apply(np.cos(angles), x, axis), _apply(-np.sin(angles), x, axis)


def irfft(real: Array, imag: Array, n: int | None = None, axis: int = -1) -> Array:
    """The inverse of `rfft`, of n elements (2 (m - 1) by default)."""
    m = real.shape[axis]
    n = n or 2 * (m - 1)
    if m != n // 2 + 1:
        raise UsageError(f"irfft of {m} coefficients to {n} elements: n // 2 + 1 are needed (at {user_line()})")
    angles = _angles(np.arange(n), np.arange(m), n)
    weights = np.where((np.arange(m) == 0) | (2 * np.arange(m) == n), 1, 2) / n
    return subtract(_apply(np.cos(angles) * weights, real, axis), _apply(np.sin(angles) * weights, imag, axis))


def hfft(real: Array, imag: Array, n: int | None = None, axis: int = -1) -> Array:
    """The real transform of a signal whose second half is the conjugate of its first: n `irfft` of the conjugate."""
    n = n or 2 * (real.shape[axis] - 1)
    return multiply(irfft(real, negative(imag), n, axis), n)


def ihfft(x: Array, axis: int = -1) -> Pair:
    """The inverse of `hfft`."""
    real, imag = rfft(x, axis)
    return multiply(real, 1 / x.shape[axis]), multiply(imag, -1 / x.shape[axis])


def fftn(x: Array, imag: Array | None = None, axes: Sequence[int] | None = None) -> Pair:
    """`fft` along several axes (all by default)."""
    first, *rest = range(x.ndim) if axes is None else axes
    pair = fft(x, imag, first)
    for axis in rest:
        pair = fft(*pair, axis)
    return pair


def ifftn(real: Array, imag: Array, axes: Sequence[int] | None = None) -> Pair:
    """The inverse of `fftn`."""
    pair = real, imag
    for axis in range(real.ndim) if axes is None else axes:
        pair = ifft(*pair, axis)
    return pair


def rfftn(x: Array, axes: Sequence[int] | None = None) -> Pair:
    """`rfft` along the last of several axes (all by default), `fft` along the others."""
    *rest, last = range(x.ndim) if axes is None else axes
    pair = rfft(x, last)
    return fftn(*pair, rest) if rest else pair


def irfftn(real: Array, imag: Array, n: int | None = None, axes: Sequence[int] | None = None) -> Array:
    """The inverse of `rfftn`; n elements along the last axis."""
    *rest, last = range(real.ndim) if axes is None else axes
    pair = ifftn(real, imag, rest) if rest else (real, imag)
    return irfft(*pair, n, last)


def _cosines(n: int) -> np.ndarray:
    """The orthonormal matrix of the type-2 cosine transform."""
    rows = np.arange(n)[:, None]
    scale = np.where(rows == 0, np.sqrt(1 / n), np.sqrt(2 / n))
    return np.asarray(np.cos(np.pi * rows * (2 * np.arange(n) + 1) / (2 * n)) * scale)


def dct(x: Array, axis: int = -1) -> Array:
    """Orthonormal cosine transform (type 2): SciPy's dct(x, norm="ortho")."""
    return _apply(_cosines(x.shape[axis]), x, axis)


def idct(x: Array, axis: int = -1) -> Array:
    """The inverse of `dct`."""
    return _apply(_cosines(x.shape[axis]).T, x, axis)


def fftshift(x: Array, axes: Axis = None) -> Array:
    """Frequency 0 moved to the middle of every axis."""
    along = axes_of(x, axes)
    return roll(x, [x.shape[a] // 2 for a in along], along)


def ifftshift(x: Array, axes: Axis = None) -> Array:
    """The inverse of `fftshift`."""
    along = axes_of(x, axes)
    return roll(x, [-(x.shape[a] // 2) for a in along], along)


def fftfreq(n: int, d: float = 1.0) -> np.ndarray:
    """Frequencies of the coefficients of `fft`. Public."""
    return np.fft.fftfreq(n, d)


def rfftfreq(n: int, d: float = 1.0) -> np.ndarray:
    """Frequencies of the coefficients of `rfft`. Public."""
    return np.fft.rfftfreq(n, d)
