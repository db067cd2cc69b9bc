"""The guard's arithmetic, and that its programs run; the counting itself is `make bench-guard`."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import mpc
from mpc.lang.session import Session

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture(scope="module")
def guard() -> ModuleType:
    spec = importlib.util.spec_from_file_location("instructions", BENCH / "instructions.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_counts_as_worse(guard: ModuleType):
    before = {"a": 1000, "b": 1000, "gone": 1000}
    assert guard.grown({"a": 1019, "b": 900, "new": 5000}, before) == []
    assert guard.grown({"a": 1100, "b": 1000}, before) == ["a: 1,100 instructions, +10.0% of 1,000"]


def test_programs(guard: ModuleType, s: Session):
    results = {name: program(mpc, s).reveal() for name, program in guard.PROGRAMS.items()}
    assert results["chain"] == pytest.approx(0.5 * 0.99**40, abs=2**-9)
    assert results["network"].sum() == pytest.approx(1, abs=2**-9)
    x = np.linspace(-9, 9, 140_000)
    assert results["large"] == pytest.approx(np.maximum(x, 0).sum() + 70_000, rel=1e-4)


def test_the_stored_counts(guard: ModuleType):
    stored = json.loads((BENCH / "instructions.json").read_text())
    assert set(stored["programs"]) == set(guard.PROGRAMS)
    assert len(stored["kernels"]) > 10 and all(n >= guard.SMALL for n in stored["kernels"].values())
