"""The phase diagram of runs with known grok times: laws come back, censored runs are seen, mixtures are refused."""

import json

import numpy as np
import pytest
from synthetic_runs import SMALL, make, walk

from minigrok.analyses.base import Work
from minigrok.analyses.perform import perform
from minigrok.analyses.phase import analysis as phase
from minigrok.analyses.phase import curvature
from minigrok.analyses.phase.laws import MEAN
from minigrok.config import preset, with_settings
from minigrok.errors import ConfigError, RunFolderError
from minigrok.experiments.job import comparison_job, perform_job
from minigrok.experiments.sweep_file import read_sweep
from minigrok.storage.runs import create, open_run
from minigrok.training.train import train

Settings = phase.Settings
STEPS = (1, *range(100, 60_100, 100))
LR = "optimiser.learning_rate=1e-3"
WD, EXPONENT = (1.0, 0.5, 0.3, 0.2), 0.9
QUICK = Settings()


def grokking(folder, wd, seed, at, last=None, settings=(), lag=0, loss=0.05, thetas=None):
    """A run that groks at step `at` (None: never), its second task `lag` steps later, last evaluated at `last`."""
    last = last if last is not None else (at or 20_000) + lag
    steps = np.array(STEPS[: STEPS.index(last) + 1])
    times = (at, None if at is None else at + lag)
    columns = {"step": steps, "grad_norm": np.ones(len(steps)), "param_norm": np.linspace(50, 20, len(steps))}
    settings = [f"seed={seed}", f"optimiser.weight_decay={wd}", "train.max_steps=60000", LR, *settings]
    run = make(folder, settings=settings, thetas=thetas)
    for k, task in enumerate(run.config.task.operations):
        first = np.inf if times[k] is None else times[k] - 200  # the third evaluation in a row is the grok step
        columns[f"train_loss_{task}"] = np.broadcast_to(loss, (2, len(steps)))[k]
        columns[f"train_accuracy_{task}"] = np.where(steps >= 700, 1.0, 0.1)
        columns[f"test_loss_{task}"] = np.ones(len(steps))
        columns[f"test_accuracy_{task}"] = np.where(steps >= first, 1.0, 0.1)
    lists = [column.tolist() for column in columns.values()]
    rows = [",".join(columns), *(",".join(map(repr, row)) for row in zip(*lists, strict=True))]
    (folder / "metrics.csv").write_text("\n".join(rows) + "\n")  # at once: row by row takes seconds
    return open_run(folder)


def power_law(folder, noise=0.04, seeds=4, wds=WD, lag=0):
    """Runs of a known power law, to the spacing of evaluations."""
    rng, runs = np.random.default_rng(2), []
    for wd in wds:
        for seed in range(seeds):
            t = 100 * round(80 * wd**-EXPONENT * np.exp(noise * rng.standard_normal()))
            runs.append(grokking(folder / f"wd{wd}-s{seed}", wd, seed, int(t), lag=lag))
    return runs


def rows_of(result, part, condition=None):
    rows = [row for row in phase.ANALYSIS.table(result) if row["part"] == part]
    return {row["what"]: row for row in rows if condition in (None, row["condition"])}


def test_a_known_power_law_comes_back(tmp_path):
    result = phase.compute(power_law(tmp_path, lag=200), QUICK, Work())
    for name in ("add", "mul", MEAN):
        over = result.laws[name].over["all wd > 0"]
        b, low, high = over.exponent
        assert abs(b - EXPONENT) < 3 * (high - low) / 4.3  # standard errors; the second task's lag takes 1 % off
        assert over.fits[0].law in ("power law", "reciprocal")  # over a decade they are one
        assert {fit.law: fit.lack for fit in over.fits}["exponential"] < 1e-3
        assert result.laws[name].over["wd <= 0.5"].wd.tolist() == [0.2, 0.3, 0.5]
    says = rows_of(result, "law, all wd > 0", "add")
    assert says["exponent b"]["low"] < EXPONENT < says["exponent b"]["high"]
    assert says["AICc clock"]["value"] > says["AICc power law"]["value"]


def test_the_clock_wins_where_it_is_the_law(tmp_path):
    rng, runs = np.random.default_rng(1), []
    for wd in WD:
        for seed in range(3):
            t = 100 * round(80 / wd * np.exp(0.03 * rng.standard_normal()))
            runs.append(grokking(tmp_path / f"{wd}-{seed}", wd, seed, int(t)))
    result = phase.compute(runs, QUICK, Work())
    assert result.laws[MEAN].over["all wd > 0"].fits[0].law == "clock"
    clocks = [rows_of(result, "t lr wd", name)["all tasks"]["value"] for name in result.labels]
    assert clocks == pytest.approx([8.0] * 4, rel=0.05)
    tests = result.waiting.tests
    assert tests["steps, wd > 0"].p < 0.01 < tests["lr wd t, wd > 0"].p


