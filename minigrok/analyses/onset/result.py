"""Settings and result of onset; what the numbers are, `minigrok.analyses.onset.analysis` and `.scores` say."""

from dataclasses import dataclass
from typing import Annotated

from minigrok.analyses import base
from minigrok.analyses.base import MANY
from minigrok.analyses.shared.defect import Trace
from minigrok.checks import Between
from minigrok.engine import Array
from minigrok.statistics.detectors import Onset

SHUFFLES = 1000  # of onsets among runs, behind the band of alpha: our choice


@dataclass(frozen=True)
class Settings(base.Settings):
    """Settings of onset.

    Attributes
    ----------
    protocol : str    "exact"; "paper": D by float32 differences
    most : int        at most this many snapshots, evenly thinned (paper: 120); every detector's baseline takes three
    repeats : int     pairs of batches at a snapshot (paper: 9 for two tasks, 5 for three)
    fresh : bool      measure D even where the run has a result of `commutator`, whose checkpoints may be others
    """

    name = "onset"
    most: Annotated[int, Between(3, MANY)] = 120
    repeats: Annotated[int, Between(1, 10_000)] = 5
    fresh: bool = False


@dataclass(frozen=True)
class RunOnsets:
    """One run.

    Attributes
    ----------
    run, condition : str
    trace : Trace
    last_step, common_step : int                      end of the run; of what all runs of its condition have in common
    groks : dict of definition to step or None        of the first task
    onsets, common : dict of event to Onset           of the whole run, and of what is known up to `common_step`
    """

    run: str
    condition: str
    trace: Trace
    last_step: int
    common_step: int
    groks: dict[str, int | None]
    onsets: dict[str, Onset]
    common: dict[str, Onset]


@dataclass(frozen=True)
class Score:
    """Scores of one event by one definition of grokking; nan for what cannot be computed.

    Attributes
    ----------
    runs, before, controls, alarms : int    runs that grok; with the event before; that never grok; with the event
    lead, share, known : float              medians of t - o (steps), (t - o) / t, t - known, over runs with the event
    expected : float                        `before` of a uniform onset
    common : int                            `before` of the events up to the common step
    law : (runs + 1,)                       share of the exchanges in which `common` is 0, 1, ...
    p, least : float                        of `common`; the least p of these exchanges. p is nan if that is too large
    auc, rho : float
    rho_n : int
    rho_p : float or None                   None: n too small
    gamma, alpha : float
    alpha_null : (2,)                       band with shuffled onsets
    """

    runs: int
    before: int
    controls: int
    alarms: int
    lead: float
    share: float
    known: float
    expected: float
    common: int
    law: Array
    p: float
    least: float
    auc: float
    rho: float
    rho_n: int
    rho_p: float | None
    gamma: float
    alpha: float
    alpha_null: Array


@dataclass(frozen=True)
class Family:
    """Scores of the threshold family, (factors, floors); nan: no run has the event.

    Attributes
    ----------
    lead : steps, median         before, chance : share of the runs that grok        alarms : share of the controls
    """

    lead: Array
    before: Array
    chance: Array
    alarms: Array


@dataclass(frozen=True)
class Result:
    """Runs, scores[definition][event], families[definition], and why other runs are left out, by name."""

    runs: list[RunOnsets]
    left_out: dict[str, str]
    factors: Array
    floors: Array
    scores: dict[str, dict[str, Score]]
    families: dict[str, Family]
