"""Studies of what compares runs: grok_order, dose_response."""

from __future__ import annotations

from functools import cache, partial

import numpy as np
from grok_times import EVERY, MEDIAN, THIRD, Rng, arm, at_evaluations, compared, effects, grok_steps
from study import Outcome, Study, coverage, holds, power, rejects, size

from minigrok.analyses import grok_order
from minigrok.analyses.dose_response.analysis import repeat_spread
from minigrok.analyses.dose_response.result import BASELINE, Group, Result
from minigrok.analyses.shared.units import one_a_seed
from minigrok.config import Config, preset, with_settings
from minigrok.engine import Array

OTHER, DELETION = "scaling", "deletion"


# --- grok_order ------------------------------------------------------------------------------------------


def order_row(gaps: Array) -> dict[str, object]:
    """The table's row of a pair of tasks whose steps differ by these gaps (n,), one a seed."""
    pair = grok_order.Pair("", "0.98 x 3", "add", "mul", gaps, gaps / EVERY)
    return grok_order.table(grok_order.Result(["0.98 x 3"], [], [pair], {}))[0]


def order(rng: Rng, n: int, late: float = 1.0) -> list[Outcome]:
    """Two tasks of n seeds; what a seed does to both cancels."""
    shared = effects(rng, n)
    row = order_row(grok_steps(rng, shared) - grok_steps(rng, shared, late))
    says = str(row["says"])
    return [rejects(row["p"]), rejects(row["p resolved"]), " first, " in says]


class Told:
    """A run of which a comparison asks its configuration alone."""

    def __init__(self, seed: int, repeat: int) -> None:
        self.config = told(seed, repeat)


@cache
def told(seed: int, repeat: int) -> Config:
    """Configuration of a repeat of a seed."""
    return with_settings(preset("dual"), [f"seed={seed}", f"intervention.repeat={repeat}"])


RUNS = {(s, k): Told(s, k) for s in range(10) for k in range(3)}


def order_of_repeats(rng: Rng, n: int) -> list[Outcome]:
    """Three repeats of each of n seeds; which task is first belongs to the seed."""
    gap = EVERY * np.round(10 * np.exp(rng.standard_normal(n)))
    sign = np.where(rng.random(n) < 0.5, -1.0, 1.0)
    runs = {f"{s} {k}": RUNS[s, k] for s in range(n) for k in range(3)}
    kept, _ = one_a_seed(runs)  # type: ignore[arg-type]
    row = order_row(np.array([(sign * gap)[run.config.seed] for run in kept.values()]))
    return [rejects(row["p"])]


def order_of_short_leads(rng: Rng, n: int) -> list[Outcome]:
    """Each task is first with chance 1/2, but A by one evaluation and B by many."""
    gaps = np.where(rng.random(n) < 0.5, -float(EVERY), at_evaluations(500 + 1000 * rng.random(n)))
    row = order_row(gaps)
    return [rejects(row["p"]), rejects(row["p resolved"])]


# --- dose_response ---------------------------------------------------------------------------------------


def median_holds(group: Group) -> Outcome:
    """Whether the interval of the median grok step holds that of the law."""
    return holds(group.medians[-1].low, MEDIAN, group.medians[-1].high)


def own_seeds(rng: Rng, n: int, late: float = 1.0) -> list[Outcome]:
    """A run of each seed, the arms have other seeds."""
    lives = arm(rng, BASELINE, effects(rng, n), horizon=THIRD)
    lives += arm(rng, OTHER, effects(rng, n), first=100, horizon=THIRD, late=late)
    found = compared(rng, lives)
    return [rejects(found[OTHER].p_baseline), median_holds(found[BASELINE])]


def same_seeds(rng: Rng, n: int, late: float = 1.0) -> list[Outcome]:
    """A run of each seed in every arm."""
    shared = effects(rng, n)
    lives = [x for name in (BASELINE, DELETION) for x in arm(rng, name, shared, horizon=THIRD)]
    found = compared(rng, lives + arm(rng, OTHER, shared, horizon=THIRD, late=late))[OTHER]
    return [rejects(found.p_baseline), rejects(found.p_deletion)]


def repeats_of_same_seeds(rng: Rng, n: int) -> list[Outcome]:
    """Five repeats of each seed in both arms."""
    shared = effects(rng, n)
    found = compared(rng, arm(rng, BASELINE, shared, 5) + arm(rng, OTHER, shared, 5))
    return [rejects(found[OTHER].p_baseline), median_holds(found[OTHER])]


def repeats_of_own_seeds(rng: Rng, n: int) -> list[Outcome]:
    """Five repeats of each seed, the arms have other seeds."""
    found = compared(rng, arm(rng, BASELINE, effects(rng, n), 5) + arm(rng, OTHER, effects(rng, n), 5, 100))
    return [rejects(found[OTHER].p_baseline), median_holds(found[OTHER])]


