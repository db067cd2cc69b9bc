"""What all benchmarks share: the limits of this machine, and the figures, which the end prints and writes to build/."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from limits import Limits
from rich.console import Console

from mpc.bench.measure import collect
from mpc.bench.report import page
from mpc.cli.bench import table

BUILD = Path(__file__).resolve().parent.parent / "build"


class Figures:
    """`kernels`: (tier, kernel, size, seconds, rate, unit, limit, its name); `rows`: those of `mpc bench`."""

    def __init__(self) -> None:
        self.kernels: list[tuple[Any, ...]] = []
        self.rows: list[dict[str, Any]] = []

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Below pytest-benchmark's own table; bench.json and report.html beside."""
        line = terminalreporter.write_line
        if self.kernels:
            line(f"\n{'tier':7} {'kernel':18} {'size':24} {'median':>11} {'rate':>16} {'limit':>9}  {'by':9} {'ratio':>5}")
        for tier, kernel, size, seconds, rate, unit, limit, by in sorted(self.kernels, key=lambda row: row[:3]):
            bound = f"{limit:9.2f}  {by:9} {rate / limit:5.0%}" if limit else ""
            line(f"{tier:7} {kernel:18} {size:24} {seconds * 1e6:8.1f} us {rate:9.2f} {unit:>6} {bound}".rstrip())
        if self.rows:
            Console(file=sys.stdout, width=220).print(table(self.rows))
        names = ("tier", "kernel", "size", "seconds", "rate", "unit", "limit", "by")
        found = {**collect(self.rows), "kernels": [dict(zip(names, row, strict=True)) for row in self.kernels]}
        BUILD.mkdir(exist_ok=True)
        (BUILD / "bench.json").write_text(json.dumps(found, indent=1))
        (BUILD / "report.html").write_text(page(found))
        line("\nbuild/report.html shows all of it; build/bench.json keeps it for `mpc bench --compare`")


@pytest.fixture(scope="session")
def figures(request: pytest.FixtureRequest) -> Figures:
    kept = Figures()
    request.config.pluginmanager.register(kept)
    return kept


@pytest.fixture(scope="session")
def limits(tmp_path_factory: pytest.TempPathFactory) -> Limits:
    return Limits(tmp_path_factory.mktemp("limits"))