def test_a_weight_decay_that_never_grokked_breaks_nothing_and_is_counted(tmp_path):
    runs = power_law(tmp_path, seeds=3)
    runs += [grokking(tmp_path / f"wd0.1-s{seed}", 0.1, seed, None, last=20_000) for seed in range(3)]
    runs += [grokking(tmp_path / f"wd0-s{seed}", 0.0, seed, None, last=60_000) for seed in range(3)]
    result = phase.compute(runs, QUICK, Work())
    over = result.laws[MEAN].over["all wd > 0"]
    assert (over.runs, over.censored) == (12, 3)  # wd 0 is on no axis of a law, and counts nowhere there
    assert over.exponent[0] == pytest.approx(EXPONENT, abs=0.05)
    assert rows_of(result, "law, all wd > 0", MEAN)["did not grok, left out"]["runs"] == 3
    row = rows_of(result, "grok step", "wd 0.1")["all tasks"]
    assert (row["value"], row["low"], row["high"], row["runs"]) == (None, None, None, 3)
    assert "0 of 3 by step 20,000: at most 63% grok by then" in row["says"]
    assert set(rows_of(result, "unfinished")) == {f"wd0.1-s{seed}" for seed in range(3)}  # the others used their budget
    assert rows_of(result, "restricted mean", "wd 0.1")["all tasks"]["value"] == 20_000 == result.waiting.horizon
    assert "wd 0" not in {row["condition"] for row in phase.ANALYSIS.table(result) if row["part"] == "t lr wd"}


def test_a_task_that_grokked_counts_though_the_other_did_not(tmp_path):
    half = [grokking(tmp_path / f"a{s}", 1.0, s, 8000, last=20_000, lag=30_000) for s in range(2)]
    result = phase.compute([*half, grokking(tmp_path / "b", 0.5, 0, 16_000)], QUICK, Work())
    assert rows_of(result, "grok step", "wd 1")["add"]["value"] == 8000
    assert rows_of(result, "grok step", "wd 1")["mul"]["value"] is None
    left = {name: response.over["all wd > 0"].censored for name, response in result.laws.items()}
    assert left == {"add": 0, "mul": 2, MEAN: 2}
    assert result.laws["mul"].over["wd <= 0.5"].censored == 0
    assert "1 in 1 runs that grokked" in result.laws["mul"].over["all wd > 0"].says


def test_learning_rate_and_numerics_are_conditions_of_their_own(tmp_path):
    runs = power_law(tmp_path, seeds=2)
    runs += [grokking(tmp_path / f"lr{s}", 2.0, s, 8000, settings=["optimiser.learning_rate=5e-4"]) for s in range(2)]
    runs += [grokking(tmp_path / f"d{s}", 0.0, s, None, settings=["compute.dtype=float64"]) for s in range(2)]
    kind = ["model.cross_entropy=saturating"]
    runs += [grokking(tmp_path / f"c{s}", 0.0, s, None, settings=kind) for s in range(2)]
    result = phase.compute(runs, QUICK, Work())
    assert "wd 2, lr 0.0005, float32" in result.labels
    assert {"wd 0, lr 0.001, float64", "wd 0, lr 0.001, float32 saturating"} <= set(result.labels)
    assert result.line == "lr 0.001, float32"
    assert 2.0 not in result.laws[MEAN].wd
    assert result.waiting.tests["steps, numerics at wd = 0"].df == 0
    assert rows_of(result, "log-rank")["steps, numerics at wd = 0"]["says"] == "no event to compare"
    assert rows_of(result, "t lr wd", "wd 2, lr 0.0005, float32")["all tasks"]["value"] == pytest.approx(8)


def test_runs_without_decay_alone_still_give_a_diagram(tmp_path):
    runs = [
        grokking(tmp_path / f"{kind}{s}", 0.0, s, None, settings=[f"compute.dtype={kind}"])
        for kind in ("float32", "float64")
        for s in range(2)
    ]
    done = perform(phase.ANALYSIS, runs, QUICK)
    assert done.result.line == "no run with weight decay"
    assert "no law" in done.result.laws[MEAN].over["all wd > 0"].says
    assert (done.folder / "figure.png").exists()


