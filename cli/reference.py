"""`minigrok reference`: list, check, regenerate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import debug_option, json_option, make_ready, threads_option

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from minigrok.reference import Comparison


def folder_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --folder."""
    option = click.option(
        "--folder",
        type=click.Path(path_type=Path),
        default="reference_outputs",
        show_default=True,
        help="Where the references lie.",
    )
    return option(command)


@click.group()
@debug_option
def reference() -> None:
    """List, check or regenerate the shipped reference numbers."""


@reference.command("list")
@folder_option
@debug_option
def list_(folder: Path) -> None:
    """Show every reference, and why and when it was made."""
    from minigrok.reference import TIERS, names, summary

    from .tables import print_table

    found = [summary(folder / name) for name in names(folder)]
    columns = ("name", "run", *(f">{tier}" for tier in TIERS), "made", "reason")
    rows = [(s.name, s.title, *(str(s.counts.get(tier, 0)) for tier in TIERS), s.date, s.reason) for s in found]
    print_table("", columns, rows)


@reference.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--portable", "bits", is_flag=True, help="In portable mode: bit for bit (x86-64 with AVX2).")
@folder_option
@json_option
@debug_option
@click.pass_context
def check(ctx: click.Context, names: tuple[str, ...], bits: bool, folder: Path, as_json: bool) -> None:
    """Recompute what takes seconds, and compare.

    All references, or those that are named. Exit code 1 if a number is not where its tolerance allows.
    """
    import json

    from minigrok import portable
    from minigrok import reference as references

    if bits:
        portable.restart()

    results = {name: references.check(folder / name) for name in names or references.names(folder)}
    if as_json:
        click.echo(json.dumps({name: [as_dict(each) for each in rows] for name, rows in results.items()}, indent=2))
    else:
        for name, rows in results.items():
            show(name, rows, "WRONG")
            obstacle = references.obstacle(folder / name)
            click.echo(f"{name}: compared {f'with tolerances ({obstacle})' if obstacle else 'bit for bit'}")
    ctx.exit(0 if all(each.holds for rows in results.values() for each in rows) else 1)


@reference.command()
@click.argument("name")
@click.option("--reason", required=True, help="Why the numbers may change; kept with them.")
@click.option("--run", "run_folder", type=click.Path(path_type=Path), help="A run of its config [default: train one].")
@folder_option
@threads_option
@debug_option
@click.pass_context
def regenerate(
    ctx: click.Context, name: str, reason: str, run_folder: Path | None, folder: Path, threads: int | None
) -> None:
    """Train the run of a reference and take its numbers anew.

    Takes as long as the training, minutes. A new reference is a folder with a config.toml.
    """
    from minigrok import reference as references
    from minigrok.runs import create, open_run

    from .sitting import sit

    config = references.read_config(folder / name)
    make_ready(config)
    run = open_run(run_folder) if run_folder else create(references.training_folder(name), config)
    with run:
        code = sit(run, threads)
    if code == 0:
        show(name, references.regenerate(folder / name, run, reason), "moved")
    ctx.exit(code)


def as_dict(each: Comparison) -> dict[str, Any]:
    """Return a comparison for JSON, which has no NaN."""
    return each._asdict() | {"difference": None if each.difference != each.difference else each.difference}


def show(name: str, rows: list[Comparison], wrong: str) -> None:
    """Print comparisons as a table, and the count; `wrong` is the word for a number outside its tolerance."""
    from .tables import print_table

    columns = ("number", "tier", ">expected", ">got", "unit", ">difference", ">allowed", "verdict")
    print_table(name, columns, [_row(each, wrong) for each in rows])
    bad = sum(not each.holds for each in rows)
    click.echo(f"{len(rows)} numbers: {len(rows) - bad} hold, {bad} do not")


def _row(each: Comparison, wrong: str) -> tuple[str, ...]:
    numbers = ["none" if x is None else f"{x:.10g}" for x in (each.expected, each.found)]
    difference = "-" if each.difference != each.difference else f"{each.difference:.1e}"
    verdict = "holds" if each.holds else "new" if each.expected is None else "gone" if each.found is None else wrong
    return each.name, each.tier, *numbers, each.unit, difference, f"{each.allowed:.1e}", verdict
