"""Reference outputs: what regenerate writes, check accepts; every kind of change to a number or a file is found."""

from __future__ import annotations

import json
import shutil
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from minigrok import reference
from minigrok.config import Config, Model, Task, Train, to_toml, with_settings
from minigrok.engine import portable
from minigrok.errors import EngineError
from minigrok.network.params import layout
from minigrok.reference import Comparison
from minigrok.reference import files as reference_files
from minigrok.reference import run as reference_run
from minigrok.reference.files import ReferenceOutputError
from minigrok.reference.numbers import Expected
from minigrok.storage.runs import create
from minigrok.training.observer import Observer
from minigrok.training.train import train

TOP = Path(__file__).parents[2]
CONFIG = Config(
    "small",
    task=Task(p=7),
    model=Model(width=8, heads=2, mlp_width=6, blocks=1),
    train=Train(batch_size=16, max_steps=60, eval_every=10, snapshot_every=25, grok_threshold=0.05),
)
SIZE = layout(CONFIG).size


def made_run(folder: Path, config: Config) -> Path:
    """Folder of a run that is still to be trained."""
    create(folder, config).close()
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reference, as regenerate made it."""
    folder = tmp_path_factory.mktemp("top") / "references" / "small"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(to_toml(CONFIG))
    rows = reference.regenerate(folder, made_run(folder.parents[2] / "run", CONFIG), "the first one")
    assert all(row.expected is None and not row.holds for row in rows)
    return folder


@pytest.fixture
def _no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than all the rest; the picture has tests of its own."""
    monkeypatch.setattr(reference_run, "training_figure", lambda run: None)
    monkeypatch.setattr(reference_run, "save", lambda figure, stem, endings: [])


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of it to be damaged."""
    return Path(shutil.copytree(made, tmp_path / "references" / "small"))


def failures(folder: Path) -> dict[str, Comparison]:
    return {row.name: row for row in reference.check(folder) if not row.holds}


def change(folder: Path, name: str, **values: Any) -> None:
    """Edit one number of expected.json."""
    numbers = json.loads((folder / "expected.json").read_text())
    (number,) = (n for n in numbers if n["name"] == name)
    number.update(values)
    (folder / "expected.json").write_text(json.dumps(numbers))


# --- a reference and its check


def test_what_was_made_is_found_again(made: Path) -> None:
    rows = reference.check(made)
    assert [row for row in rows if not row.holds] == []
    assert {row.tier for row in rows} == set(reference.TIERS)
    assert len(rows) == len({(row.tier, row.name) for row in rows}) > 40
    files = {path.name for path in made.iterdir()}
    assert files == {"config.toml", "expected.json", "table.csv", "input.npz", "environment.json", "figure.png"}


def test_every_number_says_its_unit_tolerance_reason_and_source(made: Path) -> None:
    for number in json.loads((made / "expected.json").read_text()):
        assert set(number) == {item.name for item in fields(Expected)}
        assert all(number[key].strip() for key in ("name", "unit", "why", "source"))
        a_count = "accuracy" in number["name"] and number["tier"] != "phenomenon"
        assert 0 < number["rtol"] <= 0.2 or (a_count and number["atol"] <= 1e-3)


def test_the_environment_is_kept(made: Path) -> None:
    kept = reference_files.read_environment(made)
    assert kept["reason"] == "the first one"
    assert {"date", "minigrok", "python", "packages", "cpu", "blas"} <= set(kept)


@pytest.mark.parametrize(
    "name",
    [
        "|g|",
        "d1 . g",
        "d2 . H d1",
        "|G d1|",
        "|J d1|",
        "train loss, add",
        "step 50: loss, mul",
        "step 1: gradient norm",
        "evaluation at step 10: test_loss_mul",
    ],
)
def test_a_number_beyond_its_tolerance_fails_and_one_within_holds(folder: Path, name: str) -> None:
    (kept,) = (number for number in reference_files.read_expected(folder) if number.name == name)
    assert kept.value is not None
    change(folder, name, value=kept.value * (1 + 0.5 * kept.rtol))
    assert failures(folder) == {}
    change(folder, name, value=kept.value * (1 + 2 * kept.rtol))
    assert list(failures(folder)) == [name]
    change(folder, name, value=float("nan"))
    assert list(failures(folder)) == [name]


def test_an_accuracy_is_a_count_that_must_be_met(folder: Path) -> None:
    change(folder, "test accuracy, add", value=0.5 + 1e-12)
    assert list(failures(folder)) == ["test accuracy, add"]


def test_phenomena_are_held_to_the_table_exactly(folder: Path) -> None:
    lines = (folder / "table.csv").read_text().splitlines(keepends=True)
    (folder / "table.csv").write_text("".join(lines[:-1]))
    assert "last step" in failures(folder), "the last row is missing"
    (folder / "table.csv").write_text("".join(lines))
    change(folder, "memorised, mul", value=60)
    assert list(failures(folder)) == ["memorised, mul"]


def test_weights_off_by_one_bit_fail(folder: Path) -> None:
    theta = reference_run.read_theta(folder, SIZE)
    theta.view(np.uint16)[200] ^= 1
    np.savez_compressed(folder / "input.npz", theta=theta, step=60)
    wrong = failures(folder)
    assert wrong
    assert {row.tier for row in wrong.values()} == {"exact"}


def test_another_config_fails_in_the_prefix(folder: Path) -> None:
    (folder / "config.toml").write_text(to_toml(with_settings(CONFIG, ["optimiser.weight_decay=0.999"])))
    assert {row.tier for row in failures(folder).values()} == {"prefix"}


def test_numbers_that_are_not_kept_or_no_longer_made_fail(folder: Path) -> None:
    numbers = json.loads((folder / "expected.json").read_text())
    numbers[0]["name"] = "renamed"
    (folder / "expected.json").write_text(json.dumps(numbers))
    wrong = failures(folder)
    assert wrong["renamed"].found is None
    assert wrong["train loss, add"].expected is None


# --- what is missing or damaged


@pytest.mark.parametrize(
    ("file", "keep"),
    [
        *((file, keep) for file in ("expected.json", "input.npz", "table.csv") for keep in (None, 0, 1)),
        ("expected.json", 300),
        ("input.npz", 300),
    ],
)
def test_a_file_that_is_missing_or_cut_off_is_named(folder: Path, file: str, keep: int | None) -> None:
    path = folder / file
    if keep is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ReferenceOutputError, match=file):
        reference.check(folder)


def test_pickled_weights_are_refused(folder: Path) -> None:
    np.savez(folder / "input.npz", theta=np.array([{}], dtype=object))
    with pytest.raises(ReferenceOutputError, match=r"input\.npz.*allow_pickle"):
        reference.check(folder)


def test_weights_of_another_model_are_named(folder: Path) -> None:
    (folder / "config.toml").write_text(to_toml(with_settings(CONFIG, ["model.width=10"])))
    with pytest.raises(ReferenceOutputError, match=r"theta .*its config has changed"):
        reference.check(folder)


def test_a_folder_without_references_is_named(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ReferenceOutputError, match=r"no such folder.*that came with minigrok"):
        reference_files.names(tmp_path / "nowhere")
    with pytest.raises(ReferenceOutputError, match="none in it"):
        reference_files.names(tmp_path / "references" / "small")
    with pytest.raises(ReferenceOutputError, match=r"other .*small"):
        reference.check(folder.parent / "other")


# --- regenerate


@pytest.mark.usefixtures("_no_picture")
def test_regenerate_again_moves_nothing(folder: Path, tmp_path: Path) -> None:
    """Same code, same machine: even the run's float32 numbers come back, so every file but the date is equal."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    rows = reference.regenerate(folder, made_run(tmp_path / "run", CONFIG), "again")
    assert all(row.holds and row.expected == row.found for row in rows)
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {name for name in after if after[name] != before[name]} == {"environment.json"}


