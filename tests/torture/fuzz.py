"""Fuzzed files and settings, thrown at the commands: a campaign in a process of its own, bounded in memory and time.

    python tests/torture/fuzz.py FOLDER CASES SEED      prints the counts as JSON

A case is a command and a file that was damaged or made up. It must end within `SECONDS`, without a traceback, within
`BYTES` of memory above what the process takes at the start, and with an error in three parts if it fails.
"""

import json
import os
import random
import resource
import shutil
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from minigrok_cli import sitting
from minigrok_cli.main import main

from minigrok.config import from_toml, keys, preset, to_toml
from minigrok.engine import portable
from minigrok.experiments import cost
from minigrok.experiments.sweep_file import sweep_names, sweep_text
from minigrok.storage.runs import create
from minigrok.training import budget
from minigrok.training.train import train

SECONDS = 60  # for a case: most take 0.1, and a machine may be busy
BYTES = 1_500_000_000
SMALL = """
name = "small"
task.p = 5
model = { width = 4, heads = 2, mlp_width = 4, blocks = 1 }
train = { batch_size = 4, max_steps = 30, eval_every = 10, snapshot_every = 10 }
compute.engine = "plain"
"""
MONSTERS = [
    *(
        "0",
        "-1",
        "2",
        "1e308",
        "1e-320",
        "nan",
        "inf",
        "-inf",
        "true",
        '""',
        "[]",
        "{}",
        "[[]]",
        '["add"]',
        "1979-05-27",
    ),
    *(
        "9" * 30,
        "9" * 400,
        "9" * 5000,
        "0x" + "f" * 6000,
        "2305843009213693951",
        "1000003",
        "1000000000000",
        "4294967296",
    ),
    *(
        "[" * 3000 + "]" * 3000,
        "{a=" * 500 + "1" + "}" * 500,
        '"' + "x" * 5000 + '"',
        '"\\u001b[31m"',
        '"$x$"',
        '"../up"',
    ),
    *(
        '"\\u202e"',
        "'''\n'''",
        '"tiny"',
        "0.5",
        "1",
        "3",
        "97",
        "[1, 2]",
        '["mul", "mul"]',
        '"cuda"',
        '"plain"',
        '"\\u0000"',
    ),
]


class Hang(BaseException):
    """A case took too long."""


class Campaign:
    """What was tried, and what went wrong: `kind -> number`, and the first failures in words."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.random, self.failures = folder, random.Random(seed), []
        self.counts: Counter[str] = Counter()

    def case(self, kind: str, *command: object) -> None:
        """Call a command, and judge how it ends."""
        self.counts["cases"] += 1
        self.counts[kind] += 1
        before = peak()
        try:
            with deadline(SECONDS):
                result = CliRunner().invoke(main, [str(each) for each in command])
        except Hang:
            return self.failed("hangs", kind, command, f"over {SECONDS} s")
        error = result.exception
        if error is not None and not isinstance(error, SystemExit):
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(last.filename).name}:{last.lineno}"
            self.failed("tracebacks", kind, command, f"{type(error).__name__}: {str(error)[:200]} ({where})")
        elif result.exit_code and not ("required: " in result.stderr or "Usage: " in result.stderr):
            self.failed("reasons missing", kind, command, f"exit {result.exit_code}: {result.output[-300:]}")
        if peak() - before > BYTES or "required: enough memory" in result.output:
            self.failed("over the memory bound", kind, command, f"{(peak() - before) / 1e6:.0f} MB")

    def failed(self, what: str, kind: str, command: tuple[object, ...], words: str) -> None:
        """Count a failure, and keep its file."""
        self.counts[what] += 1
        kept = self.folder / "kept" / f"{len(self.failures)}"
        self.failures.append(f"{kind}: {' '.join(str(each)[:80] for each in command)}: {words} (see {kept})")
        kept.parent.mkdir(exist_ok=True)
        if (self.folder / "case").exists():
            shutil.copytree(self.folder / "case", kept, symlinks=True)

    def damaged(self, data: bytes) -> bytes:
        """Return bytes with one to four of them flipped, cut out, doubled, cut off or replaced by a monster."""
        for _ in range(self.random.randint(1, 4)):
            i, j = sorted(self.random.randrange(len(data) + 1) for _ in range(2))
            j = min(j, i + self.random.choice([1, 8, 200]))
            junk = self.random.choice(MONSTERS).encode()
            bits = bytes(byte ^ 1 << self.random.randrange(8) for byte in data[i : i + 1])
            data = self.random.choice(
                [
                    data[:i] + bits + data[i + 1 :],
                    data[:i] + data[j:],
                    data[:j] + data[i:],
                    data[:i],
                    data[:i] + junk + data[j:],
                    data[:i] + self.random.randbytes(8) + data[i:],
                ]
            )
        return data

    def settings_damaged(self, text: str) -> str:
        """Return TOML in which the values of some lines are monsters, some lines doubled or left out."""
        lines = []
        for line in text.splitlines():
            key, equals, _ = line.partition("=")
            draw = self.random.random()
            if equals and draw < 0.1:
                line = f"{key}= {self.random.choice(MONSTERS)}"
            lines += [line] * (0 if 0.1 < draw < 0.12 else 2 if 0.12 < draw < 0.14 else 1)
        return "\n".join(lines)


def peak() -> int:
    """Return the most bytes that this process has taken."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@contextmanager
