"""What this installation is: versions, machine, engines, presets, sweeps, layers, arms, analyses."""

import os
import platform
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

from minigrok.analyses import ANALYSES
from minigrok.config import preset, preset_names
from minigrok.config.arms import ARMS
from minigrok.engine import ENGINES, chosen, device
from minigrok.engine.cache import cache_folder
from minigrok.engine.threads import available_threads, blas_libraries
from minigrok.experiments.sweep_file import read_sweep, sweep_names, sweep_text
from minigrok.layers import LAYERS
from minigrok.network.params import layout
from minigrok.version import __version__

PACKAGES = ("numpy", "numba", "llvmlite", "scipy", "matplotlib", "safetensors", "click", "rich", "threadpoolctl")
NOTES = {"cpu": "Numba and BLAS", "plain": "ordinary Python: slow, debuggable"}


def info() -> dict[str, Any]:
    """Everything that `minigrok info` shows, JSON-able.

    Returns
    -------
    dict
        the keys of `environment`, and "engines", "cuda", "presets", "sweeps", "layers", "arms", "analyses", "cache"
    """
    return environment() | {
        "engines": engines(),
        "cuda": devices(),
        "presets": presets(),
        "sweeps": sweeps(),
        "layers": [layer._asdict() for layer in LAYERS],
        "arms": arms(),
        "analyses": analyses(),
        "cache": cache(),
    }


def environment() -> dict[str, Any]:
    """What may change the last bits or the speed of a result: to be kept beside every measurement.

    Returns
    -------
    dict
        "minigrok", "python", "packages" {name: version}, "system", "cpu", "cores" of the machine, "threads"
        that this process may use, "blas" [{library, version, kernel, threads}]
    """
    return {
        "minigrok": __version__,
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "system": platform.platform(),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": available_threads(),
        "blas": blas(),
    }


def cpu_name() -> str:
    """Name of the CPU as its maker writes it, or its architecture where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def blas() -> list[dict[str, Any]]:
    """BLAS libraries that NumPy and SciPy brought, and the kernel that each chose for this CPU."""
    return [
        {
            "library": f"{entry['internal_api']} ({Path(entry['filepath']).name})",
            "version": entry["version"],
            "kernel": entry.get("architecture", "unknown"),
            "threads": entry["num_threads"],
        }
        for entry in blas_libraries()
    ]


def engines() -> list[dict[str, Any]]:
    """Engines that a config may name, and whether this installation has them."""
    found = device.look()
    usable = device.problem(found) is None
    return [
        *({"name": name, "available": True, "note": NOTES[name]} for name in ENGINES),
        {"name": "cuda", "available": usable, "note": f"numba.cuda: {found.note}"},
    ]


def devices() -> dict[str, Any]:
    """What there is for the CUDA engine: package, driver, toolkit, devices; and the engine that "auto" means here."""
    found = device.look()
    return found._asdict() | {"devices": [each._asdict() for each in found.devices], "auto": chosen("auto")[0]}


def presets() -> list[dict[str, Any]]:
    """Presets: name, number of parameters, and the first sentence of the file, which says what it is."""
    return [
        {"name": name, "parameters": layout(preset(name)).size, "description": _first_sentence(f"{name}.toml")}
        for name in preset_names()
    ]


def sweeps() -> list[dict[str, Any]]:
    """Sweeps that come with minigrok: name, number of runs, and the first sentence of the file."""
    return [
        {
            "name": name,
            "runs": len(read_sweep(sweep_text(name)).configs),
            "description": _first_sentence(f"sweeps/{name}.toml"),
        }
        for name in sweep_names()
    ]


def arms() -> list[dict[str, Any]]:
    """Arms of an intervention: name, what it does, range of doses, plane, source."""
    return [
        {"name": name, "does": arm.does, "doses": arm.doses, "plane": arm.basis, "source": arm.source}
        for name, arm in ARMS.items()
        if name != "none"
    ]


def analyses() -> list[dict[str, str]]:
    """Analyses: name, and the question that each answers."""
    return [{"name": each.name, "question": each.question} for each in ANALYSES.values()]


def cache() -> dict[str, Any]:
    """Where compiled functions are kept, and how much is there: 0 files before the first run."""
    folder = cache_folder()
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {"folder": str(folder), "files": len(files), "bytes": sum(path.stat().st_size for path in files)}


def _first_sentence(file: str) -> str:
    text = (resources.files("minigrok.config") / "presets" / file).read_text(encoding="utf-8")
    comment = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    return comment.partition(". ")[0].removesuffix(".") + "."
