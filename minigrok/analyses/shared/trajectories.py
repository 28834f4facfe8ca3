"""Reading a run's snapshots as a trajectory, matrix by matrix, without holding more than is asked for."""

from collections.abc import Iterable, Sequence

import numpy as np

from minigrok.engine import Array
from minigrok.geometry.bases import Trajectory
from minigrok.network import params
from minigrok.storage.cadence import by_tasks
from minigrok.storage.runs import Run

WHOLE = "all"  # name of the full vector among the pieces


def attention_matrices(run: Run) -> dict[str, slice]:
    """Places of W_Q, W_K, W_V, W_O of each layer: see `minigrok.network.params`."""
    return params.attention_matrices(run.config)


def pieces(run: Run) -> dict[str, slice]:
    """The attention matrices, and WHOLE."""
    return attention_matrices(run) | {WHOLE: slice(0, run.layout.size)}


def load(run: Run, steps: Iterable[int], place: slice) -> Array:
    """Return the snapshots (S, n) at `steps`, cut to `place`, in the dtype they were saved in.

    Memory: S n numbers of the saved dtype; 1500 snapshots of 300,000 float32 parameters take 1.8 GB.
    """
    return joined(run, steps, [place])


def joined(run: Run, steps: Iterable[int], places: Sequence[slice]) -> Array:
    """Return the snapshots (S, n) at `steps`, cut to several places one after another; memory as `load`."""
    steps = list(steps)
    kept = [run.load_snapshot(int(steps[0]))[place] for place in places]
    found = np.empty((len(steps), sum(map(len, kept))), kept[0].dtype)  # filled row by row: no second copy
    for row, step in zip(found, steps, strict=True):
        theta = run.load_snapshot(int(step))
        row[:] = np.concatenate([theta[place] for place in places])
    return found


def trajectory(run: Run, rows: Array) -> Trajectory:
    """Return theta_t - theta_0 at the snapshots `rows`."""
    X = load(run, rows, slice(0, run.layout.size))
    X -= X[0].copy()
    return Trajectory(X, attention_matrices(run))


def top_components(run: Run) -> int:
    """Components of each attention matrix in the paper's basis: 2 for two tasks, 3 for three."""
    return by_tasks(run.config, 2, 3)
