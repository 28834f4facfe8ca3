"""A run folder from snapshots that another program saved.

What shapes tell is read off them: tasks, p, width, MLP width, blocks, dtype. What they cannot tell is given: number of
attention heads, epsilon, learning rate, batch size. Whether it is minigrok's network at all (GELU, norms before each
half, the read-out at position 0, this split) no shape tells: so the loss, or the logits, that the other program found
at one step must come out here. Nothing is written before that.

The table of evaluations is made here, one row a snapshot, in float64. Nobody knows the gradient of the last batch.
"""

import re
import secrets
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minigrok.analyses.shared.activations import Activations
from minigrok.checks import LONGEST
from minigrok.config import Config, Model, Task, Train, with_values
from minigrok.engine import Array
from minigrok.errors import ConfigError, MinigrokError, NonFiniteError, RunFolderError
from minigrok.exchange import names, sources
from minigrok.network.objective import Objective
from minigrok.network.params import Layout, layout
from minigrok.network.passes import evaluation, passes
from minigrok.storage.files import make_folder, unwritable
from minigrok.storage.run import flat
from minigrok.storage.runs import Run, create, open_run
from minigrok.tasks import Pairs, pairs
from minigrok.training.budget import require_room

TOLERANCE = 1e-6  # relative, of a loss or of the largest logit: less than other epsilons make: our choice
EPSILONS = (1e-5, 1e-6, 1e-8, 1e-12)  # of LayerNorm, tried where a number does not come out: usual ones


class Claim(NamedTuple):
    """What the other program found at a step: its train loss, summed over tasks, or its logits of all train pairs."""

    step: int
    loss: float | None
    logits: Array | None  # (n_tasks, n_train, p), or (n_train, p) for one task


class Compared(NamedTuple):
    """A claim beside what was found here."""

    what: str
    difference: float  # relative to the loss, or to the largest logit
    said: str


@dataclass(frozen=True)
class Adopted:
    """A run that was adopted, and how.

    Attributes
    ----------
    run : Run
    compared : Compared
    table : dict of minigrok's name to hers
    assumed : list of str    settings that nobody gave and nothing could check
    """

    run: Run
    compared: Compared
    table: names.Table
    assumed: list[str]


def adopt(
    source: Path,
    out: Path,
    claim: Claim,
    split: int | Path,
    settings: Mapping[str, Any],
    operations: Sequence[str] = (),
    table: Path | None = None,
    tolerance: float = TOLERANCE,
) -> Adopted:
    """Make a run folder of the snapshots in a folder.

    Parameters
    ----------
    source : Path                files as `sources.by_step` finds them
    out : Path                   must not exist, or be empty; it appears whole, or not at all
    claim : Claim
    split : int or Path          a seed: the paper's split of that seed. A file: `sources.read_split`
    settings : mapping           what shapes do not tell: "model.heads" above all
    operations : sequence of str    of the heads, where their names do not say
    table : Path, optional       of names; what it leaves out is guessed
    tolerance : float            of the claim, relative

    Raises
    ------
    RunFolderError    files that are no snapshots of one network, no split, or a folder that is in use
    ConfigError       settings that do not fit, names that cannot be guessed
    NonFiniteError    a snapshot holds NaN or infinity
    MinigrokError     the claim does not come out
    """
    files = sources.by_step(source)
    if claim.step not in files:
        there = f"steps {', '.join(map(str, list(files)[:5]))}{', ...' * (len(files) > 5)}"
        raise ConfigError(
            f"a snapshot of step {claim.step} in {source}", there, "name one of these in --loss or --logits"
        )
    arrays = sources.read(files[claim.step])
    known = _table(arrays, operations, table)
    named = names.named(files[claim.step], arrays, known)
    config = _config(out.name, named, operations or names.operations_of(known), list(files), split, settings)
    parts = layout(config)
    theta = _theta(files[claim.step], named, parts)
    config = with_values(config, {"compute.dtype": str(theta.dtype)})
    require_room(config)
    data = pairs(config.task, config.seed)
    compared = _required(config, data, theta, claim, tolerance)

    def snapshots() -> Iterable[tuple[int, Array]]:
        for step, path in files.items():
            found = _theta(path, names.named(path, sources.read(path), known), parts)
            if found.dtype != theta.dtype:
                got, do = f"{found.dtype} in {path}", "save all of them in one precision"
                raise RunFolderError(f"{theta.dtype} in every snapshot, as in that of step {claim.step}", got, do)
            yield step, found

    _write(out, config, data, snapshots(), compared)
    return Adopted(open_run(out), compared, known, _assumed(settings))


