"""References of sweeps: made from finished runs, repeated in part, compared with a reader's own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from small_sweeps import text

from minigrok import reference
from minigrok.errors import ConfigError
from minigrok.experiments.local import Local
from minigrok.experiments.sweep import conduct
from minigrok.experiments.sweep_file import read_sweep
from minigrok.reference import files as reference_files
from minigrok.reference.files import ReferenceOutputError
from minigrok.storage.metrics import read_columns

TEXT = text(steps=40, seeds=(1, 2))
NAMES = [f"tiny-wd{decay}-s{seed}" for decay in (1, 0.1) for seed in (1, 2)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sweep and its reference."""
    top = tmp_path_factory.mktemp("top")
    folder = top / "references" / "pairs"
    folder.mkdir(parents=True)
    (folder / "sweep.toml").write_text(TEXT)
    assert conduct(read_sweep(TEXT), top / "sweep", Local(workers=1)).complete
    rows = reference.regenerate(folder, top / "sweep", "the first one")
    assert all(row.expected is None for row in rows)
    return top


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "top")) / "references" / "pairs"


def failures(folder: Path) -> list[str]:
    return [row.name for row in reference.check(folder) if not row.holds]


def minigrok(*arguments: object) -> Result:
    from minigrok_cli.main import main

    return CliRunner().invoke(main, ["reference", *map(str, arguments)])


def test_what_was_made_is_found_again(made: Path) -> None:
    folder = made / "references" / "pairs"
    assert failures(folder) == []
    assert {path.name for path in folder.iterdir()} == {"sweep.toml", "expected.json", "table.csv", "environment.json"}
    kept = {number.name: number for number in reference_files.read_expected(folder)}
    for name in NAMES:
        columns = read_columns(made / "sweep" / name / "metrics.csv")
        assert kept[f"{name}: last step"].value == columns["step"][-1]
        assert kept[f"{name}: evaluation at step 1: train_loss_add"].value == columns["train_loss_add"][0]
    assert reference.summary(folder).title == "a sweep of 4 runs"
    assert reference_files.names(folder.parent) == ["pairs"]


def test_another_seed_or_table_fails(folder: Path) -> None:
    (folder / "sweep.toml").write_text(TEXT.replace("model.heads = 2", "model.heads = 4"))
    assert {name.partition(": ")[0] for name in failures(folder)} == set(NAMES)
    (folder / "sweep.toml").write_text(TEXT)
    table = (folder / "table.csv").read_text()
    (folder / "table.csv").write_text(table.replace(f"\n{NAMES[2]},", f"\n{NAMES[2]},1"))
    assert failures(folder) == [f"{NAMES[2]}: last step"]
    (folder / "table.csv").write_text(table.replace(NAMES[2], "other"))
    with pytest.raises(ReferenceOutputError, match=f"a row {NAMES[2]}"):
        reference.check(folder)
    (folder / "table.csv").write_text("nonsense\n1\n")
    with pytest.raises(ReferenceOutputError, match=r"table\.csv"):
        reference.check(folder)


def test_ones_own_sweep_is_compared_as_far_as_it_is_done(folder: Path, made: Path, tmp_path: Path) -> None:
    assert all(row.holds for row in reference.check_own(folder, made / "sweep"))
    part = tmp_path / "part"
    conduct(read_sweep(TEXT), part, Local(workers=1), only=[NAMES[1]])
    rows = reference.check_own(folder, part)
    assert {row.name.partition(": ")[0] for row in rows} == {NAMES[1]}
    assert all(row.holds for row in rows)
    numbers = json.loads((folder / "expected.json").read_text())
    changed = [n | {"value": 2 * n["value"]} if n["name"] == f"{NAMES[1]}: last step" else n for n in numbers]
    (folder / "expected.json").write_text(json.dumps(changed))
    assert [row.name for row in reference.check_own(folder, part) if not row.holds] == [f"{NAMES[1]}: last step"]


def test_what_cannot_be_compared_or_taken_is_said(folder: Path, tmp_path: Path) -> None:
    part = tmp_path / "part"
    with pytest.raises(ReferenceOutputError, match="minigrok sweep"):
        reference.check_own(folder, part)
    conduct(read_sweep(TEXT), part, Local(workers=1), only=[NAMES[1]])
    before = (folder / "table.csv").read_text()
    with pytest.raises(ReferenceOutputError, match=f"not {NAMES[0]}, {NAMES[2]}"):
        reference.regenerate(folder, part, "why")
    assert (folder / "table.csv").read_text() == before
    other = read_sweep(TEXT, {"optimiser.learning_rate": 1e-2})
    conduct(other, tmp_path / "other", Local(workers=1), only=[NAMES[1]])
    with pytest.raises(ConfigError, match="another configuration"):
        reference.check_own(folder, tmp_path / "other")


def test_from_the_command_line(folder: Path, made: Path) -> None:
    top = ("--folder", folder.parent)
    assert "a sweep of 4 runs" in minigrok("list", *top).stdout
    assert minigrok("check", *top).exit_code == 0
    own = minigrok("check", "pairs", "--run", made / "sweep", *top)
    assert own.exit_code == 0, own.output
    assert "evaluation" not in own.stdout
    assert minigrok("check", "--run", made / "sweep", *top).exit_code == 2
    again = minigrok("regenerate", "pairs", "--reason", "again", "--run", made / "sweep", *top)
    assert again.exit_code == 0, again.output
    assert "moved" not in again.stdout
