"""Connectivity: the loss on the straight line between two networks of one condition, and how far it rises there.

    line        theta(s) = (1 - s) a + s b, s = 0 .. 1
    barrier     max_s [L(theta(s)) - (1 - s) L(a) - s L(b)] >= 0, L the loss, or the share of pairs that are wrong
Frankle et al. take the mean of the two ends in place of their line: the same where the ends are alike. Lines:
    run      from earlier snapshots of a run to its last one: from when on are both in one basin
    repeat   between the last networks of two repeats of one seed, that differed by one rounding error. THE NULL: a
             higher barrier between two seeds is of the seeds, not of chance in training
    seed     between the last networks of two seeds, each with the next in the order given; n seeds have n - 1 lines,
             and two that share a run are not independent, so there is no p
Train: the pairs that both were trained on; test: those that neither saw. Seeds split the pairs otherwise, so each is a
quarter of them all. b is replaced by a network that computes the same (minigrok.geometry.matching):
    as it is        b
    heads, MLP      heads and hidden units in the order that makes <a, b> large
    all             the coordinates of the residual stream, too, and heads turned: each seed draws them anew, so nothing
                    less can bring two seeds together. Repeats are matched as seeds are
    cosine          of a and b; beside it that of a and Gaussian noise with the norms of b, array by array, matched in
                    the same way, the mean of `draws`: matching finds some likeness in anything
Protocol "paper": float32, the last of the paper's checkpoints; it measures no such thing.
Source: Frankle et al. 2020 (arXiv:1912.05671), instability and repeats; Entezari et al. 2022 (arXiv:2110.06296),
barrier; Ainsworth et al. 2023 (arXiv:2209.04836), matching of weights, 25 points. Lines along a run: minigrok.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, NamedTuple

import numpy as np

from minigrok.analyses import base
from minigrok.analyses.base import MANY, Analysis, Cost, Row, Work, checkpoint_steps, plain_row
from minigrok.analyses.shared import events
from minigrok.analyses.shared.cost import START, host, measured_seconds
from minigrok.analyses.shared.units import require_alike, units
from minigrok.checks import Between
from minigrok.engine import Array
from minigrok.errors import RunFolderError
from minigrok.geometry import matching
from minigrok.geometry.compression import noise_like
from minigrok.network.passes import evaluation, passes
from minigrok.plotting import COLOURS, Axes, Figure, legend_of_all, panel_grid
from minigrok.storage.runs import Run
from minigrok.tasks import pairs

RUN, REPEAT, SEED = "run", "repeat", "seed"
SETS = ("train", "test")
AS_IS, SOME, ALL = "as it is", "heads, MLP", "all"
MATCHINGS: dict[str, dict[str, Any]] = {
    AS_IS: {"groups": (), "turns": False},
    SOME: {"groups": (matching.HEADS, matching.HIDDEN), "turns": False},
    ALL: {"groups": matching.GROUPS, "turns": True},
}


@dataclass(frozen=True)
class Settings(base.Settings):
    """Settings of connectivity.

    Attributes
    ----------
    protocol : str    "exact" or "paper"
    most : int        snapshots of each run, evenly thinned (our choice: 6)
    points : int      of each line, both ends too (Ainsworth et al.: 25)
    draws : int       of noise that is matched (our choice: 5)
    """

    name = "connectivity"
    most: Annotated[int, Between(2, MANY)] = 6
    points: Annotated[int, Between(3, MANY)] = 25
    draws: base.Draws = 5


@dataclass(frozen=True)
class Line:
    """Losses and accuracies between two networks.

    Attributes
    ----------
    kind, first, second, matched : str
    loss, accuracy : (2, S, n_tasks)    by SETS
    cosine, noise : float               of a and b, of a and matched noise (nan: nothing is matched)
    distance : float                    |a - b| / sqrt(|a| |b|)
    """

    kind: str
    first: str
    second: str
    matched: str
    loss: Array
    accuracy: Array
    cosine: float
    noise: float
    distance: float


@dataclass(frozen=True)
class Result:
    """Lines, and the places s (S,) of their points."""

    tasks: list[str]
    s: Array
    lines: list[Line]


class End(NamedTuple):
    """A network at an end of a line: a run's place among the runs, and a step."""

    run: int
    step: int


