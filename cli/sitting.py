"""One sitting at a run: say what will happen, train until the end or Ctrl-C, say what came out."""

from __future__ import annotations

import json
import os
import shlex
import warnings
from contextlib import suppress
from pathlib import Path

from minigrok.config import Config, usual_steps
from minigrok.display import duration
from minigrok.engine.cache import cache_folder
from minigrok.engine.threads import available_threads
from minigrok.network.params import layout
from minigrok.storage.milestones import Standing
from minigrok.storage.runs import Run
from minigrok.training.counters import Counters
from minigrok.training.observer import Observer
from minigrok.training.train import train

from .echo import echo
from .interrupt import EXIT_CODE, Interrupt
from .tables import print_table, step_text
from .watch import watch


def sit(run: Run, threads: int | None, after_grok: int | None = None, as_json: bool = False) -> int:
    """Train a locked run with a display on stderr, and print the outcome.

    Parameters
    ----------
    run : Run
    threads, after_grok : optional    as for `minigrok.training.train.train`
    as_json : bool                    print JSON instead of a table

    Returns
    -------
    int
        exit code: 0 at the end of the run, 130 if it was interrupted and saved
    """
    echo("\n".join(announcement(run.config, threads)), err=True)
    with Interrupt() as interrupt, watch(run, after_grok) as display, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of NumPy's products in a run that diverges: train reports it
        observer = Observer(display.stepped, display.evaluated, lambda: interrupt.asked)
        counters = train(run, threads, after_grok, observer)
    if run.config.compute.engine == "cpu" and display.steps_made:
        with suppress(OSError):  # a folder that may not be written is asked again next time
            _compiled_before(run.config).touch()
    tasks = run.standings()
    state = "interrupted" if interrupt.asked else "finished" if display.steps_made else "finished before"
    if as_json:
        echo(json.dumps(outcome(run, counters, tasks, state), indent=2))
    else:
        columns = ("task", ">memorised at", ">grokked at", ">test accuracy", ">test loss")
        if tasks:
            print_table("", columns, [_row(task) for task in tasks])
        echo("\n".join(closing(run, counters, state)))
    return EXIT_CODE if interrupt.asked else 0


def announcement(config: Config, threads: int | None) -> list[str]:
    """Lines that say, before it starts, what will run."""
    task, compute = config.task, config.compute
    n_threads = min(threads or available_threads(), compute.shards)
    where = f", {n_threads} thread{'s' if n_threads > 1 else ''}" if compute.engine != "cuda" else ""
    usual = usual_steps(config)
    budget = f"at most {config.train.max_steps:,} steps" + (
        f", usually {usual:,} or fewer" if usual and usual < config.train.max_steps else ""
    )
    lines = [
        f"{config.name}: {', '.join(task.operations)} mod {task.p}, {task.n_train:,} train and "
        f"{task.n_test:,} test pairs, weight decay {config.optimiser.weight_decay:g}, "
        f"seed {config.seed}{config.intervention.words}",
        f"{layout(config).size:,} parameters, engine {compute.engine}, {compute.dtype}{where}"
        f"{', portable' if compute.portable else ''}; {budget}",
    ]
    if compute.engine == "cpu" and not os.path.exists(_compiled_before(config)):
        lines.append(f"first training in {compute.dtype} with this version: compiling may take about 10 s more")
    return lines


def _compiled_before(config: Config) -> Path:
    """Return the mark beside the compiled functions that a training of this type has left there."""
    compute = config.compute
    return cache_folder() / f"trained-{compute.dtype}{'-portable' if compute.portable else ''}"


def outcome(run: Run, counters: Counters, tasks: list[Standing], state: str) -> dict[str, object]:
    """Return what --json prints."""
    return {
        "folder": str(run.folder),
        "name": run.config.name,
        "seed": run.config.seed,
        "state": state,
        "step": counters.step,
        "seconds": round(counters.seconds, 1),
        "tasks": [task._asdict() for task in tasks],
    }


def closing(run: Run, counters: Counters, state: str) -> list[str]:
    """Lines that say how it ended and what to type next."""
    folder, time = shlex.quote(str(run.folder)), duration(counters.seconds)
    if state == "interrupted":
        return [f"interrupted at step {counters.step:,} and saved", f"to go on: minigrok resume {folder}"]
    missing = [k for k, step in enumerate(counters.grok_step) if step is None]
    names = ", ".join(run.config.task.operations[k] for k in missing)
    how = f"the budget is used up, and not grokked: {names}" if missing else "every task grokked"
    return [f"{state}: {how}; {counters.step:,} steps, {time} of training", f"next: minigrok plot {folder}"]


def _row(task: Standing) -> tuple[str, ...]:
    steps = step_text(task.memorised_at), step_text(task.grokked_at)
    return task.task, *steps, f"{task.test_accuracy:.4f}", f"{task.test_loss:.2e}"
