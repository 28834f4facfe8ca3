"""Bursts in turn and their statistics, on scripted times with known medians and quartiles."""

from typing import Any

import fakes
import numpy as np
import pytest

from minigrok.bench.pipe import PeerError
from minigrok.bench.rounds import Entry, entries, measure
from minigrok.peers.problem import Work

STEP, EVAL = Work("step"), Work("eval")
EQUAL = {"loss": np.array([1.0, 2.0])}


def quiet(done: int, total: int, words: str) -> None:
    assert 0 <= done <= total, words


def script_two(scripted: Any) -> None:
    """minigrok 1, 2, 4 ms in its rounds, the other 3, 4, 4 ms: ratios 3, 2, 1."""
    scripted.times = {
        ("minigrok", "step"): [[0.001, 0.001, 0.009], [0.002], [0.004]],
        ("sleeper", "step"): [[0.003], [0.004, 0.004, 0.001], [0.004]],
    }
    scripted.outcomes = {"minigrok": EQUAL, "sleeper": EQUAL}


def test_contenders_take_turns_after_all_are_ready(scripted: Any) -> None:
    script_two(scripted)
    settings = fakes.settings(bursts=3, peers=("sleeper",))
    measure(entries(settings, STEP), settings, quiet)
    orders = [(name, order) for name, order in scripted.orders if order in ("open", "burst")]
    both = ["minigrok", "sleeper"]
    assert orders == [(name, "open") for name in both] + 3 * [(name, "burst") for name in both]


def test_the_ratio_is_the_median_over_rounds_of_ratios_of_medians(scripted: Any) -> None:
    script_two(scripted)
    settings = fakes.settings(bursts=3, peers=("sleeper",))
    own, peer = measure(entries(settings, STEP), settings, quiet)
    assert own["bursts_ms"] == pytest.approx([1, 2, 4])
    assert peer["bursts_ms"] == pytest.approx([3, 4, 4])
    assert peer["ratio"] == pytest.approx({"median": 2.0, "low": 1.0, "high": 3.0})
    assert "ratio" not in own
    assert peer["median_ms"] / own["median_ms"] == pytest.approx(2.0)  # of all times: 4 / 2, here the same by chance


def test_a_drifting_machine_does_not_change_the_ratio(scripted: Any) -> None:
    """Ten times slower in the second round, both of them: the medians of all times say little, the ratio all."""
    scripted.times = {
        ("minigrok", "step"): [[0.001], [0.010], [0.001]],
        ("sleeper", "step"): [[0.003], [0.030], [0.030]],  # and once alone
    }
    scripted.outcomes = {"minigrok": EQUAL, "sleeper": EQUAL}
    settings = fakes.settings(bursts=3, peers=("sleeper",))
    own, peer = measure(entries(settings, STEP), settings, quiet)
    assert peer["median_ms"] / own["median_ms"] == pytest.approx(30)
    assert peer["ratio"]["median"] == pytest.approx(3)


def test_medians_quartiles_cores_and_rates(scripted: Any) -> None:
    times = [[0.001 * t for t in (1, 2, 3)], [0.001 * t for t in (4, 5)]]
    scripted.times = {("minigrok", "step"): times}
    scripted.outcomes = {"minigrok": EQUAL}
    settings = fakes.settings()
    (row,) = measure(entries(settings, STEP), settings, quiet)
    assert row["median_ms"] == pytest.approx(3)
    assert row["quartiles_ms"] == pytest.approx([2, 4])
    assert (row["calls"], row["cores"], row["peak_bytes"]) == (5, 1.5, 1000)
    assert row["gflop_per_s"] == pytest.approx(4e6 / 3e-3 / 1e9)


def test_lanes_are_compared_at_the_same_work_only(scripted: Any) -> None:
    names = ("minigrok", "sleeper")
    scripted.times = {
        (name, kind): [[scale * (1 + (name == "sleeper"))]]
        for name in names
        for kind, scale in (("step", 0.001), ("eval", 0.1))
    }
    scripted.outcomes = dict.fromkeys(names, EQUAL)
    settings = fakes.settings(bursts=1, peers=("sleeper",))
    rows = measure(entries(settings, STEP, EVAL), settings, quiet)
    assert [row["ratio"]["median"] for row in rows if "ratio" in row] == pytest.approx([2, 2])


def test_wrong_numbers_are_not_timed(scripted: Any) -> None:
    script_two(scripted)
    scripted.outcomes["sleeper"] = {"loss": np.array([1.0, 2.1])}
    settings = fakes.settings(bursts=3, peers=("sleeper",))
    with pytest.raises(PeerError, match="Sleeper to compute minigrok's loss"):
        measure(entries(settings, STEP), settings, quiet)
    assert not [order for order in scripted.orders if order[1] == "burst"]
    assert [name for name, order in scripted.orders if order == "close"] == ["sleeper", "minigrok"]


def test_a_peer_that_is_not_installed_says_so_and_the_others_go_on(scripted: Any) -> None:
    script_two(scripted)
    settings = fakes.settings(bursts=3, peers=("absent", "sleeper"))
    rows = {row["contender"]: row for row in measure(entries(settings, STEP), settings, quiet)}
    assert rows["absent"]["error"] == "not installed (pip install absent==1.0)"
    assert "median_ms" not in rows["absent"]
    assert rows["sleeper"]["ratio"]["median"] == pytest.approx(2.0)


def test_compiled_pytorch_makes_no_block_of_directions() -> None:
    settings = fakes.settings(peers=("eager", "compile"))
    chosen = entries(settings, Work("hvp"), Work("hvp", directions=8))
    assert [(entry.contender, entry.work.directions) for entry in chosen] == [
        ("minigrok", 1),
        ("eager", 1),
        ("compile", 1),
        ("minigrok", 8),
        ("eager", 8),
    ]


def test_real_processes_with_a_peer_that_cannot_and_one_that_is_wrong(contenders: None) -> None:
    settings = fakes.settings(peers=("twin", "unable"))
    own, peer, unable = measure(entries(settings, STEP), settings, quiet)
    assert peer["errors"] == dict.fromkeys(("loss", "grad", "losses", "update"), 0.0)
    assert peer["ratio"]["low"] <= peer["ratio"]["median"] <= peer["ratio"]["high"]
    assert own["calls"] == 2
    assert own["flop"] > 0
    assert unable["error"] == "NotImplementedError: no such work here"
    with pytest.raises(PeerError, match=r"minigrok's grad to 1e-05 .* a relative difference of 1.0e-03"):
        measure([Entry("minigrok", STEP), Entry("wrong", STEP)], settings, quiet)


@pytest.mark.oracle
def test_a_real_round_beside_pytorch() -> None:
    pytest.importorskip("torch", reason="the oracle needs PyTorch: install the extra [oracle]")
    settings = fakes.settings(peers=("eager",))
    own, eager = measure(entries(settings, STEP), settings, quiet)
    assert max(eager["errors"].values()) < 1e-3
    assert eager["errors"]["grad"] < 1e-6
    assert eager["note"] in ("fused AdamW", "foreach AdamW", "for-loop AdamW")
    assert eager["peak_bytes"] > own["peak_bytes"] > 1e7
