"""What an analysis is: settings, a pure computation, a table, a figure.

    compute(runs, settings, work) -> Result      no files, no plots; random numbers from `work.rng(name)`
    table(result)                 -> rows        what is printed, saved as CSV and compared in CI
    figure(result)                -> Figure      no arithmetic beyond axis transforms

`Work` is what a computation may ask of the world: a cache for the parts of a long job (so that a killed one resumes), a
progress report, and named random streams.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np

from minigrok.checks import Between, check_bounds, check_types
from minigrok.config import config_hash
from minigrok.display import duration
from minigrok.engine import Array
from minigrok.errors import RunFolderError
from minigrok.foreign import ARRAYS, read_file
from minigrok.geometry.subspace import thinned
from minigrok.plotting import Figure, defaults
from minigrok.rng import rng
from minigrok.storage.cadence import attention_log, checkpoints
from minigrok.storage.files import is_temporary, make_folder, unpacked, write_atomically
from minigrok.storage.runs import Run
from minigrok.training.counters import more_steps

Row = dict[str, Any]  # column -> str, int, float or None; every row of a table has the same columns
Protocol = Literal["exact", "paper"]
Draws = Annotated[int, Between(1, 100_000)]  # of a null; no analysis gains from more: our choice
PART = ".part"  # of a part's file: a SHA-256, and an .npz
DIGEST = 32  # bytes of it
MANY = 10**9  # bound of a setting that nothing else bounds: more snapshots, steps or products than there are


@dataclass(frozen=True)
class Settings:
    """What the settings of every analysis have; each analysis derives its own, with a `Between` for every number.

    Attributes
    ----------
    name : str          of the analysis, for messages
    protocol : str      "exact", or "paper": the paper's own procedure

    Raises
    ------
    ConfigError
        A value of another type, or out of its bounds.
    """

    name: ClassVar[str]
    protocol: Protocol = "exact"

    def __post_init__(self) -> None:
        """Check types and bounds."""
        check_types(self, self.name)
        check_bounds(self, self.name)

    def own(self, given: int, exact: int, paper: int = MANY) -> int:
        """Return a number that was given, or the protocol's own where it is 0; MANY: as many as there are."""
        return given or (paper if self.protocol == "paper" else exact)


class Cost(NamedTuple):
    """What an analysis will spend: seconds of wall time, as this machine is now, and on what."""

    seconds: float
    words: str

    def __str__(self) -> str:
        """Return both."""
        return f"{self.words}: about {duration(self.seconds)}"


@dataclass(frozen=True)
class Analysis:
    """One entry of the registry.

    Attributes
    ----------
    question : str          in one sentence that a student understands
    source : str            section of the paper, or who proposed the control
    settings : type         of its settings, which have its name
    compute, table, figure : functions, see the module
    cost : function         (runs, settings) -> Cost: what will be spent, on this machine and now (shared.cost)
    many : bool             compute takes all the runs at once (a comparison); else the runs come one by one
    """

    question: str
    source: str
    settings: type[Any]
    compute: Callable[[Sequence[Run], Any, Work], Any]
    table: Callable[[Any], list[Row]]
    figure: Callable[[Any], Figure]
    cost: Callable[[Sequence[Run], Any], Cost]
    many: bool = False

    @property
    def name(self) -> str:
        """Name of the analysis."""
        return str(self.settings.name)

    def draw(self, result: Any) -> Figure:
        """Return the figure, whatever the user's matplotlibrc says."""
        with defaults():
            return self.figure(result)


@dataclass
class Work:
    """A cache of parts, a progress report and random streams.

    Attributes
    ----------
    seed : int
        Of the random streams.
    folder : Path, optional
        Where parts are kept; None keeps nothing.
    key : str
        Fingerprint of runs and settings: parts of another one are not read.
    report : function
        Called with (parts done, parts in all, words).
    """

    seed: int = 0
    folder: Path | None = None
    key: str = ""
    report: Callable[[int, int, str], None] = field(default=lambda done, of, words: None)

    def rng(self, name: str) -> np.random.Generator:
        """Return the named random stream; the same name gives the same numbers."""
        return rng(self.seed, f"analysis/{name}")

    def part(self, name: str, compute: Callable[[], Mapping[str, Array]]) -> dict[str, Array]:
        """Return the arrays that `compute` returns, from the cache if an earlier sitting left them there."""
        if self.folder is None:
            return dict(compute())
        path = self.folder / f"{name}{PART}"
        found = _read_part(path, self.key)
        if found is None:
            found = dict(compute())
            make_folder(self.folder, parents=False)  # a run that was deleted meanwhile is not made again
            write_atomically(path, _with_digest(npz(found | {"key": np.array(self.key)})))
        return found

    def forget(self) -> None:
        """Delete the parts: the result is there."""
        if self.folder is not None and self.folder.is_dir():
            with contextlib.suppress(OSError):  # something else is in it, or they must stay: nobody reads them again
                for path in self.folder.iterdir():
                    if path.suffix == PART or is_temporary(path.name):
                        path.unlink(missing_ok=True)
                self.folder.rmdir()

    def parts(self, names: Sequence[str], compute: Callable[[int], Mapping[str, Array]]) -> list[dict[str, Array]]:
        """Return `part` for each name, with progress; compute gets the number of the name."""
        done = []
        for i, name in enumerate(names):
            self.report(i, len(names), name)
            done.append(self.part(name, lambda i=i: compute(i)))  # type: ignore[misc]
        self.report(len(names), len(names), "done")
        return done


