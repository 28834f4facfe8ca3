"""`minigrok compress`: every figure of the paper by name, and errors that say what was meant."""

import csv
import json

import pytest
from click.testing import CliRunner
from minigrok_cli.main import main
from synthetic_runs import SMALL, make, rises, walk

from minigrok.analyses import ANALYSES
from minigrok.analyses.paper_figures import PAPER_FIGURES, figure_names
from minigrok.config import preset, with_settings
from minigrok.errors import ConfigError

CONFIG = with_settings(preset("tiny"), SMALL)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    thetas = walk(CONFIG, range(0, 1900, 100), size=0.1)  # 10 checkpoints
    settings = ["train.snapshot_every=100"]
    return make(tmp_path_factory.mktemp("runs") / "a", [rises(17), rises(18)], thetas=thetas, settings=settings)


def compress(*arguments):
    return CliRunner().invoke(main, ["compress", *map(str, arguments)])


def test_all_figures_of_the_paper(run):
    done = compress(run.folder, "--protocol", "paper")
    assert done.exit_code == 0, done.output
    folder = run.folder / "analysis" / "compress-paper"
    assert {path.stem for path in folder.glob("*.png")} == set(PAPER_FIGURES)
    assert {path.stem for path in folder.glob("*.svg")} == set(PAPER_FIGURES)
    assert not list(folder.glob("*-parts"))
    svg = (folder / "figABL2.svg").read_text()
    assert "column-order artefact" in svg
    assert "no post-grok PCA: 0 snapshots after the last grok" in (folder / "figCOMP.svg").read_text()
    with (folder / "figCOMP-compression.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["x"] for row in rows if row["study"] == "svd"] == ["1", "2", "3", "5", "10"]
    assert {row["of"] for row in rows} == {"init"}
    with (folder / "figTHR-reconstruction.csv").open(newline="") as file:
        assert [int(row["k"]) for row in csv.DictReader(file)] == list(range(1, 10))  # 9 rows, no more directions


def test_exact_has_the_controls_and_machines_get_json(run, tmp_path):
    done = compress(run.folder, "--figure", "figABL3", "--json", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    (made,) = json.loads(done.stdout)
    studies = {(row["study"], row["of"]) for row in made["tables"]["ablation"]}
    wanted = ("first columns, rest final", "by variance, rest final", "random, rest final")
    assert studies == {(study, of) for study in wanted for of in ("init", "zero")}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "figABL3.png",
        "figABL3.svg",
        "figABL3-ablation.csv",
    }


def test_help_lists_what_each_figure_shows():
    text = " ".join(compress("--help").output.split())
    for name, figure in PAPER_FIGURES.items():
        assert f"{name} {figure.shows}" in text


def test_an_unknown_figure_is_an_error_that_says_which_was_meant(run):
    done = compress(run.folder, "--figure", "figABLE1")
    assert done.exit_code == 2
    assert "did you mean figABL1?" in done.output
    with pytest.raises(ConfigError):
        figure_names("figWD")
    assert figure_names("all") == list(PAPER_FIGURES)


@pytest.mark.parametrize("protocol", ["exact", "paper"])
def test_every_piece_is_part_of_a_registered_analysis(protocol):
    for figure in PAPER_FIGURES.values():
        for piece in figure.pieces:
            assert ANALYSES[piece.analysis.name] is piece.analysis
            assert piece.settings(protocol).protocol == protocol
            assert set(piece.parts) <= set(piece.settings(protocol).parts)
