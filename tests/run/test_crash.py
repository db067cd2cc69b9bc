"""A crash at every point at which stores and checkpoints reach the disk: nothing serves twice, and no two saves mix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import mpc
from mpc.errors import CheckpointError, StoreError
from mpc.run.store import Store, path_of

from ..scale import nightly
from .disk import watched
from .test_checkpoint import X, open_threads
from .test_store import study


def take(root: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Uses party 0's store under root, with the ledger that is there."""
    monkeypatch.setenv("MPC_LEDGER", str(root / "state" / "used"))
    store = Store.open(path_of(root / "deal", 0), 0, 2, "additive")
    store.use()
    store.close()
    return store.seed


def test_a_store_serves_once_whatever_crashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root, images = tmp_path / "root", tmp_path / "images"
    images.mkdir()
    study().prepare(root / "deal")
    with watched(root, images, monkeypatch) as disk:
        take(root, monkeypatch)
    *before, killed, cut = disk.images()
    assert len(before) >= 8
    for image in (killed, cut):  # it was used: never again
        with pytest.raises(StoreError):
            take(image, monkeypatch)
    for image in before:  # it was not: once more at most
        for attempt in range(2):
            try:
                take(image, monkeypatch)
            except StoreError:
                continue
            assert attempt == 0


def test_a_deal_that_was_cut_off_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root, images = tmp_path / "root", tmp_path / "images"
    root.mkdir()
    images.mkdir()
    with watched(root, images, monkeypatch) as disk:
        paths = study().prepare(root / "deal")
    whole = [p.read_bytes() for p in paths]
    *_, last = disk.images()
    assert [path_of(last / "deal", p).read_bytes() for p in range(2)] == whole  # also after a power cut
    for image in disk.images():
        file = path_of(image / "deal", 0)
        if not file.exists() or file.read_bytes() != whole[0]:
            with pytest.raises(StoreError):
                Store.open(file, 0, 2, "additive")


def saves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rounds: int, record: Callable[[str, object], None]) -> None:
    points = 0
    for k in range(rounds):
        root, images = tmp_path / f"root-{k}", tmp_path / f"images-{k}"
        images.mkdir()
        with open_threads() as s:
            mpc.save(root / "saved", s.input(X))
            with watched(root, images, monkeypatch) as disk:
                mpc.save(root / "saved", s.input(X + 1))
        found = []
        for image in disk.images():
            with open_threads() as s:
                value = mpc.load(image / "saved", s).reveal()
            found.append(int(np.abs(value - X).max() > 0.5))
            np.testing.assert_allclose(value, X + found[-1], atol=1e-4)  # of one save, as a whole
        assert found[-2:] == [1, 1] and found[0] == 0
        points += len(found)
    record("crash points, all whole", points)


def test_a_save_is_whole_whatever_crashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
):
    saves(tmp_path, monkeypatch, 1, record_property)


@pytest.mark.slow
def test_saves_are_whole_at_a_thousand_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
):
    saves(tmp_path, monkeypatch, nightly(25), record_property)


def test_a_first_save_is_whole_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root, images = tmp_path / "root", tmp_path / "images"
    root.mkdir()
    images.mkdir()
    with open_threads() as s, watched(root, images, monkeypatch) as disk:
        mpc.save(root / "saved", s.input(X))
    loaded = []
    for image in disk.images():
        with open_threads() as s:
            try:
                np.testing.assert_allclose(mpc.load(image / "saved", s).reveal(), X, atol=1e-4)
            except CheckpointError:
                loaded.append(False)
            else:
                loaded.append(True)
    assert loaded[-2:] == [True, True] and not loaded[0]
