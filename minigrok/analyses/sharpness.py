"""Sharpness: the curvature of the loss, as it is and as AdamW sees it, beside the edges of stability.

H, the Hessian of the summed loss over all training pairs (minigrok.analyses.shared.curvature), float64, and
    P = diag(sqrt(v) / sqrt(1 - beta2^n) + eps)          AdamW's preconditioner, n the steps that v has seen
    sharpness                  l1(H)                     highest eigenvalue, nats
    preconditioned sharpness   l1(P^-1/2 H P^-1/2)       what AdamW sees
A quadratic of curvature l diverges above
    2 / lr                                    gradient descent
    (2 + 2 beta1) / ((1 - beta1) lr)          AdamW with P at rest, preconditioned: 38 / lr at beta1 = .9
Clipping multiplies the gradient by c = min(1, clip / |g|). v holds clipped gradients, so P^-1 grows as 1 / c while the
gradient shrinks as c: the curvature that acts is "clipped", c l1(P^-1/2 H P^-1/2), c the mean over the replayed steps.
Weight decay adds wd to the preconditioned curvature (decoupled: Loshchilov & Hutter 2019), 1 beside 38,000.
Both edges are those of full batches. Noise of small batches keeps curvature below them.
Moments are in no snapshot. The checkpoint holds those of its own step, mostly the last: there they are used ("stored").
Elsewhere v comes from AdamW's steps, replayed on the run's own batches from empty moments at the last snapshot `warm`
or more steps before; beta2^warm = .018 of v's weight is missing then, which the bias correction makes up for. "replay"
is the distance of the replayed point to the snapshot over that between both snapshots, 0 from step 0 on. A start with
empty moments elsewhere is a kick, and 1 or more says that v is of a neighbouring path, not of the run's own.
Each value comes with its residual: an eigenvalue lies within that distance, and l1 is never below the value.
Nulls: random directions' Rayleigh quotient r^T A r / |r|^2, `draws` of them, mean and interval (the mean eigenvalue).
For the preconditioner l1(H) / mean(P), what one that has the same mean and is equal everywhere would give.
Protocol "paper" has no counterpart: the same, of the paper's checkpoints.
Source: Cohen et al. 2022, arXiv:2207.14484; clipping factor, nulls: minigrok.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from minigrok.analyses import base
from minigrok.analyses.base import MANY, Analysis, Cost, Row, Work, checkpoint_steps, plain_row
from minigrok.analyses.shared.cost import START, host, measured_seconds
from minigrok.analyses.shared.curvature import Curvature, Meter, Product, ends, spectrum
from minigrok.checks import Between
from minigrok.config import Optimiser
from minigrok.engine import Array
from minigrok.errors import RunFolderError
from minigrok.geometry.subspace import thinned
from minigrok.plotting import COLOURS, Axes, Figure, legend_of_all, panel_grid
from minigrok.statistics.intervals import mean_interval
from minigrok.storage.runs import Run
from minigrok.training.counters import more_steps
from minigrok.training.optim import CLIP_EPS, factors
from minigrok.training.train import trainer_of

USUAL = 15  # products after which a value has converged, mostly: of cost alone
OPERATORS = {"H": "sharpness", "P": "preconditioned"}


@dataclass(frozen=True)
class Settings(base.Settings):
    """Settings of sharpness.

    Attributes
    ----------
    protocol : str      "exact" or "paper"
    most : int          snapshots after step 0, evenly thinned (our choice: 10, for cost)
    products : int      Lanczos steps for each operator at most (our choice: 25, for cost); they end at a residual of a
                        tenth of `tolerance`, as further ones change the value by less than 1e-4 of it
    tolerance : float   residual / |value| of a converged value (our choice: 0.01)
    warm : int          steps of AdamW that fill the moments, at least (our choice: 200)
    draws : int         random directions of each operator (our choice: 4, for cost); one gives no interval
    """

    name = "sharpness"
    most: Annotated[int, Between(1, MANY)] = 10
    products: Annotated[int, Between(1, 10_000)] = 25
    tolerance: Annotated[float, Between(1e-15, 1)] = 0.01
    warm: Annotated[int, Between(1, MANY)] = 200
    draws: Annotated[int, Between(1, 10_000)] = 4


@dataclass(frozen=True)
class Top:
    """Highest eigenvalue of one operator at N snapshots.

    Attributes
    ----------
    values, residuals : (N,)
    converged : (N,) bool
    random : (N, draws)          Rayleigh quotients of random directions
    """

    values: Array
    residuals: Array
    converged: Array
    random: Array


@dataclass(frozen=True)
class Result:
    """One run at N snapshots.

    Attributes
    ----------
    run : str
    steps : (N,) int
    edge, adam_edge : float      2 / lr and (2 + 2 beta1) / ((1 - beta1) lr)
    raw, preconditioned : Top
    clipping : (N,)              mean factor c of the replayed steps
    mean_P : (N,)                mean of P's diagonal
    replay : (N,)
    stored : (N,)                1: v is the checkpoint's own, 0: v is replayed
    """

    run: str
    steps: Array
    edge: float
    adam_edge: float
    raw: Top
    preconditioned: Top
    clipping: Array
    mean_P: Array
    replay: Array
    stored: Array


def edges(s: Optimiser) -> tuple[float, float]:
    """Return the highest stable curvature of gradient descent, and the preconditioned one of AdamW at rest."""
    return 2 / s.learning_rate, (2 + 2 * s.beta1) / ((1 - s.beta1) * s.learning_rate)


def preconditioner(v: Array, n: int, s: Optimiser) -> Array:
    """Return the diagonal of P (P,) float64 for a second moment v (P,) of n steps."""
    *_, root, eps = factors(s, n)
    return np.asarray(np.sqrt(v.astype(np.float64)) * root + eps)


def preconditioned(product: Product, diagonal: Array) -> Product:
    """Return v -> P^-1/2 A P^-1/2 v for a product v -> A v and the diagonal (P,) of P."""
    scale = 1 / np.sqrt(diagonal)
    return lambda v: scale * product(scale * v)


def compute(runs: Sequence[Run], settings: Settings, work: Work) -> Result:
    """Return both sharpnesses along training.

    Raises
    ------
    RunFolderError
        No snapshot after step 0.
    """
    run, steps = runs[0], _steps(runs[0], settings)
    per_step = 2 * (settings.products + settings.draws)
    meter = Meter(work, len(steps) * per_step)
    measurement = Measurement(run, settings, work, meter.tick)
    names = [f"sharpness-{step:06d}" for step in steps]
    found = [
        meter.part(name, per_step, lambda step=step: measurement.at(step))  # type: ignore[misc]
        for name, step in zip(names, steps, strict=True)
    ]
    raw, seen = (Top(*(np.array([part[f"{key}_{x}"] for part in found]) for x in _FIELDS)) for key in OPERATORS)
    more = [np.array([float(part[key]) for part in found]) for key in ("clipping", "mean_P", "replay", "stored")]
    return Result(run.folder.name, np.array(steps), *edges(run.config.optimiser), raw, seen, *more)


_FIELDS = ("values", "residuals", "converged", "random")


def _steps(run: Run, settings: Settings) -> list[int]:
    steps = [step for step in checkpoint_steps(run, settings.protocol) if step]
    if not steps:
        raise RunFolderError(f"a snapshot after step 0 in {run.folder}", "none", more_steps(run))
    return thinned(steps, settings.most)


class Measurement:
    """What all snapshots share: the loss, and the trainer that replays."""

    def __init__(self, run: Run, settings: Settings, work: Work, tick: Callable[[], None]) -> None:
        self.run, self.settings, self.work = run, settings, work
        self.curvature, self.trainer = Curvature(run, tick), trainer_of(run)

    def at(self, step: int) -> dict[str, Array]:
        """Return the fields of both `Top`, clipping, mean_P and replay at a snapshot."""
        diagonal, found = self.replayed(step)
        theta, rng = self.run.load_snapshot(step).astype(np.float64), self.work.rng(f"sharpness/{step}")
        product = self.curvature.at(theta).hessian
        for key, operator in zip(OPERATORS, (product, preconditioned(product, diagonal)), strict=True):
            start, tolerance = rng.standard_normal(theta.size), self.settings.tolerance
            lanczos = spectrum(operator, start, self.settings.products, until=tolerance / 10)
            top = ends(key, lanczos, 1, 1, tolerance).highest
            draws = [rng.standard_normal(theta.size) for _ in range(self.settings.draws)]
            random = np.array([float(r @ operator(r)) / float(r @ r) for r in draws])
            each = (top.values[0], top.residuals[0], top.converged[0], random)
            found |= {f"{key}_{field}": np.array(x) for field, x in zip(_FIELDS, each, strict=True)}
        return found

    def replayed(self, step: int) -> tuple[Array, dict[str, Array]]:
        """Return P's diagonal at a snapshot from replayed steps, and what is known of these."""
        trainer, steps = self.trainer, np.array(self.run.snapshots())
        start = int(steps[steps <= max(step - self.settings.warm, int(steps[0]))][-1])
        start = start if start < step else int(steps[steps < step][-1])
        before, there = (self.run.load_snapshot(each).astype(np.float64) for each in (start, step))
        trainer.begin_at(self.run.load_snapshot(start), start)
        clip, scales = self.run.config.optimiser.clip_norm, []
        while trainer.counters.step < step:
            trainer.step()
            scales.append(min(1.0, clip / (trainer.grad_norm + CLIP_EPS)))
        off, walked = np.linalg.norm(trainer.theta - there), np.linalg.norm(there - before)
        stored = self._stored(step)
        v, n = stored or (trainer.adamw.v, trainer.adamw.steps)
        diagonal = preconditioner(v, n, self.run.config.optimiser)
        replay = off / walked if walked > 0 else np.nan
        numbers = {"clipping": np.mean(scales), "mean_P": diagonal.mean(), "replay": replay, "stored": bool(stored)}
        return diagonal, {name: np.array(x) for name, x in numbers.items()}

    def _stored(self, step: int) -> tuple[Array, int] | None:
        """Second moment of the run's own checkpoint and its steps, if the checkpoint is of this step."""
        checkpoint = self.run.load_checkpoint()
        if checkpoint is None or checkpoint[1]["step"] != step:
            return None
        return checkpoint[0]["adam_v"], step


