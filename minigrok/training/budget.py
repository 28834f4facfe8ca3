"""Memory, disk and time that a training needs, reckoned before anything is made.

    vectors   theta, direction, gradient, two moments, a gradient a shard, copies on the way to a checkpoint
    data      pairs, classes and the split; the rows of every chunk that an evaluation scores
    passes    activations and cotangents of a batch: rows of the table and of the blocks, logits of every class
    disk      snapshots of P numbers, a checkpoint of 3 P, a row an evaluation
    time      multiplications of the first step and its evaluation, faster than any CPU makes them

Memory and time are lower bounds: what is refused here would not end well.
"""

import shutil
from pathlib import Path

from minigrok.config import Config
from minigrok.engine.memory import available_memory
from minigrok.errors import ConfigError
from minigrok.network.evaluation import CHUNK
from minigrok.network.params import N_TOKENS, layout

HEADER = 4096  # bytes of names and shapes in a file of arrays, rounded up
CELL = 24  # bytes of a number in metrics.csv, rounded up
RATE = 1e13  # multiplications a second that no CPU of today makes: our choice
LONGEST = 86_400.0  # seconds until the first row of metrics: our choice


def require_room(config: Config, folder: Path | None = None) -> None:
    """Raise a ConfigError unless a training can begin here.

    Parameters
    ----------
    config : Config
    folder : Path, optional    where the run will lie; None: disk is not asked
    """
    needed, free = memory(config), available_memory()
    if needed > free:
        do = "take a smaller task.p, model, train.batch_size or compute.shards, or a machine with more memory"
        raise ConfigError(f"{in_words(needed)} of memory at least for {config.name}", f"{in_words(free)} available", do)
    if config.compute.engine != "cuda" and seconds(config) > LONGEST:
        got = f"{seconds(config) / 86_400:,.0f} days or more, on the fastest CPU"
        raise ConfigError("a first evaluation within a day", got, "take a smaller task.p, model or train.batch_size")
    if folder is not None:
        _require_disk(config, folder)


def memory(config: Config) -> int:
    """Bytes that a training takes at least, on this machine: what lies on a device is not counted."""
    task, model, batch = config.task, config.model, config.train.batch_size
    on_host = config.compute.engine != "cuda"
    size, width, tasks = layout(config).size, _width(config), len(config.task.operations)
    vectors = size * width * (11 + config.compute.shards * on_host)
    chunks = -(-task.n_pairs // CHUNK)
    pairs = task.n_pairs * (40 + 8 * 2 * N_TOKENS + tasks * (8 + width))  # a Python list of them is shuffled
    data = pairs + chunks * 8 * N_TOKENS * task.p
    rows = N_TOKENS * task.p + batch * (N_TOKENS * (model.blocks - 1) + 1)
    passes = on_host * width * (rows * (14 * model.width + 6 * model.mlp_width) + 3 * batch * tasks * task.p)
    return vectors + data + passes


def seconds(config: Config) -> float:
    """Seconds that the first step and its evaluation take at least."""
    model, tasks = config.model, len(config.task.operations)
    block = 4 * model.width**2 + 2 * model.width * model.mlp_width
    pair = model.blocks * block + tasks * model.width * config.task.p
    return (3 * config.train.batch_size + config.task.n_pairs) * pair / RATE


def disk(config: Config, keep: int | None = None) -> int:
    """Bytes of a run folder at the end of the budget, analyses not counted; `keep` snapshots at most."""
    train = config.train
    snapshot = layout(config).size * _width(config) + HEADER
    snapshots = train.max_steps // train.snapshot_every + 2
    rows = (train.max_steps // train.eval_every + 2) * CELL * (3 + 6 * len(config.task.operations))
    return min(snapshots, keep or snapshots) * snapshot + 3 * snapshot + rows


def _require_disk(config: Config, folder: Path) -> None:
    """Raise a ConfigError unless the disk has room: for the whole budget, or for a start if a grok may end the run."""
    needed = disk(config, keep=2 if config.train.stop_when_grokked else None)
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        do = "make room, choose another --out, or take a larger train.snapshot_every or a smaller train.max_steps"
        raise ConfigError(f"{in_words(needed)} of disk for {folder}", f"{in_words(free)} free", do)


def in_words(n_bytes: int) -> str:
    """Return "35 kB", "120 MB" or "1,500 GB"."""
    for limit, unit, name in ((10**6, 10**3, "kB"), (10**9, 10**6, "MB")):
        if n_bytes < limit:
            return f"{n_bytes / unit:,.0f} {name}"
    return f"{n_bytes / 1e9:,.1f} GB"


def _width(config: Config) -> int:
    return 4 if config.compute.dtype == "float32" else 8
