"""Fewer snapshots: the only place of minigrok that deletes any, and only when asked for."""

import numpy as np

from minigrok.errors import RunFolderError
from minigrok.storage.files import remove, sync_folder
from minigrok.storage.runs import Run
from minigrok.training.counters import Counters


def kept_steps(steps: list[int], keep: int) -> list[int]:
    """Return `keep` of the steps, evenly spaced in their order, the first and the last among them."""
    if len(steps) <= keep:
        return steps
    return [steps[i] for i in np.unique(np.linspace(0, len(steps) - 1, keep).round().astype(int))]


def thin(run: Run, keep: int) -> int:
    """Delete snapshots of a finished run, so that `keep` are left.

    Parameters
    ----------
    run : Run
    keep : int    2 or more

    Returns
    -------
    int
        how many were deleted

    Raises
    ------
    RunFolderError
        The run is not at its end (its resume would miss them), or another process writes it.

    Notes
    -----
    What is kept follows from the steps at which the run saved, not from those that are there: after a kill in the
    middle the same ones are kept.
    """
    run.lock()
    _, state = run.load_checkpoint() or ({}, None)
    train = run.config.train
    if state is None or not Counters.of(state).finished(train):
        do = f"finish it first: minigrok resume {run.folder}"
        raise RunFolderError(f"a finished run in {run.folder}, to thin its snapshots", "one that can go on", do)
    steps, last = run.snapshots(), Counters.of(state).step
    wanted = kept_steps(sorted({*range(0, last, train.snapshot_every), last}), keep)
    if not set(wanted) <= set(steps):  # thinned before, to others
        wanted = kept_steps(steps, keep)
    surplus = sorted(set(steps) - set(wanted))
    for step in surplus:
        run.lock()
        remove(run.path("snapshots", run.snapshot_path(step).name))
    if surplus:
        sync_folder(run.snapshot_path(0).parent)
    return len(surplus)
