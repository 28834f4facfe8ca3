"""Jobs on this machine's CUDA device: runs packed into replicas that train together, analyses one after the other.

Runs of one kind (`fleet_train.kind`) share every kernel launch; those that end leave the fleet. The run folders are
those of any other executor.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

from minigrok.config import Config, from_toml
from minigrok.engine import device
from minigrok.errors import MinigrokError
from minigrok.experiments.job import Job, Outcome, Stopped, locked, perform_job
from minigrok.experiments.sweep_file import Sweep
from minigrok.training.fleet_train import Replica, kind, together
from minigrok.training.observer import Observer

REPLICAS = 64  # at most, unless asked for: our choice, not yet measured


def wanted(sweep: Sweep) -> bool:
    """Whether all runs of a sweep are for the device."""
    return {config.compute.engine for config in sweep.configs} == {"cuda"}


class OnDevice:
    """The device of this machine.

    Parameters
    ----------
    replicas : int, optional    runs side by side

    Raises
    ------
    EngineError    no device that works
    """

    def __init__(self, replicas: int | None = None) -> None:
        device.require()
        self.workers = replicas or REPLICAS

    @property
    def where(self) -> str:
        """Where jobs run, for people."""
        return f"the CUDA device of this machine, up to {self.workers} runs at once"

    def close(self) -> None:
        """Nothing is held between jobs."""

    def outcomes(self, jobs: Sequence[Job], stop: Callable[[], bool]) -> Iterator[Outcome]:
        """Do the jobs and yield how each ended.

        Parameters
        ----------
        jobs : sequence of Job
        stop : function     asked after each block of steps and between parts of an analysis
        """
        kinds: dict[Config, list[Job]] = {}
        for job in jobs:
            if "config" in job:
                kinds.setdefault(kind(from_toml(str(job["config"]))), []).append(job)
            else:
                yield perform_job(job, stop)
        for alike in kinds.values():
            for first in range(0, len(alike), self.workers):
                yield from _pack(alike[first : first + self.workers], stop)


def _pack(jobs: Sequence[Job], stop: Callable[[], bool]) -> Iterator[Outcome]:
    """Train the runs of some jobs together, then do what is left of each job."""
    failed: dict[str, Outcome] = {}
    with ExitStack() as stack:
        runs = []
        for job in jobs:
            try:
                runs.append(stack.enter_context(locked(job, stop)))
            except Stopped:
                failed[str(job["name"])] = Outcome(str(job["name"]), False, "stopped", stopped=True)
            except MinigrokError as error:
                failed[str(job["name"])] = Outcome(str(job["name"]), False, str(error))
        if runs:
            for replica in together(runs, observers=[Observer(stop=stop) for _ in runs]):
                outcome = _ending(replica)
                if outcome is not None:
                    failed[replica.config.name] = outcome
    for job in jobs:
        yield failed.get(str(job["name"])) or perform_job(job, stop)


def _ending(replica: Replica) -> Outcome | None:
    """How a run ended that has nothing more to do; None if its analyses may begin."""
    name = replica.config.name
    if replica.failure is not None:
        return Outcome(name, False, str(replica.failure))
    return None if replica.finished else Outcome(name, False, "stopped", stopped=True)
