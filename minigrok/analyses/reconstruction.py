"""Reconstruction: how many principal components of its own trajectory rebuild the grokked network, and k*.

theta_k = origin + V_k V_k^T (theta_final - origin); k* is where every task's test accuracy reaches .90: its first
crossing (paper), and the smallest k from which on it stays there; the same for train accuracy. Conventions
(minigrok.analyses.conventions), "outside" = % of |theta_final - origin|^2 outside the k* directions:
    uncentred                      the paper's k* (figTHR)        centred, init row kept     figCOMP (a)
    centred, init row dropped      figABL4                        about the mean             centred as usual
    decay removed                  rows less (1 - lr wd)^t theta_0, known without a fit; that is added back
    theta itself                   nothing taken off
    held out                       PCA of the first 50, 75, 90 % of the run; the final network is not among the rows
    uncentred, 30 snapshots        the same number of rows for all runs
    post-grok                      rows after the last grok, if there are 5; the paper's runs end there, so never its
Nulls
    random directions      k random directions of R^P
    walk bridge            a random walk with the measured lengths that starts and ends where the run does
    decay bridge           the same with the decay of the initial weights: nothing between the ends is learnt
Checks: token 0 never occurs (exclude_zero), so its embedding is (1 - lr wd)^t of its initial one, "token 0" is the
largest deviation over the expected norm; cos(delta, -init).
Protocol "paper": its three conventions and its k, float32, the last snapshot on the grid, 100 checkpoints at most.
Source: arXiv:2602.18523 (code aa4e72f), reconstruction threshold; the other conventions and nulls: minigrok.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from minigrok.analyses import conventions
from minigrok.analyses.base import Analysis, Row, Work
from minigrok.analyses.reconstruction_figure import reconstruction_figure
from minigrok.analyses.shared.curves import Network, chosen
from minigrok.analyses.shared.trajectories import load
from minigrok.checks import require
from minigrok.engine import Array
from minigrok.geometry import reconstruction as maths
from minigrok.geometry import subspace
from minigrok.storage.runs import Run

NULLS = ("random directions", "walk bridge", "decay bridge")
PARTS = (*conventions.CONVENTIONS, *NULLS)


@dataclass(frozen=True)
class Settings:
    """Settings of reconstruction.

    Attributes
    ----------
    protocol : str         "exact" or "paper"
    parts : list of str    conventions and nulls; none: all that the run has the snapshots for
    most : int             checkpoints, evenly thinned (paper: 100)
    largest : int          largest k (paper: 20 in figTHR, 30 in the others)
    surrogates : int       bridges of each kind (our choice: 3)
    """

    protocol: str = "exact"
    parts: tuple[str, ...] = ()
    most: int = 100
    largest: int = 30
    surrogates: int = 3

    def __post_init__(self) -> None:
        chosen(self.parts, PARTS, "reconstruction")
        for name, least in (("most", 4), ("largest", 1), ("surrogates", 0)):
            require(getattr(self, name) >= least, name, f"at least {least}", getattr(self, name))


@dataclass(frozen=True)
class Track:
    """One convention, or one draw of a null.

    Attributes
    ----------
    name : str
    rows : int               of the PCA; 0 for random directions
    shares : (S,)            of the variance
    ks : (N,) int
    train, test : (N, n_tasks)
    outside : (N,)           share of |theta_final - origin|^2
    """

    name: str
    rows: int
    shares: Array
    ks: Array
    train: Array
    test: Array
    outside: Array

    def crossing(self, part: str, lasting: bool = False) -> int | None:
        """Return k* of "train" or "test" accuracy."""
        passes = getattr(self, part).min(axis=1) >= maths.MARK
        return (maths.lasting_crossing if lasting else maths.first_crossing)(self.ks, passes)


@dataclass(frozen=True)
class Result:
    """Tracks of one run; see the module for the checks. `after`: snapshots after the last grok."""

    run: str
    protocol: str
    step: int
    tasks: list[str]
    tracks: list[Track]
    final_test: Array
    token0: float
    cosine: float
    after: int


def compute(runs: Sequence[Run], settings: Settings, work: Work) -> Result:
    """Rebuild the final network in every convention and null."""
    run, network = runs[0], Network(runs[0], settings.protocol)
    steps = np.array(subspace.thinned(network.steps, settings.most))
    names, after = plan(run, settings, steps)
    tracks = []
    for i, name in enumerate(names):
        work.report(i, len(names), name)
        draws = settings.surrogates if name.endswith("bridge") else 1
        for draw in range(draws):
            found = work.part(f"{name}-{draw}", lambda n=name, d=draw: _track(network, n, d, steps, settings, work))  # type: ignore[misc]
            tracks.append(Track(name, int(found.pop("rows")), **found))
    token0, cosine = memory_of_init(run, network)
    tasks, final = list(run.config.task.operations), network.test_accuracy(network.final)
    return Result(run.folder.name, settings.protocol, int(steps[-1]), tasks, tracks, final, token0, cosine, after)


def plan(run: Run, settings: Settings, steps: Array) -> tuple[list[str], int]:
    """Return the parts to do, and the number of snapshots after the last grok.

    Post-grok parts need some of these, held-out ones some before their time; they are left out where rows are too few,
    but if they alone are asked for it is an error.
    """
    known = list(conventions.PAPER) if settings.protocol == "paper" else list(PARTS)
    names = [name for name in chosen(settings.parts, PARTS, "reconstruction") if name in known]
    there = [n for n in names if not conventions.may_lack(n) or conventions.has_rows(run, n, steps)]
    if names and not there:
        conventions.rows(run, names[0], steps, run.load_snapshot(int(steps[0])))  # raises
    return there, len(conventions.after_grok(run, steps))


def _track(network: Network, name: str, draw: int, steps: Array, settings: Settings, work: Work) -> dict[str, Array]:
    """Return the fields of a `Track` but the name."""
    rng = work.rng(f"reconstruction/{name}/{draw}")
    origin, count, most = network.init, 0, settings.largest
    grid = conventions.PAPER[name] if settings.protocol == "paper" else range(1, most + 1)
    if name == "random directions":
        V = subspace.orthonormal(rng.standard_normal((len(network.init), min(most, len(network.init)))))
        shares = np.zeros(0)
    else:
        if name.endswith("bridge"):
            X, is_centred = _bridge(network, steps, name, rng), False
        else:
            found = conventions.rows(network.run, name, steps, network.init)
            X, origin, is_centred = found.X, found.origin, conventions.CONVENTIONS[name].is_centred
        V, shares = maths.directions(X, most, is_centred)
        count = len(X)
    ks = np.array([k for k in grid if k <= V.shape[1]], int)
    built = maths.rebuilt(V, origin, network.final)
    both = np.array([network.accuracies(built.theta(k)) for k in ks]).reshape(
        len(ks), 2, len(network.run.config.task.operations)
    )
    outside = np.array([built.outside(k) for k in ks])
    return {
        "rows": np.array(count),
        "shares": shares,
        "ks": ks,
        "train": both[:, 0],
        "test": both[:, 1],
        "outside": outside,
    }


def _bridge(network: Network, steps: Array, name: str, rng: np.random.Generator) -> Array:
    """Return the rows of a bridge at these steps, the initial weights taken off and their row dropped."""
    rate = network.run.config.optimiser.decay_rate if name == "decay bridge" else 0.0
    contractions = (1 - rate) ** np.diff(steps).astype(np.float64)
    thetas = load(network.run, steps, slice(0, len(network.init)))
    path = maths.bridge(network.init, network.final, contractions, maths.moves(thetas, contractions), rng)
    return np.asarray(path[1:] - path[0])


def memory_of_init(run: Run, network: Network) -> tuple[float, float]:
    """Return the deviation of token 0's embedding from pure decay (nan if token 0 occurs), and cos(delta, -init)."""
    rate = run.config.optimiser.decay_rate
    delta, token0 = network.final - network.init, float("nan")
    if run.config.task.exclude_zero:
        first, last = (run.layout.views(theta)["tok_emb.weight"][0] for theta in (network.init, network.final))
        expected = (1 - rate) ** network.steps[-1] * first
        token0 = float(np.abs(last - expected).max() / np.linalg.norm(expected))
    size = np.linalg.norm(delta) * np.linalg.norm(network.init)
    return token0, float(-delta @ network.init / size) if size > 0 else float("nan")


