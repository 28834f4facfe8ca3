"""Interventions: each arm against the formula in NumPy, the algebra between arms, starts, kicks, repeats, resume."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_resume import all_bits

from minigrok.config import Config, Intervention, Model, Optimiser, Task, Train, with_values
from minigrok.config.arms import ARMS
from minigrok.engine import Array
from minigrok.errors import ConfigError
from minigrok.geometry import brackets, lengths
from minigrok.geometry.subspace import orthonormal
from minigrok.network.objective import Objective
from minigrok.network.params import initial, layout, members
from minigrok.rng import rng
from minigrok.storage.runs import create, open_run
from minigrok.training.interventions import TABLE
from minigrok.training.observer import Observer
from minigrok.training.train import train
from minigrok.training.trainer import Trainer

START = 4
BASE = with_values(
    Config(
        "small",
        task=Task(p=5),
        model=Model(width=4, heads=2, mlp_width=3),
        optimiser=Optimiser(learning_rate=0.01, weight_decay=0.5, clip_norm=0.5),
        train=Train(batch_size=7, max_steps=12, eval_every=2, snapshot_every=3, stop_when_grokked=False),
    ),
    {"compute.dtype": "float64", "compute.engine": "cpu", "compute.shards": 1},
)
P = layout(BASE).size
B = orthonormal(np.random.default_rng(0).standard_normal((P, 3))).T
# no parameter is 0: the gradient of a key's bias is rounding, which AdamW makes as large as any, and the arm "norm"
# lets it grow from 0 at an exponential rate
THETA = initial(BASE) + 0.1 * np.random.default_rng(1).standard_normal(P)
KEY_BIASES = np.zeros(P, bool)
for name, place in layout(BASE).slices.items():
    KEY_BIASES[place.start + 4 : place.start + 8] |= name.endswith("in_proj_bias")
LINEAR = [name for name, arm in ARMS.items() if arm.mix]


def intervened(arm: str, dose: float, base: Config = BASE, **more: object) -> Config:
    values = {"arm": arm, "dose": dose, "source": "x", "start": START, "rank": 3} | more
    return dataclasses.replace(base, intervention=Intervention(**values))  # type: ignore[arg-type]


def path(config: Config, steps: int = 12, plane: Array | None = B, threads: int = 1) -> Array:
    """Theta after each step, (steps, P)."""
    trainer = Trainer(config, threads, THETA, plane)
    found = []
    for _ in range(steps):
        trainer.step()
        found.append(trainer.net.theta.copy())
    return np.stack(found)


def by_the_book(config: Config, steps: int = 12) -> Array:
    """The paper's loop in NumPy: gradient, clipping to norm 1, intervention, AdamW; gradients alone are minigrok's."""
    o, s = config.optimiser, config.intervention
    source = Trainer(dataclasses.replace(config, intervention=Intervention()), 1, THETA)
    theta = source.net.theta.copy()
    m, v, h, found = np.zeros(P), np.zeros(P), np.zeros(P), []
    for t in range(1, steps + 1):
        source.net.theta[:] = theta
        rows = source.stream.next()
        source.net.gradient(source.tokens[rows], source.targets[:, rows], source.grad)
        g = source.grad * min(1.0, o.clip_norm / (np.linalg.norm(source.grad) + 1e-6))
        Q = (theta / np.linalg.norm(theta))[None] if s.plane == "norm" else B
        target, f = (s.act.target, formula(s, Q)) if t >= s.start else ("", np.copy)
        g = f(g) if target == "gradient" else g
        if target == "filter":
            h = 0.98 * h + 0.02 * g
            g = g + s.dose * h
        m, v = o.beta1 * m + (1 - o.beta1) * g, o.beta2 * v + (1 - o.beta2) * g * g
        u = -o.learning_rate * (m / (1 - o.beta1**t)) / (np.sqrt(v / (1 - o.beta2**t)) + o.eps)
        d = -o.learning_rate * o.weight_decay * theta
        theta = theta + (f(d) if target == "decay" else d) + (f(u) if target == "update" else u)
        found.append(theta)
    return np.stack(found)


def formula(s: Intervention, Q: Array):  # type: ignore[no-untyped-def]
    """What the table of arms says, written here on its own."""
    dose, inside = s.dose, members(BASE, s.parts or ("*",))
    formulas = {
        "keep_rank": lambda x: np.where(inside, x - dose * (x - Q.T @ (Q @ x)), x),
        "perp_grad": lambda x: x - dose * Q.T @ (Q @ x),
        "slow": np.copy,
        "scaling": lambda x: x * (1 - dose),
        "amplification": lambda x: x + (1 / (1 - dose) - 1) * Q.T @ (Q @ x),
        "removal": lambda x: x - dose * Q.T @ (Q @ x),
    }
    return formulas.get(s.arm, lambda x: x - dose * (x - Q.T @ (Q @ x)))  # the paper's deletion


@pytest.mark.parametrize("arm", [*LINEAR, "slow"])
def test_an_arm_is_its_formula(arm: str) -> None:
    config = intervened(arm, 0.3)
    expected = by_the_book(config)
    assert np.abs(path(config) - expected).max() < 1e-11
    other = by_the_book(intervened(arm, 0.31))
    assert np.abs(path(config) - other).max() > 1e-6 or arm == "scaling"


@pytest.mark.parametrize("arm", [name for name in ARMS if name != "none"])
def test_before_the_start_and_at_dose_0_no_bit_is_changed(arm: str) -> None:
    for base in (BASE, with_values(BASE, {"compute.dtype": "float32"})):
        plain = path(base)
        assert np.array_equal(path(intervened(arm, 0.0, base)), plain)
        changed = path(intervened(arm, 0.3, base))
        assert np.array_equal(changed[: START - 1], plain[: START - 1])
        assert not np.array_equal(changed[START - 1], plain[START - 1])


@settings(max_examples=20, deadline=None)
@given(st.floats(0.01, 0.9))
def test_deletion_is_amplification_and_scaling_is_nothing(dose: float) -> None:
    """Under AdamW with a tiny eps and from the first step on, a common factor of all gradients is divided out.

    Not so for the biases of the keys, whose gradient is rounding alone: they differ, and no loss depends on them.
    """
    base = with_values(BASE, {"optimiser.eps": 1e-30})
    now = {"start": 1}
    deleted, amplified = (path(intervened(arm, dose, base, **now)) for arm in ("deletion", "amplification"))
    assert np.abs(deleted - amplified).max() < 1e-9
    scaled, plain = path(intervened("scaling", dose, base, **now)), path(base)
    assert np.abs(scaled - plain)[:, ~KEY_BIASES].max() < 1e-9
    assert np.abs(deleted - plain)[:, ~KEY_BIASES].max() > 1e-5 * dose


def test_the_log_says_what_was_done() -> None:
    trainer = Trainer(intervened("deletion", 0.3), 1, THETA, B)
    for _ in range(START):
        trainer.step()
    assert trainer.intervener is not None
    row = trainer.intervener.measure(trainer.grad)
    g = trainer.grad
    inside = np.linalg.norm(B @ g) ** 2
    outside = np.linalg.norm(g) ** 2 - inside
    assert row["step"] == START
    assert row["grad_inside"] == pytest.approx(inside / (inside + outside), rel=1e-12)
    assert row["given_inside"] == pytest.approx(inside / (inside + 0.7**2 * outside), rel=1e-12)
    assert row["param_inside"] == pytest.approx(
        np.linalg.norm(B @ trainer.net.theta) ** 2 / row["param_norm"] ** 2, rel=1e-12
    )


@pytest.mark.parametrize("arm", ["deletion", "update_deletion", "kick", "norm", "keep_rank", "slow"])
def test_a_run_that_is_stopped_goes_on_to_the_same_bits(tmp_path: Path, arm: str) -> None:
    """In float32, on another number of threads, and without the source: the plane is in the folder."""
    source = with_values(BASE, {"compute.dtype": "float32", "compute.shards": 2, "train.grok_threshold": 1e-9})
    with create(tmp_path / "source", source) as run:
        train(run, 1)
    more = {"source": "source", "rank": 2, "every": 3 if arm == "kick" else 0}
    config = intervened(arm, 0.3, with_values(source, {"train.snapshot_every": 2}), **more)
    with create(tmp_path / "whole", config) as run:
        train(run, 2)
    with create(tmp_path / "parts", config) as run:
        train(run, 1, observer=Observer(stop=lambda: True))
    shutil.rmtree(tmp_path / "source")
    for step in range(2, 13):
        with open_run(tmp_path / "parts") as run:
            assert train(run, 1 + step % 2, observer=Observer(stop=lambda: True)).step == step
    assert all_bits(tmp_path / "parts") == all_bits(tmp_path / "whole")
    assert len(open_run(tmp_path / "whole").metrics(TABLE)["step"]) == 7


@pytest.mark.oracle
@pytest.mark.parametrize("dose", [0.1, 0.5])
def test_deletion_is_the_papers_loop_in_pytorch(dose: float) -> None:
    """clip_grad_norm_, then g - s (g - B B^T g) written into the gradients, then torch.optim.AdamW."""
    torch = pytest.importorskip("torch", reason="the oracle needs PyTorch: install the extra [oracle]")
    accuracy, twin = pytest.importorskip("accuracy"), pytest.importorskip("minigrok.peers.torch_twin")
    config, o = intervened("deletion", dose), BASE.optimiser
    start = Trainer(BASE, 1, THETA)
    model = accuracy.twin(BASE)
    twin.load(model, THETA)
    adamw = twin.adamw(model, lr=o.learning_rate, weight_decay=o.weight_decay)
    torch.set_num_threads(1)
    found = []
    for t in range(1, 13):
        rows = start.stream.next()
        batch = twin.indices(start.tokens[rows]), twin.indices(start.targets[:, rows])
        adamw.zero_grad()
        twin.batch_loss(model, *batch, [1.0, 1.0]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), o.clip_norm)
        if t >= START:
            g = twin.join([p.grad for p in model.parameters()])
            for p, part in zip(model.parameters(), twin.split(model, g - dose * (g - B.T @ (B @ g))), strict=True):
                p.grad.copy_(part)
        adamw.step()
        found.append(twin.flat(model))
    assert np.abs(np.stack(found) - path(config)).max() < 1e-11
    assert np.abs(np.stack(found) - path(BASE)).max() > 1e-3


@pytest.mark.parametrize("arm", ["kick", "random_kick"])
def test_a_kick_is_normal_to_the_plane_as_long_as_asked_for_and_measured(arm: str) -> None:
    plain, kicked = path(BASE)[START - 1], Trainer(intervened(arm, 2.5), 1, THETA, B)
    for _ in range(START):
        kicked.step()
    assert kicked.intervener is not None
    jump, log = kicked.net.theta - plain, kicked.intervener.kicks
    update = np.zeros(P)
    kicked.adamw.update(update)
    assert np.linalg.norm(jump) == pytest.approx(2.5 * np.linalg.norm(update), rel=1e-10)
    assert np.abs(B @ jump).max() < 1e-12 * np.linalg.norm(jump) * P
    assert (log["kicks"], log["kick_norm"]) == (1, pytest.approx(np.linalg.norm(jump)))
    stream = rng(BASE.seed, f"intervention/kick/{START}")
    losses = []
    for _ in range(2):
        rows = stream.integers(0, len(kicked.tokens), 7)
        losses.append(Objective(BASE, kicked.tokens[rows], kicked.targets[:, rows]))
    before, after = (brackets.bracket(*losses, theta) for theta in (plain, kicked.net.theta))
    assert log["defect_before"] == pytest.approx(brackets.defect(before), rel=1e-9)
    assert log["defect_after"] == pytest.approx(brackets.defect(after), rel=1e-9)
    assert log["defect_before"] != log["defect_after"]
    normal = before.vector - B.T @ (B @ before.vector)
    assert (lengths.cosine(jump, normal) > 1 - 1e-9) == (arm == "kick")


def nowhere(reason: str, config: Config) -> tuple[Config, Array | None]:
    """A config and a plane that leave a kick no direction."""
    if reason == "all directions lie in the plane":
        return config, np.eye(P)
    if reason == "rounding alone lies outside the plane":
        return config, orthonormal(np.random.default_rng(0).standard_normal((P, P))).T
    return config, B


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "reason",
    [
        "the bracket is 0",
        "the bracket is not finite",
        "all directions lie in the plane",
        "rounding alone lies outside the plane",
    ],
)
def test_a_kick_without_a_direction_is_none_and_says_so(
    reason: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = with_values(BASE, {"compute.dtype": dtype})
    config, plane = nowhere(reason, intervened("kick", 2.5, base, every=2))
    trainer = Trainer(config, 1, THETA, plane)
    assert trainer.intervener is not None
    if reason.startswith("the bracket"):
        value = 0.0 if reason.endswith("0") else np.nan
        monkeypatch.setattr(trainer.intervener._defects, "at", lambda name, theta: (np.nan, np.full(P, value)))
    for _ in range(8):
        trainer.step()
    assert np.array_equal(trainer.net.theta, path(base, 8)[-1]), "the bits of a run without kicks"
    kicks = trainer.intervener.kicks
    assert (kicks["kicks"], kicks["kick_norm"]) == (0, 0)
    row = trainer.intervener.measure(trainer.grad)
    assert row["kick_norm"] == 0
    assert row["defect_before"] == row["defect_after"] or reason.startswith("the bracket")


def test_the_direction_of_no_parameters_at_all_changes_nothing() -> None:
    trainer = Trainer(intervened("norm", 0.3), 1, np.zeros(P))
    for _ in range(6):
        trainer.step()
        trainer.net.theta[:] = 0
    assert np.isfinite(trainer.net.theta).all()
    assert np.isfinite(trainer.adamw.m).all()


def test_key_biases_grow_out_of_rounding_under_arm_norm_and_under_no_other() -> None:
    """Their exact gradient is 0. From 0 they stay at rounding, but for the arm whose gradient has theta's direction."""
    size = {}
    for arm in ("none", "scaling", "norm"):
        trainer = Trainer(intervened(arm, 0.1 if arm != "none" else 0.0), 1, initial(BASE), B)
        for _ in range(100):
            trainer.step()
        size[arm] = np.abs(trainer.net.theta[KEY_BIASES]).max()
    assert max(size["none"], size["scaling"]) < 1e-7
    assert size["norm"] > 1e-3
    assert "chaotic" in ARMS["norm"].does


