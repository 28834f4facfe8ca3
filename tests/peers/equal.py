"""Works at the smallest sizes, and the benchmark's own gate as the judge of a peer."""

from typing import Any

import pytest

from minigrok.bench.gate import require_agreement
from minigrok.config import Config, Model, Task, with_settings
from minigrok.peers import own
from minigrok.peers.problem import Problem, Work

SMALL = with_settings(
    Config("small", task=Task(p=5), model=Model(width=8, heads=2, mlp_width=12, blocks=2)),
    ["train.batch_size=8", "compute.engine=plain", "compute.shards=2"],
)
WORKS = [
    Work("step"),
    Work("step", "float64"),
    Work("hvp"),
    Work("hvp", "float64", "train"),
    Work("hvp", "float64", directions=3),
    Work("eval", "float64", "all"),
]
works = pytest.mark.parametrize("work", WORKS, ids=lambda w: f"{w.kind} {w.dtype} {w.directions}")


def agree(module: Any, name: str, work: Work, choose: bool = False, config: Config = SMALL) -> dict[str, float]:
    """Errors of a peer against minigrok; the gate raises above its limits."""
    problem = Problem(with_settings(config, [f"compute.dtype={work.dtype}"]), work, 1, choose)
    peer = module.open_peer(name, problem)
    assert peer.note
    return require_agreement(name, peer.outcome(), own.open_peer("minigrok", problem).outcome(), work.dtype)
