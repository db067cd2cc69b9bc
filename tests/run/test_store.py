"""Preprocessing on disk: a run without a dealer, once, and everything that must be refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import mpc
from mpc.errors import StoreError, UsageError
from mpc.run.store import path_of

X = np.linspace(-3, 3, 200).reshape(40, 5)
W = np.linspace(-1, 1, 15).reshape(5, 3)


@mpc.program
def model(x: mpc.Input("lab"), w: mpc.Input("clinic")) -> mpc.Output("lab", "clinic"):
    return mpc.nn.relu(x @ w) * 0.5, mpc.nn.sigmoid(x @ w)


@pytest.fixture(autouse=True)
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MPC_LEDGER", str(tmp_path / "used"))
    return tmp_path / "used"


def study(**other: object) -> mpc.Study:
    return mpc.Study(model, {"x": X, "w": W}, **{"protocol": "additive"} | other)


@pytest.mark.parametrize("parties", [2, 3])
def test_a_run_without_a_dealer(tmp_path: Path, ledger: Path, parties: int):
    s = study(parties=parties)
    paths = s.prepare(tmp_path / "deal")
    assert [p.stat().st_mode & 0o777 for p in paths] == [0o600] * parties
    outcome = s.run(prepared=tmp_path / "deal")
    assert outcome.result[0] == pytest.approx(np.maximum(X @ W, 0) / 2, abs=2**-13)
    assert outcome.result[1] == pytest.approx(1 / (1 + np.exp(-X @ W)), abs=2**-12)
    assert len(outcome.measured) == parties and outcome.as_predicted
    assert not any(p.exists() for p in paths) and len(list(ledger.iterdir())) == parties
    with pytest.raises(StoreError, match="no preprocessing"):
        s.run(prepared=tmp_path / "deal")


def test_shapes_are_enough_to_deal(tmp_path: Path):
    planned = mpc.Study(model, {"x": (X.shape, None), "w": (W.shape, None)}, protocol="additive")
    planned.prepare(tmp_path / "deal")
    assert study().run(prepared=tmp_path / "deal").as_predicted


def test_a_copy_that_is_put_back_is_refused(tmp_path: Path):
    s = study()
    s.prepare(tmp_path / "deal")
    shutil.copytree(tmp_path / "deal", tmp_path / "copy")
    s.run(prepared=tmp_path / "deal")
    with pytest.raises(StoreError, match="was used before"):
        s.run(prepared=tmp_path / "copy")


def test_two_deals_do_not_mix(tmp_path: Path):
    s = study()
    s.prepare(tmp_path / "a")
    s.prepare(tmp_path / "b")
    shutil.copy(path_of(tmp_path / "a", 0), path_of(tmp_path / "b", 0))
    with pytest.raises(mpc.errors.ProgramMismatch):
        s.run(prepared=tmp_path / "b")
    assert path_of(tmp_path / "b", 1).exists()  # refused before anything was used


@pytest.mark.parametrize("other", ["shape", "program", "parties", "party"])
def test_for_another_run(tmp_path: Path, other: str):
    @mpc.program
    def another(x: mpc.Input("lab"), w: mpc.Input("clinic")) -> mpc.Output("lab", "clinic"):
        return mpc.nn.relu(x @ w) * 0.25, mpc.nn.sigmoid(x @ w)

    made = {
        "shape": mpc.Study(model, {"x": X[:8], "w": W}, protocol="additive"),
        "program": mpc.Study(another, {"x": X, "w": W}, protocol="additive"),
        "parties": study(parties=3),
        "party": study(),
    }[other]
    made.prepare(tmp_path)
    if other == "party":
        shutil.move(path_of(tmp_path, 0), path_of(tmp_path, 1))
        shutil.copy(path_of(tmp_path, 1), path_of(tmp_path, 0))
    with pytest.raises(StoreError, match="is for another run") as refused:
        study().run(prepared=tmp_path)
    assert ("parties" if other == "parties" else "party" if other == "party" else "program") in str(refused.value)


@pytest.mark.parametrize("damage", ["empty", "garbage", "cut", "turned"])
def test_damaged_files(tmp_path: Path, damage: str):
    s = study()
    s.prepare(tmp_path)
    path = path_of(tmp_path, 1)
    data = bytearray(path.read_bytes())
    if damage == "turned":
        data[data.index(b"\n") + 40] ^= 1  # in the first header of what was dealt
    path.write_bytes({"empty": b"", "garbage": b"\xff" * 99, "cut": data[:-9], "turned": data}[damage])
    with pytest.raises(StoreError, match="holds no preprocessing" if damage in ("empty", "garbage") else "damaged"):
        s.run(prepared=tmp_path)


def test_only_a_dealer_of_its_own_can_work_beforehand(tmp_path: Path):
    with pytest.raises(UsageError, match="no separate dealer"):
        study(protocol="helper").prepare(tmp_path)
    study().prepare(tmp_path)
    with pytest.raises(UsageError, match="is there already"):
        study().prepare(tmp_path)
