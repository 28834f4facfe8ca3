"""Which snapshots of a run the paper's procedures read: two logs, where a run of ours has one.

    attention log    attention weights alone: trajectories, weight spectra, bases of the execution manifold
    checkpoints      all weights: defects, curvature, heads, k*, compression, Gram windows, planes of interventions;
                     the last checkpoint is the "final model"
Both begin at step 0 and hold multiples of a number of steps alone, which differs between the families of his runs
(FAMILIES). A run ends where its last task groks, so its last snapshot often is no checkpoint: the paper never reads it.
Protocol "exact": every snapshot is in both logs.
A run with a snapshot every 100 steps has all of these logs.
Source: arXiv:2602.18523, code aa4e72f; one task: its companion, arXiv:2602.16746.
"""

from typing import NamedTuple, TypeVar

from minigrok.config import Config
from minigrok.errors import RunFolderError
from minigrok.storage.run import Run

T = TypeVar("T")
ENOUGH = 100  # snapshots so many steps apart hold every log
CHECKPOINTS = 100  # at most, in the paper's PCA of the full vector


class Cadence(NamedTuple):
    """Steps between two entries of each log."""

    attention: int
    checkpoint: int


FAMILIES = {
    "two tasks, weight decay 1 or more": Cadence(100, 200),
    "two tasks, less weight decay": Cadence(200, 200),
    "three tasks": Cadence(100, 200),
    "one task": Cadence(100, 200),
    "one or two tasks, no weight decay": Cadence(500, 500),
}


def cadence(config: Config) -> Cadence:
    """Return the cadence of the paper's runs of this family."""
    tasks, decay = len(config.task.operations), config.optimiser.weight_decay
    if tasks < 3 and decay == 0:
        return FAMILIES["one or two tasks, no weight decay"]
    if tasks == 2:
        return FAMILIES[f"two tasks, {'weight decay 1 or more' if decay >= 1 else 'less weight decay'}"]
    return FAMILIES["three tasks" if tasks > 2 else "one task"]


def by_tasks(config: Config, two: T, three: T) -> T:
    """Return the paper's choice for runs of three tasks, or the one for fewer."""
    return three if len(config.task.operations) > 2 else two


def attention_log(run: Run, protocol: str) -> list[int]:
    """Return the steps of the attention log of a protocol; none for a run without snapshots.

    Raises
    ------
    RunFolderError
        The run lacks one of them.
    """
    return _logged(run, protocol, "attention log", cadence(run.config).attention)


def checkpoints(run: Run, protocol: str) -> list[int]:
    """Return the steps of the checkpoints of a protocol; none for a run without snapshots.

    Raises
    ------
    RunFolderError
        The run lacks one of them.
    """
    return _logged(run, protocol, "checkpoints", cadence(run.config).checkpoint)


def _logged(run: Run, protocol: str, name: str, every: int) -> list[int]:
    there = run.snapshots()
    if protocol != "paper" or not there:
        return there
    wanted = list(range(0, there[-1] + 1, every))
    if lacking := sorted({*wanted} - {*there}):
        own = run.config.train.snapshot_every
        required = f"the paper's {name} in {run.folder}: a snapshot every {every} steps, from 0 to {wanted[-1]}"
        got = f"no snapshot of step {', '.join(map(str, lacking[:3]))}{', ...' * (len(lacking) > 3)}"
        do = f"train with --set train.snapshot_every={ENOUGH}" if every % own else "restore them from a copy"
        raise RunFolderError(required, f"{got} (train.snapshot_every = {own})", f"{do}, or take --protocol exact")
    return wanted
