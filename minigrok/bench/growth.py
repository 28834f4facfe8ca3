"""Time and memory of a training step against the sizes of the model, the batch, and the machine."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NamedTuple

from minigrok.bench.rounds import Entry, measure
from minigrok.bench.settings import Progress, Settings
from minigrok.config import with_settings
from minigrok.peers.problem import Work

BURSTS, SECONDS = 3, 1.0  # at most, a point: there are many
PEERS = ("eager",)  # the others compile for each point anew
Row = dict[str, Any]


class Axis(NamedTuple):
    """One size that grows while the others stay."""

    label: str
    values: tuple[int, ...]
    change: Callable[[Settings, int], Settings]


def _config(*keys: str) -> Callable[[Settings, int], Settings]:
    """Set configuration keys to the value; "key*n" to n times the value, "key=x" to x."""

    def change(settings: Settings, value: int) -> Settings:
        pairs = []
        for key in keys:
            name, _, factor = key.partition("*")
            pairs.append(key if "=" in key else f"{name}={value * int(factor or 1)}")
        return replace(settings, config=with_settings(settings.config, pairs))

    return change


def _threads(settings: Settings, value: int) -> Settings:
    """Use that many threads; always as many shards as there are threads at most, so that the bits stay the same."""
    shards = max(settings.config.compute.shards, settings.threads)
    config = with_settings(settings.config, [f"compute.shards={shards}"])
    return replace(settings, config=config, threads=value)


def axes(threads: int) -> tuple[Axis, ...]:
    """Return what grows, on a machine with so many threads to use."""
    powers = tuple(2**i for i in range(threads.bit_length()) if 2**i < threads)
    return (
        Axis("batch size B", (64, 128, 256, 512, 1024, 2048, 4096), _config("train.batch_size")),
        Axis("width D (F = 2 D)", (32, 64, 128, 256, 512), _config("model.width", "model.mlp_width*2")),
        Axis("blocks L", (1, 2, 4, 8), _config("model.blocks")),
        Axis("modulus p", (23, 47, 97, 197), _config("task.p")),
        Axis("shards", (1, 2, 4, 8), _config("compute.shards")),
        Axis("threads", (*powers, threads), _threads),
        Axis("L at D = 512", (4,), _config("model.width=512", "model.mlp_width=1024", "model.blocks")),
    )


def growth(settings: Settings, progress: Progress, chosen: Iterable[Axis] | None = None) -> list[Row]:
    """Measure a training step of minigrok and PyTorch eager at every value of every axis.

    Returns
    -------
    list of dict
        A row a point: "axis", "value", "rows" (as `rounds.measure` returns them; memory is the peak of the process).
    """
    points = [(axis, value) for axis in chosen or axes(settings.threads) for value in axis.values]
    short = replace(
        settings,
        bursts=min(settings.bursts, BURSTS),
        seconds=min(settings.seconds, SECONDS),
        peers=tuple(name for name in settings.peers if name in PEERS),
    )
    found = []
    for i, (axis, value) in enumerate(points):
        progress(i, len(points), f"{axis.label} = {value}")
        changed = axis.change(short, value)
        work = Work("step", settings.config.compute.dtype)
        rows = measure([Entry(name, work) for name in changed.contenders], changed, _silent)
        found.append({"axis": axis.label, "value": value, "rows": rows})
    progress(1, 1, "done")
    return found


def _silent(done: int, total: int, words: str) -> None:
    """Report no progress: a point is short."""
