"""Reading files that somebody else may have made: regular files of a believable size, which never make us wait."""

import errno
import os
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO

TEXT = 2**26  # bytes of a file of text, at most: our choice
ARRAYS = 2**32  # bytes of a file of arrays, at most: our choice


def read_file(path: Path, most: int = TEXT) -> bytes:
    """Return the bytes of a regular file.

    Parameters
    ----------
    path : Path    a link is followed: reading changes nothing
    most : int     bytes that are believable

    Raises
    ------
    OSError    no such file, a pipe, device or folder, or larger than that; the reason is its `strerror`
    """
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(errno.EFBIG, f"{size:,} bytes, of {most:,} at most", str(path))
        return file.read(size)


def open_file(path: Path) -> BinaryIO:
    """Open a regular file to read it; an OSError, without a wait, if it is none."""
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")  # opening a pipe would wait for a writer
    if not S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return file
