"""Loading a program's file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import mpc
from mpc.cli.programs import load_program

TEXT = """\
import mpc

@mpc.program
def main(a: mpc.Input("owner")) -> mpc.Output("owner", name="y"):
    return a + 1
"""


def test_a_changed_file_is_another_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Also where the new text has the size and the time of the old one, which Python's cache takes for the same."""
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    file = tmp_path / "study.py"
    for text, wanted in ((TEXT, 2.0), (TEXT.replace("+ 1", "+ 2"), 3.0), (TEXT, 2.0)):
        file.write_text(text)
        os.utime(file, (1_000_000_000, 1_000_000_000))
        outcome = mpc.Study(load_program(str(file)), {"a": [1.0]}, protocol="plain").run()
        assert outcome.outputs["y"].tolist() == [wanted]
