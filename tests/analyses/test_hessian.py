"""The Hessian over run folders: values against the dense matrix, resuming, the paper's protocol, bad cases."""

import dataclasses

import numpy as np
import pytest
from scipy import stats
from synthetic_runs import SMALL, make, rises, walk

from minigrok.analyses.base import Work
from minigrok.analyses.hessian import analysis as hessian
from minigrok.analyses.hessian import measure, paper
from minigrok.analyses.hessian.analysis import _manifold
from minigrok.analyses.hessian.result import PARTS
from minigrok.analyses.perform import perform, settings_for
from minigrok.analyses.results import csv_text
from minigrok.analyses.shared import curvature
from minigrok.config import preset, with_settings
from minigrok.errors import ConfigError, NonFiniteError, RunFolderError
from minigrok.network.params import initial

TINY = [*SMALL, "task.p=5", "model.width=4", "model.mlp_width=3"]
CONFIG = with_settings(preset("tiny"), TINY)
GRID = range(0, 501, 100)
QUICK = hessian.Settings(most=2, products=60, probes=4, draws=2)
PAPER = hessian.Settings(protocol="paper", most=4)
FILES = ("result.json", "arrays.npz", "table.csv", "figure.png")


@pytest.fixture
def run(tmp_path):
    return make(tmp_path / "a", [rises(13), rises(15)], settings=TINY, thetas=walk(CONFIG, GRID, size=0.1))


def compute(run, settings=QUICK):
    return hessian.compute([run], settings, Work())


def dense(run, step):
    at = curvature.Curvature(run).at(run.load_snapshot(step).astype(np.float64))
    return np.stack([at.hessian(e) for e in np.eye(run.layout.size)], axis=1)


def test_ends_trace_and_manifold_are_those_of_the_dense_hessian(run):
    point = compute(run).checkpoints[-1]
    H, true = dense(run, 500), np.linalg.eigvalsh(dense(run, 500))
    ends = {e.operator: e for e in point.ends}
    assert list(ends) == ["H", "G", "H - G", "H outside B"]
    for end, value in ((ends["H"].lowest, true[0]), (ends["H"].highest, true[-1])):
        assert abs(end.values[0] - value) <= end.residuals[0] + 1e-12
    B = curvature.dense(_manifold(run, QUICK))
    assert np.allclose(point.inside.values, np.linalg.eigvalsh(B.T @ H @ B), atol=1e-12)
    assert point.inside.random.shape == (2, 8)
    outside = curvature.project_out(B, curvature.project_out(B, H).T)
    last = ends["H outside B"]
    assert true[0] - 1e-12 <= last.lowest.values[0]
    assert last.lowest.values[0] >= np.linalg.eigvalsh(outside)[0] - 1e-12
    assert point.clock == pytest.approx(500 * 3e-3 * 1.0)


def test_traces_are_within_their_errors_of_the_diagonal(run):
    point = compute(run, dataclasses.replace(QUICK, parts=("traces",), probes=200)).checkpoints[-1]
    diagonal = np.diag(dense(run, 500))
    masks = [*curvature.groups(run.layout).values(), np.ones(run.layout.size, bool)]
    exact = np.array([diagonal[mask].sum() for mask in masks])
    scores = (point.traced.mean[0] - exact) / point.traced.error[0]
    assert np.abs(scores).max() < 4.5
    assert np.allclose(point.traced.mean[0], point.traced.mean[1:].sum(axis=0))  # H = G + (H - G)


def test_a_trace_has_the_interval_of_its_probes_and_one_probe_has_none(run):
    point = compute(run, dataclasses.replace(QUICK, parts=("traces",), probes=5)).checkpoints[-1]
    low, high = point.traced.ends
    assert np.allclose((high - low) / 2, stats.t.ppf(0.975, 4) * point.traced.error)
    rows = hessian.table(compute(run, dataclasses.replace(QUICK, parts=("traces",), probes=5)))
    row = next(row for row in rows if row["operator"] == "H" and row["step"] == 500)
    assert row["trace low"] < row["trace"] < row["trace high"]
    assert row["draws"] == 5
    (one,) = (
        r for r in hessian.table(compute(run, dataclasses.replace(QUICK, most=1, probes=1))) if r["operator"] == "H"
    )
    assert (one["trace low"], one["trace high"], one["draws"]) == (None, None, 1)


