"""Files that survive a kill at any instant and tell when they are damaged: atomic replacement, checksums, no links.

A file that decides a bit or a number holds the SHA-256 of itself, computed with zeros in its place (`seal`), and every
read compares it (`is_sealed`). A file of another program has none and is read as it is.
"""

import contextlib
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from minigrok.errors import RunFolderError
from minigrok.foreign import ARRAYS, open_file, read_file

Array = npt.NDArray[Any]
Check = Callable[[], None]  # called at the last moment before a file changes; its error leaves all as it was
SEAL = "sha256:" + "0" * 64  # where a file's checksum goes; its key is "checksum"
HEAD = 2**20  # the checksum stands in the first bytes of a file: so many at most
STALE = 120.0  # seconds after which a temporary file is that of a dead process: our choice
UNFINISHED = "*.????????????.tmp"  # names of the temporary files of `write_atomically`
_SEALED = re.compile(rb"sha256:([0-9a-f]{64})")
_TEMPORARY = re.compile(r".+\.[0-9a-f]{12}\.tmp")


def write_atomically(path: Path, data: bytes, check: Check | None = None) -> None:
    """Replace a file so that a reader, or a kill, sees the old content or the new, never a part.

    Parameters
    ----------
    path : Path     in a folder that exists; a link of this name is replaced, not followed
    data : bytes    the new content
    check : Check   called when all is written and only the rename is left: whether the lock is still ours

    Raises
    ------
    RunFolderError    the disk is full or refuses; the old file is intact and nothing is left behind

    Notes
    -----
    Temporary file of a name of its own beside it, fsync, rename, fsync of the folder. What a kill leaves behind, `tidy`
    removes.
    """
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        try:
            write_all(descriptor, data)
        finally:
            os.close(descriptor)
        if check:
            check()
        os.replace(temporary, path)
        sync_folder(path.parent)
    except RunFolderError:  # of the check
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise unwritable(path, len(data), error) from error


def remove(path: Path) -> None:
    """Delete a file, if it is there; a RunFolderError if that is not allowed."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(path, 0, error) from error


def is_temporary(name: str) -> bool:
    """Return whether a file of that name is one that `write_atomically` had not finished."""
    return _TEMPORARY.fullmatch(name) is not None


def tidy(folder: Path) -> None:
    """Remove the temporary files that dead processes left in a folder."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if is_temporary(entry.name) and time.time() - entry.stat(follow_symlinks=False).st_mtime > STALE:
                os.unlink(entry.path)


def inside(folder: Path, *names: str) -> Path:
    """Return a path below a folder, for writing or deleting: no part of it below the folder may be a link.

    Raises
    ------
    RunFolderError    one is: it would lead to files that are not the folder's
    """
    path = folder
    for name in names:
        path = path / name
        if path.is_symlink():
            got, do = f"{path} leads to {os.readlink(path)}", "remove that link, or put what it leads to in its place"
            raise RunFolderError(f"no links below {folder}, to write there", got, do)
    return path


def seal(data: bytes) -> bytes:
    """Return the data with its checksum in the place of the first `SEAL`."""
    return data.replace(SEAL.encode(), b"sha256:" + _digest(data), 1)


