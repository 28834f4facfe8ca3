"""What the tests of kills share: a short run, its bits, and a process that kills itself at a call."""

import json
import os
import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from minigrok.config import Config, Model, Task, Train
from minigrok.storage.files import is_temporary
from minigrok.storage.runs import create, open_run
from minigrok.training.observer import Observer
from minigrok.training.train import train

SHORT = Config(
    "short",
    task=Task(p=5),
    model=Model(width=4, heads=2, mlp_width=3),
    train=Train(batch_size=7, max_steps=4, eval_every=2, snapshot_every=3, stop_when_grokked=False),
)


def contents(folder: Path) -> dict[str, bytes]:
    """Bytes of every file but the unfinished ones that a kill leaves."""
    found = [path for path in sorted(folder.rglob("*")) if not is_temporary(path.name)]
    files = {str(path.relative_to(folder)): path for path in found}
    return {name: path.read_bytes() if path.is_file() else b"folder" for name, path in files.items()}


def sit(folder: Path, config: Config, threads: int, observer: Observer | None = None) -> None:
    """Start a run in a folder, or resume the one that is there."""
    begun = (folder / "config.toml").exists()
    with open_run(folder) if begun else create(folder, config) as run:
        train(run, threads, observer=observer)


def all_bits(folder: Path) -> dict[str, Any]:
    """Everything in a run folder but the wall time."""
    files: dict[str, Any] = contents(folder)
    arrays, state = open_run(folder).load_checkpoint() or ({}, {})
    del state["seconds"]
    files["checkpoint.safetensors"] = json.dumps(state), {name: a.tobytes() for name, a in arrays.items()}
    return files


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
