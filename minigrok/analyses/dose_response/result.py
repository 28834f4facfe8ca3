"""Settings and result of dose_response; what the numbers are, `minigrok.analyses.dose_response.analysis` says."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from minigrok.analyses import base
from minigrok.analyses.base import Draws
from minigrok.engine import Array
from minigrok.statistics.intervals import around
from minigrok.statistics.survival import Estimate, Survival

BASELINE = "baseline"


@dataclass(frozen=True)
class Settings(base.Settings):
    """Settings of dose_response.

    Attributes
    ----------
    protocol : str    "exact", or "paper": grok steps alone, no test and no error bar
    draws : int       exchanges of runs between groups, for each p (our choice: 2000)
    """

    name = "dose_response"
    draws: Draws = 2000


@dataclass(frozen=True)
class Life:
    """One run.

    Attributes
    ----------
    run, arm : str
    dose : float
    seed, repeat : int
    last : int                    last evaluation
    times, happened : (tasks + 1,)    grok step of each task and of the last one; False: censored there
    measures : dict               medians of its log, as the table names them
    """

    run: str
    arm: str
    dose: float
    seed: int
    repeat: int
    last: int
    times: Array
    happened: Array
    measures: dict[str, float]


class Ratio(NamedTuple):
    """Grok time over that of the seed's baseline, geometric mean over seeds."""

    value: float  # nan: no seed has a baseline, or some are bounds from below and some from above
    bound: str  # ">": it is more, since a run was censored; "<": less, since a baseline was; "": neither
    seeds: int  # behind it
    scale: float  # its logarithm has this many standard deviations of a repeat as error


@dataclass(frozen=True)
class Group:
    """Runs of one arm and dose.

    Attributes
    ----------
    arm : str
    dose : float
    lives : list of Life
    curve : Survival                       of the last task, one run a seed
    medians : list of Estimate             of each task, and of the last one
    ratio : Ratio                          x baseline
    t, p_repeats : float                   ln ratio over its error, and what repeats of a seed give as far; nan: cannot
    p_baseline, p_deletion : float         be said
    """

    arm: str
    dose: float
    lives: list[Life]
    curve: Survival
    medians: list[Estimate]
    ratio: Ratio
    t: float
    p_repeats: float
    p_baseline: float
    p_deletion: float


@dataclass(frozen=True)
class Result:
    """Groups of all runs.

    Attributes
    ----------
    protocol, condition : str
    tasks : list of str
    horizon : int            step at which all runs are cut
    repeat_sd : float        s; nan: no two repeats of a seed grokked
    repeats_df : int         degrees of freedom of s
    groups : list of Group   the baseline first
    """

    protocol: str
    condition: str
    tasks: list[str]
    horizon: int
    repeat_sd: float
    repeats_df: int
    groups: list[Group]

    def repeat_band(self, n: int) -> tuple[float, float]:
        """Return the factors of the mean of n repeats of a seed (geometric, of t) between which one more of them lies.

        exp(-/+ q s (1 + 1/n)^(1/2)), q Student's quantile: 95 % where ln t of repeats is normal; nan without repeats.
        """
        low, high = around(0.0, self.repeat_sd * math.sqrt(1 + 1 / n), self.repeats_df)
        return math.exp(low), math.exp(high)