def table(result: Result) -> list[Row]:
    """One row a convention or null; of several draws the mean, "-" where no k passes."""
    names = dict.fromkeys(track.name for track in result.tracks)
    return [_row(result, name, [track for track in result.tracks if track.name == name]) for name in names]


def _row(result: Result, name: str, tracks: list[Track]) -> Row:
    row: Row = {"run": result.run, "step": result.step, "convention": name, "rows": tracks[0].rows}
    first = [track.crossing("test") for track in tracks]
    row["k*"], row["k* stays"] = _mean(first), _mean([t.crossing("test", True) for t in tracks])
    row["k* train"], row["k* train stays"] = (_mean([t.crossing("train", s) for t in tracks]) for s in (False, True))
    out = [100 * t.outside[list(t.ks).index(k)] for t, k in zip(tracks, first, strict=True) if k is not None]
    row["outside at k* %"] = float(np.mean(out)) if len(out) == len(first) else None
    last = [100 * t.outside[-1] for t in tracks if len(t.ks)]
    row["k last"] = int(tracks[0].ks[-1]) if len(tracks[0].ks) else None
    row["test at k last"] = float(np.mean([t.test[-1].min() for t in tracks if len(t.ks)])) if last else None
    row["best test"] = float(np.mean([t.test.min(axis=1).max() for t in tracks if len(t.ks)])) if last else None
    row["outside at k last %"] = float(np.mean(last)) if last else None
    row["PC1 %"] = float(np.mean([100 * t.shares[0] for t in tracks])) if len(tracks[0].shares) else None
    row |= {"final test": float(result.final_test.min()), "token 0": result.token0, "cos(delta, -init)": result.cosine}
    row["after grok"] = result.after
    return {key: None if value != value else value for key, value in row.items()}


