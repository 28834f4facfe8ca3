"""The table of what can be measured, and what a section adds to its rows."""

import json
from typing import Any

import fakes
import pytest

from minigrok.bench import suite
from minigrok.bench.rounds import Entry
from minigrok.bench.settings import CONTENDERS, PEERS, Progress, Settings
from minigrok.bench.suite import SECTIONS, Section, choose, cost, run_bench
from minigrok.config import from_toml
from minigrok.errors import ConfigError


def quiet(done: int, total: int, words: str) -> None:
    """Show nothing."""


def test_sections_by_name() -> None:
    assert choose(["eval", "step", "eval"]) == ["eval", "step"]
    assert choose(["step", "all"]) == list(SECTIONS)
    with pytest.raises(ConfigError, match="did you mean memory"):
        choose(["memry"])


def test_every_section_says_what_it_costs_and_who_is_slow_to_start() -> None:
    alone, with_all = fakes.settings(), fakes.settings(peers=PEERS)
    for section in SECTIONS.values():
        assert 0 < section.cost(alone) <= section.cost(with_all)
        assert section.question
    assert set(suite.READY) == set(CONTENDERS)
    assert cost(["step", "eval"], alone) == SECTIONS["step"].cost(alone) + SECTIONS["eval"].cost(alone)


def rows_of(entries: list[Entry]) -> list[dict[str, Any]]:
    """Made-up results: 4 GFLOP/s for minigrok; the products 5, 8 and 6; a block takes 3 and 5 times one direction."""
    rates = {"step": 4.0, "sgemm-step": 5.0, "sgemm-512": 8.0, "sgemm-1024": 6.0}
    return [
        {
            "contender": entry.contender,
            "gflop_per_s": rates.get(entry.work.kind),
            "bursts_ms": [6.0, 10.0] if entry.work.directions > 1 else [2.0, 2.0],
        }
        for entry in entries
    ]


def test_share_of_the_best_rate_and_cost_of_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "measure", lambda entries, settings, progress: rows_of(entries))
    step = suite.step(fakes.settings(peers=PEERS), quiet)
    assert [row["contender"] for row in step] == ["minigrok", *PEERS, "sgemm", "sgemm", "sgemm"]
    assert step[0]["share_of_peak"] == 4 / 8
    hvp = suite.hvp(fakes.settings(), quiet)
    assert [row.get("times_one_direction") for row in hvp] == [None, 4.0, None]


def test_a_report_is_json_and_a_load_runs_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = []

    class Busy:
        def __init__(self, cpus: list[int]) -> None:
            assert cpus == fakes.settings().cpus

        def __enter__(self) -> None:
            busy.append(True)

        def __exit__(self, *_: object) -> None:
            busy.pop()

    def run(_: Settings, progress: Progress) -> list[dict[str, Any]]:
        progress(1, 1, "done")
        return [{"busy": len(busy)}]

    seen = []
    monkeypatch.setattr(suite, "busy", Busy)
    monkeypatch.setitem(SECTIONS, "step", Section("", run, lambda s: 0.0))
    for loaded in (False, True):
        report = run_bench(["step"], fakes.settings(), lambda name: lambda *line: seen.append((name, *line)), loaded)
        report = json.loads(json.dumps(report))
        assert report["sections"] == {"step": [{"busy": int(loaded)}]}
        assert report["settings"]["loaded"] == loaded
        assert from_toml(report["settings"]["config"]) == fakes.SMALL
        assert report["environment"]["cpus"]
    assert seen == 2 * [("step", 1, 1, "done")]
