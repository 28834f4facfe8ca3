"""The table of evaluations, metrics.csv: append-only, one row an evaluation, exact to the last bit."""

import contextlib
import os
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from minigrok.errors import RunFolderError
from minigrok.storage.files import Check, sync_folder, unwritable, write_all, write_atomically

Columns = dict[str, npt.NDArray[Any]]


def append_row(path: Path, row: Mapping[str, float], check: Check | None = None) -> None:
    """Add a row in one write and wait until the disk has it.

    Parameters
    ----------
    path : Path                           made, with the names of the row as its header, if it is not there
    row : mapping of column to number     integers stay integers, floats keep every bit
    check : Check                         called when the file is open and only the write is left

    Raises
    ------
    RunFolderError    other columns than the header's, a half-written last line, or no room; all is as before
    """
    header, complete = _header(path)
    if header and list(row) != header:
        do = "start a new run: the columns of a run are fixed"
        raise RunFolderError(f"the columns of {path}: {', '.join(header)}", ", ".join(row), do)
    if not complete:
        raise RunFolderError(f"{path} ending with a whole line", "half a line, left by a kill", "resume the run")
    text = ",".join(map(_cell, row.values())) + "\n"
    _append(path, (text if header else ",".join(row) + "\n" + text).encode(), check)
    if not header:
        _sync(path)


def read_columns(path: Path) -> Columns:
    """Read the table.

    Returns
    -------
    dict of column to (rows,) int64 or float64
        a half-written last line is left out; no columns if there is no table yet

    Raises
    ------
    RunFolderError    a damaged line, by its number
    """
    lines = _whole_lines(path)
    if not lines:
        return {}
    names = lines[0].split(",")
    rows = [_cells(path, number, line, len(names)) for number, line in enumerate(lines[1:], start=2)]
    return {name: _column([row[i] for row in rows]) for i, name in enumerate(names)}


def drop_after(path: Path, step: int, check: Check | None = None) -> None:
    """Drop the rows after a step, and a half-written last line, atomically.

    Parameters
    ----------
    path : Path      nothing happens if it is not there
    step : int       compared with the column "step"
    check : Check    as in `files.write_atomically`

    Notes
    -----
    The table is a new file afterwards, even if it says the same: what has the old one open, a writer that was taken
    over, appends to nothing.
    """
    if not path.exists():
        return
    steps = read_columns(path).get("step", np.empty(0))
    lines = _whole_lines(path)
    kept = lines[:1] + [line for line, at in zip(lines[1:], steps, strict=True) if at <= step]
    write_atomically(path, "".join(line + "\n" for line in kept).encode(), check)


def _header(path: Path) -> tuple[list[str], bool]:
    """Columns in the file, none if it has no whole line, and whether its last line is whole."""
    if not path.exists() or path.stat().st_size == 0:
        return [], True
    with path.open("rb") as file:
        first = file.readline().decode("ascii", "replace")
        file.seek(-1, os.SEEK_END)
        return first.rstrip("\n").split(","), file.read() == b"\n"


def _append(path: Path, data: bytes, check: Check | None) -> None:
    """Append the data, or leave the file as it was."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        raise unwritable(path, len(data), error) from error
    size = os.fstat(descriptor).st_size
    try:
        if check:
            check()
        write_all(descriptor, data)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, size)
        raise unwritable(path, len(data), error) from error
    finally:
        os.close(descriptor)


def _sync(path: Path) -> None:
    """Wait until the disk has the name of a new file."""
    try:
        sync_folder(path.parent)
    except OSError as error:
        raise unwritable(path, 0, error) from error


def _cell(value: float) -> str:
    return str(int(value)) if isinstance(value, Integral) else repr(float(value))


def _whole_lines(path: Path) -> list[str]:
    """Lines that end with a line feed; a reader of a live run may see half a line after them."""
    text = path.read_bytes().decode("ascii", "replace") if path.exists() else ""
    return text.split("\n")[:-1]


def _cells(path: Path, number: int, line: str, n_columns: int) -> list[str]:
    """Cells of one line, all of them numbers."""
    cells = line.split(",")
    try:
        if len(cells) != n_columns:
            raise ValueError
        [float(cell) for cell in cells]
    except ValueError:
        do = "restore the file from a copy, or delete that line"
        raise RunFolderError(f"{n_columns} numbers in line {number} of {path}", repr(line), do) from None
    return cells


def _column(cells: list[str]) -> npt.NDArray[Any]:
    """Integers if every cell is one, floats otherwise."""
    try:
        return np.array([int(cell) for cell in cells], dtype=np.int64)
    except ValueError:
        return np.array([float(cell) for cell in cells], dtype=np.float64)
