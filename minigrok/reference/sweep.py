"""A reference output of a sweep: how each of its runs begins, and when its tasks memorised and grokked.

    reference_outputs/<name>/sweep.toml          the sweep; written by hand, the rest by `regenerate`
                             table.csv           one row a run: where it ended, when its tasks memorised and grokked

A number is called "RUN: grokked, add". What is repeated by `check` is the first step of every run.
"""

import csv
import io
from dataclasses import replace
from pathlib import Path

from minigrok.config import Config
from minigrok.experiments.cells import look
from minigrok.experiments.sweep_file import Sweep, read_sweep
from minigrok.reference.files import ReferenceOutputError, damaged
from minigrok.reference.numbers import Expected, beginning, ending, phenomenon
from minigrok.storage.files import write_atomically
from minigrok.storage.runs import open_run


def is_sweep(folder: Path) -> bool:
    """Whether a reference is that of a sweep."""
    return (folder / "sweep.toml").is_file()


def read(folder: Path) -> Sweep:
    """Sweep of a reference; a ConfigError if its file is none."""
    return read_sweep(folder / "sweep.toml")


def numbers(folder: Path) -> list[Expected]:
    """Repeat the first step of every run, and read from the table when it memorised and grokked.

    Notes
    -----
    Less than a second a run.
    """
    table, found = _read_table(folder), []
    for config in read(folder).configs:
        if config.name not in table:
            do = "restore it with git, or regenerate the reference: its sweep has changed"
            raise ReferenceOutputError(f"a row {config.name} in {folder / 'table.csv'}", "none", do)
        found += _named(config, [*beginning(config, 1), *phenomenon(config, table[config.name])])
    return found


def phenomena(folder: Path, out: Path) -> list[Expected]:
    """When the finished runs of a sweep in the folder `out` memorised and grokked.

    Raises
    ------
    ReferenceOutputError    none is finished
    ConfigError             the folder has a run of other settings
    """
    found = {config: values for config, values in _endings(folder, out).items() if values}
    if not found:
        raise ReferenceOutputError(f"finished runs of {folder.name} in {out}", "none", _finish(folder, out))
    return [number for config, values in found.items() for number in _named(config, phenomenon(config, values))]


def take(folder: Path, out: Path) -> None:
    """Replace the table by that of a sweep in the folder `out`, whose runs are all at their end."""
    rows = {config.name: values for config, values in _endings(folder, out).items()}
    if missing := [name for name, values in rows.items() if not values]:
        required = f"all runs of {folder.name} at their end in {out}"
        raise ReferenceOutputError(required, f"not {', '.join(missing)}", _finish(folder, out))
    text, columns = io.StringIO(), dict.fromkeys(name for values in rows.values() for name in values)
    writer = csv.DictWriter(text, ["run", *columns], lineterminator="\n")
    writer.writeheader()
    writer.writerows({"run": name, **values} for name, values in rows.items())
    write_atomically(folder / "table.csv", text.getvalue().encode())


def _endings(folder: Path, out: Path) -> dict[Config, dict[str, float | None]]:
    """What `ending` finds of every run; nothing of one that is not at its end."""
    return {
        config: ending(config, open_run(out / config.name).metrics()) if look(out, config, ()).trained else {}
        for config in read(folder).configs
    }


def _finish(folder: Path, out: Path) -> str:
    return f"run the sweep: minigrok sweep {folder / 'sweep.toml'} --out {out}"


def _named(config: Config, numbers: list[Expected]) -> list[Expected]:
    return [replace(number, name=f"{config.name}: {number.name}") for number in numbers]


def _read_table(folder: Path) -> dict[str, dict[str, float | None]]:
    path = folder / "table.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return {row.pop("run"): {name: float(x) if x else None for name, x in row.items()} for row in rows}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damaged(path, error) from error
