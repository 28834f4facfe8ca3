"""Linearised network: does it do what the network does, lazily, or are new features learnt.

    f_s(theta_t) = f(theta_s) + J_s (theta_t - theta_s)       first-order Taylor polynomial of the logits at anchor s
    J_s v                                                     exact (Objective.jvp), no finite difference
Loss (nats) and accuracy of f_s at theta_t, t >= s, on all train and all test pairs, task by task. Training is lazy from
s on if f_s(theta_t) does what f(theta_t) does, and rich if only the network itself generalises.
    error     |f_s(theta_t) - f(theta_t)| / |f(theta_t) - f(theta_s)|, over all logits: 0 lazy; 1 as far off as no move
The logits are linear in the heads' weights and biases, so f(theta) = J v with v = theta in the heads and 0 elsewhere.
Anchors: the start, the step at which every task is memorised (train accuracy > .99), and further ones at equal
distances up to the end; at the nearest snapshot.
Nulls: the network itself at theta_t, and at theta_s where nothing has moved; f_s along `draws` random directions of the
length |theta_t - theta_s|, isotropic; chance, the share of the most frequent class among the pairs.
Protocol "paper" has no counterpart: the same, of the paper's checkpoints.
Source: lazy and rich: Chizat et al. 2019; in grokking: Kumar et al. 2024, arXiv:2310.06110; anchors, nulls: minigrok.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from minigrok.analyses import base
from minigrok.analyses.base import MANY, Analysis, Cost, Row, Work, checkpoint_steps, plain_row
from minigrok.analyses.shared import events
from minigrok.analyses.shared.cost import START, host, measured_seconds
from minigrok.analyses.shared.curvature import SHARD
from minigrok.checks import Between
from minigrok.engine import Array, open_engine
from minigrok.geometry.subspace import thinned
from minigrok.network.evaluation import Scores, judge
from minigrok.network.objective import Objective
from minigrok.network.params import Layout
from minigrok.plotting import COLOURS, MARKERS, Figure, legend_of_all, panel_grid
from minigrok.storage.runs import Run
from minigrok.tasks import pairs

PARTS = ("train", "test")


@dataclass(frozen=True)
class Settings(base.Settings):
    """Settings of linearised.

    Attributes
    ----------
    protocol : str    "exact" or "paper"
    most : int        snapshots that each anchor is compared with, evenly thinned (our choice: 12, for cost)
    anchors : int     points that the network is linearised at (our choice: 4)
    draws : int       random directions an anchor (our choice: 2, for cost)
    """

    name = "linearised"
    most: Annotated[int, Between(2, MANY)] = 12
    anchors: Annotated[int, Between(1, 1000)] = 4
    draws: Annotated[int, Between(1, 10_000)] = 2


@dataclass(frozen=True)
class Track:
    """One anchor on one set of pairs, at N later snapshots.

    Attributes
    ----------
    anchor : int
    part : str                              "train" or "test"
    steps : (N,) int                        the anchor first
    loss, accuracy : (N, tasks)             of the linearised network
    true_loss, true_accuracy : (N, tasks)   of the network
    random_accuracy : (N, draws, tasks)     of the linearised network along random directions
    error : (N,)                            nan at the anchor
    """

    anchor: int
    part: str
    steps: Array
    loss: Array
    accuracy: Array
    true_loss: Array
    true_accuracy: Array
    random_accuracy: Array
    error: Array


@dataclass(frozen=True)
class Result:
    """Tracks of one run; `chance`: (tasks,) by part."""

    run: str
    tasks: list[str]
    memorised: int | None
    chance: dict[str, Array]
    tracks: list[Track]


def logits(objective: Objective, layout: Layout, theta: Array) -> Array:
    """Return f(theta) (n_tasks, B, V): the derivative along the heads' own weights, in which the logits are linear."""
    return objective.jvp(theta, np.where(layout.group(["heads.*"]), theta, 0.0))


