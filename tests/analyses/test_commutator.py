"""The commutator over run folders: values against brackets, streams, nulls, resuming, bad cases."""

import dataclasses

import numpy as np
import pytest
from synthetic_runs import SMALL, make, rises, walk

from minigrok.analyses.base import Work
from minigrok.analyses.commutator import analysis as commutator
from minigrok.analyses.commutator import measure
from minigrok.analyses.commutator.analysis import CANNOT_FAIL
from minigrok.analyses.perform import perform, settings_for
from minigrok.analyses.results import csv_text
from minigrok.analyses.shared.probes import Probe, modes
from minigrok.config import preset, with_settings
from minigrok.errors import ConfigError, RunFolderError
from minigrok.geometry import brackets

CONFIG = with_settings(preset("tiny"), SMALL)
GRID = range(0, 501, 100)
QUICK = commutator.Settings(most=3, repeats=2, sweep=2, draws=100)
PAPER = dataclasses.replace(QUICK, protocol="paper")
FILES = ("result.json", "arrays.npz", "table.csv", "figure.png")


@pytest.fixture
def run(tmp_path):
    return make(tmp_path / "a", [rises(13), rises(15)], thetas=walk(CONFIG, GRID, size=0.05))


def compute(run, settings=QUICK, seed=0):
    return commutator.compute([run], settings, Work(seed))


def test_values_are_those_of_brackets_at_the_same_batches(run):
    found = compute(run)
    assert found.modes == ["total", "add, mul", "add, add", "mul, mul"]
    assert found.steps.tolist() == [0, 200, 500]
    rows = Probe(run, "float64").draw(Work(0).rng("commutator/200/0"))
    theta, mode = run.load_snapshot(200), modes(CONFIG.task.operations)[1]
    probe64, probe32 = Probe(run, "float64"), Probe(run, "float32")
    probe64.load(rows, mode)
    probe32.load(rows, mode)
    exact = brackets.bracket(probe64.a, probe64.b, theta.astype(np.float64))
    double = brackets.difference(probe64.a, probe64.b, theta.astype(np.float64))
    single = brackets.difference(probe32.a, probe32.b, theta.astype(np.float32))
    floor = brackets.rounding_floor(single.g_a, single.g_b, theta.astype(np.float32))
    expected = {
        "exact": brackets.defect(exact),
        "float64": brackets.defect(double, brackets.ETA),
        "float32": brackets.paper_defect(single),
        "floor": brackets.paper_defect(floor),
        "bracket": np.linalg.norm(exact.vector),
        "g_a": np.linalg.norm(exact.g_a),
        "g_b": np.linalg.norm(exact.g_b),
    }
    assert {name: found.values[name][1, 1, 0] for name in expected} == pytest.approx(expected, rel=1e-12)
    assert all(values.shape == (3, 4, 2) for values in found.values.values())


def test_table_always_has_bracket_and_gradients_and_floor_beside_d(run):
    rows = commutator.table(compute(run))
    assert len(rows) == 3 * 4
    for column in ("D exact", "q1", "q3", "D float64", "D float32", "floor", "error", "|bracket|", "|g_A|", "|g_B|"):
        assert all(np.isfinite(row[column]) for row in rows), column
    assert [row["/ total"] for row in rows[:3]] == [1, 1, 1]
    assert rows[4]["/ total"] == rows[4]["D exact"] / rows[1]["D exact"]
    assert all(row["q1"] <= row["D exact"] <= row["q3"] for row in rows)
    assert all(row["chance low"] < 1 < row["chance high"] for row in rows)
    assert {(row["draws"], row["covers"]) for row in rows} == {(100, 1 - 4 / 101)}


def test_sweep_has_slope_1_in_float64_and_rounding_at_small_eta_in_float32(run):
    found = compute(run)
    assert found.sweep["error"].shape == (2, 5)
    slopes = np.diff(np.log(found.sweep["error"][:, :4])) / np.diff(np.log(found.etas[:4]))
    assert np.abs(slopes - 1).max() < 0.05
    assert (np.ptp(found.sweep["exact"], axis=1) == 0).all()
    assert found.sweep["float32"][0, 0] > 3 * found.sweep["exact"][0, 0]  # eta = 1e-4: rounding, not curvature


def test_share_of_a_vector_that_ignores_the_basis_is_chance_and_of_one_inside_is_not(run):
    """A walk's basis is unrelated to the bracket: within the interval; the basis' own first column: far above."""
    found = compute(run, dataclasses.replace(QUICK, repeats=4, draws=400))
    v = {name: x[:, 0] for name, x in found.values.items()}
    inside = (v["run_share"] > v["run_low"]) & (v["run_share"] < v["run_high"])
    assert inside.mean() > 0.7
    whole = measure.Measurement(run, modes(CONFIG.task.operations), QUICK, Work()).whole
    block, place = whole.blocks[0]
    x = np.zeros(run.layout.size)
    x[place] = block[:, 0]
    chance = measure.against_chance(whole, x, 400, np.random.default_rng(0))
    assert chance.share == pytest.approx(1)
    assert chance.share > 1.5 * chance.high


def test_basis_of_the_past_does_not_know_the_future(run, tmp_path):
    """Other snapshots after step 200 change the basis of the run and leave that of the past, at step 200."""
    thetas = walk(CONFIG, GRID, size=0.05)
    thetas |= {step: theta for step, theta in walk(CONFIG, GRID, seed=9, size=0.05).items() if step > 200}
    other = make(tmp_path / "o", [rises(13), rises(15)], thetas=thetas)
    a, b = (compute(each).values for each in (run, other))
    assert np.array_equal(a["exact"][1], b["exact"][1])
    assert np.array_equal(a["past_share"][1], b["past_share"][1])
    assert not np.array_equal(a["run_share"][1], b["run_share"][1])


