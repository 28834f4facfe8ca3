"""The numbers that reference_outputs/ keeps of a run: what each is, how exactly it must come back, and why.

Three tiers, because training is chaotic in its last bits while the maths at fixed weights is not:

    exact         at the shipped weights of the trained network: scores on all pairs, gradient and curvature of a batch
    prefix        the first 50 training steps in float64, and the first two evaluations of the run itself
    phenomenon    when the tasks memorised and grokked: read from the shipped table of the float32 run
Tolerances are those of rounding, measured over BLAS kernels, instruction sets and shard counts, with a margin that
`why` states beside what was found.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from minigrok.config import Config, with_settings
from minigrok.engine import Array
from minigrok.network.objective import Objective
from minigrok.network.passes import evaluation, passes
from minigrok.storage.milestones import MEMORISED, is_of_group, milestones
from minigrok.tasks import pairs
from minigrok.training.optim import norm
from minigrok.training.trainer import Trainer

BATCH = 512  # train pairs of the exact tier: the paper's batch size
PREFIX = (1, 2, 5, 10, 20, 50)  # steps of the prefix tier at which numbers are kept
EXACT, TRAINED, SINGLE, CHAOS = 1e-11, 1e-12, 1e-5, 0.2  # relative tolerances
FLIPS = 1e-3  # absolute tolerance of an accuracy in float32: a few pairs
WHY = (
    "float64; the order of sums differs: up to 2e-14 found over 5 OpenBLAS kernels, generic and native code, 1 to 7 "
    "shards; the rest is margin for other BLAS libraries"
)
WHY_COUNT = "a count: it changes only if two logits of a pair are within rounding of one another"
WHY_TRAINED = (
    "float64; rounding does not grow in 50 steps: up to 2e-16 found over 5 OpenBLAS kernels, generic and native code, "
    "1 to 7 shards, and 2e-15 against PyTorch in 200 steps of a small model; the rest is margin"
)
WHY_NUMPY = ". The initial parameters come from NumPy's PCG64 generator, whose distributions a future NumPy may change"
WHY_SINGLE = (
    "the run's own dtype; in float32 up to 4e-8 found after 100 steps over 4 OpenBLAS kernels, generic and native "
    "code, 1 to 7 shards; the rest is margin for other BLAS libraries. In portable mode it is the bits that table.csv "
    "has"
)
WHY_CHAOS = (
    "float32 training is chaotic in its last bits: another BLAS or instruction set may move a step by a fifth. The "
    "check does not repeat the run but holds the number to the shipped table, exactly; with compute.portable the run "
    "itself comes back to the bit"
)


@dataclass(frozen=True)
class Expected:
    """One number of a reference, as expected.json keeps it.

    Attributes
    ----------
    name, unit : str
    value : int, float or None    None: a milestone that was not reached
    rtol, atol : float            |found - value| may be up to atol + rtol |value|
    tier : str                    "exact", "prefix" or "phenomenon"
    why : str                     why this tolerance
    source : str                  what was computed, and where the definition is
    """

    name: str
    value: float | None
    unit: str
    rtol: float
    atol: float
    tier: str
    why: str
    source: str


def float64(config: Config) -> Config:
    """Return the same run in float64 on whatever instructions the machine has."""
    return with_settings(anywhere(config), ["compute.dtype=float64"])


def anywhere(config: Config) -> Config:
    """Return the same run on whatever instructions the machine has."""
    return with_settings(config, ["compute.portable=false"])


def exact(config: Config, theta: Array) -> list[Expected]:
    """Numbers at given weights.

    Parameters
    ----------
    config : Config
    theta : (P,) float    taken to float64 as they are

    Returns
    -------
    list of Expected
        tier "exact"
    """
    config, theta = float64(config), np.asarray(theta, np.float64)
    return [*_scores(config, theta), *_derivatives(config, theta)]


def _scores(config: Config, theta: Array) -> list[Expected]:
    """Loss and accuracy of every task on all train and all test pairs."""
    net, data = (
        passes(config, config.compute.engine, "float64", config.compute.shards),
        pairs(config.task, config.seed),
    )
    net.theta[:] = theta
    found = []
    for part, rows in (("train", data.train), ("test", data.test)):
        scores = evaluation(net, data.tokens[rows], data.targets[:, rows]).scores()
        source = f"minigrok.network.evaluation, all {len(rows)} {part} pairs"
        for k, task in enumerate(config.task.operations):
            loss, accuracy = float(scores.loss[k]), float(scores.accuracy[k])
            found.append(Expected(f"{part} loss, {task}", loss, "nats", EXACT, 0.0, "exact", WHY, source))
            found.append(Expected(f"{part} accuracy, {task}", accuracy, "share", 0.0, 0.0, "exact", WHY_COUNT, source))
    return found


def _derivatives(config: Config, theta: Array) -> list[Expected]:
    """Loss, gradient g, Hessian H, Gauss-Newton matrix G and Jacobian J of a batch, along g and two directions."""
    data = pairs(config.task, config.seed)
    batch = data.train[:BATCH]
    objective = Objective(config, data.tokens[batch], data.targets[:, batch])
    g = objective.grad(theta)
    size, d1, d2 = float(np.linalg.norm(g)), direction(1, theta.size), direction(2, theta.size)
    along = np.stack([d1, g / size], axis=1)
    Hd, Hg = objective.hvp(theta, along).T
    Gd, Gg = objective.ggn_vp(theta, along).T
    values = {
        "batch loss": objective.loss(theta),
        "|g|": size,
        "d1 . g": d1 @ g,
        "d2 . g": d2 @ g,
        "g . H g / |g|^2": Hg @ g / size,
        "g . G g / |g|^2": Gg @ g / size,
        "|H g| / |g|": np.linalg.norm(Hg),
        "d1 . H d1": d1 @ Hd,
        "d2 . H d1": d2 @ Hd,
        "|H d1|": np.linalg.norm(Hd),
        "d1 . G d1": d1 @ Gd,
        "d2 . G d1": d2 @ Gd,
        "|G d1|": np.linalg.norm(Gd),
        "|J d1|": np.linalg.norm(objective.jvp(theta, d1)),
    }
    source = (
        f"minigrok.network.objective, first {len(batch)} train pairs, tasks summed; d1, d2: reference_numbers.direction"
    )
    return [Expected(name, float(x), "nats", EXACT, 0.0, "exact", WHY, source) for name, x in values.items()]


def direction(seed: int, size: int) -> Array:
    """Return a fixed unit vector (size,): random signs over root size.

    The signs are bits of NumPy's RandomState, whose stream is frozen for good: no version changes them.
    """
    bits = np.frombuffer(np.random.RandomState(seed).bytes(size), np.uint8) & 1
    unit: Array = (2.0 * bits - 1) / np.sqrt(size)
    return unit


def prefix(config: Config) -> list[Expected]:
    """Loss and gradient norm before some of the first 50 steps, and the parameter norm after them.

    Returns
    -------
    list of Expected
        tier "prefix"
    """
    trainer, found = Trainer(float64(config)), []
    why = WHY_TRAINED + WHY_NUMPY * (config.init.generator == "numpy")
    for step in range(1, max(PREFIX) + 1):
        losses = trainer.step()
        if step in PREFIX:
            values = {f"loss, {task}": (x, "nats") for task, x in zip(config.task.operations, losses, strict=True)}
            values["gradient norm"] = trainer.grad_norm, "nats"
            values["parameter norm"] = norm(trainer.engine, trainer.net.theta), "dimensionless"
            found += [
                Expected(f"step {step}: {name}", float(x), unit, TRAINED, 0.0, "prefix", why, "minigrok.training.train")
                for name, (x, unit) in values.items()
            ]
    return found


def beginning(config: Config, last: int) -> list[Expected]:
    """Metrics of the run itself at its evaluations up to step `last`: the first rows of its table.

    Accuracies of groups of test pairs are none of them: references are older, and what they say the others say too.

    Returns
    -------
    list of Expected
        tier "prefix"
    """
    trainer, found = Trainer(anywhere(config)), []
    while trainer.counters.step < last:
        trainer.step()
        if trainer.evaluation_due:
            row = trainer.evaluate()
            step = row.pop("step")
            found += [
                _single(f"evaluation at step {step}: {name}", float(x))
                for name, x in row.items()
                if not is_of_group(name)
            ]
    return found


def _single(name: str, value: float) -> Expected:
    if "accuracy" in name:
        return Expected(name, value, "share", 0.0, FLIPS, "prefix", WHY_SINGLE, "minigrok.training.train")
    unit = "dimensionless" if name.endswith("param_norm") else "nats"
    return Expected(name, value, unit, SINGLE, 0.0, "prefix", WHY_SINGLE, "minigrok.training.train")


def ending(config: Config, columns: Mapping[str, Array]) -> dict[str, float | None]:
    """Milestones of a finished run, and where it ended.

    Parameters
    ----------
    config : Config
    columns : mapping of name to (rows,)    of its metrics.csv

    Returns
    -------
    dict of name to value
        steps, and shares of pairs; None: a milestone that was not reached
    """
    values: dict[str, float | None] = {"last step": int(columns["step"][-1])}
    for task, (memorised, grokked) in milestones(config, columns).items():
        values |= {f"memorised, {task}": memorised, f"grokked, {task}": grokked}
        for part in ("train", "test"):
            values[f"last {part} accuracy, {task}"] = float(columns[f"{part}_accuracy_{task}"][-1])
    return values


def phenomenon(config: Config, values: Mapping[str, float | None]) -> list[Expected]:
    """Return the numbers of tier "phenomenon" for what `ending` found."""
    rule = f"memorised: train accuracy > {MEMORISED}; grokked: test accuracy >= {config.train.grok_threshold:g} in "
    source = f"table.csv; {rule}{config.train.grok_patience} evaluations in a row, the last one counts"
    kinds = {name: ("share", 0.02) if "accuracy" in name else ("steps", CHAOS) for name in values}
    return [Expected(name, value, *kinds[name], 0.0, "phenomenon", WHY_CHAOS, source) for name, value in values.items()]
