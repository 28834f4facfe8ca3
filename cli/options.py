"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from .echo import echo
from .names import Names, completes

if TYPE_CHECKING:
    from minigrok.config import Config

Command = Callable[..., Any]
DEBUG = "minigrok.debug"  # key in the context's meta, which a group shares with its commands


def _remember_debug(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked:
        ctx.meta[DEBUG] = True


def debug_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --debug, which works before and after the name of the command."""
    option = click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        callback=_remember_debug,
        help="Show where in the code an error was raised.",
    )
    return option(command)


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --json."""
    return click.option("--json", "as_json", is_flag=True, help="Result as JSON, for machines.")(command)


def set_option(
    variable: str, keys: Names, words: str = "Change a setting: `minigrok help presets`; repeatable."
) -> Callable[[Command], Command]:
    """Add --set, whose keys the shell completes."""
    complete = completes(keys)
    return click.option("--set", variable, multiple=True, metavar="KEY=VALUE", help=words, shell_complete=complete)


def threads_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --threads."""
    option = click.option(
        "--threads",
        type=click.IntRange(min=1),
        metavar="N",
        help="At most N threads [default: all CPUs, at most one a shard]. Never changes a bit of the result.",
    )
    return option(command)


def after_grok_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --after-grok."""
    option = click.option(
        "--after-grok",
        type=click.IntRange(min=0),
        metavar="N",
        help="Go on for N steps after the last task grokked [default: train.after_grok].",
    )
    return option(command)


def other_versions_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --other-versions."""
    option = click.option(
        "--other-versions",
        is_flag=True,
        help="Go on with a portable run that was begun with other versions: its bits may be others.",
    )
    return option(command)


def load_config(source: str, settings: tuple[str, ...]) -> Config:
    """Return the configuration of a preset or a TOML file, with some settings changed.

    Parameters
    ----------
    source : str                 name of a preset, or path of a file
    settings : tuple of str      "key=value", applied in their order
    """
    from minigrok.config import load, with_settings

    return with_settings(load(source), settings)


def make_ready(config: Config) -> Config:
    """Check that this process can run the configuration, before anything is written; return it, the engine chosen.

    In portable mode the process is replaced by one with the settings that NumPy and Numba read when imported.
    """
    from minigrok.engine import portable
    from minigrok.training.train import ready

    if config.compute.portable:
        portable.restart()
    config, why = ready(config)
    if why:
        echo(why, err=True)
    return config
