"""Reference outputs: numbers that the repository ships, each with its tolerance and the reason for it.

    reference_outputs/<name>/config.toml         the run; written by hand, the rest by `regenerate`
                             expected.json       numbers: name, value, unit, rtol, atol, tier, why, source
                             table.csv           metrics.csv of the run
                             input.npz           its last parameters, rounded to float16, which is exact from then on
                             figure.png          its picture, for eyes only
                             environment.json    why and when it was made, versions, CPU, BLAS
`check` recomputes what takes seconds and compares numbers, never bytes. What the numbers are: reference_numbers.py.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np

from minigrok import portable
from minigrok.config import Config, config_hash, from_toml
from minigrok.engine import Array
from minigrok.errors import MinigrokError
from minigrok.files import write_atomically
from minigrok.info import environment
from minigrok.metrics import read_columns
from minigrok.params import layout
from minigrok.plotting import save, title, training_figure
from minigrok.reference_geometry import geometry
from minigrok.reference_numbers import Expected, beginning, exact, phenomenon, prefix
from minigrok.runs import Run
from minigrok.train import train

TIERS = ("exact", "prefix", "phenomenon")
DECIDE_BITS = ("numpy", "numba", "llvmlite")  # whose versions decide the last bits: BLAS and generated code


class ReferenceOutputError(MinigrokError):
    """A reference output that is not there, or damaged."""

    exit_code = 2


class Comparison(NamedTuple):
    """One number of a reference, as kept and as found."""

    name: str
    tier: str
    unit: str
    expected: float | None  # None: a milestone not reached, or no such number in expected.json
    found: float | None  # None: a milestone not reached, or a number that is no longer computed
    difference: float  # |found - expected|; NaN where one of them is None
    allowed: float  # atol + rtol |expected|; 0 for what is read off the shipped table
    holds: bool


class Summary(NamedTuple):
    """What `minigrok reference list` shows of a reference."""

    name: str
    title: str
    counts: dict[str, int]  # numbers of each tier; empty if it was never made
    date: str
    reason: str


def names(top: Path) -> list[str]:
    """Names of the references in a folder, sorted: its folders with a config.toml.

    Raises
    ------
    ReferenceOutputError    no such folder, or none in it
    """
    found = sorted(path.parent.name for path in top.glob("*/config.toml"))
    if not found:
        got = "none in it" if top.is_dir() else "no such folder"
        do = "call it from the top of the repository, or name the folder with --folder"
        raise ReferenceOutputError(f"a folder of reference outputs at {top}", got, do)
    return found


def read_config(folder: Path) -> Config:
    """Configuration of a reference.

    Raises
    ------
    ReferenceOutputError    there is no such reference
    ConfigError             its config.toml is none
    """
    if not (folder / "config.toml").is_file():
        there = ", ".join(names(folder.parent))
        do = "choose one of these; for a new one make the folder with a config.toml, then regenerate it"
        raise ReferenceOutputError(f"a reference {folder.name} in {folder.parent}", f"{there}", do)
    return from_toml(folder / "config.toml")


def read_expected(folder: Path) -> list[Expected]:
    """Numbers that a reference keeps; a ReferenceOutputError if it was never made, or is damaged."""
    path = folder / "expected.json"
    try:
        return [Expected(**number) for number in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise _damaged(path, error) from error


def read_environment(folder: Path) -> dict[str, Any]:
    """Why, when and where a reference was made; a ReferenceOutputError if that is not known."""
    path = folder / "environment.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise _damaged(path, error) from error


def read_theta(folder: Path, size: int) -> Array:
    """Shipped parameters (P,) float16; a ReferenceOutputError if they are damaged or not P numbers."""
    path = folder / "input.npz"
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            theta: Array = arrays["theta"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise _damaged(path, error) from error
    if theta.shape != (size,):
        do = "regenerate the reference: its config has changed"
        raise ReferenceOutputError(f"theta ({size},) in {path}", f"{theta.shape}", do)
    return theta


def _damaged(path: Path, error: Exception) -> ReferenceOutputError:
    got = f"{type(error).__name__}: {error}"
    do = f"restore it with git, or make it: minigrok reference regenerate {path.parent.name}"
    return ReferenceOutputError(f"{path} as minigrok wrote it", got, do)


def summary(folder: Path) -> Summary:
    """One line about a reference, made or still to be made."""
    run = title(read_config(folder))
    if not (folder / "expected.json").exists():
        return Summary(folder.name, run, {}, "not yet", "")
    made, tiers = read_environment(folder), [number.tier for number in read_expected(folder)]
    return Summary(folder.name, run, dict(Counter(tiers)), made["date"][:10], made["reason"])


def check(folder: Path) -> list[Comparison]:
    """Recompute the numbers of a reference and compare.

    Parameters
    ----------
    folder : Path    one reference, such as reference_outputs/dual_wd1_s42

    Returns
    -------
    list of Comparison
        every number kept, then those computed that are not kept; one that does not hold is a failure

    Raises
    ------
    ReferenceOutputError    a file is missing or damaged

    Notes
    -----
    Seconds: scores on all pairs, some 70 products with a batch of 512, 50 training steps, all in float64;
    then the run's own steps to its second evaluation.
    No tolerance is allowed where the same bits must come out: `obstacle` is empty.
    """
    config, expected = read_config(folder), read_expected(folder)
    columns = read_columns(folder / "table.csv")
    if not columns:
        raise ReferenceOutputError(f"an evaluation in {folder / 'table.csv'}", "none", "restore it with git")
    theta = read_theta(folder, layout(config).size)
    return compare(expected, _numbers(config, theta, columns), bits=not obstacle(folder))


def obstacle(folder: Path) -> str:
    """Say why this process need not find a reference's numbers bit for bit; empty if it must."""
    if not read_config(folder).compute.portable:
        return "the run is not portable"
    if not portable.in_force():
        return "portable mode is off"
    made, here = read_environment(folder)["packages"], environment()["packages"]
    return ", ".join(f"{x} {here[x]} instead of {made[x]}" for x in DECIDE_BITS if here[x] != made[x])


