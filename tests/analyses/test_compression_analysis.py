"""Compression, ablation and effective rank of runs whose answer is known by construction, against direct NumPy."""

import numpy as np
import pytest
from synthetic_runs import SMALL, make, walk

from minigrok.analyses import ablation, compression, effective_rank
from minigrok.analyses.base import Work
from minigrok.analyses.shared.curves import Network
from minigrok.analyses.shared.trajectories import attention_matrices
from minigrok.config import preset, with_settings
from minigrok.errors import ConfigError, RunFolderError
from minigrok.geometry import compression as maths
from minigrok.network.params import initial

CONFIG = with_settings(preset("tiny"), SMALL)
RANKS = (1, 2, 24)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    thetas = walk(CONFIG, range(0, 1100, 100), size=0.1)
    return make(tmp_path_factory.mktemp("runs") / "a", thetas=thetas, settings=["train.snapshot_every=200"])


def find(curves, study, reference):
    (found,) = [curve for curve in curves if (curve.study, curve.reference) == (study, reference)]
    return found


def test_whole_networks_are_the_final_one_whatever_the_reference(run):
    settings = compression.Settings(ranks=RANKS, repeats=1)
    curves = compression.compute([run], settings, Work()).curves
    network = Network(run, "exact")
    final = network.accuracies(network.final)
    studies = {*compression.STUDIES} - {"svd, all"}  # which is the paper's alone
    assert {(c.study, c.reference) for c in curves} == {(s, r) for s in studies for r in ("init", "zero")}
    for study, whole in (("svd", -1), ("random rank", -1), ("prune", -1), ("scale", 8)):
        for reference in ("init", "zero"):
            curve = find(curves, study, reference)
            assert curve.error[whole] == pytest.approx(0, abs=1e-12)
            assert np.array_equal(curve.test[whole], final[1])
            assert np.array_equal(curve.train[whole], final[0])
            assert np.array_equal(curve.noise[whole, 0], final[1])  # no error, no noise
            assert curve.error[0] > 0.1


def test_errors_against_direct_numpy(run):
    """What the paper does, in a few lines: from init, the last snapshot on the grid, float32."""
    settings = compression.Settings("paper", ranks=RANKS)
    result = compression.compute([run], settings, Work())
    assert result.step == 1000
    theta0, final = (run.load_snapshot(step).astype(np.float64) for step in (0, 1000))
    delta = final - theta0
    W0, W, D = (run.layout.views(x) for x in (theta0, final, delta))
    rank1 = {name: array.copy() for name, array in W.items()}
    for name, array in D.items():
        if array.ndim == 2 and array.size >= 128:
            U, s, Vt = np.linalg.svd(array)
            rank1[name] = W0[name] + s[0] * np.outer(U[:, 0], Vt[0])
    order = np.argsort(-np.abs(delta))
    tenth = theta0.copy()
    tenth[order[: round(0.1 * len(delta))]] = final[order[: round(0.1 * len(delta))]]
    heads = {name: W[name] if name.startswith("heads") else W0[name] for name in W}
    wanted = {
        ("svd", 1): run.layout.flat(rank1, np.float64),
        ("prune", 10.0): tenth,
        ("scale", 0.95): 0.95 * final + 0.05 * theta0,
        ("keep", "heads"): run.layout.flat(heads, np.float64),
    }
    network = Network(run, "paper")
    for (study, x), theta in wanted.items():
        curve = find(result.curves, study, "init")
        (i,) = np.flatnonzero(curve.x == x)
        assert curve.error[i] == pytest.approx(np.linalg.norm(theta - final) / np.linalg.norm(final))
        assert np.array_equal(curve.test[i], network.accuracies(theta)[1])
    assert not {"random rank", "noise"} & {curve.study for curve in result.curves}
    assert {curve.reference for curve in result.curves} == {"init"}


def test_scaling_the_network_is_not_scaling_its_change(run):
    curves = compression.compute([run], compression.Settings(parts=("scale",), scales=(0.95,)), Work()).curves
    change, itself = (find(curves, "scale", reference).error[0] for reference in ("init", "zero"))
    assert itself == pytest.approx(0.05)
    theta0, final = (run.load_snapshot(step).astype(np.float64) for step in (0, 1000))
    assert change == pytest.approx(0.05 * np.linalg.norm(final - theta0) / np.linalg.norm(final))


