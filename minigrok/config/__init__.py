"""Configuration of a run: TOML in and out, presets, single settings, fingerprint.

Files, `--set a.b=c` and Python code all go through the same constructors, which check types and identities.
The sections with their defaults, and where those come from, are in `minigrok.config.sections`.
"""

import dataclasses
import difflib
import functools
import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from minigrok.checks import LONGEST, check_types, nearest, require, require_name
from minigrok.config.sections import Compute, Init, Intervention, Model, Optimiser, Task, Train
from minigrok.display import brief
from minigrok.errors import ConfigError
from minigrok.foreign import read_file

__all__ = [
    "LATER",
    "Compute",
    "Config",
    "Init",
    "Intervention",
    "Model",
    "Optimiser",
    "Task",
    "Train",
    "config_hash",
    "differences",
    "from_toml",
    "keys",
    "load",
    "parsed",
    "preset",
    "preset_names",
    "read_toml",
    "to_toml",
    "toml_value",
    "usual_steps",
    "value_of",
    "with_settings",
    "with_values",
]

T = TypeVar("T")
PROVENANCE = "minigrok"  # the table that a run folder adds to its config.toml; not a setting
LATER = {  # settings that came later than others of their section; the section of an intervention came later as a whole
    "task": ("split", "train_rows"),
    "model": ("attention", "norm"),
    "init": ("generator", "zero"),
    "optimiser": ("frozen", "frozen_from"),
    "intervention": ("support",),
}
USUAL = {"tiny": 9_200, "dual": 15_600, "tri": 25_500}  # last grok step of 3, 10 and 1 seeds: FINDINGS.md, but for tiny
LARGEST = 1_000_000  # bytes of a configuration's file: more is something else, such as a device: our choice


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that decides a run.

    Attributes
    ----------
    name : str    a label of letters, digits, "." "_" "-"; decides no number
    seed : int    of the split, the batches and the initial parameters, in [0, 2^32) (paper: 42, 137, 2024)
    task, model, init, optimiser, train, compute, intervention : the sections
    """

    name: str
    seed: int = 42
    task: Task = field(default_factory=Task)
    model: Model = field(default_factory=Model)
    init: Init = field(default_factory=Init)
    optimiser: Optimiser = field(default_factory=Optimiser)
    train: Train = field(default_factory=Train)
    compute: Compute = field(default_factory=Compute)
    intervention: Intervention = field(default_factory=Intervention)

    def __post_init__(self) -> None:
        check_types(self, "")
        require_name("name", self.name)
        require(0 <= self.seed < 2**32, "seed", "in [0, 2^32)", self.seed)
        elsewhere = self.intervention != Intervention() and self.compute.engine not in ("cpu", "plain")
        require(not elsewhere, "compute.engine", "cpu or plain for an intervention", self.compute.engine)


def from_toml(source: Path | str) -> Config:
    """Configuration from a TOML file, or from TOML text.

    Parameters
    ----------
    source : Path or str    a Path is a file to read, a str is the text itself

    Returns
    -------
    Config
        what the source leaves out has its default; only `name` must be there. The table [minigrok] that a run
        folder adds is skipped, so a run's config.toml is itself a configuration.

    Raises
    ------
    ConfigError    no such file, not TOML, unknown key, wrong type, value out of range
    """
    where = str(source) if isinstance(source, Path) else "the text"
    settings = read_toml(source, "a configuration")
    settings.pop(PROVENANCE, None)
    if "name" not in settings:
        raise ConfigError("a name for the configuration", f"none in {where}", 'add a first line like name = "my-run"')
    return _build(Config, settings)


def read_toml(source: Path | str, what: str) -> dict[str, Any]:
    """Table in a TOML file, or in TOML text; a ConfigError says why there is none, and `what` it should have been."""
    where = str(source) if isinstance(source, Path) else "the text"
    try:
        return tomllib.loads(read_file(source, LARGEST).decode() if isinstance(source, Path) else source)
    except (OSError, ValueError) as error:
        why = str(error.strerror if isinstance(error, OSError) else error)
    except RecursionError:
        why = "tables or lists nested too deep"
    raise ConfigError(f"{what} in TOML", f"{where}: {why}", "correct it or name another file")


def to_toml(config: Config) -> str:
    """Write the configuration as TOML text, every setting included; `from_toml` gives it back, equal.

    What came later is left out at its default, so that a run has the same text and hash as before: `LATER`.
    """
    values = dataclasses.asdict(config)
    if config.intervention == Intervention():
        del values["intervention"]
    for section, names in LATER.items():
        default = type(getattr(config, section))()
        for name in names:
            if section in values and getattr(getattr(config, section), name) == getattr(default, name):
                del values[section][name]
    sections = {key: value for key, value in values.items() if isinstance(value, dict)}
    blocks = [_toml_lines({key: value for key, value in values.items() if key not in sections})]
    blocks += [f"[{key}]\n{_toml_lines(section)}" for key, section in sections.items()]
    return "\n".join(blocks)


def preset_names() -> list[str]:
    """Names of the configurations that come with minigrok, sorted."""
    return sorted(entry.name.removesuffix(".toml") for entry in _presets().iterdir() if entry.name.endswith(".toml"))


def preset(name: str) -> Config:
    """Configuration that comes with minigrok, by name; a ConfigError lists what there is."""
    if name not in preset_names():
        raise ConfigError("the name of a preset", repr(name), nearest(name, preset_names()))
    return from_toml((_presets() / f"{name}.toml").read_text(encoding="utf-8"))


def usual_steps(config: Config) -> int | None:
    """Return the step by which a preset's runs have grokked as far as we know; None: settings are not the preset's."""
    if config.name not in USUAL:
        return None
    own = preset(config.name)
    parts = ("task", "model", "init", "optimiser", "intervention")
    same = all(getattr(config, part) == getattr(own, part) for part in parts)
    return USUAL[config.name] if same and config.train.batch_size == own.train.batch_size else None


def with_settings(config: Config, settings: Iterable[str]) -> Config:
    """Configuration with some settings changed.

    Parameters
    ----------
    config : Config
    settings : iterable of str "key=value"
        such as "seed=137" or "optimiser.weight_decay=0.5"; the value is TOML, and what is not TOML is
        taken as a string, so that compute.dtype=float64 needs no quotes

    Returns
    -------
    Config
        a new one, checked as a file would be

    Raises
    ------
    ConfigError    no "=", unknown key, wrong type, value out of range
    """
    return with_values(config, parsed(settings))


def load(source: str | Path) -> Config:
    """Return the configuration of a preset, by its name, or of a TOML file, by its path."""
    is_file = source not in preset_names() and (str(source).endswith(".toml") or Path(source).is_file())
    return from_toml(Path(source)) if is_file else preset(str(source))


def parsed(settings: Iterable[str]) -> dict[str, Any]:
    """Values of settings "key=value" by their key; a ConfigError for one without "="."""
    values = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError("a setting key=value", repr(setting), "write for example optimiser.weight_decay=0.5")
        values[key.strip()] = toml_value(text.strip())
    return values


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """Configuration with some settings changed, as `with_settings` does, from {"optimiser.weight_decay": 0.5}."""
    nested = dataclasses.asdict(config)
    for key, value in values.items():
        if key not in keys():
            raise _unknown(key)
        *path, leaf = key.split(".")
        section = nested[path[0]] if path else nested
        section[leaf] = value
    return _build(Config, nested)


def differences(config: Config, other: Config) -> list[str]:
    """Settings of one configuration that another one has not, in words, all but the name, which decides no number."""
    values = ((key, value_of(config, key), value_of(other, key)) for key in keys() if key != "name")
    return [f"{key} {brief(mine, str)}, not {brief(theirs, str)}" for key, mine, theirs in values if mine != theirs]


def value_of(config: Config, key: str) -> Any:
    """Value of a setting by its dotted key."""
    return functools.reduce(getattr, key.split("."), config)


def config_hash(config: Config) -> str:
    """Fingerprint (sha256, 64 hex digits) of everything that decides the numbers: all settings but `name`."""
    nameless = dataclasses.replace(config, name="_")
    return hashlib.sha256(to_toml(nameless).encode()).hexdigest()


def _build(cls: type[T], settings: Mapping[str, Any], prefix: str = "") -> T:
    """Construct a dataclass from a mapping, sections first."""
    types: dict[str, Any] = {item.name: item.type for item in dataclasses.fields(cls)}  # type: ignore[arg-type]
    values = dict(settings)
    for name, value in values.items():
        if name not in types:
            raise _unknown(prefix + name)
        if dataclasses.is_dataclass(types[name]):
            if not isinstance(value, Mapping):
                raise ConfigError(f"a section [{name}]", brief(value), f"write its settings under [{name}]")
            values[name] = _build(types[name], value, f"{name}.")
    return cls(**values)


def keys() -> list[str]:
    """Every setting as a dotted key."""
    top = {item.name: item.type for item in dataclasses.fields(Config)}
    sections = {name: cls for name, cls in top.items() if dataclasses.is_dataclass(cls)}
    inner = [f"{name}.{item.name}" for name, cls in sections.items() for item in dataclasses.fields(cls)]
    return [name for name in top if name not in sections] + inner


def _unknown(key: str) -> ConfigError:
    """Error for an unknown key; its last part says which was meant, as people forget or mistype sections."""
    leaves = {known.rpartition(".")[2]: known for known in keys()}
    section, _, leaf = key.rpartition(".")
    inside = [name for name, known in leaves.items() if known.startswith(f"{section}.")]
    close = [name for name in leaves if name == leaf] or difflib.get_close_matches(leaf[:LONGEST], inside, n=1)
    close = close or difflib.get_close_matches(leaf[:LONGEST], leaves, n=1)
    do = f"did you mean {leaves[close[0]]}?" if close else nearest(key, keys())
    return ConfigError("a setting that minigrok knows", brief(key, str), do)


def _toml_lines(values: Mapping[str, Any]) -> str:
    return "".join(f"{key} = {_toml_text(value)}\n" for key, value in values.items())


def _toml_text(value: Any) -> str:
    """TOML text of a bool, number, string or list of strings; of printable characters, JSON's escapes are TOML's."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_text(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def toml_value(text: str) -> Any:
    """Value of TOML text; text that is not one TOML value is a string."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return parsed["value"] if len(parsed) == 1 else text


def _presets() -> Any:
    return resources.files("minigrok.config") / "presets"
