"""The row bodies of a module, and the four maps of a case one after the other: what runs them all."""

import importlib
import inspect
from collections.abc import Callable

from minigrok.engine import Array, Engine
from minigrok.gradcheck.laws import Case, Tree, flat


def bodies(module_name: str) -> set[Callable[..., None]]:
    """Row bodies of a module: its functions of (lo, hi, ...)."""
    module = importlib.import_module(module_name)
    functions = [f for _, f in inspect.getmembers(module, inspect.isfunction) if f.__module__ == module_name]
    return {f for f in functions if list(inspect.signature(f).parameters)[:2] == ["lo", "hi"]}


def four_maps(case: Case, engine: Engine, z: Tree, Rz: Tree, dy: Tree, Rdy: Tree) -> list[Array]:
    y, tape = case.value(engine, z)
    dz, dtape = case.pull(engine, z, tape, dy)
    Ry, rtape = case.r_value(engine, z, tape, Rz)
    Rdz = case.r_pull(engine, z, tape, dtape, Rz, rtape, Rdy)
    return [flat(tree) for tree in (y, dz, Ry, Rdz)]
