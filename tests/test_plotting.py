"""Pictures: names are text, and the user's matplotlibrc changes nothing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import pytest

from minigrok import plotting
from minigrok.analyses import ANALYSES
from minigrok.analyses.perform import perform, settings_for
from minigrok.config import from_toml
from minigrok.storage.runs import Run, create
from minigrok.training.figure import training_figure
from minigrok.training.train import train

SMALL = """
name = "small"
task.p = 5
model = { width = 4, heads = 2, mlp_width = 4, blocks = 1 }
train = { batch_size = 4, max_steps = 30, eval_every = 10, snapshot_every = 10 }
compute.engine = "plain"
"""
HOSTILE_NAME = "_$x^{\n\x1b[31m" + os.fsdecode(b"\xff") + "$"
NAMES = [
    HOSTILE_NAME,
    "$x^",
    "$\\frac{$",
    "a\nb",
    "\x1b[31m",
    os.fsdecode(b"\xff\xfe"),
    "_hidden",
    "<b>&amp;",
    "x" * 200,
]


def made(folder: Path) -> Run:
    with create(folder, from_toml(SMALL)) as run:
        train(run, 1)
    return run


@pytest.mark.parametrize(("name", "settings"), [("subspace", []), ("gram", ["window=3"]), ("heads", [])])
def test_a_folder_of_any_name_can_be_drawn(name: str, settings: list[str], tmp_path: Path) -> None:
    run, analysis = made(tmp_path / HOSTILE_NAME), ANALYSES[name]
    done = perform(analysis, [run], settings_for(analysis, "exact", settings))
    assert (done.folder / "figure.svg").exists()
    assert (done.folder / "table.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_name_in_a_title_is_shown_as_it_is(name: str, tmp_path: Path) -> None:
    figure, _ = plotting.panel_grid(1, name)
    plotting.save(figure, tmp_path / "picture")
    text = (tmp_path / "picture.svg").read_text(encoding="utf-8")
    assert not re.search("[\x00-\x08\x0b-\x1f]", text)
    if name.startswith("$"):
        assert name in text


HOSTILE = {
    "text.usetex": "True",
    "font.size": "40",
    "axes.facecolor": "black",
    "lines.linestyle": ":",
    "legend.frameon": "True",
    "savefig.transparent": "True",
    "axes.prop_cycle": "cycler('color', ['red'])",
    "text.parse_math": "False",
}


def test_the_users_matplotlibrc_changes_no_byte(tmp_path: Path) -> None:
    made(tmp_path / "run")
    code = """if True:
        import sys
        from pathlib import Path
        from minigrok.analyses import ANALYSES
        from minigrok.analyses.perform import perform, settings_for
        from minigrok.plotting import save
        from minigrok.storage.runs import open_run
        from minigrok.training.figure import training_figure
        run, out = open_run(sys.argv[1]), Path(sys.argv[2])
        save(training_figure(run), out / "training")
        for name in ("grok_order",):
            analysis = ANALYSES[name]
            done = perform(analysis, [run], settings_for(analysis, "exact", []))
            save(analysis.draw(done.result), out / name)
    """
    found = []
    for lines in ({}, HOSTILE):
        out = tmp_path / f"rc{len(lines)}"
        out.mkdir()
        (out / "matplotlibrc").write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
        command = [sys.executable, "-c", code, str(tmp_path / "run"), str(out)]
        subprocess.run(command, env=os.environ | {"MATPLOTLIBRC": str(out)}, check=True)
        found.append({path.name: path.read_bytes() for path in sorted(out.glob("*.*g"))})
    assert len(found[0]) == 4
    assert found[0] == found[1]


def test_drawing_leaves_the_users_settings_as_they_were(tmp_path: Path) -> None:
    run = made(tmp_path / "run")
    with mpl.rc_context({"font.size": 40.0, "lines.linewidth": 9.0}):
        before = dict(mpl.rcParams)
        plotting.save(training_figure(run), tmp_path / "picture")
        assert dict(mpl.rcParams) == before
