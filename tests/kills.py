"""What the tests of kills share: a process that kills itself at a call, and the bits of a folder."""

import os
import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from minigrok.storage.files import is_temporary


def contents(folder: Path) -> dict[str, bytes]:
    """Bytes of every file but the unfinished ones that a kill leaves."""
    found = [path for path in sorted(folder.rglob("*")) if not is_temporary(path.name)]
    files = {str(path.relative_to(folder)): path for path in found}
    return {name: path.read_bytes() if path.is_file() else b"folder" for name, path in files.items()}


def kill_at(number: int) -> None:
    """Make this process kill itself at its n-th call that changes the disk; a write is half done then."""
    calls = count()

    def deadly(real: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            if next(calls) == number:
                if name == "write":
                    real(args[0], bytes(args[1])[: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args)

        return call

    for name in ("write", "fsync", "replace"):
        setattr(os, name, deadly(getattr(os, name), name))
