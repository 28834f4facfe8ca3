"""The front door for notebooks and scripts: train, open, look, analyse, in a few names.

    >>> import tempfile
    >>> import minigrok as mg
    >>> folder = tempfile.TemporaryDirectory()
    >>> run = mg.train("tiny", seed=42, max_steps=30, snapshot_every=10, out=f"{folder.name}/first")
    >>> run.snapshots()
    [0, 10, 20, 30]
    >>> theta = run.theta(30)  # float64, as exact work wants it
    >>> objective = mg.Objective.of(run)
    >>> bool(objective.loss(theta) < objective.loss(run.theta(0)))
    True
    >>> found = mg.analyse("trajectory_pca", run, draws=3)
    >>> found.table[0]["matrix"], found.result.steps.tolist()
    ('L0 WQ', [0, 10, 20, 30])
    >>> mg.open(run.folder).theta().tolist() == theta.tolist()
    True
    >>> folder.cleanup()

Every function takes and returns what the rest of the library works with: a `Run`, a `Config`, NumPy arrays. The files
are those of the commands, and go to the same places.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from minigrok import analyses
from minigrok.analyses.base import Analysis, Row
from minigrok.analyses.perform import perform, settings_of
from minigrok.config import Config, keys, load, preset, with_values
from minigrok.display import html_table
from minigrok.errors import ConfigError, SweepError
from minigrok.experiments.cells import begun
from minigrok.experiments.local import Local
from minigrok.experiments.on_device import OnDevice, wanted
from minigrok.experiments.sweep import Watcher, conduct
from minigrok.experiments.sweep_file import load_sweep
from minigrok.network.objective import Objective
from minigrok.plotting import Figure
from minigrok.storage.runs import Run, begin, open_run
from minigrok.training import train as training
from minigrok.training.budget import require_room
from minigrok.training.figure import training_figure
from minigrok.training.observer import Observer
from minigrok.training.planes import require_source

__all__ = ["Analysed", "Objective", "analyse", "open", "plot", "preset", "sweep", "train"]

open = open_run  # mg.open(folder)
Runs = Run | str | Path | Sequence[Run | str | Path]


def train(
    source: str | Path | Config,
    /,
    *,
    out: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    threads: int | None = None,
    observer: Observer | None = None,
    other_versions: bool = False,
    **more: Any,
) -> Run:
    """Train a run to its end; go on with the one that is there, if it has the same configuration.

    Parameters
    ----------
    source : str, Path or Config    name of a preset, path of a TOML file, or a configuration
    out : str or Path, optional     run folder; default: runs/NAME-sSEED
    settings : mapping, optional    {"optimiser.weight_decay": 0.5}
    threads : int, optional         at most; default: all CPUs, at most one a shard. Never changes a bit
    observer : Observer, optional   is told of every step and evaluation, and can stop
    other_versions : bool           go on with a portable run that was begun with other versions: its bits may be others
    **more : settings by their last name alone, such as seed=1 or max_steps=200

    Returns
    -------
    Run
        not locked; its last state is saved

    Raises
    ------
    ConfigError       an unknown setting, one that is there twice, a value that it cannot have, a last name that
                      several settings have; the folder's run has other settings; too little memory or disk
    RunFolderError    the folder holds something else, or another process is writing it
    EngineError       the engine is not there; the process is not in portable mode and the configuration is; a portable
                      run that was begun with other versions
    """
    config = source if isinstance(source, Config) else load(source)
    config, _ = training.ready(with_values(config, _once(settings or {}, {_key(name): x for name, x in more.items()})))
    folder = Path(out or Path("runs", f"{config.name}-s{config.seed}"))
    require_source(config, folder)
    require_room(config, folder)
    with begin(folder, config) as run:
        run.other_versions = other_versions
        training.train(run, threads, observer=observer)
    return run


def analyse(
    name: str, runs: Runs, /, *, report: Callable[[int, int, str], None] | None = None, **settings: Any
) -> Analysed:
    """Make an analysis of a run, or of several for one that compares them, as `minigrok analyse` does.

    Parameters
    ----------
    name : str                  `minigrok analyse` lists the analyses
    runs : Run, its folder, or a list of them
    report : function, optional    (parts done, parts in all, words)
    **settings : protocol ("exact" or "paper") and the settings of the analysis

    Raises
    ------
    ConfigError       no such analysis or setting; several runs for an analysis of one
    RunFolderError    the run lacks what the analysis needs
    EngineError       the process is not in portable mode and a run is: other bits would come out
    """
    if name not in analyses.ANALYSES:
        analyses.chosen("" if name == "all" else name)  # raises: one at a time here
    analysis, group = analyses.ANALYSES[name], _opened(runs)
    if len(group) > 1 and not analysis.many:
        raise ConfigError(f"one run for {name}", f"{len(group)} runs", "call it for each run, or name a comparison")
    for run in group:
        training.ready(run.config)
    chosen = settings_of(analysis, settings)
    done = perform(analysis, group, chosen, *([report] if report else []))
    return Analysed(f"{name} ({chosen.protocol})", done.rows, done.result, done.folder, analysis)


@dataclass(frozen=True)
class Analysed:
    """What an analysis found.

    Attributes
    ----------
    title : str
    table : list of dict    its rows
    result : object         the numbers, as the analysis' own Result
    folder : Path           where result, arrays, table and figure are kept
    """

    title: str
    table: list[Row] = field(repr=False)
    result: Any = field(repr=False)
    folder: Path
    _analysis: Analysis = field(repr=False)

    @property
    def figure(self) -> Figure:
        """The picture, drawn anew."""
        return self._analysis.draw(self.result)

    def _repr_html_(self) -> str:
        """Show picture and table in a notebook."""
        picture = base64.b64encode((self.folder / "figure.png").read_bytes()).decode()
        image = f'<img alt="{escape(self.title)}" style="max-width: 100%" src="data:image/png;base64,{picture}">'
        return f"<h4>{escape(self.title)}</h4>{image}{html_table(self.table)}"


def plot(runs: Runs, /, *, log_steps: bool = False) -> Figure:
    """Draw accuracy, loss and norms of runs against the step, one run below the other; nothing is written.

    Parameters
    ----------
    runs : Run, its folder, or a list of them
    log_steps : bool    steps on a logarithmic axis: memorisation and grokking side by side
    """
    return training_figure(*_opened(runs), log_steps=log_steps)


def sweep(
    source: str | Path,
    *,
    out: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    only: Sequence[str] = ("*",),
    jobs: int | None = None,
    watcher: Watcher | None = None,
) -> list[Run]:
    """Train and analyse what is missing of a sweep, in processes of this machine; return its runs that were begun.

    Parameters
    ----------
    source : str or Path            name of a sweep, or path of its TOML file
    out : str or Path, optional     its folder; default: runs/NAME
    settings : mapping, optional    settings of every run, {"train.max_steps": 1000}
    only : patterns of run names
    jobs : int, optional            processes side by side; default: one a CPU. For the engine cuda: runs on the device
    watcher : Watcher, optional     is told how each job ended, and can stop

    Raises
    ------
    ConfigError       no such sweep or setting, or the folder is another sweep's
    RunFolderError    somebody else conducts this sweep, or a folder cannot be written
    SweepError        a run or a comparison failed, and why; the others are done
    """
    loaded = load_sweep(source, settings)
    folder = Path(out or Path("runs", loaded.name))
    done = conduct(loaded, folder, OnDevice(jobs) if wanted(loaded) else Local(jobs), watcher, only)
    if failed := done.failed(only):
        raise SweepError(f"every run of {loaded.name} done", "; ".join(failed), "mend that; the same call goes on")
    return begun(folder)


def _opened(runs: Runs) -> list[Run]:
    """Return the runs, opened where a folder is named."""
    several = [runs] if isinstance(runs, Run | str | Path) else list(runs)
    if not several:
        raise ConfigError("a run, or several", "0 runs", "name the folder of one")
    return [each if isinstance(each, Run) else open_run(each) for each in several]


def _once(full: Mapping[str, Any], short: Mapping[str, Any]) -> dict[str, Any]:
    """Return all settings; a ConfigError for one that is there twice."""
    for key in full.keys() & short.keys():
        raise ConfigError(f"{key} once", f"twice: {full[key]!r} and {short[key]!r}", "leave one out")
    return {**full, **short}


def _key(name: str) -> str:
    """Return the setting that a last name stands for."""
    found = [key for key in keys() if key.rpartition(".")[2] == name]
    if len(found) > 1:
        do = f'write settings={{"{found[0]}": ...}} or choose another of these'
        raise ConfigError(f"the last name of one setting, not of {', '.join(found)}", name, do)
    return found[0] if found else name
