"""minigrok against PyTorch in float64: loss, every gradient block, products, 200 training steps, weights both ways.

Errors are relative to the largest element of what is compared (of the block, for gradients by name). One block has no
size to be relative to: the key bias, a third of each in_proj_bias, cannot change the softmax, so its exact gradient is
0 and both programs return rounding; it is compared with the size of the whole gradient instead.

pytest -rP prints the worst error of each comparison.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the oracle needs PyTorch: install the extra [oracle]")
import accuracy  # noqa: E402
import oracle  # noqa: E402
from accuracy import block_errors, error, twin  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from minigrok.config import Config, Model, Task, preset, with_settings  # noqa: E402
from minigrok.engine import ENGINES, Array, open_engine  # noqa: E402
from minigrok.layers import cross_entropy  # noqa: E402
from minigrok.network.objective import Objective  # noqa: E402
from minigrok.network.params import initial, layout  # noqa: E402
from minigrok.network.sharded import Sharded  # noqa: E402
from minigrok.peers.problem import key_biases  # noqa: E402
from minigrok.storage.runs import create, load_weights  # noqa: E402
from minigrok.tasks import BatchStream, pairs  # noqa: E402
from minigrok.training.train import train  # noqa: E402
from minigrok.training.trainer import Trainer  # noqa: E402

pytestmark = pytest.mark.oracle


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """PyTorch's threads wait busily: on a machine with other work they take ten times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


TOLERANCE = 1e-12  # issue 2 asks for 1e-10; the largest error found is 7e-15
SMALL = Config("small", task=Task(p=7), model=Model(width=8, heads=2, mlp_width=12, blocks=2))
DEEP = Config("deep", task=Task(p=11, operations=("add", "mul", "sq")), model=Model(6, 3, 5, blocks=3))
FLAT = Config("flat", task=Task(p=5, operations=("sub",)), model=Model(4, 1, 7, blocks=1, norm_eps=1e-3))
UNIFORM = with_settings(SMALL, ["name=uniform", "model.attention=uniform"])
SPHERE = with_settings(DEEP, ["name=sphere", "model.norm=sphere"])
BOTH = with_settings(SMALL, ["name=both", "model.norm=sphere", "model.attention=uniform"])
WEIGHTS = (1.0, 0.5, 2.0)


def problem(config: Config, B: int) -> tuple[Array, Array, Array, Array, list[float]]:
    """theta away from the initial values, a direction, tokens, targets, task weights."""
    rng = np.random.default_rng(B)
    theta = initial(config).astype(np.float64)
    theta += 0.1 * rng.standard_normal(theta.size)
    data = pairs(config.task, config.seed)
    rows = rng.integers(0, len(data.tokens), B)
    weights = list(WEIGHTS[: len(config.task.operations)])
    return theta, rng.standard_normal(theta.size), data.tokens[rows], data.targets[:, rows], weights


CASES = [
    *(
        (config, B, engine)
        for config in (SMALL, DEEP, FLAT, UNIFORM, SPHERE, BOTH)
        for B in (1, 9, 40)
        for engine in ENGINES
    ),
    (preset("dual"), 64, "cpu"),
]


@pytest.mark.parametrize(("config", "B", "engine"), CASES, ids=lambda x: getattr(x, "name", x))
def test_everything_is_pytorchs(config: Config, B: int, engine: str) -> None:
    theta, v, tokens, targets, weights = problem(config, B)
    model, batch = twin(config), (tokens, targets, weights)
    objective = Objective(config, tokens, targets, np.array(weights), engine=engine, shards=2)
    errors = {
        "loss": abs(objective.loss(theta) / oracle.loss(model, theta, *batch) - 1),
        "Jv": error(objective.jvp(theta, v), oracle.jvp(model, theta, v, tokens)),
        "Gv": error(objective.ggn_vp(theta, v), oracle.ggn_vp(model, theta, v, *batch)),
    }
    grad, Hv = objective.grad(theta), objective.hvp(theta, v)
    for what, found, expected in (
        ("grad", grad, oracle.grad(model, theta, *batch)),
        ("Hv", Hv, oracle.hvp(model, theta, v, *batch)),
    ):
        errors |= {f"{what} {name}": e for name, e in block_errors(config, found, expected).items()}
    worst = max(errors, key=errors.__getitem__)
    print(f"worst error {errors[worst]:.1e}: {worst}")
    assert errors[worst] < TOLERANCE, (worst, errors[worst])


