"""Every command under kills and failing calls: a process forks, breaks itself, and the command is given once more.

A process of its own, without threads, so that it may fork: `python trials.py FOLDER kills|errors COUNT` prints what was
tried, as a line of JSON.
"""

import contextlib
import errno
import io
import json
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from kills import contents
from minigrok_cli.main import main
from small_sweeps import small

from minigrok.config import to_toml
from minigrok.storage.files import read_arrays

CALLS = ("write", "fsync", "replace", "symlink", "unlink")
ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES)
CONFIG = small(steps=80, seeds=(1,)).configs[0]
MIDDLE = 30  # a call in the middle of a training


def command(top: Path, *words: str) -> None:
    """Give a command in this process; its exit code is the process'."""
    with contextlib.chdir(top):
        main([*words], standalone_mode=False)


# what each command needs, and the command
COMMANDS: dict[str, tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]] = {
    "train": ((), ("train", "small.toml", "--out", "run", "--threads", "1")),
    "resume": ((("killed", "train", "small.toml", "--out", "run"),), ("resume", "run", "--threads", "1")),
    "plot": ((("train", "small.toml", "--out", "run"),), ("plot", "run")),
    "analyse": ((("train", "small.toml", "--out", "run"),), ("analyse", "trajectory_pca", "run")),
    "figure": ((("train", "small.toml", "--out", "run"),), ("figure", "34", "run", "--exact")),
    "intervene": (
        (("train", "small.toml", "--out", "run"),),
        ("intervene", "run", "--arm", "norm", "--threads", "1", "--out", "new"),
    ),
}
RESUMED = {"train": ("resume", "run", "--threads", "1"), "intervene": ("resume", "new", "--threads", "1")}


def bits(top: Path) -> dict[str, Any]:
    """Every file but the lock's, with checkpoints without the seconds spent."""
    found: dict[str, Any] = {}
    for name, data in contents(top).items():
        if name.endswith("checkpoint.safetensors"):
            arrays, note = read_arrays(top / name)
            del note["state"]["seconds"], note["checksum"]
            found[name] = json.dumps(note, sort_keys=True), {key: x.tobytes() for key, x in arrays.items()}
        elif not Path(name).name.startswith((".lock", ".owner")):
            found[name] = data
    return found


def forked(work: Callable[[], None]) -> tuple[int, str]:
    """Do work in a child; its exit code (minus the signal that killed it) and what it said."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        said, code = io.StringIO(), 0
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                work()
        except SystemExit as error:
            code = int(error.code or 0)
        except BaseException as error:
            import traceback

            code, _ = 99, said.write(f"Traceback: {error!r}\n{traceback.format_exc()}")
        for call, real in REAL.items():
            setattr(os, call, real)
        os.write(writing, said.getvalue().encode()[-4000:])
        os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        text = pipe.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    return (os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)), text


REAL = {call: getattr(os, call) for call in CALLS}


def break_at(number: int, kind: str) -> None:
    """Make the n-th call that changes the disk kill this process, or fail from then on."""
    calls = count()

    def broken(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            at = next(calls)
            if kind == "kills" and at == number:
                if name == "write":
                    real(args[0], bytes(args[1])[: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            if kind == "errors" and at == number:
                wrong = ERRORS[number % len(ERRORS)]
                raise OSError(wrong, os.strerror(wrong))
            return real(*args, **options)

        return call

    for name, real in REAL.items():
        setattr(os, name, broken(name, real))


def calls_of(top: Path, words: tuple[str, ...]) -> int:
    """Count the calls that an undisturbed command makes."""
    calls = count()
    for name, real in REAL.items():
        setattr(os, name, lambda *args, real=real, **options: (next(calls), real(*args, **options))[1])
    try:
        command(top, *words)
    finally:
        for name, real in REAL.items():
            setattr(os, name, real)
    return next(calls)


def trials(top: Path, kind: str, most: int) -> dict[str, Any]:
    """Break each command at calls of a random choice, give it again, compare with one that was left alone."""
    cases, failed, silent = 0, [], []
    for name, (before, words) in COMMANDS.items():
        base, alone = top / f"{name}-base", top / f"{name}-alone"
        base.mkdir()
        (base / "small.toml").write_text(to_toml(CONFIG))
        for each in before:
            if each[0] == "killed":
                forked(lambda base=base, each=each: (break_at(MIDDLE, "kills"), command(base, *each[1:])))  # type: ignore[misc]
            else:
                command(base, *each)
        shutil.copytree(base, alone, symlinks=True)
        calls = calls_of(alone, words)
        expected = bits(alone)
        for number in sorted(random.Random(0).sample(range(calls), min(most, calls))):
            cases += 1
            folder = top / "broken"
            shutil.copytree(base, folder, symlinks=True)

            def work(folder: Path = folder, number: int = number, words: tuple[str, ...] = words) -> None:
                break_at(number, kind)
                command(folder, *words)

            code, text = forked(work)
            if code == 99 or "Traceback" in text:
                failed.append(f"{name}, call {number}: {text[-300:]}")
            begun = name in RESUMED and (folder / words[words.index("--out") + 1] / "config.toml").exists()
            again = RESUMED[name] if begun else words
            code, text = forked(lambda folder=folder, again=again: command(folder, *again))
            if code:
                failed.append(f"{name}, call {number}, once more: exit {code}: {text[-300:]}")
            elif bits(folder) != expected:
                other = [x for x in expected.keys() | bits(folder).keys() if expected.get(x) != bits(folder).get(x)]
                silent.append(f"{name}, call {number}: {other[:4]}")
            shutil.rmtree(folder)
    return {"cases": cases, "failed": failed, "silent": silent}


if __name__ == "__main__":
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        outcome = trials(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    print(json.dumps(outcome))
