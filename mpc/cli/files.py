"""Tables and arrays on disk: what `--input` reads and `--output` writes."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import click
import numpy as np

from ..errors import InputError, MPCError, UsageError

READS = (".npy", ".npz", ".csv", ".tsv")
WRITES = (".npy", ".npz", ".json", ".csv")


def read(path: str) -> np.ndarray:
    """The array in a file. A table (csv, tsv) gives float64: (rows, columns), or (rows,) if it has one column."""
    file = Path(path)
    if not file.is_file():
        what = "it is a folder" if file.is_dir() else f"looked for from {Path.cwd()}"
        raise UsageError(f"no file {path}: {what}. Give a file of data: --input NAME=FILE")
    kind = file.suffix.lower()
    if kind not in READS:
        raise UsageError(f"{path}: cannot read files of type {kind or 'unknown'!r}; give {', '.join(READS)}")
    try:
        return _table(file, "\t" if kind == ".tsv" else ",") if kind in (".csv", ".tsv") else _binary(file)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None


def _binary(file: Path) -> np.ndarray:
    try:
        found = np.load(file, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        with found:
            if len(found.files) != 1:
                raise InputError(f"{file} holds {len(found.files)} arrays ({', '.join(found.files)}); give a file with one")
            array: np.ndarray = found[found.files[0]]
            return array
    except (ValueError, EOFError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{file} is no array of numbers: {str(error).splitlines()[0]}") from None


def _table(file: Path, separator: str) -> np.ndarray:
    rows: list[list[float]] = []
    width: int | None = None
    with file.open(newline="", encoding="utf-8-sig") as text:
        for line, cells in _lines(file, text, separator):
            if width is None:
                width = len(cells)
                if not any(map(_is_number, cells)):
                    continue  # a header
            if len(cells) != width:
                raise InputError(f"{file}, line {line}: {len(cells)} columns, {width} in the lines before")
            rows.append([_number(file, line, column, cell) for column, cell in enumerate(cells, 1)])
    if not rows:
        raise InputError(f"{file} holds no numbers")
    table = np.array(rows)
    return table[:, 0] if table.shape[1] == 1 else table


def _lines(file: Path, text: IO[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of every line that is not empty."""
    reader = csv.reader(text, delimiter=separator)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, [cell.strip() for cell in cells]
    except UnicodeDecodeError:
        raise InputError(f"{file} is no UTF-8 text") from None
    except csv.Error as error:
        raise InputError(f"{file}, line {reader.line_num}: {error}") from None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # Python reads 1_000, other readers do not


def _number(file: Path, line: int, column: int, cell: str) -> float:
    # The cell itself may be private, so it is not repeated.
    if not cell:
        raise InputError(f"{file}, line {line}, column {column}: the cell is empty; fill or drop missing values first")
    if not _is_number(cell):
        raise InputError(f"{file}, line {line}, column {column}: not a number; encode text and categories first")
    value = float(cell)
    if not math.isfinite(value):
        raise InputError(f"{file}, line {line}, column {column}: NaN or infinite; fill or drop missing values first")
    return value


def check_output(path: str, results: int) -> None:
    """Raises UsageError if that many results cannot be saved there: before the run, not after it."""
    file = Path(path)
    kind = file.suffix.lower()
    if kind not in WRITES:
        raise UsageError(f"{path}: cannot write files of type {kind or 'unknown'!r}; choose {', '.join(WRITES)}")
    if results > 1 and kind in (".npy", ".csv"):
        raise UsageError(f"{path}: {kind} holds one array, the program has {results} results; choose .npz or .json")
    check_folder(path)


def check_folder(path: str) -> None:
    """Raises UsageError if nothing can be saved at this path."""
    folder = Path(path).parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(f"{path}: the folder {folder} does not exist or cannot be written")


def deliver(path: str | None, outputs: Mapping[str, np.ndarray], shown: str) -> None:
    """Saves results, if a path is given, and prints `shown`: also when saving fails, since they cannot be had again."""
    try:
        if path:
            write(path, outputs)
            click.echo(f"saved to {path}", err=True)
    finally:
        click.echo(shown)


def write(path: str, outputs: Mapping[str, np.ndarray]) -> None:
    """Saves results; `check_output` has been asked. All or nothing: raises MPCError if the disk is full."""
    partial = Path(f"{path}.partial")
    try:
        whole = BytesIO()  # NumPy reports a full disk less clearly
        _write(whole, path, outputs)
        with partial.open("wb") as file:
            file.write(whole.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise MPCError(f"the run is done, but {path} cannot be written: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)


def _write(file: IO[bytes], path: str, outputs: Mapping[str, np.ndarray]) -> None:
    kind = Path(path).suffix.lower()
    if kind in (".npy", ".npz"):  # which hold no integers of any size: those become text, that nobody need unpickle
        outputs = {name: value.astype(str) if value.dtype.kind == "O" else value for name, value in outputs.items()}
    arrays = list(outputs.values())
    if kind == ".npy":
        np.save(file, arrays[0])
    elif kind == ".npz":
        np.savez(file, **dict(outputs))  # type: ignore[arg-type]
    elif kind == ".csv":
        table = np.atleast_1d(arrays[0])
        if table.ndim > 2:
            raise UsageError(f"{path}: a table has two axes, the result {table.ndim}; choose .npy")
        np.savetxt(file, table, delimiter=",", fmt="%d" if table.dtype.kind in "biuO" else "%.17g")
    else:
        file.write((json.dumps(plain(outputs), indent=2) + "\n").encode())


def text(outputs: Mapping[str, np.ndarray], receivers: Mapping[str, Sequence[str]]) -> str:
    """Results for a reader."""
    blocks = []
    for name, value in outputs.items():
        kind = f"{'integers' if value.dtype.kind == 'O' else value.dtype}{list(value.shape)}"
        with np.printoptions(precision=6, suppress=True, threshold=200, linewidth=110):
            blocks.append(f"{name}: {kind}, for {', '.join(receivers[name])}\n{value}")
    return "\n\n".join(blocks)


def plain(outputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Arrays as nested lists."""
    return {name: value.tolist() for name, value in outputs.items()}
