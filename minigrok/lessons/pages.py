"""The lessons as static pages: formulas as MathML beside the code, and the verdict of `minigrok check` below."""

from __future__ import annotations

import html
import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import latex2mathml.converter
import markdown_it
import pygments.formatters
import pygments.lexers

from minigrok.gradcheck.cases import Sizes
from minigrok.gradcheck.check import Verdict, run_checks
from minigrok.gradcheck.laws import LAWS
from minigrok.lessons.formulas import Piece, read
from minigrok.lessons.texts import LAYER, Lesson, lessons
from minigrok.lessons.views import docstring, module_of, source
from minigrok.storage.files import make_folder, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable

STYLE = "vs"  # of Pygments: its colours on white have a contrast of 4.5 or more


def write(folder: Path) -> list[Path]:
    """Write an index and a page a lesson into a folder, and return their paths.

    Raises
    ------
    RunFolderError    the folder cannot be written
    """
    render = _renderer()
    make_folder(folder)
    all_of_them, written = lessons(), []
    for lesson in [None, *all_of_them]:
        path = folder / (f"{lesson.number:02d}_{lesson.name}.html" if lesson else "index.html")
        write_atomically(path, render(lesson, all_of_them).encode())
        written.append(path)
    return written


def _renderer() -> Callable[[Lesson | None, list[Lesson]], str]:
    """Return what makes a page."""
    formatter = pygments.formatters.HtmlFormatter(style=STYLE, nowrap=True)

    def code(text: str, language: str) -> str:
        lexer = pygments.lexers.get_lexer_by_name({"sh": "bash"}.get(language) or language or "text")
        return str(pygments.highlight(text, lexer, formatter))

    def fence(text: str, language: str, attributes: Any) -> str:
        label = {"sh": "Type this in a terminal", "python": "Python", "toml": "TOML"}.get(language, "Text")
        head = f'<pre class="{language or "text"}" tabindex="0" aria-label="{label}">'
        return f"{head}<code>{code(text, language)}</code></pre>"

    def mathml(piece: Piece) -> str:
        made = latex2mathml.converter.convert(piece.latex)
        return made.replace("<math ", f'<math alttext="{html.escape(piece.text)}" ', 1)

    reader = markdown_it.MarkdownIt("commonmark", {"highlight": fence, "html": False}).enable("table")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"markdown": reader.render, "code": code, "mathml": mathml}
    template = environment.from_string((resources.files("minigrok") / "lessons" / "page.html").read_text("utf-8"))
    styles = formatter.get_style_defs("pre")

    def render(lesson: Lesson | None, all_of_them: list[Lesson]) -> str:
        number = lesson.number if lesson else 0
        near = {one.number: one for one in all_of_them}
        around = {"before": near.get(number - 1), "after": near.get(number + 1)}
        parts = _parts(lesson) if lesson else []
        return template.render(lesson=lesson, lessons=all_of_them, parts=parts, styles=styles, **around)

    return render


def _parts(lesson: Lesson) -> list[dict[str, Any]]:
    """Return the text between the layers that a lesson shows, and these."""
    parts: list[dict[str, Any]] = []
    pieces = LAYER.split(lesson.text.partition("\n")[2])  # the heading stands in the template
    for i in range(0, len(pieces), 3):
        parts.append({"text": pieces[i]})
        if i + 2 < len(pieces):
            parts.append(_shown(*pieces[i + 1 : i + 3]))
    return parts


def _shown(layer: str, function: str) -> dict[str, Any]:
    """Return what a page shows of a layer."""
    module = module_of(layer)
    return {
        "layer": layer,
        "page": read(docstring(module)),
        "function": function,
        "source": _without_docstring(source(module, function)),
        "verdicts": [_row(verdict) for verdict in run_checks(Sizes(), "plain", only=layer)],
    }


def _without_docstring(text: str) -> str:
    """A function's lines but for its docstring: the formulas stand beside it."""
    return re.sub(r'\n    """.*?"""', "", text, count=1, flags=re.DOTALL)


def _row(verdict: Verdict) -> dict[str, str]:
    slope = LAWS[verdict.law].is_slope
    if verdict.number is None:
        return {"law": verdict.law, "got": "-", "limit": "-", "verdict": "has no such direction"}
    got, limit = (
        (f"{verdict.number:.3f}", f"at least {verdict.limit}")
        if slope
        else (f"{verdict.number:.0e}", f"at most {verdict.limit:.0e}")
    )
    return {"law": verdict.law, "got": got, "limit": limit, "verdict": "holds" if verdict.holds else "broken"}
