"""What this machine has for the CUDA engine: package, driver, toolkit, devices; and what to do about what is missing.

numba.cuda is imported here and in the engine itself, when somebody asks for it, so that nobody else pays for it.
`NUMBA_ENABLE_CUDASIM=1` puts Numba's simulator in the place of a device: every kernel in ordinary Python threads, slow,
and the place where the tests of this engine run.
"""

import os
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

from minigrok.errors import EngineError

OLDEST = (8, 0)  # compute capability: what the kernels are compiled for in the tests, our choice
OTHER_NUMPY = "install an older NumPy: pip install 'numpy<2.5', as the extra [cuda] asks for"
INSTALL = "pip install '.[cuda]' in minigrok's folder brings numba-cuda and what it needs of CUDA 13"


DRIVER_ERRORS = {("numba", "CudaAPIError"), ("numba_cuda", "CudaAPIError"), ("cuda", "CUDAError")}  # package, class


class Device(NamedTuple):
    """A GPU."""

    name: str
    capability: tuple[int, int]
    memory: int  # bytes


class Found(NamedTuple):
    """What there is; None and () where there is nothing."""

    package: str | None  # version of numba-cuda
    driver: str | None  # the newest CUDA that the driver can run, "13.0"
    toolkit: str | None  # version of the compiler library
    devices: tuple[Device, ...]
    simulator: bool = False
    clash: str | None = None  # what numba-cuda needs of NumPy and does not find, in words

    @property
    def note(self) -> str:
        """One line for people."""
        if self.simulator:
            return "Numba's simulator (NUMBA_ENABLE_CUDASIM=1): no device is used"
        if self.package is None:
            return "no numba-cuda here"
        gpus = ", ".join(
            f"{d.name} (sm_{d.capability[0]}{d.capability[1]}, {d.memory / 2**30:.0f} GiB)" for d in self.devices
        )
        parts = [f"driver for CUDA {self.driver}" if self.driver else "no driver", gpus or "no device"]
        parts.append(f"toolkit {self.toolkit}" if self.toolkit else "no toolkit")
        return "; ".join(parts + ([self.clash] if self.clash else []))


def simulated() -> bool:
    """Whether Numba's simulator takes the place of the device."""
    return os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")


def look() -> Found:
    """Look at everything, raising nothing."""
    package = _version("numba-cuda")
    if package is None:
        return Found(None, None, None, ())
    if simulated():
        return Found(package, None, None, (), simulator=True)
    driver = _driver()
    return Found(package, driver, _toolkit(), _devices() if driver else (), clash=_clash(package))


def problem(found: Found) -> EngineError | None:
    """Return the error that stands between this machine and the CUDA engine, or None."""
    required = "a working CUDA engine for compute.engine = 'cuda'"
    if found.package is None:
        return EngineError(required, "numba-cuda is not installed", INSTALL)
    if found.simulator:
        return None
    if found.clash is not None:
        return EngineError(required, found.clash, OTHER_NUMPY)
    if found.driver is None:
        do = "install NVIDIA's driver (580 or newer), go where a GPU is, or take --engine cpu for a new run"
        return EngineError(required, f"no NVIDIA driver ({found.note})", do)
    if int(found.driver.partition(".")[0]) < 13:
        return EngineError(required, f"a driver for CUDA {found.driver}", "install driver 580 or newer, for CUDA 13")
    if not found.devices:
        do = "check nvidia-smi and CUDA_VISIBLE_DEVICES, or take --engine cpu for a new run"
        return EngineError(required, f"no device ({found.note})", do)
    if found.toolkit is None:
        return EngineError(required, f"no CUDA 13 compiler libraries, NVVM and NVRTC ({found.note})", INSTALL)
    if found.devices[0].capability < OLDEST:
        old = found.devices[0]
        got = f"{old.name} of compute capability {old.capability[0]}.{old.capability[1]}"
        return EngineError(f"a device of compute capability {OLDEST[0]}.{OLDEST[1]} or newer", got, "take --engine cpu")
    return None


