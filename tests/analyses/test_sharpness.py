"""Curvature as AdamW sees it, on matrices and runs that are known."""

import numpy as np
import pytest
from scipy.linalg import eigh
from scipy.sparse.linalg import LinearOperator, eigsh
from synthetic_runs import SMALL, make, walk

from minigrok.analyses import sharpness
from minigrok.analyses.base import Work
from minigrok.analyses.shared.curvature import spectrum
from minigrok.analyses.subspace.measure import adam_update
from minigrok.config import Optimiser, preset, with_settings
from minigrok.errors import RunFolderError
from minigrok.network.objective import Objective
from minigrok.storage.runs import create
from minigrok.training.train import train
from minigrok.training.trainer import Trainer

STEPS = 60
CONFIG = with_settings(preset("tiny"), SMALL)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of 60 steps with snapshots every 20, and AdamW's moments of the last one in its checkpoint."""
    settings = [*SMALL, f"train.max_steps={STEPS}", "train.snapshot_every=20", "train.eval_every=20"]
    config = with_settings(preset("tiny"), settings)
    with create(tmp_path_factory.mktemp("sharpness") / "a", config) as made:
        train(made)
    return made


@pytest.mark.parametrize("beta1", [0.5, 0.9])
def test_a_quadratic_diverges_above_the_edge_and_not_below(beta1):
    s = Optimiser(learning_rate=0.01, beta1=beta1)

    def size(curvature):
        theta, m = 1.0, 0.0
        for _ in range(3000):
            m = beta1 * m + (1 - beta1) * curvature * theta
            theta -= s.learning_rate * m
        return abs(theta)

    _, edge = sharpness.edges(s)
    assert size(0.98 * edge) < 1e-3 < 1e3 < size(1.02 * edge)


def test_the_edge_is_that_of_the_issue():
    assert sharpness.edges(Optimiser(learning_rate=1e-3, beta1=0.9)) == (pytest.approx(2000), pytest.approx(38_000))


def test_preconditioned_values_are_those_of_the_generalised_problem():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((40, 40))
    A, diagonal = A + A.T, rng.uniform(0.1, 3, 40)
    found = spectrum(sharpness.preconditioned(lambda v: A @ v, diagonal), rng.standard_normal(40), 40)
    assert found["values"] == pytest.approx(eigh(A, np.diag(diagonal), eigvals_only=True))


def measurement(run, **changes):
    return sharpness.Measurement(run, sharpness.Settings(**changes), Work(), lambda: None)


def unstored(run, monkeypatch):
    """Hide the moments of the checkpoint."""
    monkeypatch.setattr(sharpness.Measurement, "_stored", lambda self, step: None)
    return run


def test_steps_replayed_from_the_start_leave_the_runs_own_second_moment(run, monkeypatch):
    known, numbers = measurement(run).replayed(STEPS)
    assert numbers["stored"]
    arrays, _ = run.load_checkpoint()
    assert known == pytest.approx(sharpness.preconditioner(arrays["adam_v"], STEPS, run.config.optimiser))
    diagonal, numbers = measurement(unstored(run, monkeypatch)).replayed(STEPS)
    assert not numbers["stored"]
    assert numbers["replay"] == 0
    assert diagonal == pytest.approx(known, rel=1e-12)


def test_moments_of_too_few_steps_are_others_and_the_replay_says_so(run, monkeypatch):
    exact, _ = measurement(run).replayed(STEPS)
    short, numbers = measurement(unstored(run, monkeypatch), warm=1).replayed(STEPS)
    assert numbers["replay"] > 0.01
    assert np.abs(short / exact - 1).max() > 0.01


def test_the_preconditioner_is_the_denominator_of_adamws_update(run):
    trainer = Trainer(run.config)
    for _ in range(5):
        trainer.step()
    s, v = run.config.optimiser, trainer.adamw.v
    m = trainer.adamw.m.astype(np.float64) / (1 - s.beta1**5)
    assert adam_update(trainer) == pytest.approx(-s.learning_rate * m / sharpness.preconditioner(v, 5, s), rel=1e-12)


def test_the_top_of_both_operators_is_that_of_scipy(run):
    result = sharpness.compute([run], sharpness.Settings(most=1, products=60), Work())
    theta, objective = run.load_snapshot(STEPS).astype(np.float64), Objective.of(run)
    H = objective.hessian(theta)
    assert result.raw.values[0] == pytest.approx(eigsh(H, 1, which="LA", return_eigenvectors=False)[0], rel=1e-6)
    diagonal, _ = measurement(run).replayed(STEPS)
    product = sharpness.preconditioned(lambda v: objective.hvp(theta, v), diagonal)
    operator = LinearOperator((theta.size, theta.size), matvec=product, dtype=np.float64)
    (known,) = eigsh(operator, 1, which="LA", return_eigenvectors=False)
    assert result.preconditioned.converged[0]
    assert result.preconditioned.values[0] == pytest.approx(known, rel=1e-6)


def test_too_few_products_are_said_not_to_have_converged_and_are_a_lower_bound(run):
    few, many = (sharpness.compute([run], sharpness.Settings(most=1, products=n), Work()) for n in (2, 60))
    assert not few.preconditioned.converged[0]
    assert few.preconditioned.values[0] < many.preconditioned.values[0]
    assert [row["preconditioned converged"] for row in sharpness.table(few)] == ["no"]
    assert len(sharpness.figure(few).axes) == 3


def test_a_run_without_a_step_has_no_second_moment(tmp_path):
    with pytest.raises(RunFolderError, match="after step 0"):
        sharpness.compute([make(tmp_path / "a", thetas=walk(CONFIG, [0]))], sharpness.Settings(), Work())