def linearised(base_logits: Array, objective: Objective, anchor: Array, theta: Array) -> Array:
    """Return f_s(theta) (n_tasks, B, V) for the anchor's parameters (P,) and logits."""
    return base_logits + objective.jvp(anchor, theta - anchor)


def scores(z: Array, targets: Array) -> Scores:
    """Return loss and accuracy of logits (n_tasks, B, V), targets (n_tasks, B)."""
    engine = open_engine("cpu", "float64")
    loss, correct = [], np.empty(targets.shape, np.bool_)
    for k, right in enumerate(correct):
        losses = judge(engine, np.ascontiguousarray(z[k]), np.ascontiguousarray(targets[k]), right)
        loss.append(float(np.mean(losses)))
    return Scores(np.array(loss), correct.mean(axis=1), correct)


def compute(runs: Sequence[Run], settings: Settings, work: Work) -> Result:
    """Return what the linearised network does, from every anchor on, on train and test pairs."""
    run, columns = runs[0], events.evaluations(runs[0])
    steps = checkpoint_steps(run, settings.protocol, 2)
    reached = [events.memorised(columns, task) for task in run.config.task.operations]
    memorised = None if None in reached else max(step for step in reached if step is not None)
    chosen = [(part, anchor) for part in PARTS for anchor in anchors(steps, memorised, settings.anchors)]
    data, tracks = pairs(run.config.task, run.config.seed), []
    sets = {part: data.of(getattr(data, part)) for part in PARTS}
    measure = Measurement(run, settings, work, sets)
    names = [f"{part}-{anchor:06d}" for part, anchor in chosen]
    later = [thinned([step for step in steps if step >= anchor], settings.most) for _, anchor in chosen]
    found = work.parts(names, lambda i: measure.track(*chosen[i], later[i]))
    for (part, anchor), each, each_part in zip(chosen, later, found, strict=True):
        fields = ("loss", "accuracy", "true_loss", "true_accuracy", "random_accuracy", "error")
        tracks.append(Track(anchor, part, np.array(each), *(each_part[name] for name in fields)))
    chance = {part: np.array([np.bincount(t).max() / len(t) for t in both[1]]) for part, both in sets.items()}
    return Result(run.folder.name, list(run.config.task.operations), memorised, chance, tracks)


def anchors(steps: Sequence[int], memorised: int | None, count: int) -> list[int]:
    """Return the anchors' steps: start, memorised, and up to the end, which is none itself."""
    there = 0 if memorised is None else int(np.searchsorted(steps, memorised))
    first = min(there, len(steps) - 2)
    rest = np.linspace(first, len(steps) - 1, count if first else count + 1)[:-1]
    return [int(steps[i]) for i in np.unique([0, *rest.astype(int)])][:count]


