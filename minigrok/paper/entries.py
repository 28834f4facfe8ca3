"""The registry: which figures and tables the paper has, and what each is made of; every part checked when it is read.

`registry.toml` has
    [analyses]     settings that differ from an analysis' own
    [sets]         names of conditions that several entries need
    [quantity]     what of which analysis: paths of fields (minigrok.audit.fields) by protocol
    [study]        quantities of compression and ablation, whose paths are alike
    [[figure]], [[table]]
`printed.toml` has the numbers that the paper prints, by table, row and column.
A quantity without x is a number of a run, or one a label; with x, or with an array, it is a curve.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from minigrok.analyses import ANALYSES
from minigrok.analyses.perform import settings_for
from minigrok.audit.fields import require_field, require_path
from minigrok.checks import nearest, require
from minigrok.config import read_toml
from minigrok.errors import ConfigError
from minigrok.paper import evaluations

PROTOCOLS = ("paper", "exact")
HOW = {"difference": lambda a, b: a - b, "share": lambda a, b: 100 * (a - b) / a}  # of two quantities
DRAWN = ("curves", "points", "heat", "scatter", "portrait")
CELLS = ("mean", "mean sd", "range", "seeds", "delay", "by x")


@dataclass(frozen=True)
class Spec:
    """Where the lines of a quantity are in a result.

    Attributes
    ----------
    each, label : str      a list, and the field(s) that name its members; then other paths begin at a member
    members : dict         label to path of y, in place of `each`
    x, y : str             a path that begins with "/" begins at the result; no x: 1, 2, ... or a number of the run.
                           $task in y: a line a task, and the total where task=None
    split : str            path of the names of y's last axis, or "1..5"
    over : str             what y is divided by
    low, high : str        of a band, in place of y
    is_line : bool         members are the points of one line
    says : str             what a null is
    protocol : str         of the result, where it is not the reader's
    axis : str             label of y, where it is not the quantity's
    is_log : bool          likewise
    nulls : tuple of Spec
    """

    x: str = ""
    y: str = ""
    each: str = ""
    label: str = ""
    members: Mapping[str, str] | None = None
    split: str = ""
    over: str = ""
    low: str = ""
    high: str = ""
    is_line: bool = False
    says: str = ""
    protocol: str = ""
    axis: str = ""
    is_log: bool = False
    nulls: tuple["Spec", ...] = ()

    @property
    def paths(self) -> list[str]:
        """Return every path from the result."""
        ends = [self.x, self.y, self.low, self.high, *self.label.split(",")]
        first = f"{self.each}." if self.each else ""
        inner = [end[1:] if end.startswith("/") else f"{first}{end}" for end in ends if end]
        outer = [*(self.members or {}).values(), self.over, "" if self.split[:1].isdigit() else self.split, self.each]
        return [path.replace("=$task", "=None") for path in (*inner, *outer) if path]


@dataclass(frozen=True)
class Quantity:
    """Something measured; or two others, and how they are put together."""

    name: str
    label: str
    analysis: str = ""
    x_label: str = "optimiser step"
    log: bool = False
    x_over: str = ""  # a quantity that x is divided by
    level: float = 0.0  # a line at this y; 0: none
    paper: Spec | None = None
    exact: Spec | None = None
    of: tuple[str, str] | None = None
    how: str = ""

    def spec(self, protocol: str) -> Spec:
        """Return the spec of a protocol; a quantity without an exact one is the same in both."""
        spec = self.exact if protocol == "exact" and self.exact is not None else self.paper
        return spec or Spec()


@dataclass(frozen=True)
class Entry:
    """A figure or a table.

    Attributes
    ----------
    kind, number : str      "figure" or "table"; such as "16a"; what v3 does not number has the name of its picture
    says : str              one line
    picture, note : str     file in the author's repository; what to know of the original
    runs, beside : tuple    conditions it needs, and those that --exact draws beside them if they are there
    every : bool            all conditions are needed, and not one at least
    seeds : tuple of int    the paper's
    draw, panel, x, mean, marks, colours    how it is drawn: minigrok.paper.figure
    shows : tuple           panels of quantities
    cells, rows, columns    of a table: minigrok.paper.tables
    """

    kind: str
    number: str
    says: str
    runs: tuple[str, ...]
    picture: str = ""
    note: str = ""
    beside: tuple[str, ...] = ()
    every: bool = False
    seeds: tuple[int, ...] = (42,)
    draw: str = ""
    panel: str = "quantity"
    x: str = "optimiser.weight_decay"
    mean: bool = False
    marks: tuple[str, ...] = ("first grok",)
    colours: tuple[str, ...] = ()
    shows: tuple[tuple[str, ...], ...] = ()
    cells: str = ""
    rows: tuple[int, ...] = ()
    columns: Mapping[str, str] | None = None

    @property
    def quantities(self) -> list[str]:
        """Return the names of all its quantities, marks and labels left out."""
        shown = [name for panel in self.shows for name in panel]
        return list(dict.fromkeys([*shown, *(name.partition(":")[0] for name in (self.columns or {}).values())]))


@dataclass(frozen=True)
class Registry:
    """All of it; `settings` by analysis and protocol, `printed` by table, row and column."""

    entries: tuple[Entry, ...]
    quantities: Mapping[str, Quantity]
    settings: Mapping[tuple[str, str], Any]
    printed: Mapping[str, Mapping[str, Mapping[str, Any]]]

    def entry(self, kind: str, name: str) -> Entry:
        """Return a figure or a table by its number, or a figure by its picture; a ConfigError says what was meant."""
        known = [each for each in self.entries if each.kind == kind]
        for each in known:
            if name == each.number or (each.picture and each.picture.startswith(name) and len(name) > LEAST):
                return each
        parts = [each.number for each in known if each.number.startswith(name) and each.number[len(name) :].isalpha()]
        if parts:
            raise ConfigError(
                f"one {kind}", f"{name!r} has the parts {', '.join(parts)}", f"minigrok {kind} {parts[0]}"
            )
        do = f"{nearest(name, [each.number for each in known])}; all of them: minigrok figures"
        raise ConfigError(f"the number of a {kind} of the paper", repr(name), do)


LEAST = 4  # letters of a picture's name that are enough: "fig" begins all of them


@cache
def load() -> Registry:
    """Read the registry that comes with minigrok; a ConfigError says what is wrong with an entry."""
    table = read_toml(_file("registry.toml"), "the registry")
    sets = table["sets"]
    quantities = {name: _quantity(name, values) for name, values in table["quantity"].items()}
    quantities |= {name: _study(name, values) for name, values in table["study"].items()}
    entries = tuple(_entry(kind, values, sets, quantities) for kind in ("figure", "table") for values in table[kind])
    settings = {
        (name, protocol): settings_for(ANALYSES[name], protocol, table["analyses"].get(name, {}).get(protocol, []))
        for name in ANALYSES
        for protocol in PROTOCOLS
    }
    return Registry(entries, quantities, settings, _printed())


def _file(name: str) -> str:
    return resources.files("minigrok.paper").joinpath(name).read_text("utf-8")


def _printed() -> dict[str, dict[str, dict[str, Any]]]:
    found = {}
    for number, rows in read_toml(_file("printed.toml"), "the printed numbers").items():
        columns = rows.pop("columns")
        found[number] = {row: dict(zip(columns, values, strict=True)) for row, values in rows.items()}
    return found


def _quantity(name: str, values: Mapping[str, Any]) -> Quantity:
    """Return a quantity whose fields exist."""
    made = {**values, "name": name} | {key: _spec(values[key]) for key in PROTOCOLS if key in values}
    made |= {"of": tuple(values["of"])} if "of" in values else {}
    quantity: Quantity = _made(Quantity, made)
    if quantity.of:
        require(quantity.how in HOW, f"quantity {name}", f"has how = one of {', '.join(HOW)}", quantity.how)
        return quantity
    for spec in (quantity.paper, quantity.exact):
        for each in (spec, *spec.nulls) if spec else ():
            for path in each.paths:
                _require_path(quantity.analysis, path)
    return quantity


def _require_path(analysis: str, path: str) -> None:
    if analysis == evaluations.NAME:
        require_path(evaluations.Evaluations, path, analysis)
    elif analysis in ANALYSES:
        require_field(ANALYSES[analysis], path)
    else:
        raise ConfigError("the name of an analysis", repr(analysis), nearest(analysis, ANALYSES))


def _spec(values: Mapping[str, Any]) -> Spec:
    made = dict(values)
    if "log" in made:
        made["is_log"] = made.pop("log")
    if "each" not in made and "label" in made:
        made["axis"] = made.pop("label")
    spec: Spec = _made(Spec, made | {"nulls": tuple(_spec(null) for null in values.get("nulls", ()))})
    return spec


def _study(name: str, values: Mapping[str, Any]) -> Quantity:
    """Return a quantity of a study of compression or ablation."""

    def curve(study: str, reference: str, **more: Any) -> dict[str, Any]:
        at = f"curves[study='{study}'][reference={reference}]"
        return {"x": f"{at}.x", "y": f"{at}.test|percent", "split": "tasks"} | more

    study, exact = values["study"], values.get("exact", values["study"])
    at = f"curves[study='{exact}'][reference=zero]"
    noise = {"says": "noise of the same norm, worst task", "x": f"{at}.x", "y": f"{at}.noise|noise_worst|percent"}
    also = curve(exact, "init", says="of the change from the start")
    own = {key: values[key] for key in ("analysis", "label", "x_label")}
    return _quantity(
        name,
        own
        | {
            "paper": curve(study, "init"),
            "exact": curve(exact, "zero", label="test accuracy (%), of theta itself", nulls=[noise, also]),
        },
    )


def _entry(kind: str, values: Mapping[str, Any], sets: Mapping[str, list[str]], known: Mapping[str, Quantity]) -> Entry:
    """Return a figure or table whose quantities exist."""
    made = {**values, "kind": kind}
    for key in ("runs", "beside"):
        if key in made:
            made[key] = tuple(sets[made[key]] if isinstance(made[key], str) else made[key])
    for key in ("seeds", "marks", "colours", "rows"):
        if key in made:
            made[key] = tuple(made[key])
    made["shows"] = tuple(tuple(panel) for panel in made.get("shows", ()))
    if kind == "table":
        made["seeds"] = (42,) if made["cells"] in ("delay", "by x") else (42, 137, 2024)
    entry: Entry = _made(Entry, made)
    for name in (*entry.quantities, *entry.marks):
        if name not in known:
            raise ConfigError(f"a quantity of {kind} {entry.number}", repr(name), nearest(name, known))
    shape, shapes = (entry.draw, DRAWN) if kind == "figure" else (entry.cells, CELLS)
    require(shape in shapes, f"{kind} {entry.number}", f"is one of {', '.join(shapes)}", shape)
    return entry


def _made(cls: type[Any], values: Mapping[str, Any]) -> Any:
    """Construct a dataclass; a ConfigError for unknown or missing fields."""
    known = {item.name: item for item in fields(cls)}
    for key in values:
        if key not in known:
            raise ConfigError(f"a field of a {cls.__name__.lower()} of the registry", repr(key), nearest(key, known))
    missing = [name for name, item in known.items() if item.default is MISSING and name not in values]
    require(not missing, f"a {cls.__name__.lower()} of the registry", f"has {', '.join(missing)}", dict(values))
    return cls(**values)


def combined(how: str, a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return what two quantities make."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(HOW[how](a, b))