def _digest(*parts: bytes | memoryview) -> bytes:
    """SHA-256 of the parts one after another, in hexadecimal digits."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest().encode()


def is_sealed(path: Path, data: bytes) -> bool:
    """Return whether the data has a checksum.

    Raises
    ------
    RunFolderError    the data is not what the checksum was computed from
    """
    found = _SEALED.search(data, 0, HEAD)
    if found is None and data.find(b"checksum", 0, HEAD) < 0:
        return False
    if found is None or _digest(data[: found.start()], SEAL.encode(), memoryview(data)[found.end() :]) != found[1]:
        raise damaged(path, "other bytes than its checksum was computed from")
    return True


def damaged(path: Path, got: object) -> RunFolderError:
    """Error that names a damaged file."""
    do = "restore the file from a copy, or move it away"
    return RunFolderError("a file as minigrok wrote it", f"{path}: {got}", do)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of the data to an open file and wait until the disk has it; OSError as it comes."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.fsync(descriptor)


def make_folder(folder: Path, parents: bool = True) -> None:
    """Make a folder, and its parents if asked, unless it is there; a RunFolderError if it cannot be made."""
    try:
        folder.mkdir(parents=parents, exist_ok=True)
        sync_folder(folder.parent)
    except OSError as error:
        raise unwritable(folder, 0, error) from error


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the folder's list of names."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unwritable(path: Path, n_bytes: int, error: OSError) -> RunFolderError:
    """Error that says what could not be written, how much room it needs and how much there is."""
    free = "unknown"
    with contextlib.suppress(OSError):
        free = f"{shutil.disk_usage(path.parent).free:,} bytes"
    return RunFolderError(
        f"room and permission to write {path} ({n_bytes:,} bytes)",
        f"{error.strerror or error} ({free} free)",
        "make room or choose another place; what was there before is intact",
    )


def write_arrays(path: Path, arrays: Mapping[str, Array], note: Mapping[str, Any], check: Check | None = None) -> None:
    """Write a safetensors file atomically, with a checksum.

    Parameters
    ----------
    path : Path
    arrays : mapping of name to array    any shape; numeric dtypes
    note : mapping, JSON-able            kept under the one metadata key "minigrok", as text with sorted keys:
                                         several keys would be written in random order, and equal runs would
                                         have unequal files
    check : Check                        as in `write_atomically`
    """
    dense = {name: np.array(array, order="C") for name, array in arrays.items()}
    text = json.dumps({**note, "checksum": SEAL}, sort_keys=True)
    write_atomically(path, seal(save(dense, {"minigrok": text})), check)


def read_arrays(path: Path, most: int = ARRAYS) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read a safetensors file, and compare its checksum if it has one.

    Parameters
    ----------
    path : Path
    most : int    bytes that are believable

    Returns
    -------
    dict of name to array
        copies, free to be changed
    dict
        the note, empty where another program wrote the file

    Raises
    ------
    RunFolderError    no such file, damaged, not safetensors, too large, or a dtype that NumPy lacks
    """
    try:
        data = read_file(path, most)
    except OSError as error:
        is_missing = isinstance(error, FileNotFoundError)
        do = "name a file that is there" if is_missing else "restore the file from a copy, or name another one"
        raise RunFolderError("a safetensors file", f"{path}: {error.strerror or error}", do) from error
    is_sealed(path, data)
    try:
        arrays = {name: np.array(array) for name, array in load(data).items()}
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        note = dict(json.loads(header.get("__metadata__", {}).get("minigrok", "{}")))
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError, MemoryError, RecursionError) as error:
        required, do = "a complete safetensors file of NumPy's dtypes", "restore the file from a copy, or move it away"
        raise RunFolderError(required, f"{path}: {error or type(error).__name__}", do) from error
    return arrays, note


def read_note(path: Path) -> dict[str, Any]:
    """Return the note of a safetensors file alone, unchecked; OSError or ValueError if there is none to read."""
    with open_file(path) as file:
        size = int.from_bytes(file.read(8), "little")
        if size > HEAD:
            raise ValueError(f"{path}: a header of {size:,} bytes")
        return dict(json.loads(json.loads(file.read(size))["__metadata__"]["minigrok"]))


def unpacked(data: bytes, most: int = ARRAYS) -> dict[str, Array]:
    """Return the arrays of an .npz file.

    Raises
    ------
    ValueError    damaged, no .npz, with pickles, or larger than `most` bytes when unpacked
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(item.file_size for item in archive.infolist())
        if size > most:
            raise ValueError(f"{size:,} bytes of arrays, of {most:,} at most")
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return dict(file)
    except Exception as error:  # zipfile and NumPy raise a dozen kinds on damaged files
        raise ValueError(f"no readable .npz: {error or type(error).__name__}") from error
