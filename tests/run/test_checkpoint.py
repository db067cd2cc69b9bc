"""Checkpoints of shares: what comes back, that it is fresh, and every file that must be refused, by name."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mpc
from mpc.errors import CheckpointError, SessionError, UsageError
from mpc.ir.program import Program
from mpc.lang.array import Settings
from mpc.lang.session import Backend, Session
from mpc.net.memory import MemoryHub
from mpc.protocols.base import available
from mpc.run import checkpoint
from mpc.run.checkpoint import Contents, common, path_of
from mpc.run.execute import Party

from ..memory import open_session

X, BITS = np.arange(6.0).reshape(2, 3) - 2.5, np.arange(70) % 3 == 0


class Threads(Backend):
    """Every party in a thread of this process, over channels in memory."""

    def __init__(self, protocol: str, n: int) -> None:
        self.name, chosen = protocol, available()[protocol]
        processes = n + chosen.has_dealer
        hub = MemoryHub(processes, blocking=True)
        self.pool, self.epoch = ThreadPoolExecutor(processes), 0
        self.parties = self.all(lambda me: Party(me, n, chosen, hub.channel(me)), range(processes))

    def all(self, work: Callable[[Any], Any], parties: Iterable[Any] | None = None) -> list[Any]:
        return [f.result() for f in [self.pool.submit(work, p) for p in (self.parties if parties is None else parties)]]

    def run(self, program: Program, stored: Any, inputs: Any, keep: Any, drop: Any) -> Any:
        self.epoch += 1

        def run(party: Party) -> Any:
            results, measured = party.run(program, [party.store[k] for k in stored], inputs.get(party.me, {}), self.epoch)
            count = len(results) - len(keep)
            party.store.update(zip(keep, results[count:], strict=True))
            return results[:count], measured

        answers = self.all(run)
        known = [{me: r[k] for me, (r, _) in enumerate(answers) if r[k] is not None} for k in range(len(answers[0][0]))]
        return known, [m for _, m in answers]

    def save(self, folder: Path, numbers: Any, contents: Contents) -> None:
        self.all(lambda party: checkpoint.save(party, folder, [party.store[k] for k in numbers], contents))

    def load(self, folder: Path, first: int, names: Any) -> Contents:
        self.epoch += 1
        loaded = self.all(lambda party: checkpoint.load(party, folder, self.name, names, self.epoch))
        for party, (shares, _) in zip(self.parties, loaded, strict=True):
            party.store.update(enumerate(shares, first))
        return loaded[0][1]  # type: ignore[no-any-return]

    def close(self) -> None:
        self.pool.shutdown()


def open_threads(protocol: str = "helper", n: int = 3, names: tuple[str, ...] = ()) -> Session:
    return Session(available()[protocol], protocol, n, Threads(protocol, n), Settings(), names)


def save(folder: Path, protocol: str = "helper", n: int = 3, x: np.ndarray = X) -> None:
    with open_threads(protocol, n) as s:
        w = s.input(x)
        mpc.save(folder, {"layers": [(w, w @ w.T)], "bits": s.input(BITS), "count": s.input(7), "epoch": 3, "rate": 0.5})


def load(folder: Path, protocol: str = "helper", n: int = 3, names: tuple[str, ...] = ()) -> Any:
    with open_threads(protocol, n, names) as s:
        return mpc.reveal(mpc.load(folder, s)["layers"][0][0])


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    save(folder)
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Iterator[Path]:
    yield Path(shutil.copytree(saved, tmp_path / "copy"))


@pytest.mark.parametrize(("protocol", "n"), [("helper", 3), ("additive", 2), ("replicated", 3), ("plain", 2)])
def test_what_is_saved_comes_back_in_another_session(protocol: str, n: int, tmp_path: Path) -> None:
    save(tmp_path, protocol, n)
    with open_threads(protocol, n) as s:
        tree = mpc.load(tmp_path, s)
        (w, square), *_ = tree["layers"]
        assert (tree["epoch"], tree["rate"], tree["count"].dtype) == (3, 0.5, mpc.int64)
        values = mpc.reveal(w, square, w * 2 + w, mpc.nn.relu(w), w @ w.T, tree["bits"], tree["count"])
        wanted = X, X @ X.T, 3 * X, np.maximum(X, 0), X @ X.T, BITS, 7
        for got, want in zip(values, wanted, strict=True):
            np.testing.assert_allclose(got, want, atol=2e-4)
        again = mpc.load(tmp_path, s)["layers"][0][0]  # twice in one session: the same shares under other masks
        np.testing.assert_allclose((again @ w.T).reveal(), X @ X.T, atol=2e-4)


def test_files_are_private_fresh_and_of_one_mark(tmp_path: Path) -> None:
    with open_threads() as s:
        w = s.input(np.zeros(500))
        contents = []
        for _ in range(2):
            mpc.save(tmp_path, w)
            contents.append([path_of(tmp_path, p).read_bytes() for p in range(3)])
            assert sorted(p.name for p in tmp_path.iterdir()) == [f"party-{p}.shares" for p in range(3)]
            assert all(p.stat().st_mode & 0o077 == 0 for p in tmp_path.iterdir())
    first, second = ([np.frombuffer(c[-4032:-32], "<u8") for c in files[:2]] for files in contents)
    assert not np.intersect1d(first[0], second[0]).size  # other shares of the same zeros
    assert ((first[0] + first[1]) == 0).all() and ((second[0] + second[1]) == 0).all()
    assert len(contents[0][2]) < 600  # the helper holds no shares


def test_files_of_two_saves_do_not_mix(copy: Path, tmp_path: Path) -> None:
    save(tmp_path / "other", x=X + 1)
    shutil.copy(path_of(tmp_path / "other", 1), path_of(copy, 1))
    with pytest.raises(CheckpointError, match="are of different saves"):
        load(copy)


def test_a_save_that_was_interrupted_leaves_a_whole_one(copy: Path, tmp_path: Path) -> None:
    """Killed while files are written: some new ones are there. While they take their places: some have."""
    save(tmp_path / "later", x=X + 1)
    for p in (0, 2):
        shutil.copy(path_of(tmp_path / "later", p), path_of(copy, p, new=True))
    np.testing.assert_allclose(load(copy), X, atol=1e-4)
    for p, new in ((0, False), (1, True), (2, True)):
        shutil.copy(path_of(tmp_path / "later", p), path_of(copy, p, new))
    path_of(copy, 0, new=True).unlink()
    np.testing.assert_allclose(load(copy), X + 1, atol=1e-4)


def test_the_common_mark() -> None:
    a, b, c = (bytes([k]) * 32 for k in (1, 2, 3))
    assert common([[a, b], [a], [a, c]]) == a
    assert common([[a, b], [b, c], [b]]) == b
    assert common([[a], [b], [a, b]]) == b""
    assert common([[], [a], [a]]) == b""


@pytest.mark.parametrize("damage", ["byte", "end", "empty", "other"])
def test_a_damaged_file_is_named(copy: Path, damage: str) -> None:
    path = path_of(copy, 1)
    data = bytearray(path.read_bytes())
    if damage == "byte":
        data[-50] ^= 1
    path.write_bytes({"byte": data, "end": data[:-8], "empty": b"", "other": b"hello"}[damage])
    with pytest.raises(CheckpointError, match=r"party-1\.shares is (damaged|no checkpoint)"):
        load(copy)


def test_a_missing_file_is_named(copy: Path, tmp_path: Path) -> None:
    path_of(copy, 0).unlink()
    with pytest.raises(CheckpointError, match=r"party-0\.shares: No such file"):
        load(copy)
    with pytest.raises(CheckpointError, match=r"nowhere: party-0\.shares: No such file"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("session", "says"),
    [
        (("replicated", 3, ()), "its protocol is helper, here it is replicated"),
        (("additive", 2, ()), "its protocol is helper"),
        (("helper", 3, ("a", "b", "c")), "its roster is"),
    ],
)
def test_another_session_is_refused(saved: Path, session: tuple[str, int, tuple[str, ...]], says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        load(saved, *session)


def test_another_partys_file_is_refused(copy: Path) -> None:
    a, b = (path_of(copy, p).read_bytes() for p in (0, 1))
    path_of(copy, 0).write_bytes(b)
    path_of(copy, 1).write_bytes(a)
    with pytest.raises(CheckpointError, match="its party is 1, here it is 0"):
        load(copy)


def test_the_audit_names_who_supplied_what_was_loaded(tmp_path: Path) -> None:
    with open_threads() as s:
        mpc.save(tmp_path / "first", s.input(X, 1, name="visits") * s.input(X, 0, name="rates"))
    with open_threads() as s:
        w = mpc.load(tmp_path / "first", s) + s.input(X, 2, name="beds")
        assert {(f.parties, f.what.split(":")[0]) for f in s.audit(w).inputs} == {
            (("party 1",), "visits"), (("party 0",), "rates"), (("party 2",), "beds"),
        }  # fmt: skip
        mpc.save(tmp_path / "second", w)
    with open_threads() as s:  # of all saves before, through any number of them
        lines = s.audit(mpc.load(tmp_path / "second", s)).inputs
        assert len(lines) == 3 and all("test_checkpoint.py" in f.where for f in lines)


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    s = open_session("plain", 2)
    with pytest.raises(UsageError, match="at least one"):
        mpc.save(tmp_path, {"epoch": 3})
    with pytest.raises(UsageError, match="plain arrays"):
        mpc.save(tmp_path, [s.input(X), X])
    with pytest.raises(SessionError, match=r"mpc\.local"):
        mpc.load(tmp_path, s)
    (tmp_path / "file").write_text("")
    with open_threads() as session, pytest.raises(CheckpointError, match="file: File exists"):
        mpc.save(tmp_path / "file", session.input(X))


def test_processes(tmp_path: Path) -> None:
    """The same between processes; and the error of a party reaches the user, and ends the session."""
    with mpc.local(3) as s:
        mpc.save(tmp_path, s.input(X))
    with mpc.local(3) as s:
        np.testing.assert_allclose((mpc.load(tmp_path, s) * 2).reveal(), 2 * X, atol=1e-4)
        with pytest.raises(CheckpointError, match="nowhere"):
            mpc.load(tmp_path / "nowhere", s)
        with pytest.raises(SessionError, match="closed"):
            mpc.load(tmp_path, s)
    with mpc.local(2, "plain", check="shadow") as shadowed, pytest.raises(SessionError, match="shadow"):
        mpc.load(tmp_path, shadowed)
