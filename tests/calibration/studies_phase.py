"""Studies of phase: log-rank tests, median and restricted mean of grok steps, laws of grok time."""

from __future__ import annotations

from functools import cache, partial

import numpy as np
from grok_times import EXCHANGES, MEDIAN, MIDDLE, NEVER, THIRD, Rng, at_evaluations, effects, grok_steps, phase_lives
from study import Outcome, Study, coverage, holds, power, rejects, size

from minigrok.analyses.phase.laws import Waiting, responses, waiting
from minigrok.analyses.phase.runs import Life, conditions
from minigrok.engine import Array
from minigrok.statistics.fits import LAWS
from minigrok.statistics.survival import at_most

DECAYS = (1.0, 0.5, 0.2)


def waited(rng: Rng, lives: list[Life], exchanges: int = EXCHANGES) -> Waiting:
    """What phase says of survival; conditions stand by weight decay, the largest first."""
    return waiting(lives, conditions(lives), rng, exchanges)


# --- log-rank, median ------------------------------------------------------------------------------------


def same_seeds(rng: Rng, n: int, late: float = 1.0) -> list[Outcome]:
    """Every seed in each of three conditions; the last of them may be late."""
    shared, lives = effects(rng, n), []
    for i, wd in enumerate(DECAYS):
        lives += phase_lives(wd, grok_steps(rng, shared, late if i == 2 else 1.0), horizon=THIRD)
    found = waited(rng, lives)
    median = found.curves[0].median()
    return [rejects(found.tests["steps, all conditions"].p), holds(median.low, MEDIAN, median.high)]


def own_seeds(rng: Rng, n: int, late: float = 1.0) -> list[Outcome]:
    """Other seeds in each of three conditions; the last of them may be late."""
    lives = []
    for i, wd in enumerate(DECAYS):
        lives += phase_lives(wd, grok_steps(rng, effects(rng, n), late if i == 2 else 1.0), 100 * i, THIRD)
    return [rejects(waited(rng, lives).tests["steps, all conditions"].p)]


def clock(rng: Rng, n: int) -> list[Outcome]:
    """t lr wd has one law in three conditions of other seeds; the budget cuts half of the smallest weight decay."""
    lives = []
    for i, wd in enumerate(DECAYS):
        t = at_evaluations(grok_steps(rng, effects(rng, n)) / wd)
        lives += phase_lives(wd, t, 100 * i, int(MIDDLE / DECAYS[-1]))
    return [rejects(waited(rng, lives).tests["lr wd t, wd > 0"].p)]


# --- restricted mean, none of so many --------------------------------------------------------------------


def normal_times(rng: Rng, n: int) -> Array:
    """Grok steps, normal but for the evaluations."""
    return at_evaluations(MIDDLE + 2000 * rng.standard_normal(n))


def skewed_times(rng: Rng, n: int) -> Array:
    """Grok steps, lognormal with standard deviation .3."""
    return at_evaluations(MIDDLE * np.exp(0.3 * rng.standard_normal(n)))


def exponential_times(rng: Rng, n: int) -> Array:
    """Grok steps, exponential."""
    return at_evaluations(MIDDLE * rng.exponential(size=n))


LAWS_OF_TIMES = {each.__name__: each for each in (normal_times, skewed_times, exponential_times)}


@cache
def true_mean(name: str, horizon: int) -> float:
    """Mean of min(t, horizon), from a million draws."""
    return float(np.minimum(LAWS_OF_TIMES[name](np.random.default_rng(0), 10**6), horizon).mean())


def restricted_mean(rng: Rng, n: int, name: str, horizon: int = NEVER) -> list[Outcome]:
    """One condition beside another, of which a run is censored if there is a horizon."""
    lives = phase_lives(1.0, LAWS_OF_TIMES[name](rng, n), horizon=horizon)
    lives += phase_lives(0.5, np.full(1, 2.0 * horizon), 50, horizon) if horizon < NEVER else []
    found = waited(rng, lives, 1)
    _, interval = found.curves[0].restricted_mean(found.horizon)
    return [holds(interval.low, true_mean(name, horizon), interval.high)]


def none_of_n(rng: Rng, n: int, chance: float) -> list[Outcome]:
    """Where none of n groks, at most so many do; else nothing is said, which cannot be wrong."""
    return [bool((rng.random(n) < chance).any() or chance <= at_most(n))]


# --- laws ------------------------------------------------------------------------------------------------

WD = np.array([1.0, 0.5, 0.3, 0.1])
TRUTH = {"power law": np.array([9000.0, 0.9]), "reciprocal": np.array([9000.0, 0.2, 4000.0])}
BEYOND = np.array([0.07])  # where the band is looked at: beyond the runs


