"""`minigrok learn`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import names
from .echo import echo
from .options import debug_option

if TYPE_CHECKING:
    from minigrok.lessons.answers import Checked
    from minigrok.lessons.texts import Lesson

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("number", type=int, required=False, metavar="[N]", shell_complete=names.completes(names.lessons))
@click.option("--start", type=FILE, metavar="FILE", help="Write the file of the exercise, to fill in.")
@click.option("--check", "answer", type=FILE, metavar="FILE", help="Check your answer; exit code 1 if a law is broken.")
@click.option("--html", type=FILE, metavar="DIR", help="Write all lessons as pages: open DIR/index.html.")
@click.option(
    "--scripts", type=FILE, metavar="DIR", help="Write all lessons as scripts of # %% cells (VS Code, Jupyter)."
)
@debug_option
@click.pass_context
def learn(
    ctx: click.Context,
    number: int | None,
    start: Path | None,
    answer: Path | None,
    html: Path | None,
    scripts: Path | None,
) -> None:
    """Learn the maths: twelve lessons that check themselves.

    Without N the lessons are listed. Each has something to type, something to see, and an exercise whose answer is
    held to laws. In a pipe a lesson is its Markdown text.

    Example: minigrok learn 3 --start scale.py, then minigrok learn 3 --check scale.py
    """
    from minigrok.errors import ConfigError
    from minigrok.lessons.texts import lesson, lessons

    if html or scripts:
        write(html, scripts)
    elif number is None and (start or answer):
        raise ConfigError("the number of a lesson", "none", "minigrok learn 3 --check FILE")
    elif number is None:
        list_lessons(lessons())
    elif start:
        begin(lesson(number), start)
    elif answer:
        ctx.exit(check(lesson(number), answer))
    else:
        from minigrok.lessons.views import markdown

        from .help import show

        show(markdown(lesson(number)))


def write(html: Path | None, scripts: Path | None) -> None:
    """Write pages, scripts, or both, and say where."""
    from minigrok.lessons import pages, views

    if html:
        pages.write(html)
        echo(html / "index.html")
    for path in views.write_scripts(scripts) if scripts else ():
        echo(path)


def list_lessons(found: list[Lesson]) -> None:
    """Print number, title and idea of every lesson."""
    from .tables import print_table

    rows = [(str(one.number), one.title, one.idea) for one in found]
    print_table("Lessons (minigrok learn N)", (">", "title", "one idea"), rows)


def begin(lesson: Lesson, path: Path) -> None:
    """Write the file to fill in; one that is there stays."""
    from minigrok.errors import ConfigError
    from minigrok.storage.files import write_atomically

    if path.exists():
        raise ConfigError("a name that is free", f"{path}, which is there", "choose another name, or remove that file")
    write_atomically(path, lesson.exercise.START.encode())
    echo(f"{path}: fill it in, then: minigrok learn {lesson.number} --check {path}")


def check(lesson: Lesson, path: Path) -> int:
    """Print what the check finds; return the exit code."""
    from minigrok.lessons.answers import check as checked

    found = checked(lesson.number, path)
    show_findings(found)
    if found.holds:
        echo(f"Lesson {lesson.number}, {lesson.title}: every law holds.")
        return 0
    broken = sum(not finding.holds for finding in found.findings)
    echo(f"Lesson {lesson.number}, {lesson.title}: {broken} of {len(found.findings)} laws broken.")
    return 1


def show_findings(found: Checked) -> None:
    """Print each law with what was measured, its hint below it."""
    if found.printed:
        echo(f"Your file printed:\n{found.printed.rstrip()}\n")
    for finding in found.findings:
        echo(f"{'holds ' if finding.holds else 'BROKEN'}  {finding.law} ({finding.got})")
        if finding.hint:
            echo(f"        {finding.hint}")
