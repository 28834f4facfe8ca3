"""The same configuration gives the same bits in every process: any heap, any number of threads, any hash seed."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minigrok.config import Compute, Config, Model, Optimiser, Task, Train, to_toml
from minigrok.engine import portable

STEPS = 40
TRAIN = """
import hashlib, json, sys
import numpy as np
from minigrok.config import from_toml
from minigrok.training.trainer import Trainer

order = json.load(sys.stdin)
rng, kept = np.random.default_rng(order["heap"]), []
def fill():  # the heap with blocks of many sizes, every other one free again
    blocks = [np.ones(rng.integers(1, 3000), np.uint8) for _ in range(rng.integers(50, 500))]
    kept.extend(blocks[::2])

fill()
trainer, seen = Trainer(from_toml(order["config"]), order["threads"]), hashlib.sha256()
for step in range(order["steps"]):
    fill()
    seen.update(trainer.step().tobytes())
    if step % 10 == 0:
        seen.update(repr(trainer.evaluate()).encode())
for part in (trainer.theta, trainer.adamw.m, trainer.adamw.v):
    seen.update(part.tobytes())
print(seen.hexdigest())
"""
HEAPS = (
    {"PYTHONHASHSEED": "1"},
    {"PYTHONMALLOC": "malloc", "MALLOC_ARENA_MAX": "1", "PYTHONHASHSEED": "2"},
    {"MALLOC_TOP_PAD_": "4000000", "MALLOC_PERTURB_": "85", "PYTHONHASHSEED": "3"},
    {"PYTHONMALLOC": "malloc", "MALLOC_MMAP_THRESHOLD_": "64", "PYTHONHASHSEED": "4"},
    {"MALLOC_MMAP_THRESHOLD_": "100000000", "MALLOC_TRIM_THRESHOLD_": "0", "PYTHONHASHSEED": "5"},
)


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """Tiny runs: few pairs a shard, odd widths, heads of one channel."""
    p, heads = draw(st.sampled_from([3, 5, 7, 11, 13, 17, 31])), draw(st.integers(1, 3))
    model = Model(
        width=heads * draw(st.integers(1, 9)),
        heads=heads,
        mlp_width=draw(st.integers(1, 40)),
        blocks=draw(st.integers(1, 2)),
        cross_entropy=draw(st.sampled_from(["stable", "saturating"])),
    )
    operations = draw(st.sampled_from([("add",), ("add", "mul"), ("sq", "sub", "x3_xy")]))
    shards, dtype = draw(st.integers(1, 5)), draw(st.sampled_from(["float32", "float32", "float64"]))
    return Config(
        "drawn",
        seed=draw(st.integers(0, 99)),
        task=Task(p=p, operations=operations),
        model=model,
        optimiser=Optimiser(learning_rate=0.01),
        train=Train(batch_size=draw(st.integers(1, 6) | st.integers(1, 40)), max_steps=STEPS),
        compute=Compute(dtype=dtype, shards=shards, portable=draw(st.booleans())),
    )


def trained(config: Config, heap: int, threads: int) -> str:
    """Digest of all that a training in a process of its own made."""
    order = {"config": to_toml(config), "heap": heap, "threads": threads, "steps": STEPS}
    environment = os.environ | HEAPS[heap % len(HEAPS)] | (portable.SETTINGS if config.compute.portable else {})
    pipes = {"input": json.dumps(order), "env": environment, "stdout": subprocess.PIPE, "text": True}
    done = subprocess.run([sys.executable, "-c", TRAIN], check=True, **pipes)
    return done.stdout.strip()


def check(config: Config, heap: int, times: int) -> None:
    digests = {trained(config, heap + i, threads=1 + i % 3) for i in range(times)}
    assert len(digests) == 1
    assert len(digests.pop()) == 64


ONE_ROW_A_SHARD = Config(
    "known",  # gave two results as long as a loop of the cross-entropy wrote and summed
    seed=1,
    task=Task(p=13),
    model=Model(8, 2, 9, 1),
    optimiser=Optimiser(learning_rate=0.01),
    train=Train(batch_size=4, max_steps=STEPS),
    compute=Compute(shards=4),
)


@settings(max_examples=2, deadline=None)
@example(config=ONE_ROW_A_SHARD, heap=0)
@given(config=configs(), heap=st.integers(0, 99))
def test_a_training_twice_gives_the_same_bits(config: Config, heap: int) -> None:
    check(config, heap, 2)


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(config=configs(), heap=st.integers(0, 99))
def test_many_trainings_in_many_heaps_give_the_same_bits(config: Config, heap: int) -> None:
    check(config, heap, len(HEAPS))
