"""Reading inputs and writing results."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mpc.cli import files
from mpc.errors import InputError, UsageError


def table(folder: Path, text: str, name: str = "t.csv") -> np.ndarray:
    (folder / name).write_text(text, encoding="utf-8")
    return files.read(str(folder / name))


def test_a_table(tmp_path: Path):
    assert table(tmp_path, "1,2.5\n-3,4e2\n").tolist() == [[1, 2.5], [-3, 400]]
    assert table(tmp_path, "age,weight\n1,2\n\n3,4\n").tolist() == [[1, 2], [3, 4]]
    assert table(tmp_path, "\ufeffage\tweight\n1\t 2\n", "t.tsv").tolist() == [[1, 2]]
    assert table(tmp_path, "label\n0\n1\n").tolist() == [0, 1]
    assert table(tmp_path, '"age, in years",x\n"1",2\n').tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x,y\n1,2\n3,four\n", "line 3, column 2: not a number"),
        ("x,y\n1,2\n3,\n", "line 3, column 2: the cell is empty"),
        ("1,2\n3,nan\n", "line 2, column 2: NaN"),
        ("1,2\n3,inf\n", "line 2, column 2: NaN or infinite"),
        ("1,2\n3,4,5\n", "line 2: 3 columns, 2 in the lines before"),
        ("1,y\n3,4\n", "line 1, column 2: not a number"),
        ("1_0,2\n", "line 1, column 1: not a number"),
        ("x,y\n", "holds no numbers"),
        ("", "holds no numbers"),
    ],
)
def test_a_bad_table(text: str, said: str, tmp_path: Path):
    with pytest.raises(InputError, match=r"t\.csv") as error:
        table(tmp_path, text)
    assert said in str(error.value)
    assert "four" not in str(error.value)  # a cell may be private


def test_arrays(tmp_path: Path):
    x = np.arange(6).reshape(2, 3)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "one.npz", x=x)
    np.savez(tmp_path / "two.npz", x=x, y=x)
    for name in ("x.npy", "one.npz"):
        found = files.read(str(tmp_path / name))
        assert np.array_equal(found, x) and found.dtype == x.dtype
    with pytest.raises(InputError, match="2 arrays"):
        files.read(str(tmp_path / "two.npz"))


def test_objects_are_refused(tmp_path: Path):
    """An object array would be unpickled, which runs code."""
    np.save(tmp_path / "x.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(InputError, match=r"x\.npy"):
        files.read(str(tmp_path / "x.npy"))


def test_other_files(tmp_path: Path):
    (tmp_path / "x.npy").write_text("no array")
    with pytest.raises(InputError, match=r"x\.npy"):
        files.read(str(tmp_path / "x.npy"))
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe1,2\n")
    with pytest.raises(InputError, match="UTF-8"):
        files.read(str(tmp_path / "x.csv"))
    for name, said in (("absent.csv", "no file"), (".", "folder")):
        with pytest.raises(UsageError, match=said):
            files.read(str(tmp_path / name))
    (tmp_path / "x.xls").write_text("")
    with pytest.raises(UsageError, match=r"\.npy, \.npz"):
        files.read(str(tmp_path / "x.xls"))


@pytest.mark.parametrize("name", ["out.npy", "out.csv", "out.json", "out.npz"])
def test_written_and_read_again(name: str, tmp_path: Path):
    path, value = str(tmp_path / name), np.array([[0.1, 1 / 3], [2, -4]])
    files.check_output(path, 1)
    files.write(path, {"means": value})
    found = np.array(json.loads(Path(path).read_text())["means"]) if name == "out.json" else files.read(path)
    assert np.array_equal(found, value)


@pytest.mark.parametrize("name", ["out.npy", "out.csv", "out.json", "out.npz"])
def test_integers_of_any_size(name: str, tmp_path: Path):
    """As text where a file has no such numbers; never as what has to be unpickled."""
    path, value = tmp_path / name, np.array([2**100 + 1, -(3**70), 7], object)
    files.write(str(path), {"x": value})
    if name.endswith(("json", "csv")):
        found = json.loads(path.read_text())["x"] if name == "out.json" else path.read_text().split()
    else:
        loaded = np.load(path, allow_pickle=False)
        found = loaded["x"] if name == "out.npz" else loaded
    assert [int(v) for v in found] == value.tolist()


def test_where_results_do_not_fit(tmp_path: Path):
    for name in ("out.npy", "out.csv"):
        with pytest.raises(UsageError, match="2 results"):
            files.check_output(str(tmp_path / name), 2)
    with pytest.raises(UsageError, match="folder"):
        files.check_output(str(tmp_path / "absent" / "out.npy"), 1)