def test_the_comparison_sees_a_small_mistake_in_a_small_block() -> None:
    """An eps of LayerNorm that differs by 1e-8; one gradient element off by 1e-9 of its block."""
    theta, _, *batch = problem(SMALL, 9)
    expected = oracle.grad(twin(SMALL), theta, *batch)
    other = oracle.OracleModel(7, 8, 2, 12, 2, SMALL.task.operations, SMALL.model.norm_eps + 1e-8)
    assert max(block_errors(SMALL, oracle.grad(other, theta, *batch), expected).values()) > TOLERANCE
    off = expected.copy()
    block = layout(SMALL).views(off)["encoder.layers.0.norm1.bias"]
    block[3] += 1e-9 * np.abs(block).max()
    assert max(block_errors(SMALL, off, expected).values()) > TOLERANCE


# --- the table in minigrok/docs/accuracy.md


@pytest.mark.parametrize("dtype", accuracy.LIMITS)
def test_both_types_keep_the_accuracy_of_the_table(dtype: str) -> None:
    found = accuracy.worst(dtype, n_seeds=1)
    print({column: f"{value:.1e}" for column, value in found.items()})
    assert {column for column, value in found.items() if not value <= accuracy.LIMITS[dtype][column]} == set()


def test_float32_is_not_float64() -> None:
    """The limits of one type reject the other: the comparison resolves the rounding of both."""
    found, limits = accuracy.derivatives("float32", 0), accuracy.LIMITS["float64"]
    assert all(value > 100 * limits[column] for column, value in found.items())


# --- training

STEPS = 200
PAPER = with_settings(SMALL, ["compute.dtype=float64", "train.batch_size=32"])  # lr 1e-3, wd 1, clipping at 1
FASTER = with_settings(PAPER, ["optimiser.learning_rate=3e-3", "optimiser.weight_decay=0.5", "optimiser.clip_norm=0.3"])


def allowed(config: Config, t: Array) -> Array:
    """Largest |difference| of a parameter (they are of order 1) after t steps.

    At the paper's rate rounding does not grow: 2.4e-15 found. Three times as fast the pairs are nearly memorised after
    100 steps and the path becomes unstable, whoever computes it: 3e-15 found at step 100, 2e-12 at 150, 3e-11 at 200.
    So the limit goes up tenfold every 25 steps from there.
    """
    return 1e-13 * 10.0 ** (np.maximum(t - 100, 0) / 25 * (config is FASTER))


def our_path(config: Config) -> tuple[Array, Array, Array]:
    """theta after each step (n, P); loss (n,) and gradient norm (n,) before it."""
    trainer = Trainer(config)
    rows = [(trainer.step().sum(), trainer.grad_norm, trainer.net.theta.copy()) for _ in range(STEPS)]
    losses, norms, path = zip(*rows, strict=True)
    return np.stack(path), np.array(losses), np.array(norms)


def their_path(config: Config, theta: Array, **change: float) -> tuple[Array, Array]:
    """theta after each step, and the loss before it, from the same start and the same batches."""
    s, data = config.optimiser, pairs(config.task, config.seed)
    stream = BatchStream(config.seed, len(data.train), config.train.batch_size)
    rows = [data.train[stream.next()] for _ in range(STEPS)]
    batches = [(data.tokens[r], data.targets[:, r]) for r in rows]
    settings = {"lr": s.learning_rate, "eps": s.eps, "weight_decay": s.weight_decay, "max_norm": s.clip_norm} | change
    return oracle.train_steps(twin(config), theta, batches, [1.0, 1.0], betas=(s.beta1, s.beta2), **settings)


