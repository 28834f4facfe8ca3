"""From runs to files: the audit, its page, and audit.json beside a page of Markdown."""

import json
from collections.abc import Sequence
from pathlib import Path

from minigrok.audit.audit import audit, to_json
from minigrok.audit.claims import Book
from minigrok.audit.earlier import Earlier
from minigrok.audit.evidence import Say
from minigrok.checks import require
from minigrok.info import environment
from minigrok.report.page import html, markdown
from minigrok.storage.files import write_atomically
from minigrok.storage.runs import Run

ENDINGS = (".html", ".md")


def require_ending(out: Path) -> None:
    """Raise a ConfigError for a page that is neither HTML nor Markdown."""
    require(out.suffix in ENDINGS, "the page's name", f"ends with {' or '.join(ENDINGS)}", out.name)


def written(
    book: Book,
    runs: Sequence[Run],
    ids: Sequence[str],
    is_making: bool,
    out: Path,
    say: Say,
    earlier: Earlier | None = None,
) -> list[Path]:
    """Audit the runs and write the page; return the files."""
    text = to_json(audit(book, runs, ids, is_making, say, earlier))
    table = json.loads(text)
    if out.suffix == ".html":
        write_atomically(out, html(book, table, environment()).encode())
        return [out]
    beside = out.with_name("audit.json")
    write_atomically(beside, (text + "\n").encode())
    write_atomically(out, markdown(book, table).encode())
    return [out, beside]
