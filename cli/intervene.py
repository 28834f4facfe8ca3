"""`minigrok intervene`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from . import names
from .options import debug_option, json_option, make_ready, set_option, threads_option


@click.command()
@click.argument("source", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--arm",
    required=True,
    metavar="NAME",
    shell_complete=names.completes(names.arms),
    help="What to do: `minigrok info` lists the arms.",
)
@click.option("--dose", type=float, metavar="S", help="How much of it: s in the arm's formula.")
@click.option("--plane-of", type=click.Path(path_type=Path), help="Run of the plane, for other_seed [default: RUN].")
@set_option("settings", names.keys)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the new run [default: beside RUN].")
@threads_option
@json_option
@debug_option
@click.pass_context
def intervene(
    ctx: click.Context,
    source: Path,
    arm: str,
    dose: float | None,
    plane_of: Path | None,
    settings: tuple[str, ...],
    out: Path | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Train a finished run once more, with an intervention.

    RUN gives the configuration, and its trajectory the plane that the intervention acts in. The new run is a run like
    others: resume, plot and analyse it. Changed settings may be those of the intervention (intervention.start, rank,
    basis, support, every, repeat) and of training (train.max_steps, train.eval_every).

    Example: minigrok intervene runs/dual-s42 --arm deletion --dose 0.1 --set train.max_steps=50_000
    """
    from minigrok.config import parsed, with_values
    from minigrok.storage.runs import create, open_run
    from minigrok.training.budget import require_room
    from minigrok.training.planes import require_source

    from .sitting import sit

    run = open_run(source)
    run.require_own("a run that minigrok can train once more")
    label = f"{arm}-{dose:g}" if dose is not None else arm
    folder = out or source.resolve().parent / f"{source.resolve().name}-{label}"
    spans = os.path.relpath((plane_of or source).resolve(), folder.resolve().parent)
    values: dict[str, Any] = {
        "name": f"{run.config.name}-{label}",
        "intervention.arm": arm,
        "intervention.source": spans,
    }
    values |= {} if dose is None else {"intervention.dose": dose}
    config = with_values(run.config, values | parsed(settings))
    make_ready(config)
    require_source(config, folder)
    require_room(config, folder)
    with create(folder, config) as new:
        ctx.exit(sit(new, threads, as_json=as_json))
