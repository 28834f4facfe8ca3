"""The two pages of an audit, filled from audit.json: HTML that needs nothing else, and Markdown.

Whatever comes from run folders is text: jinja2 escapes it, and control characters are written out.
"""

from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from latex2mathml.converter import convert
from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from minigrok.audit.claims import UNMEASURABLE, Book, Claim
from minigrok.audit.verdict import VERDICTS
from minigrok.display import cell, printable
from minigrok.report import figure
from minigrok.report.contradictions import contradictions
from minigrok.report.texts import of_claim, rules, source, texts

Json = Mapping[str, Any]
FAMILY = {  # headings of the six phenomena
    "order": "Staggered order",
    "geometry": "Geometry of the trajectory",
    "weight decay": "Weight decay",
    "redundancy": "Redundancy and compression",
    "intervention": "Interventions",
    "spectra": "Spectra of weights and updates",
}


def html(book: Book, table: Json, environment: Json) -> str:
    """Return the page as one file of HTML, audit.json embedded."""
    table = _cleaned(table)
    css = resources.files("minigrok.report").joinpath("templates", "page.css").read_text("utf-8")
    more = {
        "css": Markup(css),
        "environment": environment,
        "audit": table,
        "rules": {name: coloured(code) for name, code in rules().items()},
    }
    return _filled("page.html", book, table, more)


def markdown(book: Book, table: Json) -> str:
    """Return the page as Markdown."""
    return _filled("findings.md", book, _cleaned(table), {})


def _filled(name: str, book: Book, table: Json, more: Json) -> str:
    loader = PackageLoader("minigrok.report")
    env = Environment(autoescape=name.endswith(".html"), loader=loader, undefined=StrictUndefined, trim_blocks=True)
    env.lstrip_blocks = True
    env.filters |= {"number": number, "pipeless": pipeless, "share": share}
    claims = {claim.id: claim for claim in book.claims}
    rows = [row_of(book, claims[row["id"]], row, name.endswith(".html")) for row in table["claims"]]
    known = {
        "rows": rows,
        "families": {FAMILY[name]: [row for row in rows if row["family"] == name] for name in FAMILY},
        "counts": {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in VERDICTS},
        "meaning": texts()["verdict"],
        "glossary": texts()["glossary"],
        "contradictions": contradictions(),
        "runs": table["runs"],
        "counted": sum(not run["left_out"] for run in table["runs"]),
        "sealed": table["rules"],
        "version": table["minigrok"],
        "needed": needed(book, table["claims"]),
    }
    return env.get_template(name).render({**known, **more})


def row_of(book: Book, claim: Claim, row: Json, is_html: bool) -> dict[str, Any]:
    """Return what a claim's section shows: the row of audit.json, texts, figure, price and commands."""
    text = of_claim(claim)
    evidence = row["evidence"]
    seen = sorted({case["run"] for case in evidence if not case["counts"]})
    shown: dict[str, Any] = {
        "is_measured": claim.kind != UNMEASURABLE,
        "protocol": claim.protocol,
        "drawn": claim.drawn,
        "statistic": claim.statistic,
        "sesoi": claim.sesoi,
        "sesoi_why": claim.sesoi_why,
        "range": paper_range(claim),
        "note": text.note,
        "words": text.words,
        "needs": needed(book, [row]),
        "explored_runs": len(seen),
        "commands": commands(claim),
    }
    if is_html and claim.kind != UNMEASURABLE:
        drawing = figure.svg(claim, evidence)
        shown |= {
            "figure": Markup(drawing),
            "legend": figure.legend(claim, evidence) if drawing else "",
            "formula": Markup(convert(text.formula)) if text.formula else "",
            "code": coloured(source(text.code)) if text.code else "",
            "place_of_code": text.code.replace(":", "."),
        }
    return dict(row) | shown


def paper_range(claim: Claim) -> str:
    """Return what the paper states, in words; "" for nothing."""
    paper = claim.paper
    if paper is None or not paper.n:
        return "" if paper is None else paper.source
    low, high = number(paper.low), number(paper.high)
    span = low if low == high else f"at least {low}" if high == "inf" else f"{low} to {high}"
    return " ".join(part for part in (span, paper.unit, f"({paper.source}, n = {paper.n})") if part)


def needed(book: Book, rows: Sequence[Json]) -> str:
    """Return the runs that undecided rows lack, and the most steps they could take; "" for none."""
    wanted: dict[str, set[int]] = {}
    for row in rows:
        for name, seeds in row["lacks"].items():
            for group in (name, book.groups[name].source) if book.groups[name].source else (name,):
                wanted.setdefault(group, set()).update(seeds)
    if not wanted:
        return ""
    count = sum(len(seeds) for seeds in wanted.values())
    steps = sum(len(seeds) * book.groups[name].config.train.max_steps for name, seeds in wanted.items())
    names = ", ".join(f"{len(seeds)} of {name}" for name, seeds in wanted.items()) if len(wanted) < 6 else ""
    conditions = names or f"of {len(wanted)} conditions"
    return f"{count} runs ({conditions}), at most {steps / 1e6:.3g} million steps"


def commands(claim: Claim) -> list[str]:
    """Return the commands that decide a claim again, from nothing."""
    if claim.kind == UNMEASURABLE:
        return []
    missing = [f"minigrok audit --claims {claim.id} --missing", "minigrok sweep audit-missing.toml"]
    return [*missing, f"minigrok audit runs/audit-missing --claims {claim.id}"]


def coloured(code: str) -> Markup:
    """Return Python with its keywords, strings and comments marked."""
    return Markup(highlight(code, PythonLexer(), HtmlFormatter(nowrap=True)))


def number(value: Any) -> str:
    """Return a number in four digits, a dash for none."""
    if value is None or value != value:
        return "-"
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return "inf" if value > 0 else "-inf"
    return cell(float(value)) if abs(float(value)) < 1e4 else f"{float(value):,.0f}"


def share(p: Any) -> str:
    """Return a p: three digits, a dash for none."""
    return "-" if p is None else f"{p:.2g}" if p else "0"


def pipeless(text: str) -> str:
    """Return text that stays in its cell of a Markdown table and is no markup."""
    words = " ".join(text.split())
    for character in "\\`*_[]|":
        words = words.replace(character, f"\\{character}")
    return escape(words, quote=False)


def _cleaned(value: Any) -> Any:
    """Return JSON whose texts hold no control characters."""
    if isinstance(value, Mapping):
        return {key: _cleaned(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(each) for each in value]
    return printable(value) if isinstance(value, str) else value
