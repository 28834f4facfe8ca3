"""A run that is killed, or out of room, at any instant goes on to the same bits, on any number of threads."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kills import SHORT, all_bits, kill_at, sit

from minigrok.config import Config, with_settings
from minigrok.errors import RunFolderError
from minigrok.storage.runs import create
from minigrok.training import loop
from minigrok.training.observer import Observer
from minigrok.training.train import train

TOP = Path(__file__).parents[2]
LONG = with_settings(SHORT, ["train.max_steps=400", "train.eval_every=20", "train.snapshot_every=50"])


def script(tmp_path: Path, what: str) -> int:
    """Run this file in a process of its own, which may fork because it has no threads; the number it prints."""
    command = [sys.executable, __file__, what, str(tmp_path)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(TOP), str(TOP / "tests"), os.environ.get("PYTHONPATH", "")]),
    }
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return int(result.stdout)


def test_kills_at_random_moments_change_no_bit(tmp_path: Path) -> None:
    assert script(tmp_path, "random") == 8


def test_kills_at_each_call_that_changes_the_disk_change_no_bit(tmp_path: Path) -> None:
    assert script(tmp_path, "calls") > 40


@pytest.mark.slow
def test_kills_of_an_intervened_run_at_each_call_change_no_bit(tmp_path: Path) -> None:
    """Also while its plane is built from the source and written, and in the middle of a row of its log."""
    assert script(tmp_path, "intervened") > 50


def test_the_comparison_sees_one_bit(tmp_path: Path) -> None:
    """The checker of this file, on a run in which one bit of a moment is flipped before the resume."""
    sit(tmp_path / "alone", SHORT, 1)
    folder = tmp_path / "flipped"
    with create(folder, with_settings(SHORT, ["train.max_steps=3"])) as run:
        train(run, 1)
        arrays, state = run.load_checkpoint() or ({}, {})
        metrics = (folder / "metrics.csv").read_bytes()
    arrays["adam_m"].view(np.uint32)[-1] ^= 1
    shutil.rmtree(folder)
    with create(folder, SHORT) as run:
        run.save_checkpoint(arrays, state)
        (folder / "metrics.csv").write_bytes(metrics)
        train(run, 1)
    alone, flipped = all_bits(tmp_path / "alone"), all_bits(folder)
    assert alone["checkpoint.safetensors"] != flipped["checkpoint.safetensors"]


@pytest.mark.parametrize("for_good", [False, True])
def test_a_disk_that_is_full_at_any_call_loses_nothing(tmp_path: Path, for_good: bool) -> None:
    """Full for one call, as when someone else makes room at once, or from that call on."""
    sit(tmp_path / "alone", SHORT, 1)
    expected = all_bits(tmp_path / "alone")
    for number in count():
        folder = tmp_path / "full"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
            full_at(patch, number, for_good)
            if found_room(folder):
                assert number > 40
                return
        sit(folder, SHORT, 1)
        assert all_bits(folder) == expected, number
        shutil.rmtree(folder)


def found_room(folder: Path) -> bool:
    """Whether a sitting got through; the only failure that may happen is the one that says so."""
    try:
        sit(folder, SHORT, 1)
    except RunFolderError as error:
        if "No space left on device" not in str(error):
            raise
        return False
    return True


def full_at(patch: pytest.MonkeyPatch, number: int, for_good: bool) -> None:
    """Make the n-th call that changes the disk fail, and the later ones too if that is `for_good`."""
    calls = count()

    def failing(real: Any) -> Any:
        def call(*args: Any) -> Any:
            at = next(calls)
            if at == number or (for_good and at > number):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*args)

        return call

    for name in ("write", "fsync", "replace"):
        patch.setattr(os, name, failing(getattr(os, name)))


# --- in a process of its own


def child(work: Callable[[], None]) -> int:
    """Fork a process that does the work; return its id."""
    process = os.fork()
    if process == 0:
        work()
        os._exit(0)
    return process


def killed(process: int) -> bool:
    _, status = os.waitpid(process, 0)
    assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def random_moments(folder: Path) -> int:
    """Kill sittings up to 5 ms after random steps, and let the last one through; the number of kills."""
    loop.CHECKPOINT_SECONDS = 0.005
    sit(folder / "alone", LONG, 1)
    draw = random.Random(0)
    steps = sorted(draw.sample(range(1, LONG.train.max_steps - 60), 8))
    ear, mouth = os.pipe()
    for number, wanted in enumerate(steps):

        def work(number: int = number, wanted: int = wanted) -> None:
            observer = Observer(stepped=lambda step: step == wanted and os.write(mouth, b"."))
            sit(folder / "killed", LONG, 1 + number % 2, observer)

        process = child(work)
        os.read(ear, 1)
        time.sleep(draw.uniform(0, 0.005))
        os.kill(process, signal.SIGKILL)
        assert killed(process)
    sit(folder / "killed", LONG, 2)
    assert all_bits(folder / "killed") == all_bits(folder / "alone")
    return len(steps)


def intervened(folder: Path) -> int:
    """As each_call, of a run with a plane from another run and two kicks."""
    settings = ["arm=kick", "dose=2", "basis=past", "source=source", "start=4", "every=1", "rank=1"]
    sit(folder / "source", SHORT, 1)
    changed = [f"intervention.{setting}" for setting in settings]
    return each_call(folder, with_settings(SHORT, [*changed, "train.max_steps=5", "train.eval_every=1"]))


def each_call(folder: Path, config: Config = SHORT) -> int:
    """Kill a run at each of its calls that change the disk, and resume it; the number of kills."""
    loop.CHECKPOINT_SECONDS = 0.0
    sit(folder / "alone", config, 1)
    expected = all_bits(folder / "alone")
    for number in count():

        def work(number: int = number) -> None:
            kill_at(number)
            sit(folder / "killed", config, 1)

        if not killed(child(work)):
            return number
        sit(folder / "killed", config, 1)
        assert all_bits(folder / "killed") == expected, number
        shutil.rmtree(folder / "killed")
    raise AssertionError


if __name__ == "__main__":
    print({"random": random_moments, "calls": each_call, "intervened": intervened}[sys.argv[1]](Path(sys.argv[2])))
