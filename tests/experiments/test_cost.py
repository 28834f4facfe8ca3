"""Predictions of time and disk are bounds, and close ones."""

from pathlib import Path

from small_sweeps import contents, small

from minigrok.config import with_settings
from minigrok.display import duration
from minigrok.experiments import cost
from minigrok.experiments.sweep import plan
from minigrok.storage.runs import create
from minigrok.training import budget
from minigrok.training.train import train


def test_the_predicted_disk_is_a_bound_and_a_close_one(tmp_path: Path) -> None:
    config = small(seeds=(1,)).configs[0]
    with create(tmp_path / "run", config) as run:
        train(run, 1)
        size = sum(map(len, contents(run.folder).values()))
    assert size <= budget.disk(config) < 4 * size


def test_time_left_is_that_of_the_longest_run_or_of_all_over_the_workers() -> None:
    cells = plan(small(seeds=(1, 2)), Path("/no/such/folder"))
    known = {cost.shape(cells[0].config): 0.5}
    assert cost.left(cells, known, 1, None).seconds == 4 * 60 * 0.5
    assert cost.left(cells, known, 2, None).seconds == 2 * 60 * 0.5
    assert cost.left(cells, known, 99, None).seconds == 60 * 0.5
    assert duration(cost.left(cells, {}, 2, None).seconds) == "unknown"
    assert [duration(s) for s in (0.5, 40, 720, 3600 * 3.5, 86400 * 3)] == [
        "0.5 s",
        "40 s",
        "12 min",
        "3.5 h",
        "3.0 days",
    ]


def test_the_speed_of_a_portable_run_is_timed_in_any_process() -> None:
    assert 0 < cost.seconds_per_step(with_settings(small(seeds=(1,)).configs[0], ["compute.portable=true"])) < 10
