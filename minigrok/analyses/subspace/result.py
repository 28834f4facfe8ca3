"""Settings and result of subspace; what the numbers are, `minigrok.analyses.subspace.analysis` says."""

from dataclasses import dataclass
from typing import Annotated

from minigrok.analyses import base
from minigrok.analyses.base import MANY
from minigrok.checks import Between
from minigrok.engine import Array

FULL = 20  # components of the full vector (paper)
VECTORS = ("gradient", "update", "step", "next move")


@dataclass(frozen=True)
class Settings(base.Settings):
    """Settings of subspace.

    Attributes
    ----------
    protocol : str   "exact" or "paper"
    most : int       checkpoints, evenly thinned (our choice: 12)
    history : int    snapshots that bases are built from, at most (paper: all; 300: our choice)
    top : int        components of each attention matrix; 0: 2, or 3 for three tasks (paper)
    full : int       components of the full vector (paper: 20)
    warm : int       steps of AdamW before the one that is measured, at least (our choice: 100)
    draws : int      random bases (200: our choice; fewer than 39 have no band)
    """

    name = "subspace"
    most: Annotated[int, Between(1, MANY)] = 12
    history: Annotated[int, Between(3, MANY)] = 300
    top: Annotated[int, Between(0, MANY)] = 0
    full: Annotated[int, Between(1, MANY)] = FULL
    warm: Annotated[int, Between(0, MANY)] = 100
    draws: Annotated[int, Between(39, 100_000)] = 200


@dataclass(frozen=True)
class Comparison:
    """Principal angles between two bases; "random": mean and band of the draws, (3,).

    Attributes
    ----------
    basis, between : str
    overlap, smallest, largest : float     mean cos^2; degrees
    overlap_random, smallest_random : (3,)
    """

    basis: str
    between: str
    overlap: float
    smallest: float
    largest: float
    overlap_random: Array
    smallest_random: Array


@dataclass(frozen=True)
class Track:
    """One run at N checkpoints.

    Attributes
    ----------
    run, says : str
    steps : (N,) int
    size : int                       P
    shares : dict of (N, V, 5)       by basis: bases.Chance of each vector of VECTORS
    ranks : dict of (N,)             K by basis
    replay : (N,)                    distance of the replayed point to the snapshot, over the distance replayed
    angles : list of Comparison
    """

    run: str
    says: str
    steps: Array
    size: int
    shares: dict[str, Array]
    ranks: dict[str, Array]
    replay: Array
    angles: list[Comparison]


@dataclass(frozen=True)
class Result:
    """Tracks of all runs, and the draws behind every band."""

    protocol: str
    draws: int
    tracks: list[Track]
