"""Training on the device: the plain engine's run, alone, beside others, killed, diverging, losing its device."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from minigrok.config import Compute, Config, Model, Optimiser, Task, Train, with_settings
from minigrok.engine.cuda import CudaEngine
from minigrok.errors import ConfigError, EngineError, NonFiniteError
from minigrok.layers.select import selection
from minigrok.network import model
from minigrok.network.params import initial, members
from minigrok.storage.runs import create, open_run
from minigrok.tasks import BatchStream
from minigrok.training.counters import Counters
from minigrok.training.fleet_step import FleetStep, judge
from minigrok.training.fleet_train import BatchesAhead, Replica, Replicas, kind, together
from minigrok.training.observer import Observer
from minigrok.training.optim import CHUNK, least_sum, lengths, sum_of_squares
from minigrok.training.train import train


def config_of(seed=1, decay=1.0, steps=3, engine="cuda", dtype="float32", blocks=1):
    return Config(
        "small",
        seed=seed,
        task=Task(p=5),
        model=Model(width=4, heads=2, mlp_width=3, blocks=blocks),
        optimiser=Optimiser(weight_decay=decay, clip_norm=0.5),
        train=Train(batch_size=6, max_steps=steps, eval_every=2, snapshot_every=2),
        compute=Compute(engine=engine, dtype=dtype, shards=1),
    )


def bits(folder):
    """Everything in a run folder but the time spent."""
    run = open_run(folder)
    arrays, state = run.load_checkpoint()
    snapshots = [run.load_snapshot(step).tobytes() for step in run.snapshots()]
    checkpoint = {name: array.tobytes() for name, array in arrays.items()}, state | {"seconds": 0}
    return (folder / "metrics.csv").read_bytes(), run.snapshots(), snapshots, checkpoint


@pytest.mark.parametrize("attention", ["softmax", "uniform"])
def test_frozen_parts_stand_still_on_the_device(tmp_path, attention):
    changes = [
        (),
        ('optimiser.frozen=["queries", "keys"]',),
        ('optimiser.frozen=["*.linear1.*"]', "optimiser.frozen_from=2"),
    ]
    base = with_settings(config_of(dtype="float64"), (f"model.attention={attention}",))
    runs = [create(tmp_path / str(i), with_settings(base, change)) for i, change in enumerate(changes)]
    together(runs)
    for i, run in enumerate(runs):
        run.close()
        with create(tmp_path / f"plain{i}", with_settings(run.config, ("compute.engine=plain",))) as alone:
            train(alone)
        mine, plain = (each.load_checkpoint()[0] for each in (run, alone))
        for name in ("theta", "adam_m", "adam_v"):
            assert np.abs(mine[name] - plain[name]).max() < 1e-11
        mask = members(run.config, run.config.optimiser.frozen)
        start, second, last = (run.load_snapshot(step)[mask] for step in (0, 2, 3))
        assert (last == second).all()  # frozen from step 2 on, at the latest
        assert (second == start).all() == (i < 2)


@pytest.mark.parametrize("blocks", [1, 2])
def test_runs_together_are_the_runs_of_the_plain_engine(tmp_path, blocks):
    mine = [config_of(1, 1.0, 3, dtype="float64", blocks=blocks), config_of(2, 0.3, 2, dtype="float64", blocks=blocks)]
    mine[1] = with_settings(mine[1], ("train.eval_every=3", "train.snapshot_every=1"))  # each keeps its own records
    runs = [create(tmp_path / f"cuda{c.seed}", c) for c in mine]
    assert [replica.counters.step for replica in together(runs)] == [3, 2]
    for config, run in zip(mine, runs, strict=True):
        run.close()
        plain = dataclasses.replace(config, compute=dataclasses.replace(config.compute, engine="plain"))
        with create(tmp_path / f"plain{config.seed}", plain) as alone:
            train(alone)
        assert run.snapshots() == alone.snapshots() == ([0, 2, 3] if config.seed == 1 else [0, 1, 2])
        for step in run.snapshots():
            assert np.abs(run.load_snapshot(step) - alone.load_snapshot(step)).max() < 1e-11
        assert "test_accuracy_partner_mul" in alone.metrics()
        for column, values in alone.metrics().items():
            np.testing.assert_allclose(run.metrics()[column], values, rtol=1e-12, err_msg=column)


def test_the_bits_of_a_run_do_not_depend_on_its_companions(tmp_path):
    with create(tmp_path / "alone", config_of(1, steps=2)) as run:
        train(run)  # the door for everybody: compute.engine decides
    for folder, seeds in (("first", (1, 2)), ("last", (3, 1))):
        runs = [create(tmp_path / f"{folder}-{seed}", config_of(seed, steps=2)) for seed in seeds]
        together(runs)
        for each in runs:
            each.close()
        assert bits(tmp_path / f"{folder}-1") == bits(tmp_path / "alone")
    assert bits(tmp_path / "first-2") != bits(tmp_path / "alone")


class Killed(Exception):
    """What a kill would be."""


def test_a_run_that_was_killed_resumes_to_the_same_bits(tmp_path, monkeypatch):
    with create(tmp_path / "whole", config_of()) as run:
        train(run)
    run = create(tmp_path / "killed", config_of())
    stopped = train(run, observer=Observer(stop=lambda: True))  # after the first block: one step, saved
    assert stopped.step == 1
    real, blocks = FleetStep.block, []

    def killed_in_the_second_block(self, *args):
        blocks.append(1)
        real(self, *args)
        if len(blocks) == 2:
            raise Killed

    monkeypatch.setattr(FleetStep, "block", killed_in_the_second_block)
    with pytest.raises(Killed):
        train(run)  # step 2 is evaluated and its snapshot kept, but the checkpoint is of step 1
    assert open_run(tmp_path / "killed").snapshots() == [0, 2]
    assert train(run).step == 3
    run.close()
    assert bits(tmp_path / "killed") == bits(tmp_path / "whole")


def test_a_run_that_ended_is_saved_though_the_others_are_killed(tmp_path, monkeypatch):
    runs = [create(tmp_path / str(steps), config_of(steps, steps=steps)) for steps in (1, 3)]
    real = FleetStep.block

    def killed_when_alone(self, *args):
        if self.fleet.replicas == 1:
            raise Killed
        real(self, *args)

    monkeypatch.setattr(FleetStep, "block", killed_when_alone)
    with pytest.raises(Killed):
        together(runs)
    assert [run.load_checkpoint()[1]["step"] for run in runs] == [1, 0]
    assert runs[0].snapshots() == [0, 1]


def test_a_lost_device_is_named_and_loses_nothing(tmp_path, monkeypatch):
    class CudaAPIError(Exception):
        __module__ = "numba.cuda.cudadrv.driver"

    run, real, blocks = create(tmp_path / "run", config_of()), FleetStep.block, []

    def lost_in_the_second_block(self, *args):
        blocks.append(1)
        if len(blocks) == 2:
            raise CudaAPIError("[CUDA_ERROR_DEVICE_UNAVAILABLE]")
        real(self, *args)

    monkeypatch.setattr(FleetStep, "block", lost_in_the_second_block)
    with pytest.raises(EngineError, match=r"DEVICE_UNAVAILABLE.*the same command goes on") as caught:
        train(run)
    assert caught.value.exit_code == 3
    assert train(run).step == 3


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the simulator computes with NumPy
def test_a_run_that_diverges_stops_alone_in_its_last_finite_state(tmp_path):
    bad = 1e37 * initial(config_of(1))  # finite, and its logits are not
    runs = [create(tmp_path / "bad", config_of(1), bad), create(tmp_path / "good", config_of(2))]
    replicas = together(runs)
    assert isinstance(replicas[0].failure, NonFiniteError)
    assert "step 1" in replicas[0].failure.got
    assert (replicas[0].counters.step, replicas[1].counters.step, replicas[1].failure) == (0, 3, None)
    arrays, _ = runs[0].load_checkpoint()
    assert np.array_equal(arrays["theta"], bad)
    assert not arrays["adam_m"].any()
    assert not (tmp_path / "bad" / "metrics.csv").exists()
    with pytest.raises(NonFiniteError):
        train(runs[0])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # as above
@pytest.mark.parametrize("scale", [1e25, 1e-25])
def test_a_gradient_of_any_size_has_its_norm_on_the_device_too(scale):
    """Squares of float32 end at 1e19, and at 1e-19."""
    machine, rng = CudaEngine("float32", 2), np.random.default_rng(0)
    g = (scale * rng.standard_normal((2, 2 * CHUNK + 5))).astype(np.float32)
    n = -(-g.shape[1] // CHUNK)
    sums, sizes, state = (machine.zeros((k,)) for k in (n, n, 3))
    cursor, table = machine.zeros((1,), np.int64), machine.stack(np.ones((2, 1, 9), np.float32))
    state[:] = np.array([0, 1, 0])
    gradient, dtype = machine.stack(g), np.float32
    machine.rows(sum_of_squares, n, gradient, CHUNK, sums)
    machine.rows(lengths, n, gradient, CHUNK, sums, least_sum(CHUNK, dtype), sizes)
    machine.rows(judge, 1, sums, sizes, least_sum(g.shape[1], dtype), cursor, table, state)
    found = state.host()
    np.testing.assert_allclose(found[:, 0], np.linalg.norm(g.astype(np.float64), axis=1), rtol=1e-5)
    assert found[:, 1].tolist() == [1, 1]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_step_that_ends_in_numbers_that_are_not_finite_is_not_saved(tmp_path):
    config = with_settings(config_of(1), ("optimiser.learning_rate=1e39",))
    runs = [create(tmp_path / "bad", config), create(tmp_path / "good", config_of(2))]
    replicas = together(runs)
    assert "parameters and moments" in replicas[0].failure.required
    assert replicas[1].counters.step == 3
    arrays, state = runs[0].load_checkpoint()
    assert state["step"] == 0
    assert np.isfinite(arrays["theta"]).all()
    assert not (tmp_path / "bad" / "metrics.csv").exists()


def test_a_run_that_groks_stops_by_its_own_rule(tmp_path):
    settings = "train.grok_threshold=1e-9", "train.grok_patience=1", "train.after_grok=1"
    eager = with_settings(config_of(1, steps=8), settings)  # "groks" where any test pair is right
    patient = with_settings(config_of(1, steps=4), ("train.grok_patience=9",))
    assert kind(eager) == kind(patient)
    replicas = together([create(tmp_path / "eager", eager), create(tmp_path / "patient", patient)])
    first = replicas[0].counters.last_grok
    assert replicas[0].counters.step == (8 if first is None else first + 1)
    assert replicas[1].counters.step == 4


def test_runs_of_other_kinds_are_refused(tmp_path):
    runs = [create(tmp_path / "a", config_of()), create(tmp_path / "b", config_of(blocks=2))]
    with pytest.raises(ConfigError, match="several kinds"):
        together(runs)


def test_the_host_looks_at_evaluations_snapshots_and_ends():
    def next_after(step, grok=None, **settings):
        replica = SimpleNamespace(
            counters=Counters([0], [grok], step),
            config=SimpleNamespace(train=Train(eval_every=100, snapshot_every=150, after_grok=30, **settings)),
        )
        return Replica.steps_to_next(replica)

    assert [next_after(step) for step in (0, 1, 99, 100, 150, 299)] == [1, 99, 1, 50, 50, 1]
    assert next_after(1, max_steps=7) == 6
    assert next_after(300, grok=300) == 30
    assert next_after(300, grok=300, stop_when_grokked=False) == 100


@pytest.mark.parametrize("blocks", [1, 2])
def test_batches_are_looked_up_and_inverted_on_the_device(blocks):
    replica = Replica(config_of(blocks=blocks))
    device = Replicas([replica])
    batch = np.array([[[3, 0, 7, 3, 3, 1]]])
    device.step.block(batch, [replica.config.optimiser], [0])
    plan = device.fleet.shards[0].plan
    for found, expected in zip(
        model.drawn(plan), model.drawn(model.plan(replica.config, replica.tokens[batch[0, 0]])), strict=True
    ):
        assert (found is None) == (expected is None)
        if expected is not None:
            again = selection(expected.index, 10)
            for a, b, c in zip(found, expected, again, strict=True):
                assert np.array_equal(np.asarray(a), b)
                assert np.array_equal(b, c)
    assert np.array_equal(np.asarray(device.fleet.targets), replica.targets[:, batch[0, 0]])


def test_blocks_of_any_lengths_are_the_same_steps():
    """A block shorter than one before it uses that one's memory and recording; a longer one makes its own."""
    found = []
    for blocks in ((1, 3), (3, 1)):
        device = Replicas([Replica(config_of())])
        for length in blocks:
            device.block(length, ahead=2)  # which is never asked for
        device.fetch()
        replica = device.replicas[0]
        assert replica.counters.step == 4
        found.append([array.tobytes() for array in (replica.theta, replica.adamw.m, replica.adamw.v)])
    assert found[0] == found[1]


def test_batches_drawn_ahead_are_those_of_the_stream_and_leave_it_where_the_run_is():
    replicas, alone = ([SimpleNamespace(stream=BatchStream(seed, 9, 4)) for seed in (1, 2)] for _ in range(2))
    batches = BatchesAhead(replicas)
    for steps, ahead in ((1, 2), (2, 3), (1, 0), (2, 1)):  # the second is what was drawn ahead, the third is not
        drawn = batches.draw(steps)
        if ahead:
            batches.draw_ahead(ahead)
        for replica, other, mine in zip(replicas, alone, drawn, strict=True):
            assert np.array_equal(mine, [other.stream.next() for _ in range(steps)])
            a, b = replica.stream.state(), other.stream.state()
            assert np.array_equal(a["keys"], b["keys"])
            assert a["position"] == b["position"]