def _table(arrays: Mapping[str, Array], operations: Sequence[str], path: Path | None) -> names.Table:
    """Return the table of names: given, and guessed for what is left."""
    given = names.read_table(path) if path else {}
    taken = {name for each in given.values() for name in each}
    return given | names.guessed([name for name in arrays if name not in taken], operations)


def _config(
    name: str,
    arrays: Mapping[str, Array],
    operations: Sequence[str],
    steps: list[int],
    split: int | Path,
    settings: Mapping[str, Any],
) -> Config:
    """Return the configuration that shapes, split and settings tell."""
    first = "encoder.layers.0."
    width = _size(arrays, f"{first}self_attn.in_proj_bias") // 3
    blocks = 1 + max(int(n[1]) for name in arrays if (n := re.match(r"encoder\.layers\.(\d+)\.", name)))
    head = f"heads.{operations[0]}."
    p = _size(arrays, head + ("bias" if head + "bias" in arrays else "weight"))
    every = min(np.diff(steps).tolist(), default=1)
    config = Config(
        re.sub(r"^[^A-Za-z0-9_]|[^A-Za-z0-9._-]", "_", name)[:LONGEST] or "adopted",
        task=Task(p, tuple(operations), exclude_zero=p > 2),
        model=Model(width, 1, _size(arrays, f"{first}linear1.bias"), blocks),
        train=Train(max_steps=max(steps[-1], 1), eval_every=every, snapshot_every=every),
    )
    config = with_values(config, settings)
    if not isinstance(split, Path):
        return with_values(config, {"seed": split})
    found = sources.read_split(split, p, settings.get("task.exclude_zero"))
    without = config.task.exclude_zero if found.exclude_zero is None else found.exclude_zero
    share = len(found.rows) / (p - without) ** 2
    values = {"task.exclude_zero": without, "task.train_rows": found.rows}
    return with_values(config, values | ({"task.train_fraction": share} if 0 < share < 1 else {}))


def _size(arrays: Mapping[str, Array], name: str) -> int:
    """Return the length of an array that tells a size."""
    if name not in arrays or not arrays[name].ndim or not arrays[name].size:
        do = "name the arrays in a table: --names FILE.toml"
        got = f"names known: {', '.join(list(arrays)[:5]) or 'none'}"
        raise ConfigError(f"an array {name}, or another name for it", got, do)
    return len(arrays[name])


def _theta(path: Path, arrays: Mapping[str, Array], parts: Layout) -> Array:
    """Return the parameters (P,) in a file, checked: names, shapes, dtypes, finite numbers."""
    for name, shape in parts.shapes.items():
        if name in arrays and arrays[name].shape != shape and arrays[name].shape == shape[::-1]:
            do = "transpose it before it is saved: PyTorch's linear weights are (out, in)"
            raise RunFolderError(f"{name} {shape} in {path}", f"{arrays[name].shape}: transposed", do)
    theta = flat(path, arrays, parts)
    if not np.isfinite(theta).all():
        wrong = next(name for name, x in parts.views(theta).items() if not np.isfinite(x).all())
        raise NonFiniteError(f"finite numbers in {path}", f"NaN or infinity in {wrong}", "leave out what diverged")
    return theta


