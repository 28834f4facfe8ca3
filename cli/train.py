"""`minigrok train` and `minigrok resume`."""

from __future__ import annotations

from pathlib import Path

import click

from . import names
from .options import (
    after_grok_option,
    debug_option,
    json_option,
    load_config,
    make_ready,
    other_versions_option,
    set_option,
    threads_option,
)


@click.command()
@click.argument("source", metavar="PRESET|FILE.toml", shell_complete=names.completes(names.presets, or_file=True))
@set_option("settings", names.keys)
@click.option("--out", type=click.Path(path_type=Path), help="Run folder [default: runs/<name>-s<seed>].")
@click.option("--init", type=click.Path(path_type=Path), help="Initial parameters: a .safetensors file.")
@click.option(
    "--engine",
    metavar="NAME",
    shell_complete=names.completes(names.engines),
    help="Short for --set compute.engine=NAME.",
)
@click.option("--portable", is_flag=True, help="The same bits on every x86-64 machine with AVX2 (compute.portable).")
@after_grok_option
@threads_option
@json_option
@debug_option
@click.pass_context
def train(
    ctx: click.Context,
    source: str,
    settings: tuple[str, ...],
    out: Path | None,
    init: Path | None,
    engine: str | None,
    portable: bool,
    after_grok: int | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Train a model until it groks, or to its budget.

    PRESET is one of those that `minigrok info` lists. Ctrl-C saves; `minigrok resume DIR` goes on, to the
    same bits as without the interruption.

    Example: minigrok train dual --set seed=137 --set optimiser.weight_decay=0.5 --out runs/mine
    """
    from minigrok.network.params import layout
    from minigrok.storage.runs import create, load_weights
    from minigrok.training.budget import require_room
    from minigrok.training.planes import require_source

    from .sitting import sit

    short = {"compute.engine": engine, "compute.portable": "true" if portable else None, "train.after_grok": after_grok}
    settings += tuple(f"{key}={value}" for key, value in short.items() if value is not None)
    config = load_config(source, settings)
    config = make_ready(config)
    theta = load_weights(init, layout(config)) if init else None
    folder = out or Path("runs", f"{config.name}-s{config.seed}")
    require_source(config, folder)
    require_room(config, folder)
    with create(folder, config, theta) as run:
        ctx.exit(sit(run, threads, as_json=as_json))


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@after_grok_option
@other_versions_option
@threads_option
@json_option
@debug_option
@click.pass_context
def resume(
    ctx: click.Context, folder: Path, after_grok: int | None, other_versions: bool, threads: int | None, as_json: bool
) -> None:
    """Go on with a run that was interrupted or killed.

    A finished run is only shown. With --after-grok a run that stopped because it grokked goes on for that
    many steps after the grok; should it be killed, `minigrok resume DIR` goes on to there.
    """
    from minigrok.storage.runs import open_run

    from .sitting import sit

    run = open_run(folder)
    run.other_versions = other_versions
    make_ready(run.config)
    with run:
        ctx.exit(sit(run, threads, after_grok, as_json))