def test_noise_repeats_and_its_table_are_the_same_twice(run):
    settings = compression.Settings(parts=("noise", "prune"), keep=(50.0,), noises=(0.1,), repeats=3)
    first, second = (compression.table(compression.compute([run], settings, Work(seed=7))) for _ in range(2))
    assert first == second
    assert [row["x"] for row in first] == ["50.0", "50.0", "0.1", "0.1"]
    assert first[2]["error"] > 0


def test_ablation_against_direct_numpy(run):
    """figABL1 and figABL3: per-matrix centred PCs of W_t - W_0 over the attention log, of the last checkpoint."""
    result = ablation.compute([run], ablation.Settings("paper"), Work())
    T = np.array([run.load_snapshot(step) for step in range(0, 1001, 100)]).astype(np.float64)
    theta0, final = T[0], T[-1]
    kept, first, ks = final.copy(), final.copy(), 3
    for i, place in enumerate(attention_matrices(run).values()):
        X = T[:, place] - theta0[place]
        V = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)[2]
        kept[place] = theta0[place] + V[:1].T @ (V[:1] @ (final - theta0)[place])
        first[place] = theta0[place] + (V[:ks].T @ (V[:ks] @ (final - theta0)[place]) if i == 0 else 0)
    biases = run.layout.group(["*.self_attn.*bias"])
    assert (final[biases] != theta0[biases]).all()
    first[biases] = theta0[biases]  # figABL3 resets them, figABL1 does not
    size = np.linalg.norm(final)
    components = find(result.curves, "components", "init")
    assert components.error[0] == pytest.approx(np.linalg.norm(kept - final) / size)
    curve = find(result.curves, "first columns, rest final", "init")
    assert curve.error[ks - 1] == pytest.approx(np.linalg.norm(first - final) / size)
    assert list(components.x) == [*ablation.COMPONENTS, "init"]
    assert components.error[-1] == pytest.approx(np.linalg.norm(theta0 - final) / size)
    ks = {name: list(find(result.curves, name, "init").x) for name in ablation.STUDIES if "variance" not in name}
    assert ks["first columns, rest origin"] == [1, 2, 3, 4, 5, 6, 8, 10, 12, 16]
    assert ks["random, rest origin"] == [1, 2, 16]
    assert ks["random, rest final"] == [1, 2, 5, 16]


def test_the_papers_random_directions_are_of_all_that_is_ablated(run):
    """A projection on k of n random directions keeps about k / n of a change's square, and nothing outside them."""
    network = Network(run, "paper")
    delta, attention = network.final - network.init, run.layout.group(["*.self_attn.*"])
    for name, inside in (("random, rest origin", np.ones(len(delta), bool)), ("random, rest final", attention)):
        study = ablation.STUDIES[name]
        kept = ablation.kept_columns(network, study, [], "paper", np.random.default_rng(0))
        changed = ablation.changed_networks(network, "init", kept, ablation._reset(network, study, "paper"))
        V = np.array([column.vector for column in kept[16].columns])
        assert np.allclose(V @ V.T, np.eye(16), atol=1e-12)
        assert not V[:, ~inside].any()
        theta, n, size = changed[16](), inside.sum(), delta[inside] @ delta[inside]
        moved = (theta - network.init)[inside]
        assert np.allclose(moved, (V.T @ (V @ delta))[inside])
        assert moved @ moved / size == pytest.approx(16 / n, rel=0.75)
        assert np.array_equal(theta[~inside], (network.init if study.rest == "origin" else network.final)[~inside])


def test_svd_of_all_arrays_is_the_first_curve_again(run):
    """An array with one axis is a column, of rank 1; only matrices of fewer than 128 entries are cut in addition."""
    curves = compression.compute([run], compression.Settings("paper", ranks=(1, 2, 24)), Work()).curves
    svd, whole = (find(curves, study, "init") for study in ("svd", "svd, all"))
    small = [name for name, shape in run.layout.shapes.items() if len(shape) == 2 and np.prod(shape) < 128]
    assert small  # in this model; the paper's has none
    assert (whole.error[:2] > svd.error[:2]).all()
    assert whole.error[-1] == pytest.approx(0, abs=1e-12)
    network = Network(run, "paper")
    names = [name for name, shape in run.layout.shapes.items() if len(shape) == 2]
    delta = network.final - network.init
    theta = network.init + maths.truncated(delta, run.layout, 2, maths.factors(delta, run.layout, names))
    assert whole.error[1] == pytest.approx(np.linalg.norm(theta - network.final) / np.linalg.norm(network.final))


