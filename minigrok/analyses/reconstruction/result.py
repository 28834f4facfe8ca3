"""Settings and result of reconstruction, and its conventions by name.

A convention is a way to take principal components of a trajectory before the final network is rebuilt from them. The
paper has three and quotes the one with which few directions suffice; here they stand side by side, with the ones that
a claim about the solution would need. The maths is in minigrok.geometry.reconstruction.
"""

from dataclasses import dataclass
from typing import Annotated

from minigrok.analyses import base
from minigrok.analyses.base import MANY, Draws
from minigrok.analyses.shared.curves import chosen
from minigrok.checks import Between
from minigrok.engine import Array
from minigrok.geometry import reconstruction as maths


@dataclass(frozen=True)
class Convention:
    """One way.

    Attributes
    ----------
    origin : str       what is subtracted from each row and added back to theta_k: "init", "zero", "decayed" initial
        weights, the "mean" row, or the weights at the last "grok"
    is_centred : bool  the mean row is taken off before the PCA; it is NOT added back, unless it is the origin
    init_row : bool    whether the row of step 0 is among the rows
    until : float      rows up to this share of the final step; below 1 the final network is no row: held out in time
    count : int        at most so many rows, evenly thinned; 0: all
    after : bool       rows after the last grok only
    """

    origin: str = "init"
    is_centred: bool = False
    init_row: bool = False
    until: float = 1.0
    count: int = 0
    after: bool = False


FEW = 30  # rows of the count-matched convention: fewer than any of our runs has; our choice
AFTER = ("post-grok, from init", "post-grok, from the grok")
CONVENTIONS = {
    "uncentred": Convention(),
    "centred, init row kept": Convention(is_centred=True, init_row=True),
    "centred, init row dropped": Convention(is_centred=True),
    "centred, about the mean": Convention("mean", is_centred=True),
    "decay removed": Convention("decayed"),
    "theta itself": Convention("zero"),
    "held out, first 90 %": Convention(until=0.9),
    "held out, first 75 %": Convention(until=0.75),
    "held out, first 50 %": Convention(until=0.5),
    "held out, first 75 %, decay removed": Convention("decayed", until=0.75),
    f"uncentred, {FEW} snapshots": Convention(count=FEW),
    AFTER[0]: Convention(is_centred=True, after=True),
    AFTER[1]: Convention("grok", after=True),
}
PAPER = {  # the paper's k, by convention: figTHR, figCOMP (a), figABL4, figCOMP (b), figABL4
    "uncentred": tuple(range(1, 21)),
    "centred, init row kept": (1, 2, 3, 5, 10, 15, 20, 30),
    "centred, init row dropped": (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30),
    AFTER[0]: (1, 2, 3, 5, 10, 15, 20, 30),
    "random directions": (1, 2, 5, 10, 20),
}
NULLS = ("random directions", "walk bridge", "decay bridge")
PARTS = (*CONVENTIONS, *NULLS)


@dataclass(frozen=True)
class Settings(base.Settings):
    """Settings of reconstruction.

    Attributes
    ----------
    protocol : str         "exact" or "paper"
    parts : list of str    conventions and nulls; none: all of the protocol for which there are snapshots
    most : int             checkpoints, evenly thinned (paper: 100)
    largest : int          largest k (paper: 20 in figTHR, 30 in the others); so many vectors (P,) stand in memory
    draws : int            bridges of each kind (our choice: 3)
    """

    name = "reconstruction"
    parts: tuple[str, ...] = ()
    most: Annotated[int, Between(4, MANY)] = 100
    largest: Annotated[int, Between(1, 1000)] = 30
    draws: Draws = 3

    def __post_init__(self) -> None:
        """Check that the protocol has every part, too."""
        super().__post_init__()
        self.chosen_parts()

    def chosen_parts(self) -> list[str]:
        """Return the parts that are asked for, or all that the protocol has; a ConfigError names one that it lacks."""
        return chosen(self.parts, PAPER if self.protocol == "paper" else PARTS, self.name, self.protocol)


@dataclass(frozen=True)
class Track:
    """One convention, or one draw of a null.

    Attributes
    ----------
    name : str
    rows : int               of the PCA; 0 for random directions
    shares : (S,)            of the variance
    ks : (N,) int
    train, test : (N, n_tasks)
    outside : (N,)           share of |theta_final - origin|^2
    """

    name: str
    rows: int
    shares: Array
    ks: Array
    train: Array
    test: Array
    outside: Array

    def crossing(self, part: str, lasting: bool = False) -> int | None:
        """Return k* of "train" or "test" accuracy."""
        passes = getattr(self, part).min(axis=1) >= maths.MARK
        return (maths.lasting_crossing if lasting else maths.first_crossing)(self.ks, passes)


@dataclass(frozen=True)
class Result:
    """Tracks of one run; the checks: see the analysis. `after`: snapshots after the last grok."""

    run: str
    protocol: str
    step: int
    tasks: list[str]
    tracks: list[Track]
    final_test: Array
    token0: float
    cosine: float
    after: int
