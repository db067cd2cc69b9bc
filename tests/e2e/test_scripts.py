"""A plain Python script that is interrupted or killed: no process, no socket, and one line that says what became of the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .hosts import ROOT

SCRIPT = """\
import sys
print("python", flush=True)
import mpc, numpy as np
print("imported", flush=True)
with mpc.local(3) as s:
    print(*s._backend.pids, flush=True)
    x = s.input(np.ones(1000))
    while True:
        x = mpc.fori(0, 100, lambda i, y: mpc.nn.relu(y * 0.5), x)
        x.reveal()
"""


@pytest.fixture
def folder() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="m") as path:  # short: a socket's path has at most 107 bytes
        yield path


def strike(folder: str, number: int, lines: int, delay: float) -> tuple[int, str]:
    """A signal `delay` seconds after the script has printed so many lines; its end and what it said on stderr."""
    script = Path(folder, "script.py")
    script.write_text(SCRIPT)
    environment = os.environ | {"TMPDIR": folder, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where the tests run in the background
    )
    assert child.stdout and child.stderr
    try:
        said = [child.stdout.readline() for _ in range(lines)]
        time.sleep(delay)
        child.send_signal(number)
        _, errors = child.communicate(timeout=30)
    finally:
        child.kill()
    pids = said[2].split() if lines == 3 else []
    end = time.monotonic() + 20
    while os.listdir(folder) != ["script.py"] or any(Path("/proc", pid).exists() for pid in pids):
        assert time.monotonic() < end, (os.listdir(folder), pids)
        time.sleep(0.05)
    return child.returncode, errors


@pytest.mark.parametrize("delay", [0.05, pytest.param(0.5, marks=pytest.mark.slow), pytest.param(1.0, marks=pytest.mark.slow)])
def test_an_interrupted_run_says_so_in_its_last_line(folder: str, delay: float):
    code, errors = strike(folder, signal.SIGINT, 3, delay)
    assert code == -signal.SIGINT
    assert errors.splitlines()[-1] == "mpc: interrupted. The parties have ended, and this run revealed nothing."
    assert errors.count("Traceback") == 1


@pytest.mark.parametrize("delay", [0.1, pytest.param(0.4, marks=pytest.mark.slow), pytest.param(0.8, marks=pytest.mark.slow)])
def test_an_interrupted_start_leaves_nothing(folder: str, delay: float):
    code, errors = strike(folder, signal.SIGINT, 2, delay)
    assert code == -signal.SIGINT and errors.count("Traceback") == 1 and "KeyboardInterrupt" in errors


def test_a_killed_script_leaves_nothing(folder: str):
    assert strike(folder, signal.SIGKILL, 3, 0.1)[0] == -signal.SIGKILL