def test_keeping_and_removing_components_add_up(run):
    network = Network(run, "exact")
    columns = ablation.trajectory_columns(network, "init", network.steps)
    study = ablation.STUDIES["components"]
    kept = ablation.kept_columns(network, study, columns, "exact", np.random.default_rng(0))
    make_ = ablation.changed_networks(network, "init", kept, ablation._reset(network, study, "exact"))
    both = make_["PC 1"]() + make_["no PC 1"]()
    attention = np.concatenate([np.arange(p.start, p.stop) for p in attention_matrices(run).values()])
    assert both[attention] == pytest.approx((network.init + network.final)[attention])
    assert np.array_equal(make_["none"]()[attention], network.init[attention])


def test_the_column_order_artefact_is_named(run):
    result = ablation.compute([run], ablation.Settings("paper"), Work())
    notes = ablation.notes(result)
    assert notes["first columns, rest origin"] == "column-order artefact:\nthe first 16 are L0 WQ, L0 WK alone"
    rows = [row for row in ablation.table(result) if row["study"] == "first columns, rest origin"]
    assert rows[0]["matrices"] == "L0 WQ"
    network = Network(run, "exact")
    columns = ablation.trajectory_columns(network, "init", run.snapshots())
    by_variance = ablation.kept_columns(network, ablation.STUDIES["by variance, rest final"], columns, "exact", None)
    variances = [column.variance for column in by_variance[max(by_variance)].columns]
    assert variances == sorted(variances, reverse=True)


def test_effective_rank_of_a_change_of_rank_one(tmp_path):
    theta = initial(CONFIG).astype(np.float64)
    arrays = {name: array.copy() for name, array in make(tmp_path / "x").layout.views(theta).items()}
    for array in arrays.values():
        if array.ndim == 2:
            array += np.outer(np.arange(1.0, len(array) + 1), np.ones(array.shape[1]))
    run = make(tmp_path / "a")
    with run:
        run.save_snapshot(0, theta)
        run.save_snapshot(100, run.layout.flat(arrays, np.float64))
    result = effective_rank.compute([run], effective_rank.Settings(draws=3), Work())
    assert result.matrices
    for each in result.matrices:
        assert each.change == pytest.approx(np.ones(4), abs=1e-6)
        assert each.random[:, 0].min() > 1.2
    assert len(effective_rank.table(result)) == len(result.matrices)


def test_a_run_without_its_start_or_with_nothing_after_it_is_refused(tmp_path):
    thetas = walk(CONFIG, [0, 100])
    for name, chosen in (("start", {100: thetas[100]}), ("after", {0: thetas[0]})):
        run = make(tmp_path / name, thetas=chosen)
        for analysis in (compression, ablation, effective_rank):
            with pytest.raises(RunFolderError, match="step 0 and of a later one"):
                analysis.compute([run], analysis.Settings(), Work())


def test_attention_that_never_moves_has_nothing_to_ablate(tmp_path):
    run = make(tmp_path / "still", thetas={step: initial(CONFIG) for step in (0, 100, 200)})
    with pytest.raises(RunFolderError, match=r"attention weights of .* that move .* the same in all of 3 snapshots"):
        ablation.compute([run], ablation.Settings(), Work())


@pytest.mark.parametrize(
    "broken",
    [
        lambda: compression.Settings(parts=("svg",)),
        lambda: compression.Settings("paper", parts=("svd", "noise")),  # the paper has no such curve
        lambda: compression.Settings(ranks=()),
        lambda: compression.Settings(keep=(50.0, 101.0)),
        lambda: compression.Settings(repeats=-1),
        lambda: ablation.Settings(parts=("component",)),
        lambda: compression.Settings("paper", parts=("svd, linear",)),
        lambda: compression.Settings(parts=("svd, all",)),
        lambda: ablation.Settings("paper", parts=("by variance, rest final",)),
        lambda: ablation.Settings(parts=("random, rest origin",)),
        lambda: ablation.Settings(most=2),
        lambda: effective_rank.Settings(draws=0),
    ],
)
def test_settings_that_cannot_be_are_refused(broken):
    with pytest.raises(ConfigError):
        broken()
