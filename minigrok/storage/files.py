"""Files that survive a kill at any instant: atomic replacement, safetensors with a note."""

import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from minigrok.errors import RunFolderError

Array = npt.NDArray[Any]


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file so that a reader, or a kill, sees the old content or the new, never a part.

    Parameters
    ----------
    path : Path     in a folder that exists
    data : bytes    the new content

    Raises
    ------
    RunFolderError    the disk is full or refuses; the old file is intact and nothing is left behind

    Notes
    -----
    Temporary file beside it, fsync, rename, fsync of the folder. The temporary name is fixed, so that a kill
    leaves at most one for each file; writers of one folder must hold its lock.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            write_all(descriptor, data)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise unwritable(path, len(data), error) from error


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of the data to an open file and wait until the disk has it; OSError as it comes."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.fsync(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder, and its parents, unless it is there; a RunFolderError if it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
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


def write_arrays(path: Path, arrays: Mapping[str, Array], note: Mapping[str, Any]) -> None:
    """Write a safetensors file atomically.

    Parameters
    ----------
    path : Path
    arrays : mapping of name to array    any shape; numeric dtypes
    note : mapping, JSON-able            kept under the one metadata key "minigrok", as text with sorted keys:
                                         several keys would be written in random order, and equal runs would
                                         have unequal files
    """
    dense = {name: np.array(array, order="C") for name, array in arrays.items()}
    write_atomically(path, save(dense, {"minigrok": json.dumps(note, sort_keys=True)}))


def read_arrays(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read a safetensors file.

    Returns
    -------
    dict of name to array
        copies, free to be changed
    dict
        the note, empty where another program wrote the file

    Raises
    ------
    RunFolderError    no such file, truncated, not safetensors, or a dtype that NumPy lacks
    """
    try:
        with safe_open(path, framework="np") as file:
            note = json.loads((file.metadata() or {}).get("minigrok", "{}"))
            return {name: np.array(file.get_tensor(name)) for name in file.keys()}, note
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        required = "a complete safetensors file of NumPy's dtypes"
        if not path.exists():
            raise RunFolderError(required, f"{path}: no such file", "name a file that is there") from error
        do = "restore the file from a copy, or move it away"
        raise RunFolderError(required, f"{path}: {error or type(error).__name__}", do) from error
