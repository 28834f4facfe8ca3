"""`minigrok info`."""

from __future__ import annotations

import json
from typing import Any

import click

from .echo import echo
from .options import debug_option, json_option


@click.command()
@json_option
@debug_option
def info(as_json: bool) -> None:
    """Show versions, machine, presets, sweeps, arms and analyses."""
    from minigrok.info import info as collect

    found = collect()
    if as_json:
        echo(json.dumps(found, indent=2))
    else:
        show(found)


def show(found: dict[str, Any]) -> None:
    """Print what `minigrok.info.info` returned as tables."""
    from .tables import print_table

    print_table("Versions and machine", ("what", "value"), summary(found))
    engines = [(e["name"], "yes" if e["available"] else "no", e["note"]) for e in found["engines"]]
    print_table("Engines (compute.engine)", ("name", "available", "what it is"), engines)
    presets = [(p["name"], f"{p['parameters']:,}", p["description"]) for p in found["presets"]]
    print_table("Presets (minigrok train NAME)", ("name", ">parameters", "what it is"), presets)
    sweeps = [(s["name"], str(s["runs"]), s["description"]) for s in found["sweeps"]]
    print_table("Sweeps (minigrok sweep NAME)", ("name", ">runs", "what it is"), sweeps)
    layers = [(layer["name"], layer["forward"]) for layer in found["layers"]]
    print_table("Layers (minigrok/layers/NAME.py)", ("name", "forward"), layers)
    arms = [(arm["name"], arm["doses"], arm["does"]) for arm in found["arms"]]
    print_table("Interventions (minigrok intervene RUN --arm NAME)", ("name", "doses", "what it does"), arms)
    analyses = [(analysis["name"], analysis["question"]) for analysis in found["analyses"]]
    print_table("Analyses (minigrok analyse NAME RUN)", ("name", "question"), analyses)


def cuda_lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Rows of the first table about the CUDA engine: package, driver, toolkit, each device."""
    cuda = found["cuda"]
    rows = [("numba-cuda", cuda["package"] or "not installed: the extra [cuda]")]
    rows += [("CUDA driver", f"for CUDA {cuda['driver']}" if cuda["driver"] else "none")]
    rows += [("CUDA toolkit", cuda["toolkit"] or "none"), ("engine auto", f"{cuda['auto']} on this machine")]
    return rows + [
        ("CUDA device", f"{d['name']}, compute capability {'.'.join(map(str, d['capability']))}, {d['memory']:,} bytes")
        for d in cuda["devices"]
    ]


def summary(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Rows of the first table: what, and its value."""
    cache = found["cache"]
    rows = [("minigrok", found["minigrok"]), ("python", found["python"])]
    rows += list(found["packages"].items())
    rows += [
        ("system", found["system"]),
        ("CPU", f"{found['cpu']}, {found['cores']} cores, {found['threads']} threads for this process"),
    ]
    rows += [("BLAS", f"{b['library']} {b['version']}, kernel {b['kernel']}") for b in found["blas"]]
    rows += cuda_lines(found)
    kept = f"{cache['files']} files, {cache['bytes'] / 1e6:.1f} MB" if cache["files"] else "nothing yet"
    return [*rows, ("compiled functions", f"{cache['folder']} ({kept})")]