def _numbers(config: Config, theta: Array, columns: dict[str, Array]) -> list[Expected]:
    trained = [*prefix(config), *beginning(config)]
    return [*exact(config, theta), *geometry(config, theta), *trained, *phenomenon(config, columns)]


def compare(
    expected: Sequence[Expected], found: Sequence[Expected], rerun: bool = False, bits: bool = False
) -> list[Comparison]:
    """Hold found numbers against expected ones, by name and with the tolerances of the expected.

    Parameters
    ----------
    expected, found : sequences of Expected
    rerun : bool    the run itself was repeated: phenomena get their tolerance, which they do not need otherwise
    bits : bool     nothing gets its tolerance
    """
    old, new = ({(number.tier, number.name): number for number in numbers} for numbers in (expected, found))
    keys = [*old, *(key for key in new if key not in old)]
    return [_compare(old.get(key), new.get(key), bits or (key[0] == "phenomenon" and not rerun)) for key in keys]


def _compare(old: Expected | None, new: Expected | None, strict: bool) -> Comparison:
    number = old or new
    assert number is not None
    a, b = old.value if old else None, new.value if new else None
    allowed = 0.0 if strict or a is None else number.atol + number.rtol * abs(a)
    difference = abs(b - a) if a is not None and b is not None else float("nan")
    both_none = old is not None and new is not None and a is None and b is None
    holds = both_none or difference <= allowed
    return Comparison(number.name, number.tier, number.unit, a, b, difference, allowed, holds)


def training_folder(name: str) -> Path:
    """Where the run of a reference is trained; a ReferenceOutputError if there is one, which may be an old one."""
    folder = Path("runs", f"reference-{name}")
    if (folder / "config.toml").exists():
        do = f"use it with --run {folder} if it is of today's code, or move it away"
        raise ReferenceOutputError(f"no earlier training in {folder}", "one", do)
    return folder


def regenerate(folder: Path, run: Run, reason: str) -> list[Comparison]:
    """Take the numbers of a reference anew, from a run of its config.

    Parameters
    ----------
    folder : Path    holds config.toml; the other files are replaced, each atomically
    run : Run        of the same settings; what is missing of it is trained first
    reason : str     why the numbers may change; kept in environment.json

    Returns
    -------
    list of Comparison
        the numbers before (none for a new reference) and now

    Raises
    ------
    ReferenceOutputError    a run of other settings, or no reason
    """
    config = read_config(folder)
    if not reason.strip():
        raise ReferenceOutputError("a reason for new reference numbers", "none", "say why they change")
    if config_hash(run.config) != config_hash(config):
        do = f"train one: minigrok train {folder / 'config.toml'}"
        raise ReferenceOutputError(f"a run of the settings in {folder / 'config.toml'}", f"{run.folder}", do)
    old = read_expected(folder) if (folder / "expected.json").exists() else []
    with run:
        train(run)
    step = run.snapshots()[-1]
    theta = run.load_snapshot(step).astype(np.float16)
    new = _numbers(config, theta, run.metrics())
    _write(folder, run, theta, step, new, reason)
    return compare(old, new, rerun=True)


def _write(folder: Path, run: Run, theta: Array, step: int, numbers: list[Expected], reason: str) -> None:
    arrays = io.BytesIO()
    np.savez_compressed(arrays, theta=theta, step=step)
    made = {"reason": reason, "date": datetime.now(UTC).isoformat(timespec="seconds")} | environment()
    write_atomically(folder / "input.npz", arrays.getvalue())
    write_atomically(folder / "table.csv", (run.folder / "metrics.csv").read_bytes())
    write_atomically(folder / "environment.json", _json(made))
    save(training_figure(run), folder / "figure", ["png"])
    write_atomically(folder / "expected.json", _json([asdict(number) for number in numbers]))


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
