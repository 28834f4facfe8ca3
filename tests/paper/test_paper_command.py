"""`minigrok figure`, `table` and `figures`: pictures by number, errors that say which runs are needed."""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from minigrok_cli.main import main
from paper_runs import make

from minigrok.experiments.sweep_file import load_sweep
from minigrok.paper.conditions import chosen, command, condition, unlike
from minigrok.paper.entries import load
from minigrok.paper.figure import _apart

REGISTRY = load()


def minigrok(*words, code=0):
    done = CliRunner().invoke(main, [*map(str, words)])
    assert done.exit_code == code, done.output
    return done


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    top = tmp_path_factory.mktemp("runs")
    return [
        make(top / "one", (1500, 1200)),
        make(top / "two", (1700, 1300), seed=137),
        make(top / "half", (None, 1900), decay=0.5),
        make(top / "zero", (None, None), decay=0.0),
    ]


def test_a_figure_is_drawn_with_its_points_and_a_caption(runs, tmp_path):
    done = minigrok("figure", "1a", *(run.folder for run in runs), "--out", tmp_path, "--json")
    made = json.loads(done.stdout)
    assert {path.name for path in tmp_path.iterdir()} == {"1a.png", "1a.svg", "1a.csv"}
    assert "dual wd 1: seed 42 (n = 1 run). The paper's procedure" in made["caption"]
    assert "task.p 7, not 97" in made["caption"]
    with (tmp_path / "1a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["run"] for row in rows} == {"one"}  # one run of the paper's seed
    assert {row["part"] for row in rows} == {"add", "mul"}
    assert "grok mul" in (tmp_path / "1a.svg").read_text()


@pytest.mark.slow
def test_points_say_what_was_not_reached(runs, tmp_path):
    minigrok("figure", "11", *(run.folder for run in runs), "--out", tmp_path)
    text = (tmp_path / "11.svg").read_text()
    assert "not reached" in text
    assert "No run of dual wd 0.3" in " ".join(text.split())


def test_a_table_has_the_paper_s_number_ours_and_the_difference(runs, tmp_path):
    done = minigrok("table", "1", *(run.folder for run in runs), "--out", tmp_path, "--json")
    rows = {(row["row"], row["column"]): row for row in json.loads(done.stdout)["rows"]}
    add = rows["dual wd 1", "add"]
    assert add["paper"] == "13,333 (2620)" or add["paper"] == "13,333 (2,620)"
    assert add["here"] == "1,600 (141.4)"
    assert add["difference"] == pytest.approx(1600 - 13333)
    assert add["n"] == 2
    assert rows["dual wd 1", "gap"]["here"] == "350 (70.71)"
    assert rows["dual wd 0", "add"]["paper"] == rows["dual wd 0", "add"]["here"] == "not reached"
    assert rows["dual wd 0.1", "mul"]["n"] == 0
    assert (tmp_path / "table-1.csv").exists()


def test_an_error_says_which_runs_and_the_command_that_makes_them(runs, tmp_path):
    done = minigrok("figure", "1b", runs[0].folder, "--out", tmp_path / "out", code=2)
    assert "tri wd 1; seed 42" in done.stderr
    assert "minigrok sweep paper-tri --only 'tri-wd1-s42'" in done.stderr
    assert not (tmp_path / "out").exists()
    assert "each of tri wd 1; tri wd 0" in minigrok("figure", "4", runs[0].folder, code=2).stderr
    assert "no run" in minigrok("table", "4", code=2).stderr


def test_all_are_listed():
    rows = json.loads(minigrok("figures", "--json").stdout)
    assert {row["kind"] for row in rows} == {"figure", "table"}
    assert "34-caption" in minigrok("figures").stdout


def test_conditions_are_named_after_tasks_decay_and_intervention(runs, tmp_path):
    assert [condition(run.config) for run in runs] == ["dual wd 1", "dual wd 1", "dual wd 0.5", "dual wd 0"]
    arm = {"intervention.arm": "deletion", "intervention.dose": 0.05, "intervention.source": "one"}
    other = make(tmp_path / "arm", (1500, 1200), **arm)
    assert condition(other.config) == "dual wd 1, deletion 5 %"
    repeat = make(tmp_path / "again", (900, 900), **{"intervention.repeat": 1})
    members, lacking = chosen(REGISTRY.entry("table", "10"), [repeat, *runs, other], False)
    assert [member.label for member in members] == ["dual wd 1, seed 42", "dual wd 1, deletion 5 %, seed 42"]
    assert "dual wd 1, deletion 10 %" in lacking
    assert "task.p 7" in unlike(members[0])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("dual wd 0.3", "sweep paper-dual --only 'dual-wd0.3-s42'"),
        ("sq wd 0", "sweep companion-operations --only 'single-x2_y2-wd0-s42'"),
        ("tri wd 1, deletion 5 %", "sweep intervention-tri-fine"),
        ("dual wd 1, deletion 5 %", "sweep intervention-dual"),
        ("dual wd 1, random 25 %", "sweep intervention-attention"),
    ],
)
def test_the_command_names_a_sweep_that_has_such_runs(name, words):
    assert command([name], (42,)) == f"minigrok {words}"
    sweep = load_sweep(words.split()[1])
    assert name in {condition(config) for config in sweep.configs}
    if "--only" in words:
        assert words.split("'")[1] in {config.name for config in sweep.configs}


@settings(max_examples=30)
@given(st.dictionaries(st.text("abc", min_size=1), st.floats(-3, 3), max_size=8))
def test_names_keep_their_order_and_their_distance(heights):
    found = _apart(heights)
    order = sorted(heights, key=lambda name: heights[name])
    assert sorted(found, key=lambda name: (found[name], order.index(name))) == order
    assert all(gap >= 0.08 - 1e-9 for gap in np.diff([found[name] for name in order]))


@pytest.mark.slow
@pytest.mark.parametrize("exact", [(), ("--exact",)])
def test_figures_of_snapshots(exact, tmp_path):
    every = {"snapshots": range(0, 2100, 100)}
    two = [make(tmp_path / name, decay=decay, **every).folder for name, decay in (("one", 1.0), ("half", 0.5))]
    three = [make(tmp_path / "three", (1500, 1200, 1400), **every).folder]
    for number, runs in {"19": three, "24a": two, "figSNAP": two, "33a": two, "34": two}.items():
        minigrok("figure", number, *runs, "--out", tmp_path / "out", *exact)
    rows = json.loads(minigrok("table", "15", tmp_path / "one", "--out", tmp_path, *exact, "--json").stdout)["rows"]
    assert any(row["n"] and row["row"] == "dual wd 1, k 3" for row in rows)
