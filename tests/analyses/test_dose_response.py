"""Dose-response: censored runs, the baseline, repeats as the error bar, tests, on runs known by construction."""

import numpy as np
import pytest
from scipy import stats
from synthetic_runs import STEPS, make, rises

from minigrok.analyses.base import Work
from minigrok.analyses.dose_response import analysis as dose_response
from minigrok.analyses.dose_response.figure import figure
from minigrok.analyses.dose_response.runs import lives_of
from minigrok.errors import RunFolderError
from minigrok.network.params import initial
from minigrok.statistics.survival import log_rank, survival
from minigrok.training.interventions import TABLE

Settings = dose_response.Settings
BUDGET = ("train.max_steps=2000", "train.stop_when_grokked=false")


def run_of(folder, at, arm="none", dose=0.0, seed=1, repeat=0, defect=None, settings=()):
    """Run whose two tasks have full accuracy from row `at` on: they grok two rows later."""
    given = [f"seed={seed}", f"intervention.repeat={repeat}", *BUDGET]
    if arm != "none":
        given += [f"intervention.arm={arm}", f"intervention.dose={dose}", "intervention.source=x"]
    run = make(folder, [rises(at), rises(None if at is None else at - 2)], settings=[*given, *settings])
    if defect is not None:
        for step in STEPS:
            D = defect if step % 500 == 0 else np.nan
            run.append_metrics({"step": step, "grad_inside": 0.2, "update_inside": 0.4, "defect": D}, TABLE)
    run.close()
    return run


def scored(runs, **settings):
    return dose_response.compute(runs, Settings(draws=1000, **settings), Work())


@pytest.fixture
def runs(tmp_path):
    """Six seeds by baseline, deletion (twice as late) and scaling (as the baseline), seed 3 of deletion censored."""
    found = []
    for seed in range(1, 7):
        at = 5 + seed
        found.append(run_of(tmp_path / f"b{seed}", at, seed=seed, defect=2.0))
        late = None if seed == 3 else 2 * (at + 2) - 2
        found.append(run_of(tmp_path / f"d{seed}", late, "deletion", 0.5, seed, defect=6.0))
        found.append(run_of(tmp_path / f"s{seed}", at, "scaling", 0.5, seed, defect=2.0))
    return found


def test_groups_their_medians_and_ratios(runs):
    result = scored(runs)
    base, deletion, scaling = result.groups
    assert (base.arm, deletion.arm, scaling.arm) == ("baseline", "deletion", "scaling")
    assert base.lives[0].times.tolist() == [800, 600, 800]  # two rows after rows 6 and 4, 100 steps each
    assert scaling.ratio[:3] == (pytest.approx(1), "", 6)
    assert deletion.ratio.bound == ">"
    seen, happened = [1600, 1800, 2000, 2000, 2000, 2000], [True, True, False, False, False, False]
    assert [life.times[-1] for life in deletion.lives] == seen
    assert [bool(life.happened[-1]) for life in deletion.lives] == happened
    curve = survival(np.array(seen), np.array(happened))
    assert np.array_equal(deletion.curve.survival, curve.survival)
    assert deletion.medians[-1].value is None
    row = dose_response.table(result)[1]
    assert row["x baseline"].startswith(">1.9") or row["x baseline"].startswith(">1.8")
    assert "4 censored at 2,000: later, not never" in row["says"]
    assert "no repeats: no error bar" in row["says"]


def test_an_unused_row_is_compared_with_its_start_where_there_is_one(tmp_path):
    run = run_of(tmp_path / "a", 5)
    theta = initial(run.config)
    later = theta.copy()
    run.layout.views(later)["tok_emb.weight"][0] *= 0.25
    later[-1] += 1  # and another parameter, which must not count
    with run:
        run.save_snapshot(0, theta)
        run.save_snapshot(2000, later)
    other = run_of(tmp_path / "b", 5, settings=["task.exclude_zero=false", "seed=2"])
    with other:
        other.save_snapshot(0, initial(other.config))
        other.save_snapshot(2000, initial(other.config))
    kept = [life.measures["unused row kept"] for life in lives_of([run, other], 2000)]
    assert kept[0] == pytest.approx(0.25)
    assert np.isnan(kept[1])


