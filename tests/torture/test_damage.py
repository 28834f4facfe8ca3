"""Cut files and flipped bits, in every kind of file: an error that says so, or the same content; never silent."""

import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from campaigns import Campaign
from small_sweeps import Here, small

from minigrok.analyses import ANALYSES, results
from minigrok.analyses.base import Work
from minigrok.analyses.perform import perform
from minigrok.config import to_toml
from minigrok.errors import MinigrokError
from minigrok.experiments.cells import open_sweep
from minigrok.experiments.sweep import conduct
from minigrok.storage.runs import create, open_run
from minigrok.training.train import train

PCA = ANALYSES["trajectory_pca"]


def text_of(value: Any) -> str:
    """Return nested content as text, arrays by their bytes."""
    return json.dumps(value, default=lambda x: [str(x.dtype), x.shape, x.tobytes().hex()], sort_keys=True)


def config_without_name(folder: Path) -> str:
    config = open_run(folder).config
    return to_toml(config).replace(config.name, "")


def part(folder: Path) -> str:
    def again() -> dict[str, Any]:
        raise MinigrokError("the part", "damaged", "made anew")  # what a sitting does: no part is used in silence

    return text_of(Work(folder=folder / "parts", key="key").part("x", again))


# what is read of a run or sweep, by the file
READERS: dict[str, Callable[[Path], str]] = {
    "run/config.toml": lambda top: config_without_name(top / "run"),
    "run/metrics.csv": lambda top: text_of(open_run(top / "run").metrics()),
    "run/snapshots/000020.safetensors": lambda top: text_of(open_run(top / "run").load_snapshot(20)),
    "run/checkpoint.safetensors": lambda top: text_of(open_run(top / "run").load_checkpoint()),
    "run/analysis/trajectory_pca/result.json": lambda top: result(top / "run"),
    "run/analysis/trajectory_pca/arrays.npz": lambda top: result(top / "run"),
    "run/analysis/trajectory_pca/table.csv": lambda top: result(top / "run"),
    "parts/x.part": part,
    "sweep/sweep.json": lambda top: str(asdict(open_sweep(top / "sweep"))),
}


def result(folder: Path) -> str:
    found = results.read(open_run(folder), "trajectory_pca")
    assert found is not None
    return text_of([found.settings, found.fields])


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("damage")
    sweep = small(seeds=(1,))
    with create(top / "run", sweep.configs[0]) as run:
        train(run, 1)
        perform(PCA, [run], PCA.settings())
    Work(folder=top / "parts", key="key").part("x", lambda: {"a": np.arange(300.0), "b": np.eye(3)})
    conduct(sweep, top / "sweep", Here())
    for config in sweep.configs:
        shutil.rmtree(top / "sweep" / config.name)
    return top


def cuts(data: bytes, least: int) -> Iterator[tuple[str, bytes]]:
    """Every 10th length, or fewer."""
    for size in range(0, len(data), max(10, len(data) // least)):
        yield f"cut to {size}", data[:size]


def flips(data: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    """Some bits, and all of the first and last bytes."""
    some = random.Random(0).sample(range(8 * len(data)), min(count, 8 * len(data)))
    for bit in sorted({*some, *range(min(count, 64)), *range(8 * len(data) - min(count, 64), 8 * len(data))}):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit}", bytes(changed)


def attack(top: Path, name: str, faults: Iterator[tuple[str, bytes]], campaign: Campaign) -> None:
    read, path = READERS[name], top / name
    expected, whole = read(top), path.read_bytes()
    try:
        for words, data in faults:
            campaign.cases += 1
            path.write_bytes(data)
            try:
                if read(top) != expected:
                    campaign.silent.append(f"{name}: {words}")
            except MinigrokError:
                pass
            except Exception as error:  # a traceback for the user
                campaign.failed.append(f"{name}: {words}: {type(error).__name__}: {error}")
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("name", READERS)
def test_a_few_faults(top: Path, name: str, campaign: Campaign) -> None:
    data = (top / name).read_bytes()
    attack(top, name, cuts(data, 20), campaign)
    attack(top, name, flips(data, 60), campaign)


@pytest.mark.torture
@pytest.mark.parametrize("name", READERS)
def test_cuts_at_every_tenth_byte(top: Path, name: str, campaign: Campaign) -> None:
    attack(top, name, cuts((top / name).read_bytes(), 10**9), campaign)


@pytest.mark.torture
@pytest.mark.parametrize("name", READERS)
def test_flipped_bits(top: Path, name: str, campaign: Campaign) -> None:
    attack(top, name, flips((top / name).read_bytes(), 4000), campaign)
