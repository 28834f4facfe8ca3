"""Onset over run folders: events at known steps, controls, traces from elsewhere, bad cases."""

import json

import numpy as np
import pytest
from synthetic_runs import ROWS, SMALL, STEPS, make, rises, walk

from minigrok.analyses.base import Work, to_files
from minigrok.analyses.onset import analysis as onset
from minigrok.analyses.onset.analysis import FACTORS
from minigrok.analyses.perform import perform, settings_for
from minigrok.analyses.shared import defect as traces
from minigrok.analyses.shared.defect import Sampling
from minigrok.analyses.shared.probes import Probe
from minigrok.config import config_hash, preset, with_settings
from minigrok.errors import RunFolderError
from minigrok.geometry import brackets

Settings = onset.Settings
GRID = range(0, 2001, 100)
CONFIG = with_settings(preset("tiny"), SMALL)
JUMP = np.where(np.arange(21) < 8, 1.0, 100.0)  # D jumps at step 800


def give(run, D, protocol="exact", steps=None):
    """Leave a finished commutator analysis with this trace, and another mode beside it."""
    folder = run.folder / "analysis" / ("commutator" if protocol == "exact" else "commutator-paper")
    folder.mkdir(parents=True, exist_ok=True)
    values = np.stack([np.full(len(D), 7.0), D], axis=1)[:, :, None] * np.array([0.9, 1.0, 1.1])  # (N, M, K)
    kind, steps = "exact" if protocol == "exact" else "float32", np.array(steps or run.snapshots())
    result, arrays = to_files({"modes": ["add, mul", "total"], "steps": steps, "values": {kind: values}})
    head = {"runs": {"x": config_hash(run.config)}, "settings": {}, "result": result}
    (folder / "result.json").write_text(json.dumps(head))
    np.savez(folder / "arrays.npz", **arrays)
    return run


@pytest.fixture
def group(tmp_path):
    """Two runs that grok at 1500 and 1800 (first task), one with weight decay 0 that never does; all with the jump."""
    thetas = {step: walk(CONFIG, [0])[0] for step in GRID}
    made = [("a", [rises(13), rises(15)], ["seed=1"]), ("b", [rises(None), rises(16)], ["seed=2"])]
    made.append(("c", [rises(None), rises(None)], ["seed=1", "optimiser.weight_decay=0"]))
    return [give(make(tmp_path / n, test, settings=s, thetas=thetas), JUMP) for n, test, s in made]


def scores(runs, **settings):
    return onset.compute(runs, Settings(**settings), Work())


def test_events_of_a_run(tmp_path):
    train = [rises(3), rises(5)]
    loss = [np.where(np.arange(ROWS) < 9, 1.0, 0.05), np.where(np.arange(ROWS) < 4, 1.0, 0.05)]
    norm = np.linspace(50, 30, ROWS)
    thetas = {step: walk(CONFIG, [0])[0] for step in GRID}
    run = give(make(tmp_path / "a", [rises(13), rises(15)], train, loss, norm, thetas=thetas), JUMP)
    found = scores([run]).runs[0]
    steps = {name: each.step for name, each in found.onsets.items()}
    assert steps == {
        "v1": 800,
        "v2": 600,  # two values early
        "v2 past only": 800,
        "spike": 800,
        "memorised": STEPS[5],  # the later task
        "half norm": STEPS[10],
        "loss < 0.1": STEPS[9],
        "first sample": 500,
    }
    assert found.onsets["v2"].known_at == 800
    assert found.onsets["half norm"].known_at == 2000
    assert found.groks == {"0.98 x 3": STEPS[15], "first 0.90": STEPS[13]}  # add is first
    assert found.trace.source == "commutator, 21 checkpoints"


def test_norm_that_grows_has_its_half_way_upwards(tmp_path):
    thetas = {step: walk(CONFIG, [0])[0] for step in GRID}
    run = make(tmp_path / "a", [rises(13), rises(15)], norm=np.linspace(50, 90, ROWS), thetas=thetas)
    assert scores([give(run, JUMP)]).runs[0].onsets["half norm"].step == STEPS[10]


