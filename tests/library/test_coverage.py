"""What of the standard is covered: nothing is missing."""

from __future__ import annotations

import numpy as np

from mpc.lang.coverage import coverage, report


def test_nothing_is_missing():
    for part in coverage():
        assert part.missing == [], part


def test_names_are_the_standards():
    """NumPy 2 is an implementation of it."""
    for part in coverage():
        room = {"linalg extension": np.linalg, "fft extension": np.fft, "array object": np.ndarray}.get(part.section, np)
        names = [*part.supported, *part.refused, *part.missing]
        assert [n for n in names if not hasattr(room, n)] == []


def test_the_report_says_why():
    text = report()
    assert "nonzero" in text
    assert "mpc.where" in text
    assert all(line == line.rstrip() for line in text.splitlines())