def test_one_weight_decay_has_no_law_and_says_so(tmp_path):
    done = perform(phase.ANALYSIS, [grokking(tmp_path / str(s), 1.0, s, 8000 + 100 * s) for s in range(3)], QUICK)
    says = [row["says"] for row in done.rows if row["part"] == "law, all wd > 0"]
    assert says == ["no law: two weight decays or more to fit a law are required, got 1 in 3 runs that grokked"] * 3


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        (['task.operations=["add","sq"]'], "task.operations"),
        (["model.width=16"], "model.width"),
        (["train.grok_threshold=0.9"], "train.grok_threshold"),
        (["train.batch_size=64"], "train.batch_size"),
    ],
)
def test_runs_of_another_kind_are_refused(tmp_path, settings, key):
    runs = [grokking(tmp_path / "a", 1.0, 0, 8000), grokking(tmp_path / "b", 0.5, 0, 16_000, settings=settings)]
    with pytest.raises(RunFolderError) as caught:
        phase.compute(runs, QUICK, Work())
    assert key in caught.value.got
    assert "runs of one kind" in caught.value.do
    assert caught.value.required


def test_a_run_without_an_evaluation_is_left_out_and_named(tmp_path):
    empty = make(tmp_path / "empty")
    runs = [grokking(tmp_path / "a", 1.0, 0, 8000), grokking(tmp_path / "b", 0.5, 0, 16_000), empty]
    result = phase.compute(runs, QUICK, Work())
    assert result.left_out == {"empty": "no evaluation yet"}
    assert "empty" in rows_of(result, "left out")
    with pytest.raises(RunFolderError, match="a run with an evaluation"):
        phase.compute([empty], QUICK, Work())


@pytest.mark.parametrize(
    "wrong", [{"loss": 0.0}, {"clock": -1.0}, {"products": 1}, {"components": -1}, {"protocol": 3}]
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ConfigError):
        Settings(**wrong)


def test_paper_protocol_has_its_four_fits_and_no_other(tmp_path):
    runs = power_law(tmp_path)
    result = phase.compute(runs, Settings("paper"), Work())
    rows = rows_of(result, "law, all wd > 0", MEAN)
    assert list(rows) == ["R2 log-log", "R2 power law", "R2 exponential", "R2 reciprocal"]
    assert "space of ln t" in rows["R2 log-log"]["says"]
    assert "space of t" in rows["R2 power law"]["says"]
    perform(phase.ANALYSIS, runs, Settings("paper"))  # the picture too


def drawn_laws(result):
    """Return (wd, t) of every line in the phase diagram that is labelled with a law."""
    diagram = phase.figure(result).axes[0]
    named = {line.get_label().split(",")[0]: line for line in diagram.get_lines()}
    laws = ("log-log", "power law", "exponential", "reciprocal", "t = a / wd")
    return {name: (10 ** named[name].get_xdata(), named[name].get_ydata()) for name in laws if name in named}


def test_the_papers_laws_are_in_its_picture_and_go_through_the_runs(tmp_path):
    runs = power_law(tmp_path)
    paper, exact = (drawn_laws(phase.compute(runs, Settings(p, components=0), Work())) for p in ("paper", "exact"))
    assert list(paper) == ["log-log", "power law", "exponential", "reciprocal"]
    assert "log-log" not in exact
    response = phase.compute(runs, Settings("paper", components=0), Work()).laws[MEAN]
    wd, t = paper["log-log"]
    off = np.log(response.t) - np.interp(np.log(response.wd), np.log(wd), np.log(t))
    assert abs(off.mean()) < 1e-6  # least squares in logarithms
    assert np.abs(off).max() < 0.3
    for fit in response.over["all wd > 0"].paper:
        wd, t = paper[fit.law]
        a, b, *c = fit.parameters
        wanted = {"exponential": a * np.exp(-b * wd), "reciprocal": a / (wd + b) + (c or [0])[0]}
        assert t == pytest.approx(wanted.get(fit.law, a * wd**-b))


def test_order_of_the_runs_decides_nothing_but_random_draws(tmp_path):
    """Another order of the runs gives the same numbers."""
    runs = power_law(tmp_path, seeds=2)
    one, two = (phase.ANALYSIS.table(phase.compute(each, QUICK, Work())) for each in (runs, runs[::-1]))
    for here, there in zip(one, two, strict=True):
        if here["part"] != "log-rank":  # random draws
            numbers = [[row[name] for name in ("runs", "value", "low", "high")] for row in (here, there)]
            assert numbers[0] == pytest.approx(numbers[1], nan_ok=True), here


