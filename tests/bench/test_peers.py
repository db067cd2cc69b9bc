"""Comparison with other engines, but for the engines: verdicts, what is left out and why, and processes that do not end."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mpc.bench.jobs import GROWING, JOBS

FILE = Path(__file__).resolve().parents[2] / "bench" / "peers" / "compare.py"


@pytest.fixture(scope="module")
def peers() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compare_peers", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rated(peers: ModuleType, job: str, theirs: float, their_error: float | None = 1e-2, cut: bool = False) -> dict[str, Any]:
    samples = {"our_samples": [0.1, 0.2, 0.1], "our_socket_samples": [0.2], "their_samples": [theirs]}
    about = {"job": job, "peer": "crypten", "size": "", "target": peers.TARGETS.get(job), "once": True, "cut": cut}
    row: dict[str, Any] = peers._rated({**samples, **about, "our_error": 1e-5, "their_error": their_error})
    return row


def test_verdicts(peers: ModuleType):
    met, short = rated(peers, "relu1e6", 4.1), rated(peers, "lt1e6", 3.9)
    assert met["ratio"] == pytest.approx(41) and met["socket_ratio"] == pytest.approx(20.5) and met["met"] and not short["met"]
    assert "met" in peers.line(met) and "once" in peers.line(met) and "SHORT" in peers.line(short)
    assert not rated(peers, "exp1e5", 1.0, 9e-4)["met"], "a hundred times as exact as well"
    assert rated(peers, "exp1e5", 1.0, 2e-3)["met"] and "met" not in rated(peers, "mul1e6", 1.0)
    cut = rated(peers, "resnet18", 150.0, None, cut=True)
    assert cut["met"] and "> 2.5 min" in peers.line(cut)
    table = peers.summary([met, {**met, "ratio": 45.0, "peer": "spu"}, short])
    assert "41.0x (   crypten)" in table and table.count("SHORT") == 1 and "resnet18" not in table


def test_what_is_left_out(
    peers: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """An engine whose packages cannot be installed, a job that fails, and one that does not end."""
    monkeypatch.setattr(peers, "ROOT", tmp_path)
    monkeypatch.setattr(peers, "ENVIRONMENTS", tmp_path)
    install = peers._install
    monkeypatch.setattr(peers, "_install", lambda _: install([sys.executable, "-c", "raise ValueError('no such wheel')"]))
    assert peers.compare("crypten", ["mul1e6"], 1, 1.0) == []
    said = capsys.readouterr().out
    assert "left out: its packages cannot be installed: ValueError: no such wheel" in said and len(said.splitlines()) == 4

    log = tmp_path / "log"
    with pytest.raises(peers.Failed, match="KeyError: 'x'"):
        peers._watched([sys.executable, "-c", "{}['x']"], 30, log)
    with pytest.raises(subprocess.TimeoutExpired):
        peers._watched([sys.executable, "-c", "import time; time.sleep(60)"], 0.2, log)
    row = {**rated(peers, "mul1e6", 1.0), "failed": "KeyError: 'x'"}
    assert peers.line(row).split() == ["mul1e6", "left", "out:", "KeyError:", "'x'"]


def test_targets_have_jobs(peers: ModuleType):
    for peer in peers.PEERS.values():
        assert all(label in (JOBS if size is None else GROWING) for label, size, _ in peer.jobs)
        assert (FILE.parent / f"{peer.engine}_peer.py").exists() and (FILE.parent / f"{peer.engine}.txt").exists()
    assert set(peers.TARGETS) <= {label for label, _, _ in peers.WHOLE}
