"""`verify`: a folder that was left alone is whole; damage of every kind is found and named, and nothing is changed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import invoke
from kills import contents
from safetensors.numpy import save_file
from small_sweeps import Here, small

from minigrok.analyses import ANALYSES
from minigrok.analyses.perform import perform
from minigrok.config import with_settings
from minigrok.errors import RunFolderError
from minigrok.experiments.sweep import conduct
from minigrok.experiments.thinning import thin
from minigrok.experiments.verify import verify
from minigrok.storage.files import read_arrays, write_arrays
from minigrok.storage.runs import Run, create, open_run
from minigrok.training.train import train

CONFIG = small(seeds=(1,)).configs[0]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify") / "run"
    with create(folder, CONFIG) as run:
        train(run, 1)
        perform(ANALYSES["trajectory_pca"], [run], ANALYSES["trajectory_pca"].settings())
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Run:
    shutil.copytree(trained, tmp_path / "run")
    return open_run(tmp_path / "run")


def wrong(folder: Path) -> list[str]:
    return [finding.file for finding in verify(folder) if finding.wrong]


def test_a_run_that_was_left_alone_is_whole_and_not_touched(run: Run) -> None:
    before = contents(run.folder)
    assert wrong(run.folder) == []
    assert contents(run.folder) == before


@pytest.mark.parametrize("setting", ["compute.portable=true", 'compute.engine="cuda"'])
def test_a_run_of_another_process_is_whole_in_this_one(trained: Path, tmp_path: Path, setting: str) -> None:
    """Portable mode and a device are for making steps; to look, none of them is needed."""
    arrays, note = read_arrays(trained / "checkpoint.safetensors")
    made = open_run(trained)
    with create(tmp_path / "other", with_settings(CONFIG, [setting])) as run:
        for step in made.snapshots():
            run.save_snapshot(step, made.load_snapshot(step))
        run.save_checkpoint(arrays, note["state"])
    shutil.copy(trained / "metrics.csv", run.folder)
    assert wrong(run.folder) == []


def test_a_run_that_was_thinned_once_or_twice_is_whole(run: Run) -> None:
    for keep in (3, 2):
        thin(run, keep)
        assert wrong(run.folder) == []


def test_every_file_with_a_flipped_bit_is_named(run: Run) -> None:
    for path in sorted(
        path for path in run.folder.rglob("*.*") if path.suffix not in {".lock", ".owner", ".png", ".svg"}
    ):
        if not path.is_file() or path.name.startswith("."):
            continue
        whole = path.read_bytes()
        for at in (len(whole) // 3, len(whole) - 2):
            changed = bytearray(whole)
            changed[at] ^= 2
            path.write_bytes(changed)
            found = wrong(run.folder)
            place = path.relative_to(run.folder)
            assert any(str(place) == file or str(place.parent) == file for file in found), (place, at, found)
        path.write_bytes(whole)
    assert wrong(run.folder) == []


def remove_row(run: Run) -> None:
    path = run.folder / "metrics.csv"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def other_theta(run: Run) -> None:
    """Train on by one step, as nobody did: a checkpoint that is whole, with other parameters."""
    arrays, note = read_arrays(run.folder / "checkpoint.safetensors")
    arrays["theta"] *= 2
    write_arrays(run.folder / "checkpoint.safetensors", arrays, note)


def lose_key(run: Run) -> None:
    arrays, note = read_arrays(run.folder / "checkpoint.safetensors")
    del arrays["adam_v"]
    write_arrays(run.folder / "checkpoint.safetensors", arrays, note)


def poison(run: Run) -> None:
    arrays, note = read_arrays(run.snapshot_path(20))
    next(iter(arrays.values())).flat[0] = float("nan")
    write_arrays(run.snapshot_path(20), arrays, note)


def swap(run: Run) -> None:
    shutil.copy(run.snapshot_path(20), run.snapshot_path(40))


def spoil_moment(run: Run) -> None:
    arrays, note = read_arrays(run.folder / "checkpoint.safetensors")
    arrays["adam_m"][0] = float("nan")
    write_arrays(run.folder / "checkpoint.safetensors", arrays, note)


def unfinished(run: Run) -> None:
    (run.folder / "snapshots" / "000020.safetensors.0123456789ab.tmp").write_bytes(b"half")


@pytest.mark.parametrize(
    ("damage", "file"),
    [
        (other_theta, "checkpoint.safetensors"),
        (lose_key, "checkpoint.safetensors"),
        (spoil_moment, "checkpoint.safetensors"),
        (lambda run: run.snapshot_path(40).unlink(), "checkpoint.safetensors"),
        (lambda run: (run.folder / "checkpoint.safetensors").unlink(), "checkpoint.safetensors"),
        (poison, "snapshots/000020.safetensors"),
        (swap, "snapshots/000040.safetensors"),
        (unfinished, "snapshots/000020.safetensors.0123456789ab.tmp"),
        (lambda run: (run.folder / "link").symlink_to("/etc"), "link"),
        (lambda run: (run.folder / "analysis/trajectory_pca/result.json").unlink(), "analysis/trajectory_pca"),
    ],
)
def test_parts_that_do_not_agree_are_named(run: Run, damage: Callable[[Run], object], file: str) -> None:
    damage(run)
    assert wrong(run.folder) == [file]


def test_a_file_without_a_checksum_in_a_run_with_checksums_is_named(run: Run) -> None:
    arrays, note = read_arrays(run.snapshot_path(20))
    del note["checksum"]
    save_file(arrays, run.snapshot_path(20), {"minigrok": json.dumps(note)})
    assert wrong(run.folder) == ["snapshots/000020.safetensors"]


def test_an_analysis_that_goes_on_and_pictures_of_the_paper_are_nothing_wrong(run: Run) -> None:
    (run.folder / "analysis" / "mine").mkdir()
    (run.folder / "analysis" / "mine" / "figSNAP.png").write_bytes(b"")
    (run.folder / "analysis" / "gram" / "parts").mkdir(parents=True)
    assert wrong(run.folder) == []


def test_a_lost_row_is_missed_by_the_checkpoint(run: Run) -> None:
    remove_row(run)
    assert wrong(run.folder) == ["metrics.csv", "checkpoint.safetensors"]


def test_a_damaged_sweep(tmp_path: Path) -> None:
    sweep, out = small(seeds=(1, 2)), tmp_path / "sweep"
    conduct(sweep, out, Here())
    assert wrong(out) == []
    first, second = (out / config.name for config in sweep.configs[:2])
    (first / "snapshots" / "000020.safetensors").write_bytes(b"")
    shutil.move(second, tmp_path / "elsewhere")
    second.symlink_to(tmp_path / "elsewhere")
    assert wrong(out) == [f"{first.name}/snapshots/000020.safetensors", second.name]
    (out / "sweep.json").write_bytes(b"{}")
    assert wrong(out) == ["sweep.json"]


def test_the_command_says_what_is_wrong_and_what_to_do(run: Run) -> None:
    assert "0 wrong" in invoke("verify", str(run.folder)).output
    run.snapshot_path(20).write_bytes(b"")
    done = invoke("verify", str(run.folder))
    assert done.exit_code == 1
    assert "000020.safetensors" in done.output
    assert "do:" in done.output
    told = json.loads(invoke("verify", "--json", str(run.folder)).output)
    assert [each["file"] for each in told["wrong"]] == ["snapshots/000020.safetensors"]


def test_what_is_no_folder_of_minigrok_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="a run or a sweep"):
        list(verify(tmp_path))
