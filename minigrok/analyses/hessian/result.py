"""Settings and Result of the hessian analysis, and what it is of one checkpoint."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from minigrok.analyses import base
from minigrok.analyses.base import MANY
from minigrok.analyses.shared.curvature import Density, Ends
from minigrok.checks import Between, nearest
from minigrok.engine import Array
from minigrok.errors import ConfigError
from minigrok.statistics.intervals import around

PARTS = ("tasks", "split", "manifold", "traces", "density")
PRODUCTS = 80  # our choice, for cost: the lowest eigenvalue of the paper's model to a residual of some 1.4 %; 100: 1 %
OPERATORS = ("H", "G", "H - G")  # of the traces


@dataclass(frozen=True)
class Settings(base.Settings):
    """Settings of hessian.

    Attributes
    ----------
    protocol : str          "exact" or "paper"
    most : int              snapshots, evenly spaced, both ends kept; 0: 3 (our choice: cost), or the paper's 30
    products : int          Lanczos steps for H and for each task; a quarter of them for G, a third for H - G and each
                            more probe of the density, a fifth for H outside B; 0: 80 (our choice: cost), or the
                            paper's 25
    parts : list of str     beside H: from tasks, split (G and H - G), manifold, traces, density. "tasks" costs another
                            80 products a task and is left out unless asked for
    values : int            at each end (our choice: 3)
    tolerance : float       residual / |value| of a converged value (our choice: 0.01)
    components : int        PCs of each attention matrix; 0: one a task, 2 at least (paper: 2 for two, 3 for three)
    draws : int             random bases (our choice: 1, for cost; 16 products each at the paper's size)
    probes : int            of the traces, two products each (our choice: 6, for cost); one gives no interval
    density_probes : int    random starts of the density, the first of them H's own (our choice: 2)
    """

    name = "hessian"
    most: Annotated[int, Between(0, MANY)] = 0
    products: Annotated[int, Between(0, 10_000)] = 0
    parts: tuple[str, ...] = PARTS[1:]
    values: Annotated[int, Between(1, 1000)] = 3
    tolerance: Annotated[float, Between(1e-15, 1)] = 0.01
    components: Annotated[int, Between(0, 1000)] = 0
    draws: Annotated[int, Between(1, 1000)] = 1
    probes: Annotated[int, Between(1, 10_000)] = 6
    density_probes: Annotated[int, Between(1, 1000)] = 2

    def __post_init__(self) -> None:
        """Check the names of the parts, too."""
        super().__post_init__()
        for part in self.parts:
            if part not in PARTS:
                raise ConfigError(f"hessian.parts from {', '.join(PARTS)}", repr(part), nearest(part, PARTS))


@dataclass(frozen=True)
class Traced:
    """Traces of H, G and H - G (rows) in each group of parameters and in all (columns), nats.

    Attributes
    ----------
    mean, error : (3, groups + 1)    estimates and standard errors; nan with one probe
    probes : int
    """

    mean: Array
    error: Array
    probes: int

    @property
    def ends(self) -> Array:
        """Interval (2, 3, groups + 1) of each trace; nan: there is none."""
        each = [around(*both, self.probes - 1) for both in zip(self.mean.flat, self.error.flat, strict=True)]
        return np.array(each).T.reshape(2, *self.mean.shape)


@dataclass(frozen=True)
class Inside:
    """Eigenvalues of B^T H B, exact, nats.

    Attributes
    ----------
    values : (K,)          B: the manifold; ascending
    random : (draws, K)    B: random, with as many directions in each attention matrix
    """

    values: Array
    random: Array


@dataclass(frozen=True)
class Checkpoint:
    """Everything about one snapshot.

    Attributes
    ----------
    step : int
    clock : float                lr wd t, dimensionless
    losses : (n_tasks,)          nats
    slopes : (n_tasks + 1,)      |gradient| of each task's loss, and of their sum; nats
    ends : list of Ends
    traced, inside, density      None: not asked for, or impossible (`Result.missing` says why)
    """

    step: int
    clock: float
    losses: Array
    slopes: Array
    ends: list[Ends]
    traced: Traced | None
    inside: Inside | None
    density: Density | None


@dataclass(frozen=True)
class Result:
    """Checkpoints of one run.

    Attributes
    ----------
    run : str
    tasks, groups : list of str
    sizes : list of int             parameters in each group, and in all
    checkpoints : list of Checkpoint
    missing : list of str           what could not be measured, and why
    """

    run: str
    tasks: list[str]
    groups: list[str]
    sizes: list[int]
    checkpoints: list[Checkpoint]
    missing: list[str]


@dataclass(frozen=True)
class Paper:
    """Smallest Ritz values of one run.

    Attributes
    ----------
    run : str
    modes : list of str                  "total", then the tasks if there are several
    steps : (S,) int
    sample : int                         pairs behind each value
    tolerance : float                    residual / |value| of a converged value
    values, residuals : (S, modes, 5)    ascending; nats
    onsets : list of int or None         one a mode
    """

    run: str
    modes: list[str]
    steps: Array
    sample: int
    tolerance: float
    values: Array
    residuals: Array
    onsets: list[int | None]
