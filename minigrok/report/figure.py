"""What runs say of a claim, as inline SVG: a row a condition and protocol, a mark a seed, null and rule drawn in.

Counted runs are filled, exploration is hollow. A time that never came stands at the right edge as a triangle. Colours
are CSS variables of the page, so that the drawing follows its light and dark.
"""

import io
import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from minigrok.audit.claims import Claim
from minigrok.plotting import Axes, Figure, plain, style

INK = {f"#00000{i}": f"var(--{name})" for i, name in enumerate(("ink", "exact", "null", "band", "line"), 1)}
TEXT, EXACT, NULL, BAND, GRID = INK
LOOKS = {"paper's way": (TEXT, "o"), "exact": (EXACT, "s"), "null": (NULL, "D")}
Case = Mapping[str, Any]  # of audit.json's evidence


class Line(NamedTuple):
    """A row of the drawing: its condition, what was measured, and numbers with whether their runs count."""

    group: str
    what: str
    points: list[tuple[float, bool]]


class Span(NamedTuple):
    """A stretch of the axis, or a line where both ends are one, in words."""

    low: float
    high: float
    words: str


def lines(claim: Claim, evidence: Sequence[Case]) -> list[Line]:
    """Return the rows: for an event the lead, target less event; else the number itself."""
    found = []
    for group in dict.fromkeys(case["group"] for case in evidence):
        cases = [case for case in evidence if case["group"] == group]
        for what in LOOKS:
            values = [(number(claim, case, what), case["counts"]) for case in cases]
            if points := [(value, counts) for value, counts in values if not math.isnan(value)]:
                found.append(Line(group, what, points))
    return found


def number(claim: Claim, case: Case, what: str) -> float:
    """Return a number of a case as it is drawn; nan: not known."""
    value = case["paper"] if what == "paper's way" else case["null"] if what == "null" else (case["exact"] or [None])[0]
    if claim.kind == "event":
        if what == "null":  # the middle of where a random date lies
            return _float(case["target"]) - (_float(case["start"]) + _float(case["end"])) / 2
        return _float(case["target"]) - _float(value)
    if claim.kind == "causal" and value is None and what != "null" and _float(case["end"]) > 0:
        return math.inf  # not by the end of its run
    return _float(value)


def spans(claim: Claim, found: Sequence[Line]) -> list[Span]:
    """Return what the rule compares with: the paper's range, the null, the smallest effect, the range that counts."""
    marks = []
    paper = claim.paper
    if paper is not None and claim.kind in ("value", "invariance", "order") and paper.n:
        marks.append(Span(paper.low - claim.tolerance, paper.high + claim.tolerance, "the paper's range"))
    if claim.kind == "count" and claim.holds:
        marks.append(Span(*claim.holds, "counts as shown"))
    if claim.kind in ("order", "event"):
        marks.append(Span(0, 0, "null: neither is first"))
    if claim.kind == "value":
        nulls = [value for line in found if line.what == "null" for value, _ in line.points]
        null = claim.chance if claim.null is None else sum(nulls) / len(nulls) if nulls else None
        if null is not None and claim.chance is not None and claim.null is None:
            marks.append(Span(null, null, "null"))
        if null is not None:
            edge = null + claim.sign * claim.sesoi
            marks.append(Span(edge, edge, "beyond it, the smallest effect that matters"))
    if claim.kind == "invariance" and paper is not None:
        middle = (paper.low + paper.high) / 2
        marks.append(Span(middle - claim.sesoi, middle + claim.sesoi, "equivalent: within the smallest effect"))
    return marks


def legend(claim: Claim, evidence: Sequence[Case]) -> str:
    """Return what the marks, bands and lines are."""
    found = lines(claim, evidence)
    exact = "squares: exact" + ", the first variant" * (len(claim.exact) > 1)
    names = {"paper's way": "circles: the paper's way", "exact": exact, "null": "diamonds: the null"}
    seen = [words for what, words in names.items() if any(line.what == what for line in found)]
    if any(not counts for line in found for _, counts in line.points):
        seen.append("hollow: exploration, which no verdict counts")
    if any(math.isinf(value) for line in found for value, _ in line.points):
        seen.append("triangles at the edge: it never came")
    for span in spans(claim, found):
        kind = "band" if span.low != span.high else "dashed line" if span.words.startswith("null") else "dotted line"
        seen.append(f"{kind}: {span.words}")
    return "; ".join(seen) + "."