def test_the_table_says_how_much_of_the_density_is_resolved(run):
    rows = [row for row in hessian.table(compute(run)) if row["operator"].startswith("density")]
    assert [(row["operator"], row["products"]) for row in rows[:2]] == [
        ("density of H, start 1", 60),
        ("density of H, start 2", 20),
    ]
    assert all(0 <= row["resolved %"] <= 100 for row in rows)
    assert rows[0]["resolved %"] > rows[1]["resolved %"]
    everything = dataclasses.replace(QUICK, most=1, products=10_000, parts=("density",))
    (first, *_) = (row for row in hessian.table(compute(run, everything)) if row["operator"].startswith("density"))
    assert (first["resolved %"], first["says"]) == (pytest.approx(100), "resolved")


def test_residual_part_vanishes_with_the_residuals(tmp_path):
    """One train pair with a bias of 60 on its class: the loss is 0 to rounding, and so are G and H - G."""
    settings = [*TINY, 'task.operations=["add"]', "task.train_fraction=0.07"]
    run, theta = make(tmp_path / "m", [rises(3)], settings=settings), initial(with_settings(preset("tiny"), settings))
    data = curvature.pairs(run.config.task, run.config.seed)
    assert len(data.train) == 1
    bias = next(n for n in run.layout.names if n.startswith("heads") and n.endswith("bias"))
    size = []
    with run:
        for step, height in ((0, 0), (100, 60)):
            theta[run.layout.slices[bias]] = height * (np.arange(5) == data.targets[0, data.train[0]])
            run.save_snapshot(step, theta)
    for point in compute(run, dataclasses.replace(QUICK, parts=("split",))).checkpoints:
        assert [e.operator for e in point.ends] == ["H", "G", "H - G"]
        size.append([abs(float(e.highest.values[0])) for e in point.ends])
    assert min(size[0]) > 1e-3
    assert max(size[1]) < 1e-20


def test_table_says_what_has_not_converged(run):
    rows = hessian.table(compute(run, dataclasses.replace(QUICK, products=6)))
    H = [row for row in rows if row["operator"] == "H"]
    assert len(H) == 2
    assert all("not converged" in row["says"] and row["lowest converged"] is False for row in H)
    assert all(row["lowest residual"] > 0 and row["products"] == 6 for row in H)
    assert len({tuple(row) for row in rows}) == 1
    assert [row["operator"] for row in rows if row["step"] == 0][-5:] == [
        f"H in {name}" for name in ("embeddings", "L0 attention", "L0 MLP", "norms", "heads")
    ]


def test_each_task_alone(run):
    found = compute(run, dataclasses.replace(QUICK, parts=("tasks",), most=1))
    ends = {e.operator: e for e in found.checkpoints[0].ends}
    assert list(ends) == ["H", "H of add", "H of mul"]
    top = [ends[name].highest.values[0] for name in ends]
    assert top[0] <= top[1] + top[2] + 1e-12  # Weyl
    rows = {row["operator"]: row for row in hessian.table(found)}
    assert rows["H"]["loss"] == pytest.approx(rows["H of add"]["loss"] + rows["H of mul"]["loss"])


@pytest.mark.parametrize("settings", [QUICK, PAPER])
def test_twice_the_same_bytes(run, settings):
    both = []
    for _ in range(2):
        folder = perform(hessian.ANALYSIS, [run], settings).folder
        both.append([(folder / name).read_bytes() for name in FILES])
    assert both[0] == both[1]


def test_a_killed_sitting_goes_on(run, tmp_path, monkeypatch):
    class Killed(Exception):
        pass

    work, whole, traces = Work(0, tmp_path / "p", "k"), compute(run), measure.Site._traces
    asked = []

    def dies(self, at):
        asked.append(self.step)
        if asked == [0, 500]:
            raise Killed
        return traces(self, at)

    monkeypatch.setattr(measure.Site, "_traces", dies)
    with pytest.raises(Killed):
        hessian.compute([run], QUICK, work)
    monkeypatch.setattr(measure.Site, "_inside", lambda *_: pytest.fail("measured again"))
    again = hessian.compute([run], QUICK, work)
    assert asked == [0, 500, 500]
    assert csv_text(hessian.table(again)) == csv_text(hessian.table(whole))


