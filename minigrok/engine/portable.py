"""Portable mode: one instruction set for BLAS and for compiled kernels, so that every machine gives the same bits.

OpenBLAS picks its kernels, and Numba its instructions, by the processor they find. In portable mode both are told to
take those of Haswell (2013, AVX2 and FMA), which x86-64 machines since then run. The libraries read these settings when
they are imported, so they have to be in the environment before NumPy is: the command line starts itself anew for that.
"""

import os
import platform
import sys
from typing import Any

from minigrok.errors import EngineError

# What Numba must hold: the processor, and its own defaults of all that changes code, said so that nothing in the
# environment or in a .numba_config.yaml changes them.
NUMBA = {
    "CPU_NAME": "haswell",
    "CPU_FEATURES": "+avx2,+fma,+bmi,+bmi2,+avx,+sse4.2",
    "ENABLE_AVX": "1",
    "OPT": "3",
    "LOOP_VECTORIZE": "1",
    "SLP_VECTORIZE": "0",
    "BOUNDSCHECK": "0",
    "DEBUGINFO": "0",
    "ENABLE_PROFILING": "0",
    "EXTEND_VARIABLE_LIFETIMES": "0",
    "LLVM_REFPRUNE_PASS": "1",
    "LLVM_REFPRUNE_FLAGS": "all",
    "DISABLE_INTEL_SVML": "1",
    "DISABLE_JIT": "0",
}
BLAS = {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "1"}
LIBC = {"GLIBC_TUNABLES": ""}  # which may forbid libm its FMA: other logarithms and exponentials in float64
SETTINGS = BLAS | LIBC | {f"NUMBA_{name}": value for name, value in NUMBA.items()}


def in_force() -> bool:
    """Return whether the loaded BLAS libraries and Numba do use the portable instruction set."""
    return not obstacles()


def obstacles() -> list[str]:
    """Return what differs from the portable settings in this process, in words; empty if nothing does."""
    return [*_of_numba(), *_of_blas(), *_of_libc()]


def _of_processor() -> str:
    """Return the kind of processor if it is none of x86-64, else ""."""
    kind = platform.machine()
    return "" if kind.lower() in ("x86_64", "amd64") else kind or "unknown"


def _of_numba() -> list[str]:
    import numba

    found = {name: _held(numba.config, name) for name in NUMBA}
    if not getattr(numba.config, "USING_SVML", False):
        found["DISABLE_INTEL_SVML"] = "1"  # there is none
    return [f"Numba's {name} is {found[name]}" for name, value in NUMBA.items() if found[name] != value]


def _held(config: Any, name: str) -> str:
    """Value of a setting as its environment variable would say it; what is not set and off by default is "0"."""
    value = getattr(config, "DEBUGINFO_DEFAULT" if name == "DEBUGINFO" else name, None)
    value = getattr(value, "_raw_value", value)  # of OPT, where the number 3 may be "max"
    if value is None and NUMBA[name] == "0":
        return "0"
    return str(int(value)) if isinstance(value, bool) else str(value)


def _of_blas() -> list[str]:
    from minigrok.engine.threads import blas_libraries

    libraries = blas_libraries()
    found = [] if libraries else ["no BLAS library is seen"]
    for library in libraries:
        name, kernels, threads = library["internal_api"], library.get("architecture"), library["num_threads"]
        if kernels != BLAS["OPENBLAS_CORETYPE"]:
            found.append(f"{name} uses its {kernels} kernels")
        if threads != 1:  # a product is cut otherwise
            found.append(f"{name} works on {threads} threads")
    return found


def _of_libc() -> list[str]:
    said = os.environ.get("GLIBC_TUNABLES", "")
    return [f"GLIBC_TUNABLES is {said}"] if "hwcaps" in said or "cpu" in said else []


def require() -> None:
    """Raise an EngineError unless portable mode is in force.

    Raises
    ------
    EngineError
        The process was started without the settings, or its BLAS is not OpenBLAS.
    """
    if other := _of_processor():
        do = "leave out --portable (compute.portable): the same seed then gives these bits on this machine type alone"
        raise EngineError("an x86-64 processor with AVX2 for portable mode", other, do)
    found = obstacles()
    if found:
        settings = " ".join(f"{key}={value}" for key, value in SETTINGS.items())
        raise EngineError(
            required="portable mode (compute.portable = true) from the start of the process",
            got="; ".join(found),
            do=f"set {settings} before NumPy is imported (the command line does), with a NumPy that has OpenBLAS",
        )


def restart() -> None:
    """Replace this process by one with the portable settings and the same command line, unless they are in force.

    Raises
    ------
    EngineError
        The settings are there and have no effect, or another kind of processor.
    """
    if _of_processor() or all(os.environ.get(key) == value for key, value in SETTINGS.items()):
        require()
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | SETTINGS)
