"""`minigrok adopt` and `minigrok export`: runs in from other programs, snapshots out to PyTorch."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import names
from .echo import echo
from .options import debug_option, set_option

if TYPE_CHECKING:
    from minigrok.exchange.adopt import Adopted, Claim


@click.command()
@click.argument("source", metavar="SNAPSHOTS", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Run folder to make.")
@click.option("--heads", type=click.IntRange(min=1), required=True, help="Attention heads, which no shape tells.")
@click.option(
    "--split", metavar="SEED|FILE", required=True, help="Seed of the paper's split, or a file of train pairs."
)
@click.option("--loss", metavar="STEP=VALUE", help="Train loss at a step, summed over tasks: it must come out.")
@click.option("--logits", metavar="STEP=FILE", help="Logits of the train pairs at a step: they must come out.")
@click.option("--tolerance", type=click.FloatRange(min=0), help="Relative, of loss or largest logit [default: 1e-6].")
@click.option("--operations", metavar="NAME,...", help="Operations of the heads, where their names do not say.")
@click.option("--names", "table", type=click.Path(path_type=Path), help='Names in TOML: norm.weight = "ln.weight".')
@set_option("settings", names.keys, "A setting that shapes do not tell, such as model.norm_eps=1e-6; repeatable.")
@debug_option
def adopt(
    source: Path,
    out: Path,
    heads: int,
    split: str,
    loss: str | None,
    logits: str | None,
    tolerance: float | None,
    operations: str | None,
    table: Path | None,
    settings: tuple[str, ...],
) -> None:
    """Make a run folder of snapshots that another program saved.

    SNAPSHOTS is a folder with one .safetensors or .npz file a step, and the step at the end of its name. Sizes are read
    off the shapes. Names of arrays are guessed, or come from a table. Loss or logits of one step must come out here:
    so you know that it is the same network on the same pairs. The run can be analysed, not trained on.

    Example: minigrok adopt snapshots --heads 4 --split 42 --loss 9000=0.00174 --out runs/mine
    """
    from minigrok.config import parsed
    from minigrok.exchange.adopt import TOLERANCE
    from minigrok.exchange.adopt import adopt as make

    given = parsed(settings) | {"model.heads": heads}
    of = tuple(each.strip() for each in operations.split(",")) if operations else ()
    where = int(split) if re.fullmatch(r"\d{1,10}", split) else Path(split)
    allowed = TOLERANCE if tolerance is None else tolerance
    show(make(source, out, _claim(loss, logits), where, given, of, table, allowed), allowed)


def _claim(loss: str | None, logits: str | None) -> Claim:
    """Return what must come out; a usage error unless it is one of the two."""
    from minigrok.exchange.adopt import Claim
    from minigrok.exchange.sources import read_logits

    if (loss is None) == (logits is None):
        raise click.UsageError("one of --loss STEP=VALUE and --logits STEP=FILE: it shows that this is your network")
    step, _, value = (loss or logits or "").partition("=")
    try:
        return Claim(int(step), float(value), None) if loss else Claim(int(step), None, read_logits(Path(value)))
    except ValueError:
        raise click.UsageError(f"--loss or --logits: STEP=VALUE, such as 300=0.0123, not {loss or logits!r}") from None


def show(found: Adopted, allowed: float) -> None:
    """Say what was adopted, how its arrays were called, what came out and what nobody checked."""
    config, steps, folder = found.run.config, found.run.snapshots(), found.run.folder
    task, model, first = config.task, config.model, int(config.task.exclude_zero)
    many = "s" if len(steps) > 1 else ""
    echo(f"adopted: {len(steps)} snapshot{many}, steps {steps[0]:,} to {steps[-1]:,}, {config.compute.dtype}")
    echo(
        f"network: {found.run.layout.size:,} parameters, {model.blocks} blocks of width {model.width}, {model.heads} "
        f"heads, MLP {model.mlp_width}"
    )
    echo(
        f"pairs:   {', '.join(task.operations)} mod {task.p}, {task.n_train:,} train and {task.n_test:,} test pairs "
        f"from {first} to {task.p - 1}"
    )
    renamed = [f"{' + '.join(hers)} = {own}" for own, hers in found.table.items() if hers != (own,)]
    echo(f"names:   {len(found.table) - len(renamed)} as PyTorch has them{''.join(f', {each}' for each in renamed)}")
    echo(f"checked: {found.compared.what}, {found.compared.said} (allowed {allowed:g})")
    if found.assumed:
        echo(f"assumed: {', '.join(found.assumed)}; adopt it with --set where yours are others")
    echo(f"next:    minigrok analyse hessian {shlex.quote(str(folder))}")


@click.command()
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("step", type=click.IntRange(min=0))
@click.option(
    "--torch", "file", metavar="FILE.py", type=click.Path(path_type=Path), required=True, help="File to write."
)
@debug_option
def export(folder: Path, step: int, file: Path) -> None:
    """Write a snapshot as a PyTorch module.

    FILE.py needs PyTorch and safetensors, and nothing of minigrok. Its function network() returns the model with the
    weights of FILE.safetensors, which is written beside it. It gives the same logits.

    Example: minigrok export runs/dual-s42 10000 --torch dual.py
    """
    from minigrok.exchange.export import to_torch
    from minigrok.storage.runs import open_run

    weights = to_torch(open_run(folder), step, file)
    echo(f"written: {file} and {weights}")
    echo(f"next:    from {file.stem} import network; model = network()")
