"""The door to training: it asks for the engine of a run's config.

The loop is `loop`, a step is `trainer` or, on a device, `fleet_train`.
"""

from contextlib import suppress
from dataclasses import replace
from typing import cast

from minigrok.config import Config
from minigrok.config.sections import EngineName
from minigrok.engine import chosen, open_engine, portable
from minigrok.errors import RunFolderError
from minigrok.network.params import members
from minigrok.storage.runs import Run
from minigrok.training.budget import require_room
from minigrok.training.counters import Counters
from minigrok.training.fleet_train import Replay, together
from minigrok.training.loop import Sitting, until_one_ends
from minigrok.training.observer import Observer
from minigrok.training.planes import plane_of
from minigrok.training.run_state import RunState
from minigrok.training.trainer import Trainer


def ready(config: Config) -> tuple[Config, str]:
    """Return a configuration that this process can train, its engine chosen, and why the engine is another one.

    Raises
    ------
    EngineError
        The engine is not there, or portable mode is asked for and not in force.
    ConfigError
        A part to freeze, to start at 0 or to intervene in is not in the network.
    """
    members(config, config.optimiser.frozen + config.init.zero + config.intervention.parts)
    if config.compute.portable:
        portable.require()
    engine, why = chosen(config.compute.engine)
    open_engine(engine, config.compute.dtype)
    return replace(config, compute=replace(config.compute, engine=cast("EngineName", engine))), why


def trainer_of(run: Run) -> Trainer | Replay:
    """Return what makes steps of a run again, nothing restored and nothing recorded, on the engine of its config."""
    run.require_own("a run whose steps can be made again: its batches and its optimiser's state")
    on_device = chosen(run.config.compute.engine)[0] == "cuda"
    return Replay(run.config) if on_device else Trainer(run.config)


def train(
    run: Run, threads: int | None = None, after_grok: int | None = None, observer: Observer | None = None
) -> Counters:
    """Train a run from its checkpoint, or from the start, to its end.

    Training stops when the last task has grokked, `after_grok` steps later, or at `train.max_steps`.

    Parameters
    ----------
    run : Run
        A locked run folder (`runs.create`, or `runs.open_run` and `lock`).
    threads : int, optional
        See `Trainer`.
    after_grok : int, optional
        Steps to go on after the last task has grokked; default: those of the last sitting, or the config's.
    observer : Observer, optional

    Returns
    -------
    Counters
        Where the run ended; `Counters.finished` tells whether that is its end.

    Raises
    ------
    NonFiniteError
        After saving the state before the step that could not be made; where a step ended in parameters that are not
        finite, the last checkpoint stands.
    RunFolderError
        The folder cannot be read or written.
    ConfigError
        There is not enough memory. A start that fails leaves no run in the folder.
    """
    run.require_own("a run that minigrok can go on with: its batches and its optimiser's state")
    observer = observer or Observer()
    try:
        require_room(run.config)
        state = _to_its_end(run, threads, after_grok, observer)
    except BaseException:
        _withdraw(run)
        raise
    if state.failure is not None:
        raise state.failure
    return state.counters


def _to_its_end(run: Run, threads: int | None, after_grok: int | None, observer: Observer) -> RunState:
    """Train on the engine of the run's config; return the state that the run ends in."""
    if chosen(run.config.compute.engine)[0] == "cuda":
        (replica,) = together([run], after_grok, [observer])
        return replica
    trainer = Trainer(run.config, threads, plane=plane_of(run))
    trainer.begin(run, after_grok)
    until_one_ends([Sitting(run, trainer, observer)], trainer)
    return trainer


def _withdraw(run: Run) -> None:
    """Take back what `runs.create` wrote if nothing was trained: a start that failed is in nobody's way."""
    snapshots, config = run.folder / "snapshots", run.folder / "config.toml"
    with suppress(OSError, RunFolderError):
        run.lock()
        trained = (run.folder / "checkpoint.safetensors").exists() or run.metrics() or any(run.snapshots())
        if trained or snapshots.is_symlink():
            return
        if snapshots.exists():
            run.snapshot_path(0).unlink(missing_ok=True)
            snapshots.rmdir()
        config.unlink()
