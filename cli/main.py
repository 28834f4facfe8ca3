"""`minigrok`: puts the commands together, and turns a MinigrokError into three lines and an exit code.

Exit codes: 0 done, 1 a check failed or a run diverged, 2 wrong use, 3 engine unavailable, 130 interrupted.
"""

from __future__ import annotations

import traceback
import warnings
from typing import Any

import click

from minigrok.errors import MinigrokError
from minigrok.version import __version__

from .analyse import analyse
from .bench import bench
from .check import check
from .completion import completion
from .compress import compress
from .help import help_
from .info import info
from .intervene import intervene
from .options import DEBUG, debug_option
from .plot import plot
from .reference import reference
from .status import status
from .sweep import sweep
from .train import resume, train
from .verify import verify


class Commands(click.Group):
    """A group whose commands may raise a MinigrokError."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error in three parts goes to stderr, with its traceback only if asked for."""
        try:
            with warnings.catch_warnings():
                warnings.showwarning = one_line
                return super().invoke(ctx)
        except MinigrokError as error:
            if ctx.meta.get(DEBUG):
                click.echo(traceback.format_exc(), err=True)
            click.echo(three_lines(error), err=True)
            ctx.exit(error.exit_code)


def one_line(message: Warning | str, *_: object, **__: object) -> None:
    """Show a warning to people: no line of Python."""
    click.echo(f"warning: {' '.join(str(message).split())}", err=True)


def three_lines(error: MinigrokError) -> str:
    """Text of an error for people."""
    return f"Error\n  required: {error.required}\n  got:      {error.got}\n  do:       {error.do}"


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="minigrok")
@debug_option
def main() -> None:
    """Multi-task grokking with exact hand-written derivatives (arXiv:2602.18523).

    First steps: minigrok train tiny, then minigrok plot runs/tiny-s42. The manual: minigrok help.
    """


COMMANDS = (
    *(train, resume, intervene, plot, analyse, compress, sweep, status),
    *(verify, check, reference, bench, info, help_, completion),
)
for command in COMMANDS:
    main.add_command(command)
