"""Settings and Result of the commutator analysis."""

from dataclasses import dataclass
from typing import Annotated

from minigrok.analyses import base
from minigrok.analyses.base import MANY
from minigrok.checks import Between
from minigrok.engine import Array
from minigrok.geometry import brackets


@dataclass(frozen=True)
class Settings(base.Settings):
    """Settings of commutator.

    Attributes
    ----------
    protocol : str      "exact" or "paper"
    most : int          checkpoints, evenly thinned; 0: 100 under "paper" (the paper's), else 24 (our choice: cost)
    repeats : int       K, pairs of batches at each checkpoint; 0: 9 under "paper" (the paper's), 5 (our choice: cost)
    eta : float         step of the finite differences (paper: 1e-3)
    pairs : bool        also cross-task and, under "exact", same-task losses
    top : int           components of each attention matrix in the basis; 0: 2, or 3 for three tasks (paper)
    history : int       snapshots that bases are built from, at most (paper: all; 300: our choice)
    draws : int         random bases (200: our choice; fewer than 39 have no band)
    sweep : int         checkpoints of the eta sweep, "exact" only (our choice)
    """

    name = "commutator"
    most: Annotated[int, Between(0, MANY)] = 0
    repeats: Annotated[int, Between(0, 1000)] = 0
    eta: Annotated[float, Between(1e-12, 1)] = brackets.ETA
    pairs: bool = True
    top: Annotated[int, Between(0, 1000)] = 0
    history: Annotated[int, Between(2, MANY)] = 300
    draws: Annotated[int, Between(39, 100_000)] = 200
    sweep: Annotated[int, Between(0, MANY)] = 4

    @property
    def checkpoints(self) -> int:
        """Checkpoints at most."""
        return self.most or (100 if self.protocol == "paper" else 24)

    @property
    def K(self) -> int:
        """Pairs of batches at each checkpoint."""
        return self.repeats or (9 if self.protocol == "paper" else 5)


@dataclass(frozen=True)
class Result:
    """Commutators of one run at N checkpoints, M modes, K repeats.

    Attributes
    ----------
    run, protocol : str
    steps : (N,)
    modes : list of str
    groks : dict                task -> grok step or None
    values : dict of (N, M, K)
        exact, float64, float32, floor, error: in units of D, which has none; bracket: nats^2; g_a, g_b: nats; cosine;
        attention: share of the bracket's energy; agreement: cosine between float32 difference and bracket;
        for the bases "run" and "past": NAME_share, NAME_chance, and the band NAME_low, NAME_high of random bases:
        energies
        (protocol "paper": float32, floor, g_a, g_b, cosine)
    extra : dict of (N, M)      "paper", of the extra draw: rho, inside = |B^T delta| / |delta|, attention, ratios of
                                norms; inside_chance, inside_low, inside_high of random bases; error, as above
    sweep_steps : (W,)          checkpoints of the sweep
    sweep : dict of (W, E)      exact, float64, float32, floor; error: |difference / eta^2 - bracket| / |bracket|
    etas : (E,)
    rank, size : int            K of the basis "run", and P
    draws : int                 behind every band
    notes : list of str         what is missing, and how to read it
    """

    run: str
    protocol: str
    steps: Array
    modes: list[str]
    groks: dict[str, int | None]
    values: dict[str, Array]
    extra: dict[str, Array]
    sweep_steps: Array
    sweep: dict[str, Array]
    etas: Array
    rank: int
    size: int
    draws: int
    notes: list[str]
