"""`minigrok completion`."""

from __future__ import annotations

import click

from .echo import echo

SHELLS = {
    "bash": "minigrok completion bash >> ~/.bashrc",
    "zsh": "minigrok completion zsh >> ~/.zshrc",
    "fish": "minigrok completion fish > ~/.config/fish/completions/minigrok.fish",
}


@click.command(epilog="\b\nInstall it:\n" + "\n".join(f"  {line}" for line in SHELLS.values()))
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that makes a shell complete names.

    The Tab key then completes commands, options, presets, analyses, arms, settings and references.
    """
    from click.shell_completion import get_completion_class

    complete = get_completion_class(shell)
    assert complete is not None, "click has all of SHELLS"
    script = complete(ctx.find_root().command, {}, "minigrok", "_MINIGROK_COMPLETE")
    echo(script.source_template % script.source_vars())