def compute(runs: Sequence[Run], settings: Settings, work: Work) -> Result:
    """Measure every line.

    Raises
    ------
    RunFolderError
        Runs of two conditions, or fewer than two snapshots.
    """
    names = events.labels(runs)
    require_alike(runs, names, [], "repeat")
    s = np.linspace(0, 1, settings.points)
    jobs = list(_jobs(runs, settings))
    walkers: dict[tuple[int, int], Walker] = {}

    def one(n: int) -> dict[str, Array]:
        kind, a, b, how = jobs[n]
        seeds = runs[a.run].config.seed, runs[b.run].config.seed
        if seeds not in walkers:
            walkers.clear()  # one at a time in memory
            walkers[seeds] = Walker(runs[a.run], runs[b.run], settings.protocol)
        thetas = [runs[end.run].load_snapshot(end.step).astype(np.float64) for end in (a, b)]
        rng = work.rng(f"connectivity/{kind}/{names[a.run]}/{names[b.run]}/{how}")
        return measured(walkers[seeds], thetas[0], thetas[1], how, s, settings.draws, rng)

    parts = work.parts([f"line-{n:04d}" for n in range(len(jobs))], one)
    lines = [
        Line(kind, f"{names[a.run]} {a.step}", f"{names[b.run]} {b.step}", how, **_fields(part))
        for (kind, a, b, how), part in zip(jobs, parts, strict=True)
    ]
    return Result(list(runs[0].config.task.operations), s, lines)


def _jobs(runs: Sequence[Run], settings: Settings) -> Iterator[tuple[str, End, End, str]]:
    steps = [checkpoint_steps(run, settings.protocol, 2, settings.most) for run in runs]
    for i, each in enumerate(steps):
        yield from ((RUN, End(i, step), End(i, each[-1]), AS_IS) for step in each[:-1])
    last, who = [End(i, each[-1]) for i, each in enumerate(steps)], units(runs)
    firsts = {unit.seed: i for i, unit in reversed([*enumerate(who)])}
    repeats = [(firsts[unit.seed], i) for i, unit in enumerate(who) if unit.repeat]
    for kind, couples in ((REPEAT, repeats), (SEED, pairwise(sorted(firsts.values())))):
        yield from ((kind, last[i], last[j], how) for i, j in couples for how in MATCHINGS)


class Walker:
    """Scores of networks on the pairs that two runs both trained on, and on those that neither saw."""

    def __init__(self, first: Run, second: Run, protocol: str) -> None:
        config = first.config
        self.layout, self.heads = first.layout, config.model.heads
        self.net = passes(
            config, config.compute.engine, "float32" if protocol == "paper" else "float64", config.compute.shards
        )
        a, b = (pairs(run.config.task, run.config.seed) for run in (first, second))
        common = [np.intersect1d(a.train, b.train), np.intersect1d(a.test, b.test)]
        if not all(len(rows) for rows in common):
            got = f"{len(common[0])} and {len(common[1])} of {len(a.tokens)}"
            required = f"pairs that {first.folder} and {second.folder} both trained on, and some that neither saw"
            raise RunFolderError(required, got, "compare runs of a larger task.p")
        self.sets = [evaluation(self.net, a.tokens[rows], a.targets[:, rows]) for rows in common]

    def scores(self, theta: Array) -> Array:
        """Return loss and accuracy of train and test (2, 2, n_tasks) at theta (P,)."""
        self.net.theta[:] = theta
        found = [each.scores() for each in self.sets]
        return np.array([[each.loss for each in found], [each.accuracy for each in found]])


def measured(
    walker: Walker, a: Array, b: Array, how: str, s: Array, draws: int, rng: np.random.Generator
) -> dict[str, Array]:
    """Return the fields of a `Line` from a to b (P,), matched as MATCHINGS says."""

    def match(x: Array) -> Array:
        groups = MATCHINGS[how]["groups"]
        return matching.matched(a, x, walker.layout, walker.heads, **MATCHINGS[how]) if groups else x

    b, noises = match(b), [match(noise_like(b, walker.layout, rng)) for _ in range(draws if how != AS_IS else 0)]
    found = np.array([walker.scores((1 - each) * a + each * b) for each in s])  # (S, 2, sets, tasks)
    loss, accuracy = np.moveaxis(found, 0, 2)
    sizes = np.linalg.norm(a) * np.linalg.norm(b)
    with np.errstate(invalid="ignore", divide="ignore"):  # nan: all weights are 0
        distance = np.linalg.norm(a - b) / np.sqrt(sizes)
        noise = np.mean([a @ each / sizes for each in noises]) if noises else np.nan
        return {
            "loss": loss,
            "accuracy": accuracy,
            "cosine": np.array(a @ b / sizes),
            "noise": np.array(noise),
            "distance": np.array(distance),
        }


def _fields(part: dict[str, Array]) -> dict[str, Any]:
    return {name: value if value.ndim else float(value) for name, value in part.items()}


def barrier(s: Array, L: Array) -> Array:
    """Return max_s [L - (1 - s) L_0 - s L_1] (...) of L (S, ...) at s (S,)."""
    s = s.reshape(-1, *[1] * (L.ndim - 1))
    return np.asarray((L - (1 - s) * L[0] - s * L[-1]).max(axis=0))


