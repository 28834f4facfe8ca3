"""Which runs an entry of the registry is made of: conditions by name, what is lacking, the command that makes it.

A condition is named after tasks, weight decay and intervention: "dual wd 1", "sub wd 0", "dual wd 1, deletion 5 %". So
a small run of two tasks can be drawn as the paper's dual run is; the caption says in what it differs from the paper's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import NamedTuple

from minigrok.analyses.shared.units import differences, one_a_seed, require_alike
from minigrok.config import Config, preset, preset_names, with_values
from minigrok.errors import RunFolderError
from minigrok.paper.entries import Entry
from minigrok.storage.runs import Run

COMPARED = ("optimiser.weight_decay", "intervention.*", "train.eval_every", "task.operations", "task.exclude_zero")
KINDS = {2: "dual", 3: "tri"}  # by the number of tasks; a single task has its own name
SINGLES = {"sq": "x2_y2"}  # names of presets that are not those of the operation
SHOWN, FEW = 6, 3  # conditions and settings that a message names: our choice


class Member(NamedTuple):
    """A run and its condition."""

    run: Run
    condition: str

    @property
    def label(self) -> str:
        """Condition and seed."""
        return f"{self.condition}, seed {self.run.config.seed}"


def condition(config: Config) -> str:
    """Return the name of a configuration's condition."""
    tasks, intervention = config.task.operations, config.intervention
    kind = tasks[0] if len(tasks) == 1 else KINDS.get(len(tasks), f"{len(tasks)} tasks")
    name = f"{kind} wd {config.optimiser.weight_decay:g}"
    return f"{name}, {intervention.arm} {100 * intervention.dose:g} %" if intervention.dose else name


def chosen(entry: Entry, runs: Sequence[Run], is_exact: bool) -> tuple[list[Member], list[str]]:
    """Return the runs that an entry is made of, in its order of conditions, and what is lacking, in words.

    Of an entry of one seed the paper's is taken, or the first one that is there. A repeat of a seed is left out.

    Raises
    ------
    RunFolderError
        No run of any condition, or not of every one where all are needed; runs that differ in other settings.
    """
    first = {str(run.folder): run for run in runs if not run.config.intervention.repeat}
    kept = one_a_seed(first)[0] if first else {}
    names = (*entry.runs, *(entry.beside if is_exact else ()))
    found = {name: [run for run in kept.values() if condition(run.config) == name] for name in names}
    found = {name: _of_seeds(each, entry.seeds) for name, each in found.items() if each}
    lacking = [name for name in entry.runs if name not in found]
    if (entry.every and lacking) or len(lacking) == len(entry.runs):
        there = ", ".join(dict.fromkeys(condition(run.config) for run in runs)) or "no run"
        raise RunFolderError(f"for {entry.kind} {entry.number}: {needs(entry)}", there, command(lacking, entry.seeds))
    members = [Member(run, name) for name, each in found.items() for run in each]
    for count in {len(member.run.config.task.operations) for member in members}:
        alike = [member.run for member in members if len(member.run.config.task.operations) == count]
        require_alike(alike, [run.folder.name for run in alike], COMPARED, "tasks, weight decay, intervention")
    return members, lacking


def _of_seeds(runs: Sequence[Run], seeds: Sequence[int]) -> list[Run]:
    """All runs, the paper's seeds first; of one seed a single one."""
    order = sorted(runs, key=lambda run: (run.config.seed not in seeds, run.config.seed))
    return order[:1] if len(seeds) == 1 else order


def needs(entry: Entry) -> str:
    """Return the conditions and seeds of an entry in words."""
    names = list(entry.runs)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    word = "each of " if entry.every else "one or more of " if len(names) > 1 else ""
    return f"{word}{'; '.join(names[:SHOWN])}{more}; {_seeds(entry.seeds)}"


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def command(lacking: Sequence[str], seeds: Iterable[int]) -> str:
    """Return the command that makes runs of the first of the conditions, or all of a sweep's."""
    name, _, arm = lacking[0].partition(", ")
    kind, _, decay = name.partition(" wd ")
    if arm:
        sweep = "intervention-attention" if "attention" in arm or "random" in arm else f"intervention-{kind}"
        return f"minigrok sweep {sweep}{'-fine' * (sweep == 'intervention-tri')}"
    start = f"{kind}-wd{decay}" if kind in KINDS.values() else f"single-{SINGLES.get(kind, kind)}-wd{decay}"
    only = " ".join(f"--only '{start}-s{seed}'" for seed in seeds)
    return f"minigrok sweep {f'paper-{kind}' if kind in KINDS.values() else 'companion-operations'} {only}"


def unlike(member: Member) -> str:
    """Return in what a run's settings differ from the paper's run of its condition, in words; "" if in nothing."""
    config, tasks = member.run.config, member.run.config.task.operations
    name = KINDS.get(len(tasks)) or f"single-{SINGLES.get(tasks[0], tasks[0])}"
    if name not in preset_names():
        return "no condition of the paper"
    there = asdict(config.intervention)
    values = {"optimiser.weight_decay": config.optimiser.weight_decay}
    values |= {f"intervention.{key}": value for key, value in there.items()}
    found = differences(config, with_values(preset(name), values))
    return "; ".join(found[:FEW]) + f"; and {len(found) - FEW} more" * (len(found) > FEW)