def test_scores_of_the_group(group):
    found = scores(group).scores["0.98 x 3"]
    spike, memorised = found["spike"], found["memorised"]
    assert (spike.runs, spike.before, spike.controls, spike.alarms) == (2, 2, 1, 1)  # the control has the jump too
    assert spike.lead == np.median([1500 - 800, 1800 - 800])
    assert (memorised.before, memorised.lead) == (2, np.median([1499, 1799]))
    assert spike.auc == memorised.auc == 0.5
    assert spike.expected == pytest.approx((1500 - 200) / 1800 + (1800 - 200) / 1800)
    assert (spike.common, spike.least) == (2, 1)  # 800 is before both groks, whichever is whose
    assert np.isnan(spike.p)


def test_table_has_an_event_a_row_and_says_when_n_is_too_small(group):
    rows = onset.table(scores(group))
    assert [row["event"] for row in rows[:9]] == [
        *("v1", "v2", "v2 past only", "spike", "memorised", "half norm", "loss < 0.1", "first sample", "random onset")
    ]
    assert {row["grok"] for row in rows} == {"0.98 x 3", "first 0.90"}
    assert {row["p rho"] for row in rows} == {"n too small", ""}
    assert {row["p exchange"] for row in rows} == {"no exchange differs", ""}
    assert not {"p chance", "p shifts"} & rows[0].keys()
    assert len({tuple(row) for row in rows}) == 1
    chance = next(row for row in rows if row["event"] == "random onset")
    assert chance["lead"] == np.median([t - (500 + 2000) / 2 for t in (1500, 1800)])


def test_family_is_a_curve_over_factor_and_floor(group):
    family = scores(group).families["0.98 x 3"]
    below, at = FACTORS.index(50.0), FACTORS.index(100.0)
    assert (family.before[: below + 1, :2] == 1).all()
    assert (family.alarms[: below + 1, :2] == 1).all()
    assert (family.before[at] == 0).all()  # D = 100 x the baseline is not above it
    assert (family.before[:, 2] == 0).all()  # nor above a floor of 100
    assert np.isnan(family.lead[at]).all()
    assert family.lead[0, 0] == 850


def test_only_controls_or_only_one_run(group):
    found = scores(group[2:]).scores["first 0.90"]["v2"]
    assert (found.runs, found.controls, found.alarms) == (0, 1, 1)
    assert onset.table(scores(group[2:]))[0]["lead"] is None
    assert scores(group[:1]).scores["first 0.90"]["v2"].before == 1


def test_a_detector_does_not_know_when_its_own_run_ended(tmp_path):
    """Runs that end at 1000 and 2000: onsets in common are those of both up to 1000, with one first sample."""
    thetas = {step: walk(CONFIG, [0])[0] for step in GRID}
    short, end = {step: thetas[step] for step in GRID if step <= 1000}, STEPS.index(1000) + 1
    a = give(make(tmp_path / "a", [rises(8, end)] * 2, settings=["seed=1"], thetas=short), JUMP[:11])
    b = give(make(tmp_path / "b", [rises(15)] * 2, settings=["seed=2"], thetas=thetas), JUMP)
    first, second = scores([a, b]).runs
    assert (first.common_step, second.common_step, second.last_step) == (1000, 1000, 2000)
    assert first.common == second.common
    assert first.onsets["first sample"] != second.onsets["first sample"]
    assert second.onsets["v1"] == second.common["v1"]  # the jump at 800 is seen by both
    rows = {row["event"]: row for row in onset.table(scores([a, b])) if row["grok"] == "0.98 x 3"}
    assert rows["first sample"]["p rho"] == "n too small"