def test_paper_protocol(run):
    found = compute(run, PAPER)
    assert found.modes == ["total", "add", "mul"]
    assert found.steps.tolist() == [0, 200, 400]  # checkpoints: 500 is none
    assert found.values.shape == found.residuals.shape == (3, 3, 5)
    assert found.sample == len(curvature.pairs(CONFIG.task, CONFIG.seed).train)  # fewer than 512
    assert (np.diff(found.values, axis=2) >= 0).all()
    true = np.linalg.eigvalsh(dense(run, 400))  # all train pairs: the sample is the whole here
    gap = np.abs(found.values[-1, 0][:, None] - true).min(axis=1)
    assert (gap <= found.residuals[-1, 0] + 1e-5).all()
    rows = hessian.table(found)
    assert len(rows) == 3 * 3
    assert all(0 <= row["converged of 5"] <= row["sign known of 5"] <= 5 for row in rows)


def test_paper_onset_is_the_first_of_three():
    steps = np.arange(6) * 100
    assert paper.onset(steps, np.array([0, -1, 0, -1, -1, -0.02])) == 300
    assert paper.onset(steps, np.array([0, -1, 0, -1, -1, -0.01])) is None
    assert paper.onset(steps[:2], np.array([-1.0, -1.0])) is None


def test_paper_lanczos_mistakes_the_order_where_25_products_cannot_resolve():
    """Bottom five at -1: 25 products beside large values return positive numbers for them; the residual knows."""
    values = np.r_[np.full(5, -1.0) - 0.01 * np.arange(5), np.zeros(1900), np.linspace(0, 300, 95)]
    d = np.random.default_rng(0).permutation(values)
    start = np.random.default_rng(1).standard_normal(d.size).astype(np.float32)
    found, vectors = paper.smallest_ritz(lambda v: (d * v).astype(np.float32), start)
    assert found[-1] > 1  # the true fifth is -1
    residuals = paper.true_residuals(lambda v: d * v, found, vectors)
    assert residuals[-1] > 0.1 * found[-1]
    assert (np.abs(found[:, None] - d).min(axis=1) <= residuals + 1e-3).all()


def test_cost_names_every_product_before_the_start(run):
    words = str(hessian.ANALYSIS.cost([run], QUICK))
    n = sum(part.products for part in measure.plan(QUICK, CONFIG.task.operations, 8))
    assert words.startswith(f"2 snapshots x {n} products x ")
    assert str(hessian.ANALYSIS.cost([run], PAPER)).startswith("3 snapshots x 90 products x ")


def test_progress_ends_at_the_planned_number(run):
    said = []
    hessian.compute([run], QUICK, Work(report=lambda done, of, words: said.append((done, of))))
    done, of = zip(*said, strict=True)
    assert done[-1] == of[-1]
    assert list(done) == sorted(done)


def test_run_without_snapshots_is_an_error(tmp_path):
    for settings in (QUICK, PAPER):
        with pytest.raises(RunFolderError, match=r"required: at least 1 snapshots.*got: 0 - do: train longer"):
            compute(make(tmp_path / settings.protocol, [rises(13), rises(15)]), settings)


@pytest.mark.parametrize("settings", [QUICK, PAPER])
def test_one_snapshot_and_one_task_and_never_memorised_say_what_is_missing(tmp_path, settings):
    one = [*TINY, 'task.operations=["sq"]']
    thetas = walk(with_settings(preset("tiny"), one), [0])
    run = make(tmp_path / "one", [rises(None)], [rises(None)], settings=one, thetas=thetas)
    path = run.folder / "metrics.csv"
    path.write_text(path.read_text() + "2100,0.")  # half-written by a killed process
    done = perform(hessian.ANALYSIS, [run], dataclasses.replace(settings, parts=PARTS))
    if settings is PAPER:
        assert done.result.modes == ["total"]
        return
    said = [row["says"] for row in done.rows if row["operator"] == "missing"]
    assert said == [
        "H of each task: there is one task, and H is its Hessian",
        "manifold: 8 directions; 1 snapshots span 0",
    ]
    assert done.result.checkpoints[0].inside is None


def test_diverged_run_is_an_error(tmp_path):
    theta = walk(CONFIG, [0])[0]
    theta[0] = np.nan
    run = make(tmp_path / "n", [rises(13), rises(15)], settings=TINY, thetas={0: theta})
    with pytest.raises(NonFiniteError, match=r"required: finite parameters.*do: the run had diverged"):
        compute(run)


def test_settings_out_of_range():
    for bad, words in [("tolerance=1.5", "tolerance"), ("values=0", "values"), ('parts=["trace"]', "did you mean")]:
        with pytest.raises(ConfigError, match=words):
            settings_for(hessian.ANALYSIS, "exact", [bad])
