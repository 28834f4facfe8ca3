"""`minigrok audit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .echo import echo
from .options import debug_option, json_option, make_ready

if TYPE_CHECKING:
    from minigrok.audit.audit import Audit
    from minigrok.storage.runs import Run

MISSING = "audit-missing.toml"


@click.command()
@click.argument("folders", metavar="RUN|SWEEP...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--claims", "ids", multiple=True, metavar="ID", help="Only claims that begin so: C5, C2.6; repeatable.")
@click.option(
    "--file", "source", type=click.Path(path_type=Path), help="Another file of claims; tiny: those of a class."
)
@click.option("--read-only", is_flag=True, help="Make no analysis: rows say which are missing.")
@click.option(
    "--out", default="audit.json", show_default=True, type=click.Path(path_type=Path), help="Where the audit is kept."
)
@click.option("--missing", is_flag=True, help=f"Write {MISSING}: runs that would decide more; price it.")
@click.option(
    "--with",
    "earlier",
    type=click.Path(path_type=Path),
    help="An audit.json: runs in it that are not at hand count, too.",
)
@click.option("--expect", type=click.Path(path_type=Path), help="Exit 1 if a verdict is not that of this audit.json.")
@json_option
@debug_option
@click.pass_context
def audit(
    ctx: click.Context,
    folders: tuple[Path, ...],
    ids: tuple[str, ...],
    source: Path | None,
    read_only: bool,
    out: Path,
    missing: bool,
    earlier: Path | None,
    expect: Path | None,
    as_json: bool,
) -> None:
    """Decide the paper's claims by rules written before the runs.

    RUN is the folder of a run, SWEEP that of a sweep: then all its runs that were begun. Analyses that a claim needs
    are made where they are missing, and a killed audit goes on where it was. Without a folder every row says what it
    lacks. The rules: minigrok help claims.

    Example: minigrok audit runs/paper-dual --claims C1
    """
    from minigrok.audit import audit as audits
    from minigrok.audit.book import load
    from minigrok.audit.earlier import read_earlier
    from minigrok.experiments.cells import runs_of
    from minigrok.storage.files import write_atomically

    book = load(source)
    expected = None if expect is None else audits.verdicts(expect)  # before --out, which may be the same file
    runs = [*{run.folder.resolve(): run for run in runs_of(folders)}.values()]  # each once
    for run in runs if not read_only else ():
        make_ready(run.config)
    kept = None if earlier is None else read_earlier(earlier, book)
    found = audits.audit(book, runs, ids, not read_only, lambda words: echo(f"making {words}", err=True), kept)
    text = audits.to_json(found)
    write_atomically(out, text.encode())
    echo(text) if as_json else _print(found, out)
    if missing:
        _write_missing(found, runs)
    if expected is not None and (changed := audits.changes(found, expected)):
        echo("\n".join(["verdicts that changed:", *changed]), err=True)
        ctx.exit(1)


def _print(found: Audit, out: Path) -> None:
    from .tables import print_rows

    rows = []
    for row in found.rows:
        one, two = row.judged.reproduces, row.judged.supported
        answers = {"comes out": one.answer, "paper's way": one.estimate, "supported": two.answer, "exact": two.estimate}
        numbers = {"low": two.low, "high": two.high, "seeds": two.n, "p, Holm": row.adjusted_p, "least p": two.least_p}
        rows.append({"id": row.claim.id, "verdict": row.verdict, **answers, **numbers, "claim": row.claim.says})
    print_rows("audit", rows)
    for row in found.rows:
        if row.missing:
            echo(f"{row.claim.id} lacks: {'; '.join(row.missing[:4])}" + " ..." * (len(row.missing) > 4))
    left_out = sum(bool(run["left_out"]) for run in found.runs)
    echo(f"{len(found.runs)} runs, {left_out} of them not counted; rules {found.book.sha256[:12]}; {out}")


def _write_missing(found: Audit, runs: list[Run]) -> None:
    from minigrok.audit.missing import price, sweep_text, wanted
    from minigrok.display import duration
    from minigrok.storage.files import write_atomically

    seeds = wanted(found.book, found.rows)
    if not seeds:
        return echo("no run would decide more")
    text = sweep_text(found.book, seeds)
    n, left = price(text, runs, Path("runs", "audit-missing"))
    write_atomically(Path(MISSING), text.encode())
    size = f"{left.n_bytes / 1e9:.1f} GB"
    hours = f"{left.seconds / 3600:,.1f} core-hours of training"
    echo(f"{MISSING}: {n} runs, at most {hours} ({duration(left.seconds)} on one core) and {size};")
    echo(f"minigrok sweep {MISSING}")