def law_lives(rng: Rng, n: int, law: str, shared: bool, missing: float = 0.0, horizon: int = NEVER) -> list[Life]:
    """n runs at each weight decay, of seeds of their own or the same ones; some may be missing."""
    effect, lives = effects(rng, n), []
    for i, wd in enumerate(WD):
        t = np.exp(LAWS[law].curve(np.array([wd]), TRUTH[law])) * grok_steps(rng, effect * shared) / MIDDLE
        some = phase_lives(wd, at_evaluations(t), 0 if shared else 100 * i, horizon)
        lives += [life for life in some if rng.random() >= missing]
    return lives


def laws(
    rng: Rng, n: int, law: str = "power law", shared: bool = False, missing: float = 0.0, horizon: int = NEVER
) -> list[Outcome]:
    """Whether the exponent and the curve lie inside; p of the bend and of the lack of fit of a power law."""
    lives = law_lives(rng, n, law, shared, missing, horizon)
    over = responses(lives, ["add"], "exact")["add"].over["all wd > 0"]
    fit = next((each for each in over.fits if each.law == law), None)
    if fit is None:
        return [None] * 4
    low, high = fit.band(BEYOND)[:, 0]
    return [
        holds(over.exponent[1], TRUTH["power law"][1], over.exponent[2]),
        holds(low, float(np.exp(LAWS[law].curve(BEYOND, TRUTH[law]))[0]), high),
        rejects(over.bend[1]),
        rejects(fit.lack),
    ]


def curved(rng: Rng, n: int) -> list[Outcome]:
    """A reciprocal law, to be seen by what is said of a power law."""
    over = responses(law_lives(rng, n, "reciprocal", False), ["add"], "exact")["add"].over["all wd > 0"]
    return [rejects(over.bend[1]), rejects(next(each for each in over.fits if each.law == "power law").lack)]


EXPONENT, BAND = "exponent b", "band of a law"
LOG_RANK = "log-rank, steps"
FITTED = (coverage(EXPONENT), coverage(BAND), size("bend", "="), size("lack of fit", "="))

STUDIES = [
    Study(
        "phase",
        "three conditions alike, the same seeds, a third censored",
        (size(LOG_RANK), coverage("grok step low, high", ">=")),
        same_seeds,
        draws=300,
    ),
    Study("phase", "three conditions alike, other seeds, a third censored", (size(LOG_RANK),), own_seeds, draws=300),
    Study(
        "phase", "lr wd t alike, other seeds, budgets differ in lr wd t", (size("log-rank, lr wd t"),), clock, draws=300
    ),
    Study(
        "phase",
        "normal times",
        (coverage("restricted mean"),),
        partial(restricted_mean, name="normal_times"),
        draws=1000,
    ),
    Study(
        "phase",
        "lognormal times, sd .3",
        (coverage("restricted mean", "~"),),
        partial(restricted_mean, name="skewed_times"),
        draws=1000,
    ),
    Study(
        "phase",
        "exponential times",
        (coverage("restricted mean", "~"),),
        partial(restricted_mean, name="exponential_times"),
        draws=1000,
    ),
    Study(
        "phase",
        "normal times, the horizon at the upper quarter",
        (coverage("restricted mean", "~"),),
        partial(restricted_mean, name="normal_times", horizon=9400),
        draws=1000,
    ),
    Study("phase", "runs of which 30 % grok", (coverage("0 of n: at most", ">="),), partial(none_of_n, chance=0.3)),
    Study("phase", "power law, other seeds at each wd", FITTED, laws, draws=300),
    Study(
        "phase",
        "power law, the same seeds at each wd",
        (*FITTED[:3], size("lack of fit")),
        partial(laws, shared=True),
        draws=300,
    ),
    Study(
        "phase",
        "power law, the same seeds, a fifth of the runs missing",
        (coverage(EXPONENT, "~"), coverage(BAND, "~"), size("bend", "~")),
        lambda rng, n: laws(rng, n, shared=True, missing=0.2)[:3],
        draws=200,
    ),
    Study(
        "phase",
        "power law, the same seeds, half of those at wd .1 too slow and left out",
        (coverage(EXPONENT, "~"),),
        lambda rng, n: laws(rng, n, shared=True, horizon=71_500)[:1],
        draws=200,
    ),
    Study(
        "phase",
        "reciprocal law, other seeds at each wd",
        (coverage(BAND, "~"),),
        lambda rng, n: laws(rng, n, "reciprocal")[1:2],
        draws=200,
    ),
]
FOUND = (power(LOG_RANK),)
POWER = [
    Study("phase", "one of three twice as late, the same seeds", FOUND, lambda *x: same_seeds(*x, 2)[:1], draws=200),
    Study("phase", "one of three twice as late, other seeds", FOUND, partial(own_seeds, late=2), draws=200),
    Study("phase", "reciprocal law 9000 / (wd + .2) + 4000", (power("bend"), power("lack of fit")), curved, draws=200),
]
