"""Settings and result of dose_response; what the numbers are, `minigrok.analyses.dose_response.analysis` says."""

from dataclasses import dataclass

from minigrok.analyses import base
from minigrok.analyses.base import Draws
from minigrok.engine import Array
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


@dataclass(frozen=True)
class Group:
    """Runs of one arm and dose.

    Attributes
    ----------
    arm : str
    dose : float
    lives : list of Life
    curve : Survival                       of the last task
    medians : list of Estimate             of each task, and of the last one
    ratio : float, is_bound : bool         x baseline, and whether it is a lower bound; nan: no baseline of these seeds
    z, p_baseline, p_deletion : float      nan: cannot be said
    """

    arm: str
    dose: float
    lives: list[Life]
    curve: Survival
    medians: list[Estimate]
    ratio: float
    is_bound: bool
    z: float
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
