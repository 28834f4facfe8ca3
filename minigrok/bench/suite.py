"""What `minigrok bench` can measure, in one table, and how a run of it goes."""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import asdict
from statistics import median
from typing import Any, NamedTuple

from minigrok.bench.environment import describe
from minigrok.bench.growth import axes, growth
from minigrok.bench.machine import busy, memory, startup
from minigrok.bench.profile import profile
from minigrok.bench.rounds import PAUSE, Entry, entries, measure
from minigrok.bench.settings import OWN, Progress, Settings
from minigrok.checks import nearest
from minigrok.config import to_toml
from minigrok.errors import ConfigError
from minigrok.peers.problem import Work

DIRECTIONS = 8  # of a block of Hv: our choice
SGEMM = ("sgemm-step", "sgemm-512", "sgemm-1024")
READY = {
    OWN: 4.0,
    "eager": 10.0,
    "compile": 100.0,
    "jax": 10.0,
    "jax-tuned": 15.0,
    "sgemm": 4.0,
}  # seconds to start, on two cores
Row = dict[str, Any]


class Section(NamedTuple):
    """One thing to measure."""

    question: str
    run: Callable[[Settings, Progress], list[Row]]
    cost: Callable[[Settings], float]  # seconds, roughly


def step_entries(settings: Settings) -> list[Entry]:
    """Every contender's training step, and the matrix products alone."""
    dtype = settings.config.compute.dtype
    return entries(settings, Work("step", dtype)) + [Entry("sgemm", Work(kind, dtype)) for kind in SGEMM]


def hvp_entries(settings: Settings) -> list[list[Entry]]:
    """Two groups: float32 on a batch, one direction and a block; float64 on all train pairs."""
    small = entries(settings, Work("hvp"), Work("hvp", directions=DIRECTIONS))
    return [small, entries(settings, Work("hvp", "float64", "train"))]


def eval_entries(settings: Settings) -> list[Entry]:
    """Loss and accuracy over all pairs."""
    return entries(settings, Work("eval", settings.config.compute.dtype, "all"))


def step(settings: Settings, progress: Progress) -> list[Row]:
    """Measure the training step; minigrok's row says which share of the best rate of products it reaches."""
    rows = measure(step_entries(settings), settings, progress)
    peak = max(row["gflop_per_s"] for row in rows if row["contender"] == "sgemm")
    rows[0]["share_of_peak"] = rows[0]["gflop_per_s"] / peak
    return rows


def hvp(settings: Settings, progress: Progress) -> list[Row]:
    """Measure Hv; minigrok's row of the block says how many times one direction it takes."""
    small, large = (measure(group, settings, progress) for group in hvp_entries(settings))
    one, block = (row for row in small if row["contender"] == OWN)
    pairs = zip(block["bursts_ms"], one["bursts_ms"], strict=True)
    block["times_one_direction"] = median(several / single for several, single in pairs)
    return small + large


def evaluate(settings: Settings, progress: Progress) -> list[Row]:
    """Measure an evaluation."""
    return measure(eval_entries(settings), settings, progress)


def load(settings: Settings, progress: Progress) -> list[Row]:
    """Measure the training step while another process keeps one of the CPUs busy."""
    with busy(settings.cpus):
        return step(settings, progress)


def timing(*groups: list[Entry], settings: Settings) -> float:
    """Seconds that entries take, roughly."""
    burst = settings.bursts * (settings.seconds + PAUSE)
    return sum(READY.get(entry.contender, 10.0) + burst for group in groups for entry in group)


def _starts(repeats: float) -> Callable[[Settings], float]:
    """Cost of starting every contender some times."""
    return lambda settings: repeats * sum(READY.get(name, 10.0) for name in settings.contenders)


def _points(settings: Settings) -> float:
    """Cost of all points of `growth`."""
    return 25.0 * sum(len(axis.values) for axis in axes(settings.threads))


SECTIONS = {
    "step": Section("a training step", step, lambda s: timing(step_entries(s), settings=s)),
    "profile": Section("a training step by kernel", profile, lambda s: 10.0),
    "hvp": Section("a Hessian-vector product", hvp, lambda s: timing(*hvp_entries(s), settings=s)),
    "eval": Section("loss and accuracy over all pairs", evaluate, lambda s: timing(eval_entries(s), settings=s)),
    "memory": Section("peak memory of a training process", memory, _starts(1.0)),
    "startup": Section("seconds to start", startup, lambda s: 60.0 + _starts(1.0)(s)),
    "growth": Section("a training step against every size", growth, _points),
    "load": Section("a training step beside a busy process", load, lambda s: timing(step_entries(s), settings=s)),
}


def choose(names: Iterable[str]) -> list[str]:
    """Sections by name, "all" being every one; a ConfigError lists what there is."""
    chosen = list(dict.fromkeys(names))
    for name in chosen:
        if name not in SECTIONS and name != "all":
            raise ConfigError(f"from {', '.join(SECTIONS)} or all", repr(name), nearest(name, list(SECTIONS)))
    return list(SECTIONS) if "all" in chosen else chosen


def cost(names: Iterable[str], settings: Settings) -> float:
    """Seconds that sections take, roughly."""
    return sum(SECTIONS[name].cost(settings) for name in names)


def run_bench(
    names: Iterable[str], settings: Settings, progress: Callable[[str], Progress], loaded: bool = False
) -> dict[str, Any]:
    """Measure sections one after the other.

    Parameters
    ----------
    names : iterable of str    keys of `SECTIONS`
    settings : Settings
    progress : function        from the name of a section to its progress
    loaded : bool              whether another process keeps a CPU busy all the time

    Returns
    -------
    dict
        JSON-able: "environment" (at the start), "settings", "sections" {name: rows}

    Raises
    ------
    PeerError
        A peer computes something else than minigrok.
    """
    report: dict[str, Any] = {"environment": describe(settings), "settings": _plain(settings) | {"loaded": loaded}}
    with busy(settings.cpus) if loaded else nullcontext():
        report["sections"] = {name: SECTIONS[name].run(settings, progress(name)) for name in names}
    return report


def _plain(settings: Settings) -> Row:
    """Settings as JSON can hold them; the configuration as TOML."""
    values = asdict(settings)
    del values["command"]
    return values | {"config": to_toml(settings.config)}
