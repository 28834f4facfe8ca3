"""The one way to print a line: nothing in it can steer the terminal."""

import click

from minigrok.display import printable


def echo(text: object, err: bool = False, nl: bool = True) -> None:
    """Print text to stdout, or to stderr; control characters, which names and messages may hold, are written out."""
    click.echo(printable(str(text)), err=err, nl=nl)