def table(result: Result) -> list[Row]:
    """One row a snapshot."""
    return [_row(result, i) for i in range(len(result.steps))]


def _row(result: Result, i: int) -> Row:
    row: Row = {"run": result.run, "step": int(result.steps[i])}
    for label, top in zip(OPERATORS.values(), (result.raw, result.preconditioned), strict=True):
        low, high, n = mean_interval(top.random[i])
        row |= {label: top.values[i], f"{label} residual": top.residuals[i]}
        row |= {f"{label} converged": "yes" if top.converged[i] else "no"}
        row |= {
            f"{label} random": float(top.random[i].mean()),
            f"{label} random low": low,
            f"{label} random high": high,
        }
    clipped = result.clipping[i] * result.preconditioned.values[i]
    row |= {"isotropic P": result.raw.values[i] / result.mean_P[i], "clipping": result.clipping[i], "clipped": clipped}
    row |= {"2 / lr": result.edge, "edge of AdamW": result.adam_edge, "clipped / edge": clipped / result.adam_edge}
    return plain_row(row | {"v": "stored" if result.stored[i] else "replayed", "replay": result.replay[i], "draws": n})


def figure(result: Result) -> Figure:
    """Sharpness beside 2 / lr, preconditioned sharpness beside AdamW's edge, and the factor of clipping."""
    drawn, axes = panel_grid(3, f"{result.run}: sharpness and the edge of stability", 3, (5, 3.6))
    _draw(axes[0], result, result.raw, "highest eigenvalue of $H$")
    axes[0].axhline(result.edge, color=COLOURS[1], linestyle="--", label="edge: $2 / lr$, and AdamW's")
    axes[0].set_title("sharpness")
    _draw(axes[1], result, result.preconditioned, "highest eigenvalue")
    clipped = result.clipping * result.preconditioned.values
    axes[1].plot(result.steps, clipped, "-s", color=COLOURS[0], markersize=4, label="times the factor of clipping")
    isotropic = result.raw.values / result.mean_P
    axes[1].plot(result.steps, isotropic, "-.", color=COLOURS[2], label="$P$ equal everywhere, same mean")
    axes[1].axhline(result.adam_edge, color=COLOURS[1], linestyle="--")
    axes[1].set_title("$P^{-1/2} H P^{-1/2}$")
    axes[2].plot(result.steps, result.clipping, "-s", color=COLOURS[0], markersize=4)
    axes[2].set_ylim(0, 1.05)
    axes[2].set_title("mean factor of clipping")
    axes[2].set_ylabel("$\\min(1, clip / |g|)$")
    for axis in axes:
        axis.set_xlabel("optimiser step")
        axis.locator_params(axis="x", nbins=5)
    legend_of_all(drawn, axes)
    return drawn