def uneven(rng: Rng, n: int) -> list[Outcome]:
    """One to four repeats of a seed; half of the arm's seeds are the baseline's too."""
    shared = effects(rng, n + n // 2)
    base = arm(rng, BASELINE, shared[:n], rng.integers(1, 5, n).tolist(), horizon=THIRD)
    other = arm(rng, OTHER, shared[n // 2 :], rng.integers(1, 5, n).tolist(), n // 2, THIRD)
    return [rejects(compared(rng, base + other)[OTHER].p_baseline)]


def beyond_repeats(
    rng: Rng, n: int, late: float = 1.0, within: float = 0.1, base: int = 3, arms: int = 2, horizon: int = 10**7
) -> list[Outcome]:
    """`base` baselines and `arms` runs of every seed."""
    shared = effects(rng, n)
    lives = arm(rng, BASELINE, shared, base, horizon=horizon)
    lives += arm(rng, OTHER, shared, arms, horizon=horizon, late=late, within=within)
    return [rejects(compared(rng, lives, 1)[OTHER].p_repeats)]


def beyond_uneven_repeats(rng: Rng, n: int) -> list[Outcome]:
    """One to four repeats, and a seed without a baseline."""
    shared = effects(rng, n)
    base = arm(rng, BASELINE, shared[1:], [2, *rng.integers(1, 5, n - 2)], first=1)
    other = arm(rng, OTHER, shared, rng.integers(1, 5, n).tolist())
    return [rejects(compared(rng, base + other, 1)[OTHER].p_repeats)]


def one_more_repeat(rng: Rng, n: int) -> list[Outcome]:
    """The fourth baseline of the first seed, beside the band that three of every seed give."""
    lives = arm(rng, BASELINE, effects(rng, n), 4)
    known, new = [x for x in lives if x.repeat < 3], lives[3].times[0]
    result = Result("exact", "", ["a"], 0, *repeat_spread(known), [])
    low, high = result.repeat_band(3)
    return [holds(low, new / np.exp(np.mean([np.log(x.times[0]) for x in known if x.seed == 0])), high)]


ORDER, FOUND = ("p", "p resolved", "says"), power("p baseline")
MEDIAN_INTERVAL = coverage("grok low, high", ">=")
P_BASELINE, P_REPEATS = size("p baseline"), size("p repeats", "=")

STUDIES = [
    Study("grok_order", "both tasks alike, times with ties", tuple(size(x) for x in ORDER), order),
    Study("grok_order", "three repeats of each seed, of one order", (size("p"),), order_of_repeats, draws=300),
    Study(
        "grok_order",
        "each task first in half of the seeds, one of them by one evaluation",
        (size("p"), size("p resolved", "~")),
        order_of_short_leads,
    ),
    Study("dose_response", "arms of other seeds, a third censored", (P_BASELINE, MEDIAN_INTERVAL), own_seeds),
    Study(
        "dose_response", "the same seeds in the arms, a third censored", (P_BASELINE, size("p deletion")), same_seeds
    ),
    Study("dose_response", "five repeats of the same seeds", (P_BASELINE, MEDIAN_INTERVAL), repeats_of_same_seeds),
    Study("dose_response", "five repeats of other seeds", (P_BASELINE, MEDIAN_INTERVAL), repeats_of_own_seeds),
    Study("dose_response", "one to four repeats, half of the seeds shared, censored", (P_BASELINE,), uneven),
    Study("dose_response", "three baselines and two runs of each seed", (P_REPEATS,), beyond_repeats),
    Study("dose_response", "one to four repeats, one seed without a baseline", (P_REPEATS,), beyond_uneven_repeats),
    Study("dose_response", "a fourth repeat of a seed", (coverage("figure's band of repeats"),), one_more_repeat),
    Study(
        "dose_response",
        "an arm scatters twice as far, repeats of the baseline alone",
        (size("p repeats", "~"),),
        partial(beyond_repeats, within=0.2, arms=1),
    ),
    Study(
        "dose_response",
        "three baselines and two runs of each seed, a tenth censored",
        (size("p repeats", "~"),),
        partial(beyond_repeats, horizon=12_000),
    ),
]
POWER = [
    Study("grok_order", "one task 1.3 times as late", tuple(power(x) for x in ORDER), partial(order, late=1.3)),
    Study("dose_response", "twice as late, other seeds", (FOUND,), lambda rng, n: own_seeds(rng, n, 2)[:1]),
    Study(
        "dose_response",
        "1.3 times as late, the same seeds",
        (power("p baseline"), power("p deletion")),
        partial(same_seeds, late=1.3),
    ),
    Study(
        "dose_response",
        "1.15 times as late, three baselines and two runs of each seed",
        (power("p repeats"),),
        partial(beyond_repeats, late=1.15),
    ),
]
