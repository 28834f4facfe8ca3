"""Runs of a sweep that take their plane from another run of it wait for that run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_sweeps import all_bits
from test_sweep import Here

from minigrok.experiments.cells import awaited, look_at_all
from minigrok.experiments.local import Local
from minigrok.experiments.sweep import Watcher, conduct
from minigrok.experiments.sweep_file import Sweep, read_sweep

TEXT = """
name = "sources"
[base]
preset = "tiny"
task.p = 7
model.width = 8
model.heads = 2
model.mlp_width = 4
train.batch_size = 4
train.max_steps = 40
train.eval_every = 10
train.snapshot_every = 2
train.grok_threshold = 1e-9
train.grok_patience = 3
train.after_grok = 20
intervention.source = "tiny-s{seed}"
intervention.start = 15
intervention.rank = 2
[[grid]]
intervention.arm = ["deletion"]
intervention.dose = [0.0, 0.5]
seed = [1, 2]
[[runs]]
name = "norm"
seed = 1
intervention.arm = "norm"
intervention.dose = 0.5
[[grid]]
seed = [1, 2]
intervention.source = ""
intervention.start = 500
intervention.rank = 20
"""
INTERVENED = [f"tiny-deletion-{dose}-s{seed}" for dose in ("0", "0.5") for seed in (1, 2)]
SOURCES = ["tiny-s1", "tiny-s2"]


def sweep() -> Sweep:
    return read_sweep(TEXT)


def test_names_and_what_each_run_waits_for() -> None:
    found = {config.name: awaited(sweep(), config) for config in sweep().configs}
    assert list(found) == [*INTERVENED, *SOURCES, "norm"]
    assert list(found.values()) == [*SOURCES, *SOURCES, "", "", ""]
    outside = read_sweep(TEXT, {"intervention.source": "../elsewhere/tiny-s1"})
    assert not any(awaited(outside, config) for config in outside.configs)
    dotted = read_sweep(TEXT.replace('"tiny-s{seed}"', '"./tiny-s{seed}"'))
    assert awaited(dotted, dotted.configs[0]) == "tiny-s1"


def test_sources_come_first_whatever_their_place_in_the_file(tmp_path: Path) -> None:
    here = Here()
    assert conduct(sweep(), tmp_path / "s", here).complete
    assert here.done == [*SOURCES, "norm", *INTERVENED]
    again = Here()
    assert conduct(sweep(), tmp_path / "s", again).jobs == 0
    shutil.rmtree(tmp_path / "s" / INTERVENED[0])
    assert conduct(sweep(), tmp_path / "s", again).complete
    assert again.done == [INTERVENED[0]]


def test_processes_give_the_same_bits(tmp_path: Path) -> None:
    assert conduct(sweep(), tmp_path / "here", Here()).complete
    assert conduct(sweep(), tmp_path / "local", Local(2)).complete
    assert all_bits(tmp_path / "here", sweep()) == all_bits(tmp_path / "local", sweep())


def test_runs_whose_source_is_not_there_say_so_and_go_on_next_time(tmp_path: Path) -> None:
    out = tmp_path / "s"
    conduct(sweep(), out, Here(), only=["*-deletion-*"])
    cells = {cell.config.name: cell for cell in look_at_all(out, sweep())}
    assert {cells[name].state for name in INTERVENED} == {"failed"}
    assert cells[INTERVENED[0]].reason == "waits for tiny-s1: not trained"
    conduct(sweep(), out, Here(), only=["*-s1"])
    states = {cell.config.name: cell.state for cell in look_at_all(out, sweep())}
    assert [states[name] for name in INTERVENED] == ["done", "failed", "done", "failed"]
    assert conduct(sweep(), out, Here()).complete


def test_a_sitting_that_is_stopped_fails_nobody_who_waits(tmp_path: Path) -> None:
    stopped = conduct(sweep(), tmp_path, Here(), Watcher(stop=lambda: True))
    assert stopped.stopped
    assert {cell.state for cell in stopped.cells} <= {"not begun", "half done"}


@pytest.mark.parametrize("patience", [3, 100])
def test_a_source_that_never_groks_is_the_reason_of_those_who_need_it(tmp_path: Path, patience: int) -> None:
    changed = read_sweep(TEXT, {"train.grok_patience": patience})
    found = conduct(changed, tmp_path, Here())
    assert found.complete == (patience == 3)
    reasons = {cell.config.name: cell.reason for cell in found.cells}
    assert all(("has not grokked" in reasons[name]) == (patience == 100) for name in INTERVENED)
    assert not any(reasons[name] for name in [*SOURCES, "norm"])