def described(claim: Claim, found: Sequence[Line]) -> str:
    """Return the drawing in words, for who cannot see it."""
    rows = []
    for line in found:
        values = sorted(value for value, _ in line.points)
        count = sum(counts for _, counts in line.points)
        span = f"{_words(values[0])} to {_words(values[-1])}"
        rows.append(f"{line.group}, {line.what}: {len(values)} runs, {count} of them counted, {span}")
    marks = [f"{span.words}: {_words(span.low)} to {_words(span.high)}" for span in spans(claim, found)]
    return "; ".join([*rows, *marks]) + "."


def svg(claim: Claim, evidence: Sequence[Case]) -> str:
    """Return the drawing as SVG with title and description; "" where no run says anything."""
    found = lines(claim, evidence)
    if not found:
        return ""
    with style():
        figure = Figure(figsize=(7.2, 0.9 + 0.28 * len(found)), layout="constrained")
        _draw(figure.subplots(), claim, found)
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return _inline(buffer.getvalue(), claim, found)


def _draw(axis: Axes, claim: Claim, found: Sequence[Line]) -> None:
    known = [value for line in found for value, _ in line.points if math.isfinite(value)]
    marks = spans(claim, found)
    ends = [end for span in marks for end in span[:2] if math.isfinite(end)]
    low, high = min([*known, *ends], default=0.0), max([*known, *ends], default=1.0)
    room = (high - low or abs(high) or 1.0) * 0.06
    low, high = low - room, high + room * 2
    for i, line in enumerate(found):
        colour, marker = LOOKS[line.what]
        for value, counts in line.points:
            is_known = math.isfinite(value)
            at = value if is_known else (high - room / 2 if value > 0 else low + room / 2)
            shape = marker if is_known else (">" if value > 0 else "<")
            axis.plot(at, i, shape, color=colour, markerfacecolor=colour if counts else "none", markersize=6, alpha=0.9)
    for span in marks:
        if span.low == span.high:
            axis.axvline(span.low, color=NULL, linewidth=1.4, linestyle="--" if span.words.startswith("null") else ":")
        else:
            axis.axvspan(max(span.low, low), min(span.high, high), color=BAND, linewidth=0)
    axis.set_yticks(range(len(found)), [plain(f"{line.group}, {line.what}") for line in found], fontsize=9)
    axis.set_ylim(len(found) - 0.5, -0.5)
    axis.set_xlim(low, high)
    unit = claim.paper.unit if claim.paper else ""
    axis.set_xlabel(plain("lead, steps" if claim.kind == "event" else unit or "value"), fontsize=9)
    axis.tick_params(colors=TEXT, labelsize=9)
    axis.xaxis.label.set_color(TEXT)
    axis.grid(axis="x", color=GRID)
    axis.grid(axis="y", visible=False)
    for side in axis.spines.values():
        side.set_color(TEXT)


def _inline(text: str, claim: Claim, found: Sequence[Line]) -> str:
    """Return the <svg> alone, its ids those of the claim, its colours those of the page."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, flags=re.S)
    name = re.sub(r"\W", "-", claim.id)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", text)
    for colour, variable in INK.items():
        text = text.replace(colour, variable)
    text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
    title = f'<title id="{name}-title">{escape(f"What runs say of {claim.id}: {claim.says}")}</title>'
    words = f'<desc id="{name}-desc">{escape(described(claim, found))}</desc>'
    head = f'<svg role="img" aria-labelledby="{name}-title {name}-desc"'
    return re.sub(r"<svg\b([^>]*)>", lambda m: f"{head}{m[1]}>{title}{words}", text, count=1)


def _words(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "never" if value > 0 else "always"


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)
