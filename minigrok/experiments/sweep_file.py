"""A sweep in TOML: a list or grids of run configurations, and the analyses to do on each.

    name = "decay"                              of the sweep, and of its folder
    analyses = ["trajectory_pca", {name = "commutator", protocol = "paper", set = ["repeats=5"]}]
    keep = 100                                  thin the snapshots of a finished run to 100; default: keep all

    [base]                                      of every run below
    preset = "dual"                             or file = "mine.toml", relative to this file
    train.max_steps = 200_000

    [[grid]]                                    all combinations of the values in lists
    seed = [42, 137, 2024]
    optimiser.weight_decay = [0.1, 1.0]

    [[runs]]                                    one run
    name = "long"
    train.max_steps = 500_000

Every key but these is a setting of `minigrok.config`, and is checked as there. A run of a grid is named after its
preset and the settings that some grid varies, such as dual-wd0.1-s42; {seed} in intervention.source is the run's seed,
and a run whose source is another one of the sweep waits for it. Names are plain and differ, so that each run has
a folder of its own inside the sweep's.
"""

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from minigrok.checks import nearest, require, require_name
from minigrok.config import Config, Intervention, from_toml, keys, preset, read_toml, value_of, with_values
from minigrok.display import brief
from minigrok.errors import ConfigError

TOP = ("name", "analyses", "keep", "base", "grid", "runs")
SOURCES = ("preset", "file")  # where a run's configuration comes from
SHORT = {  # in names; the seed comes last
    "optimiser.weight_decay": "wd",
    "optimiser.learning_rate": "lr",
    "intervention.arm": "",
    "intervention.dose": "",
    "intervention.repeat": "r",
    "seed": "s",
}
VARIANTS = (
    "model.attention",
    "model.norm",
    "init.zero",
    "optimiser.frozen",
    "optimiser.frozen_from",
)  # in names where they are used
RESERVED = ("sweep.json", "table.csv", "status.png", "status.svg", "failures", "logs")  # files of a sweep's folder
MOST = 10_000  # runs of a sweep: more is a slip in a grid: our choice
DEEPEST = 8  # tables in one another; a setting has two: our choice
Entry = dict[str, Any]  # dotted key -> value


@dataclass(frozen=True)
class Order:
    """An analysis to do on every run, or on all of them together if it is a comparison.

    Attributes
    ----------
    name : str                      in `minigrok.analyses.ANALYSES`
    protocol : str                  "exact" or "paper"
    assignments : tuple of str      "key=value", as for `minigrok analyse --set`
    """

    name: str
    protocol: str = "exact"
    assignments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sweep:
    """What a file says, resolved.

    Attributes
    ----------
    name : str
    configs : tuple of Config      one a run, in the order of the file, grids first; names differ
    orders : tuple of Order        the analyses
    keep : int, optional           snapshots that a finished run keeps; None: all
    """

    name: str
    configs: tuple[Config, ...]
    orders: tuple[Order, ...] = ()
    keep: int | None = None


def read_sweep(source: Path | str, settings: Mapping[str, Any] | None = None) -> Sweep:
    """Sweep from a TOML file, or from TOML text.

    Parameters
    ----------
    source : Path or str      a Path is a file to read, a str is the text itself
    settings : mapping        dotted key to value, for every run, over what the file says

    Raises
    ------
    ConfigError
        No such file, not TOML, unknown key, no run, two runs of one name, a name that is no plain one; and whatever
        is wrong with a configuration.
    """
    where = str(source) if isinstance(source, Path) else "the text"
    table = read_toml(source, "a sweep")
    for key in table:
        require_known(key, TOP, f"a sweep ({where})")
    if not isinstance(table.get("name"), str):
        raise ConfigError("a name for the sweep", f"none in {where}", 'add a first line like name = "my-sweep"')
    require_name("name", table["name"])
    folder = source.parent if isinstance(source, Path) else Path()
    configs = tuple(_configs(table, folder, settings or {}))
    _require_different(configs, where)
    return Sweep(table["name"], configs, orders_of(table.get("analyses", [])), keep_of(table.get("keep")))


def load_sweep(source: str | Path, settings: Mapping[str, Any] | None = None) -> Sweep:
    """Return the sweep of a preset, by its name, or of a TOML file, by its path, some settings of all runs changed."""
    is_file = source not in sweep_names() and (str(source).endswith(".toml") or Path(source).is_file())
    return read_sweep(Path(source) if is_file else sweep_text(str(source)), settings)


