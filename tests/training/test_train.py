"""The loop: when it evaluates, when a task has grokked, when it stops, what a broken gradient does."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from minigrok.config import Config, Model, Task, Train, with_settings
from minigrok.engine import Array
from minigrok.errors import NonFiniteError, RunFolderError
from minigrok.network.params import initial, layout
from minigrok.storage.runs import Run, begin, create, load_weights, open_run
from minigrok.training import loop
from minigrok.training.observer import Observer
from minigrok.training.train import train
from minigrok.training.trainer import Trainer

CONFIG = Config(
    "small",
    task=Task(p=5),
    model=Model(width=4, heads=2, mlp_width=3),
    train=Train(batch_size=8, max_steps=100, eval_every=10, snapshot_every=40),
)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return create(tmp_path / "run", CONFIG)


def checkpoint(run: Run) -> tuple[dict[str, Array], dict[str, Any]]:
    found = run.load_checkpoint()
    assert found is not None
    return found


# --- decay: token 0 never occurs, so its embedding only decays


@pytest.mark.parametrize("engine", ["plain", "cpu"])
@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-5), ("float64", 1e-13)])
def test_the_embedding_of_token_0_only_decays(engine: str, dtype: str, rtol: float) -> None:
    """theta_0 (1 - lr wd)^t: to the bit as the product made step by step, and to rounding as the power."""
    settings = [f"compute.engine={engine}", f"compute.dtype={dtype}", "optimiser.weight_decay=0.5"]
    trainer = Trainer(with_settings(CONFIG, settings))
    rows = layout(CONFIG).views(trainer.net.theta)["tok_emb.weight"]
    start, expected = rows.copy(), rows[0].copy()
    keep = trainer.net.dtype.type(1 - 1e-3 * 0.5)
    for _ in range(200):
        trainer.step()
        expected *= keep
        assert np.array_equal(rows[0], expected)
    assert np.allclose(rows[0], start[0] * (1 - 1e-3 * 0.5) ** 200, rtol=rtol, atol=0)
    assert not np.allclose(rows[1], start[1] * (1 - 1e-3 * 0.5) ** 200, rtol=1e-2, atol=0)


# --- counters


def script(monkeypatch: pytest.MonkeyPatch, *tasks: str) -> None:
    """Make evaluations return scripted test accuracies, a character each: "+" is 0.98 and "-" 0.9799."""
    answers = {"+": 0.98, "-": 0.9799}

    class Scripted:
        def __init__(self, net: Any, tokens: Array, targets: Array) -> None:
            self.pairs = len(tokens)
            self.rows: Iterator[tuple[str, ...]] = iter(list(zip(*tasks, strict=True)))

        def scores(self) -> SimpleNamespace:
            row = next(self.rows)
            accuracy = np.array([answers[c] for c in row])
            return SimpleNamespace(loss=np.ones(len(row)), accuracy=accuracy, correct=np.ones((len(row), self.pairs)))

    monkeypatch.setattr("minigrok.training.trainer.Evaluation", Scripted)


@pytest.mark.parametrize(
    ("add", "mul", "groks", "end"),
    [
        # evaluations at steps 1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100
        ("+++--------", "-+++-------", [20, 30], 30),  # the third in a row counts, and step 1 is one
        ("-++-+++----", "--+++------", [60, 40], 60),  # a broken streak starts again; the last task decides
        ("-++-++-++-+", "+++++++++++", [None, 20], 100),  # one task never does: the budget
        ("+++--------", "--------+++", [20, 100], 100),  # grokked stays grokked; the last evaluation counts
    ],
)
def test_grok_steps(
    run: Run, monkeypatch: pytest.MonkeyPatch, add: str, mul: str, groks: list[int | None], end: int
) -> None:
    script(monkeypatch, add, mul)
    counters = train(run)
    assert counters.grok_step == groks
    assert counters.step == end
    assert counters.grokked == (None not in groks)
    assert checkpoint(run)[1]["grok_step"] == groks


def test_patience_and_threshold_are_the_configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, "+" * 11, "-++--------")
    settings = ["train.grok_patience=2", "train.grok_threshold=0.98"]
    assert train(create(tmp_path / "two", with_settings(CONFIG, settings))).grok_step == [10, 20]
    settings = ["train.grok_threshold=0.9801"]
    assert train(create(tmp_path / "above", with_settings(CONFIG, settings))).grok_step == [None, None]


def test_after_grok_goes_on_and_can_be_asked_for_later(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, "+" * 11, "+" * 11)
    assert train(run).step == 20
    assert train(run).step == 20, "a finished run is left alone"
    assert train(run, after_grok=7).step == 27
    assert run.snapshots() == [0, 20, 27]


class Killed(Exception):
    """In place of a kill: nothing is saved after it."""


def killed(run: Run, at: int, after_grok: int) -> None:
    """Train on, with a checkpoint after each step, and leave a step after the one of `at`."""

    def stepped(step: int) -> None:
        if step > at:
            raise Killed

    with pytest.raises(Killed):
        train(run, after_grok=after_grok, observer=Observer(stepped=stepped))


@pytest.mark.parametrize("saved", [True, False])
def test_a_killed_sitting_after_the_grok_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: bool
) -> None:
    """Killed after its first checkpoint or before: then the one of the grok says how long to go on."""
    grokking = with_settings(CONFIG, ["train.grok_patience=1", "train.eval_every=5"])
    script(monkeypatch, "+" * 40, "+" * 40)
    runs = [create(tmp_path / name, grokking) for name in ("whole", "killed")]
    for run in runs:
        assert train(run).step == 1
    train(runs[0], after_grok=21)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0 if saved else 1e9)
    killed(runs[1], 13, after_grok=21)
    assert checkpoint(runs[1])[1]["step"] == (13 if saved else 1)
    assert train(runs[1]).step == 22
    assert [run.snapshots() for run in runs] == [[0, 1, 22]] * 2
    assert runs[0].load_snapshot(22).tobytes() == runs[1].load_snapshot(22).tobytes()


def test_fewer_steps_after_the_grok_than_were_made_leave_the_run_as_it_is(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, "+" * 40, "+" * 40)
    assert train(run).step == 20
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    killed(run, 33, after_grok=60)
    for after_grok in (3, None):
        assert train(run, after_grok=after_grok).step == 33
        assert run.snapshots() == [0, 20]


def test_a_checkpoint_of_an_earlier_version_is_resumed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, "+" * 40, "+" * 40)
    train(run)
    arrays, state = checkpoint(run)
    del state["after_grok"]
    run.save_checkpoint(arrays, state)
    assert train(run, after_grok=7).step == 27


def test_a_folder_that_is_deleted_ends_the_training_and_is_not_made_again(run: Run) -> None:
    def stepped(step: int) -> None:
        if step == 15:
            shutil.rmtree(run.folder)

    with pytest.raises(RunFolderError, match="nothing there: it was moved or deleted"):
        train(run, observer=Observer(stepped=stepped))
    assert not run.folder.exists()


def test_after_grok_of_the_config_ends_at_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, "+" * 11, "+" * 11)
    assert train(create(tmp_path / "far", with_settings(CONFIG, ["train.after_grok=1000"]))).step == 100


def test_a_run_that_must_not_stop_uses_its_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, "+" * 11, "+" * 11)
    run = create(tmp_path / "on", with_settings(CONFIG, ["train.stop_when_grokked=false"]))
    assert train(run).step == 100


# --- evaluations, snapshots, observer


def test_evaluations_and_snapshots_are_where_they_belong(run: Run) -> None:
    seen: list[int] = []
    rows: list[dict[str, float]] = []
    counters = train(run, observer=Observer(stepped=seen.append, evaluated=rows.append))
    assert counters.step == 100
    assert seen == list(range(1, 101))
    columns = run.metrics()
    assert columns["step"].tolist() == [1, *range(10, 101, 10)]
    assert run.snapshots() == [0, 40, 80, 100]
    parts = [
        f"{part}_{what}_{task}"
        for part in ("train", "test")
        for task in ("add", "mul")
        for what in ("loss", "accuracy")
    ]
    groups = [f"test_accuracy_{group}_{task}" for task in ("add", "mul") for group in ("partner", "alone")]
    assert list(columns) == ["step", *parts, "grad_norm", "param_norm", *groups]  # new columns come last
    assert all(rows[i][name] == column[i] for name, column in columns.items() for i in range(11))
    for step in (40, 80, 100):
        norm = np.linalg.norm(run.load_snapshot(step).astype(np.float64))
        assert columns["param_norm"][columns["step"] == step] == pytest.approx(norm, rel=1e-6)
    assert np.array_equal(run.load_snapshot(0), initial(CONFIG))
    assert np.array_equal(run.load_snapshot(100), checkpoint(run)[0]["theta"])


def test_the_observer_can_end_a_sitting(run: Run) -> None:
    seen: list[int] = []
    observer = Observer(stepped=seen.append, stop=lambda: len(seen) == 13)
    assert train(run, observer=observer).step == 13
    assert checkpoint(run)[1]["step"] == 13
    assert run.snapshots() == [0], "where it stopped is no snapshot"
    assert train(run).step == 100


def test_initial_parameters_may_be_given(tmp_path: Path) -> None:
    """They are in the folder before its config is: a kill before the first checkpoint cannot lose them."""
    theta = np.linspace(-1, 1, layout(CONFIG).size)
    create(tmp_path / "run", CONFIG, theta).close()
    run = open_run(tmp_path / "run")
    train(run)
    assert np.array_equal(run.load_snapshot(0), theta.astype(np.float32))
    again = load_weights(run.folder / "snapshots" / "000000.safetensors", run.layout)
    other = create(tmp_path / "again", CONFIG, again)
    train(other)
    assert np.array_equal(other.load_snapshot(100), run.load_snapshot(100))


def test_training_lowers_the_loss(run: Run) -> None:
    train(run)
    loss = run.metrics()["train_loss_add"]
    assert loss[-1] < loss[0]


# --- a table of metrics that lost rows is not passed over


@pytest.mark.parametrize("keep", [0, 1, 2])
def test_lost_metrics_are_named_and_nothing_is_changed(run: Run, keep: int) -> None:
    train(run, threads=1)
    path = run.folder / "metrics.csv"
    lines = path.read_text().splitlines(keepends=True)
    assert len(lines) > 3
    path.write_text("".join(lines[: 1 + keep]) + lines[1 + keep][:5])
    before = path.read_bytes()
    with pytest.raises(RunFolderError, match=rf"every evaluation up to step .*{keep} of {len(lines) - 1}"):
        train(run, threads=1)
    assert path.read_bytes() == before
    path.write_text("".join(lines))
    train(run, threads=1)
    assert path.read_text() == "".join(lines)


# --- a gradient that is no longer finite


def test_a_broken_step_leaves_everything_as_it_was(tmp_path: Path) -> None:
    """Step 1 throws the parameters so far that step 2 overflows. One thread: errstate is not inherited."""
    config = with_settings(CONFIG, ["optimiser.learning_rate=1e30"])
    with np.errstate(all="ignore"):
        once = Trainer(config, threads=1)
        once.step()
        folder = tmp_path / "run"
        with create(folder, config) as run:
            with pytest.raises(NonFiniteError, match="step 2") as first:
                train(run, threads=1)
            before = checkpoint(run)
        assert before[1]["step"] == 1
        assert np.array_equal(before[0]["theta"], once.net.theta)
        assert np.array_equal(before[0]["adam_m"], once.adamw.m)
        assert np.array_equal(before[0]["adam_v"], once.adamw.v)
        assert np.array_equal(before[0]["stream_keys"], once.stream.state()["keys"])
        assert before[1]["stream_position"] == once.stream.state()["position"]
        assert before[1]["grad_norm"] == once.grad_norm
        with open_run(folder) as run:
            with pytest.raises(NonFiniteError) as second:
                train(run, threads=1)
            after = checkpoint(run)
    assert str(first.value) == str(second.value)
    assert all(np.array_equal(before[0][name], after[0][name]) for name in before[0])
    assert run.metrics()["step"].tolist() == [1]


@pytest.mark.parametrize(
    ("settings", "at"),
    [
        (["optimiser.learning_rate=1e39"], 1),  # the step itself overflows
        (["optimiser.learning_rate=1e10", "optimiser.weight_decay=1e10"], 2),  # the decay does
        (["optimiser.learning_rate=1e39", "train.eval_every=7", "train.snapshot_every=7"], 1),
    ],
)
def test_what_is_saved_is_finite_whatever_a_step_does(tmp_path: Path, settings: list[str], at: int) -> None:
    config = with_settings(CONFIG, settings)
    said = []
    for _ in range(2):
        with np.errstate(all="ignore"), begin(tmp_path / "run", config) as run, pytest.raises(NonFiniteError) as error:
            train(run, threads=1)
        said.append(str(error.value))
        arrays, state = checkpoint(run)
        assert all(np.isfinite(array).all() for array in arrays.values())
        assert state["step"] < at + 1
        assert all(np.isfinite(run.load_snapshot(step)).all() for step in run.snapshots())
        assert np.isfinite(run.metrics().get("param_norm", np.zeros(1))).all()
    assert said[0] == said[1]


@pytest.mark.parametrize("name", ["theta", "m", "v"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_parameter_that_no_batch_reads_is_looked_at_too(
    tmp_path: Path, name: str, bad: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Token 0 is in no pair: no loss shows what its embedding has become."""
    real = Trainer.step
    place = layout(CONFIG).slices["tok_emb.weight"].start

    def step(self: Trainer) -> Array:
        losses = real(self)
        if self.counters.step == 13:
            {"theta": self.theta, "m": self.adamw.m, "v": self.adamw.v}[name][place] = bad
        return losses

    monkeypatch.setattr(Trainer, "step", step)
    with create(tmp_path / "run", CONFIG) as run, pytest.raises(NonFiniteError, match="parameters and moments"):
        train(run)
    arrays, _ = checkpoint(run)
    assert all(np.isfinite(array).all() for array in arrays.values())
    assert run.metrics()["step"].max() < 20


