"""Settings and Result of the phase analysis; what is known of each run and condition is defined where it is read."""

from dataclasses import dataclass
from typing import Annotated

from minigrok.analyses import base
from minigrok.analyses.hessian.result import PRODUCTS
from minigrok.analyses.phase.curvature import Depth
from minigrok.analyses.phase.laws import Response, Waiting
from minigrok.analyses.phase.leads import Lead
from minigrok.analyses.phase.rebuilt import Rebuilding
from minigrok.analyses.phase.runs import Condition, Life
from minigrok.checks import Between


@dataclass(frozen=True)
class Settings(base.Settings):
    """Settings of phase.

    Attributes
    ----------
    protocol : str       "exact" or "paper"
    curvature : bool     measure the lowest eigenvalue at the two matched points, `products` Hessian products each;
                         false: only what finished analyses `hessian` of the runs have
    loss : float         matched train loss of every task, nats (our choice: all runs pass it soon after memorising)
    clock : float        matched lr wd t (our choice: about half-way to grokking)
    products : int       of each lowest eigenvalue (our choice: as `hessian`)
    components : int     tried for k* (paper: 20); 0: no k*
    """

    name = "phase"
    curvature: bool = False
    loss: Annotated[float, Between(1e-12, 1e3)] = 0.1
    clock: Annotated[float, Between(1e-6, 1e6)] = 4.0
    products: Annotated[int, Between(2, 10_000)] = PRODUCTS
    components: Annotated[int, Between(0, 1000)] = 20


@dataclass(frozen=True)
class Result:
    """The diagram.

    Attributes
    ----------
    protocol : str
    tasks : list of str
    conditions, labels : list          large weight decay first
    lives : list of Life               one a run
    left_out : dict of str to str      runs that do not count, and why
    line : str                         which runs the laws are of
    laws : dict of str to Response     one a task, and the mean of the tasks
    waiting : Waiting
    depths : list of list of Depth     of each run
    leads : list of list of Lead       of each run
    rebuilt : list of Rebuilding       of each run; None: too few snapshots, or not asked for
    """

    protocol: str
    tasks: list[str]
    conditions: list[Condition]
    labels: list[str]
    lives: list[Life]
    left_out: dict[str, str]
    line: str
    laws: dict[str, Response]
    waiting: Waiting
    depths: list[list[Depth]]
    leads: list[list[Lead]]
    rebuilt: list[Rebuilding | None]