def sweep_names() -> list[str]:
    """Names of the sweeps that come with minigrok, sorted."""
    return sorted(entry.name.removesuffix(".toml") for entry in _presets().iterdir() if entry.name.endswith(".toml"))


def sweep_text(name: str) -> str:
    """Text of a sweep that comes with minigrok; a ConfigError lists what there is."""
    if name not in sweep_names():
        raise ConfigError("a sweep file, or the name of a sweep", repr(name), nearest(name, sweep_names()))
    return str((_presets() / f"{name}.toml").read_text(encoding="utf-8"))


def require_known(key: str, known: tuple[str, ...], what: str) -> None:
    """Raise a ConfigError unless the key is a known one."""
    if key not in known:
        raise ConfigError(f"a key of {what}", brief(key), nearest(key, known))


def _configs(table: Mapping[str, Any], folder: Path, settings: Mapping[str, Any]) -> Iterator[Config]:
    """Every run's configuration."""
    base = _flat(_table(table.get("base", {}), "[base]"))
    grids = [_flat(entry) for entry in _tables(table.get("grid", []), "[[grid]]")]
    runs = [_flat(entry) for entry in _tables(table.get("runs", []), "[[runs]]")]
    for number, grid in enumerate(grids, start=1):  # all of them first: what one varies goes into the names of all
        _require_settings(grid, f"[[grid]] number {number}")
    size = sum(math.prod(len(value) for value in grid.values() if isinstance(value, list)) for grid in grids)
    require(size <= MOST, "the grids", f"at most {MOST:,} runs together", brief(size))
    varied = dict.fromkeys(key for grid in grids for key, value in grid.items() if isinstance(value, list))
    for number, grid in enumerate(grids, start=1):
        for values in _combinations(grid, f"[[grid]] number {number}"):
            yield _config(base | values, folder, settings, f"[[grid]] number {number}", [*varied])
    for number, values in enumerate(runs, start=1):
        yield _config(base | values, folder, settings, f"[[runs]] number {number}", None)


def _require_settings(grid: Entry, where: str) -> None:
    """Raise a ConfigError unless every key of a grid is a setting, or says where the configuration comes from."""
    for key in grid:
        if key not in (*SOURCES, *keys()):
            raise ConfigError(f"a setting that minigrok knows (in {where})", brief(key, str), nearest(key, keys()))


def _combinations(grid: Entry, where: str) -> Iterator[Entry]:
    """All combinations of the values in lists, the first list varying slowest."""
    axes = {key: value if isinstance(value, list) else [value] for key, value in grid.items()}
    for key, values in axes.items():
        require(len(values) > 0, f"{key} in {where}", "one value or more", "an empty list")
    for combination in itertools.product(*axes.values()):
        yield dict(zip(axes, combination, strict=True))


def _config(values: Entry, folder: Path, settings: Mapping[str, Any], where: str, varied: list[str] | None) -> Config:
    """Configuration of one run; `varied` has the settings that go into its name."""
    values = dict(values)
    name = values.pop("name", None)
    sources = {key: values.pop(key) for key in SOURCES if key in values}
    try:
        config = _seeded(with_values(_start(sources, folder), {**values, **settings}))
        if varied is not None:
            stem = config.name if name is None else name
            config = with_values(config, {"name": str(stem) + _suffix(config, varied)})
        elif name is not None:
            config = with_values(config, {"name": name})
    except ConfigError as error:
        raise ConfigError(f"{error.required} (in {where})", error.got, error.do) from error
    return config


def _start(sources: Entry, folder: Path) -> Config:
    """Configuration that a run's settings change."""
    if len(sources) != 1 or not all(isinstance(value, str) for value in sources.values()):
        got = ", ".join(f"{key} = {brief(value)}" for key, value in sources.items()) or "neither"
        raise ConfigError("either a preset or a file, by name", got, 'write preset = "dual", here or under [base]')
    return preset(sources["preset"]) if "preset" in sources else from_toml(folder / sources["file"])


def _seeded(config: Config) -> Config:
    """Put the run's seed where its source says {seed}: each run of a grid has a source of its own."""
    source = config.intervention.source.replace("{seed}", str(config.seed))
    return with_values(config, {"intervention.source": source})


