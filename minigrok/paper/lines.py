"""From runs to lines: what of which result is drawn, read by the names of fields; results that are missing are made."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from minigrok.analyses import ANALYSES
from minigrok.analyses.perform import result_of
from minigrok.audit.fields import member, numbers
from minigrok.engine import Array
from minigrok.errors import BusyError, MinigrokError, NonFiniteError, RunFolderError
from minigrok.paper import evaluations
from minigrok.paper.conditions import Member
from minigrok.paper.entries import Entry, Quantity, Registry, Spec, combined
from minigrok.storage.runs import Run

MEASURED, NULL = "measured", "null"


@dataclass(frozen=True)
class Line:
    """A curve, or the numbers of a run.

    Attributes
    ----------
    member : Member         the run
    quantity : Quantity
    label, part : str       which member of a list, which name of the last axis ("": there is one)
    x : (N,) or None        float or str; None: y is one number of the run
    y : (N,)
    low, high : (N,)        of a band; empty: none
    role, says : str        "measured", or "null" and what it is
    axis, is_log            of y
    """

    member: Member
    quantity: Quantity
    label: str
    part: str
    x: Array | None
    y: Array
    low: Array = field(default_factory=lambda: np.zeros(0))
    high: Array = field(default_factory=lambda: np.zeros(0))
    role: str = MEASURED
    says: str = ""
    axis: str = ""
    is_log: bool = False

    @property
    def name(self) -> str:
        """Label and part, as far as there are some."""
        return ", ".join(text for text in (self.label, self.part) if text)


@dataclass
class Reader:
    """Results of runs, each once, made where they are missing; `say` hears what that will cost."""

    registry: Registry
    protocol: str
    say: Callable[[str], None] = lambda words: None
    held: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    failed: dict[str, MinigrokError] = field(default_factory=dict)  # in words: the run and the analysis

    def result(self, run: Run, name: str, protocol: str) -> Any:
        """Return the result of an analysis of a run; None where the run cannot have it, which `failed` then says."""
        key = run.folder, name, protocol
        if key not in self.held:
            try:
                self.held[key] = self._made(run, name, protocol)
            except BusyError:
                raise
            except (RunFolderError, NonFiniteError) as error:
                self.held[key], self.failed[f"{run.folder.name}: {name}"] = None, error
        return self.held[key]

    def _made(self, run: Run, name: str, protocol: str) -> Any:
        if name == evaluations.NAME:
            return evaluations.read(run)
        return result_of(ANALYSES[name], run, self.registry.settings[name, protocol], self.say)

    def says(self) -> str:
        """Return what could not be read or made, in words; "" for nothing."""
        return "; ".join(f"{what}: {error.got}" for what, error in self.failed.items())

    def require(self, is_there: bool, entry: Entry, members: Sequence[Member]) -> None:
        """Raise the first failure, or a RunFolderError, unless there is something to show."""
        if not is_there:
            for error in self.failed.values():
                raise error
            got = f"none in {', '.join(member.run.folder.name for member in members)}"
            do = "train longer: resume; or, of an older result that lacks a field, move RUN/analysis/NAME away"
            raise RunFolderError(f"runs with {' and '.join(entry.quantities)}", got, do)

    def lines(self, one: Member, name: str) -> list[Line]:
        """Return the lines of a quantity of a run, its nulls last; none where the run has no such thing."""
        quantity = self.registry.quantities[name]
        if quantity.of:
            return self._combined(one, quantity)
        found = self._of(one, quantity, quantity.spec(self.protocol))
        if quantity.x_over:
            unit = self.value(one, quantity.x_over)
            found = [replace(line, x=line.x / unit) for line in found if line.x is not None and np.isfinite(unit)]
        return found

    def value(self, one: Member, name: str) -> float:
        """Return a quantity that is one number of a run; nan if it has none."""
        for line in self.lines(one, name):
            if line.role == MEASURED and line.y.size == 1:
                return float(line.y[0])
        return float("nan")

    def _combined(self, one: Member, quantity: Quantity) -> list[Line]:
        assert quantity.of is not None
        a, b = (self.lines(one, name) for name in quantity.of)
        second = [line for line in b if line.role == MEASURED]
        return [
            replace(x, quantity=quantity, axis=quantity.label, y=combined(quantity.how, x.y, second[0].y), is_log=False)
            for x in a
            if x.role == MEASURED and second
        ]

    def _of(self, one: Member, quantity: Quantity, spec: Spec) -> list[Line]:
        result = self.result(one.run, quantity.analysis, spec.protocol or self.protocol)
        tasks = list(one.run.config.task.operations)
        axis, is_log = spec.axis or quantity.label, spec.is_log or (quantity.log and not spec.axis)
        found = []
        for each, role in [(spec, MEASURED), *((null, NULL) for null in spec.nulls)]:
            for line in _lines(result, each, tasks):
                label, part, x, y, low, high = line
                if x is None and low.size == 0 and y.size != 1:
                    x = np.arange(1.0, y.size + 1)
                found.append(Line(one, quantity, label, part, x, y, low, high, role, each.says, axis, is_log))
        return found


Parts = tuple[str, str, Array | None, Array, Array, Array]


def _lines(result: Any, spec: Spec, tasks: Sequence[str]) -> Iterator[Parts]:
    """Label, part, x, y and band of each line of a spec; what is empty is left out."""
    if "$task" in spec.y:
        for name in ("None", *tasks) if "task=" in spec.y else tasks:
            one = replace(spec, y=spec.y.replace("$task", name), split="")
            for _, _, *rest in _lines(result, one, tasks):
                yield ("", "total" if name == "None" else name, *rest)  # type: ignore[misc]
        return
    places = [*_places(result, spec)]
    if spec.is_line:
        points = [_read(result, place, spec, path) for _, place, path in places]
        kept = [(x.item(), y.item()) for x, y, *_ in points if x is not None and x.size == 1 and y.size == 1]
        if kept:
            xs, ys = np.array(kept).T
            yield "", "", xs, ys, np.zeros(0), np.zeros(0)
        return
    for label, place, path in places:
        x, y, low, high = _read(result, place, spec, path)
        if not (y.size or low.size):
            continue
        for part, column in _split(result, spec, y):
            yield label, part, x, np.atleast_1d(column), low, high


def _places(result: Any, spec: Spec) -> Iterator[tuple[str, Any, str]]:
    """Label of each member, where its paths begin, and the path of y."""
    if spec.members:
        yield from ((label, result, path) for label, path in spec.members.items())
    elif spec.each:
        found = member(result, spec.each)
        for each in found if isinstance(found, list) else [found] if found is not None else []:
            names = [str(member(each, name)) for name in spec.label.split(",") if name]
            yield " and ".join(names), each, spec.y
    else:
        yield "", result, spec.y


def _read(result: Any, place: Any, spec: Spec, path: str) -> tuple[Array | None, Array, Array, Array]:
    """Arrays x, y, low, high at a place."""

    def at(path: str) -> Array:
        return numbers(result, path[1:]) if path.startswith("/") else numbers(place, path)

    y, low, high = (at(each) if each else np.zeros(0) for each in (path, spec.low, spec.high))
    if spec.over and y.size:
        with np.errstate(divide="ignore", invalid="ignore"):
            y = y / numbers(result, spec.over)
    if not spec.x:
        return None, y, low, high
    raw = member(result if spec.x.startswith("/") else place, spec.x.removeprefix("/"))
    is_words = isinstance(raw, np.ndarray) and raw.dtype.kind == "U"
    return np.asarray(raw) if is_words else at(spec.x), y, low, high


def _split(result: Any, spec: Spec, y: Array) -> Iterator[tuple[str, Array]]:
    """Names and columns of y's last axis."""
    if not spec.split or not y.size:
        yield "", y
        return
    own = spec.split[:1].isdigit()
    names = [f"s{i + 1}" for i in range(y.shape[-1])] if own else list(member(result, spec.split) or [])
    for i, name in enumerate(names[: y.shape[-1]]):
        yield name, y[..., i]
