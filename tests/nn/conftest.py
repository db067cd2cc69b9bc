"""The protocols that layers are tried under, and how close they come to float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import mpc

from ..memory import open_session

ULP = 2.0**-16
SETTINGS = [("plain", 1), ("helper", 3), ("additive", 3), ("replicated", 3)]


def fixed(rng: np.random.Generator, *shape: int, below: float = 2.0) -> np.ndarray:
    """Uniform multiples of 2^-16 in (-below, below)."""
    return np.rint(rng.uniform(-below, below, shape) / ULP) * ULP


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


@pytest.fixture
def close() -> Callable[..., None]:
    """close(f, want, *inputs, tol=): f of secret inputs is what is wanted, under every protocol."""

    def check(f: Callable[..., Any], want: Any, *inputs: np.ndarray, tol: float) -> None:
        for protocol, n in SETTINGS:
            with open_session(protocol, n) as s:
                arrays = [s.input(x, owner=i % n) for i, x in enumerate(inputs)]
                found = mpc.reveal(f(*arrays))
            assert found.shape == np.shape(want)
            assert np.abs(found - want).max() <= tol, (protocol, np.abs(found - want).max())

    return check
