"""Which snapshots the paper's procedures read: both logs, by family of runs, and runs that lack one of them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrok.config import Config, Model, Optimiser, Task, Train
from minigrok.errors import RunFolderError
from minigrok.network.params import initial
from minigrok.storage.cadence import Cadence, attention_log, cadence, checkpoints
from minigrok.storage.runs import Run, create

TASKS = {1: ("add",), 2: ("add", "mul"), 3: ("add", "mul", "sq")}


def config_of(tasks: int = 2, decay: float = 1.0, every: int = 100) -> Config:
    task, model = Task(p=5, operations=TASKS[tasks]), Model(width=4, heads=2, mlp_width=3)
    return Config("small", 1, task, model, optimiser=Optimiser(weight_decay=decay), train=Train(snapshot_every=every))


class Logged(Run):
    """A run that says it has these snapshots."""

    def snapshots(self) -> list[int]:
        return self.steps


def logged(steps: list[int], tasks: int = 2, decay: float = 1.0, every: int = 100) -> Run:
    run = Logged(Path("a run"), config_of(tasks, decay, every))
    run.steps = steps
    return run


@pytest.mark.parametrize(
    ("tasks", "decay", "expected"),
    [
        (2, 1.0, (100, 200)),
        (2, 0.5, (200, 200)),
        (2, 0.1, (200, 200)),
        (2, 0.0, (500, 500)),
        (3, 1.0, (100, 200)),
        (3, 0.1, (100, 200)),
        (3, 0.0, (100, 200)),
        (1, 1.0, (100, 200)),
        (1, 0.0, (500, 500)),
    ],
)
def test_the_cadence_of_every_family_of_his_runs(tasks: int, decay: float, expected: tuple[int, int]) -> None:
    assert cadence(config_of(tasks, decay)) == Cadence(*expected)


@given(
    last=st.integers(0, 4000),
    every=st.sampled_from([1, 2, 5, 10, 20, 25, 50, 100]),
    tasks=st.sampled_from([1, 2, 3]),
    decay=st.sampled_from([0.0, 0.1, 1.0]),
)
def test_every_run_saved_at_a_divisor_of_100_has_both_logs_whatever_its_end(
    last: int, every: int, tasks: int, decay: float
) -> None:
    steps = sorted({*range(0, last + 1, every), last})  # the last is saved where the run ends, on the grid or off
    run, (attention, full) = logged(steps, tasks, decay, every), cadence(config_of(tasks, decay))
    assert attention_log(run, "paper") == [step for step in range(last + 1) if step % attention == 0]
    assert checkpoints(run, "paper") == [step for step in range(last + 1) if step % full == 0]
    assert attention_log(run, "exact") == checkpoints(run, "exact") == steps


def test_a_last_snapshot_off_the_grid_is_no_checkpoint() -> None:
    run = logged([*range(0, 10_001, 100), 10_100])
    assert checkpoints(run, "paper")[-1] == 10_000
    assert attention_log(run, "paper")[-1] == 10_100
    run = logged([*range(0, 10_001, 100), 10_037])
    assert attention_log(run, "paper")[-1] == 10_000


def test_a_run_saved_every_200_has_checkpoints_and_no_attention_log() -> None:
    run = logged([*range(0, 10_001, 200), 10_100], every=200)
    assert checkpoints(run, "paper")[-1] == 10_000
    with pytest.raises(RunFolderError) as caught:
        attention_log(run, "paper")
    error = caught.value
    assert error.required == "the paper's attention log in a run: a snapshot every 100 steps, from 0 to 10100"
    assert error.got == "no snapshot of step 100, 300, 500, ... (train.snapshot_every = 200)"
    assert error.do == "train with --set train.snapshot_every=100, or take --protocol exact"
    assert attention_log(logged(run.snapshots(), decay=0.5, every=200), "paper")[-1] == 10_000


@pytest.mark.parametrize("every", [3, 150, 300, 500])
def test_a_cadence_that_his_is_no_multiple_of_is_an_error(every: int) -> None:
    run = logged(list(range(0, 6001, every)), every=every)
    for log in (attention_log, checkpoints):
        with pytest.raises(RunFolderError, match=r"train with --set train.snapshot_every=100"):
            log(run, "paper")


def test_snapshots_that_were_taken_away_are_named() -> None:
    steps = [step for step in range(0, 2001, 100) if step not in (400, 1300)]
    with pytest.raises(RunFolderError, match=r"got: no snapshot of step 400 \(.* do: restore them from a copy"):
        checkpoints(logged(steps), "paper")
    with pytest.raises(RunFolderError, match=r"no snapshot of step 400, 1300 \("):
        attention_log(logged(steps), "paper")
    with pytest.raises(RunFolderError, match=r"no snapshot of step 0, 400 "):
        checkpoints(logged(steps[1:]), "paper")


def test_a_run_that_has_only_begun(tmp_path: Path) -> None:
    assert attention_log(logged([]), "paper") == checkpoints(logged([]), "paper") == []
    assert checkpoints(logged([0]), "paper") == [0]
    with create(tmp_path / "a", config_of()) as run:
        run.save_snapshot(0, initial(run.config))
        run.save_snapshot(50, initial(run.config))  # stopped before the first entry
    assert (attention_log(run, "paper"), checkpoints(run, "paper")) == ([0], [0])
