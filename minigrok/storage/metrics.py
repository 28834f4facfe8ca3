"""Tables of evaluations, such as metrics.csv: append-only, one row an evaluation, exact to the last bit.

The last column, crc32, chains the rows: the CRC-32 of a row's other cells, begun with the value of the row above, and
for the first row with that of the header. So a row that was changed, lost or moved is seen. A table without that column
(of another program, or of an earlier minigrok) is read as it is.
"""

import contextlib
import io
import os
from array import array
from collections.abc import Iterator, Mapping
from numbers import Integral
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

from minigrok.errors import RunFolderError
from minigrok.foreign import read_file
from minigrok.storage.files import Check, sync_folder, unwritable, write_all, write_atomically

Columns = dict[str, npt.NDArray[Any]]
CHAIN = ",crc32"  # end of the header of a table whose rows have checksums
MOST = 2**30  # bytes of a table that are believable: our choice
BOM = b"\xef\xbb\xbf"  # a spreadsheet may begin a table with these bytes, and end each line with "\r\n"


def append_row(path: Path, row: Mapping[str, float], size: int | None = None, check: Check | None = None) -> int:
    """Add a row in one write and wait until the disk has it.

    Parameters
    ----------
    path : Path                           made, with the names of the row as its header, if it is not there
    row : mapping of column to number     integers stay integers, floats keep every bit
    size : int, optional                  bytes of the table as this process left it
    check : Check                         called when the file is open and only the write is left

    Returns
    -------
    int
        bytes of the table now

    Raises
    ------
    RunFolderError    other columns than the header's, a half-written last line, a size that another process
                      changed, or no room; all is as before
    """
    data = _bytes(path)
    if data[-1:] not in (b"", b"\n"):
        raise RunFolderError(f"{path} ending with a whole line", "half a line, left by a kill", "resume the run")
    if size not in (None, len(data)):
        do = "end this process; the other one goes on from the last checkpoint"
        raise RunFolderError(f"{path} of {size:,} bytes, as this process left it", f"{len(data):,} bytes", do)
    header, last = _first(data), data[:-1].rpartition(b"\n")[2].decode("ascii", "replace")
    names = ",".join(row)
    if header.removesuffix(CHAIN) not in ("", names):
        do = "start a new run: the columns of a run are fixed"
        raise RunFolderError(f"the columns of {path}: {', '.join(_names(data))}", ", ".join(row), do)
    new = "" if header else f"{names}{CHAIN}\n"
    header = header or names + CHAIN
    text = ",".join(map(_cell, row.values()))
    if header.endswith(CHAIN):
        before = crc32(header.encode()) if new or last == header else int(last.rpartition(",")[2])
        text = _linked(text, before)[0]
    _append(path, f"{new}{text}\n".encode(), check)
    if new:
        _sync(path)
    return len(data) + len(new) + len(text) + 1


def read_columns(path: Path) -> Columns:
    """Read the table.

    Returns
    -------
    dict of column to (rows,) int64 or float64
        a half-written last line is left out, and so is a row that repeats the one of an earlier line (two processes
        wrote it); no columns if there is no table yet

    Raises
    ------
    RunFolderError    a damaged line, by its number
    """
    data = _bytes(path)
    names = _names(data)
    columns, whole = [array("d") for _ in names], [True] * len(names)
    for row in _rows(path, data):
        for i, cell in enumerate(row):
            columns[i].append(float(cell))
            whole[i] = whole[i] and cell.lstrip("-").isdigit()
    dtypes = [np.int64 if each else np.float64 for each in whole]
    return {name: np.array(x, dtype) for name, x, dtype in zip(names, columns, dtypes, strict=True)}


def drop_after(path: Path, step: int, check: Check | None = None) -> int:
    """Drop the rows after a step, a half-written last line and repeated rows, atomically.

    Parameters
    ----------
    path : Path      nothing happens if it is not there
    step : int       compared with the column "step"
    check : Check    as in `files.write_atomically`

    Returns
    -------
    int
        bytes of the table now

    Notes
    -----
    The table is a new file afterwards, even if it says the same: what has the old one open, a writer that was taken
    over, appends to nothing.
    """
    if not path.exists():
        return 0
    data = _bytes(path)
    names, header = _names(data), _first(data)
    lines, crc = [header] if names else [], crc32(header.encode())
    for row in _rows(path, data):
        if float(row[names.index("step")]) <= step:
            text, crc = _linked(",".join(row), crc)
            lines.append(text if header.endswith(CHAIN) else ",".join(row))
    kept = "".join(line + "\n" for line in lines).encode()
    write_atomically(path, kept, check)
    return len(kept)


