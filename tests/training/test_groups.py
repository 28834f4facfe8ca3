"""Accuracies on test pairs with and without a partner in train: what the columns are, and who has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from minigrok.config import Config, Model, Task, Train, with_settings
from minigrok.network.evaluation import Evaluation
from minigrok.storage.metrics import read_columns
from minigrok.storage.milestones import GROUPS, is_of_group, milestones, standings
from minigrok.storage.runs import create, open_run
from minigrok.tasks import pairs, with_partner
from minigrok.training.run_state import groups
from minigrok.training.train import train
from minigrok.training.trainer import Trainer

CONFIG = Config(
    "groups",
    seed=1,
    task=Task(p=11, operations=("add", "mul", "x3_xy")),
    model=Model(width=16, heads=2, mlp_width=16),
    train=Train(batch_size=32, max_steps=40, eval_every=10, snapshot_every=20),
)
WITHOUT = [f"{name}_{task}" for task in CONFIG.task.operations for name in GROUPS]


def test_columns_are_the_accuracies_of_the_groups(tmp_path: Path) -> None:
    """Recomputed pair by pair from a snapshot, by a sum over the groups, and absent for a group without pairs."""
    with create(tmp_path / "run", CONFIG) as run:
        train(run)
    columns, trainer, data = run.metrics(), Trainer(CONFIG), pairs(CONFIG.task, CONFIG.seed)
    assert [name for name in columns if is_of_group(name)] == [x for x in WITHOUT if x != f"{GROUPS[0]}_x3_xy"]
    trainer.theta[:] = run.load_snapshot(40)
    correct, found = trainer.scores("test").correct, with_partner(CONFIG.task, data)
    for k, task in enumerate(CONFIG.task.operations):
        for has, name in zip((True, False), GROUPS, strict=True):
            right = [hit for hit, member in zip(correct[k], found[k], strict=True) if member == has]
            if right:
                assert columns[f"{name}_{task}"][-1] == pytest.approx(np.mean(right))
        n = [(found[k] == has).sum() for has in (True, False)]
        parts = sum(columns[f"{x}_{task}"] * size for x, size in zip(GROUPS, n, strict=True) if size) / sum(n)
        assert parts == pytest.approx(columns[f"test_accuracy_{task}"])


def test_a_split_of_whole_orbits_has_one_group(tmp_path: Path) -> None:
    config = with_settings(CONFIG, ["task.split=orbits", "train.max_steps=10"])
    with create(tmp_path / "run", config) as run:
        train(run)
    columns = run.metrics()
    assert [name for name in columns if is_of_group(name)] == [f"{GROUPS[1]}_{x}" for x in config.task.operations]
    for task in config.task.operations:
        assert np.array_equal(columns[f"{GROUPS[1]}_{task}"], columns[f"test_accuracy_{task}"])


def test_a_run_of_before_the_columns_is_read_and_goes_on_without_them(tmp_path: Path, monkeypatch) -> None:
    with create(tmp_path / "new", CONFIG) as new:
        train(new)
    with monkeypatch.context() as patch:  # as an earlier minigrok wrote it
        patch.setattr("minigrok.training.run_state.groups", lambda config, found: {})
        with create(tmp_path / "old", with_settings(CONFIG, ["train.max_steps=20"])) as begun:
            train(begun)
    text = (tmp_path / "old" / "config.toml").read_text()
    assert "partner" not in (tmp_path / "old" / "metrics.csv").read_text()
    assert "split" not in text
    before = begun.metrics()
    assert milestones(CONFIG, before)
    assert standings(CONFIG, before)[0].test_accuracy == before["test_accuracy_add"][-1]
    with create(tmp_path / "longer", CONFIG) as longer:  # the same state, with steps left
        longer.save_checkpoint(*(begun.load_checkpoint() or ({}, {})))
        (longer.folder / "metrics.csv").write_bytes((begun.folder / "metrics.csv").read_bytes())
        longer.save_snapshot(0, begun.load_snapshot(0))
        train(longer)
    columns, whole = open_run(longer.folder).metrics(), new.metrics()
    assert not any(map(is_of_group, columns))
    assert all(np.array_equal(columns[name], whole[name]) for name in columns)


def test_a_resumed_run_keeps_its_columns(tmp_path: Path) -> None:
    with create(tmp_path / "run", with_settings(CONFIG, ["train.max_steps=20"])) as run:
        train(run)
    trainer = Trainer(run.config)
    with run:
        trainer.begin(run)
    assert [*trainer.groups] == [name for name in read_columns(run.folder / "metrics.csv") if is_of_group(name)]


def test_groups_need_no_further_pass(monkeypatch) -> None:
    calls: list[int] = []
    trainer, scores = Trainer(CONFIG), Evaluation.scores
    monkeypatch.setattr(Evaluation, "scores", lambda self: calls.append(1) or scores(self))
    trainer.counters.step = 1
    assert trainer.evaluate()[WITHOUT[0]] >= 0
    assert len(calls) == 2  # train and test


def test_a_group_without_pairs_has_no_column() -> None:
    none = np.zeros((3, 5), np.bool_)
    assert [*groups(CONFIG, none)] == [f"{GROUPS[1]}_{x}" for x in CONFIG.task.operations]
    assert [*groups(CONFIG, ~none)] == [f"{GROUPS[0]}_{x}" for x in CONFIG.task.operations]