def test_controls_do_not_shorten_what_is_in_common(tmp_path, group):
    never = make(
        tmp_path / "n",
        [rises(None, 3)] * 2,
        settings=["seed=3"],
        thetas={s: walk(CONFIG, [0])[0] for s in (0, 100, 200)},
    )
    found = scores([*group, give(never, JUMP[:3])]).runs
    assert [run.common_step for run in found] == [2000, 2000, 2000, 200]


def test_runs_that_differ_in_more_than_weight_decay_are_refused_by_name(tmp_path, group):
    other = ["task.p=5", 'task.operations=["sq"]']
    theta = walk(with_settings(preset("tiny"), [*SMALL, *other]), [0])[0]
    run = make(tmp_path / "other", [rises(10)], settings=other, thetas={step: theta for step in GRID})
    with pytest.raises(RunFolderError, match=r"differ in weight decay and seed alone.*task.p = 7 in a and 5 in other"):
        scores([*group, give(run, JUMP)])


def test_a_repeat_of_a_seed_is_named_and_no_further_run(tmp_path, group):
    thetas = {step: walk(CONFIG, [0])[0] for step in GRID}
    again = give(make(tmp_path / "again", [rises(14)] * 2, settings=["seed=1", "name=again"], thetas=thetas), JUMP)
    found = scores([*group, again])
    assert found.left_out == {"again": "a repeat of seed 1 in add+mul mod 7, wd 1"}
    assert found.scores["0.98 x 3"]["spike"].runs == 2
    assert onset.table(found)[:-1] == onset.table(scores(group))
    assert onset.table(found)[-1]["event"] == "left out: again"


def test_run_without_snapshots_is_left_out_and_alone_an_error(tmp_path, group):
    bare = make(tmp_path / "bare", [rises(13), rises(15)])
    assert scores([bare, group[0]]).left_out == {"bare": "fewer than three snapshots"}
    with pytest.raises(RunFolderError, match=r"required: a run with three snapshots - got: bare: 0 - do: train longer"):
        scores([bare])


def test_run_without_evaluations_is_an_error(tmp_path):
    with pytest.raises(RunFolderError, match="an evaluation"):
        scores([make(tmp_path / "a", thetas=walk(CONFIG, GRID))])


def test_half_written_metrics_and_commutator(group):
    whole = onset.table(scores(group))
    path = group[0].folder / "metrics.csv"
    path.write_text(path.read_text() + "2100,0.")
    assert onset.table(scores(group)) == whole
    (group[0].folder / "analysis" / "commutator" / "result.json").write_text('{"runs": {')
    with pytest.raises(RunFolderError, match=r"a result in .*a/analysis/commutator as minigrok wrote it - got: JSON"):
        scores(group)


def test_finished_traces_too_short_are_not_used_and_of_another_run_an_error(group):
    a, b, _ = group
    assert traces.finished(a, "exact").D.tolist() == JUMP.tolist()
    assert traces.finished(a, "paper") is None
    with b:
        b.save_snapshot(2100, walk(CONFIG, [0])[0])  # trained on since
    assert traces.finished(b, "exact") is None
    path = a.folder / "analysis" / "commutator" / "result.json"
    path.write_text(path.read_text().replace(config_hash(a.config), "0" * 64))
    with pytest.raises(RunFolderError, match=r"a result of a in .*a/analysis/commutator - got: one of another run"):
        traces.finished(a, "exact")


def test_the_papers_sampling_follows_the_number_of_tasks_unless_it_is_set(tmp_path):
    two, three = CONFIG, with_settings(CONFIG, ['task.operations=["add", "mul", "sq"]'])
    assert Settings("paper").sampling(two) == Sampling("paper", 120, 9)
    assert Settings("paper").sampling(three)[2] == 5
    assert Settings().sampling(two) == Settings().sampling(three) == Sampling("exact", 120, 5)
    assert Settings("paper", most=7, repeats=2).sampling(three) == Sampling("paper", 7, 2)
    for config, steps in ((two, range(0, 2001, 200)), (three, GRID)):  # three tasks: measured in training, every 100
        settings = [f"task.operations={list(config.task.operations)}".replace("'", '"')]
        thetas = {step: walk(config, [0])[0] for step in GRID}
        run = make(tmp_path / str(len(steps)), settings=settings, thetas=thetas)
        assert Settings("paper").sampling(config).steps(run) == list(steps)