def require_compiler() -> None:
    """Raise an EngineError unless kernels can be compiled here, device or not."""
    required = "numba-cuda and the CUDA 13 compiler libraries, NVVM and NVRTC"
    package = _version("numba-cuda")
    if package is None:
        raise EngineError(required, "numba-cuda is not installed", INSTALL)
    if clash := _clash(package):
        raise EngineError(required, clash, OTHER_NUMPY)
    if _toolkit() is None:
        raise EngineError(required, "numba-cuda without one of the libraries", INSTALL)


def peak() -> float | None:
    """Return the device's float32 peak in operations a second, a multiply-add being two; None in the simulator.

    Formula
        multiprocessors * lanes * 2 * clock
    Source: CUDA C++ Programming Guide, throughput of native arithmetic instructions: float32 lanes of a multiprocessor;
    the clock is the highest that the driver tells, tensor cores are left out.
    """
    if simulated():
        return None
    here = import_module("numba.cuda").get_current_device()
    lanes = 64 if tuple(here.compute_capability) == (8, 0) else 128
    return float(here.MULTIPROCESSOR_COUNT) * lanes * 2 * float(here.CLOCK_RATE) * 1e3


def require() -> None:
    """Raise an EngineError unless the CUDA engine can run here."""
    trouble = problem(look())
    if trouble is not None:
        raise trouble


def out_of_memory(replicas: int, wanted: int) -> EngineError:
    """Return the error for an allocation of `wanted` bytes that found no room."""
    required = f"device memory for {replicas} replica{'s' if replicas > 1 else ''} ({wanted / 2**20:.1f} MiB more)"
    do = "take fewer with --replicas N" if replicas > 1 else "take a smaller batch, or a device with more memory"
    return EngineError(required, "the device's memory is full", do)


def lost(error: Exception) -> Exception:
    """Return the error for people if a call of the driver failed, such as that a device is lost; else the error itself.

    Errors of the compiler come from the same packages; they are ours, and stay what they are.
    """
    kinds = {(each.__module__.partition(".")[0], each.__name__) for each in type(error).__mro__}
    if not kinds & DRIVER_ERRORS:
        return error
    do = "look at nvidia-smi; the run folders are as the last checkpoints left them: the same command goes on"
    return EngineError("a device that answers until the end", f"{type(error).__name__}: {error}", do)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _clash(package: str) -> str | None:
    """What keeps numba-cuda from compiling with this NumPy; None if nothing does.

    numba-cuda 0.30.4 names numpy.row_stack, which NumPy 2.5 removed: the module of its arrays cannot be imported then.
    """
    try:
        import_module("numba.cuda.np.arrayobj")
    except AttributeError as error:
        return f"numba-cuda {package} does not go with NumPy {_version('numpy')}: {error}"
    except Exception:  # whatever else is missing has a line of its own
        return None
    return None


def _driver() -> str | None:
    """Newest CUDA version that the driver runs; None without a driver."""
    try:
        major, minor = import_module("numba.cuda").cudadrv.driver.driver.get_version()
    except Exception:  # whatever a broken driver raises, there is none that works
        return None
    return f"{major}.{minor}"


def _toolkit() -> str | None:
    """Version of the compiler libraries that pip brought, or a word on the system's; None if one is missing."""
    try:
        import_module("numba.cuda").cudadrv.nvvm.NVVM()
        import_module("cuda.bindings.nvrtc").nvrtcVersion()  # numba-cuda asks NVRTC which architectures there are
    except Exception:  # whatever a library that is not there raises
        return None
    return _version("nvidia-nvvm") or "of this system"


def _devices() -> tuple[Device, ...]:
    try:
        cuda = import_module("numba.cuda")
        return tuple(_device(cuda, gpu) for gpu in cuda.gpus)
    except Exception:  # as above
        return ()


def _device(cuda: Any, gpu: Any) -> Device:
    with gpu:
        name = gpu.name.decode() if isinstance(gpu.name, bytes) else str(gpu.name)
        memory = cuda.current_context().get_memory_info().total
    return Device(name, tuple(gpu.compute_capability), int(memory))