@pytest.mark.usefixtures("_no_picture")
def test_regenerate_shows_what_moved_and_what_a_rerun_may_move(folder: Path, tmp_path: Path) -> None:
    change(folder, "|g|", value=1e9)
    change(folder, "last step", value=55)  # within a fifth of 60
    rows = {row.name: row for row in reference.regenerate(folder, made_run(tmp_path / "run", CONFIG), "why")}
    assert not rows["|g|"].holds
    assert rows["|g|"].expected == 1e9
    assert rows["last step"].holds == (abs(rows["last step"].found - 55) <= 11)
    assert failures(folder) == {}


@pytest.mark.usefixtures("_no_picture")
def test_regenerate_finishes_a_run(folder: Path, tmp_path: Path) -> None:
    run = create(tmp_path / "run", CONFIG)
    with run:
        steps: list[int] = []
        train(run, observer=Observer(stepped=steps.append, stop=lambda: len(steps) == 7))
    reference.regenerate(folder, run.folder, "from an interrupted run")
    assert failures(folder) == {}


@pytest.mark.usefixtures("_no_picture")
def test_regenerate_refuses_another_run_or_no_reason_and_changes_nothing(folder: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ReferenceOutputError, match="a run of the settings"):
        reference.regenerate(folder, made_run(tmp_path / "other", with_settings(CONFIG, ["seed=1"])), "why")
    with pytest.raises(ReferenceOutputError, match="a reason"):
        reference.regenerate(folder, made_run(tmp_path / "run", CONFIG), "  ")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