def table(result: Result) -> list[Row]:
    """One row a line; "repeats": mean barrier of the lines of repeats that are matched alike, and their number.

    Barriers of accuracy are shares of pairs; "worst": of the worst task. Losses are means over tasks, in nats.
    """
    return [_row(result, line) for line in result.lines]


def _row(result: Result, line: Line) -> Row:
    repeats = [each for each in result.lines if (each.kind, each.matched) == (REPEAT, line.matched)]
    null = [float(_wrong(result, each)[1].max()) for each in repeats]
    wrong, loss = _wrong(result, line), [barrier(result.s, each.mean(axis=1)) for each in line.loss]
    row: Row = {"kind": line.kind, "from": line.first, "to": line.second, "matched": line.matched}
    row |= {f"test barrier {task}": float(each) for task, each in zip(result.tasks, wrong[1], strict=True)}
    row |= {"repeats": np.mean(null) if null else None, "repeat lines": len(null)}
    row |= {"train barrier worst": float(wrong[0].max())}
    row |= {f"{name} loss barrier": float(each) for name, each in zip(SETS, loss, strict=True)}
    row |= {"lowest test worst": float(line.accuracy[1].min())}
    row |= {"cosine": line.cosine, "cosine of noise": line.noise, "distance": line.distance}
    return plain_row(row)


def _wrong(result: Result, line: Line) -> Array:
    """Barriers of the share of wrong pairs, (2, n_tasks)."""
    return np.array([barrier(result.s, 1 - each) for each in line.accuracy])


def figure(result: Result) -> Figure:
    """Accuracy of the worst task and loss along the lines of each kind, and the barrier to the end along each run."""
    kinds = [kind for kind in (RUN, REPEAT, SEED) if any(line.kind == kind for line in result.lines)]
    drawn, axes = panel_grid(2 * len(kinds), "Straight lines between networks", columns=2, size=(5.4, 3.2))
    for i, kind in enumerate(kinds):
        lines = [line for line in result.lines if line.kind == kind]
        _draw(axes[2 * i], result, lines, is_loss=False)
        _draw(axes[2 * i + 1], result, lines, is_loss=True)
    legend_of_all(drawn, axes)
    return drawn


def _draw(axis: Axes, result: Result, lines: list[Line], is_loss: bool) -> None:
    kind = lines[0].kind
    for line in lines:
        y = line.loss[1].mean(axis=1) if is_loss else 100 * line.accuracy[1].min(axis=1)
        if kind == RUN:
            starts = [each.first for each in lines if each.second == line.second]
            shade = 0.85 * (1 - (1 + starts.index(line.first)) / len(starts))
            look: dict[str, Any] = {"color": str(shade), "label": _words(starts.index(line.first), len(starts))}
        else:
            i = list(MATCHINGS).index(line.matched)
            words = "b as it is" if line.matched == AS_IS else f"b matched: {line.matched}"
            look = {"color": COLOURS[i], "linestyle": ("-", "--", ":")[i], "label": words}
        axis.plot(result.s, y, linewidth=1.2, **look)
    count = len({(line.first, line.second) for line in lines})
    axis.set_title(
        {RUN: "snapshots to the end", REPEAT: "repeats", SEED: "seeds"}[kind] + f", {count} line{'s' * (count > 1)}"
    )
    axis.set_xlabel("place s on the line from a to b")
    axis.set_ylabel("test loss (mean of tasks, nats)" if is_loss else "test accuracy, worst task (%)")
    if is_loss:
        axis.set_yscale("log")
    else:
        axis.set_ylim(-3, 103)


def _words(place: int, count: int) -> str:
    if place == 0:
        return "a: first snapshot"
    return "a: last but one, lighter: earlier" if place == count - 1 else "_"


def cost(runs: Sequence[Run], settings: Settings) -> Cost:
    """Count the networks that are scored."""
    seeds = len({run.config.seed for run in runs})
    lines = len(runs) * (settings.most - 1) + len(MATCHINGS) * (len(runs) - 1)
    words = f"{lines} lines at most ({len(runs)} runs, {seeds} seeds), {settings.points} networks each"
    return Cost(host(START) + lines * settings.points * measured_seconds(runs[0]).score, words)


ANALYSIS = Analysis(
    "Is there a straight way of low loss from snapshot to snapshot, from repeat to repeat, from seed to seed?",
    "Frankle et al. 2020, Entezari et al. 2022, Ainsworth et al. 2023; lines along a run, repeats as null: minigrok",
    Settings,
    compute,
    table,
    figure,
    cost,
    many=True,
)
