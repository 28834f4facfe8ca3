"""Settings and result of weight_spectra; what the numbers are, `minigrok.analyses.weight_spectra.analysis` says."""

from dataclasses import dataclass, field
from typing import Annotated

from minigrok.analyses import base
from minigrok.analyses.base import MANY, Draws
from minigrok.checks import Between
from minigrok.engine import Array

FROM = 3  # first snapshot that an event may be at (paper)


@dataclass(frozen=True)
class Settings(base.Settings):
    """Settings of weight_spectra.

    Attributes
    ----------
    protocol : str    "exact"; "paper": layer 0, and only what the paper shows
    most : int        snapshots, evenly thinned; 0: 300 (our choice), or the paper's: all
    draws : int       Gaussian matrices behind the random values (our choice: 50)
    """

    name = "weight_spectra"
    most: Annotated[int, Between(FROM + 1, MANY, or_zero=True)] = 0
    draws: Draws = 50

    @property
    def snapshots(self) -> int:
        """Snapshots at most."""
        return self.own(self.most, 300)


@dataclass(frozen=True)
class Event:
    """Where a series is smallest or largest.

    Attributes
    ----------
    index, step : int
    value : float                      of the smoothed series for a gap
    to_grok, to_peak : float or None   steps after the first grok step, after the layer's commutator peak
    p_grok, p_peak : float or None     share of the circular shifts that are as close or closer
    """

    index: int
    step: int
    value: float
    to_grok: float | None
    p_grok: float | None
    to_peak: float | None = None
    p_peak: float | None = None


@dataclass(frozen=True)
class Series:
    """One quantity over the snapshots.

    Attributes
    ----------
    layer : int              -1: a task's read-out
    name, kind : str         kind: "gap", "commutator" or "pair"
    values, random : (S,)    measured; mean over Gaussian matrices of the same norms
    event : Event
    at_peak : float or None  gaps: place in its range, 0 smallest to 1 largest, at the commutator peak
    """

    layer: int
    name: str
    kind: str
    values: Array
    random: Array
    event: Event
    at_peak: float | None = None


@dataclass(frozen=True)
class Result:
    """Series of one run.

    Attributes
    ----------
    run : str
    steps : (S,) int
    groks : dict of task to step or None
    layers, heads : int
    series : list of Series
    arrays : dict of name to (S, ...)    of attention_spectra.measure
    pair_band : (2,)                     central 95 % of the pair index of Gaussian matrices
    """

    run: str
    steps: Array
    groks: dict[str, int | None]
    layers: int
    heads: int
    series: list[Series]
    arrays: dict[str, Array] = field(repr=False)
    pair_band: Array
