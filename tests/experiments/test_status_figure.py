"""The picture of a sweep shows what the cells say."""

from dataclasses import replace
from pathlib import Path

from small_sweeps import small

from minigrok.experiments.cells import STATES, Cell
from minigrok.experiments.figure import LINES, figure


def mixed() -> list[Cell]:
    """A cell in each state."""
    configs = small(steps=30_000, seeds=(1, 2, 3)).configs
    cells = [Cell(config, Path(config.name), state) for config, state in zip(configs, STATES, strict=False)]
    steps = [
        (14_000, {"add": 14_000, "mul": 9_000}),
        (8_000, {"add": None, "mul": 7_000}),
        (900, {}),
        (20, {}),
        (0, {}),
    ]
    return [replace(cell, step=step, grokked=grokked) for cell, (step, grokked) in zip(cells, steps, strict=True)]


def test_lines_end_where_runs_are_and_marks_stand_where_tasks_grokked() -> None:
    cells = mixed()
    axis = figure(cells).axes[0]
    ends = {int(line.get_ydata()[0]): line.get_xdata()[-1] for line in axis.lines if line.get_linewidth() == 3}
    assert ends == {row: cell.step for row, cell in enumerate(cells) if cell.state != "not begun"}
    marks = {(line.get_xdata()[0], line.get_ydata()[0]) for line in axis.lines if line.get_markersize() == 8}
    assert marks == {(14_000, 0), (9_000, 0), (7_000, 1)}
    assert [text.get_text().split("\u2002")[1] for text in axis.get_yticklabels()] == list(STATES)
    assert axis.get_xlabel() == "optimiser step (logarithmic)"


def test_states_differ_in_grey_too() -> None:
    assert len({str(style) for _, style in LINES.values()}) == len(STATES)
