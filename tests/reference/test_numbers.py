"""What the reference numbers are, how they are compared, and that those of the repository are consistent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from minigrok import reference
from minigrok.config import Config, Model, Task, Train, with_settings
from minigrok.network.objective import Objective
from minigrok.network.params import layout
from minigrok.reference import compare
from minigrok.reference import files as reference_files
from minigrok.reference import run as reference_run
from minigrok.reference.numbers import PREFIX, Expected, beginning, direction, ending, exact, phenomenon, prefix
from minigrok.storage.metrics import read_columns
from minigrok.storage.milestones import is_of_group
from minigrok.tasks import pairs

CONFIG = Config(
    "small",
    task=Task(p=7),
    model=Model(width=8, heads=2, mlp_width=6, blocks=1),
    train=Train(batch_size=16, grok_threshold=0.05),
)
TOP = Path(__file__).parents[2]
SIZE = layout(CONFIG).size


def test_directions_are_fixed_unit_vectors() -> None:
    """Signs from a frozen stream: these very ones, for good."""
    d = direction(1, 1000)
    assert np.linalg.norm(d) == pytest.approx(1, rel=1e-15)
    assert np.array_equal(np.abs(d), np.full(1000, 1000**-0.5))
    assert abs(d @ direction(2, 1000)) < 0.1
    assert (np.sign(d[:12]) > 0).tolist() == [bool(byte & 1) for byte in np.random.RandomState(1).bytes(12)]
    assert "".join("+" if x > 0 else "-" for x in d[:16]) == "+-+-+-++-++-----"


def test_exact_numbers_are_those_of_the_objective() -> None:
    theta = np.random.default_rng(0).standard_normal(SIZE)
    values = {number.name: number.value for number in exact(CONFIG, theta)}
    data = pairs(CONFIG.task, CONFIG.seed)
    batch = data.train[:512]
    objective = Objective(CONFIG, data.tokens[batch], data.targets[:, batch], engine="plain")
    g, d1, d2 = objective.grad(theta), direction(1, theta.size), direction(2, theta.size)
    H, G = objective.hessian(theta), objective.ggn(theta)
    for name, value in {
        "batch loss": objective.loss(theta),
        "|g|": np.sqrt(g @ g),
        "d2 . g": d2 @ g,
        "g . H g / |g|^2": g @ (H @ g) / (g @ g),
        "g . G g / |g|^2": g @ (G @ g) / (g @ g),
        "|H g| / |g|": np.linalg.norm(H @ g) / np.linalg.norm(g),
        "d1 . H d1": d1 @ (H @ d1),
        "d2 . G d1": d1 @ (G @ d2),
        "|J d1|": np.linalg.norm(objective.jvp(theta, d1)),
    }.items():
        assert values[name] == pytest.approx(value, rel=1e-11), name
    assert values["train loss, add"] == pytest.approx(objective.losses(theta)[0], rel=1e-12)


def test_the_prefix_is_in_float64_whatever_the_run() -> None:
    rows = prefix(CONFIG)
    assert rows == prefix(with_settings(CONFIG, ["compute.dtype=float64"]))
    assert [row.name.partition(":")[0] for row in rows[::4]] == [f"step {step}" for step in PREFIX]


def test_the_beginning_is_that_of_the_run_itself() -> None:
    """Its first two evaluations, in its own dtype: a change of one rounding in float32 is seen."""
    rows = beginning(CONFIG, CONFIG.train.eval_every)
    assert [row.name for row in rows[:: len(rows) // 2]] == [
        f"evaluation at step {step}: train_loss_add" for step in (1, CONFIG.train.eval_every)
    ]
    other = beginning(with_settings(CONFIG, ["compute.dtype=float64"]), CONFIG.train.eval_every)
    losses = [(a.value, b.value) for a, b in zip(rows, other, strict=True) if "loss" in a.name]
    assert all(a != b and a == pytest.approx(b, rel=1e-5) for a, b in losses)
    assert not any("alone" in row.name or "partner" in row.name for row in rows)  # columns that references never had


def test_phenomena_are_the_milestones() -> None:
    columns = {"step": np.array([1, 100, 200, 300, 400])}
    for task in ("add", "mul"):
        columns |= {
            f"train_accuracy_{task}": np.array([0, 0.5, 1, 1, 1]),
            f"test_accuracy_{task}": np.array([0, 0.06, 1, 1, 1]),
        }
    columns["test_accuracy_mul"] = np.array([0, 1, 0, 1, 0.25])
    values = {number.name: number.value for number in phenomenon(CONFIG, ending(CONFIG, columns))}
    assert (values["memorised, add"], values["grokked, add"], values["last step"]) == (200, 300, 400)
    assert (values["grokked, mul"], values["last test accuracy, mul"]) == (None, 0.25)


def test_compare_with_milestones_that_were_not_reached() -> None:
    def number(value: float | None, tier: str = "phenomenon") -> list[Expected]:
        return [Expected("grokked", value, "steps", 0.2, 0.0, tier, "", "")]

    for old, new, rerun, holds in (
        (None, None, False, True),
        (None, 100.0, True, False),
        (100.0, None, True, False),
        (100.0, 119.0, True, True),
        (100.0, 121.0, True, False),
        (100.0, 100.1, False, False),
    ):
        (row,) = compare(number(old), number(new), rerun)
        assert row.holds == holds
    assert compare(number(100.0, "exact"), number(119.0, "exact"))[0].holds


@pytest.mark.parametrize("name", sorted(path.parent.name for path in TOP.glob("reference_outputs/*/config.toml")))
def test_what_the_repository_ships_is_consistent(name: str) -> None:
    """Without the seconds that `minigrok reference check` takes, which CI calls."""
    folder = TOP / "reference_outputs" / name
    config, kept = reference_run.read_config(folder), reference_files.read_expected(folder)
    table = phenomenon(config, ending(config, read_columns(folder / "table.csv")))
    assert all(row.holds for row in compare([number for number in kept if number.tier == "phenomenon"], table))
    assert {number.tier for number in kept} == set(reference.TIERS)
    values = {number.name: number.value for number in kept}
    for row in range(2):  # the shipped table is that of the code which the check repeats
        columns = read_columns(folder / "table.csv").items()
        step, *rest = ((key, column[row]) for key, column in columns if not is_of_group(key))
        assert {f"evaluation at step {step[1]:.0f}: {key}": x for key, x in rest}.items() <= values.items()
    assert np.isfinite(reference_run.read_theta(folder, layout(config).size)).all()
    assert reference.summary(folder).reason
    assert (folder / "figure.png").exists()