def test_paper_protocol(run):
    found = compute(run, PAPER)
    assert found.modes == ["total", "add, mul"]
    assert set(found.values) == {"float32", "floor", "g_a", "g_b", "cosine"}
    assert found.steps.tolist() == [0, 200, 400]  # checkpoints: 500 is none
    both = slice(2), slice(2)  # steps 0 and 200, total and add against mul, which both protocols measure
    assert np.allclose(found.values["float32"][both], compute(run).values["float32"][both], rtol=0)  # the same batches
    assert found.sweep == {}
    rho, inside = found.extra["rho"], found.extra["inside"]
    assert np.allclose(rho**2 + inside**2, 1)
    assert CANNOT_FAIL in found.notes
    rows = commutator.table(found)
    assert all(row["D median"] <= row["D p90"] for row in rows)
    assert commutator.Settings("paper").checkpoints(CONFIG) == 100
    three = with_settings(CONFIG, ['task.operations=["add", "mul", "sq"]'])
    assert commutator.Settings("paper").checkpoints(three) == 80
    assert commutator.Settings("paper", most=7).checkpoints(three) == 7
    assert commutator.Settings("paper").K == 9


def test_collapsed_loss_prints_0_in_float32_and_not_in_float64(tmp_path):
    """Slingshot: gradients below the spacing of float32 numbers. The zeros are kept, and the exact D goes on."""
    settings = ['task.operations=["add"]', "task.p=5"]
    config = with_settings(preset("tiny"), [*SMALL, *settings])
    run = make(tmp_path / "c", [rises(5)], settings=settings)
    theta = walk(config, [0])[0]
    heads = [n for n in run.layout.names if n.startswith("heads") and n.endswith("bias")]
    theta[run.layout.slices[heads[0]]] = [300, 0, 0, 0, 0]
    with run:
        run.save_snapshot(0, theta)
    probe = Probe(run, "float32")
    rows = np.repeat(np.flatnonzero(probe.targets[0] == 0)[:1], probe.batch_size)
    probe.load((rows, rows))
    c = brackets.difference(probe.a, probe.b, theta)
    assert brackets.paper_defect(c) == 0
    assert brackets.norm(c.g_a) == 0


@pytest.mark.parametrize("settings", [QUICK, PAPER])
def test_twice_the_same_bytes(run, settings):
    both = []
    for _ in range(2):
        folder = perform(commutator.ANALYSIS, [run], settings).folder
        both.append([(folder / name).read_bytes() for name in FILES])
    assert both[0] == both[1]


def test_another_seed_draws_other_batches(run):
    assert not np.array_equal(compute(run).values["exact"], compute(run, seed=1).values["exact"])


def test_a_killed_sitting_goes_on(run, tmp_path, monkeypatch):
    class Killed(Exception):
        pass

    work, whole, checkpoint = Work(0, tmp_path / "parts", "k"), compute(run), measure.Measurement.checkpoint
    asked = []

    def dies(self, step):
        if step == 500 and len(asked) < 3:
            asked.append(step)
            raise Killed
        asked.append(step)
        return checkpoint(self, step)

    monkeypatch.setattr(measure.Measurement, "checkpoint", dies)
    with pytest.raises(Killed):
        commutator.compute([run], QUICK, work)
    again = commutator.compute([run], QUICK, work)
    assert asked == [0, 200, 500, 500]
    assert csv_text(commutator.table(again)) == csv_text(commutator.table(whole))


def test_cost_counts_what_is_spent(run):
    words = str(commutator.ANALYSIS.cost([run], QUICK))
    assert words.startswith("136 gradients in float32, 120 in float64, 52 Hessian products: about")
    assert str(commutator.ANALYSIS.cost([run], PAPER)).startswith("72 gradients in float32, 24 in float64: about")


def test_run_without_snapshots_is_an_error(tmp_path):
    bare = make(tmp_path / "bare", [rises(13), rises(15)])
    with pytest.raises(RunFolderError, match=r"required: at least 1 snapshots.*got: 0 - do: train longer"):
        compute(bare)


@pytest.mark.parametrize("settings", [QUICK, PAPER])
def test_one_snapshot_has_d_and_no_shares_and_says_so(tmp_path, settings):
    run = make(tmp_path / "one", [rises(13), rises(15)], thetas=walk(CONFIG, [0]))
    done = perform(commutator.ANALYSIS, [run], settings)
    assert "no shares: the basis needs two snapshots that differ" in done.result.notes
    kind = "D median" if settings is PAPER else "D exact"
    assert all(row[kind] > 0 for row in done.rows)


@pytest.mark.parametrize("settings", [QUICK, PAPER])
def test_one_task_another_p_never_memorised_and_half_written_metrics(tmp_path, settings):
    other = ["task.p=5", 'task.operations=["sq"]']
    config = with_settings(preset("tiny"), [*SMALL, *other])
    run = make(tmp_path / "o", [rises(None)], [rises(None)], settings=other, thetas=walk(config, GRID))
    path = run.folder / "metrics.csv"
    path.write_text(path.read_text() + "2100,0.")
    done = perform(commutator.ANALYSIS, [run], settings)
    assert done.result.modes == ["total"]
    assert done.result.groks == {"sq": None}


def test_settings_out_of_range():
    for bad, words in [("draws=38", "draws"), ("repeats=-1", "repeats"), ("eta=0.0", "eta"), ("most=1.5", "most")]:
        with pytest.raises(ConfigError, match=words):
            settings_for(commutator.ANALYSIS, "exact", [bad])
