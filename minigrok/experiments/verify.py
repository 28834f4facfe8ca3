"""Whether everything in the folder of a run, or of a sweep, is whole and agrees. Nothing is changed.

sweep.json, config.toml    their checksums, and that of the settings
tables of evaluations      the checksums of their rows; every evaluation up to the checkpoint's step is there
snapshots                  checksum, run, step, names, shapes, dtypes, finite numbers; none is lost
checkpoint                 the same; its parameters are those of its step's snapshot, its grok steps those that
follow from the table, its norm that of the table's last row
results of analyses        the checksums of their files; they are of this run
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minigrok.analyses import ANALYSES, results
from minigrok.config.arms import NO_SOURCE
from minigrok.errors import MinigrokError, RunFolderError
from minigrok.experiments.cells import open_sweep
from minigrok.experiments.thinning import kept_steps
from minigrok.foreign import ARRAYS, read_file
from minigrok.storage.files import inside, is_sealed, is_temporary
from minigrok.storage.lock import leftover
from minigrok.storage.metrics import is_chained
from minigrok.storage.milestones import milestones
from minigrok.storage.runs import METRICS, Run, open_run
from minigrok.training.interventions import TABLE
from minigrok.training.planes import FILE, plane_of
from minigrok.training.run_state import require_new
from minigrok.training.trainer import Trainer

NORM = 1e-5  # relative difference of a norm in the table from that of the parameters, summed in float32: our choice
Check = tuple[str, Callable[[], object]]


class Finding(NamedTuple):
    """A file that was looked at: what is wrong with it and what can be done, both "" where it is whole."""

    file: str
    wrong: str = ""
    do: str = ""


def verify(folder: Path) -> list[Finding]:
    """Look at every file in the folder of a run or a sweep.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    list of Finding
        One a file or result, in the order in which they were looked at.

    Raises
    ------
    RunFolderError
        Not the folder of a run or a sweep.
    """
    if not any((folder / head).exists() for head in ("sweep.json", "config.toml")):
        do = "name a folder that `minigrok train` or `minigrok sweep` made"
        raise RunFolderError("the folder of a run or a sweep", f"{folder} without config.toml or sweep.json", do)
    found: dict[str, Finding] = {}  # the first that is wrong with a file says enough
    for file, check in _of_sweep(folder) if (folder / "sweep.json").exists() else _of_run(folder, ""):
        try:
            check()
            found.setdefault(file, Finding(file))
        except MinigrokError as error:
            if not found.get(file, Finding(file)).wrong:
                found[file] = Finding(file, f"{error.got} (required: {error.required})", error.do)
    return list(found.values())


def _of_sweep(folder: Path) -> Iterator[Check]:
    yield "sweep.json", partial(open_sweep, folder)
    try:
        names = [config.name for config in open_sweep(folder).configs]
    except RunFolderError:
        names = []  # said; without it nobody knows which folders are runs
    for name in names:
        if (folder / name).is_symlink():
            yield name, partial(inside, folder, name)
        elif (folder / name).is_dir():
            yield from _of_run(folder / name, f"{name}/")


def _of_run(folder: Path, prefix: str) -> Iterator[Check]:
    yield f"{prefix}config.toml", partial(open_run, folder)
    try:
        run = open_run(folder)
    except RunFolderError:
        return
    for table in (METRICS, TABLE):
        yield f"{prefix}{table}", partial(run.metrics, table)
    for step in run.snapshots():
        yield f"{prefix}snapshots/{run.snapshot_path(step).name}", partial(run.load_snapshot, step)
    if not run.adopted:
        yield f"{prefix}checkpoint.safetensors", partial(_require_agreement, run)
    for path in sorted((folder / "analysis").glob("*/")):
        is_begun = any(
            file.name != "parts" for file in path.iterdir()
        )  # parts alone: whoever analyses goes on with them
        if path.name.removesuffix("-paper") in ANALYSES and is_begun:
            yield f"{prefix}analysis/{path.name}", partial(results.require_whole, run, path)
    for path in sorted(folder.rglob("*")):
        if run.sealed and (path.suffix == ".safetensors" or path.name in (METRICS, TABLE)) and path.is_file():
            yield f"{prefix}{path.relative_to(folder)}", partial(_require_checksum, path)
        if is_temporary(path.name) or (path.is_symlink() and not leftover(path.name)):
            yield f"{prefix}{path.relative_to(folder)}", partial(_require_ours, path)


def _require_agreement(run: Run) -> None:
    """Raise a RunFolderError unless checkpoint, tables and snapshots tell of the same training."""
    here = replace(run.config.compute, engine="plain", portable=False)  # no step is made: any process can look
    if run.config.intervention.plane not in NO_SOURCE and not (run.folder / FILE).exists():
        do = f"make it again from its source: minigrok resume {run.folder}"
        raise RunFolderError(f"the plane of the intervention, {FILE}", "no such file", do)
    state = Trainer(replace(run.config, compute=here), 1, plane=plane_of(run))
    checkpoint = run.load_checkpoint()
    if checkpoint is None:
        require_new(run)
        return
    state.restore(*checkpoint)
    if state.broken() and state.failure:
        raise state.failure
    step = state.counters.step
    columns = run.metrics()
    reached = [each.grokked_at for each in milestones(run.config, columns).values()]
    _require_equal(run, "the grok steps", state.counters.grok_step, reached)
    every = range(0, step + 1, run.config.train.snapshot_every)
    _require_equal(run, "the snapshots", _lost(run.snapshots(), sorted({*every, *[step] * state.finished})), [])
    if step in run.snapshots():
        same = state.theta.tobytes() == run.load_snapshot(step).tobytes()
        _require_equal(run, f"the parameters of step {step:,} and their snapshot", same, True)
    if len(columns) and columns["step"][-1] == step and np.isfinite(columns["param_norm"][-1]):
        off = abs(float(np.linalg.norm(state.theta.astype(np.float64))) / columns["param_norm"][-1] - 1)
        _require_equal(run, f"the norm of step {step:,}, in {METRICS} and of the parameters", off < NORM, True)


def _require_equal(run: Run, what: str, found: object, expected: object) -> None:
    """Raise a RunFolderError unless two parts of a run agree."""
    if found != expected:
        do = "restore the folder from a copy, or train the run anew in another folder"
        raise RunFolderError(f"{what} in {run.folder}: {expected}", str(found), do)


def _lost(steps: list[int], expected: list[int]) -> list[int]:
    """Return the snapshots that are not there, none where they were thinned, once or twice."""
    n = len(steps)
    thinned = (kept_steps(kept_steps(expected, m), n) for m in range(max(n, 2), len(expected) + 1))
    return [] if n > 1 and steps in thinned else sorted({*expected} - {*steps})


def _require_checksum(path: Path) -> None:
    """Raise a RunFolderError if a file of a run with checksums has none: another program wrote it."""
    data = read_file(path, ARRAYS)
    if not (is_chained(data) if path.suffix == ".csv" else is_sealed(path, data)):
        do = "restore the file from a copy; what another program wrote goes beside the run"
        raise RunFolderError(f"a checksum in {path}, as in config.toml", "none", do)


def _require_ours(path: Path) -> None:
    """Raise a RunFolderError: the file is a link, or what a kill left of one."""
    if path.is_symlink():
        raise RunFolderError("no links in a run's folder", f"{path} is one", "put what it leads to in its place")
    do = "delete it, or let the next sitting do so"
    raise RunFolderError("no unfinished files", f"{path}, left by a kill", do)
