"""Grok time against weight decay over the runs of a diagram: laws, and survival with those that did not grok.

Laws are fitted to runs with weight decay of one learning rate and numerics (the commonest), task by task and to the
mean of the tasks (the paper's t), over all wd > 0 and over wd <= 0.5 apart. A run that did not grok is left out of the
laws, as in the paper, and counted; leaving the slow ones out makes times short, so survival curves stand beside.
Survival: the event is the grokking of the last task. lr wd t is the decay clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minigrok.analyses.phase.runs import Condition, Life, main_line
from minigrok.engine import Array
from minigrok.errors import ShapeError
from minigrok.statistics import fits
from minigrok.statistics.exchange import EXCHANGES
from minigrok.statistics.fits import Fit, PaperFit
from minigrok.statistics.survival import LogRank, Survival, log_rank, survival

MEAN = "mean of tasks"
RANGES = {"all wd > 0": np.inf, "wd <= 0.5": 0.5}  # largest wd; 0.5: where the paper's times bend


@dataclass(frozen=True)
class Over:
    """Laws over one range of weight decays.

    Attributes
    ----------
    fits : list of Fit           the smallest AICc first
    exponent : (3,)              b of the power law and its 95 % interval
    bend : (2,)                  coefficient of (ln wd)^2 beside it, and its p
    runs, censored : int         fitted; left out since they did not grok
    wd, residual : (m,)          weight decays, and the mean of ln t - power law at each
    paper : list of PaperFit     the paper's fits; protocol "paper" alone
    says : str                   why there is no fit; "" if there is
    """

    fits: list[Fit]
    exponent: Array
    bend: Array
    runs: int
    censored: int
    wd: Array
    residual: Array
    paper: list[PaperFit]
    says: str


@dataclass(frozen=True)
class Response:
    """Grok times of one task, or of the mean of all, in the runs that laws are fitted to.

    Attributes
    ----------
    wd, t : (n,)           runs that grokked
    over : dict of range to Over
    """

    wd: Array
    t: Array
    over: dict[str, Over]


def responses(lives: Sequence[Life], tasks: Sequence[str], protocol: str) -> dict[str, Response]:
    """Return the laws of each task, and of the mean of the tasks if there are several."""
    line = main_line(lives)
    on = [life for life in lives if life.condition.wd > 0 and (life.condition.lr, life.condition.numerics) == line]
    wd, seeds = np.array([life.condition.wd for life in on]), np.array([life.seed for life in on])
    times = np.array([life.times for life in on]).reshape(len(on), len(tasks))
    grokked = np.array([life.grokked for life in on], bool).reshape(len(on), len(tasks))
    columns: dict[str, tuple[Array, Array]] = {task: (times[:, k], grokked[:, k]) for k, task in enumerate(tasks)}
    if len(tasks) > 1:
        columns[MEAN] = times.mean(axis=1), np.all(grokked, axis=1)
    found = {}
    for name, (t, good) in columns.items():
        over = {}
        for where, top in RANGES.items():
            fitted, censored = good & (wd <= top), int((~good & (wd <= top)).sum())
            over[where] = _over(wd[fitted], t[fitted], seeds[fitted], censored, protocol)
        found[name] = Response(wd[good], t[good], over)
    return found


def _over(x: Array, t: Array, seeds: Array, censored: int, protocol: str) -> Over:
    fitted: list[Fit] = []
    paper: list[PaperFit] = []
    says, residual, exponent, bend = "", np.zeros(0), np.full(3, np.nan), np.full(2, np.nan)
    try:
        if protocol == "paper":
            paper = fits.paper_fits(x, t)
        else:
            fitted = fits.fit_laws(x, t, seeds)
            power = next(fit for fit in fitted if fit.law == "power law")
            residual, exponent = power.residuals, np.array([power.parameters[1], *power.interval("b")])
            bend = np.array(fits.bend(x, t, seeds))
    except ShapeError as error:
        says = f"no law: {error.required} are required, got {error.got}"
    return Over(fitted, exponent, bend, len(x), censored, np.unique(x), residual, paper, says)


@dataclass(frozen=True)
class Waiting:
    """Survival of the conditions.

    Attributes
    ----------
    curves : list of Survival                   one a condition, of the last task
    tasks : list of list of Survival            one a condition and task
    horizon : float                             of the restricted means: the longest that every condition allows
    tests : dict of comparison to LogRank
    """

    curves: list[Survival]
    tasks: list[list[Survival]]
    horizon: float
    tests: dict[str, LogRank]


def waiting(
    lives: Sequence[Life], conditions: Sequence[Condition], rng: np.random.Generator, exchanges: int = EXCHANGES
) -> Waiting:
    """Return survival curves of every condition, and log-rank tests between them, of so many exchanges each."""
    groups = [[life for life in lives if life.condition == each] for each in conditions]
    curves = [survival(*_last(group)[:2]) for group in groups]
    tasks = [
        [
            survival(np.array([x.times[k] for x in group]), np.array([x.grokked[k] for x in group]))
            for k in range(len(lives[0].times))
        ]
        for group in groups
    ]
    ends = [float(curve.times[-1]) for curve in curves if curve.survival[-1] > 0]
    horizon = min(ends) if ends else max(float(curve.times[-1]) for curve in curves)
    decaying = [group for group in groups if group[0].condition.wd > 0]
    still = [group for group in groups if group[0].condition.wd == 0]
    compared = {
        "steps, all conditions": [_last(group) for group in groups],
        "steps, wd > 0": [_last(group) for group in decaying],
        "lr wd t, wd > 0": [_last(group, group[0].clock) for group in decaying],
        "steps, numerics at wd = 0": [_last(group) for group in still],
    }
    tests = {name: log_rank(each, rng, exchanges) for name, each in compared.items() if len(each) > 1}
    return Waiting(curves, tasks, horizon, tests)


def _last(group: Sequence[Life], unit: float = 1.0) -> tuple[Array, Array, Array]:
    """Times (n,) in a unit and events (n,) of the last task, and seeds (n,)."""
    t, happened = zip(*(life.all_times for life in group), strict=True)
    return np.array(t) * unit, np.array(happened), np.array([life.seed for life in group])
