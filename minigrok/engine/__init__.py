"""Engines: the machines that the layers run on.

A layer is written once, as plain functions of a range of rows, and an engine runs it:

    plain   ordinary Python: slow, and a debugger can stop in it; the oracle of the tests
    cpu     the same functions compiled by Numba, products by NumPy's BLAS
    cuda    the same functions compiled by numba.cuda, one row a thread, for many replicas at once

All that the layers ask of an engine is in `base.Engine`: a few short methods.
"""

from minigrok.engine import device
from minigrok.engine.base import Array, Body, Calls, Engine, replay
from minigrok.errors import EngineError

__all__ = ["ALL_ENGINES", "ENGINES", "Array", "Body", "Calls", "Engine", "chosen", "open_engine", "replay"]

ENGINES = ("cpu", "plain")  # on every machine
ALL_ENGINES = (*ENGINES, "cuda")


def chosen(name: str) -> tuple[str, str]:
    """Return the engine that a name means on this machine, and why if there was a choice.

    Parameters
    ----------
    name : str
        "auto" means cuda where it can run, else cpu; any other name means itself.
    """
    if name != "auto":
        return name, ""
    trouble = device.problem(device.look())
    return ("cpu", f"engine auto: cpu, because there is {trouble.got}") if trouble else ("cuda", "engine auto: cuda")


def open_engine(name: str, dtype: str) -> Engine:
    """Return a new engine with an empty workspace.

    Parameters
    ----------
    name : str
        One of `ALL_ENGINES`, or "auto".
    dtype : str
        "float32" or "float64": the type of every array the engine hands out.

    Raises
    ------
    EngineError
        The name is unknown, or there is no device for "cuda".
    """
    name, _ = chosen(name)
    if name == "plain":
        return Engine(dtype)
    if name == "cpu":
        from minigrok.engine.cpu import CpuEngine

        return CpuEngine(dtype)
    if name == "cuda":
        device.require()
        from minigrok.engine.cuda import HostedCuda

        return HostedCuda(dtype)
    raise EngineError(
        required=f"an engine among {', '.join(ALL_ENGINES)}",
        got=repr(name),
        do="Choose one of these (compute.engine in the config, or --engine).",
    )
