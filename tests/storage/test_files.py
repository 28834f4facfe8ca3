import contextlib
import errno
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kills import contents, kill_at

from minigrok.config import Config, Model, Task
from minigrok.errors import RunFolderError
from minigrok.network.params import initial
from minigrok.storage.files import write_atomically
from minigrok.storage.runs import Run, create, open_run

SMALL = Config("small", task=Task(p=5), model=Model(width=4, heads=2, mlp_width=3, blocks=2))
THETA = initial(SMALL)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return create(tmp_path / "runs" / "small", SMALL)


# --- one writer


def test_one_writer_at_a_time(run: Run) -> None:
    other = open_run(run.folder)
    assert other.metrics() == {}, "reading needs no lock"
    for write in (
        other.lock,
        lambda: other.append_metrics({"step": 1}),
        lambda: other.truncate_metrics(1),
        lambda: other.save_snapshot(0, THETA),
        lambda: other.save_checkpoint({}, {}),
    ):
        with pytest.raises(RunFolderError, match="only writer"):
            write()
    run.close()
    with other:
        with pytest.raises(RunFolderError, match="only writer"):
            run.lock()
    run.lock()
    run.lock()


def test_the_lock_dies_with_its_process(run: Run) -> None:
    run.close()
    code = f"import time; from minigrok.storage.runs import open_run; r = open_run({str(run.folder)!r}); r.lock(); "
    code += "print('locked', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        with pytest.raises(RunFolderError, match="another process"):
            run.lock()
        process.kill()
    run.lock()


# --- no room


@contextlib.contextmanager
def file_size_limit(n_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_no_room_leaves_everything_as_it_was(run: Run) -> None:
    run.append_metrics({"step": 1, "loss": 1.0})
    run.save_snapshot(0, THETA)
    run.save_checkpoint({"theta": THETA}, {"step": 1})
    before = contents(run.folder)
    actions: list[Callable[[], Any]] = [
        lambda: run.append_metrics({"step": 2, "loss": 1.0}),
        lambda: run.truncate_metrics(1),
        lambda: run.save_snapshot(200, THETA),
        lambda: run.save_checkpoint({"theta": THETA}, {"step": 2}),
    ]
    for action in actions:
        with pytest.raises(RunFolderError, match=r"\d bytes\) - got: File too large \([\d,]+ bytes free\)"):
            with file_size_limit(10):
                action()
        assert contents(run.folder) == before
    for action in actions:
        action()
    assert run.metrics()["step"].tolist() == [1]
    assert run.snapshots() == [0, 200]


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_disk_that_fills_up_in_the_middle(run: Run, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    run.append_metrics({"step": 1, "loss": 1.0})
    run.save_checkpoint({"theta": THETA}, {"step": 1})
    before = contents(run.folder)
    real = os.write

    def full(*args: Any) -> int:
        if call == "write" and len(args[1]) > 3:
            return real(args[0], bytes(args[1])[:3])  # some of it still fits
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(RunFolderError, match="No space left on device"):
        run.save_checkpoint({"theta": THETA}, {"step": 2})
    if call != "replace":
        with pytest.raises(RunFolderError, match="No space left on device"):
            run.append_metrics({"step": 2, "loss": 1.0})
    monkeypatch.undo()
    assert contents(run.folder) == before


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="room and permission to write"):
        write_atomically(tmp_path / "none" / "file", b"data")


# --- a kill at any instant


def advance(folder: Path) -> None:
    """A pretended training run of six steps that resumes as the real one does."""
    run = open_run(folder) if (folder / "config.toml").exists() else create(folder, SMALL)
    with run:
        arrays, state = run.load_checkpoint() or ({"theta": THETA}, {"step": 0})
        run.truncate_metrics(state["step"])
        for step in range(state["step"], 6):
            if step % 2 == 0:
                run.save_snapshot(step, arrays["theta"])
            run.append_metrics({"step": step + 1, "norm": float(np.linalg.norm(arrays["theta"]))})
            arrays["theta"] = arrays["theta"] * np.float32(0.9)
            if step % 3 == 2:
                run.save_checkpoint(arrays, {"step": step + 1})


def main(folder: Path) -> int:
    """Kill a run at each of these calls, resume it, compare with a run left alone; the number of kills."""
    advance(folder / "alone")
    expected = contents(folder / "alone")
    for number in count():
        killed = folder / "killed"
        child = os.fork()
        if child == 0:
            kill_at(number)
            advance(killed)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        advance(killed)
        assert contents(killed) == expected, number
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            return number
        shutil.rmtree(killed)
    raise AssertionError


def test_a_kill_at_any_instant_loses_nothing(tmp_path: Path) -> None:
    top = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(top), str(top / "tests")])}
    command = [sys.executable, __file__, str(tmp_path)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 40


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