def test_the_tests_are_log_rank_tests_against_baseline_and_deletion(runs):
    result = scored(runs)
    base, deletion, scaling = ([life for life in group.lives] for group in result.groups)

    def group(lives):
        return tuple(np.array([value(x) for x in lives]) for value in (end, lambda x: x.happened[-1], lambda x: x.seed))

    def end(life):
        return life.times[-1]

    stream = Work().rng("dose_response/deletion/0.5/baseline")
    assert result.groups[1].p_baseline == log_rank([group(deletion), group(base)], stream, 1000).p
    assert result.groups[1].p_baseline == pytest.approx(2 / 2**6, abs=0.02)  # six pairs, all of one sign
    assert np.isnan(result.groups[2].p_baseline)  # equal times: no exchange tells anything
    assert result.groups[2].p_deletion == pytest.approx(2 / 2**6, abs=0.02)
    assert np.isnan(result.groups[1].p_deletion)
    assert np.isnan(result.groups[0].p_baseline)
    assert all(np.isnan(group.p_baseline) for group in scored(runs, protocol="paper").groups)
    assert len(scaling) == 6


def test_five_seeds_in_both_arms_have_no_p(runs):
    """Five pairs of one sign are one of 2^4 cases: .06."""
    assert np.isnan(scored(runs[:15]).groups[1].p_baseline)


def test_repeats_of_two_seeds_have_no_p(tmp_path):
    """Arms of two seeds each, five repeats a seed: two against two, however different they are."""
    runs = [run_of(tmp_path / f"b{s}{r}", 5, seed=s, repeat=r) for s in (1, 2) for r in range(5)]
    runs += [run_of(tmp_path / f"d{s}{r}", 15, "deletion", 0.1, s, r) for s in (3, 4) for r in range(5)]
    assert np.isnan(scored(runs).groups[1].p_baseline)


def test_repeats_of_a_seed_do_not_shorten_the_interval_of_the_median(tmp_path):
    """Six seeds have an interval; two of five repeats have none, and the first repeat is their time."""
    runs = [run_of(tmp_path / f"b{s}", 5 + s, seed=s) for s in range(1, 7)]
    runs += [run_of(tmp_path / f"d{s}{r}", 10 + s + r, "deletion", 0.1, s, r) for r in range(5) for s in (1, 2)]
    base, deletion = dose_response.table(scored(runs[::-1]))
    assert (base["seeds"], base["low"], base["high"]) == (6, 800, 1300)
    assert (deletion["runs"], deletion["seeds"], deletion["low"], deletion["high"]) == (10, 2, None, None)
    assert deletion["grok"] == 1350


def test_the_ratio_is_over_seeds_and_a_run_of_a_seed_without_a_baseline_tells_nothing(tmp_path):
    """Seed 1: one run, 1600 over 800; seed 2: two runs, 400 over 800; seed 3 has no baseline."""
    runs = [run_of(tmp_path / f"b{s}", 6, seed=s) for s in (1, 2)]
    runs += [run_of(tmp_path / "b2-1", 6, seed=2, repeat=1), run_of(tmp_path / "b2-2", 7, seed=2, repeat=2)]
    runs += [run_of(tmp_path / "d1", 14, "deletion", 0.1, 1), run_of(tmp_path / "d3", 1, "deletion", 0.1, 3)]
    runs += [run_of(tmp_path / f"d2-{r}", 2, "deletion", 0.1, 2, r) for r in (0, 1)]
    group = scored(runs).groups[1]
    second = 400 / (800 * 800 * 900) ** (1 / 3)
    assert group.ratio.value == pytest.approx(np.sqrt(2 * second))
    assert group.ratio.seeds == 2
    assert group.ratio.scale == pytest.approx(np.sqrt(1 + 1 + 1 / 2 + 1 / 3) / 2)


def test_a_censored_baseline_makes_the_ratio_a_bound_from_above(tmp_path):
    runs = [run_of(tmp_path / "b", None, seed=1), run_of(tmp_path / "d", 8, "deletion", 0.1, 1)]
    group = scored(runs).groups[1]
    assert group.ratio[:2] == (pytest.approx(1000 / 2000), "<")
    assert dose_response.table(scored(runs))[1]["x baseline"] == "<0.50"
    runs += [run_of(tmp_path / "b2", 6, seed=2), run_of(tmp_path / "d2", None, "deletion", 0.1, 2)]
    assert np.isnan(scored(runs).groups[1].ratio.value)  # at most and at least: nothing


