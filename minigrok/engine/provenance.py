"""What outside a configuration can change a bit of a run: recorded when the run begins, compared when it goes on.

    versions    minigrok, Python, and the packages that compute or write
    blas        each BLAS library that NumPy and SciPy brought, its version, and the kernels that it chose here
    compiled_for    the processor that Numba compiles for, with a digest of its features
    numba_settings  a digest of Numba's settings that may change code
    libc        whose logarithm the losses are made with

A run that is not portable belongs to a machine type and its versions: what differs is said. Of a portable run the same
bits are promised anywhere, so other versions are refused, unless asked for. The C library is said in both cases: no two
were seen to differ.
"""

import hashlib
import platform
import warnings
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path

from minigrok.engine.threads import blas_libraries
from minigrok.errors import EngineError, MinigrokWarning
from minigrok.version import __version__

DECIDE_BITS = ("numpy", "numba", "llvmlite")  # packages: BLAS and generated code
PACKAGES = (*DECIDE_BITS, "safetensors")  # and of what writes the files
SAID_ONLY = ("libc",)
WORDS = {"version": "minigrok", "compiled_for": "processor", "numba_settings": "Numba's settings"}


@cache
def packages() -> dict[str, str]:
    """Versions of the packages that compute or write."""
    return {name: version(name) for name in PACKAGES}


@cache
def record() -> dict[str, str]:
    """All that is recorded, as it is in this process."""
    from numba.core.registry import cpu_target

    from minigrok.engine.cache import code_settings

    _, processor, features = cpu_target.target_context.codegen().magic_tuple()
    return {
        "version": __version__,
        "python": platform.python_version(),
        **packages(),
        "blas": _blas(),
        "compiled_for": f"{processor} {_digest(features)}",
        "numba_settings": _digest(repr(code_settings())),
        "libc": " ".join(platform.libc_ver()).strip() or "unknown",
    }


def compare(recorded: Mapping[str, object], where: Path, portable: bool, other_versions: bool = False) -> None:
    """Hold what a run was begun with against this process; what an older minigrok did not record is not compared.

    Parameters
    ----------
    recorded : mapping       from the run's config.toml
    where : Path             the run's folder
    portable : bool          of the run's configuration
    other_versions : bool    a portable run may go on with other versions

    Warns
    -----
    MinigrokWarning    what differs

    Raises
    ------
    EngineError        a portable run, and other versions that were not asked for
    """
    here = record()
    differ = [key for key, value in here.items() if recorded.get(key, value) != value]
    then, now = (", ".join(f"{WORDS.get(key, key)} {each[key]}" for key in differ) for each in (recorded, here))
    if portable and not other_versions and not set(differ) <= set(SAID_ONLY):
        required = f"what the portable run {where} was begun with, as its bits depend on it: {then}"
        raise EngineError(required, now, "install and set the same; or give up the same bits: --other-versions")
    if differ:
        words = f"{where} was begun with {then}; here: {now}. Its further steps may have other bits"
        warnings.warn(words, MinigrokWarning, stacklevel=2)


def _blas() -> str:
    words = {
        f"{each['internal_api']} {each['version']} {each.get('architecture', '')}".strip() for each in blas_libraries()
    }
    return ", ".join(sorted(words)) or "unknown"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
