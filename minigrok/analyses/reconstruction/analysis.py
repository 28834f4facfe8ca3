"""Reconstruction: how many principal components of its own trajectory rebuild the grokked network, and k*.

theta_k = origin + V_k V_k^T (theta_final - origin); k* is where every task's test accuracy reaches .90: its first
crossing (paper), and the smallest k from which on it stays there; the same for train accuracy. Conventions
(minigrok.analyses.reconstruction.result), "outside" = % of |theta_final - origin|^2 outside the k* directions:
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
Protocol "paper": its three conventions and its k, float32, 100 checkpoints at most, the last of which is the final
network.
Source: arXiv:2602.18523 (code aa4e72f), reconstruction threshold; the other conventions and nulls: minigrok.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np

from minigrok.analyses.base import Analysis, Cost, Work
from minigrok.analyses.reconstruction.conventions import after_grok, has_rows, may_lack, require_rows, rows_of
from minigrok.analyses.reconstruction.figure import figure
from minigrok.analyses.reconstruction.result import CONVENTIONS, PAPER, Result, Settings, Track
from minigrok.analyses.reconstruction.table import table
from minigrok.analyses.shared.cost import scored
from minigrok.analyses.shared.curves import Network
from minigrok.analyses.shared.trajectories import load
from minigrok.engine import Array
from minigrok.geometry import reconstruction as maths
from minigrok.geometry import subspace
from minigrok.storage.runs import Run


def compute(runs: Sequence[Run], settings: Settings, work: Work) -> Result:
    """Rebuild the final network in every convention and null."""
    run, network = runs[0], Network(runs[0], settings.protocol)
    steps = np.array(subspace.thinned(network.steps, settings.most))
    names, after = plan(run, settings, steps)
    tracks = tracks_of(network, names, steps, settings, work)
    token0, cosine = memory_of_init(run, network)
    tasks, final = list(run.config.task.operations), network.test_accuracy(network.final)
    return Result(run.folder.name, settings.protocol, int(steps[-1]), tasks, tracks, final, token0, cosine, after)


def tracks_of(network: Network, names: Sequence[str], steps: Array, settings: Settings, work: Work) -> list[Track]:
    """Rebuild the final network in some conventions and nulls, from the snapshots at `steps` (S,)."""
    thetas = cache(lambda: load(network.run, steps, slice(0, len(network.init))))  # once, and only if there is need
    tracks = []
    for i, name in enumerate(names):
        work.report(i, len(names), name)
        for draw in range(settings.draws if name.endswith("bridge") else 1):
            made = partial(_track, network, name, draw, steps, thetas, settings, work)
            found = work.part(f"{name}-{draw}", made)
            tracks.append(Track(name, int(found.pop("rows")), **found))
    return tracks


def plan(run: Run, settings: Settings, steps: Array) -> tuple[list[str], int]:
    """Return the parts to do, and the number of snapshots after the last grok.

    Post-grok parts need some of these, held-out ones some before their time; they are left out where rows are too few,
    but if they alone are asked for it is an error.
    """
    there = [name for name in settings.chosen_parts() if not may_lack(name) or has_rows(run, name, steps)]
    if not there:
        require_rows(run, settings.chosen_parts()[0], steps)  # raises
    return there, len(after_grok(run, steps))


def _track(
    network: Network, name: str, draw: int, steps: Array, thetas: Callable[[], Array], settings: Settings, work: Work
) -> dict[str, Array]:
    """Return the fields of a `Track` but the name."""
    rng = work.rng(f"reconstruction/{name}/{draw}")
    origin, count, most = network.init, 0, settings.largest
    grid = PAPER[name] if settings.protocol == "paper" else range(1, most + 1)
    if name == "random directions":
        V = subspace.orthonormal(rng.standard_normal((len(network.init), min(most, len(network.init)))))
        shares = np.zeros(0)
    else:
        if name.endswith("bridge"):
            X, is_centred = _bridge(network, steps, thetas(), name, rng), False
        else:
            rows = rows_of(network.run, name, steps, thetas(), network.init)
            X, origin, is_centred = rows.X, rows.origin, CONVENTIONS[name].is_centred
        V, shares = maths.directions(X, most, is_centred)
        count = len(X)
    ks = np.array([k for k in grid if k <= V.shape[1]], int)
    built = maths.rebuilt(V, origin, network.final)
    both = np.array([network.accuracies(built.theta(k)) for k in ks]).reshape(len(ks), 2, len(network.names))
    found = {"rows": np.array(count), "shares": shares, "ks": ks, "train": both[:, 0], "test": both[:, 1]}
    return found | {"outside": np.array([built.outside(k) for k in ks])}


def _bridge(network: Network, steps: Array, thetas: Array, name: str, rng: np.random.Generator) -> Array:
    """Return the rows of a bridge at these steps, the initial weights taken off and their row dropped."""
    rate = network.run.config.optimiser.decay_rate if name == "decay bridge" else 0.0
    contractions = (1 - rate) ** np.diff(steps).astype(np.float64)
    path = maths.bridge(network.init, network.final, contractions, maths.moves(thetas, contractions), rng)
    return np.asarray(path[1:] - path[0])


def memory_of_init(run: Run, network: Network) -> tuple[float, float]:
    """Return the deviation of token 0's embedding from pure decay (nan if token 0 occurs), and cos(delta, -init)."""
    rate = run.config.optimiser.decay_rate
    delta, token0 = network.final - network.init, float("nan")
    if run.config.task.exclude_zero:
        first, last = (run.layout.views(theta)["tok_emb.weight"][0] for theta in (network.init, network.final))
        expected = (1 - rate) ** network.steps[-1] * first
        if (left := np.linalg.norm(expected)) > 0:
            token0 = float(np.abs(last - expected).max() / left)
    size = np.linalg.norm(delta) * np.linalg.norm(network.init)
    return token0, float(-delta @ network.init / size) if size > 0 else float("nan")


def cost(runs: Sequence[Run], settings: Settings) -> Cost:
    """Count the networks that are scored."""
    tracks = len(settings.chosen_parts()) + 2 * (settings.draws - 1)
    return scored(runs[0], tracks * settings.largest)


ANALYSIS = Analysis(
    "How many directions rebuild the grokked network, by which convention, and how many for a path without structure?",
    "arXiv:2602.18523, reconstruction threshold k*; decay removed, hold-out, theta itself, bridges: minigrok",
    Settings,
    compute,
    table,
    figure,
    cost,
)
