"""All laws hold on both engines, a broken layer is found, and impossible sizes are named."""

import json

import pytest
from click.testing import CliRunner

from minigrok.engine import ENGINES
from minigrok.errors import ConfigError, EngineError
from minigrok.gradcheck.cases import CASES, Sizes
from minigrok.gradcheck.check import run_checks
from minigrok.gradcheck.laws import LAWS
from minigrok.layers import gelu


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("sizes", [Sizes(), Sizes(B=1, T=1, U=1, H=1, F=1, V=2, L=1), Sizes(B=13, T=3, K=5, L=3)])
def test_every_law_holds_on_every_layer(engine, sizes):
    verdicts = run_checks(sizes, engine)
    assert [(v.case, v.law) for v in verdicts] == [(case, law) for case in CASES for law in LAWS]
    assert [v for v in verdicts if not v.holds] == []


def break_gelu(monkeypatch):
    def without_curvature(lo, hi, x, slope, dy, Rx, Rdy, Rdx):
        Rdx[lo:hi] = slope[lo:hi] * Rdy[lo:hi]

    monkeypatch.setattr(gelu, "_r_backward", without_curvature)


def test_a_broken_layer_breaks_its_laws_and_no_others(monkeypatch):
    break_gelu(monkeypatch)
    broken = {(v.case, v.law) for v in run_checks(Sizes(), "plain") if not v.holds}
    assert ("gelu", "taylor 2") in broken
    assert {case for case, _ in broken} == {"gelu", "block: mlp", "model", "model: uniform", "model: sphere"}


def test_seeds_give_other_points_and_one_seed_the_same():
    numbers = [[v.number for v in run_checks(Sizes(), "plain", seed)] for seed in (0, 0, 1)]
    assert numbers[0] == numbers[1] != numbers[2]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [(Sizes(V=9), "prime.*got: 9"), (Sizes(H=1, K=2), r"at least 3.*1 \* 2 = 2"), (Sizes(B=0, L=0), "B = 0, L = 0")],
)
def test_impossible_sizes_are_named(sizes, message):
    with pytest.raises(ConfigError, match=message):
        run_checks(sizes, "plain")


def test_an_unknown_engine_is_named():
    with pytest.raises(EngineError, match="abacus"):
        run_checks(Sizes(), "abacus")


# --- command line


def command(*arguments):
    from minigrok_cli.main import main

    return CliRunner().invoke(main, ["check", *arguments])


def test_the_command_prints_every_verdict():
    result = command("--engine", "plain", "--pairs", "3", "--blocks", "1")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert sum("  holds" in line for line in lines) > 50
    assert lines[-1].endswith("hold, 0 broken")
    rows = json.loads(command("--json").stdout)
    assert len(rows) == len(CASES) * len(LAWS)
    assert all(row["holds"] for row in rows)


def test_the_command_fails_when_a_law_is_broken(monkeypatch):
    break_gelu(monkeypatch)
    result = command("--engine", "plain")
    assert result.exit_code == 1
    assert "BROKEN" in result.stdout
    assert " 0 broken" not in result.stdout
    assert command("--classes", "9").exit_code == 2
    assert command("--engine", "abacus").exit_code == 3
