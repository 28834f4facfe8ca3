"""Commands in processes of their own, at one run at once or after one another's suspension; each prints its counts."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from campaigns import Campaign
from kills import contents

pytestmark = pytest.mark.torture
ROUNDS = 2
TRAIN = ("train", "tiny", "--set", "task.p=5", "--set", "model.width=8", "--set", "model.heads=2")
TRAIN += ("--set", "model.mlp_width=4", "--set", "train.batch_size=4", "--set", "train.stop_when_grokked=false")


def start(*arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "minigrok_cli", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Exit code of a process, and what it said."""
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def short(folder: Path, seed: int) -> tuple[int, str]:
    """Train a short run to its end."""
    settings = ("--set", "train.max_steps=400", "--set", f"seed={seed}")
    return end(start(*TRAIN, *settings, "--out", folder))


def test_a_suspended_training_leaves_the_run_in_its_folders_place_alone(tmp_path: Path, campaign: Campaign) -> None:
    """Start a training, suspend it, delete its folder, train another run there, let it go on."""
    folder = tmp_path / "a"
    for seed in range(ROUNDS):
        first = start(*TRAIN, "--set", "train.max_steps=1000000", "--out", folder)
        until((folder / "metrics.csv").exists)
        first.send_signal(signal.SIGSTOP)
        shutil.rmtree(folder)
        assert short(folder, seed)[0] == 0
        before = contents(folder)
        first.send_signal(signal.SIGCONT)
        code, said = end(first)
        campaign.cases += 1
        if code == 0 or "another folder in its place" not in said:
            campaign.silent.append(said)
        if contents(folder) != before or end(start("resume", folder))[0] != 0:
            campaign.failed.append("the run in its place was changed")
        shutil.rmtree(folder)


@pytest.mark.parametrize("command", [("analyse", "trajectory_pca"), ("plot",)])
def test_two_at_once_succeed_or_one_hears_who_is_at_it(
    tmp_path: Path, command: tuple[str, ...], campaign: Campaign
) -> None:
    """What is left is what one alone leaves."""
    folder = tmp_path / "a"
    assert short(folder, 1)[0] == 0
    assert end(start(*command, folder))[0] == 0
    alone = contents(folder)
    for _ in range(ROUNDS):
        shutil.rmtree(folder / "analysis", ignore_errors=True)
        both = [end(process) for process in [start(*command, folder), start(*command, folder)]]
        refusals = [said for code, said in both if code != 0]
        campaign.cases += 1
        if len(refusals) == 2 or not all("is writing it" in said for said in refusals):
            campaign.failed += refusals
        if contents(folder) != alone:
            campaign.silent.append("other files than one alone leaves")
