"""Reading files that somebody else may have made: regular files of a believable size, which never make us wait."""

import errno
import os
from pathlib import Path
from stat import S_ISREG

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
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # opening a pipe would wait for a writer
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if status.st_size > most:
            raise OSError(errno.EFBIG, f"{status.st_size:,} bytes, of {most:,} at most", str(path))
        return file.read(status.st_size)