def require_rows(path: Path, steps: npt.NDArray[Any], step: int, every: int) -> None:
    """Raise a RunFolderError unless a table has all evaluations up to a step: of step 1, and of every so many."""
    found, n_expected = steps[steps <= step].tolist(), step // every + (every > 1)
    is_short = len(found) != n_expected  # told first: a damaged step may be too large for a list
    if step and (is_short or found != sorted({1, *range(every, step + 1, every)})):
        got = f"{len(found)} of {n_expected:,}" if is_short else "other steps"
        do = "restore the file from a copy, or train the run anew in another folder"
        raise RunFolderError(f"every evaluation up to step {step:,} in {path}", got, do)


def _bytes(path: Path) -> bytes:
    """Return the table's bytes, none if it is not there."""
    try:
        return read_file(path, MOST).removeprefix(BOM)
    except FileNotFoundError:
        return b""
    except OSError as error:
        required, do = "a readable table of evaluations", "restore the file from a copy"
        raise RunFolderError(required, f"{path}: {error.strerror or error}", do) from error


def _first(data: bytes) -> str:
    """Return the header; "" if it is not whole."""
    return data[: data.find(b"\n") + 1].decode("ascii", "replace").strip()


def is_chained(data: bytes) -> bool:
    """Return whether the rows of a table have checksums."""
    return _first(data).endswith(CHAIN)


def _names(data: bytes) -> list[str]:
    """Return the columns, without the checksum's."""
    header = _first(data).removesuffix(CHAIN)
    return header.split(",") if header else []


def _linked(text: str, before: int) -> tuple[str, int]:
    """Return a row with its checksum, and the checksum."""
    crc = crc32(text.encode(), before)
    return f"{text},{crc}", crc


def _rows(path: Path, data: bytes) -> Iterator[list[str]]:
    """Cells of each whole line after the first, checked, without the checksum; those of a repeated row are left out."""
    header, names = _first(data), _names(data)
    chained, crc, seen = header.endswith(CHAIN), crc32(header.encode()), dict[str, int]()
    if any(map(_is_number, names)):
        raise _damaged(path, 1, header, len(names))
    for number, raw in enumerate(io.BytesIO(data), start=1):
        line = raw.decode("ascii", "replace").rstrip("\r\n")
        text = line.rpartition(",")[0] if chained else line
        cells, (linked, next_crc) = text.split(","), _linked(text, crc)
        if number == 1:
            continue
        if not raw.endswith(b"\n"):  # half a line; but not if all of it is there, and only its end is not
            if chained and _linked(line[:-1].rpartition(",")[0], crc)[0] == line[:-1]:
                raise _damaged(path, number, line, len(names))
            return
        if seen.get(cells[0]) == crc32(text.encode()):
            crc = next_crc if linked == line else crc
            continue
        wrong = linked != line if chained else number == 2 and line == _as_if_chained(line, names)
        if wrong or len(cells) != len(names) or not all(map(_is_number, cells)):
            raise _damaged(path, number, line, len(names))
        crc, seen[cells[0]] = next_crc, crc32(text.encode())
        yield cells


def _as_if_chained(line: str, names: list[str]) -> str:
    """Return the first row as it is where only the word crc32 of the header was damaged."""
    return _linked(line.rpartition(",")[0], crc32((",".join(names[:-1]) + CHAIN).encode()))[0]


def _damaged(path: Path, number: int, got: str, n_columns: int) -> RunFolderError:
    do = "restore the file from a copy, or delete that line and those after it and resume the run"
    required = f"{n_columns} numbers in line {number} of {path}, and the checksum that follows from them"
    return RunFolderError(required, repr(got), do)


def _append(path: Path, data: bytes, check: Check | None) -> None:
    """Append the data, or leave the file as it was."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666)
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


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
