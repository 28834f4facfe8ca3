"""The training loop: steps, evaluations, snapshots, checkpoints; of one run on the CPU, or of many on a device.

What a step is: `trainer`, or `fleet_step` on a device. What is written after it, and when a task has grokked:
`run_state`. When a checkpoint is written never changes a number, so the clock decides when.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from minigrok.storage.runs import Run
from minigrok.training.observer import CHECKPOINT_SECONDS, Observer
from minigrok.training.run_state import RunState


class Sitting(NamedTuple):
    """A run while it trains: its folder, its state in memory, and who looks on."""

    run: Run
    state: RunState
    observer: Observer

    def record(self, seconds: float) -> None:
        """Write what is due after so many seconds of steps, and tell the observer."""
        self.state.counters.seconds += seconds
        if self.state.failure is None:
            row = self.state.record(self.run)
            if row:
                self.observer.evaluated(row)
            self.observer.stepped(self.state.counters.step)


class Steps(Protocol):
    """Who makes the steps of one run, or of many at once."""

    def advance(self) -> None:
        """Make steps, to where the loop must look: one on the CPU, a block on a device."""

    def fetch(self) -> None:
        """Bring to the runs' states what a checkpoint needs and the steps leave elsewhere."""


def until_one_ends(sittings: Sequence[Sitting], steps: Steps) -> bool:
    """Train runs until one of them is at its end, or could not make its step; its last state is saved then.

    Returns
    -------
    bool
        Whether an observer asked to stop: then all states are saved.

    Notes
    -----
    After any exception the last checkpoints stand, from which the lost steps are made again: a state in the middle of a
    step, or past a row of metrics that found no room, is never saved.
    """
    asked, last = False, time.monotonic()
    saved = last
    while not asked and not any(each.state.ended for each in sittings):
        steps.advance()
        now = time.monotonic()
        for each in sittings:
            each.record(now - last)
        asked = any([each.observer.stop() for each in sittings])
        due = asked or now - saved > CHECKPOINT_SECONDS
        to_save = [each for each in sittings if due or each.state.ended]
        if to_save:
            steps.fetch()
        for each in to_save:
            each.state.save(each.run)
        last, saved = now, now if due else saved
    return asked
