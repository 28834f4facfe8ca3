"""The sweep that would decide what is undecided: which runs, in one file, and what they cost."""

import json
from collections.abc import Sequence
from pathlib import Path

from minigrok.audit.audit import Row
from minigrok.audit.book import slug
from minigrok.audit.claims import Book
from minigrok.config import keys, preset, value_of
from minigrok.config.arms import NO_SOURCE
from minigrok.experiments import cost
from minigrok.experiments.cells import Cell
from minigrok.experiments.sweep_file import read_sweep
from minigrok.storage.runs import Run
from minigrok.training.counters import Counters


def wanted(book: Book, rows: Sequence[Row]) -> dict[str, list[int]]:
    """Return the seeds of each group that undecided rows lack; the source runs of interventions come with them."""
    found: dict[str, set[int]] = {name: set() for name in book.groups}
    for row in rows:
        for name, seeds in row.lacks.items():
            found[name] |= {*seeds}
            source = book.groups[name].source
            if source:
                found[source] |= {*seeds}
    return {name: sorted(seeds) for name, seeds in found.items() if seeds}


def sweep_text(book: Book, seeds: dict[str, list[int]]) -> str:
    """Return the sweep file of these seeds by group; portable, so that any machine makes the same bits."""
    blocks = ['# Runs that would decide the undecided claims of the audit.\n\nname = "audit-missing"\n']
    for name, each in seeds.items():
        config = book.groups[name].config
        start = preset(config.name)
        changed = {key: value_of(config, key) for key in keys() if value_of(config, key) != value_of(start, key)}
        lines = [f'name = "{slug(name)}"', f'preset = "{config.name}"', f"seed = {each}", "compute.portable = true"]
        lines += [f"{key} = {_toml(value)}" for key, value in changed.items()]
        blocks.append("\n".join(["[[grid]]", *lines, ""]))
    return "\n".join(blocks)


def price(text: str, runs: Sequence[Run], folder: Path) -> tuple[int, cost.Cost]:
    """Return how many runs a sweep file has, and what they cost on one worker at most: speeds from runs, or timed."""
    sweep = read_sweep(text)
    done = [_cell(run) for run in runs]
    cells = [Cell(config, folder / config.name) for config in sweep.configs]
    known = cost.rates([each for each in done if each is not None], measure=cells)
    return len(cells), cost.left(cells, known, 1, sweep.keep)


def _cell(run: Run) -> Cell | None:
    """Return what a run says of its speed."""
    found = run.load_checkpoint()
    if found is None or run.config.intervention.plane not in NO_SOURCE:
        return None
    counters = Counters.of(found[1])
    return Cell(run.config, run.folder, step=counters.step, seconds=counters.seconds, trained=True)


def _toml(value: object) -> str:
    """Return a value as a grid's: there a list is several values."""
    return json.dumps([value] if isinstance(value, tuple) else value)
