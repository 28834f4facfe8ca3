"""`minigrok bench`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import names
from .echo import echo
from .options import debug_option, load_config, set_option

if TYPE_CHECKING:
    from minigrok.bench.on_device import Products, Rate
    from minigrok.bench.settings import Settings
    from minigrok.config import Config


@click.command()
@click.argument("what", nargs=-1, shell_complete=names.completes(names.benchmarks))
@click.option(
    "--config",
    "source",
    default="dual",
    show_default=True,
    metavar="PRESET|FILE",
    help="What is trained.",
    shell_complete=names.completes(names.presets, or_file=True),
)
@set_option("assignments", names.keys)
@click.option(
    "--threads", type=click.IntRange(min=1), metavar="N", help="Of every contender [default: the config's shards]."
)
@click.option(
    "--bursts", type=click.IntRange(min=1), default=5, show_default=True, metavar="N", help="Rounds of bursts."
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, max=600),
    default=3.0,
    show_default=True,
    metavar="S",
    help="Length of a burst; one call at least.",
)
@click.option(
    "--peers",
    default="eager,compile,jax,jax-tuned",
    show_default=True,
    metavar="A,B,...",
    help="Who works beside minigrok; none: nobody.",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), metavar="FILE", help="Keep the numbers.")
@click.option("--figure", "folder", type=click.Path(path_type=Path), metavar="DIR", help="Draw growth.png and .svg.")
@click.option(
    "--engine", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="cuda: replicas on a device."
)
@click.option(
    "--replicas", default="1,8,64", show_default=True, metavar="R,R,...", help="Numbers of runs, with --engine cuda."
)
@click.option("--load", "loaded", is_flag=True, help="Keep one CPU busy meanwhile.")
@debug_option
def bench(
    what: tuple[str, ...],
    json_file: Path | None,
    folder: Path | None,
    engine: str,
    replicas: str,
    loaded: bool,
    **sizes: Any,
) -> None:
    """Measure minigrok beside PyTorch and JAX.

    WHAT is from step, profile, hvp, eval, memory, startup, growth, load, or all; step if there is none. Contenders
    take turns in short bursts, on the same CPUs, each in a process of its own, and only after they computed the same
    numbers. Run it on a quiet machine.

    Peers: eager and compile are PyTorch without and with torch.compile; jax has attention by einsum, as users write
    it; jax-tuned the faster of that and of sums of products. What is not installed is named in the table and left out.

    With --engine cuda: steps and evaluations of R runs that share the device, and Hv of one, without peers; WHAT is
    left out. "of peak" counts the matrix products alone, of the device's float32 peak without tensor cores.

    Example: minigrok bench step hvp eval --json bench.json
    """
    require_place(json_file, folder)
    if engine == "cuda":
        on_device(load_config(sizes["source"], sizes["assignments"]), what, replicas, sizes["bursts"], json_file)
        return
    from minigrok.bench.suite import choose, cost, run_bench

    names, settings = choose(what or ("step",)), read_settings(**sizes)
    minutes = cost(names, settings) / 60
    echo(f"bench: {', '.join(names)}; about {minutes:.0f} min on two quiet cores", err=True)
    report = run_bench(names, settings, progress, loaded)
    show(report)
    keep(report, json_file, folder)


def on_device(config: Config, what: tuple[str, ...], replicas: str, blocks: int, json_file: Path | None) -> None:
    """Measure R replicas and Hessian products on the device, and print and keep the numbers."""
    from minigrok.engine import device
    from minigrok.errors import ConfigError
    from minigrok.info import environment

    counts = replicas.replace(" ", "").split(",")
    if what or not all(count.isdigit() and int(count) for count in counts):
        got = f"{' '.join(what)} --replicas {replicas}".strip()
        raise ConfigError("--engine cuda --replicas R,R,... and no WHAT", got, "for example --replicas 1,8,64")
    device.require()
    from minigrok.bench.on_device import products, rates

    rows, found = [], []
    for rate in rates(config, [int(count) for count in counts], blocks):
        echo(f"  {rate.replicas} replicas: {rate.step * 1e3:.3f} ms a step", err=True)
        rows.append(rate)
    for product in products(config, 4 * blocks):
        echo(f"  Hv in {product.dtype}: {product.seconds * 1e3:.3f} ms", err=True)
        found.append(product)
    show_device(f"{config.name}, {config.compute.dtype}, on {device.look().note}", rows, found)
    if json_file:
        report: dict[str, Any] = {"environment": environment(), "cuda": device.look().note}
        report |= {"rates": [r._asdict() for r in rows], "products": [p._asdict() for p in found]}
        write_json(json_file, report)


def show_device(title: str, rates: list[Rate], products: list[Products]) -> None:
    """Print a table of replicas and one of Hessian products."""
    from .tables import print_table

    columns = [">replicas", ">a step of all", ">run-steps a second", ">GFLOP/s", ">of peak", ">evaluation of all"]
    cells = [
        (
            str(r.replicas),
            f"{r.step * 1e3:.3f} ms",
            f"{r.run_steps:,.1f}",
            f"{r.flops / 1e9:,.3g}",
            "-" if r.share is None else f"{r.share:.1%}",
            f"{r.evaluation * 1e3:.1f} ms",
        )
        for r in rates
    ]
    print_table(title, columns, cells)
    columns = ["Hv in", ">pairs", ">further directions", ">first at a point", ">Hv a second"]
    of_products = [
        (p.dtype, f"{p.pairs:,}", f"{p.seconds * 1e3:.3f} ms", f"{p.first * 1e3:.3f} ms", f"{1 / p.seconds:,.1f}")
        for p in products
    ]
    print_table("", columns, of_products)


def require_place(file: Path | None, folder: Path | None) -> None:
    """Raise a RunFolderError, before minutes are spent, unless the numbers and the figure can be written."""
    from minigrok.errors import RunFolderError
    from minigrok.storage.files import make_folder

    if file and (file.is_symlink() or (file.exists() and not file.is_file())):
        got = f"{file}, a link, folder, pipe or device"
        raise RunFolderError("a new or a regular file for --json", got, "name another file: it is replaced whole")
    for place in (file and file.parent, folder):
        if place:
            make_folder(place)
            if not os.access(place, os.W_OK):
                raise RunFolderError(f"permission to write in {place}", "none", "choose another place")


def write_json(file: Path, report: dict[str, Any]) -> None:
    """Write numbers, and say where."""
    from minigrok.storage.files import make_folder, write_atomically

    make_folder(file.parent)
    write_atomically(file, (json.dumps(report, indent=2) + "\n").encode())
    echo(file)


def read_settings(
    source: str, assignments: tuple[str, ...], threads: int | None, bursts: int, seconds: float, peers: str
) -> Settings:
    """Return the settings that the options make."""
    from minigrok.bench.settings import Settings
    from minigrok.engine.threads import available_threads

    config = load_config(source, assignments)
    chosen = tuple(dict.fromkeys(name for name in peers.replace(" ", "").split(",") if name not in ("", "none")))
    command = (sys.executable, "-m", str(__package__))
    threads = threads or min(config.compute.shards, available_threads())
    return Settings(config, threads, bursts, seconds, chosen, command)


def progress(name: str) -> Callable[[int, int, str], None]:
    """Return a function that shows where a section is, a line at a time on stderr."""

    def show_line(done: int, total: int, words: str) -> None:
        echo(f"  {name}: {done / total:4.0%}  {words}", err=True)

    return show_line


def show(report: dict[str, Any]) -> None:
    """Print a table a section, and which kernels BLAS took."""
    from minigrok.bench.report import kernels, table

    from .tables import print_table

    for name, rows in report["sections"].items():
        title, columns, cells, note = table(name, rows, report["settings"])
        print_table(title, columns, cells)
        if note:
            echo(note + "\n")
    echo(kernels(report))


def keep(report: dict[str, Any], json_file: Path | None, folder: Path | None) -> None:
    """Write the numbers and the figure, where they were asked for."""
    from minigrok.bench.figure import growth_figure
    from minigrok.plotting import save
    from minigrok.storage.files import make_folder

    if json_file:
        write_json(json_file, report)
    if folder and "growth" in report["sections"]:
        make_folder(folder)
        for path in save(growth_figure(report["sections"]["growth"]), folder / "growth"):
            echo(path)