class Measurement:
    """The loss of one set of pairs at a time, and the random directions, the same for every set."""

    def __init__(self, run: Run, settings: Settings, work: Work, sets: dict[str, tuple[Array, Array]]) -> None:
        self.run, self.settings, self.work, self.sets = run, settings, work, sets
        self.part = ""
        self.objective: Objective | None = None

    def _at(self, part: str) -> Objective:
        if self.part != part or self.objective is None:
            tokens, targets = self.sets[part]
            self.objective = Objective(self.run.config, tokens, targets, shards=-(-len(tokens) // SHARD))
            self.part = part
        return self.objective

    def track(self, part: str, anchor: int, steps: list[int]) -> dict[str, Array]:
        """Return the fields of a Track."""
        objective, layout, targets = self._at(part), self.run.layout, self.sets[part][1]
        theta_s, rng = self._theta(anchor), self.work.rng(f"linearised/{anchor}")
        start = logits(objective, layout, theta_s)
        directions = [rng.standard_normal(theta_s.size) for _ in range(self.settings.draws)]
        random = [objective.jvp(theta_s, r / np.linalg.norm(r)) for r in directions]
        moved = {step: linearised(start, objective, theta_s, self._theta(step)) for step in steps}
        found: dict[str, list[Array]] = {}
        for step, z in moved.items():
            true, length = logits(objective, layout, self._theta(step)), np.linalg.norm(self._theta(step) - theta_s)
            own, network = scores(z, targets), scores(true, targets)
            far = float(np.linalg.norm(true - start))
            row = {
                "loss": own.loss,
                "accuracy": own.accuracy,
                "true_loss": network.loss,
                "true_accuracy": network.accuracy,
                "random_accuracy": np.array([scores(start + length * Jr, targets).accuracy for Jr in random]),
                "error": np.array(float(np.linalg.norm(z - true)) / far if step != anchor and far > 0 else np.nan),
            }
            for name, value in row.items():
                found.setdefault(name, []).append(value)
        return {name: np.array(values) for name, values in found.items()}

    def _theta(self, step: int) -> Array:
        return self.run.load_snapshot(step).astype(np.float64)


def table(result: Result) -> list[Row]:
    """One row an anchor, set of pairs and task: at the end, and where the linearised network does best."""
    return [_row(result, track, k) for track in result.tracks for k in range(len(result.tasks))]


def _row(result: Result, track: Track, k: int) -> Row:
    best = int(np.argmax(track.accuracy[:, k]))
    row: Row = {"run": result.run, "anchor": track.anchor, "pairs": track.part, "task": result.tasks[k]}
    row |= {"at": int(track.steps[-1]), "accuracy": track.accuracy[-1, k], "network": track.true_accuracy[-1, k]}
    row |= {"unmoved": track.true_accuracy[0, k], "random": float(track.random_accuracy[-1, :, k].mean())}
    row |= {"chance": result.chance[track.part][k], "loss": track.loss[-1, k], "network loss": track.true_loss[-1, k]}
    row |= {"error": track.error[-1], "best": track.accuracy[best, k], "best at": int(track.steps[best])}
    return plain_row(row | {"draws": track.random_accuracy.shape[1]})


def figure(result: Result) -> Figure:
    """Accuracy of the linearised network from every anchor, beside the network: a panel a set of pairs and task."""
    tasks = result.tasks
    drawn, axes = panel_grid(2 * len(tasks), f"{result.run}: the linearised network", len(tasks), (5.5, 3.2))
    for i, (part, k) in enumerate((part, k) for part in PARTS for k in range(len(tasks))):
        axis, tracks = axes[i], [track for track in result.tracks if track.part == part]
        axis.plot(tracks[0].steps, tracks[0].true_accuracy[:, k], color="black", label="the network itself")
        for track, colour, marker in zip(tracks, COLOURS * len(tracks), MARKERS * len(tracks), strict=False):
            label = f"linearised at step {track.anchor:,}"
            axis.plot(track.steps, track.accuracy[:, k], color=colour, marker=marker, markersize=4, label=label)
            random = track.random_accuracy[:, :, k].mean(axis=1)
            axis.plot(track.steps, random, ":", color=colour, linewidth=1, label="the same, random directions (dotted)")
        axis.axhline(result.chance[part][k], color="0.6", linestyle="--", linewidth=1, label="most frequent class")
        axis.set_ylim(-0.03, 1.03)
        axis.set_title(f"{tasks[k]}, {part} pairs")
        axis.set_xlabel("optimiser step")
        axis.locator_params(axis="x", nbins=5)
        axis.set_ylabel("accuracy")
    legend_of_all(drawn, axes)
    return drawn


def cost(runs: Sequence[Run], settings: Settings) -> Cost:
    """Count the products; one at an anchor is two forward passes, one elsewhere three."""
    n = settings.anchors * (1 + settings.draws + settings.most)
    passes = 2 * n + 3 * settings.anchors * settings.most
    words = f"at most {2 * (n + settings.anchors * settings.most):,} products J v on all train or all test pairs"
    return Cost(host(START) + passes * measured_seconds(runs[0]).score, words)


ANALYSIS = Analysis(
    "Is the network after training that of a linear expansion from earlier weights (lazy), or a new one (rich)?",
    "Kumar et al. 2024, arXiv:2310.06110; later anchors, random directions, chance: minigrok",
    Settings,
    compute,
    table,
    figure,
    cost,
)
