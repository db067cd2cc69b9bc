"""The progress display: what is done and what is left, from a rehearsal and reports."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

import mpc
from mpc.cli.progress import Display, run_live


@mpc.program
def squares(x: mpc.Input("lab", load=lambda: np.full(8, 0.5))) -> mpc.Output("lab"):
    return mpc.fori(0, 50, lambda i, x: x * x + 0.25, x)


def test_done():
    study = mpc.Study(squares)
    display = Display(study.cost)
    assert display.done == 0 and display.seconds_left == pytest.approx(study.cost.seconds(mpc.run.rehearse.THIS_MACHINE))
    display.update(study.cost.rounds // 2, display.moves // 2, "mul  squares.py:3")
    assert display.done == pytest.approx(0.5, abs=0.02)
    assert "mul  squares.py:3" in str(display) and "50%" in str(display)
    display.update(study.cost.rounds, display.moves, "")
    assert display.done == pytest.approx(1) and display.seconds_left == pytest.approx(0, abs=1e-6)
    assert "squares.py:3" in str(display)  # the last line stays in sight


@pytest.mark.parametrize("terminal", [True, False])
def test_run_live(terminal: bool):
    text = io.StringIO()
    outcome = run_live(mpc.Study(squares), Console(file=text, force_terminal=terminal, width=120))
    assert outcome.result == pytest.approx(np.full(8, 0.5), abs=1e-3)
    assert outcome.as_predicted
    assert ("round" in text.getvalue()) == terminal  # where nobody watches, a short run says nothing
