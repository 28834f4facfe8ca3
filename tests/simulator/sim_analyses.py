"""Analyses of a run that was trained on the device: scores, read-outs and replayed steps, against the plain engine."""

import dataclasses

import numpy as np
import pytest
from click.testing import CliRunner
from minigrok_cli.main import main
from sim_train import config_of

from minigrok.analyses.shared.activations import Activations, read_by_heads
from minigrok.analyses.shared.curves import Scorer
from minigrok.analyses.subspace.measure import adam_update
from minigrok.config import Config
from minigrok.errors import EngineError
from minigrok.network.passes import evaluation, passes
from minigrok.network.sharded import Sharded
from minigrok.storage.runs import create, open_run
from minigrok.tasks import pairs
from minigrok.training.train import train, trainer_of


def on(engine: str, config: Config) -> Config:
    return dataclasses.replace(config, compute=dataclasses.replace(config.compute, engine=engine))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    config = config_of(steps=3, dtype="float64")
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, snapshot_every=1))
    with create(folder, config) as run:
        train(run)
    return open_run(folder)


def test_scores_are_those_of_the_plain_engine(trained):
    theta, found = trained.load_snapshot(3), {}
    for engine in ("plain", "cuda"):
        scorer = Scorer(on(engine, trained.config), "float64")
        found[engine] = [
            scorer.accuracies(theta),
            scorer.test_accuracy(theta),
            *(part.scores().loss for part in scorer.sets),
        ]
        assert type(scorer.net) is (
            Sharded if engine == "plain" else type(passes(trained.config, "cuda", "float64", 1))
        )
    for a, b in zip(found["cuda"], found["plain"], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)
    scorer.accuracies(theta + 0.1)
    assert np.abs(scorer.sets[0].scores().loss / found["plain"][2] - 1).max() > 1e-3, "another theta is another network"


def test_scores_of_more_pairs_than_a_chunk(trained, monkeypatch):
    """Both chunks of a set have a size of their own, and the second one uses a part of the first one's memory."""
    data, found = pairs(trained.config.task, 1), []
    rows = np.random.default_rng(0).integers(0, len(data.tokens), 8)
    monkeypatch.setattr("minigrok.network.fleet_evaluation.CHUNK", 5)
    for engine in ("plain", "cuda"):
        net = passes(trained.config, engine, "float64", 1)
        net.theta[:] = trained.load_snapshot(3)
        found.append(evaluation(net, data.tokens[rows], data.targets[:, rows]).scores())
    np.testing.assert_allclose(found[1].loss, found[0].loss, rtol=1e-13)
    np.testing.assert_array_equal(found[1].accuracy, found[0].accuracy)


def test_what_the_heads_read_is_that_of_the_plain_engine(trained):
    theta, tokens = trained.load_snapshot(3), pairs(trained.config.task, 1).tokens
    found = []
    for engine in ("plain", "cuda"):
        run = open_run(trained.folder)
        run.config = on(engine, run.config)
        found.append(Activations(run, tokens)(theta, read_by_heads)["z"])
    assert found[1].shape == (len(tokens), trained.config.model.width)
    np.testing.assert_allclose(found[1], found[0], atol=1e-13)


def test_replayed_steps_are_the_runs_own_to_the_bit(trained):
    state = trainer_of(trained)
    state.begin_at(trained.load_snapshot(0), 0)
    for step in (1, 2, 3):
        state.step()
        assert state.counters.step == step
        assert state.theta.tobytes() == trained.load_snapshot(step).tobytes()
    state.begin_at(trained.load_snapshot(1), 1)
    state.step()
    assert state.theta.tobytes() != trained.load_snapshot(2).tobytes(), "without the moments it is another step"
    run = open_run(trained.folder)
    run.config = on("plain", run.config)
    plain = trainer_of(run)
    plain.begin_at(trained.load_snapshot(1), 1)
    plain.step()
    assert np.abs(state.grad - plain.grad).max() < 1e-13 * np.abs(plain.grad).max()
    assert np.abs(adam_update(state) - adam_update(plain)).max() < 1e-11


def test_passes_on_arrays_of_the_host_refuse_the_device(trained):
    with pytest.raises(EngineError, match=r"cpu or plain.*network\.passes"):
        Sharded(trained.config, "cuda", "float64", 1)


def test_the_command(trained):
    done = CliRunner().invoke(main, ["analyse", "trajectory_pca", str(trained.folder)])
    assert done.exit_code == 0, done.output
    assert (trained.folder / "analysis" / "trajectory_pca" / "figure.svg").exists()
