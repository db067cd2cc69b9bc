"""The tables of docs/protocols.md are what bench/costs.py counts."""

from __future__ import annotations

import importlib.util
from pathlib import Path

FILE = Path(__file__).resolve().parents[2] / "bench" / "costs.py"


def test_the_page_tells_what_is_counted():
    spec = importlib.util.spec_from_file_location("costs", FILE)
    assert spec is not None and spec.loader is not None
    costs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(costs)
    assert costs.parts()[1] == costs.tables(), "costs have changed: run `python bench/costs.py --write` and read the difference"
