"""The ways to take principal components of a trajectory before the final network is rebuilt from them.

The paper has three and quotes the one with which few directions suffice; here they stand side by side, with the ones
that a claim about the solution would need. What each does to the rows is `Convention`; the maths is in
minigrok.geometry.reconstruction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minigrok.analyses.shared.trajectories import load
from minigrok.engine import Array
from minigrok.errors import RunFolderError
from minigrok.geometry.subspace import thinned
from minigrok.storage.milestones import all_grokked_at, milestones
from minigrok.storage.runs import Run

LEAST_AFTER = 5  # snapshots after the last grok that a PCA of them needs (paper)
LEAST_ROWS = 3


@dataclass(frozen=True)
class Convention:
    """One way.

    Attributes
    ----------
    origin : str       what is subtracted from each row and added back to theta_k: "init", "zero", "decayed" initial
        weights, the "mean" row, or the weights at the last "grok"
    is_centred : bool  the mean row is taken off before the PCA; it is NOT added back, unless it is the origin
    init_row : bool    whether the row of step 0 is among the rows
    until : float      rows up to this share of the final step; below 1 the final network is no row: held out in time
    count : int        at most so many rows, evenly thinned; 0: all
    after : bool       rows after the last grok only
    """

    origin: str = "init"
    is_centred: bool = False
    init_row: bool = False
    until: float = 1.0
    count: int = 0
    after: bool = False


FEW = 30  # rows of the count-matched convention: fewer than any of our runs has; our choice
AFTER = ("post-grok, from init", "post-grok, from the grok")
CONVENTIONS = {
    "uncentred": Convention(),
    "centred, init row kept": Convention(is_centred=True, init_row=True),
    "centred, init row dropped": Convention(is_centred=True),
    "centred, about the mean": Convention("mean", is_centred=True),
    "decay removed": Convention("decayed"),
    "theta itself": Convention("zero"),
    "held out, first 90 %": Convention(until=0.9),
    "held out, first 75 %": Convention(until=0.75),
    "held out, first 50 %": Convention(until=0.5),
    "held out, first 75 %, decay removed": Convention("decayed", until=0.75),
    f"uncentred, {FEW} snapshots": Convention(count=FEW),
    AFTER[0]: Convention(is_centred=True, after=True),
    AFTER[1]: Convention("grok", after=True),
}
PAPER = {  # the paper's k, by convention: figTHR, figCOMP (a), figABL4, figCOMP (b), figABL4
    "uncentred": tuple(range(1, 21)),
    "centred, init row kept": (1, 2, 3, 5, 10, 15, 20, 30),
    "centred, init row dropped": (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30),
    AFTER[0]: (1, 2, 3, 5, 10, 15, 20, 30),
    "random directions": (1, 2, 5, 10, 20),
}


def last_grok(run: Run) -> int | None:
    """Step at which the last task of a run grokked; None unless all did."""
    return all_grokked_at(milestones(run.config, run.metrics()).values())


def after_grok(run: Run, steps: Array) -> Array:
    """Return the steps after the last grok; none if not every task grokked."""
    grok = last_grok(run)
    return steps[steps > grok] if grok is not None else steps[:0]


def grok_rows(run: Run, steps: Array) -> Array:
    """Return the steps after the last grok.

    Raises
    ------
    RunFolderError
        Fewer than LEAST_AFTER of them.
    """
    found, grok = after_grok(run, steps), last_grok(run)
    if len(found) < LEAST_AFTER:
        got = f"{len(found)}" + (f" after step {grok:,}" if grok is not None else ": not every task grokked")
        do = f"train on beyond the grok: minigrok resume {run.folder} --after-grok 2000"
        raise RunFolderError(f"at least {LEAST_AFTER} snapshots of {run.folder} after the last grok", got, do)
    return found


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
    least = LEAST_AFTER if CONVENTIONS[name].after else LEAST_ROWS
    return len(steps_of(run, name, steps)) >= least


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


def rows(run: Run, name: str, steps: Array, init: Array) -> Rows:
    """Return the rows of a convention.

    Parameters
    ----------
    run : Run
    name : str          key of CONVENTIONS
    steps : (S,) int    of the snapshots, from 0 to the final one
    init : (P,)         weights at step 0

    Raises
    ------
    RunFolderError
        Too few rows.
    """
    convention, rate = CONVENTIONS[name], run.config.optimiser.decay_rate
    if convention.after:
        grok_rows(run, steps)  # or its error
    used = steps_of(run, name, steps)
    if len(used) < LEAST_ROWS:
        required = f"at least {LEAST_ROWS} rows for the convention {name!r} in {run.folder}"
        raise RunFolderError(required, str(len(used)), "train longer, or choose other parts")
    X = load(run, used, slice(0, len(init))).astype(np.float64)
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
