"""Series, events and the timing test of weight_spectra on run folders that are known by construction."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_runs import SMALL, STEPS, make, rises, walk

from minigrok.analyses.base import Work
from minigrok.analyses.perform import perform
from minigrok.analyses.weight_spectra import analysis as weight_spectra
from minigrok.analyses.weight_spectra.analysis import closeness, moving_average, padded_average
from minigrok.config import preset, with_settings
from minigrok.errors import ConfigError, RunFolderError
from minigrok.network.params import layout

Settings = weight_spectra.Settings
CONFIG = with_settings(preset("tiny"), [*SMALL, "model.blocks=2"])
GRID = range(0, 2001, 100)


@pytest.fixture
def run(tmp_path):
    thetas = walk(CONFIG, GRID, size=0.05)
    return make(tmp_path / "a", [rises(11), rises(13)], thetas=thetas, settings=["model.blocks=2"])


def result_of(run, **settings):
    return weight_spectra.compute([run], Settings(**{"draws": 5} | settings), Work())


def series(result):
    return {(each.layer, each.name): each for each in result.series}


def test_series_are_those_of_the_matrices(run):
    found = series(result_of(run))
    theta = run.load_snapshot(700)
    fused = run.layout.views(theta)["encoder.layers.1.self_attn.in_proj_weight"].astype(float)
    Q, K = fused[:8], fused[8:16]
    s = np.linalg.svd(Q, compute_uv=False)
    assert found[1, "W_Q s1 - s2"].values[7] == pytest.approx(s[0] - s[1])
    assert found[1, "W_Q s2 - s3"].values[7] == pytest.approx(s[1] - s[2])
    c = np.linalg.norm(Q @ K - K @ Q)
    assert found[1, "[W_Q, W_K]"].values[7] == pytest.approx(c)
    prediction = np.sqrt(2 / 8) * np.linalg.norm(Q) * np.linalg.norm(K)
    assert found[1, "[W_Q, W_K] normalised"].values[7] == pytest.approx(c / prediction)
    block = np.linalg.svd(K[4:, 4:], compute_uv=False)
    assert found[1, "head 1 W_K block s1 - s2"].values[7] == pytest.approx(block[0] - block[1])
    product = np.linalg.svd(Q[:4].T @ K[:4], compute_uv=False)
    assert found[1, "head 0 W_Q'W_K s1 - s2"].values[7] == pytest.approx(product[0] - product[1])


def test_both_layers_start_equal_and_part(run):
    found = series(result_of(run))
    a, b = found[0, "[W_Q, W_K]"].values, found[1, "[W_Q, W_K]"].values
    assert a[0] == b[0]
    assert (a[1:] != b[1:]).all()


def test_protocol_paper_is_layer_0_without_what_the_paper_lacks(run):
    result = result_of(run, protocol="paper")
    assert {each.layer for each in result.series} == {0}
    assert not [each.name for each in result.series if "normalised" in each.name or "'" in each.name]


def test_an_event_at_a_known_step(tmp_path):
    """W_Q and W_K grow up to step 1200 and shrink: the commutator peaks there, 100 steps before the first grok."""
    config = with_settings(preset("tiny"), SMALL)
    theta = walk(config, [0])[0].astype(np.float64)
    place = layout(config).slices["encoder.layers.0.self_attn.in_proj_weight"]
    thetas = {}
    for step in GRID:
        scale = 2 - abs(step - 1200) / 1200
        thetas[step] = theta.copy()
        thetas[step][place] *= scale
    found = series(result_of(make(tmp_path / "a", [rises(11), rises(13)], thetas=thetas)))
    event = found[0, "[W_Q, W_K]"].event
    assert (event.step, event.to_grok) == (1200, -100)
    assert event.near_grok == pytest.approx(3 / 18)  # 1200, 1300 and 1400, of the 18 from the fourth on
    flat = found[0, "[W_Q, W_K] normalised"].values
    assert np.allclose(flat, flat[0])  # only norms moved
    gap = found[0, "W_Q s1 - s2"]
    assert gap.at_peak == 1  # the gap is largest, not smallest, where the commutator peaks
    assert gap.event.to_peak == -900
    assert gap.over.step is None  # over its random value it does not vary: nothing but norms moved


def test_closeness_counts_the_snapshots():
    steps = np.arange(0, 1000, 100)
    assert closeness(steps, 5, 500) == (0, 1 / 7)
    assert closeness(steps, 3, 500) == (-200, 5 / 7)
    assert np.isnan(closeness(steps, 3, None)).all()


def test_a_place_in_time_is_called_no_p(run):
    """A gap that only falls is smallest at the end, next to a late grok: near, and no evidence of anything."""
    assert not [name for name in weight_spectra.table(result_of(run))[0] if name.startswith("p ")]
    for words in (weight_spectra.__doc__, weight_spectra.closeness.__doc__):
        assert "exact" not in words.lower().replace("protocol", "")
        assert "p =" not in words


def test_norms_alone_move_the_event_of_a_series_and_not_that_over_random(tmp_path):
    """Weights that decay, and a matrix that is there around step 900: its trace is seen over random values alone."""
    config, rng = with_settings(preset("tiny"), SMALL), np.random.default_rng(4)
    theta = walk(config, [0])[0].astype(np.float64)
    other = theta.std() * rng.standard_normal(theta.size)
    shape = {step: np.exp(-(((step - 900) / 200) ** 2)) for step in GRID}
    thetas = {step: 0.999**step * (theta + shape[step] * other) for step in GRID}
    each = series(result_of(make(tmp_path / "a", [rises(18), rises(18)], thetas=thetas)))[0, "W_Q s1 - s2"]
    assert each.event.step == 2000
    assert each.event.near_grok == pytest.approx(1 / 18)  # of a late grok
    assert abs(each.over.step - 900) <= 300


def test_moving_average_shrinks_at_the_ends():
    assert moving_average(np.array([1.0, 3, 8, 1])).tolist() == [2, 4, 4, 4.5]


@given(st.lists(st.floats(-100, 100), min_size=3, max_size=12))
def test_the_papers_average_keeps_constants_the_sum_and_the_middle(values):
    x = np.array(values)
    found = padded_average(x)
    assert found[1:-1] == pytest.approx(moving_average(x)[1:-1])
    assert found.sum() == pytest.approx(x.sum(), abs=1e-9)  # each end stands for its missing neighbour
    assert padded_average(np.full(len(x), x[0])) == pytest.approx(np.full(len(x), x[0]))
    assert padded_average(np.array([1.0, 3, 8, 1])) == pytest.approx([5 / 3, 4, 4, 10 / 3])


def test_the_papers_commutator_peaks_where_its_average_does(tmp_path):
    """One snapshot sticks out at step 600, and three in a row are nearly as large around 1500: the average is there."""
    config = with_settings(preset("tiny"), SMALL)
    theta = walk(config, [0])[0].astype(np.float64)
    place = layout(config).slices["encoder.layers.0.self_attn.in_proj_weight"]
    thetas = {step: theta.copy() for step in GRID}
    for step, scale in ((600, 2.0), (1400, 1.9), (1500, 1.9), (1600, 1.9)):
        thetas[step][place] *= scale
    run = make(tmp_path / "a", [rises(11), rises(13)], thetas=thetas)
    exact, paper = (series(result_of(run, protocol=protocol)) for protocol in ("exact", "paper"))
    events = [found[0, "[W_Q, W_K]"].event for found in (exact, paper)]
    assert [event.step for event in events] == [600, 1500]
    c = exact[0, "[W_Q, W_K]"].values
    assert events[1].value == pytest.approx(c[14:17].mean())
    assert paper[0, "W_Q s1 - s2"].event.to_peak == paper[0, "W_Q s1 - s2"].event.step - 1500


def test_random_matrices_follow_their_random_values(tmp_path):
    config = with_settings(preset("tiny"), ["task.p=7", "model.width=64", "model.heads=2", "model.mlp_width=8"])
    size, rng = layout(config).size, np.random.default_rng(0)
    thetas = {step: (1 + step / 1000) * rng.standard_normal(size) for step in GRID}
    run = make(tmp_path / "a", [rises(11), rises(13)], thetas=thetas, settings=["model.width=64"])
    for each in result_of(run, draws=20).series:
        ratio = np.mean(each.values[1:] / each.random[1:])
        assert ratio == pytest.approx(1, abs=0.02 if each.kind == "commutator" else 0.5), each.name


def test_never_grokked_has_no_distance(tmp_path):
    flat = np.full((2, 21), 0.1)
    run = make(tmp_path / "a", flat, train=flat, thetas=walk(CONFIG, GRID), settings=["model.blocks=2"])
    rows = weight_spectra.table(result_of(run))
    assert {row["to grok"] for row in rows} == {row["nearer %"] for row in rows} == {None}


def test_weights_that_never_move_have_no_event(tmp_path):
    theta = walk(CONFIG, [0])[0]
    thetas = {step: theta for step in GRID}
    run = make(tmp_path / "a", [rises(11), rises(13)], thetas=thetas, settings=["model.blocks=2"])
    rows = perform(weight_spectra.ANALYSIS, [run], Settings(draws=3)).rows
    assert {(row["event"], row["at step"], row["nearer %"], row["over random at step"]) for row in rows} == {
        (None,) * 4
    }


def test_layers_are_compared_at_their_own_peaks_and_norms_are_told_from_the_rest(tmp_path):
    """Layer 0 is three times as large and peaks at 600; W_Q of layer 1 commutes with itself as W_K from 1000 on."""
    theta, parts = walk(CONFIG, [0])[0].astype(np.float64), layout(CONFIG)
    thetas = {step: theta.copy() for step in GRID}
    for step in GRID:
        first, second = (parts.views(thetas[step])[f"encoder.layers.{i}.self_attn.in_proj_weight"] for i in range(2))
        first *= 3 if step == 600 else 1
        second *= 2 if step == 900 else 1
        second[8:16] = second[:8] if step >= 1000 else second[8:16]
    run = make(tmp_path / "a", [rises(11), rises(13)], thetas=thetas, settings=["model.blocks=2"])
    result = result_of(run, draws=60)
    found = series(result)
    raw, normalised = (found[0, f"[W_Q, W_K] over layer 1{words}"] for words in ("", " normalised"))
    assert (raw.event.value, raw.event.random) == pytest.approx((9 / 4, 9 / 4))  # 3 of both matrices, and 2
    assert (raw.event.step, normalised.event.step) == (None, None)
    assert normalised.values[:10] == pytest.approx(np.ones(10))  # the layers are equal but for their norms
    assert np.isinf(normalised.values[10:]).all()
    low, high = result.layers_band
    assert low < 1 < high
    rows = [row for row in weight_spectra.table(result) if row["kind"] == "layers"]
    assert [row["draws"] for row in rows] == [None, 60]


def test_few_random_matrices_have_no_band(run):
    assert np.isnan(result_of(run, draws=38).pair_band).all()
    assert np.isfinite(result_of(run, draws=39).pair_band).all()


@pytest.mark.parametrize("count", [0, 1, 4])
def test_too_few_snapshots(tmp_path, count):
    config = with_settings(preset("tiny"), SMALL)
    run = make(tmp_path / "a", [rises(11), rises(13)], thetas=walk(config, GRID[:count]))
    with pytest.raises(RunFolderError, match=rf"required: at least 5 snapshots .* got: {count} .* do: train longer"):
        result_of(run)


@pytest.mark.parametrize("wrong", [{"most": 1}, {"most": 3}, {"draws": 0}])
def test_settings_that_leave_nothing_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"weight_spectra.{next(iter(wrong))} "):
        Settings(**wrong)


def test_one_task_another_p_and_one_head(tmp_path):
    settings = ['task.operations=["mul"]', "task.p=11", "model.heads=1"]
    thetas = walk(with_settings(preset("tiny"), [*SMALL, *settings]), GRID)
    run = make(tmp_path / "a", [rises(11)], thetas=thetas, settings=settings)
    assert perform(weight_spectra.ANALYSIS, [run], Settings(draws=3)).rows[-1]["series"] == "head mul - start"


def test_a_killed_sitting_goes_on(run, tmp_path, monkeypatch):
    work = Work(folder=tmp_path / "parts", key="k")
    whole = weight_spectra.table(weight_spectra.compute([run], Settings(draws=3), work))
    (tmp_path / "parts" / f"spectra-{STEPS[4]:06d}.part").write_bytes(b"half")  # a damaged part counts as none
    read, load = [], type(run).load_snapshot
    monkeypatch.setattr(type(run), "load_snapshot", lambda self, step: read.append(step) or load(self, step))
    assert weight_spectra.table(weight_spectra.compute([run], Settings(draws=3), work)) == whole
    assert read == [0, STEPS[4]]


def test_twice_the_same_bytes(run):
    both = []
    for _ in range(2):
        folder = perform(weight_spectra.ANALYSIS, [run], Settings("paper", draws=3)).folder
        both.append([(folder / n).read_bytes() for n in ("result.json", "arrays.npz", "table.csv", "figure.png")])
    assert both[0] == both[1]