@pytest.mark.parametrize(("config", "clipped"), [(PAPER, (0.5, 0.9)), (FASTER, (0.99, 1.0))], ids=["paper", "faster"])
def test_200_steps_are_pytorchs_step_by_step(config: Config, clipped: tuple[float, float]) -> None:
    path, losses, norms = our_path(config)
    theirs, their_losses = their_path(config, initial(config))
    t, keys = np.arange(1, STEPS + 1), key_biases(config)
    assert clipped[0] <= np.mean(norms > config.optimiser.clip_norm) <= clipped[1], "both sides of the clipping norm"
    assert losses[-1] < 0.7 * losses[0], "something is learnt meanwhile"
    difference = np.abs(path - theirs)
    assert (difference[:, ~keys].max(axis=1) < allowed(config, t)).all()
    assert (np.abs(losses / their_losses - 1) < 10 * allowed(config, t)).all()
    # Adam divides a key bias's gradient, rounding of 1e-17, by eps = 1e-8: up to lr 1e-9 = 1e-12 a step on each side
    assert (difference[:, keys].max(axis=1) < 1e-12 * t).all()


@pytest.mark.parametrize(
    "change", [{"lr": 1e-3 + 1e-12}, {"weight_decay": 1 + 1e-9}, {"max_norm": 1 + 1e-8}, {"eps": 1.01e-8}]
)
def test_the_comparison_of_paths_sees_each_setting(change: dict[str, float]) -> None:
    path = their_path(PAPER, initial(PAPER))[0]
    other = their_path(PAPER, initial(PAPER), **change)[0]
    difference = np.abs(path - other)[:, ~key_biases(PAPER)].max(axis=1)
    assert (difference > allowed(PAPER, np.arange(1, STEPS + 1))).any()


# --- weights, both ways


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-13)])
def test_a_snapshot_is_a_state_dict(tmp_path: Path, dtype: str, tolerance: float) -> None:
    config = with_settings(SMALL, [f"compute.dtype={dtype}", "train.max_steps=50", "train.batch_size=16"])
    run = create(tmp_path / "run", config)
    train(run)
    model = twin(config).to(getattr(torch, dtype))
    model.load_state_dict(load_file(run.folder / "snapshots" / "000050.safetensors"), strict=True)
    data = pairs(config.task, config.seed)
    with torch.no_grad():
        theirs = torch.stack(model(torch.tensor(data.tokens))).numpy()
    assert np.array_equal(oracle.flat(model), run.load_snapshot(50))
    net = Sharded(config, "cpu", dtype, 2)
    net.theta[:] = run.load_snapshot(50)
    net.load(data.tokens, data.targets)
    net.forward()
    ours = np.concatenate([np.stack(shard.logits) for shard in net.shards], axis=1)
    assert ours.dtype == theirs.dtype
    assert error(ours, theirs) < tolerance


def test_a_state_dict_is_initial_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = twin(SMALL)
    save_file(model.state_dict(), tmp_path / "torch.safetensors")
    theta = load_weights(tmp_path / "torch.safetensors", layout(SMALL))
    assert np.array_equal(theta, oracle.flat(model))
    run = create(tmp_path / "run", with_settings(SMALL, ["train.max_steps=1"]), theta)
    train(run)
    assert np.array_equal(run.load_snapshot(0), theta)


def test_saturating_is_pytorchs_float32() -> None:
    """The paper's softmax collapse: where PyTorch's loss and pull on the true class are 0, so are ours."""
    gaps = np.array([5, 10, 14, 18, 22, 30], np.float32)
    x = np.zeros((len(gaps), 5), np.float32)
    x[:, 2] = gaps
    z = torch.tensor(x, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(z, torch.full((len(gaps),), 2), reduction="none")
    loss.sum().backward()
    for engine in ENGINES:
        machine = open_engine(engine, "float32")
        ours, tape = cross_entropy.forward(machine, x, np.full(len(gaps), 2), True)
        dx = cross_entropy.backward(machine, tape, 1.0)
        assert np.abs(ours - loss.detach().numpy()).max() <= 2e-7
        assert np.abs(dx - z.grad.numpy()).max() <= 2e-7
        collapsed = gaps >= 18
        assert np.array_equal(ours == 0, collapsed)
        assert np.array_equal(loss.detach().numpy() == 0, collapsed)
        assert np.array_equal(dx[:, 2] == 0, collapsed)
        assert np.array_equal(z.grad[:, 2].numpy() == 0, collapsed)
