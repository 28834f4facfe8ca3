"""k*: how many principal components of its own trajectory rebuild each run's last network (geometry.reconstruction).

    rows     theta_t - theta_0 at 100 checkpoints at most, evenly spaced over the run, all parameters, uncentred (paper)
    theta_k  theta_0 + the part of theta_T - theta_0 in the first k components
    k*       smallest k with .90 in every task: the first crossing (paper), and the one from which on it stays
On test pairs k* exists only for a run that generalised; on train pairs also for one that only memorised: the control.
theta_T is one of the rows, and most of theta_T - theta_0 is the initial weights decaying, whatever was learnt: a k*
that goes with weight decay may do so for that reason. Bridges and other origins: see minigrok.geometry.reconstruction.
Source: arXiv:2602.18523, figTHR, figTRI_THR; train pairs, lasting crossing: minigrok.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minigrok.analyses.base import Work, checkpoint_steps
from minigrok.analyses.shared.curves import Scorer
from minigrok.analyses.shared.trajectories import load
from minigrok.config import config_hash
from minigrok.engine import Array
from minigrok.geometry.reconstruction import MARK, directions, first_crossing, lasting_crossing, rebuilt
from minigrok.storage.cadence import checkpoints
from minigrok.storage.runs import Run

CHECKPOINTS = 100  # paper
PARTS = ("test", "train")


@dataclass(frozen=True)
class Rebuilding:
    """Accuracies of one run's rebuilt networks.

    Attributes
    ----------
    checkpoints : int
    accuracy : dict of "test", "train" to (K,)    the worst task's, k = 1 .. K
    outside : (K,)                                share of |theta_T - theta_0|^2 outside the first k components
    whole : dict of "test", "train" to float      the worst task's accuracy of theta_T itself
    """

    checkpoints: int
    accuracy: dict[str, Array]
    outside: Array
    whole: dict[str, float]

    def first(self, part: str) -> float:
        """Return the first crossing; nan: none."""
        return _number(first_crossing(self._ks, self.accuracy[part] >= MARK))

    def lasting(self, part: str) -> float:
        """Return the crossing from which on it stays; nan: none."""
        return _number(lasting_crossing(self._ks, self.accuracy[part] >= MARK))

    @property
    def _ks(self) -> Array:
        return np.arange(1, len(self.outside) + 1)


def rebuild(runs: Sequence[Run], work: Work, protocol: str, components: int) -> list[Rebuilding | None]:
    """Return each run's rebuilt networks, in parts that a killed sitting keeps; None: fewer than 3 checkpoints."""
    known = [i for i, run in enumerate(runs) if len(checkpoints(run, protocol)) >= 3]
    names = [f"rebuilt-{config_hash(runs[i].config)[:12]}-{runs[i].snapshots()[-1]:06d}" for i in known]
    parts = work.parts(names, lambda i: _rebuild(runs[known[i]], protocol, components))
    found: list[Rebuilding | None] = [None] * len(runs)
    for i, part in zip(known, parts, strict=True):
        accuracy = {name: part[name][:-1] for name in PARTS}
        whole = {name: float(part[name][-1]) for name in PARTS}
        found[i] = Rebuilding(int(part["checkpoints"]), accuracy, part["outside"], whole)
    return found


def _rebuild(run: Run, protocol: str, components: int) -> dict[str, Array]:
    """Accuracies (K + 1,) of theta_1 .. theta_K and of theta_T, and the shares outside (K,)."""
    steps = checkpoint_steps(run, protocol, 3, CHECKPOINTS)
    X = load(run, steps, slice(0, run.layout.size))
    start, end = X[0].astype(np.float64), X[-1].astype(np.float64)
    X = X[1:] - X[0]
    V, _ = directions(X, components, False)
    found = rebuilt(V, start, end)
    ks, scorer = range(1, V.shape[1] + 1), Scorer(run.config, run.config.compute.dtype)
    worst = np.array([scorer.accuracies(theta).min(axis=1) for theta in [*map(found.theta, ks), end]])  # (K + 1, 2)
    return {
        "outside": np.array([found.outside(k) for k in ks]),
        "checkpoints": np.array(len(steps)),
        "train": worst[:, 0],
        "test": worst[:, 1],
    }


def _number(k: int | None) -> float:
    return float("nan") if k is None else float(k)
