"""Plan, resume, retry, lock: a sweep under kills at every point ends with the bits of one that was left alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from small_sweeps import Here, all_bits, contents, kill, small, step_of, text, until

from minigrok.engine import provenance
from minigrok.errors import BusyError, ConfigError, RunFolderError
from minigrok.experiments import sweep as conducting
from minigrok.experiments.cells import look, look_at_all, missing_analyses, open_sweep, sweep_to_json, table
from minigrok.experiments.job import Outcome, perform_job, run_job
from minigrok.experiments.local import Local
from minigrok.experiments.sweep import Watcher, conduct, plan
from minigrok.experiments.sweep_file import read_sweep
from minigrok.storage.files import write_atomically
from minigrok.storage.lock import Lock, owner_of
from minigrok.storage.runs import create, open_run
from minigrok.training.observer import Observer
from minigrok.training.train import train

TOP = Path(__file__).parents[2]


def test_a_sweep_runs_what_is_missing_and_then_does_nothing(tmp_path: Path) -> None:
    sweep, out, here = small(seeds=(1, 2), analyses=("trajectory_pca", "grok_order")), tmp_path / "s", Here()
    assert [cell.state for cell in plan(sweep, out)] == ["not begun"] * 4
    first = conduct(sweep, out, here, only=["*-s2"])
    assert not first.complete
    assert here.done == ["tiny-wd1-s2", "tiny-wd0.1-s2"]
    assert [cell.state for cell in plan(sweep, out)] == ["not begun", "done"] * 2
    second = conduct(sweep, out, here)
    assert second.complete
    assert here.done[2:] == ["tiny-wd1-s1", "tiny-wd0.1-s1", "compare-grok_order-exact"]
    assert open_sweep(out) == sweep
    assert (out / "status.png").stat().st_size > 1000
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in out.rglob("*") if path.is_file()}
    third = conduct(sweep, out, here)
    assert (third.jobs, third.complete) == (0, True)
    assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in out.rglob("*") if p.is_file()} == before
    with pytest.raises(ConfigError, match="a pattern: tiny-wd1-s1, "):
        conduct(sweep, out, here, only=["none"])


def test_a_run_that_fails_is_named_with_its_reason_and_tried_again_next_time(tmp_path: Path) -> None:
    sweep, out = small(seeds=(1,)), tmp_path / "s"
    conduct(sweep, out, Here())
    name = sweep.configs[0].name
    (out / name / "checkpoint.safetensors").write_bytes(b"damaged")
    failed = conduct(sweep, out, Here())
    assert [cell.state for cell in failed.cells] == ["failed", "done"]
    assert "complete safetensors file" in failed.cells[0].reason
    assert "safetensors" in (out / "table.csv").read_text()
    shutil.rmtree(out / name)
    assert look(out, sweep.configs[0], ()).state == "failed"
    assert conduct(sweep, out, Here()).complete
    assert not list((out / "failures").iterdir())


def test_folders_of_others_are_not_touched(tmp_path: Path) -> None:
    sweep, out = small(seeds=(1,)), tmp_path / "s"
    conduct(sweep, out, Here())
    before = contents(out)
    with pytest.raises(ConfigError, match=r"another configuration: train\.max_steps 60, not 80"):
        conduct(small(seeds=(1,), steps=80), out, Here())
    other = read_sweep('name = "other"\n[[runs]]\npreset = "tiny"\n')
    with pytest.raises(ConfigError, match="a folder of the sweep other"):
        plan(other, out)
    assert contents(out) == before
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.rmtree(out / sweep.configs[0].name)
    (out / sweep.configs[0].name).symlink_to(outside)
    with pytest.raises(RunFolderError, match="no links below"):
        conduct(sweep, out, Here())
    assert not list(outside.iterdir())


def test_one_conductor_at_a_time(tmp_path: Path) -> None:
    out = tmp_path / "s"
    out.mkdir()
    lock = Lock(out)
    lock.take()
    with pytest.raises(BusyError, match="only writer"):
        conduct(small(seeds=(1,)), out, Here())


def test_a_duplicate_waits_for_the_folder_and_then_finds_it_done(tmp_path: Path) -> None:
    sweep, out = small(seeds=(1,)), tmp_path / "s"
    conduct(sweep, out, Here(), only=["*-wd0.1-*"])
    config = sweep.configs[0]
    with create(out / config.name, config) as run:
        assert look(out, config, ()).state == "running"
        found: list[Outcome] = []
        job = run_job(out, sweep, config.name)
        duplicate = threading.Thread(target=lambda: found.append(perform_job(job, lambda: False)))
        duplicate.start()
        train(run, 1)
        bits = contents(out / config.name)
        assert duplicate.is_alive()
    duplicate.join(60)
    assert found == [Outcome(config.name, True)]
    after = contents(out / config.name)
    assert bits["metrics.csv"] == after["metrics.csv"]


def test_a_duplicate_can_be_stopped_while_it_waits(tmp_path: Path) -> None:
    sweep, out = small(seeds=(1,)), tmp_path / "s"
    conduct(sweep, out, Here(), only=["*-wd0.1-*"])
    config = sweep.configs[0]
    with create(out / config.name, config):
        assert perform_job(run_job(out, sweep, config.name), lambda: True).stopped


def test_other_versions_and_storage_that_is_not_shared_are_refused(tmp_path: Path) -> None:
    sweep, out = small(seeds=(1,)), tmp_path / "s"
    job = run_job(out, sweep, sweep.configs[0].name)
    assert "no sweep.json there" in perform_job(job, lambda: False).reason
    job["versions"]["numpy"] = "0.9"
    assert "install the same everywhere" in perform_job(job, lambda: False).reason
    assert not out.exists()


def test_a_sweep_that_is_deleted_ends_with_an_error_and_is_not_made_again(tmp_path: Path) -> None:
    sweep, out = small(seeds=(1,)), tmp_path / "s"

    def deleting() -> bool:
        if (out / sweep.configs[0].name / "metrics.csv").exists():
            shutil.rmtree(out)
        return False

    with pytest.raises(RunFolderError, match="nothing there: it was moved or deleted"):
        conduct(sweep, out, Here(), Watcher(stop=deleting))
    assert not out.exists()


def test_a_job_waits_for_somebody_at_the_same_analysis(tmp_path: Path) -> None:
    sweep, out = small(seeds=(1,), analyses=("trajectory_pca",)), tmp_path / "s"
    conduct(small(seeds=(1,)), out, Here())
    (out / "sweep.json").write_bytes(sweep_to_json(sweep))
    run, waited = open_run(out / sweep.configs[0].name), []
    parts = run.folder / "analysis" / "trajectory_pca" / "parts"
    parts.mkdir(parents=True)
    with Lock(parts) as lock:

        def stop() -> bool:
            waited.append(len(list(parts.iterdir())))
            if len(waited) > 3:
                lock.release()
            return False

        assert perform_job(run_job(out, sweep, run.config.name), stop).ok
    assert len(waited) > 3
    assert missing_analyses(run, sweep.orders) == ()


@pytest.mark.parametrize("asked", [False, True])
def test_a_run_that_was_begun_with_other_versions_goes_on_if_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    seen: list[bool] = []
    monkeypatch.setattr(provenance, "compare", lambda recorded, where, portable, other: seen.append(other))
    sweep, out = small(seeds=(1,)), tmp_path / "s"
    with create(out / sweep.configs[0].name, sweep.configs[0]) as run:
        train(run, 1, observer=Observer(stop=lambda: True))
    conduct(sweep, out, Here(), other_versions=asked)
    assert seen == [asked]


# --- processes


def test_processes_give_the_bits_of_one_process_and_a_killed_one_is_replaced(tmp_path: Path) -> None:
    sweep, out = small(steps=1200, seeds=(1,)), tmp_path / "s"
    conduct(sweep, tmp_path / "alone", Here())
    victim = out / sweep.configs[0].name
    sitting = threading.Thread(target=lambda: conduct(sweep, out, Local(workers=2)))
    sitting.start()
    owner = until(lambda: step_of(victim) >= 0 and owner_of(victim))
    first = kill(owner[0].pid)
    second = until(lambda: (found := owner_of(victim)) and found[0].pid != first and found[0].pid)
    kill(second)
    sitting.join(120)
    assert [cell.state for cell in look_at_all(out, sweep)] == ["done"] * 2
    assert all_bits(out, sweep) == all_bits(tmp_path / "alone", sweep)


def test_what_dies_every_time_is_given_up_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = tmp_path / "python"
    dead.write_text("#!/bin/sh\necho once >> $0.calls\nkill -9 $$\n")
    dead.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(dead))
    done = conduct(small(seeds=(1,)), tmp_path / "s", Local(workers=1, retries=2))
    assert [cell.state for cell in done.cells] == ["failed"] * 2
    assert "its process died (signal 9, SIGKILL)" in done.cells[0].reason
    assert len((tmp_path / "python.calls").read_text().split()) == 2 * 3


def test_stopping_saves_and_the_same_call_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    sweep, out = small(steps=1500, seeds=(1,)), tmp_path / "s"
    first = out / sweep.configs[0].name
    done = conduct(sweep, out, Local(workers=1), Watcher(stop=lambda: (first / "metrics.csv").exists()))
    assert done.stopped
    assert [cell.state for cell in done.cells] == ["half done", "not begun"]
    assert 0 < step_of(first) < 1500
    assert conduct(sweep, out, Local(workers=2)).complete
    conduct(sweep, tmp_path / "alone", Here())
    assert all_bits(out, sweep) == all_bits(tmp_path / "alone", sweep)


def test_a_conductor_that_is_killed_leaves_no_process_at_work(tmp_path: Path) -> None:
    """Its processes notice, save and end; the next conductor goes on."""
    (tmp_path / "s.toml").write_text(text(steps=1_000_000, seeds=(1,)))
    command = [sys.executable, "-m", "minigrok_cli", "sweep", "s.toml", "--out", "s", "--jobs", "1"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        folder = tmp_path / "s" / "tiny-wd1-s1"
        owner = until(lambda: (folder / "metrics.csv").exists() and owner_of(folder))
        assert owner[0].pid != process.pid
        process.kill()
    until(lambda: owner_of(folder) is None, 30)
    assert step_of(folder) > 0


# --- a kill at each call that changes the disk


def kill_at(number: int) -> None:
    """Make this process kill itself at its n-th such call; a write is half done then."""
    calls = count()

    def deadly(real: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            if next(calls) == number:
                if name == "write":
                    real(args[0], bytes(args[1])[: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **more)

        return call

    for name in ("write", "fsync", "replace", "symlink", "rename", "unlink", "mkdir"):
        setattr(os, name, deadly(getattr(os, name), name))


def cheap_picture(cells: Any, stem: Path) -> None:
    """In place of the status figure, which takes longer than all the rest."""
    write_atomically(stem.with_name("status.svg"), json.dumps([cell["state"] for cell in table(cells)]).encode())


def kills(folder: Path) -> int:
    """Kill a sweep at each call and conduct it again; the number of kills."""
    conducting.figure, conducting.save = (lambda cells: cells), cheap_picture  # type: ignore[assignment]
    sweep = small(steps=4, seeds=(1,), snapshots=1)
    thinned = type(sweep)(sweep.name, sweep.configs, sweep.orders, keep=3)
    conduct(thinned, folder / "alone", Here())
    expected, files = all_bits(folder / "alone", sweep), sorted(contents(folder / "alone"))
    for number in count():
        out = folder / "killed"
        child = os.fork()
        if child == 0:
            kill_at(number)
            conduct(thinned, out, Here())
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert conduct(thinned, out, Here()).complete, number
        assert all_bits(out, sweep) == expected, number
        assert sorted(contents(out)) == files, number
        assert [len(open_run(out / c.name).snapshots()) for c in sweep.configs] == [3, 3]
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            return number
        shutil.rmtree(out)
    raise AssertionError


@pytest.mark.slow
def test_a_kill_at_each_call_that_changes_the_disk_changes_nothing_in_the_end(tmp_path: Path) -> None:
    paths = [str(TOP), str(TOP / "tests"), str(TOP / "tests" / "experiments")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, __file__, str(tmp_path)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 60


if __name__ == "__main__":
    print(kills(Path(sys.argv[1])))
