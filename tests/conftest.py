"""Fixtures: sessions whose parties all live in the test's process (see memory.py)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpc.lang.session import Session

from .memory import open_session


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--figures", metavar="FILE", help="save what tests have counted and timed, as JSON")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """What tests have noted with `record_property`."""
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.getreports(kind) if r.when == "call"]
    figures = {r.nodeid: dict(r.user_properties) for r in reports if r.user_properties}
    for test, noted in figures.items():
        terminalreporter.write_line(f"{test}\n" + "".join(f"    {name}: {value}\n" for name, value in noted.items()))
    if config.getoption("figures"):
        Path(config.getoption("figures")).write_text(json.dumps(figures, indent=1))


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