def test_removal_in_a_support_is_the_rest_of_what_keep_rank_keeps_there() -> None:
    inside = members(BASE, ["attention"])
    B_inside = orthonormal(np.random.default_rng(0).standard_normal((P, 3)) * inside[:, None]).T
    given = {}
    for arm, more in (("keep_rank", {}), ("removal", {"support": ["attention"]})):
        trainer = Trainer(intervened(arm, 1.0, start=1, **more), 1, THETA, B_inside)
        trainer.step()
        given[arm], g = trainer.intervener._given, trainer.grad  # type: ignore[union-attr]
    assert all(np.array_equal(each[~inside], g[~inside]) for each in given.values())
    assert np.abs((given["keep_rank"] + given["removal"] - g)[inside]).max() < 1e-15
    assert np.linalg.matrix_rank(np.vstack([B_inside, given["keep_rank"] * inside])) == 3


def test_perp_grad_is_perpendicular_to_theta_and_to_a_part_of_it_with_a_support() -> None:
    for support in ((), ("attention",)):
        trainer = Trainer(intervened("perp_grad", 1.0, start=1, support=support), 1, THETA)
        trainer.step()
        inside, given = members(BASE, support or ("*",)), trainer.intervener._given  # type: ignore[union-attr]
        assert abs(given[inside] @ THETA[inside]) < 1e-14
        assert abs(trainer.grad[inside] @ THETA[inside]) > 1e-6
        assert np.array_equal(given[~inside], trainer.grad[~inside])


