"""What an error says gives a run more steps does give it some: resume is not named where it does nothing."""

import re
import shlex
from pathlib import Path

from commands import minigrok

from minigrok.config import Config, from_toml, with_settings
from minigrok.storage.runs import Run, create, open_run
from minigrok.training.counters import more_steps
from minigrok.training.observer import Observer
from minigrok.training.train import train

SMALL = from_toml(
    """
name = "small"
task.p = 5
model = { width = 4, heads = 2, mlp_width = 4, blocks = 1 }
train = { batch_size = 4, max_steps = 40, eval_every = 10, snapshot_every = 20 }
compute.engine = "plain"
"""
)


def made(folder: Path, config: Config, stop_at: int | None = None) -> Run:
    steps = iter(range(1, 1000))
    with create(folder, config) as run:
        train(run, 1, observer=Observer(stop=lambda: next(steps) == stop_at))
    return run


def steps_after(advice: str, run: Run) -> int:
    """Follow the advice; return how many steps it brought."""
    before = run.metrics()["step"][-1]
    command = re.search(r"minigrok (.*)$", advice)
    assert command
    minigrok(*shlex.split(command[1]))
    return int(open_run(run.folder).metrics()["step"][-1] - before)


def test_a_run_that_was_interrupted_is_resumed(tmp_path: Path) -> None:
    run = made(tmp_path / "run", SMALL, stop_at=15)
    assert steps_after(more_steps(run), run) == 30


def test_a_run_that_ended_at_its_grok_goes_on_after_it(tmp_path: Path) -> None:
    run = made(tmp_path / "run", with_settings(SMALL, ["train.grok_threshold=0.0001", "train.grok_patience=1"]))
    assert run.metrics()["step"][-1] < 40
    assert steps_after(more_steps(run), run) > 0


def test_a_run_whose_budget_is_used_up_is_not_resumed(tmp_path: Path) -> None:
    run = made(tmp_path / "run", with_settings(SMALL, ["train.snapshot_every=40"]))
    assert "resume" not in more_steps(run)
    result = minigrok("analyse", "onset", run.folder, code=2, words=("three snapshots", "budget is used up"))
    assert "resume" not in result.stderr


def test_a_run_without_a_checkpoint_is_resumed(tmp_path: Path) -> None:
    with create(tmp_path / "run", SMALL) as run:
        assert "minigrok resume" in more_steps(run)
