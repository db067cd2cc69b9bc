"""A folder with a program and data, and the command line in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from mpc.cli import main

STUDY = """import mpc

@mpc.program
def main(a: mpc.Input("hospital_a"), b: mpc.Input("hospital_b")) -> mpc.Output("hospital_a", "hospital_b"):
    x = mpc.concatenate([a, b])
    return x.mean(axis=0)
"""
A = np.array([[1.5, -2.0, 0.25], [0.0, 3.75, -1.0]])
B = A + 1
Run = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: study.py, a.csv, b.npy."""
    (tmp_path / "study.py").write_text(STUDY)
    (tmp_path / "a.csv").write_text("x,y,z\n1.5,-2,0.25\n0,3.75,-1\n")
    np.save(tmp_path / "b.npy", B)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def mpc_command() -> Run:
    """Runs `mpc` with these words; its stdout, stderr and exit code."""
    return lambda *words: CliRunner().invoke(main, words)
