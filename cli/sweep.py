"""`minigrok sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from . import names
from .options import debug_option, json_option, other_versions_option, set_option


@click.command()
@click.argument("source", metavar="PRESET|FILE.toml", shell_complete=names.completes(names.sweeps, or_file=True))
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the sweep [default: runs/<name>].")
@set_option("settings", names.keys, "Change a setting of every run: `minigrok help presets`; repeatable.")
@click.option(
    "--only", multiple=True, metavar="PATTERN", help="Only runs of these names, such as '*-wd1-*'; repeatable."
)
@click.option("--plan", "only_plan", is_flag=True, help="Print the plan, with predicted time and disk, and end.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Runs side by side, one thread each [default: all CPUs; 1 for a queue].",
)
@click.option(
    "--engine",
    metavar="NAME",
    shell_complete=names.completes(names.engines),
    help="Short for --set compute.engine=NAME; cuda packs runs into replicas.",
)
@click.option(
    "--replicas",
    type=click.IntRange(min=1),
    metavar="N",
    help="Runs side by side on the device, with the engine cuda [default: 64, or as many as there are].",
)
@click.option(
    "--retries", type=click.IntRange(min=0), default=3, show_default=True, help="Of a run whose process died."
)
@click.option("--scheduler", metavar="ADDRESS", help="Use the workers of a Dask scheduler: tcp://host:port.")
@click.option("--dask-jobqueue", "queue", metavar="KIND", help="Start --jobs workers in a job queue: slurm, pbs, ...")
@click.option(
    "--queue-set", "queue_settings", multiple=True, metavar="KEY=VALUE", help="Option of that queue; repeatable."
)
@click.option("--tls-ca-file", metavar="FILE", help="Authority of the certificates (PEM).")
@click.option("--tls-cert", metavar="FILE", help="This client's certificate (PEM).")
@click.option("--tls-key", metavar="FILE", help="Its key (PEM).")
@other_versions_option
@json_option
@debug_option
@click.pass_context
def sweep(
    ctx: click.Context,
    /,
    source: str,
    out: Path | None,
    settings: tuple[str, ...],
    only: tuple[str, ...],
    only_plan: bool,
    jobs: int | None,
    engine: str | None,
    replicas: int | None,
    retries: int,
    other_versions: bool,
    as_json: bool,
    **dask: Any,
) -> None:
    """Train and analyse a list of runs: all that is missing.

    PRESET is one of the sweeps that `minigrok info` lists. Prints a plan, runs what is missing, resumes what is half
    done, retries what died, and ends with a table and a picture. Ctrl-C saves; the same command goes on.

    Example: minigrok sweep paper-dual --only '*-wd1-*' --jobs 2
    """
    from minigrok.config import parsed
    from minigrok.experiments.sweep_file import load_sweep

    from .sweeping import conduct, engine_setting, executor_of, on_device, print_plan

    chosen = load_sweep(source, parsed(settings + engine_setting(engine)))
    folder, patterns = out or Path("runs", chosen.name), only or ("*",)
    executor = on_device(chosen, replicas, jobs, dask) or executor_of(jobs, retries, **dask)
    try:
        print_plan(chosen, folder, executor, patterns, as_json, only_plan)
        if not only_plan:
            ctx.exit(conduct(chosen, folder, executor, patterns, other_versions, as_json))
    finally:
        executor.close()