def _mean(found: Sequence[int | None]) -> float | None:
    """Mean over the draws; None if one of them has none."""
    numbers = [k for k in found if k is not None]
    return float(np.mean(numbers)) if found and len(numbers) == len(found) else None


def points(result: Result) -> list[Row]:
    """One row a convention, draw and k: the whole curves."""
    rows, draws = [], dict.fromkeys((track.name for track in result.tracks), 0)
    for track in result.tracks:
        for i, k in enumerate(track.ks.tolist()):
            row: Row = {"run": result.run, "step": result.step, "convention": track.name, "draw": draws[track.name]}
            row |= {"k": k} | {f"test {task}": float(track.test[i, j]) for j, task in enumerate(result.tasks)}
            rows.append(row | {"train worst": float(track.train[i].min()), "outside": float(track.outside[i])})
        draws[track.name] += 1
    return rows


def figure(result: Result) -> Figure:
    """Accuracy against k, one panel a convention."""
    return reconstruction_figure(result)


def cost(runs: Sequence[Run], settings: Settings) -> str:
    """Count the networks that are scored."""
    parts = len(settings.parts) or (len(conventions.PAPER) if settings.protocol == "paper" else len(PARTS))
    return f"up to {(parts + 2 * settings.surrogates) * settings.largest} evaluations of all pairs, a few minutes"


ANALYSIS = Analysis(
    "reconstruction",
    "How many directions rebuild the grokked network, by which convention, and how many for a path without structure?",
    "arXiv:2602.18523, reconstruction threshold k*; decay removed, hold-out, theta itself, bridges: minigrok",
    Settings,
    compute,
    table,
    figure,
    cost,
)