def deadline(seconds: int) -> Iterator[None]:
    """Raise Hang if the block takes longer."""

    def stop(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def fresh(campaign: Campaign, source: Path) -> Path:
    """Return a copy of a folder, in which a case may do damage."""
    shutil.rmtree(campaign.folder / "case", ignore_errors=True)
    return Path(shutil.copytree(source, campaign.folder / "case"))


def configs(campaign: Campaign, folder: Path) -> None:
    """Try a configuration, its text or its bytes damaged."""
    text = campaign.random.choice([SMALL, to_toml(preset("tiny")), to_toml(preset("dual"))])
    some = (
        campaign.damaged(text.encode()) if campaign.random.random() < 0.5 else campaign.settings_damaged(text).encode()
    )
    (folder / "case.toml").write_bytes(some)
    campaign.case("config", "train", folder / "case.toml", "--out", folder / "new")


def assignments(campaign: Campaign, folder: Path) -> None:
    """Try --set, with a setting that exists or one that nearly does, and a monster."""
    key = campaign.random.choice([*keys(), "task", "p", "", "a.b.c", "task.p.q", "\x1b", "x" * 300])
    setting = f"{key}={campaign.random.choice(MONSTERS)}".replace("\0", "")
    campaign.case("--set", "train", "tiny", "--set", setting, "--out", folder / "new")


def sweeps(campaign: Campaign, folder: Path) -> None:
    """Try a sweep file, its text or its bytes damaged."""
    text = sweep_text(campaign.random.choice(sweep_names()))
    some = (
        campaign.damaged(text.encode()) if campaign.random.random() < 0.5 else campaign.settings_damaged(text).encode()
    )
    (folder / "case.toml").write_bytes(some)
    campaign.case("sweep file", "sweep", folder / "case.toml", "--plan", "--out", folder / "new")


def damage_one(campaign: Campaign, folder: Path, name: str) -> None:
    """Damage a file of a run."""
    path = folder / name
    path.write_bytes(campaign.damaged(path.read_bytes()))


def snapshots(campaign: Campaign, folder: Path) -> None:
    """Try a damaged snapshot, as initial weights and in an analysis."""
    damage_one(campaign, folder, "snapshots/000010.safetensors")
    if campaign.random.random() < 0.5:
        source, out = folder / "snapshots/000010.safetensors", folder / "new"
        campaign.case("safetensors", "train", folder / "config.toml", "--init", source, "--out", out)
    else:
        campaign.case("safetensors", "analyse", "trajectory_pca", folder, "--set", "draws=2", "--json")


def checkpoints(campaign: Campaign, folder: Path) -> None:
    """Try a damaged checkpoint."""
    damage_one(campaign, folder, "checkpoint.safetensors")
    campaign.case("safetensors", "resume", folder)


def metrics(campaign: Campaign, folder: Path) -> None:
    """Try a damaged table of evaluations."""
    damage_one(campaign, folder, "metrics.csv")
    command = campaign.random.choice([("plot", folder), ("analyse", "grok_order", folder), ("resume", folder)])
    campaign.case("metrics.csv", *command)


def folders(campaign: Campaign, folder: Path) -> None:
    """Try a damaged config.toml of a run."""
    damage_one(campaign, folder, "config.toml")
    campaign.case("run's config", "resume", folder)


KINDS: list[Callable[[Campaign, Path], None]] = [configs, assignments, sweeps, snapshots, checkpoints, metrics, folders]


def no_training(run: Any, *_: object, **__: object) -> int:
    """Stand in for a sitting: what was asked for may be valid, and long."""
    return 0


def campaign(folder: Path, cases: int, seed: int) -> dict[str, Any]:
    """Try so many cases of each kind; return the counts and the failures."""
    with create(folder / "run", from_toml(SMALL)) as run:
        train(run, 1)
    real, real_seconds = sitting.sit, cost.seconds_per_step
    found = Campaign(folder, seed)
    for number in range(cases * len(KINDS)):
        kind = KINDS[number % len(KINDS)]
        sitting.sit = no_training if kind in (configs, assignments, snapshots) else real
        cost.seconds_per_step = lambda config: budget.require_room(config) or 1e-3
        kind(found, fresh(found, folder / "run"))
    sitting.sit, cost.seconds_per_step = real, real_seconds
    return {"counts": dict(found.counts), "failures": found.failures}


if __name__ == "__main__":
    portable.restart = portable.require  # a portable configuration is refused: it would begin this process anew
    os.chdir(sys.argv[1])
    limit = 12 * BYTES  # of addresses: code and stacks take some, too
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    print(json.dumps(campaign(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
