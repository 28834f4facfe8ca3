"""Groups of test pairs whose scores are known, and the other analyses' own numbers as sums over the groups."""

from types import SimpleNamespace

import numpy as np
import pytest
from synthetic_runs import SMALL, make, walk

from minigrok.analyses import compression
from minigrok.analyses.base import Work
from minigrok.analyses.orbits import analysis
from minigrok.analyses.orbits.result import GROUPS, Group, Line, Result, Settings
from minigrok.analyses.orbits.table import REACHES, interval, table
from minigrok.analyses.reconstruction import analysis as reconstruction
from minigrok.analyses.reconstruction.result import Settings as ReconstructionSettings
from minigrok.config import preset, with_settings
from minigrok.config.symmetries import group
from minigrok.orbits import orbits
from minigrok.storage.milestones import GROUPS as COLUMNS
from minigrok.storage.runs import create
from minigrok.tasks import pairs
from minigrok.training.train import train

FEW = [*SMALL, "train.max_steps=200", "train.snapshot_every=20", "train.eval_every=20"]


def grouped(task, seed):
    """Return the data, and the groups of each task."""
    data = pairs(task, seed)
    each = enumerate(task.operations)
    return data, [analysis.members_of(orbits(data.tokens, task.p, group([name])), k, data) for k, name in each]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    config = with_settings(preset("tiny"), [*FEW, 'task.operations=["add", "sq", "x3_xy"]', "task.p=11"])
    with create(tmp_path_factory.mktemp("runs") / "a", config) as run:
        train(run)
    return run


@pytest.fixture(scope="module")
def result(trained):
    return analysis.compute([trained], Settings(most=4, largest=6), Work())


def test_the_score_of_a_table_that_knows_every_train_pair_on_the_papers_split():
    """s1 + (1 - s1) / p, of what was counted on the paper's split."""
    task = preset("tri").task
    data, found = grouped(task, 42)
    correct = np.ones((3, len(data.train)), np.bool_)
    for members, s1 in zip(found, (0.494, 0.867, 0.992), strict=True):
        assert members["all"].lookup(correct, 1 / 97) == pytest.approx(s1 + (1 - s1) / 97, abs=5e-4)
        assert members["partner"].lookup(correct, 1 / 97) == pytest.approx(1, rel=1e-12)
        assert members["alone"].lookup(correct, 1 / 97) == pytest.approx(1 / 97)
        nothing = members["all"].lookup(np.zeros_like(correct), 1 / 97)
        assert nothing == pytest.approx((1 - members["partner"].n / 4608) / 97, rel=1e-12)


def test_the_lookup_table_copies_a_partner_at_random():
    """Its expected score, one test pair and one partner at a time."""
    task = with_settings(preset("tri"), ["task.p=11"]).task
    (data, found), rng = grouped(task, 5), np.random.default_rng(0)
    correct = rng.random((3, len(data.train))) < 0.6
    for k, name in enumerate(task.operations):
        orbit, scores = orbits(data.tokens, 11, group([name])), {}
        for test in data.test.tolist():
            partners = [i for i, row in enumerate(data.train) if orbit[row] == orbit[test]]
            scores[test] = np.mean(correct[k, partners]) if partners else None
        partner = [x for x in scores.values() if x is not None]
        assert found[k]["partner"].lookup(correct, 1 / 11) == pytest.approx(np.mean(partner))
        every = [1 / 11 if x is None else x for x in scores.values()]
        assert found[k]["all"].lookup(correct, 1 / 11) == pytest.approx(np.mean(every))


def test_a_planted_lookup_table_scores_as_predicted_and_another_network_does_not(trained):
    """A network that answers exactly the test pairs with a partner, and one that answers as many, but others."""
    network = analysis.Grouped(trained, "exact")
    task = trained.config.task
    data, found = grouped(task, trained.config.seed)
    known = np.stack([m["partner"].is_member if "partner" in m else m["alone"].is_member & False for m in found])
    every = np.ones((3, len(data.train)), np.bool_)
    for answers, is_table in ((known, True), (np.roll(known, 3, axis=1), False)):
        network.sets = [SimpleNamespace(scores=lambda a=a: SimpleNamespace(correct=a)) for a in (every, answers)]
        lookup, test = network.accuracies(network.final)
        guessed = np.array([each.guessed / each.n for each in network.members]) / task.p
        names = [each.name for each in network.groups]
        same = [name for name, x, y in zip(names, test, lookup - guessed, strict=True) if x == pytest.approx(y)]
        assert (same == names) == is_table
        assert np.array_equal(network.test_accuracy(network.final), test)


