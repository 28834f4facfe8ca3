"""Order of tasks on runs whose marks are known."""

import numpy as np
import pytest
from synthetic_runs import STEPS, make, rises

from minigrok.analyses import grok_order
from minigrok.analyses.base import Work
from minigrok.analyses.perform import perform
from minigrok.errors import RunFolderError
from minigrok.storage.milestones import milestones

Settings = grok_order.Settings


def order(runs, protocol="exact"):
    result = grok_order.compute(runs, Settings(protocol), Work())
    return result, {row["mark"]: row for row in grok_order.table(result)}


def pairs_of_jumps(folder, jumps):
    return [make(folder / str(i), [rises(a), rises(b)], settings=[f"seed={i}"]) for i, (a, b) in enumerate(jumps)]


def test_marks_of_a_slow_rise(tmp_path):
    climbing = np.linspace(0, 1, 21)  # .05 more at each evaluation
    result, _ = order([make(tmp_path / "a", [climbing, climbing[::-1]])])
    found = dict(zip(result.marks, result.runs[0].steps.tolist(), strict=True))
    assert [found[m][0] for m in ("0.50", "0.90", "0.95")] == [1000, 1800, 1900]
    assert found["memorised"] == [1, 1]
    assert found["0.99"] == [2000, 1]  # mul starts high and falls
    assert np.isnan(found["0.98 x 3"]).all()  # neither holds it for three evaluations


def test_streak_mark_is_the_grok_step_of_training(tmp_path):
    run = make(tmp_path / "a", [rises(7), rises(12)])
    result, _ = order([run])
    grokked = [m.grokked_at for m in milestones(run.config, run.metrics()).values()]
    assert result.runs[0].steps[-1].tolist() == grokked == [STEPS[9], STEPS[14]]


def test_counts_gaps_and_ties(tmp_path):
    """add first by 5, by 1; equal; mul first by 3; add alone; none."""
    jumps = [(5, 10), (5, 6), (8, 8), (9, 6), (5, None), (None, None)]
    _, rows = order(pairs_of_jumps(tmp_path, jumps))
    row = rows["0.90"]
    assert [row[k] for k in ("runs", "reached", "A first", "B first", "same")] == [6, 5, 3, 1, 1]
    assert [row[k] for k in ("gap", "least", "most")] == [-50, -500, 300]
    assert row["within 1"] == 0.5  # 1 and 0 of the four runs where both got there
    assert row["p"] == pytest.approx(10 / 16)  # 3 against 1, two-sided
    assert row["p resolved"] == pytest.approx(1)  # 2 against 1


@pytest.mark.parametrize(
    ("n", "says"),
    [
        (3, "3 untied cannot show an order: p >= 0.25"),
        (5, "5 untied cannot show an order: p >= 0.062"),
        (6, "mul first, 6 untied"),
    ],
)
def test_what_n_allows(tmp_path, n, says):
    _, rows = order(pairs_of_jumps(tmp_path, [(10, 5)] * n))
    assert rows["0.98 x 3"]["says"] == says
    assert rows["0.98 x 3"]["p"] == 2 ** (1 - n)


def test_a_mixed_order_is_not_shown(tmp_path):
    _, rows = order(pairs_of_jumps(tmp_path, [(10, 5)] * 5 + [(5, 10)] * 2))
    assert rows["0.50"]["says"] == "no order shown by 7 untied"


def test_three_tasks_make_three_pairs_and_conditions_stay_apart(tmp_path):
    three = make(tmp_path / "a", [rises(5), rises(6), rises(7)], settings=['task.operations=["add", "mul", "sq"]'])
    two = make(tmp_path / "b", [rises(5), rises(6)], settings=["optimiser.weight_decay=0"])
    result, _ = order([three, two])
    assert [(p.first, p.second) for p in result.pairs[::7]] == [
        ("add", "mul"),
        ("add", "sq"),
        ("mul", "sq"),
        ("add", "mul"),
    ]
    assert {p.condition for p in result.pairs} == {"add+mul+sq mod 7, wd 1", "add+mul mod 7, wd 0"}


def test_paper_protocol_has_the_grok_step_alone(tmp_path):
    _, rows = order([make(tmp_path / "a", [rises(5), rises(6)])], "paper")
    assert list(rows) == ["0.98 x 3"]


def test_one_task_has_no_order(tmp_path):
    run = make(tmp_path / "a", [rises(5)], settings=['task.operations=["add"]'])
    done = perform(grok_order.ANALYSIS, [run], Settings())
    assert done.rows[0]["says"] == "one task: no order"


def test_never_memorised_never_grokked(tmp_path):
    flat = np.full((2, 21), 0.1)
    done = perform(grok_order.ANALYSIS, [make(tmp_path / "a", flat, train=flat)], Settings())
    assert {row["reached"] for row in done.rows} == {0}
    assert {row["p"] for row in done.rows} == {None}


def test_no_evaluation_is_an_error(tmp_path):
    with pytest.raises(RunFolderError, match=r"required: a run with an evaluation.*got: none.*do: train longer"):
        order([make(tmp_path / "a")])


def test_half_a_line_of_metrics_is_left_out(tmp_path):
    run = make(tmp_path / "a", [rises(5), rises(6)])
    path = run.folder / "metrics.csv"
    whole = order([run])[0].runs[0].steps
    path.write_text(path.read_text() + "2100,0.5,0.")
    assert np.array_equal(order([run])[0].runs[0].steps, whole)


def test_twice_the_same_bytes(tmp_path):
    runs = pairs_of_jumps(tmp_path, [(5, 10), (5, None)])
    names = ["result.json", "arrays.npz", "table.csv", "figure.png"]
    both = []
    for _ in range(2):
        folder = perform(grok_order.ANALYSIS, runs, Settings()).folder
        both.append([(folder / name).read_bytes() for name in names])
    assert both[0] == both[1]


def test_repeats_of_one_seed_are_one_seed_and_are_named(tmp_path):
    """Six runs of seed 0, mul first in all: one observation, which shows no order."""
    runs = [make(tmp_path / str(i), [rises(9), rises(5)], settings=["seed=0"]) for i in range(6)]
    result, rows = order(runs)
    assert len(result.runs) == 1
    assert rows["0.98 x 3"]["says"] == "1 untied cannot show an order: p >= 1"
    assert sorted(result.left_out) == [str(i) for i in range(1, 6)]
    left = [row for row in grok_order.table(result) if row["mark"] == "left out"]
    assert left[0]["says"].startswith("a repeat of seed 0 in add+mul")
    assert len(left) == 5


@pytest.mark.parametrize("setting", ["optimiser.learning_rate=0.01", "model.mlp_width=12", "train.batch_size=12"])
def test_runs_of_another_setting_are_a_condition_of_their_own(tmp_path, setting):
    runs = [make(tmp_path / str(i), [rises(9), rises(5)], settings=[f"seed={i}"]) for i in range(3)]
    runs += [make(tmp_path / f"b{i}", [rises(9), rises(5)], settings=[f"seed={i}", setting]) for i in range(3)]
    result, _ = order(runs)
    conditions = list(dict.fromkeys(pair.condition for pair in result.pairs))
    key, _, value = setting.partition("=")
    assert len(conditions) == 2
    assert conditions[1].endswith(f"{key.partition('.')[2].replace('_', ' ')} {value}")
    assert {len(pair.gaps) for pair in result.pairs} == {3}
