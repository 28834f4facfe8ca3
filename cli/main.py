"""`minigrok`: puts the commands together, and turns a MinigrokError into three lines and an exit code.

Exit codes: 0 done, 1 a check failed or a run diverged, 2 wrong use, 3 engine unavailable, 130 interrupted, 141 nobody
read the output.
"""

from __future__ import annotations

import sys
import traceback
import warnings
from typing import Any

import click

from minigrok.version import __version__

from .adopt import adopt, export
from .analyse import analyse
from .audit import audit
from .bench import bench
from .check import check
from .completion import completion
from .echo import echo
from .ending import REFUSED, Call, in_three_parts, three_lines
from .figure import figure, figures, table
from .help import help_
from .info import info
from .intervene import intervene
from .learn import learn
from .options import DEBUG, debug_option
from .plot import plot
from .reference import reference
from .report import report
from .status import status
from .sweep import sweep
from .train import resume, train
from .verify import verify


class Commands(click.Group):
    """A group whose calls end as `ending` says; its commands may raise a MinigrokError."""

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run a command and leave with its exit code."""
        call = Call()

        def run() -> Any:
            return super(Commands, self).main(*args, **{**extra, "standalone_mode": False, "obj": call})

        return sys.exit(call.end(run)) if standalone_mode else run()

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error in three parts goes to stderr, with its traceback only if asked for."""
        try:
            with warnings.catch_warnings():
                warnings.showwarning = one_line
                return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(ctx.obj.interrupted())
        except REFUSED as error:
            if ctx.obj.asked:
                ctx.exit(ctx.obj.interrupted())
            if ctx.meta.get(DEBUG):
                echo(traceback.format_exc(), err=True)
            shown = in_three_parts(error)
            echo(three_lines(shown), err=True)
            ctx.exit(shown.exit_code)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is called, and note its name."""
        name, command, rest = super().resolve_command(ctx, args)
        ctx.obj.command = name or ""
        return name, command, rest


def one_line(message: Warning | str, *_: object, **__: object) -> None:
    """Show a warning to people: no line of Python."""
    echo(f"warning: {' '.join(str(message).split())}", err=True)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="minigrok")
@debug_option
def main() -> None:
    """Multi-task grokking with exact hand-written derivatives (arXiv:2602.18523).

    First steps: minigrok train tiny, then minigrok plot runs/tiny-s42. The manual: minigrok help.
    """


COMMANDS = (
    *(train, resume, intervene, adopt, export, plot, analyse, sweep, status, audit, report, figure, table, figures),
    *(verify, check, reference, bench, info, learn, help_, completion),
)
for command in COMMANDS:
    main.add_command(command)