def _draw(axis: Axes, result: Result, top: Top, label: str) -> None:
    axis.plot(result.steps, top.values, "-", color="black")
    for good, fill, word in ((True, "black", "converged"), (False, "white", "not converged: a lower bound")):
        here = top.converged == good
        look: dict[str, Any] = {"color": "black", "markerfacecolor": fill, "markersize": 5, "linestyle": ""}
        if here.any():
            axis.plot(result.steps[here], top.values[here], marker="o", label=f"measured, {word}", **look)
    axis.plot(result.steps, np.abs(top.random.mean(axis=1)), ":", color="0.45", label="random directions, |mean|")
    if (top.values > 0).any():
        axis.set_yscale("log", nonpositive="mask")
    axis.set_ylabel(f"{label} (nats)")


def cost(runs: Sequence[Run], settings: Settings) -> Cost:
    """Count the products, as many as values usually take, and the replayed steps."""
    seconds, steps = measured_seconds(runs[0]), _steps(runs[0], settings)
    n = 2 * (min(settings.products, USUAL) + settings.draws) * len(steps)
    replayed = sum(min(step, settings.warm) for step in steps)
    words = f"some {n} Hessian products in {len(steps)} snapshots, and {replayed:,} steps of training replayed"
    return Cost(host(START) + n * seconds.hvp + replayed * seconds.grad32, words)


ANALYSIS = Analysis(
    "Does curvature rest at the edge of stability, that of gradient descent or that of AdamW?",
    "Cohen et al. 2022, arXiv:2207.14484; residuals, factor of clipping, random directions: minigrok",
    Settings,
    compute,
    table,
    figure,
    cost,
)
