"""The training loop: steps, evaluations, snapshots, checkpoints; nothing else.

What a step is: `trainer`. What is written after it, and when a task has grokked: `run_state`. Training stops when the
last task has, `after_grok` steps later, or at `max_steps`. When a checkpoint is written never changes a number, so the
clock decides when.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from minigrok.engine import chosen
from minigrok.errors import NonFiniteError
from minigrok.storage.runs import Run
from minigrok.training.counters import Counters
from minigrok.training.observer import CHECKPOINT_SECONDS, Observer
from minigrok.training.planes import plane_of
from minigrok.training.trainer import Trainer

if TYPE_CHECKING:
    from minigrok.training.fleet_train import Replay


def trainer_of(run: Run) -> Trainer | Replay:
    """Return what makes steps of a run again, nothing restored and nothing recorded, on the engine of its config."""
    if chosen(run.config.compute.engine)[0] == "cuda":
        from minigrok.training.fleet_train import Replay

        return Replay(run)
    return Trainer(run.config)


def train(
    run: Run,
    threads: int | None = None,
    after_grok: int | None = None,
    observer: Observer | None = None,
) -> Counters:
    """Train a run from its checkpoint, or from the start, to its end.

    Parameters
    ----------
    run : Run
        A locked run folder (`runs.create`, or `runs.open_run` and `lock`).
    threads : int, optional
        See `Trainer`.
    after_grok : int, optional
        Steps to go on after the last task has grokked; default: the config's.
    observer : Observer, optional

    Returns
    -------
    Counters
        Where the run ended; `Counters.finished` tells whether that is its end.

    Raises
    ------
    NonFiniteError
        After saving the last finite state.
    RunFolderError
        The folder cannot be read or written.

    Notes
    -----
    After any other exception the last checkpoint stands, from which the lost steps are made again: a state in the
    middle of a step, or past a row of metrics that found no room, is never saved.
    """
    if chosen(run.config.compute.engine)[0] == "cuda":
        from minigrok.training.fleet_train import train_alone

        return train_alone(run, after_grok, observer)
    observer = observer or Observer()
    trainer = Trainer(run.config, threads, plane=plane_of(run))
    trainer.begin(run, after_grok)
    saved = started = time.monotonic()
    before = trainer.counters.seconds
    try:
        while not trainer.finished:
            trainer.step()
            row = trainer.record(run)
            if row:
                observer.evaluated(row)
            now = time.monotonic()
            trainer.counters.seconds = before + now - started
            if now - saved > CHECKPOINT_SECONDS:
                trainer.save(run)
                saved = now
            observer.stepped(trainer.counters.step)
            if observer.stop():
                break
    except NonFiniteError:
        trainer.save(run)
        raise
    trainer.close(run)
    return trainer.counters
