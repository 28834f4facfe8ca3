"""`minigrok check`."""

from __future__ import annotations

import json
from math import isfinite
from typing import TYPE_CHECKING, Any

import click

from . import names
from .echo import echo
from .options import debug_option, json_option

if TYPE_CHECKING:
    from minigrok.gradcheck.check import Verdict


@click.command()
@click.argument("layer", required=False, default="", shell_complete=names.completes(names.cases))
@click.option(
    "--engine",
    default="cpu",
    show_default=True,
    metavar="NAME",
    help="Engine to check.",
    shell_complete=names.completes(names.engines),
)
@click.option("--pairs", "B", default=5, show_default=True, help="B, pairs (rows of a row-wise layer).")
@click.option("--tokens", "T", default=2, show_default=True, help="T, tokens a pair (the network's T is 2).")
@click.option("--queries", "U", default=2, show_default=True, help="U, queries a pair, in attention.")
@click.option("--heads", "H", default=2, show_default=True, help="H, attention heads.")
@click.option("--head-width", "K", default=3, show_default=True, help="K, width of a head; D = H K.")
@click.option("--mlp-width", "F", default=7, show_default=True, help="F, hidden width of the MLP.")
@click.option("--classes", "V", default=11, show_default=True, help="V, classes and tokens; a prime.")
@click.option("--blocks", "L", default=2, show_default=True, help="L, blocks of the network.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Of the random points.")
@json_option
@debug_option
@click.pass_context
def check(ctx: click.Context, /, layer: str, engine: str, seed: int, as_json: bool, **sizes: int) -> None:
    """Check the derivative laws of all layers and of the network.

    With LAYER, those of one.

    In float64, at sizes of your choosing. An error must be below its limit, a slope (taylor) above it. Exit code 1
    if a law is broken.

    Example: minigrok check --pairs 512 --heads 4 --head-width 32 --mlp-width 256 --classes 97
    """
    from minigrok.gradcheck.cases import Sizes
    from minigrok.gradcheck.check import run_checks

    verdicts = run_checks(Sizes(**sizes), engine, seed, layer)
    if as_json:
        echo(json.dumps([as_dict(verdict) for verdict in verdicts], indent=2))
    else:
        show(verdicts)
    ctx.exit(0 if all(verdict.holds for verdict in verdicts) else 1)


def as_dict(verdict: Verdict) -> dict[str, Any]:
    """Return the verdict for JSON, which has no infinity: the slope of a linear map is null."""
    number = verdict.number
    return verdict._asdict() | {"number": None if number is None or not isfinite(number) else number}


def show(verdicts: list[Verdict]) -> None:
    """Print the verdicts as a table, and how many laws hold."""
    from minigrok.gradcheck.laws import LAWS

    from .tables import print_table

    columns = ("layer", "law", ">error or slope", ">limit", "verdict")
    print_table("", columns, [row(verdict, LAWS[verdict.law].is_slope) for verdict in verdicts])
    tried = [verdict for verdict in verdicts if verdict.number is not None]
    broken = sum(not verdict.holds for verdict in tried)
    echo(f"{len(tried)} checks: {len(tried) - broken} hold, {broken} broken")


def row(verdict: Verdict, is_slope: bool) -> tuple[str, str, str, str, str]:
    """Cells of one verdict; the slope of a linear map is infinite."""
    case, law, number, limit, holds = verdict
    if number is None:
        return case, law, "-", "-", "has no such direction"
    shown, allowed = (f"{number:.3f}", f">= {limit}") if is_slope else (f"{number:.1e}", f"<= {limit:.0e}")
    return case, law, shown, allowed, "holds" if holds else "BROKEN"
