"""`minigrok reference`: list, check, regenerate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import names as registry
from .echo import echo
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
        help="Where the references lie [default: reference_outputs, or what came with minigrok].",
    )
    return option(command)


@click.group()
@debug_option
def reference() -> None:
    """List, check or regenerate the shipped reference numbers."""


@reference.command("list")
@folder_option
@debug_option
def list_(folder: Path | None) -> None:
    """Show every reference, and why and when it was made."""
    from minigrok.reference import TIERS, summary
    from minigrok.reference.files import names, place

    from .tables import print_table

    found = [summary(place(folder) / name) for name in names(place(folder))]
    columns = ("name", "run", *(f">{tier}" for tier in TIERS), "made", "reason")
    rows = [(s.name, s.title, *(str(s.counts.get(tier, 0)) for tier in TIERS), s.date, s.reason) for s in found]
    print_table("", columns, rows)


@reference.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=registry.completes(registry.references))
@click.option("--portable", "bits", is_flag=True, help="In portable mode: bit for bit (x86-64 with AVX2).")
@click.option("--strict", is_flag=True, help="Refuse to compare with tolerances where bits cannot be compared.")
@click.option("--run", "own", type=click.Path(path_type=Path), help="Compare with a run or sweep of your own.")
@click.option("--all", "everything", is_flag=True, help="Show the numbers that hold, too.")
@folder_option
@json_option
@debug_option
@click.pass_context
def check(
    ctx: click.Context,
    names: tuple[str, ...],
    bits: bool,
    strict: bool,
    own: Path | None,
    everything: bool,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Recompute what takes seconds, and compare.

    All references, or those that are named. With --run, and one name: compare when the tasks of your own run, or of
    the finished runs of your own sweep, memorised and grokked. Numbers are compared bit for bit where the same bits
    must come out, else with tolerances; which, and why, is said. Numbers that do not hold are shown. Exit code 1 if a
    number is not where its tolerance allows, or if --strict asks for bits that cannot be compared.
    """
    import json

    from minigrok import reference as references
    from minigrok.engine import portable
    from minigrok.reference.files import names as all_names
    from minigrok.reference.files import place

    if bits:
        portable.restart()

    folder = place(folder)
    if own and len(names) != 1:
        raise click.UsageError("--run needs the name of one reference")
    names = names or tuple(all_names(folder))
    if strict:
        for name in names:
            references.require_bits(folder / name)
    results = {n: references.check_own(folder / n, own) if own else references.check(folder / n) for n in names}
    why = {name: references.obstacle(folder / name) for name in results}
    if as_json:
        told = {
            name: {
                "mode": "tolerances" if why[name] else "bits",
                "reason": why[name],
                "numbers": [as_dict(each) for each in rows],
            }
            for name, rows in results.items()
        }
        echo(json.dumps(told, indent=2))
    else:
        for name, rows in results.items():
            show(name, rows, "WRONG", everything)
            echo(f"{name}: compared {f'with tolerances ({why[name]})' if why[name] else 'bit for bit'}")
    ctx.exit(0 if all(each.holds for rows in results.values() for each in rows) else 1)


@reference.command()
@click.argument("name", shell_complete=registry.completes(registry.references))
@click.option("--reason", required=True, help="Why the numbers may change; kept with them.")
@click.option(
    "--run",
    "run_folder",
    type=click.Path(path_type=Path),
    help="A run of its config [default: train one], or its sweep.",
)
@folder_option
@threads_option
@debug_option
@click.pass_context
def regenerate(
    ctx: click.Context, name: str, reason: str, run_folder: Path | None, folder: Path | None, threads: int | None
) -> None:
    """Train the run of a reference and take its numbers anew.

    Takes as long as the training, minutes. A new reference is a folder with a config.toml. That of a sweep is a folder
    with a sweep.toml: run the sweep first, and name its folder with --run [default: runs/NAME].
    """
    from minigrok import reference as references
    from minigrok.reference.files import IN_CHECKOUT
    from minigrok.reference.sweep import is_sweep, read

    folder = folder or IN_CHECKOUT  # what came with minigrok stays as it is
    code, own = 0, run_folder or Path("runs", name)
    if is_sweep(folder / name):
        make_ready(read(folder / name).configs[0])  # the first steps that it repeats: in portable mode if the runs are
    else:
        own, code = train_run(folder / name, run_folder, threads)
    if code == 0:
        show(name, references.regenerate(folder / name, own, reason), "moved")
    ctx.exit(code)


def train_run(folder: Path, run_folder: Path | None, threads: int | None) -> tuple[Path, int]:
    """Train the run of a reference, a new one unless there is one; return its folder and the exit code."""
    from minigrok.reference import training_folder
    from minigrok.reference.run import read_config
    from minigrok.storage.runs import create, open_run
    from minigrok.training.budget import require_room

    from .sitting import sit

    config = read_config(folder)
    make_ready(config)
    require_room(config)
    run = open_run(run_folder) if run_folder else create(training_folder(folder.name), config)
    with run:
        return run.folder, sit(run, threads)


def as_dict(each: Comparison) -> dict[str, Any]:
    """Return a comparison for JSON, which has no NaN."""
    return each._asdict() | {"difference": None if each.difference != each.difference else each.difference}


def show(name: str, rows: list[Comparison], wrong: str, everything: bool = True) -> None:
    """Print comparisons in a table, all or those that fail, and their count; `wrong`: a word for those."""
    from .tables import print_table

    columns = ("number", "tier", ">expected", ">got", "unit", ">difference", ">allowed", "verdict")
    bad = [each for each in rows if not each.holds]
    if shown := rows if everything else bad:
        print_table(name, columns, [_row(each, wrong) for each in shown])
    echo(f"{name}: {len(rows)} numbers: {len(rows) - len(bad)} hold, {len(bad)} do not")


def _row(each: Comparison, wrong: str) -> tuple[str, ...]:
    numbers = ["none" if x is None else f"{x:.10g}" for x in (each.expected, each.found)]
    difference = "-" if each.difference != each.difference else f"{each.difference:.1e}"
    verdict = "holds" if each.holds else "new" if each.expected is None else "gone" if each.found is None else wrong
    return each.name, each.tier, *numbers, each.unit, difference, f"{each.allowed:.1e}", verdict
