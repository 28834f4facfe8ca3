"""The picture of a training run: complete, labelled, the same for the same numbers."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from minigrok.config import Config, Task
from minigrok.errors import RunFolderError
from minigrok.plotting import save
from minigrok.storage.runs import create
from minigrok.training.figure import title, training_figure

TASKS = ("add", "mul", "sq")


@pytest.fixture
def run(tmp_path):
    """Return a run folder whose tasks grok at 500, 900 and never."""
    config = Config("fake", seed=7, task=Task(operations=TASKS))
    with create(tmp_path / "run", config) as run:
        for step in [1, *range(100, 1300, 100)]:
            row = {"step": step}
            for task, grok in zip(TASKS, (300, 700, 10_000), strict=True):
                row |= {f"train_loss_{task}": 4.0 / step, f"train_accuracy_{task}": float(step >= 200)}
                row |= {f"test_loss_{task}": 9.0 / step, f"test_accuracy_{task}": float(step >= grok)}
            run.append_metrics(row | {"grad_norm": 1.0 / step, "param_norm": 100.0 - step / 20})
        yield run


@pytest.mark.parametrize("log_steps", [False, True])
def test_every_panel_is_labelled_and_shows_its_numbers(run, log_steps):
    figure = training_figure(run, log_steps=log_steps)
    labels = [axis.get_ylabel() for axis in figure.axes]
    for word in ("accuracy", "cross-entropy", "gradient norm", "parameter norm"):
        assert any(word in label for label in labels)
    assert all("(" in label for label in labels), "a unit in every label"
    accuracy = figure.axes[0].get_lines()
    np.testing.assert_array_equal(accuracy[1].get_ydata(), run.metrics()["test_accuracy_add"])
    assert figure.axes[0].get_xscale() == ("log" if log_steps else "linear")


def test_grok_steps_are_marked_in_every_panel_and_named_in_the_legend(run):
    figure = training_figure(run)
    for axis in figure.axes:
        marked = [line.get_xdata()[0] for line in axis.get_lines() if list(line.get_ydata()) == [0, 1]]
        assert marked == [500, 900]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == [
        *("add, train: memorised at 200", "add, test: grokked at 500 (dotted)"),
        *("mul, train: memorised at 200", "mul, test: grokked at 900 (dotted)"),
        *("sq, train: memorised at 200", "sq, test"),
    ]


def test_lines_differ_in_grey(run):
    lines = training_figure(run).axes[1].get_lines()[: 2 * len(TASKS)]
    looks = {(line.get_marker(), line.get_linestyle()) for line in lines}
    assert len(looks) == len(lines), "marker and line style tell all lines apart"


def test_title_says_which_run(run):
    assert title(run.config) == "fake: add + mul + sq mod 97, weight decay 1, seed 7"
    assert training_figure(run).get_suptitle() == title(run.config)


def test_saved_twice_gives_the_same_bytes(run):
    first = [path.read_bytes() for path in save(training_figure(run), run.folder / "training")]
    paths = save(training_figure(run), run.folder / "training")
    assert [path.name for path in paths] == ["training.png", "training.svg"]
    assert [path.read_bytes() for path in paths] == first
    assert first[0].startswith(b"\x89PNG")
    assert b"<svg" in first[1]


def test_a_run_without_evaluations_is_told_apart(tmp_path):
    with create(tmp_path / "empty", Config("empty")) as run, pytest.raises(RunFolderError, match="evaluation"):
        training_figure(run)


def test_an_unwritable_place_is_named(tmp_path):
    with pytest.raises(RunFolderError, match="nowhere"):
        save(Figure(), tmp_path / "nowhere" / "training")
