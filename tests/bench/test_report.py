"""Tables say the numbers that were measured, and no others."""

from typing import Any

import pytest

from minigrok.bench.report import TIMED, table, what

SETTINGS = {"threads": 2, "bursts": 5, "seconds": 3.0, "loaded": False}
STEP = {"kind": "step", "dtype": "float32", "pairs": "batch", "directions": 1}
OWN = {
    "contender": "minigrok",
    "label": "minigrok",
    "work": STEP,
    "note": "2 shards",
    "median_ms": 10.004,
    "quartiles_ms": [9.5, 11.25],
    "cores": 1.98,
    "gflop_per_s": 71.26,
    "flop": 713e6,
    "share_of_peak": 0.351,
    "peak_bytes": 123e6,
}
PEER = {
    "contender": "eager",
    "label": "PyTorch eager",
    "work": STEP,
    "note": "fused AdamW",
    "median_ms": 30.0,
    "quartiles_ms": [29.0, 31.0],
    "cores": 1.9,
    "peak_bytes": 400e6,
    "ratio": {"median": 3.005, "low": 2.9, "high": 3.14},
}
MISSING = {"contender": "jax", "label": "JAX jit", "work": STEP, "error": "not installed (pip install jax==0.10.2)"}


def test_times() -> None:
    found = table("step", [OWN, PEER, MISSING], SETTINGS)
    assert found.columns == TIMED
    step, dash = "step, float32", "-"
    assert found.rows == [
        (step, "minigrok", "10.00", "9.50 .. 11.25", "1.98", "71.3", dash, dash, "2 shards"),
        (step, "PyTorch eager", "30.00", "29.00 .. 31.00", "1.90", dash, "3.00", "2.90 .. 3.14", "fused AdamW"),
        (step, "JAX jit", *6 * (dash,), "not installed (pip install jax==0.10.2)"),
    ]
    assert found.note == "minigrok's step: 0.71 GFLOP in matrix products, 35% of the best rate of products alone"
    assert found.title == "step: 2 threads, 5 rounds of 3 s each"


@pytest.mark.parametrize(("name", "loaded"), [("load", False), ("step", True)])
def test_a_load_is_said(name: str, loaded: bool) -> None:
    assert table(name, [OWN], SETTINGS | {"loaded": loaded}).title.endswith(", beside a busy process")


def test_a_block_of_directions() -> None:
    row = OWN | {"work": STEP | {"kind": "hvp", "directions": 8}, "times_one_direction": 4.129}
    del row["share_of_peak"]
    assert "block of 8 directions takes 4.13 times one direction" in table("hvp", [row], SETTINGS).note


@pytest.mark.parametrize(
    ("work", "words"),
    [
        ({"kind": "hvp"}, "hvp, float32, batch, 1 direction"),
        ({"kind": "hvp", "directions": 8, "pairs": "train"}, "hvp, float32, train, 8 directions"),
        ({"kind": "sgemm-step"}, "products of a step"),
        ({"kind": "sgemm-512"}, "512 x 512 products"),
        ({"kind": "eval", "dtype": "float64"}, "eval, float64"),
    ],
)
def test_words_for_a_work(work: dict[str, Any], words: str) -> None:
    assert what(STEP | work) == words


def test_memory_starts_and_growth() -> None:
    memory = table("memory", [OWN, MISSING], SETTINGS)
    assert memory.rows == [("minigrok", "123", ""), ("JAX jit", "-", MISSING["error"])]
    starts = table("startup", [{"what": "a", "seconds": [1, 4, 2]}, {"what": "b", "error": "absent"}], SETTINGS)
    assert starts.rows == [("a", "2.00", "1.00", "4.00"), ("b", "absent", "-", "-")]
    growth = table("growth", [{"axis": "blocks L", "value": 4, "rows": [OWN, PEER, MISSING]}], SETTINGS)
    assert growth.rows == [
        ("blocks L", "4", "minigrok", "10.00", "123", "-"),
        ("blocks L", "4", "PyTorch eager", "30.00", "400", "3.00"),
        ("blocks L", "4", "JAX jit", MISSING["error"], "-", "-"),
    ]