def test_parameters_that_are_not_finite_do_not_start_a_run(tmp_path: Path) -> None:
    theta = np.full(layout(CONFIG).size, np.nan)
    with create(tmp_path / "run", CONFIG, theta) as run, pytest.raises(NonFiniteError, match="after step 0"):
        train(run)
    assert run.load_checkpoint() is None


def test_a_gradient_whose_square_is_no_number_stops_before_its_moments_do(tmp_path: Path) -> None:
    config = with_settings(CONFIG, ["optimiser.clip_norm=inf"])
    trainer = Trainer(config, threads=1)
    real = trainer.net.reduce
    trainer.net.reduce = lambda out: (real(out), out.__imul__(np.float32(1e25)))  # type: ignore[method-assign]
    with pytest.raises(NonFiniteError, match="gradient norm"):
        trainer.step()
    assert not trainer.adamw.v.any()
    trainer.config = CONFIG  # clipped, it has a square
    trainer.adamw.settings = CONFIG.optimiser
    trainer.step()
    assert np.isfinite(trainer.adamw.v).all()
    assert np.isfinite(trainer.theta).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_broken_gradient_with_a_finite_loss_stops_too(bad: float, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(CONFIG)
    theta = trainer.net.theta.copy()
    monkeypatch.setattr(trainer.net, "reduce", lambda out: out.fill(bad))
    with pytest.raises(NonFiniteError, match="gradient norm"):
        trainer.step()
    assert np.array_equal(trainer.net.theta, theta)
    assert trainer.counters.step == 0
