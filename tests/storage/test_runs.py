import json
import math
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from minigrok.config import Config, Model, Task, config_hash, from_toml, with_settings
from minigrok.errors import NonFiniteError, RunFolderError, ShapeError
from minigrok.network.params import initial, layout
from minigrok.storage.runs import Run, create, load_weights, open_run

SMALL = Config("small", task=Task(p=5), model=Model(width=4, heads=2, mlp_width=3, blocks=2))
THETA = initial(SMALL)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return create(tmp_path / "runs" / "small", SMALL)


def contents(folder: Path) -> dict[str, bytes]:
    files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*"))}
    return {name: path.read_bytes() if path.is_file() else b"folder" for name, path in files.items()}


# --- the folder


def test_a_run_can_be_opened_again(run: Run) -> None:
    run.append_metrics({"step": 1, "loss": 0.5})
    run.save_snapshot(0, THETA)
    run.save_checkpoint({"theta": THETA, "keys": np.arange(3, dtype=np.uint32)}, {"step": 1, "grokked": {}})
    before = contents(run.folder)

    again = open_run(run.folder)
    assert again.config == SMALL
    assert again.layout == layout(SMALL)
    assert {name: column.tolist() for name, column in again.metrics().items()} == {"step": [1], "loss": [0.5]}
    assert again.snapshots() == [0]
    assert np.array_equal(again.load_snapshot(0), THETA)
    loaded = again.load_checkpoint()
    assert loaded is not None
    arrays, state = loaded
    assert state == {"step": 1, "grokked": {}}
    assert np.array_equal(arrays["theta"], THETA)
    assert arrays["keys"].dtype == np.uint32
    assert contents(run.folder) == before, "reading must write nothing"


def test_a_runs_config_is_itself_a_configuration(run: Run) -> None:
    assert from_toml(run.folder / "config.toml") == SMALL


def test_a_new_run_is_empty(run: Run) -> None:
    assert (run.metrics(), run.snapshots(), run.load_checkpoint()) == ({}, [], None)


def test_an_empty_folder_will_do(tmp_path: Path) -> None:
    assert create(str(tmp_path), SMALL).folder == tmp_path


@pytest.mark.parametrize("name", ["notes.txt", "config.toml", "snapshots", ".hidden"])
def test_a_folder_in_use_is_refused_and_not_touched(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(RunFolderError, match=f"new or empty folder.*{name}.*choose another") as caught:
        create(tmp_path, SMALL)
    assert ("minigrok resume" in caught.value.do) == (name == "config.toml")
    assert contents(tmp_path) == before


def test_a_file_is_no_place_for_a_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunFolderError, match="is a file"):
        create(tmp_path / "file", SMALL)
    with pytest.raises(RunFolderError, match="permission to write"):
        create(tmp_path / "file" / "below", SMALL)


def test_what_is_not_a_run_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for path, got in ((tmp_path / "none", "is no folder"), (tmp_path / "file", "is no folder"), (tmp_path, "without")):
        with pytest.raises(RunFolderError, match=got) as caught:
            open_run(path)
        assert str(path) in caught.value.got


def _cut(text: str) -> str:
    return text[: text.index("config_hash")]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_cut, "as minigrok wrote it"),
        (lambda text: "", "as minigrok wrote it"),
        (lambda text: "minigrok = 3", "as minigrok wrote it"),
        (lambda text: "[minigrok", "as minigrok wrote it"),
        (lambda text: text.replace("format = 1", "format = 2"), "format 2, written by minigrok"),
        (lambda text: text.replace("weight_decay = 1.0", "weight_decay = 0.5"), "undo the change"),
        (lambda text: text.replace("weight_decay", "weight_decy"), "a setting that minigrok knows.*undo the change"),
        (lambda text: text.replace("p = 5", "p = 6"), "a prime.*undo the change"),
        (
            lambda text: text.replace('\nversion = "', '\nversion = "9.').replace("p = 5", "p = 7"),
            r"or read it with minigrok 9\.",
        ),
    ],
)
def test_a_config_that_was_damaged_or_edited_is_named(run: Run, damage: Callable[[str], str], message: str) -> None:
    path = run.folder / "config.toml"
    path.write_text(damage(path.read_text()))
    with pytest.raises(RunFolderError, match=message) as caught:
        open_run(run.folder)
    assert "config.toml" in str(caught.value) or "format" in message


def test_a_run_may_be_renamed(run: Run) -> None:
    path = run.folder / "config.toml"
    path.write_text(path.read_text().replace('name = "small"', 'name = "other"'))
    assert open_run(run.folder).config.name == "other"


