"""Reference outputs: numbers that the repository ships, each with its tolerance and the reason for it.

A wheel has them too, but for pictures and analyses: minigrok/reference/shipped, of the same folder.

    reference_outputs/<name>/config.toml         of a run (reference_run.py), or sweep.toml (reference_sweep.py)
                             expected.json       numbers: name, value, unit, rtol, atol, tier, why, source
                             environment.json    why and when it was made, versions, CPU, BLAS
`check` recomputes what takes seconds and compares numbers, never bytes. What the numbers are: reference_numbers.py.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from minigrok.config import Config
from minigrok.engine import portable
from minigrok.engine.provenance import DECIDE_BITS
from minigrok.errors import MinigrokError
from minigrok.info import environment
from minigrok.reference import run as reference_run
from minigrok.reference import sweep as reference_sweep
from minigrok.reference.files import (
    CONSTRAINTS,
    ReferenceOutputError,
    read_environment,
    read_expected,
    require,
    to_json,
)
from minigrok.reference.numbers import Expected
from minigrok.reference.sweep import is_sweep
from minigrok.storage.files import write_atomically
from minigrok.training.figure import title

TIERS = ("exact", "prefix", "phenomenon")


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


def configs(folder: Path) -> tuple[Config, ...]:
    """Configurations of a reference: one of a run, several of a sweep; errors as those of reading its files."""
    return reference_sweep.read(folder).configs if is_sweep(folder) else (reference_run.read_config(folder),)


def summary(folder: Path) -> Summary:
    """One line about a reference, made or still to be made."""
    inside = configs(folder)
    what = title(inside[0]) if not is_sweep(folder) else f"a sweep of {len(inside)} runs"
    if not (folder / "expected.json").exists():
        return Summary(folder.name, what, {}, "not yet", "")
    made, tiers = read_environment(folder), [number.tier for number in read_expected(folder)]
    return Summary(folder.name, what, dict(Counter(tiers)), made["date"][:10], made["reason"])


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
    Seconds for a run, less than one for each run of a sweep. No tolerance is allowed where the same bits must come out:
    `obstacle` is empty.
    """
    require(folder)
    return compare(read_expected(folder), _kind(folder).numbers(folder), bits=not obstacle(folder))


def check_own(folder: Path, own: Path) -> list[Comparison]:
    """Compare when a run, or the finished runs of a sweep, of one's own memorised and grokked with a reference.

    Parameters
    ----------
    folder : Path    one reference
    own : Path       folder of a run or sweep of its settings

    Raises
    ------
    ReferenceOutputError    a file is missing or damaged; other settings; nothing finished
    """
    require(folder)
    found: list[Expected] = _kind(folder).phenomena(folder, own)
    names = {number.name for number in found}
    kept = [number for number in read_expected(folder) if number.tier == "phenomenon" and number.name in names]
    return compare(kept, found, rerun=True, bits=not obstacle(folder))


def obstacle(folder: Path) -> str:
    """Say why this process need not find a reference's numbers bit for bit; empty if it must."""
    if not all(config.compute.portable for config in configs(folder)):
        return "the run is not portable"
    if not portable.in_force():
        return "portable mode is off"
    made, here = (_deciding(each) for each in (read_environment(folder), environment()))
    return ", ".join(f"{x} {here[x]} instead of {made[x]}" for x in here if here[x] != made[x])


def require_bits(folder: Path) -> None:
    """Raise a MinigrokError unless a reference's numbers must come out bit for bit in this process."""
    if why := obstacle(folder):
        do = f"with --portable, and with pip install -c {folder.parent / CONSTRAINTS} minigrok; or without --strict"
        raise MinigrokError(f"the reference {folder.name} compared bit for bit", f"tolerances: {why}", do)


def _deciding(environment: Mapping[str, Any]) -> dict[str, str]:
    """What decides the last bits: the versions of the packages and of BLAS."""
    blas = ", ".join(sorted(library["version"] for library in environment["blas"]))
    return {name: environment["packages"][name] for name in DECIDE_BITS} | {"BLAS": blas}


def _kind(folder: Path) -> ModuleType:
    """Module of a reference's kind: `numbers`, `phenomena` and `take`."""
    return reference_sweep if is_sweep(folder) else reference_run


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


def regenerate(folder: Path, own: Path, reason: str) -> list[Comparison]:
    """Take the numbers of a reference anew.

    Parameters
    ----------
    folder : Path    holds config.toml or sweep.toml; the other files are replaced, each atomically
    own : Path       folder of a run of the same settings, of which what is missing is trained first, or of the sweep
    reason : str     why the numbers may change; kept in environment.json

    Returns
    -------
    list of Comparison
        the numbers before (none for a new reference) and now

    Raises
    ------
    ReferenceOutputError    a run of other settings, a sweep that is not at its end, or no reason
    EngineError             its runs are portable and this process is not: the numbers would be of this processor
    """
    require(folder)
    if any(config.compute.portable for config in configs(folder)):
        portable.require()
    if not reason.strip():
        raise ReferenceOutputError("a reason for new reference numbers", "none", "say why they change")
    old = read_expected(folder) if (folder / "expected.json").exists() else []
    _kind(folder).take(folder, own)
    new = _kind(folder).numbers(folder)
    made = {"reason": reason, "date": datetime.now(UTC).isoformat(timespec="seconds")} | environment()
    write_atomically(folder / "environment.json", to_json(made))
    write_atomically(folder / "expected.json", to_json([asdict(number) for number in new]))
    return compare(old, new, rerun=True)
