"""Portable mode: one instruction set for BLAS and for compiled kernels, so that every machine gives the same bits.

OpenBLAS picks its kernels, and Numba its instructions, by the processor they find. In portable mode both are told to
take those of Haswell (2013, AVX2 and FMA), which x86-64 machines since then run. The libraries read these settings when
they are imported, so they have to be in the environment before NumPy is: the command line starts itself anew for that.
"""

import os
import sys

from minigrok.errors import EngineError

SETTINGS = {
    "OPENBLAS_CORETYPE": "Haswell",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx2,+fma,+bmi,+bmi2,+avx,+sse4.2",
    # Numba's own defaults, said so that nothing in the environment or in a .numba_config.yaml changes them
    "NUMBA_OPT": "3",
    "NUMBA_LOOP_VECTORIZE": "1",
    "NUMBA_SLP_VECTORIZE": "0",
    "NUMBA_BOUNDSCHECK": "0",
    "NUMBA_DEBUGINFO": "0",
    "NUMBA_ENABLE_PROFILING": "0",
    "NUMBA_EXTEND_VARIABLE_LIFETIMES": "0",
    "NUMBA_LLVM_REFPRUNE_PASS": "1",
    "NUMBA_DISABLE_INTEL_SVML": "1",
    "NUMBA_DISABLE_JIT": "0",
    "NUMBA_DEBUG": "0",
}


def in_force() -> bool:
    """Return whether the loaded BLAS libraries and Numba do use the portable instruction set."""
    return not obstacles()


def obstacles() -> list[str]:
    """Return what differs from the portable settings in this process, in words; empty if nothing does."""
    import numba
    import numpy  # noqa: F401 - its BLAS must be loaded to be seen
    import scipy.linalg  # noqa: F401 - and so must SciPy's own
    from threadpoolctl import threadpool_info

    found = [
        f"Numba compiles for {value or 'this processor'}"
        for value, key in [(numba.config.CPU_NAME, "NUMBA_CPU_NAME"), (numba.config.CPU_FEATURES, "NUMBA_CPU_FEATURES")]
        if value != SETTINGS[key]
    ]
    for library in threadpool_info():
        if library["user_api"] == "blas" and library.get("architecture") != "Haswell":
            found.append(f"{library['internal_api']} uses its {library.get('architecture')} kernels")
    return found


def require() -> None:
    """Raise an EngineError unless portable mode is in force.

    Raises
    ------
    EngineError
        The process was started without the settings, or its BLAS is not OpenBLAS.
    """
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
        The settings are there and have no effect.
    """
    if all(os.environ.get(key) == value for key, value in SETTINGS.items()):
        require()
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | SETTINGS)
