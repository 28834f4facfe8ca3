"""`minigrok help`."""

from __future__ import annotations

from importlib import resources
from typing import cast

import click

from .echo import echo
from .names import completes
from .options import debug_option


def pages() -> dict[str, str]:
    """Return the pages that come with minigrok, Markdown, by topic: the files of minigrok/docs."""
    files = (resources.files("minigrok") / "docs").iterdir()
    return dict(sorted((x.name.removesuffix(".md"), x.read_text("utf-8")) for x in files if x.name.endswith(".md")))


def first_sentence(page: str) -> str:
    """Return the first sentence below the heading of a page, which says what the page is about."""
    paragraph = page.split("\n\n", 2)[1].replace("\n", " ").strip()
    return paragraph.partition(". ")[0].removesuffix(".") + "."


def topics(ctx: click.Context) -> list[str]:
    """Names that `minigrok help` knows, for the shell."""
    return [*pages(), *cast("click.Group", ctx.find_root().command).commands]


@click.command("help")
@click.argument("topic", metavar="[TOPIC|COMMAND]", required=False, shell_complete=completes(topics))
@debug_option
@click.pass_context
def help_(ctx: click.Context, topic: str | None) -> None:
    """Show a page of the manual, or the options of a command.

    Without a TOPIC the pages are listed. In a pipe a page is its Markdown text.

    Example: minigrok help analyses
    """
    from minigrok.checks import nearest
    from minigrok.errors import ConfigError

    found, commands = pages(), cast("click.Group", ctx.find_root().command).commands
    if topic is None:
        list_pages(found)
    elif topic in commands:
        with click.Context(commands[topic], ctx.parent, topic) as its:
            echo(commands[topic].get_help(its))
    elif topic in found:
        show(found[topic])
    else:
        required = "a topic or a command: `minigrok help` lists them"
        raise ConfigError(required, repr(topic), nearest(topic, topics(ctx)))


def list_pages(found: dict[str, str]) -> None:
    """Print every topic with the first sentence of its page."""
    from .tables import print_table

    rows = [(topic, first_sentence(page)) for topic, page in found.items()]
    print_table("Pages (minigrok help TOPIC)", ("topic", "what it says"), rows)


def show(page: str) -> None:
    """Print a page: laid out in a terminal, as it is elsewhere."""
    from rich.markdown import Markdown

    from .tables import stdout

    console = stdout()
    if console.is_terminal:
        console.print(Markdown(page))
    else:
        echo(page, nl=False)
