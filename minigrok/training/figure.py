"""The picture of a training run: accuracy, loss and norms against the step.

A task has a colour and a marker, the train part is dashed and the test part solid, so a grey print still
tells the lines apart.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter, StrMethodFormatter

from minigrok.config import Config
from minigrok.errors import RunFolderError
from minigrok.plotting import COLOURS, MARKERS, Figure, style
from minigrok.storage.milestones import Milestones, complete, milestones
from minigrok.storage.runs import Run
from minigrok.training.counters import more_steps

Columns = Mapping[str, npt.NDArray[Any]]


GREY = "#555555"


N_MARKERS = 7  # on each line


def training_figure(*runs: Run, log_steps: bool = False) -> Figure:
    """Accuracy, loss, gradient norm and parameter norm of each run against the step, with the grok steps.

    Parameters
    ----------
    runs : Run          need one evaluation at least; may still be training
    log_steps : bool    steps on a logarithmic axis: memorisation and grokking side by side

    Returns
    -------
    Figure
        11 by 7 inches a run, one below the other

    Raises
    ------
    RunFolderError    no evaluation yet
    """
    tables = [_evaluations(run) for run in runs]
    with style():
        figure = Figure(figsize=(11, 7 * len(runs)), layout="constrained")
        parts = [figure] if len(runs) == 1 else figure.subfigures(len(runs), squeeze=False).flat
        for part, run, columns in zip(parts, runs, tables, strict=True):
            _draw(part, run.config, columns, log_steps)
    return figure


def _evaluations(run: Run) -> Columns:
    columns = complete(run.config, run.metrics())
    if not columns or not len(columns["step"]):
        raise RunFolderError(f"a run with an evaluation in {run.folder}", "none", more_steps(run))
    return columns


def _draw(figure: Any, config: Config, columns: Columns, log_steps: bool) -> None:
    """Draw a run into a figure, or into a part of one."""
    reached = milestones(config, columns)
    figure.suptitle(title(config), x=0.01, ha="left", fontsize=14, fontweight="bold")
    axes = figure.subplots(2, 2, sharex=True)
    _accuracy(axes[0, 0], config, columns, log_steps)
    _loss(axes[0, 1], config, columns, log_steps)
    _norm(axes[1, 0], columns, "grad_norm", "gradient norm, unclipped\n(nats)")
    axes[1, 0].set_yscale("log")
    _norm(axes[1, 1], columns, "param_norm", "parameter norm\n(dimensionless)")
    for axis in axes.flat:
        _mark_groks(axis, reached)
        _steps(axis, log_steps)
    for axis in axes[1]:
        axis.set_xlabel("optimiser step")
    lines, labels = axes[0, 1].get_lines()[: 2 * len(reached)], _labels(config, reached)
    figure.legend(lines, labels, loc="outside lower center", ncols=len(reached), handlelength=3.5)


def title(config: Config) -> str:
    """One line that says which run a picture shows."""
    tasks = " + ".join(config.task.operations)
    decay = f"weight decay {config.optimiser.weight_decay:g}"
    return f"{config.name}: {tasks} mod {config.task.p}, {decay}, seed {config.seed}{config.intervention.words}"


def _accuracy(axis: Axes, config: Config, columns: Columns, log_steps: bool) -> None:
    _task_lines(axis, config, columns, "accuracy", log_steps)
    axis.set_ylabel("accuracy\n(share of pairs)")
    axis.set_ylim(-0.03, 1.03)
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))


def _loss(axis: Axes, config: Config, columns: Columns, log_steps: bool) -> None:
    _task_lines(axis, config, columns, "loss", log_steps)
    axis.set_ylabel("cross-entropy\n(nats)")
    axis.set_yscale("log", nonpositive="mask")


def _task_lines(axis: Axes, config: Config, columns: Columns, quantity: str, log_steps: bool) -> None:
    steps, tasks = columns["step"], config.task.operations
    for k, task in enumerate(tasks):
        colour, marker = COLOURS[k % len(COLOURS)], MARKERS[k % len(MARKERS)]
        look: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 5}
        look["markevery"] = _marked_rows(steps, (k + 0.5) / len(tasks), log_steps)
        train, test = columns[f"train_{quantity}_{task}"], columns[f"test_{quantity}_{task}"]
        axis.plot(steps, train, linestyle=(0, (4, 2)), linewidth=1.2, markerfacecolor="white", **look)
        axis.plot(steps, test, linestyle="-", **look)


def _marked_rows(steps: npt.NDArray[Any], phase: float, log_steps: bool) -> list[int]:
    """Rows that get a marker: evenly spaced on the axis, and tasks of another phase at other rows."""
    scale, back = (np.log, np.exp) if log_steps else (np.asarray, np.asarray)
    first, last = scale(steps[0]), scale(steps[-1])
    wanted = back(first + (last - first) * (np.arange(N_MARKERS) + phase) / N_MARKERS)
    return sorted({int(np.argmin(np.abs(steps - step))) for step in wanted})


def _norm(axis: Axes, columns: Columns, name: str, label: str) -> None:
    if name in columns:
        axis.plot(columns["step"], columns[name], color=GREY)
    axis.set_ylabel(label)


def _mark_groks(axis: Axes, reached: Mapping[str, Milestones]) -> None:
    """Draw a dotted line at each grok step, with the task's marker at its top."""
    for k, (_, grokked_at) in enumerate(reached.values()):
        if grokked_at is not None:
            colour, marker = COLOURS[k % len(COLOURS)], MARKERS[k % len(MARKERS)]
            line = axis.axvline(grokked_at, color=colour, marker=marker, markevery=[1], linestyle=":", zorder=1)
            line.set_clip_on(False)  # the marker sits on the upper edge


def _steps(axis: Axes, log_steps: bool) -> None:
    if log_steps:
        axis.set_xscale("log")
    else:
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def _labels(config: Config, reached: Mapping[str, Milestones]) -> list[str]:
    """Labels of the task lines, train and test of each task in turn."""
    labels = []
    for task in config.task.operations:
        memorised, grokked = reached[task]
        labels.append(f"{task}, train" + (f": memorised at {memorised:,}" if memorised is not None else ""))
        labels.append(f"{task}, test" + (f": grokked at {grokked:,} (dotted)" if grokked is not None else ""))
    return labels
