"""A run folder that somebody sent: no command writes or deletes outside, hangs, or shows a traceback."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from types import FrameType

import pytest
from campaigns import Campaign
from commands import invoke
from small_sweeps import small

from minigrok.analyses import ANALYSES
from minigrok.analyses.perform import perform
from minigrok.storage.runs import create
from minigrok.training.train import train

SECONDS = 60  # of a command on a busy machine: our choice
PLACES = (
    "config.toml",
    "metrics.csv",
    "metrics.csv.tmp",
    "checkpoint.safetensors",
    "snapshots",
    "snapshots/000020.safetensors",
    "snapshots/000080.safetensors",
    "analysis",
    "analysis/trajectory_pca",
    "analysis/trajectory_pca/parts",
    "analysis/trajectory_pca/result.json",
    "analysis/trajectory_pca/arrays.npz",
    "analysis/ablation",
    "training.svg",
    "training.svg.tmp",
    "plane.safetensors",
    "intervention.csv",
    ".lock",
    ".owner",
)
KINDS = ("link to a file", "link to a folder", "link to nothing", "pipe", "endless", "sparse", "folder", "empty")
COMMANDS = (
    ("plot", "run"),
    ("analyse", "trajectory_pca", "run"),
    ("figure", "34", "run", "--exact", "--out", "run/figures"),
    ("resume", "run", "--threads", "1", "--after-grok", "1"),
    ("intervene", "run", "--arm", "norm", "--threads", "1", "--set", "train.max_steps=20"),
    ("verify", "run"),
)


def put(place: Path, kind: str, outside: Path) -> None:
    """Put something in the place of a file or folder."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    place.parent.mkdir(exist_ok=True)
    if kind.startswith("link"):
        target = {"link to a file": "mine", "link to a folder": "parts", "link to nothing": "none"}[kind]
        place.symlink_to(outside / target)
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "endless":
        place.symlink_to("/dev/zero")
    elif kind == "folder":
        place.mkdir()
    else:
        with place.open("wb") as file:
            file.truncate(2**41 if kind == "sparse" else 0)


class Late(BaseException):
    """Too slow: no OSError such as TimeoutError, which a command may take for one of the file's."""


def listing(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes() if path.is_file() else b"", path.lstat().st_mode)
        for path in sorted(folder.rglob("*"))
    }


@contextmanager
def limit(seconds: int) -> Iterator[None]:
    def late(signum: int, frame: FrameType | None) -> None:
        raise Late(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("hostile")
    with create(base / "run", small(steps=80, seeds=(1,)).configs[0]) as run:
        train(run, 1)
        analysis = ANALYSES["trajectory_pca"]
        perform(analysis, [run], analysis.settings())
    return base


def attack(base: Path, work: Path, place: str, kind: str, words: tuple[str, ...], campaign: Campaign) -> None:
    top, outside = work / "top", work / "outside"
    shutil.copytree(base, top, symlinks=True)
    (outside / "parts").mkdir(parents=True)
    for name in ("mine", "parts/a.part", "parts/000020.safetensors", "parts/table.csv"):
        (outside / name).write_text("mine\n")
    put(top / "run" / place, kind, outside)
    before, where = listing(outside), f"{' '.join(words)}: {place}: {kind}"
    campaign.cases += 1
    here = Path.cwd()
    os.chdir(top)
    try:
        with limit(SECONDS):
            said = invoke(*words)
        if "Traceback" in said.output:
            campaign.failed.append(f"{where}: {said.output[-200:]}")
    except BaseException as error:
        campaign.failed.append(f"{where}: {type(error).__name__}: {error}")
    finally:
        os.chdir(here)
    if listing(outside) != before:
        campaign.silent.append(f"{where}: outside was changed")
    shutil.rmtree(work)


@pytest.mark.parametrize("words", COMMANDS[:2], ids=lambda words: words[0])
def test_links_that_lead_out(base: Path, tmp_path: Path, words: tuple[str, ...], campaign: Campaign) -> None:
    for i, place in enumerate(
        ("snapshots", "analysis", "analysis/trajectory_pca", "analysis/trajectory_pca/parts", "training.svg", ".lock")
    ):
        attack(base, tmp_path / str(i), place, KINDS[place != "training.svg"], words, campaign)


def test_a_pipe_in_the_place_of_the_checkpoint(base: Path, tmp_path: Path, campaign: Campaign) -> None:
    attack(base, tmp_path / "0", "checkpoint.safetensors", "pipe", COMMANDS[0], campaign)


@pytest.mark.torture
@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_everything_everywhere(base: Path, tmp_path: Path, words: tuple[str, ...], campaign: Campaign) -> None:
    for i, (place, kind) in enumerate(product(PLACES, KINDS)):
        attack(base, tmp_path / str(i), place, kind, words, campaign)
