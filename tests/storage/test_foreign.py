"""Folders and files that somebody else made, or that were damaged: never silent, never outside, never a hang."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from kills import contents
from safetensors.numpy import save_file

from minigrok.config import Config, Model, Task, differences
from minigrok.errors import RunFolderError
from minigrok.network.params import initial, layout
from minigrok.storage import files
from minigrok.storage.files import inside, is_temporary, read_arrays, tidy, write_arrays, write_atomically
from minigrok.storage.runs import Run, create, load_weights, open_run

SMALL = Config("small", task=Task(p=5), model=Model(width=4, heads=2, mlp_width=3, blocks=2))
THETA = initial(SMALL)
READ = ("snapshots/000200.safetensors", "checkpoint.safetensors", "config.toml", "metrics.csv")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = create(tmp_path / "runs" / "small", SMALL)
    run.save_snapshot(200, THETA)
    run.save_checkpoint({"theta": THETA}, {"step": 1})
    run.append_metrics({"step": 1, "loss": 2.0})
    run.close()
    return run


def read_all(run: Run) -> None:
    again = open_run(run.folder)
    again.load_snapshot(200)
    again.load_checkpoint()
    again.metrics()


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("name", READ[:2])
def test_a_flipped_bit_or_a_cut_is_seen(run: Run, name: str) -> None:
    path = run.folder / name
    whole = path.read_bytes()
    for bit in range(0, 8 * len(whole), 37):
        path.write_bytes(flipped(whole, bit))
        with pytest.raises(RunFolderError):
            read_all(run)
    for size in range(0, len(whole), 10):
        path.write_bytes(whole[:size])
        with pytest.raises(RunFolderError):
            read_all(run)
    path.write_bytes(whole)
    read_all(run)


def test_a_flipped_bit_of_the_config_is_seen_or_means_the_same(run: Run) -> None:
    path = run.folder / "config.toml"
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        path.write_bytes(flipped(whole, bit))
        try:
            found = open_run(run.folder).config
        except RunFolderError:
            continue
        assert (
            differences(found, SMALL) == []
        )  # a space, a comment, 1E-05 for 1e-05, or the name, which decides nothing


@pytest.mark.parametrize("dtype", ["float16", "int32", "bool"])
def test_parameters_of_another_dtype_are_refused(tmp_path: Path, dtype: str) -> None:
    parts = layout(SMALL)
    save_file({name: x.astype(dtype) for name, x in parts.views(THETA).items()}, tmp_path / "weights.safetensors")
    with pytest.raises(RunFolderError, match="float32 or float64"):
        load_weights(tmp_path / "weights.safetensors", parts)


def test_parameters_of_another_program_have_no_checksum_and_are_read(tmp_path: Path) -> None:
    parts = layout(SMALL)
    save_file(parts.views(THETA), tmp_path / "weights.safetensors")
    assert np.array_equal(load_weights(tmp_path / "weights.safetensors", parts), THETA)


def test_a_checksum_is_of_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_arrays(path, {"x": np.arange(3.0)}, {"step": 1})
    assert files.is_sealed(path, path.read_bytes())
    other = path.read_bytes().replace(b"step", b"stop")
    path.write_bytes(other)
    with pytest.raises(RunFolderError, match="checksum"):
        read_arrays(path)


# --- links, pipes, devices, sizes


@pytest.mark.parametrize(
    ("link", "action"),
    [
        ("snapshots", lambda run: run.save_snapshot(400, THETA)),
        ("snapshots/000400.safetensors", lambda run: run.save_snapshot(400, THETA)),
        ("checkpoint.safetensors", lambda run: run.save_checkpoint({"theta": THETA}, {"step": 1})),
        ("metrics.csv", lambda run: run.append_metrics({"step": 2, "loss": 1.0})),
        ("metrics.csv", lambda run: run.truncate_metrics(0)),
        ("analysis", lambda run: run.path("analysis", "gram")),
    ],
)
def test_no_link_below_a_run_is_followed_for_writing(run: Run, link: str, action: Callable[[Run], object]) -> None:
    outside = run.folder.parent / "outside"
    outside.mkdir()
    (outside / "mine").write_text("step,loss\n1,2.0\n")
    place = run.folder / link
    target = outside if link in {"snapshots", "analysis"} else outside / "mine"
    if place.is_dir():
        place.rename(run.folder / "before")
    place.unlink(missing_ok=True)
    place.symlink_to(target)
    before = contents(outside)
    with pytest.raises(RunFolderError, match=r"links|other|safetensors"):
        action(open_run(run.folder))
    assert contents(outside) == before


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "figure.svg").symlink_to(tmp_path / "mine")
    write_atomically(tmp_path / "figure.svg", b"new")
    assert (tmp_path / "mine").read_text() == "mine"
    assert (tmp_path / "figure.svg").read_bytes() == b"new"
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(RunFolderError, match="no links below"):
        inside(tmp_path, "link", "file")


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("kind", ["pipe", "device", "sparse", "folder"])
def test_what_is_no_file_of_a_believable_size_is_refused_at_once(run: Run, name: str, kind: str) -> None:
    path = run.folder / name
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        with path.open("wb") as file:
            file.truncate(2**40)
    with pytest.raises(RunFolderError):
        read_all(run)


def test_a_table_is_read_beside_a_checkpoint_that_is_a_pipe(run: Run) -> None:
    """It is asked how far the run was trained, and must not wait for somebody to write."""
    (run.folder / "checkpoint.safetensors").unlink()
    os.mkfifo(run.folder / "checkpoint.safetensors")
    assert len(run.metrics()["step"]) == 1


def test_files_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        run = create(tmp_path / "run", SMALL)
        run.append_metrics({"step": 1, "loss": 1.0})
        run.close()
    finally:
        os.umask(before)
    modes = {path.name: path.lstat().st_mode & 0o077 for path in run.folder.iterdir() if not path.is_symlink()}
    assert set(modes.values()) == {0}, modes


def test_what_a_kill_leaves_is_removed_later(tmp_path: Path) -> None:
    for name in ("a.csv.0123456789ab.tmp", "mine.tmp"):
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / "b.csv.0123456789ab.tmp").write_text("")  # at work now
    tidy(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"mine.tmp", "b.csv.0123456789ab.tmp"}
    assert is_temporary("b.csv.0123456789ab.tmp")


def test_a_checkpoint_without_a_state_is_refused(run: Run) -> None:
    note = {"config_hash": read_arrays(run.folder / "checkpoint.safetensors")[1]["config_hash"]}
    (run.folder / "checkpoint.safetensors").unlink()
    save_file({"theta": THETA}, run.folder / "checkpoint.safetensors", {"minigrok": json.dumps(note)})
    with pytest.raises(RunFolderError, match="no state"):
        run.load_checkpoint()


@pytest.mark.parametrize(
    "change",
    [
        *({"step": step} for step in ("1", 1.0, -1, True, None, 10**400, 10**9)),
        *({"stream_position": position} for position in (-7, 625, 10**30, 3.0)),
        *({"grok_step": steps} for steps in (None, [], [None] * 9, [1, "2"], [-1, 2])),
        *({"streak": [0]}, {"streak": [0, 0.5]}, {"seconds": "1"}, {"seconds": -1.0}, {"grad_norm": None}),
        *({"after_grok": -3}, {"after_grok": "3"}, {"kicks": 3}, {"kicks": {"kicks": "many"}}),
    ],
)
def test_a_checkpoint_of_counters_that_no_training_reaches_is_refused(run: Run, change: dict[str, object]) -> None:
    good = {"step": 1, "stream_position": 624, "grok_step": [None, 1], "streak": [0, 1], "grad_norm": float("nan")}
    with run:
        run.save_checkpoint({"theta": THETA}, good | {"seconds": 0.5, "after_grok": None})
        run.load_checkpoint()
        run.save_checkpoint({"theta": THETA}, good | change)
    with pytest.raises(RunFolderError, match=f"{next(iter(change))} .*no training"):
        run.load_checkpoint()


@pytest.mark.parametrize("step", [10**12, 10**400])
def test_a_damaged_step_does_not_make_a_list_of_its_length(run: Run, step: int) -> None:
    with run:
        run.save_checkpoint({"theta": THETA}, {"step": step})
    with pytest.raises(RunFolderError, match="every evaluation"):
        run.metrics()
