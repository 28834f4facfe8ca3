"""Settings and result of orbits; what the numbers are, `minigrok.analyses.orbits.analysis` says."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from minigrok.analyses import base
from minigrok.analyses.base import MANY
from minigrok.analyses.shared.curves import chosen
from minigrok.checks import Between
from minigrok.engine import Array

PARTS = ("training", "compression", "ablation", "reconstruction")
GROUPS = ("all", "partner", "alone")


@dataclass(frozen=True)
class Settings(base.Settings):
    """Settings of orbits.

    Attributes
    ----------
    protocol : str         "exact" or "paper", of the analyses whose networks are scored
    parts : list of str    from PARTS; none: all
    most : int             snapshots of the training, evenly thinned (our choice: 80)
    largest : int          largest k of the reconstruction (our choice: 30)
    repeats : int          draws of noise for each changed network (our choice: 1)
    """

    name = "orbits"
    parts: tuple[str, ...] = ()
    most: Annotated[int, Between(2, MANY)] = 80
    largest: Annotated[int, Between(1, 1000)] = 30
    repeats: Annotated[int, Between(0, 10_000)] = 1

    def __post_init__(self) -> None:
        """Check that there is every part, too."""
        super().__post_init__()
        self.chosen_parts()

    def chosen_parts(self) -> list[str]:
        """Return the parts that are asked for; a ConfigError names one that there is not."""
        return chosen(self.parts, PARTS, self.name, self.protocol)


@dataclass(frozen=True)
class Group:
    """Test pairs of one task: all, those with a partner in train, or those without; n of so many orbits."""

    task: str
    name: str
    n: int
    orbits: int


@dataclass(frozen=True)
class Line:
    """Networks along one kind of change; G groups; all accuracies are shares, 0 .. 1.

    Attributes
    ----------
    part, of : str          from PARTS, and which change
    x : (N,) float          the step, or how much is kept
    test, lookup : (N, G)   accuracy of the network, and of the lookup table that knows what the network does
    noise : (N, G)          accuracy with noise of the same norm, mean over the repeats; nan: none was drawn
    """

    part: str
    of: str
    x: Array
    test: Array
    lookup: Array
    noise: Array

    def widest(self, partner: int, alone: int) -> int:
        """Return the point where a group with partners is farthest above one without: the first one of equals."""
        return int(np.argmax(self.test[:, partner] - self.test[:, alone]))


@dataclass(frozen=True)
class Result:
    """Lines of one run.

    Attributes
    ----------
    run : str
    step : int                  of the final network
    chance : float              1 / p
    groups : list of Group      columns of the lines; a group without pairs is left out
    memorised : dict            task to the step at which it was memorised; nan: never, or not known
    lines : list of Line
    alone : dict                "part, of" of a line to accuracies without a partner, (N, n_tasks); nan: no such pair
    """

    run: str
    step: int
    chance: float
    groups: list[Group]
    memorised: dict[str, float]
    lines: list[Line]
    alone: dict[str, Array]

    def column(self, task: str, name: str) -> int | None:
        """Return the place of a group; None if it has no pairs."""
        return next((i for i, each in enumerate(self.groups) if (each.task, each.name) == (task, name)), None)

    @property
    def tasks(self) -> list[str]:
        """The tasks, in the order of the config."""
        return list(dict.fromkeys(group.task for group in self.groups))