def _suffix(config: Config, varied: list[str]) -> str:
    """What sets a grid's runs apart, such as -wd0.1-s42."""
    keys = [key for key in varied if key not in ("name", *SOURCES) and not _unsaid(config, key)]
    keys.sort(key=lambda key: key == "seed")
    words = [f"{SHORT.get(key, key.rpartition('.')[2])}{_word(value_of(config, key))}" for key in keys]
    return "".join(f"-{word.lstrip('_')}" for word in words)


def _unsaid(config: Config, key: str) -> bool:
    """Whether a setting is left out of names: the default of a variant or an intervention, but for an arm's dose."""
    section, _, name = key.rpartition(".")
    if key in VARIANTS:
        return bool(value_of(config, key) == value_of(Config("any"), key))
    if section != "intervention":
        return False
    is_default = value_of(config, key) == getattr(Intervention(), name)
    return is_default and (name != "dose" or config.intervention.arm == "none")


def _word(value: Any) -> str:
    if isinstance(value, tuple):
        return "_" + "_".join(re.sub(r"[^A-Za-z0-9._-]", "", part) for part in value)
    return f"_{value}" if isinstance(value, str) else repr(value).removesuffix(".0").replace("+", "")


def _require_different(configs: tuple[Config, ...], where: str) -> None:
    """Raise a ConfigError unless there are runs, and each has a folder of its own."""
    if not configs:
        raise ConfigError(f"one run or more in {where}", "none", "add a [[grid]] or [[runs]]")
    seen: set[str] = set()
    for config in configs:
        folder = config.name.lower()  # some file systems ignore case
        if folder in RESERVED:
            raise ConfigError("a run name that is no file of the sweep's", repr(config.name), "choose another name")
        if folder in seen:
            do = "give them names, or write what differs as a list in a [[grid]], which then goes into the name"
            raise ConfigError(f"run names that differ, in {where}", f"two named {config.name}", do)
        seen.add(folder)


def orders_of(entries: Any) -> tuple[Order, ...]:
    """Return the analyses that a file lists; a ConfigError says what is wrong with them."""
    require(isinstance(entries, list), "analyses", 'is a list such as ["trajectory_pca"]', brief(entries))
    orders = [_order(entry) for entry in entries]
    names = [(order.name, order.protocol) for order in orders]
    require(len(set(names)) == len(names), "analyses", "each once a protocol: they would share a folder", names)
    return tuple(orders)


def _order(entry: Any) -> Order:
    from minigrok.analyses import ANALYSES, chosen  # not at the top: it imports nearly everything
    from minigrok.analyses.perform import settings_for

    table: dict[str, Any] = {"name": entry} if isinstance(entry, str) else _table(entry, "an analysis")
    for key in table:
        require_known(key, ("name", "protocol", "set"), "an analysis in a sweep")
    name, protocol = table.get("name"), table.get("protocol", "exact")
    assignments = table.get("set", [])
    texts = isinstance(assignments, list) and all(isinstance(text, str) for text in assignments)
    require(texts, "set in an analysis", 'is a list such as ["most=50"]', brief(assignments))
    if not isinstance(name, str) or name not in ANALYSES:  # "all" is no name here: its meaning changes with versions
        raise ConfigError("the name of an analysis", brief(name), nearest(brief(name, str), ANALYSES))
    settings_for(chosen(name)[0], protocol, assignments)
    return Order(name, protocol, tuple(assignments))


def keep_of(keep: Any) -> int | None:
    """Return the number of snapshots to keep; a ConfigError if it is none."""
    whole = keep is None or (isinstance(keep, int) and not isinstance(keep, bool) and keep >= 2)
    require(whole, "keep", "is a number of snapshots, 2 or more (first and last)", brief(keep))
    return keep  # type: ignore[no-any-return]


def _table(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{what} as a table", brief(value), "write key = value lines under it")
    return value


def _tables(value: Any, what: str) -> list[dict[str, Any]]:
    if not (isinstance(value, list) and all(isinstance(entry, dict) for entry in value)):
        raise ConfigError(f"{what} with two brackets on each side", brief(value), f"write {what} above each of them")
    return value


def _flat(table: Mapping[str, Any], prefix: str = "") -> Entry:
    """Flatten nested tables to dotted keys."""
    if prefix.count(".") > DEEPEST:
        raise ConfigError("a setting that minigrok knows", brief(prefix, str), "settings lie one table deep")
    flat: Entry = {}
    for key, value in table.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def _presets() -> Any:
    return resources.files("minigrok.config") / "presets" / "sweeps"