def test_measures_are_medians_of_the_log_and_d_is_relative_to_the_baseline_of_the_seed(runs):
    rows = dose_response.table(scored(runs))
    assert [row["D / baseline"] for row in rows] == pytest.approx([1, 3, 1])
    assert [row["update inside"] for row in rows] == pytest.approx([0.4] * 3)
    assert [row["train accuracy"] for row in rows] == [1, 1, 1]
    assert all(row["kick D after / before"] is None for row in rows)


def test_repeats_are_the_error_bar(tmp_path):
    """Two repeats at 800 and 1600 of one seed: s = ln 2 / sqrt 2, of one degree of freedom."""
    runs = [run_of(tmp_path / "b1", 6, repeat=1), run_of(tmp_path / "b2", 14, repeat=2)]
    runs.append(run_of(tmp_path / "d", 16, "deletion", 0.1))
    result = scored(runs)
    s = np.log(2) / np.sqrt(2)
    assert (result.repeat_sd, result.repeats_df) == (pytest.approx(s), 1)
    ratio = 1800 / np.sqrt(800 * 1600)
    group = result.groups[1]
    assert group.ratio.value == pytest.approx(ratio)
    assert group.t == pytest.approx(np.log(ratio) / (s * np.sqrt(1 + 1 / 2)))
    assert group.p_repeats == pytest.approx(2 * stats.t.sf(group.t, 1))
    assert "within repeats" in dose_response.table(result)[1]["says"]


def test_baselines_with_equal_bits_count_once_and_the_one_with_a_log_is_kept(tmp_path):
    runs = [run_of(tmp_path / "source", 6), run_of(tmp_path / "dose0", 6, "deletion", 0.0, defect=2.0)]
    runs += [run_of(tmp_path / "d", 16, "deletion", 0.1, defect=4.0)]
    for order in (runs, runs[::-1]):
        result = scored(order)
        assert [life.run for life in result.groups[0].lives] == ["dose0"]
        assert dose_response.table(result)[1]["D / baseline"] == pytest.approx(2)


def test_all_runs_are_cut_at_the_smallest_budget(tmp_path):
    short = ("train.max_steps=1000",)
    runs = [run_of(tmp_path / "b", 15), run_of(tmp_path / "d", 6, "deletion", 0.1, settings=short)]
    result = scored(runs)
    assert result.horizon == 1000
    base = result.groups[0].lives[0]
    assert (base.times.tolist(), base.happened.any(), base.last) == ([1000] * 3, False, 1000)


def test_settings_that_vary_make_arms_of_their_own(tmp_path):
    runs = [
        run_of(tmp_path / "a", 6, "deletion", 0.1),
        run_of(tmp_path / "b", 6, "deletion", 0.1, settings=["intervention.basis=random"]),
        run_of(tmp_path / "c", 6, "deletion", 0.1, settings=["intervention.start=50"]),
    ]
    arms = [group.arm for group in scored(runs).groups]
    assert arms == ["deletion, basis random, start 500", "deletion, start 50", "deletion, start 500"]


def test_runs_of_several_conditions_are_an_error(tmp_path):
    runs = [run_of(tmp_path / "a", 6), run_of(tmp_path / "b", 6, settings=["optimiser.weight_decay=0.1"])]
    with pytest.raises(RunFolderError, match=r"optimiser.weight_decay = .* in a and 0.1 in b"):
        scored(runs)


def test_the_figure_has_a_panel_a_task_and_marks_what_is_censored(runs):
    drawn = figure(scored(runs))
    assert len(drawn.axes) == 4
    titles = [axis.get_title() for axis in drawn.axes]
    assert titles[0].startswith("add")
    assert "Kaplan-Meier" in titles[2]
    hollow = [line for line in drawn.axes[0].lines if line.get_markerfacecolor() == "white" and len(line.get_xdata())]
    assert len(hollow) == 4  # the censored runs
    assert all(axis.get_xlabel() and axis.get_ylabel() for axis in drawn.axes)