def test_lives_know_the_regimes(tmp_path):
    """Loss 1 while learning, .05 memorised, .001 generalised, for most of the run; one jump in the middle."""
    rows = np.array(STEPS[: STEPS.index(20_000) + 1])
    loss = np.full((2, len(rows)), 0.05)
    loss[:, rows < 700], loss[:, rows >= 8000], loss[:, rows == 3000] = 1.0, 0.001, 5.0
    settings = ["train.stop_when_grokked=false", "train.max_steps=20000"]
    run = grokking(tmp_path / "a", 1.0, 0, 8000, 20_000, settings, lag=200, loss=loss)
    life = phase.compute([run], QUICK, Work()).lives[0]
    assert life.memorised.tolist() == [700, 700]
    assert (life.times.tolist(), life.grokked.all(), life.is_over) == ([8000, 8200], True, True)
    assert life.slingshots.tolist() == [3000]
    assert life.watched == 20_000 - 700
    assert life.losses == pytest.approx({"learning": 2.0, "memorised": 0.1, "generalised": 0.002})
    assert life.norms["start"] == 50 > life.norms["learning"] > life.norms["memorised"] > life.norms["end"] == 20


def test_matched_points_are_where_they_say(tmp_path):
    """Curvature at the first snapshot of low loss and at the matched clock; converged on a small model."""
    config = with_settings(preset("tiny"), SMALL)
    snapshots = (0, 1000, 2000, 4000, 8000)
    runs = []
    for wd in (1.0, 0.5, 0.0):
        loss = np.full((2, STEPS.index(8000) + 1), 0.05)
        loss[0, : STEPS.index(2000)] = 0.3 if wd < 1 else 0.11  # the nearer one: 1000 at wd 1
        loss[0, : STEPS.index(1000)] = 1.0
        settings, theta = [f"optimiser.weight_decay={wd}"], walk(config, snapshots)
        runs.append(grokking(tmp_path / str(wd), wd, 1, 8000 if wd else None, 8000, settings, 0, loss, theta))
    settings = Settings(curvature=True, products=200)
    assert "5 points x 200 products" in phase.ANALYSIS.cost(runs, settings).words
    result = phase.compute(runs, settings, Work())
    found = [{d.kind: (d.step, d.clock) for d in depths} for depths in result.depths]
    assert found[0] == {"at loss": (1000, 1.0), "at clock": (4000, 4.0)}
    assert found[1] == {"at loss": (2000, 1.0), "at clock": (8000, 4.0)}
    assert found[2] == {"at loss": (2000, 0.0)}
    for depths in result.depths:
        for depth in depths:
            assert depth.residual < 1e-2 * abs(depth.value)
            assert depth.loss == pytest.approx(0.16 if depth.step == 1000 else 0.1)
    table = rows_of(result, "lowest eigenvalue", "wd 1")
    assert table["at loss"]["value"] == result.depths[0][0].value
    assert rows_of(result, "lowest eigenvalue", "wd 0").keys() == {"at loss"}


def test_a_killed_measurement_goes_on_and_a_foreign_analysis_is_an_error(tmp_path):
    config = with_settings(preset("tiny"), SMALL)
    loss = np.full((2, STEPS.index(8000) + 1), 0.05)
    run = grokking(tmp_path / "a", 1.0, 1, 8000, loss=loss, thetas=walk(config, (0, 4000, 8000)))
    settings, work = Settings(curvature=True, products=3), Work(folder=tmp_path / "parts", key="k")
    first = phase.compute([run], settings, work)
    assert len(list((tmp_path / "parts").glob("lowest-*.part"))) == 1  # one snapshot serves both
    (run.folder / "snapshots" / "004000.safetensors").write_bytes(b"gone")  # not read again
    assert phase.ANALYSIS.table(phase.compute([run], settings, work)) == phase.ANALYSIS.table(first)
    folder = run.folder / "analysis" / "hessian-paper"
    folder.mkdir(parents=True)
    np.savez(folder / "arrays.npz", steps=np.array([0]), values=np.ones((1, 1, 5)), residuals=np.ones((1, 1, 5)))
    assert curvature.read(run) == [], "no result.json: it was never finished"
    of_another = {"runs": {"a": "another"}, "settings": {}, "result": {"modes": ["total"]}}
    for bad, words in (("{", "as minigrok wrote it"), (json.dumps(of_another), "one of another run")):
        (folder / "result.json").write_text(bad)
        with pytest.raises(RunFolderError, match=words) as caught:
            curvature.read(run)
        assert "hessian-paper" in caught.value.do


