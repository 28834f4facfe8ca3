"""The paper's smallest Hessian eigenvalues, and what they are worth.

Protocol: at each of at most 30 checkpoints and for the total loss and each task's, 512 train pairs drawn anew without
replacement, 25 Lanczos products in float32 from a random start, one pass of full orthogonalisation, the 5 smallest Ritz
values. Onset: the first of 3 checkpoints in a row with lambda_1 < -0.01.
Beside each value, which the original lacks: its true residual r = |H y - lambda y| / |y|, H of the same 512 pairs in
float64, y the Ritz vector. An eigenvalue lies within r of lambda; if r >= |lambda| not even the sign is known.
TRAP: 25 products cannot resolve five small values next to large positive ones: Ritz values 2 to 5 then come out
positive and large, where the true ones are negative or near 0.
TRAP: the Hessian at step 0 is below -0.01 already, so the onset is the first checkpoint.
TRAP: each value is of another sample: the change from one to the next holds the sampling noise.
Streams are seeded here; the original's were not. Source: arXiv:2602.18523, code aa4e72f, figMT_H, figTT_H.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from minigrok.analyses.base import Work, checkpoint_steps
from minigrok.analyses.hessian.result import Paper, Settings
from minigrok.analyses.shared.curvature import Meter
from minigrok.engine import Array
from minigrok.geometry import krylov
from minigrok.network.objective import Objective
from minigrok.storage.runs import Run
from minigrok.tasks import Pairs, pairs

CHECKPOINTS, ITERATIONS, SAMPLE, VALUES = 30, 25, 512, 5
BELOW, SUSTAIN = -0.01, 3
TOTAL = "total"


def modes(run: Run) -> list[str]:
    """Return the losses that the paper looks at."""
    tasks = run.config.task.operations
    return [TOTAL, *(tasks if len(tasks) > 1 else ())]


def products(settings: Settings) -> int:
    """Return the products behind one snapshot and mode."""
    return (settings.products or ITERATIONS) + VALUES


def compute(run: Run, settings: Settings, work: Work) -> Paper:
    """Return the paper's values with their residuals."""
    steps, names = checkpoint_steps(run, "paper", 1, settings.most or CHECKPOINTS), modes(run)
    meter = Meter(work, len(steps) * len(names) * products(settings))
    sampled = _Sampled(run, meter.tick)
    found = []
    for step in steps:
        theta = run.load_snapshot(step)
        for mode in names:
            rng = work.rng(f"hessian/paper/{step}/{mode}")
            part = partial(sampled.smallest, theta, mode, rng, settings.products or ITERATIONS)
            found.append(meter.part(f"{step:06d}-{mode}", products(settings), part))
    shape = (len(steps), len(names), -1)
    values, residuals = (np.array([each[key] for each in found]).reshape(shape) for key in ("values", "residuals"))
    onsets = [onset(np.array(steps), values[:, m, 0]) for m in range(len(names))]
    return Paper(run.folder.name, names, np.array(steps), sampled.size, settings.tolerance, values, residuals, onsets)


def onset(steps: Array, lowest: Array) -> int | None:
    """Return the first of SUSTAIN steps in a row with a lowest value under BELOW, or None."""
    for i in range(len(lowest) - SUSTAIN + 1):
        if (lowest[i : i + SUSTAIN] < BELOW).all():
            return int(steps[i])
    return None


def smallest_ritz(
    product: Callable[[Array], Array], start: Array, iterations: int = ITERATIONS, k: int = VALUES
) -> tuple[Array, Array]:
    """Return the k smallest Ritz values and their vectors (P, k) by the paper's Lanczos, in the dtype of `start`."""
    found = krylov.ritz(krylov.lanczos(product, start, iterations, passes=1), slice(k))
    return found.values[:k], found.vectors


def true_residuals(product: Callable[[Array], Array], values: Array, vectors: Array) -> Array:
    """Return |A y - value y| / |y| (k,) of each column y of `vectors` (P, k), in float64."""
    Y = vectors.astype(np.float64)
    Y /= np.linalg.norm(Y, axis=0)
    return np.array([np.linalg.norm(product(y.copy()) - value * y) for value, y in zip(values, Y.T, strict=True)])


class _Sampled:
    """Hessians of samples of the train pairs, in float32 and in float64."""

    def __init__(self, run: Run, tick: Callable[[], None]) -> None:
        self._data: Pairs = pairs(run.config.task, run.config.seed)
        self.size = min(SAMPLE, len(self._data.train))
        self._tasks, self._tick = run.config.task.operations, tick
        rows = self._data.train[: self.size]
        batch = self._data.tokens[rows], self._data.targets[:, rows]
        self._single, self._double = (Objective(run.config, *batch, dtype=t) for t in ("float32", "float64"))

    def smallest(self, theta: Array, mode: str, rng: np.random.Generator, iterations: int) -> dict[str, Array]:
        rows = rng.choice(self._data.train, self.size, replace=False)
        weights = np.array([1.0 if mode in (TOTAL, task) else 0.0 for task in self._tasks])
        for objective in (self._single, self._double):
            objective.load(self._data.tokens[rows], self._data.targets[:, rows], weights)
        start = rng.standard_normal(theta.size).astype(np.float32)
        values, vectors = smallest_ritz(self._counted(self._single, theta), start, iterations)
        residuals = true_residuals(self._counted(self._double, theta), values, vectors)
        missing = (0, VALUES - values.size)  # a tiny model has fewer Ritz values
        return {
            key: np.pad(x, missing, constant_values=np.nan) for key, x in (("values", values), ("residuals", residuals))
        }

    def _counted(self, objective: Objective, theta: Array) -> Callable[[Array], Array]:
        at = theta.astype(objective.dtype)

        def product(v: Array) -> Array:
            found = objective.hvp(at, v)
            self._tick()
            return found

        return product