def test_equal_runs_make_equal_folders(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with create(tmp_path / name, SMALL) as run:
            run.append_metrics({"step": 1, "loss": 1 / 3})
            run.save_snapshot(200, THETA)
            run.save_checkpoint({"theta": THETA, "m": THETA, "v": THETA}, {"step": 1, "b": 2, "a": [1.5, None]})
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


# --- snapshots and checkpoints


def test_snapshots_carry_pytorchs_names_and_their_origin(run: Run) -> None:
    for step in (1_000_200, 0, 200):
        run.save_snapshot(step, THETA + step)
    assert run.snapshots() == [0, 200, 1_000_200]
    assert (run.folder / "snapshots" / "000200.safetensors").exists()
    with safe_open(run.folder / "snapshots" / "000200.safetensors", framework="np") as file:
        assert set(file.keys()) == set(layout(SMALL).names)
        note = json.loads(file.metadata()["minigrok"])
    assert note.keys() == {"step", "config_hash", "version", "checksum"}
    assert (note["step"], note["config_hash"]) == (200, config_hash(SMALL))
    assert np.array_equal(run.load_snapshot(200), THETA + 200)
    assert run.load_snapshot(200).dtype == THETA.dtype


def test_a_snapshot_is_never_overwritten(run: Run) -> None:
    run.save_snapshot(0, THETA)
    before = contents(run.folder)
    run.save_snapshot(0, THETA)
    for other in (np.nextafter(THETA, np.float32(9)), THETA.astype(np.float64)):
        with pytest.raises(RunFolderError, match="other bits"):
            run.save_snapshot(0, other)
    assert contents(run.folder) == before


def test_not_a_number_is_saved_and_compared_by_its_bits(run: Run) -> None:
    """Whoever reads it says that such parameters are wanted: others get a reason."""
    broken = np.full_like(THETA, np.nan)
    run.save_snapshot(0, broken)
    run.save_snapshot(0, broken)
    assert np.isnan(run.load_snapshot(0, finite=False)).all()
    for read in (run.load_snapshot, run.theta, run.model):
        with pytest.raises(NonFiniteError, match=r"finite parameters.*the run had diverged"):
            read(0)


def test_theta_of_another_model_is_refused(run: Run) -> None:
    with pytest.raises(ShapeError):
        run.save_snapshot(0, THETA[:-1])
    assert run.snapshots() == []


def test_a_missing_snapshot_says_what_there_is(run: Run) -> None:
    run.save_snapshot(200, THETA)
    with pytest.raises(RunFolderError, match=r"step 300 .*snapshots: 200"):
        run.load_snapshot(300)


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 100, -4, -1])
def test_a_truncated_file_is_named(run: Run, keep: int) -> None:
    run.save_snapshot(0, THETA)
    run.save_checkpoint({"theta": THETA}, {})
    readers = {
        run.folder / "snapshots" / "000000.safetensors": lambda: run.load_snapshot(0),
        run.folder / "checkpoint.safetensors": run.load_checkpoint,
    }
    for path, read in readers.items():
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(RunFolderError, match=path.name):
            read()
        with pytest.raises(RunFolderError, match=path.name):
            load_weights(path, run.layout)


def test_files_of_another_run_or_step_are_named(run: Run, tmp_path: Path) -> None:
    other = create(tmp_path / "other", with_settings(SMALL, ["seed=1"]))
    other.save_snapshot(0, THETA)
    other.save_checkpoint({"theta": THETA}, {})
    run.save_snapshot(200, THETA)
    snapshots = run.folder / "snapshots"
    shutil.copy(other.folder / "snapshots" / "000000.safetensors", snapshots)
    shutil.copy(other.folder / "checkpoint.safetensors", run.folder)
    shutil.copy(snapshots / "000200.safetensors", snapshots / "000400.safetensors")
    for read in (lambda: run.load_snapshot(0), lambda: run.load_snapshot(400), run.load_checkpoint):
        with pytest.raises(RunFolderError, match="as this run wrote it"):
            read()
    shutil.copy(snapshots / "000200.safetensors", run.folder / "checkpoint.safetensors")
    with pytest.raises(RunFolderError, match="step 200"):
        run.load_checkpoint()


def test_any_array_goes_through_a_checkpoint(run: Run) -> None:
    arrays = {
        "transposed": np.arange(6.0).reshape(2, 3).T,
        "strided": np.arange(6)[::2],
        "scalar": np.array(3, dtype=np.int64),
        "flags": np.array([True, False]),
        "none": np.empty((0, 3), dtype=np.float32),
        "big_endian": np.array([1.5, 2.5], dtype=">f8"),
    }
    run.save_checkpoint(arrays, {"pi": math.pi, "big": 2**70})
    loaded = run.load_checkpoint()
    assert loaded is not None
    for name, array in arrays.items():
        assert np.array_equal(loaded[0][name], array), name
        assert loaded[0][name].shape == array.shape
        loaded[0][name][...] = 0  # free to be changed
    assert loaded[1] == {"pi": math.pi, "big": 2**70}


def test_weights_from_any_program(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    views = run.layout.views(THETA.astype(np.float64))
    save_file({name: np.ascontiguousarray(view) for name, view in views.items()}, path)
    theta = load_weights(str(path), run.layout)
    assert theta.dtype == np.float64
    assert np.array_equal(theta, THETA)
    del views["norm.bias"]
    save_file({name: np.ascontiguousarray(view) for name, view in views.items()}, path)
    with pytest.raises(RunFolderError, match=r"norm\.bias \(4,\) in .*weights\.safetensors"):
        load_weights(path, run.layout)
    with pytest.raises(RunFolderError, match=r"none\.safetensors"):
        load_weights(tmp_path / "none.safetensors", run.layout)


def test_a_dtype_that_numpy_lacks_is_named(run: Run, tmp_path: Path) -> None:
    if "ml_dtypes" in sys.modules:
        pytest.skip("ml_dtypes, which JAX brings, has taught NumPy bfloat16")
    header = json.dumps({"pos_emb": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    path = tmp_path / "half.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    with pytest.raises(RunFolderError, match=r"NumPy's dtypes.*half\.safetensors"):
        load_weights(path, run.layout)
