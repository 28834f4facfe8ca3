"""What counts as one observation when runs are compared: the seed. Every comparison of runs asks here.

    condition    all settings but DRAWN and IDLE; runs that differ in one of them are of two conditions
    seed         the unit: split, initial parameters and batches follow from it
    repeat       another run of a condition and seed. It says how far one seed scatters, and is no further unit
A comparison names the settings that it compares; runs that differ in others are refused with these settings, or stand
apart, one condition each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase
from typing import NamedTuple

from minigrok.config import Config, Intervention
from minigrok.errors import RunFolderError
from minigrok.storage.runs import Run

DRAWN = ("seed", "intervention.repeat")
IDLE = (  # how long a run is watched, what is saved of it, and what changes its rounding alone
    *("name", "train.max_steps", "train.snapshot_every", "train.after_grok", "train.stop_when_grokked"),
    *("compute.engine", "compute.shards", "compute.portable", "intervention.source"),
)
SHOWN = 4  # settings that a message names at most: our choice


class Unit(NamedTuple):
    """What a run is an observation of."""

    condition: str  # words; equal for runs of one condition, and for no others of the comparison
    seed: int
    repeat: int  # 0 for the first run of this condition and seed


def units(runs: Sequence[Run]) -> list[Unit]:
    """Return the unit of each run; the words of a condition name its tasks, its weight decay, and what differs."""
    each = [_settings(run.config) for run in runs]
    differ = [key for key in _differing(each) if key not in ("task.operations", "task.p", "optimiser.weight_decay")]
    found: list[Unit] = []
    for run, own in zip(runs, each, strict=True):
        words = ", ".join([condition(run.config), *(f"{_short(key, differ)} {_word(own[key])}" for key in differ)])
        repeat = sum((unit.condition, unit.seed) == (words, run.config.seed) for unit in found)
        found.append(Unit(words, run.config.seed, repeat))
    return found


def one_a_seed(runs: Mapping[str, Run]) -> tuple[dict[str, Run], dict[str, str]]:
    """Return the first run of each condition and seed, by name, and why each of the others is left out."""
    kept, left_out = {}, {}
    for (name, run), unit in zip(runs.items(), units([*runs.values()]), strict=True):
        if unit.repeat:
            left_out[name] = f"a repeat of seed {unit.seed} in {unit.condition}"
        else:
            kept[name] = run
    return kept, left_out


def condition(config: Config) -> str:
    """Words for tasks and weight decay."""
    tasks, decay = "+".join(config.task.operations), config.optimiser.weight_decay
    return f"{tasks} mod {config.task.p}, wd {decay:g}"


def require_alike(runs: Sequence[Run], names: Sequence[str], compared: Sequence[str], words: str) -> None:
    """Require that runs differ in the settings that are compared, and in no others.

    Parameters
    ----------
    runs : sequence of Run
    names : sequence of str       of the runs, for the message
    compared : sequence of str    dotted keys, such as "optimiser.weight_decay", or patterns, such as "intervention.*"
    words : str                   what is compared, to end "runs that differ in"

    Raises
    ------
    RunFolderError
        They do; it names the settings and two runs.
    """
    each = [_settings(run.config) for run in runs]
    others = [key for key in _differing(each) if not any(fnmatchcase(key, pattern) for pattern in compared)]
    if not others:
        return
    got = [_difference(key, [own[key] for own in each], names) for key in others[:SHOWN]]
    more = [f"and {len(others) - SHOWN} settings more"] if len(others) > SHOWN else []
    do = "compare runs of one kind at a time, such as SWEEP/dual-*"
    raise RunFolderError(f"runs that differ in {words} and seed alone", "; ".join(got + more), do)


def is_of_condition(config: Config, other: Config) -> bool:
    """Whether two configurations are of one condition: equal in all settings but DRAWN and IDLE."""
    return _settings(config) == _settings(other)


def differences(config: Config, other: Config) -> list[str]:
    """Settings that make a configuration another condition than another one, in words."""
    mine, theirs = _settings(config), _settings(other)
    return [f"{key} {_word(mine[key])}, not {_word(theirs[key])}" for key in mine if mine[key] != theirs[key]]


def _settings(config: Config) -> dict[str, object]:
    """Every setting that makes a condition, by its dotted key; an intervention of dose 0 is none."""
    nested = asdict(config)
    if config.intervention.dose == 0:
        nested["intervention"] = asdict(Intervention())
    flat = {
        f"{key}.{leaf}" if leaf else key: value
        for key, section in nested.items()
        for leaf, value in (section.items() if isinstance(section, dict) else [("", section)])
    }
    return {key: value for key, value in flat.items() if key not in DRAWN + IDLE}


def _differing(each: Sequence[dict[str, object]]) -> list[str]:
    return [key for key in each[0] if any(own[key] != each[0][key] for own in each)]


def _difference(key: str, values: Sequence[object], names: Sequence[str]) -> str:
    other = next(i for i, value in enumerate(values) if value != values[0])
    return f"{key} = {_word(values[0])} in {names[0]} and {_word(values[other])} in {names[other]}"


def _short(key: str, among: Sequence[str]) -> str:
    """Return the last word of a key, unless another key ends in it too."""
    leaf = key.rpartition(".")[2]
    return key if sum(other.rpartition(".")[2] == leaf for other in among) > 1 else leaf.replace("_", " ")


def _word(value: object) -> str:
    return (
        "+".join(map(str, value))
        if isinstance(value, list | tuple)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
