"""What each convention makes of a run's trajectory: its rows, and what is added back."""

from dataclasses import dataclass

import numpy as np

from minigrok.analyses.reconstruction.result import CONVENTIONS
from minigrok.engine import Array
from minigrok.errors import RunFolderError
from minigrok.geometry.subspace import thinned
from minigrok.storage.milestones import all_grokked_at, milestones
from minigrok.storage.runs import Run
from minigrok.training.counters import more_steps

LEAST_AFTER = 5  # snapshots after the last grok that a PCA of them needs (paper)
LEAST_ROWS = 3


def last_grok(run: Run) -> int | None:
    """Step at which the last task of a run grokked; None unless all did."""
    return all_grokked_at(milestones(run.config, run.metrics()).values())


def after_grok(run: Run, steps: Array) -> Array:
    """Return the steps after the last grok; none if not every task grokked."""
    grok = last_grok(run)
    return steps[steps > grok] if grok is not None else steps[:0]


def steps_of(run: Run, name: str, steps: Array) -> Array:
    """Return the steps, of the snapshots at `steps`, that are rows of a convention."""
    convention = CONVENTIONS[name]
    used = after_grok(run, steps) if convention.after else steps[steps <= convention.until * steps[-1]]
    used = used if convention.init_row else used[used > 0]
    return np.array(thinned(used.tolist(), convention.count)) if convention.count else used


def may_lack(name: str) -> bool:
    """Whether a part is left out of a run that has too few rows for it: those of a part of the time alone."""
    return name in CONVENTIONS and (CONVENTIONS[name].after or CONVENTIONS[name].until < 1)


def has_rows(run: Run, name: str, steps: Array) -> bool:
    """Whether a run has rows enough for a convention."""
    return len(steps_of(run, name, steps)) >= (LEAST_AFTER if CONVENTIONS[name].after else LEAST_ROWS)


@dataclass(frozen=True)
class Rows:
    """What a convention makes of a trajectory.

    Attributes
    ----------
    X : (S, P) float64   rows for the PCA, the origin taken off
    origin : (P,)        what is added back at the final step
    """

    X: Array
    origin: Array


def rows_of(run: Run, name: str, steps: Array, thetas: Array, init: Array) -> Rows:
    """Return the rows of a convention.

    Parameters
    ----------
    run : Run
    name : str          key of CONVENTIONS
    steps : (S,) int    of the snapshots, from 0 to the final one
    thetas : (S, P)     the snapshots
    init : (P,)         weights at step 0, float64

    Raises
    ------
    RunFolderError
        Too few rows.
    """
    convention, rate = CONVENTIONS[name], run.config.optimiser.decay_rate
    used = steps_of(run, name, steps)
    require_rows(run, name, steps)
    X = thetas[np.isin(steps, used)].astype(np.float64)
    origin = np.zeros_like(init)
    if convention.origin == "decayed":
        X -= np.outer((1 - rate) ** used, init)
        return Rows(X, (1 - rate) ** float(steps[-1]) * init)
    if convention.origin == "init":
        origin = init
    elif convention.origin == "mean":
        origin = X.mean(axis=0)
    elif convention.origin == "grok":
        origin = X[0].copy()
    X -= origin
    return Rows(X[1:] if convention.origin == "grok" else X, origin)


def require_rows(run: Run, name: str, steps: Array) -> None:
    """Raise a RunFolderError if a run has too few rows for a convention."""
    if not has_rows(run, name, steps):
        raise _too_few(run, name, len(steps_of(run, name, steps)))


def _too_few(run: Run, name: str, count: int) -> RunFolderError:
    if not CONVENTIONS[name].after:
        required = f"at least {LEAST_ROWS} rows for the convention {name!r} in {run.folder}"
        return RunFolderError(required, str(count), "train longer, or choose other parts")
    grok = last_grok(run)
    got = f"{count}" + (f" after step {grok:,}" if grok is not None else ": not every task grokked")
    required = f"at least {LEAST_AFTER} snapshots of {run.folder} after the last grok"
    more = more_steps(run)
    return RunFolderError(required, got, more + " --after-grok 2000" * more.endswith(str(run.folder)))
