"""Settings and result of weight_spectra; what the numbers are, `minigrok.analyses.weight_spectra.analysis` says."""

from dataclasses import dataclass, field
from typing import Annotated

import numpy as np

from minigrok.analyses import base
from minigrok.analyses.base import MANY, Draws
from minigrok.checks import Between
from minigrok.engine import Array

FROM = 3  # first snapshot that an event may be at (paper)
NOWHERE = float("nan")
COMMUTATOR, NORMALISED = "[W_Q, W_K]", "normalised"


@dataclass(frozen=True)
class Settings(base.Settings):
    """Settings of weight_spectra.

    Attributes
    ----------
    protocol : str    "exact"; "paper": layer 0, and only what the paper shows
    most : int        snapshots, evenly thinned; 0: 300 (our choice), or the paper's: all
    draws : int       Gaussian matrices behind the random values (our choice: 50; fewer than 39 have no band)
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
    step : int or None                  None: the series does not vary, and has no event
    value, random : float               of the smoothed series for a gap; of random matrices
    to_grok, to_peak : float            steps after the first grok step, after the layer's commutator peak; nan: none
    near_grok, near_peak : float        share of the snapshots that are as near to it, or nearer
    """

    step: int | None = None
    value: float = NOWHERE
    random: float = NOWHERE
    to_grok: float = NOWHERE
    near_grok: float = NOWHERE
    to_peak: float = NOWHERE
    near_peak: float = NOWHERE


@dataclass(frozen=True)
class Series:
    """One quantity over the snapshots.

    Attributes
    ----------
    layer : int              -1: a task's read-out
    name, kind : str         kind: "gap", "commutator", "pair" or "layers"
    values, random : (S,)    measured; mean over Gaussian matrices of the same norms
    event, over : Event      of the values, and of values / random
    at_peak : float or None  gaps: place in its range, 0 smallest to 1 largest, at the commutator peak
    """

    layer: int
    name: str
    kind: str
    values: Array
    random: Array
    event: Event
    over: Event
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
    pair_band : (2,)                     band of the pair index of Gaussian matrices; nan: too few draws
    layers_band : (2,)                   the same of the ratio of two normalised commutators
    draws : int                          behind each band
    """

    run: str
    steps: Array
    groks: dict[str, int | None]
    layers: int
    heads: int
    series: list[Series]
    arrays: dict[str, Array] = field(repr=False)
    pair_band: Array
    layers_band: Array
    draws: int

    def band_of(self, each: Series) -> Array:
        """Return the band (2,) of a series' random value; nan: it has none."""
        if each.kind == "layers" and each.name.endswith(NORMALISED):
            return self.layers_band
        return self.pair_band if each.kind == "pair" else np.full(2, NOWHERE)