def test_a_sustained_kick_comes_every_so_many_steps() -> None:
    for every, wanted in ((0, 1), (3, 3), (8, 2), (9, 1)):
        trainer = Trainer(intervened("random_kick", 1.0, every=every), 1, THETA, B)
        for _ in range(12):
            trainer.step()
        assert trainer.intervener is not None
        assert trainer.intervener.kicks["kicks"] == wanted  # at 4; 4, 7, 10; 4, 12; 4


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_repeats_of_a_seed_differ_by_a_rounding_error_at_the_start(dtype: str) -> None:
    base = with_values(BASE, {"compute.dtype": dtype})
    repeats = [dataclasses.replace(base, intervention=Intervention(start=START, repeat=k)) for k in (1, 2)]
    plain, first, second = path(base), path(repeats[0]), path(repeats[1])
    assert np.array_equal(first[: START - 1], plain[: START - 1])
    for a, b in ((plain, first), (first, second)):
        relative = np.abs(a - b)[START - 1] / np.abs(plain[START - 1])
        assert 0.2 < np.median(relative) / np.finfo(dtype).eps < 2
    assert np.array_equal(path(repeats[0]), first)
    both = dataclasses.replace(base, intervention=Intervention("deletion", 0.0, "x", START, repeat=1))
    assert np.array_equal(path(both), first)  # dose 0 is the baseline, repeat by repeat


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(LINEAR), st.floats(0, 0.95), st.integers(0, 99))
def test_no_arm_depends_on_the_number_of_threads(arm: str, dose: float, seed: int) -> None:
    base = with_values(BASE, {"compute.dtype": "float32", "compute.shards": 2, "seed": seed})
    config = intervened(arm, dose, base)
    assert np.array_equal(path(config, 6, threads=1), path(config, 6, threads=2))


def test_an_arm_without_its_plane_is_an_error_not_a_run_without_an_intervention() -> None:
    with pytest.raises(ConfigError, match="the rows of the plane of deletion"):
        Trainer(intervened("deletion", 0.1), 1, THETA)