def test_what_other_analyses_found_is_read(tmp_path):
    """Deepest of the paper's values, the exact one at the end, and the lead of the defect."""
    from minigrok.analyses import ANALYSES

    config = with_settings(preset("tiny"), SMALL)
    run = grokking(tmp_path / "a", 1.0, 1, 8000, thetas=walk(config, range(0, 1601, 200)))
    for name, kept in (("hessian", {}), ("hessian", {"protocol": "paper"}), ("commutator", {"most": 9, "repeats": 1})):
        settings = ANALYSES[name].settings(**kept, **({"products": 6} if name == "hessian" else {"draws": 100}))
        perform(ANALYSES[name], [run], settings)
    result = phase.compute([run], QUICK, Work())
    deepest, end = result.depths[0]
    assert (deepest.kind, end.kind, end.step) == ("deepest", "end", 1600)
    assert deepest.value <= deepest.middle
    assert "of 9 checkpoints" in deepest.says
    assert [lead.detector for lead in result.leads[0]] == ["v2", "spike"]
    assert all(lead.lead == 8000 - lead.onset or np.isnan(lead.onset) for lead in result.leads[0])


def test_the_papers_k_star_is_of_checkpoints_alone(tmp_path):
    """A last snapshot off the grid is a row of the exact protocol, and its final network."""
    run = grokking(tmp_path / "a", 1.0, 1, 8000, thetas=walk(with_settings(preset("tiny"), SMALL), range(0, 1101, 100)))
    exact, paper = (phase.compute([run], Settings(protocol), Work()).rebuilt[0] for protocol in ("exact", "paper"))
    assert (exact.checkpoints, paper.checkpoints) == (12, 6)
    few = grokking(tmp_path / "b", 1.0, 2, 8000, thetas=walk(with_settings(preset("tiny"), SMALL), range(0, 400, 100)))
    assert phase.compute([few], Settings("paper"), Work()).rebuilt == [None]  # two checkpoints span one direction


def test_a_sweep_compares_its_own_runs(tmp_path):
    """As a comparison in a sweep file, settings included."""
    text = """
    name = "s"
    analyses = [{name = "phase", set = ["components=7"]}]
    [base]
    preset = "tiny"
    [[grid]]
    optimiser.weight_decay = [1.0, 0.5]
    seed = [1, 2]
    """
    sweep = read_sweep(text)
    for config in sweep.configs:
        wd = config.optimiser.weight_decay
        grokking(tmp_path / config.name, wd, config.seed, round(8000 / wd))
    outcome = perform_job(comparison_job(tmp_path, sweep, sweep.orders[0]), lambda: False)
    assert outcome.ok, outcome.reason
    found = json.loads((tmp_path / "tiny-wd1-s1" / "analysis" / "phase" / "result.json").read_text())
    assert list(found["runs"]) == [config.name for config in sweep.configs]
    assert found["settings"]["components"] == 7


def test_a_network_is_rebuilt_whole_by_all_components(tmp_path):
    """Five rows span theta_T - theta_0: k = 5 is the network itself, and what is outside falls to nothing."""
    small = [*SMALL, "train.max_steps=1500", "train.snapshot_every=300", "train.stop_when_grokked=false", LR]
    config = with_settings(preset("tiny"), [*small, "optimiser.weight_decay=0.1", "train.batch_size=16"])
    with create(tmp_path / "trained", config) as run:
        train(run, threads=1)
    result = phase.compute([run], QUICK, Work())
    found, columns = result.rebuilt[0], run.metrics()
    assert found.checkpoints == 6
    assert found.whole["train"] == min(columns["train_accuracy_add"][-1], columns["train_accuracy_mul"][-1])
    for part in ("test", "train"):
        assert found.accuracy[part].shape == (5,)
        assert found.accuracy[part][-1] == found.whole[part]
    assert (np.diff(found.outside) < 0).all()
    assert found.outside[-1] == pytest.approx(0, abs=1e-9)
    assert found.whole["train"] > 0.9
    assert 1 <= found.first("train") <= found.lasting("train") <= 5
    rows = rows_of(result, "k*", "wd 0.1")
    assert rows["train pairs, first"]["value"] == found.first("train")
    assert (rows["test pairs, first"]["value"] is None) == (found.whole["test"] < 0.9)
    assert phase.compute([run], Settings(components=0), Work()).rebuilt == [None]
