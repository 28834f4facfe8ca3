"""Lines between networks whose relation is known: the same, the same with its units permuted, and others."""

import numpy as np
import pytest
from synthetic_runs import SMALL, make, rises, walk

from minigrok.analyses import connectivity
from minigrok.analyses.base import Work
from minigrok.analyses.connectivity import ALL, AS_IS, MATCHINGS, REPEAT, RUN, SEED, SOME, Settings, barrier
from minigrok.config import preset, with_settings
from minigrok.errors import ConfigError, RunFolderError
from minigrok.geometry.matching import permuted
from minigrok.tasks import pairs

WIDE = ["task.p=11", "model.width=24", "model.mlp_width=16", "model.heads=3"]
CONFIG = with_settings(preset("tiny"), [*SMALL, *WIDE])
COUNTS = {"residual": 24, "heads": 3, "hidden": 16}


def run_of(folder, theta, *settings, start=None):
    thetas = {0: walk(CONFIG, [0])[0] if start is None else start, 100: theta}
    return make(folder, [rises(1, 2)] * 2, settings=[*WIDE, *settings], thetas=thetas)


def gaussian(seed):
    return np.random.default_rng(seed).standard_normal(walk(CONFIG, [0])[0].size).astype(np.float32)


def shuffled(theta, layout, groups):
    rng = np.random.default_rng(3)
    for group in groups:
        theta = permuted(theta, layout, group, rng.permutation(COUNTS[group]))
    return theta


def computed(runs, **settings):
    result = connectivity.compute(runs, Settings(**{"points": 5, "draws": 2} | settings), Work())
    return result, connectivity.table(result)


def test_a_barrier_is_above_the_line_between_the_ends():
    s = np.linspace(0, 1, 21)
    assert barrier(s, 3 - 2 * s) == pytest.approx(0, abs=1e-12)
    assert barrier(s, (s - 0.3) ** 2) == pytest.approx(0, abs=1e-12)  # a valley is none
    assert barrier(s, 3 - 2 * s + 4 * s * (1 - s)) == pytest.approx(1)
    both = barrier(s, np.stack([s, 4 * s * (1 - s)], axis=1))
    assert both == pytest.approx([0, 1], abs=1e-12)


def test_between_equal_networks_nothing_changes(tmp_path):
    theta = gaussian(1)
    runs = [run_of(tmp_path / name, theta, f"intervention.repeat={n}") for n, name in enumerate("ab")]
    result, rows = computed(runs)
    lines = [line for line in result.lines if line.kind == REPEAT]
    assert [line.matched for line in lines] == list(MATCHINGS)
    for line in lines:
        assert np.ptp(line.loss, axis=1).max() < 1e-10
        assert line.cosine == pytest.approx(1)
    assert {row["repeats"] for row in rows} == {0}


def test_a_seed_with_the_units_of_another_is_connected_once_it_is_matched(tmp_path):
    """The planted oracle: two seeds that learnt one network, in other units."""
    theta = gaussian(1)
    first = run_of(tmp_path / "a", theta)
    for groups, found in ((("heads", "hidden"), (SOME, ALL)), (COUNTS, (ALL,))):
        other = shuffled(theta, first.layout, groups)
        runs = [first, run_of(tmp_path / f"b{len(groups)}", other, "seed=7")]
        lines = {line.matched: line for line in computed(runs)[0].lines if line.kind == SEED}
        for how, line in lines.items():
            loss = line.loss[1].mean(axis=1)
            assert (line.cosine > 0.999) == (how in found)
            assert (np.ptp(loss) < 1e-5) == (how in found)
            assert loss[0] == pytest.approx(loss[-1])  # the ends compute the same, however b is written


def test_other_networks_are_told_from_repeats_and_matched_noise_is_their_null(tmp_path):
    theta = gaussian(1)
    near = theta + 1e-3 * gaussian(2)
    runs = [
        run_of(tmp_path / "a", theta),
        run_of(tmp_path / "b", near, "intervention.repeat=1"),
        run_of(tmp_path / "c", gaussian(4), "seed=7"),
    ]
    result, rows = computed(runs)
    assert [row["kind"] for row in rows] == [RUN] * 3 + [REPEAT] * 3 + [SEED] * 3
    assert {row["repeat lines"] for row in rows} == {1}
    by = {(line.kind, line.matched): line for line in result.lines[3:]}
    for how in MATCHINGS:
        assert by[REPEAT, how].cosine > 0.99
        assert by[SEED, how].cosine < 0.5
    assert np.isnan(by[SEED, AS_IS].noise)
    for how in (SOME, ALL):  # the other seed is as noise is
        assert by[SEED, how].noise > 0.01
        assert by[SEED, how].cosine == pytest.approx(by[SEED, how].noise, abs=0.06)


def test_pairs_are_those_that_both_were_trained_on_or_neither_saw(tmp_path):
    runs = [run_of(tmp_path / name, gaussian(1), f"seed={seed}") for name, seed in (("a", 1), ("b", 2))]
    walker = connectivity.Walker(*runs, "exact")
    first, second = (pairs(run.config.task, run.config.seed) for run in runs)
    both = [set(first.train) & set(second.train), set(first.test) & set(second.test)]
    assert [each.targets.shape[1] for each in walker.sets] == [len(each) for each in both]
    direct = connectivity.evaluation(walker.net, *first.of(sorted(both[1])))
    _, accuracy = walker.scores(gaussian(1))
    assert np.array_equal(accuracy[1], direct.scores().accuracy)


def test_lines_along_a_run_end_at_its_end(tmp_path):
    thetas = walk(CONFIG, range(0, 1000, 100), size=0.3)
    run = make(tmp_path / "a", [rises(5)] * 2, settings=WIDE, thetas=thetas)
    result, _ = computed([run], most=4)
    assert [line.first for line in result.lines] == ["a 0", "a 300", "a 600"]
    assert {line.second for line in result.lines} == {"a 900"}
    walker = connectivity.Walker(run, run, "exact")
    assert result.lines[1].loss[:, 2] == pytest.approx(walker.scores((thetas[300] + thetas[900]) / 2)[0], rel=1e-6)
    distances = [line.distance for line in result.lines]
    assert distances == sorted(distances, reverse=True)


def test_runs_of_two_conditions_are_refused(tmp_path):
    runs = [run_of(tmp_path / name, gaussian(1), *more) for name, more in (("a", []), ("b", ["train.batch_size=64"]))]
    with pytest.raises(RunFolderError, match="differ in repeat and seed alone"):
        computed(runs)


def test_splits_without_a_common_pair_are_refused(tmp_path):
    few = ["task.p=5", "task.train_fraction=0.1"]
    config = with_settings(preset("tiny"), [*SMALL, *few])
    runs = []
    for seed in range(6):
        thetas = walk(config, [0, 100])
        runs.append(make(tmp_path / str(seed), settings=[*few, f"seed={seed}"], thetas=thetas))
    with pytest.raises(RunFolderError, match="both trained on"):
        computed(runs)


@pytest.mark.parametrize("wrong", [{"most": 1}, {"points": 2}, {"draws": 0}])
def test_settings_that_leave_nothing_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"connectivity.{next(iter(wrong))} "):
        Settings(**wrong)


def test_the_figure_has_two_panels_a_kind(tmp_path):
    runs = [run_of(tmp_path / name, gaussian(n), f"seed={n}") for n, name in enumerate("ab")]
    drawn = connectivity.figure(computed(runs)[0])
    assert [axis.get_title() for axis in drawn.axes] == ["snapshots to the end, 2 lines"] * 2 + ["seeds, 1 line"] * 2
