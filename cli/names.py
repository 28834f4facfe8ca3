"""Names that the shell completes: each function returns the names of one registry, imported when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click
from click.shell_completion import CompletionItem

Names = Callable[[click.Context], Iterable[str]]
Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def completes(names: Names, or_file: bool = False) -> Complete:
    """Return click's `shell_complete` for the names of a registry, or else files if these are welcome, too."""

    def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        found = [CompletionItem(name) for name in names(ctx) if name.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type="file")] * or_file

    return complete


def presets(_: click.Context) -> list[str]:
    """Names of the presets."""
    from minigrok.config import preset_names

    return preset_names()


def sweeps(_: click.Context) -> list[str]:
    """Names of the sweeps."""
    from minigrok.experiments.sweep_file import sweep_names

    return sweep_names()


def analyses(_: click.Context) -> list[str]:
    """Names of the analyses, and "all"."""
    from minigrok.analyses import ANALYSES

    return ["all", *ANALYSES]


def arms(_: click.Context) -> list[str]:
    """Names of the arms of an intervention."""
    from minigrok.config.arms import ARMS

    return [name for name in ARMS if name != "none"]


def engines(_: click.Context) -> list[str]:
    """Names of the engines."""
    from typing import get_args

    from minigrok.config.sections import EngineName

    return list(get_args(EngineName))


def cases(_: click.Context) -> list[str]:
    """Names of the cases of `minigrok check`: layers, half blocks, networks."""
    from minigrok.gradcheck.cases import CASES

    return list(CASES)


def lessons(_: click.Context) -> list[str]:
    """Numbers of the lessons."""
    from minigrok.lessons.texts import lessons

    return [str(one.number) for one in lessons()]


def figures(_: click.Context) -> list[str]:
    """Numbers of the paper's figures."""
    return _entries("figure")


def tables(_: click.Context) -> list[str]:
    """Numbers of the paper's tables."""
    return _entries("table")


def _entries(kind: str) -> list[str]:
    from minigrok.paper.entries import load

    return [entry.number for entry in load().entries if entry.kind == kind]


def benchmarks(_: click.Context) -> list[str]:
    """Parts of the benchmark, and "all"."""
    from minigrok.bench.suite import SECTIONS

    return ["all", *SECTIONS]


def references(ctx: click.Context) -> list[str]:
    """Names of the references in the folder that --folder names."""
    from pathlib import Path

    from minigrok.reference.files import names, place

    folder = ctx.params.get("folder")
    return names(place(folder and Path(folder)))


def keys(_: click.Context) -> list[str]:
    """Settings of a run, each with the "=" that follows it."""
    from minigrok.config import keys

    return [f"{key}=" for key in keys()]


def analysis_keys(ctx: click.Context) -> list[str]:
    """Settings of the analysis that the command line names, each with the "=" that follows it."""
    from dataclasses import fields

    from minigrok.analyses import ANALYSES

    chosen: Any = ANALYSES.get(
        ctx.params.get("name") or next(iter(ctx.args), "")
    )  # not parsed while --set has no value
    return [f"{item.name}=" for item in fields(chosen.settings)] if chosen else []