def _required(config: Config, data: Pairs, theta: Array, claim: Claim, tolerance: float) -> Compared:
    """Return the claim beside what comes out here; a MinigrokError unless they are the same."""
    found = _compared(config, data, theta, claim)
    if found.difference <= tolerance:
        return found
    heads = [h for h in range(1, config.model.width + 1) if config.model.width % h == 0]
    others = [replace(config.model, heads=h, norm_eps=eps) for h in heads for eps in EPSILONS]
    fits = (x for x in others if _compared(replace(config, model=x), data, theta, claim).difference <= tolerance)
    if model := next(fits, None):
        do = f"it would with --heads {model.heads} --set model.norm_eps={model.norm_eps:g}"
    else:
        do = (
            "compare: GELU (not ReLU, not its tanh form), norm before each half, one epsilon in every norm, no mask, "
            "read-out at position 0, the split; the loss: in float64, a sum over tasks of means over all train pairs"
        )
    raise MinigrokError(f"the {found.what} of step {claim.step} within {tolerance:g}", found.said, do)


def _compared(config: Config, data: Pairs, theta: Array, claim: Claim) -> Compared:
    theta = theta.astype(np.float64)
    if claim.loss is not None:
        losses = Objective(config, *data.of(data.train)).losses(theta)
        each = ", ".join(f"{name} {x:.9g}" for name, x in zip(config.task.operations, losses, strict=True))
        total = float(losses.sum())
        off = abs(claim.loss - total) / total if total > 0 else float("inf")
        return Compared("train loss", off, f"{claim.loss!r} there, {total:.9g} here ({each}): off by {off:.1e}")
    assert claim.logits is not None
    tokens = data.tokens[data.train]
    read = Activations(Run(Path(), config), tokens)
    own = read(theta, lambda z, _: {"z": np.stack(z, axis=1)})["z"].swapaxes(0, 1)
    hers = claim.logits[None] if claim.logits.ndim == 2 else claim.logits
    if hers.shape != own.shape or not np.isfinite(hers).all():
        do = "save the logits of all train pairs, in the order of the split"
        raise RunFolderError(f"finite logits (tasks, train pairs, p) = {own.shape}", f"{claim.logits.shape}", do)
    off = float(np.abs(hers - own).max() / np.abs(own).max())
    return Compared("logits", off, f"off by {off:.1e} of the largest logit")


class _Table:
    """Rows of the table of evaluations, in float64."""

    def __init__(self, config: Config, data: Pairs) -> None:
        self.tasks = config.task.operations
        self.net = passes(config, config.compute.engine, "float64", config.compute.shards)
        self.sets = {part: evaluation(self.net, *data.of(getattr(data, part))) for part in ("train", "test")}

    def row(self, step: int, theta: Array) -> dict[str, float]:
        """Return the row of a step, from its parameters (P,)."""
        self.net.theta[:] = theta
        row: dict[str, float] = {"step": step}
        for part, pairs_of in self.sets.items():
            scores = pairs_of.scores()
            for k, task in enumerate(self.tasks):
                row |= {f"{part}_loss_{task}": scores.loss[k], f"{part}_accuracy_{task}": scores.accuracy[k]}
        return row | {"grad_norm": float("nan"), "param_norm": float(np.linalg.norm(theta.astype(np.float64)))}


def _write(out: Path, config: Config, data: Pairs, snapshots: Iterable[tuple[int, Array]], compared: Compared) -> None:
    """Write the run folder beside its place, and put it there when it is whole."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise RunFolderError("a new or empty folder for the run", f"{out} with something in it", "choose another --out")
    make_folder(out.absolute().parent)
    whole = out.absolute().parent / f".{out.name[:100]}.{secrets.token_hex(6)}.tmp"
    try:
        with create(whole, config, adopted=f"{compared.what}: off by {compared.difference:.1e}") as run:
            table = _Table(config, data)
            for step, theta in snapshots:
                run.save_snapshot(step, theta)
                run.append_metrics(table.row(step, theta))
        try:
            whole.rename(out)
        except OSError as error:
            raise unwritable(out, 0, error) from error
    except BaseException:
        shutil.rmtree(whole, ignore_errors=True)
        raise


def _assumed(settings: Mapping[str, Any]) -> list[str]:
    """Return the settings that analyses use, that no snapshot tells and that nobody gave, with the values taken."""
    default = Config("paper")
    values = {
        "optimiser.learning_rate": default.optimiser.learning_rate,
        "optimiser.weight_decay": default.optimiser.weight_decay,
        "train.batch_size": default.train.batch_size,
    }
    return [f"{key} = {value:g}" for key, value in values.items() if key not in settings]