# --- command line


def minigrok(*arguments: str) -> Result:
    from minigrok_cli.main import main

    return CliRunner().invoke(main, ["reference", *map(str, arguments)])


def test_check_prints_every_number_and_fails_when_one_is_wrong(folder: Path) -> None:
    good = minigrok("check", "--folder", folder.parent)
    assert good.exit_code == 0, good.output
    rows = reference.check(folder)
    assert f"small: {len(rows)} numbers: {len(rows)} hold, 0 do not" in good.stdout
    assert len(good.stdout.splitlines()) == 2
    everything = minigrok("check", "--all", "--folder", folder.parent)
    assert all(row.name in everything.stdout for row in rows)
    change(folder, "|g|", value=1e9)
    bad = minigrok("check", "small", "--folder", folder.parent)
    assert bad.exit_code == 1
    assert bad.stdout.count("WRONG") == 1
    assert "|H d1|" not in bad.stdout
    machine = minigrok("check", "--json", "--folder", folder.parent)
    assert machine.exit_code == 1
    told = json.loads(machine.stdout)["small"]
    assert sum(not row["holds"] for row in told["numbers"]) == 1
    assert (told["mode"], told["reason"]) == ("tolerances", "the run is not portable")


def test_strict_refuses_tolerances(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = minigrok("check", "--strict", "--folder", folder.parent)
    assert refused.exit_code == 1
    assert "the run is not portable" in refused.stderr
    assert not refused.stdout
    monkeypatch.setattr(reference, "obstacle", lambda folder: "")
    machine = minigrok("check", "--strict", "--json", "--folder", folder.parent)
    assert machine.exit_code == 0, machine.output
    assert json.loads(machine.stdout)["small"]["mode"] == "bits"


@pytest.mark.usefixtures("_no_picture")
def test_regenerate_and_list(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    change(folder, "|g|", value=1e9)
    result = minigrok("regenerate", "small", "--folder", folder.parent, "--reason", "for the test")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("moved") == 1
    assert minigrok("check", "--folder", folder.parent).exit_code == 0
    assert "for the test" in minigrok("list", "--folder", folder.parent).stdout
    again = minigrok("regenerate", "small", "--folder", folder.parent, "--reason", "why")
    assert again.exit_code == 2
    assert "--run runs/reference-small" in again.stderr
    arguments = ["regenerate", "small", "--folder", folder.parent, "--reason", "why", "--run", "runs/reference-small"]
    assert minigrok(*arguments).exit_code == 0


def test_wrong_use_is_explained(folder: Path, tmp_path: Path) -> None:
    assert minigrok("check", "--folder", tmp_path / "none").exit_code == 2
    assert "choose one of these" in minigrok("check", "other", "--folder", folder.parent).stderr
    assert minigrok("regenerate", "small", "--folder", folder.parent).exit_code == 2, "no reason"
    (folder / "expected.json").unlink()
    assert "not yet" in minigrok("list", "--folder", folder.parent).stdout
    assert "regenerate small" in minigrok("check", "--folder", folder.parent).stderr


# --- bit for bit


def test_bits_are_asked_for_only_where_they_are_promised(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reference.obstacle(folder) == "the run is not portable"
    (folder / "config.toml").write_text(to_toml(with_settings(CONFIG, ["compute.portable=true"])))
    monkeypatch.setattr(reference.portable, "in_force", lambda: False)
    assert reference.obstacle(folder) == "portable mode is off"
    monkeypatch.setattr(reference.portable, "in_force", lambda: True)
    assert reference.obstacle(folder) == ""
    kept = json.loads((folder / "environment.json").read_text())
    kept["packages"]["numpy"] = "1.0"
    (folder / "environment.json").write_text(json.dumps(kept))
    assert reference.obstacle(folder).endswith("instead of 1.0")
    kept["packages"]["numpy"] = np.__version__
    kept["blas"][0]["version"] = "0.1"
    (folder / "environment.json").write_text(json.dumps(kept))
    assert reference.obstacle(folder).startswith("BLAS ")


def test_a_last_bit_is_a_failure_in_portable_mode(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    value = next(n["value"] for n in json.loads((folder / "expected.json").read_text()) if n["name"] == "batch loss")
    change(folder, "batch loss", value=float(np.nextafter(value, 9.0)))
    assert failures(folder) == {}
    monkeypatch.setattr(reference, "obstacle", lambda folder: "")
    assert list(failures(folder)) == ["batch loss"]


def test_a_sweep_of_portable_runs_is_taken_in_portable_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first steps are repeated here, and `check --portable` compares them bit for bit."""
    (tmp_path / "own").mkdir()
    text = 'name = "own"\n[base]\npreset = "tiny"\ncompute.portable = true\n[[grid]]\nseed = [1]\n'
    (tmp_path / "own" / "sweep.toml").write_text(text, encoding="utf-8")
    restarted: list[bool] = []
    monkeypatch.setattr(portable, "restart", lambda: restarted.append(True))
    minigrok("regenerate", "own", "--folder", tmp_path, "--run", tmp_path / "none", "--reason", "why")
    assert restarted == [True]


def test_numbers_of_portable_runs_are_refused_where_portable_mode_is_off(tmp_path: Path) -> None:
    """Whoever asks: the command has restarted by then, a notebook has not."""
    (tmp_path / "config.toml").write_text(to_toml(with_settings(CONFIG, ["compute.portable=true"])), encoding="utf-8")
    with pytest.raises(EngineError, match="portable mode"):
        reference.regenerate(tmp_path, tmp_path / "none", "why")
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]


# --- installed


def test_the_references_that_came_with_minigrok_are_found_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a wheel they are minigrok/reference/shipped, in an editable install those of the checkout."""
    monkeypatch.chdir(tmp_path)
    found, ours = reference_files.place(), TOP / "reference_outputs"
    assert (found / "dual_decay" / "expected.json").read_bytes() == (ours / "dual_decay" / "expected.json").read_bytes()
    assert "dual_decay" in minigrok("list").stdout
    (tmp_path / "reference_outputs").mkdir()
    assert reference_files.place() == Path("reference_outputs")
    assert reference_files.place(tmp_path) == tmp_path


def test_a_wheel_has_every_file_that_a_check_reads_and_no_picture() -> None:
    patterns = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-data"]
    top = TOP / "reference_outputs"
    packed = {str(path.relative_to(top)) for glob in patterns["minigrok.reference.shipped"] for path in top.glob(glob)}
    files = {"config.toml": ["config.toml", "input.npz"], "sweep.toml": ["sweep.toml"]}
    for head, inputs in files.items():
        for path in top.glob(f"*/{head}"):
            assert {
                f"{path.parent.name}/{x}" for x in (*inputs, "expected.json", "environment.json", "table.csv")
            } <= packed
    assert "constraints.txt" in packed
    assert not any(name.endswith((".png", ".md")) for name in packed)
    assert sum((top / name).stat().st_size for name in packed) < 1e6