def fingerprint(analysis: Analysis, runs: Sequence[Run], settings: Any) -> str:
    """Hash of everything that decides the result: the runs' configs and snapshots, and the settings."""
    what: list[Any] = [analysis.name, asdict(settings)]
    what += [[config_hash(run.config), run.snapshots()[-1:]] for run in runs]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def attention_steps(run: Run, protocol: str, least: int = 1, most: int | None = None, horizon: int = 0) -> list[int]:
    """Return the steps of a protocol's attention log: see `checkpoint_steps`."""
    return _chosen(run, attention_log(run, protocol), least, most, horizon)


def checkpoint_steps(run: Run, protocol: str, least: int = 1, most: int | None = None, horizon: int = 0) -> list[int]:
    """Return the steps of a protocol's checkpoints (storage.cadence) up to `horizon`, 0: all.

    They are thinned to `most` evenly spaced ones, both ends kept; a single one is the last.

    Raises
    ------
    RunFolderError
        Fewer than `least`, or the run lacks what the protocol needs.
    """
    return _chosen(run, checkpoints(run, protocol), least, most, horizon)


def _chosen(run: Run, steps: list[int], least: int, most: int | None, horizon: int) -> list[int]:
    steps = [step for step in steps if not horizon or step <= horizon]
    if len(steps) < least:
        up_to = f" up to step {horizon}" if horizon else ""
        required = f"at least {least} snapshots in {run.folder}{up_to}"
        raise RunFolderError(required, str(len(steps)), more_steps(run))
    return steps if most is None else thinned(steps, most)


def to_files(result: Any) -> tuple[dict[str, Any], dict[str, Array]]:
    """Split a Result into what goes to result.json and the arrays that go to arrays.npz.

    Dataclasses, dicts and lists nest; the name of an array is its path, joined by dots.
    """
    arrays: dict[str, Array] = {}

    def walk(value: Any, path: str) -> Any:
        if isinstance(value, np.ndarray):
            arrays[path] = value
            return {"array": path, "shape": list(value.shape), "dtype": str(value.dtype)}
        if is_dataclass(value) and not isinstance(value, type):
            return {f.name: walk(getattr(value, f.name), _join(path, f.name)) for f in fields(value)}
        if isinstance(value, Mapping):
            return {str(k): walk(v, _join(path, str(k))) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [walk(v, _join(path, str(i))) for i, v in enumerate(value)]
        return plain(value)

    return walk(result, ""), arrays


def median(x: Array) -> float:
    """Return the median of x (n,); nan of nothing."""
    return float(np.median(x)) if len(x) else float("nan")


def plain(value: Any) -> Any:
    """Return a scalar for JSON and CSV: NumPy's as Python's, and NaN and infinity, which JSON lacks, as None."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def or_nan(value: float | None) -> float:
    """Return a number to calculate with: None, what is not known, as NaN."""
    return float("nan") if value is None else float(value)


def plain_row(row: Row) -> Row:
    """Return a table row of plain scalars: what is not known is None, never NaN or infinite."""
    return {column: plain(value) for column, value in row.items()}


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def npz(arrays: Mapping[str, Array]) -> bytes:
    """Return arrays as the bytes of an .npz file."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _with_digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest() + data


def _read_part(path: Path, key: str) -> dict[str, Array] | None:
    """Arrays of a part, or None if there is none of this key; a damaged part counts as none."""
    try:
        data = read_file(path, ARRAYS)
        arrays = unpacked(data[DIGEST:]) if data == _with_digest(data[DIGEST:]) else {}
    except (OSError, ValueError):
        return None
    return arrays if str(arrays.pop("key", "")) == key else None