def test_groups_sum_to_the_other_analyses_own_numbers(trained, result):
    """Same functions, same names of random streams: the weighted mean of the groups is what each analysis measures."""
    own = compression.Settings(parts=("svd", "prune"), repeats=1)
    curves = compression.compute([trained], own, Work()).curves
    tracks = reconstruction.compute(
        [trained], ReconstructionSettings(parts=("uncentred", "decay removed"), largest=6), Work()
    ).tracks
    theirs = {f"{c.study}, of {c.reference}": (c.test, c.noise.mean(axis=1)) for c in curves}
    theirs |= {t.name: (t.test, None) for t in tracks}
    lines = {line.of: line for line in result.lines}
    for name, (test, noise) in theirs.items():
        for k, task in enumerate(result.tasks):
            columns = [g for x in ("partner", "alone") if (g := result.column(task, x)) is not None]
            n = np.array([result.groups[g].n for g in columns])
            every = lines[name].test[:, result.column(task, "all")]
            assert every == pytest.approx(test[:, k])
            assert lines[name].test[:, columns] @ n / n.sum() == pytest.approx(every)
            if noise is not None:
                assert lines[name].noise[:, result.column(task, "all")] == pytest.approx(noise[:, k])


def test_snapshots_agree_with_the_columns_of_training(trained, result):
    columns, (line, *_) = trained.metrics(), result.lines
    for task in result.tasks:
        for name, column in zip(GROUPS[1:], COLUMNS, strict=True):
            g = result.column(task, name)
            assert (g is None) == (f"{column}_{task}" not in columns)
            if g is not None:
                assert line.test[-1, g] == pytest.approx(columns[f"{column}_{task}"][-1], abs=0.05)  # float64 and 32


def test_table_says_what_stands_beside_what():
    x, test = np.arange(4.0), np.array([[0.0, 0, 0], [0.5, 0.8, 0.1], [0.9, 0.95, 0.8], [1, 1, 1]])
    nothing = np.full(test.shape, np.nan)
    groups = [Group("add", name, n, n // 2) for name, n in zip(GROUPS, (20, 20, 20), strict=True)]
    lines = [Line("training", "snapshots", x, test, test / 2, nothing)]
    made = Result("a", 3, 0.1, groups, {"add": 1.0}, lines, {})
    rows = {(row["at"], row["group"]): row for row in table(made)}
    assert [rows[at, "alone"]["x"] for at in ("memorised", "last", "widest gap", REACHES)] == [1, 3, 1, 3]
    assert [rows[REACHES, name]["x"] for name in GROUPS] == [2, 2, 3]
    assert (rows["widest gap", "partner"]["accuracy"], rows["widest gap", "partner"]["lookup"]) == (0.8, 0.4)
    low, high = interval(np.array(0.8), 10)
    assert (rows["widest gap", "partner"]["low"], rows["widest gap", "partner"]["high"]) == (low, high)
    assert low < 0.8 < high
    assert {row["noise"] for row in rows.values()} == {None}


def test_the_unit_of_an_interval_is_the_orbit():
    """36 pairs of sq without a partner are 6 orbits of the paper's split: what 0 of 36 would say, 0 of 6 does not."""
    data, found = grouped(preset("tri").task, 42)
    orbit = orbits(data.tokens, 97, group(["sq"]))
    alone = {*orbit[data.test].tolist()} - {*orbit[data.train].tolist()}
    assert (found[2]["alone"].n, found[2]["alone"].orbits) == (36, len(alone))
    assert found[2]["all"].orbits == found[2]["alone"].orbits + found[2]["partner"].orbits
    assert interval(np.array(0.0), len(alone))[1] > 0.4 > interval(np.array(0.0), 36)[1]


def test_a_group_that_never_gets_there_has_no_x(result):
    rows = [row for row in table(result) if row["of"] == "random directions" and row["at"] == REACHES]
    assert {(row["x"], row["accuracy"], row["low"]) for row in rows} == {(None, None, None)}
    assert not any(row["group"] == "partner" for row in table(result) if row["task"] == "x3_xy")
    assert result.column("x3_xy", "alone") is not None


def test_a_split_of_whole_orbits_has_no_partners(tmp_path):
    settings = ["task.split=orbits", "task.p=11"]
    config = with_settings(preset("tiny"), [*SMALL, *settings])
    run = make(tmp_path / "a", settings=settings, thetas=walk(config, range(0, 500, 100)))
    found = analysis.compute([run], Settings(parts=("training",), most=3), Work())
    assert {each.name for each in found.groups} == {"all", "alone"}
    lookup = found.lines[0].lookup
    assert lookup == pytest.approx(np.full(lookup.shape, 1 / 11))  # it knows nothing of the test pairs
    assert {row["at"] for row in table(found)} == {"last", REACHES}
    assert len(analysis.ANALYSIS.draw(found).axes) == 2


def test_parts_and_figure(trained, result):
    assert [line.part for line in result.lines] == ["training"] + ["compression"] * 4 + ["ablation"] * 2 + [
        "reconstruction"
    ] * 3
    assert len(analysis.ANALYSIS.draw(result).axes) == len(result.tasks) + len(result.lines) - 1
    paper = analysis.compute([trained], Settings("paper", parts=("compression",)), Work())
    assert [line.of for line in paper.lines] == ["svd, of init", "prune, of init"]


def test_accuracies_without_a_partner_are_those_of_their_group(trained, result):
    for line in result.lines:
        alone = result.alone[f"{line.part}, {line.of}"]
        for k, task in enumerate(trained.config.task.operations):
            i = result.column(task, "alone")
            assert np.isnan(alone[:, k]).all() if i is None else np.array_equal(alone[:, k], line.test[:, i])