def test_a_finished_trace_of_the_paper_stands_for_its_onset_only_where_it_is_the_same(group):
    run = group[0]
    wanted = Sampling("paper", 120, 3)
    give(run, JUMP[::2], "paper", range(0, 2001, 200))
    assert traces.usable(run, wanted).D.tolist() == JUMP[::2].tolist()
    assert traces.usable(run, wanted._replace(repeats=9)) is None  # of three pairs of batches, not of nine
    assert traces.usable(run, wanted._replace(most=5)) is None  # at other checkpoints
    assert traces.usable(run, Sampling("exact", 5, 9)).D.tolist() == JUMP.tolist()
    give(run, JUMP[:20:2], "paper", range(0, 2000, 200))
    assert traces.finished(run, "paper") is None  # does not reach the last checkpoint


@pytest.fixture
def measured_run(tmp_path):
    return make(tmp_path / "m", [rises(13), rises(15)], thetas=walk(CONFIG, GRID[:5], size=0.05))


@pytest.mark.parametrize("protocol", ["exact", "paper"])
def test_measured_trace_is_the_median_of_the_brackets(measured_run, protocol):
    found = traces.measured(measured_run, Work(), Sampling(protocol, 3, 3))
    assert found.steps.tolist() == [0, 200, 400]
    dtype = "float32" if protocol == "paper" else "float64"
    probe, own = Probe(measured_run, dtype), Work(measured_run.config.seed).rng("defect/200")
    theta, values = measured_run.load_snapshot(200).astype(dtype), []
    for _ in range(3):
        probe.load(probe.draw(own))
        if protocol == "paper":
            values.append(brackets.paper_defect(brackets.difference(probe.a, probe.b, theta)))
        else:
            values.append(brackets.defect(brackets.bracket(probe.a, probe.b, theta)))
    assert found.D[1] == np.median(values)


def test_trace_does_not_depend_on_the_runs_beside_it(measured_run, tmp_path):
    other = make(tmp_path / "o", [rises(13), rises(15)], thetas=walk(CONFIG, GRID[:5]), settings=["seed=5"])
    a = onset.compute([measured_run], Settings(repeats=1, most=3), Work(measured_run.config.seed))
    b = onset.compute([other, measured_run], Settings(repeats=1, most=3), Work(5))
    assert np.array_equal(a.runs[0].trace.D, b.runs[1].trace.D)


def test_a_killed_sitting_goes_on(measured_run, tmp_path, monkeypatch):
    work = Work(folder=tmp_path / "parts", key="k")
    settings = Settings(repeats=1, most=3)
    whole = onset.table(onset.compute([measured_run], settings, work))
    monkeypatch.setattr(traces, "Probe", lambda *_: pytest.fail("measured again"))
    assert onset.table(onset.compute([measured_run], settings, work)) == whole


def test_fresh_measures_although_a_trace_is_there(measured_run):
    give(measured_run, np.ones(5))
    settings = settings_for(onset.ANALYSIS, "exact", ["fresh=true", "most=3", "repeats=1"])
    assert onset.compute([measured_run], settings, Work()).runs[0].trace.source.startswith("measured, 3")
    assert onset.ANALYSIS.cost([measured_run], Settings()).words == "D of every run is there already"
    assert str(onset.ANALYSIS.cost([measured_run], settings)).startswith("3 pairs of batches in 1 of 1 runs: about")


def test_twice_the_same_bytes(group):
    both = []
    for _ in range(2):
        folder = perform(onset.ANALYSIS, group, Settings()).folder
        both.append([(folder / n).read_bytes() for n in ("result.json", "arrays.npz", "table.csv", "figure.png")])
    assert both[0] == both[1]
