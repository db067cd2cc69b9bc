"""Fixtures: sessions whose parties all live in the test's process (see memory.py)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mpc.lang.session import Session

from .memory import open_session


@pytest.fixture
def s() -> Iterator[Session]:
    """Three parties of `helper`, the default protocol."""
    with open_session("helper", 3) as session:
        yield session


@pytest.fixture
def plain() -> Iterator[Session]:
    """Three parties without protection: exact results, no randomness."""
    with open_session("plain", 3) as session:
        yield session
