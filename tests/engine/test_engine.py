"""Engines: a workspace that is handed out again, nothing read before it is written, and bad numbers that show."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from row_bodies import bodies, four_maps

import minigrok
from minigrok.config import Config, Model, Optimiser, Task
from minigrok.engine import ENGINES, Array, Engine, open_engine
from minigrok.engine.cache import COMPILED
from minigrok.errors import EngineError
from minigrok.gradcheck.cases import CASES, Sizes
from minigrok.gradcheck.laws import Case, Tree, draw, leaves, tree_map
from minigrok.layers import LAYERS, embedding
from minigrok.network.objective import Objective
from minigrok.network.params import initial, layout
from minigrok.training.optim import AdamW, norm

CONFIG = Config("small", task=Task(p=5, exclude_zero=False), model=Model(width=6, heads=2, mlp_width=5))


def make(engine: str, dtype: str = "float64", B: int = 17, **options: Any) -> tuple[Objective, Array, Array]:
    rng = np.random.default_rng(0)
    tokens, targets = rng.integers(0, 5, (B, 2)), rng.integers(0, 5, (2, B))
    objective = Objective(CONFIG, tokens, targets, engine=engine, dtype=dtype, shards=2, **options)
    theta = initial(CONFIG).astype(np.float64) + 0.3 * rng.standard_normal(objective.size)
    return objective, theta, rng.standard_normal(objective.size)


def everything(objective: Objective, theta: Array, v: Array) -> list[Array]:
    return [
        objective.losses(theta),
        objective.grad(theta),
        objective.hvp(theta, v),
        objective.ggn_vp(theta, v),
        objective.jvp(theta, v),
    ]


# --- the workspace


@pytest.mark.parametrize("name", ENGINES)
def test_a_rewind_hands_out_the_same_memory_again(name: str) -> None:
    engine = open_engine(name, "float32")
    first = [engine.empty(3, 4), engine.empty(3, 4), engine.empty(7)]
    mark = engine.mark()
    later = [engine.empty(3, 4), engine.empty(2)]
    assert len({id(a) for a in first + later}) == 5
    engine.rewind(mark)
    assert {id(engine.empty(3, 4)), id(engine.empty(2))} == {id(a) for a in later}
    engine.rewind()
    again = [engine.empty(3, 4), engine.empty(3, 4), engine.empty(3, 4), engine.empty(7), engine.empty(2)]
    assert {id(a) for a in again} == {id(a) for a in first + later}
    assert all(a.dtype == np.float32 for a in again)
    assert id(engine.empty(7)) not in {id(a) for a in again}, "what is in use is never handed out twice"


def test_a_repeated_pass_hands_out_arrays_in_the_same_places() -> None:
    """So that a training step finds its memory warm: shape by shape, the same array for the same request."""
    engine = open_engine("plain", "float64")
    shapes = [(2, 3), (4,), (2, 3), (2, 3), (4,)]
    passes = []
    for _ in range(3):
        engine.rewind()
        passes.append([id(engine.empty(*shape)) for shape in shapes])
    assert passes[0] == passes[1] == passes[2]


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(EngineError, match=r"cpu, plain.*abacus"):
        open_engine("abacus", "float64")


def size_of_workspaces(objective: Objective) -> int:
    engines = objective._net.engines
    return sum(len(e._used) + sum(len(free) for free in e._free.values()) for e in engines)


@pytest.mark.parametrize("product", ["hvp", "ggn_vp", "jvp"])
def test_a_product_allocates_no_workspace_after_the_first_time(product: str) -> None:
    objective, theta, v = make("cpu")
    apply: Callable[..., Array] = getattr(objective, product)
    apply(theta, v)
    size = size_of_workspaces(objective)
    for shift in (0, 0, 1, 1):
        apply(theta + shift, v)
    assert size_of_workspaces(objective) == size > 0


def test_the_workspace_does_not_grow_with_the_number_of_calls() -> None:
    """Gradients at one point, alone and between products; batches of one size after another."""
    objective, theta, v = make("cpu")
    B, rng = objective._net.size, np.random.default_rng(1)
    tokens, targets = rng.integers(0, 5, (B, 2)), rng.integers(0, 5, (2, B))

    def work() -> int:
        for _ in range(2):
            objective.grad(theta)
            everything(objective, theta, v)
        return size_of_workspaces(objective)

    size = work()
    assert {work() for _ in range(4)} == {size}
    for n in range(1, B):
        objective.load(tokens[:n], targets[:, :n])
        work()
    objective.load(tokens, targets)
    assert work() == size


@pytest.mark.parametrize("product", ["hvp", "ggn_vp", "grad"])
def test_a_product_allocates_nothing_after_the_first_time(product: str) -> None:
    """Into `out`, at a new theta: no array of floats, only the P booleans that compare theta with the last one."""
    config = Config("larger", task=Task(p=11), model=Model(width=24, heads=2, mlp_width=48))
    rng = np.random.default_rng(0)
    tokens, targets = rng.integers(0, 11, (200, 2)), rng.integers(0, 11, (2, 200))
    objective = Objective(config, tokens, targets, engine="cpu", shards=2, threads=1)
    theta, v, out = (rng.standard_normal(objective.size) for _ in range(3))
    apply: Callable[..., Array] = getattr(objective, product)
    arguments = (v,) if product != "grad" else ()
    activation = 200 * 24 * 8  # bytes
    assert objective.size < activation / 2 < theta.nbytes / 2

    def rise(**options: Array) -> int:
        theta[:] += 1e-3
        tracemalloc.start()
        apply(theta, *arguments, **options)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    first = rise(out=out)
    again = [rise(out=out) for _ in range(3)]
    assert max(again) < objective.size + 10_000 < activation < theta.nbytes < first
    assert rise() > theta.nbytes, "a result of its own is seen"


def test_an_objective_leaves_no_memory_behind() -> None:
    """Its sleeping thread does not keep it: an analysis makes one for each of a hundred snapshots."""
    objective, theta, v = make("cpu", threads=2)
    objective.hvp(theta, v)
    watched = weakref.ref(objective._net)
    del objective
    gc.collect()
    assert watched() is None


# --- nothing is read before it is written


def poison(patch: pytest.MonkeyPatch) -> None:
    """Fill every array of every workspace with NaN when it is handed out."""
    real = Engine.empty

    def empty(self: Engine, *shape: int) -> Array:
        array = real(self, *shape)
        array.fill(np.nan)
        return array

    patch.setattr(Engine, "empty", empty)


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_reads_what_a_workspace_holds(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clean = everything(*make(engine))
    poison(monkeypatch)
    objective, theta, v = make(engine)
    objective._net._partial.fill(np.nan)
    for a, b in zip(everything(objective, theta, v), clean, strict=True):
        assert np.isfinite(a).all()
        assert np.array_equal(a, b)


def test_a_body_that_leaves_a_row_out_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = embedding._forward
    monkeypatch.setattr(embedding, "_forward", lambda lo, hi, *args: whole(lo, hi - 1, *args))
    poison(monkeypatch)
    with np.errstate(all="ignore"):
        results = everything(*make("plain", threads=1))
    assert not all(np.isfinite(a).all() for a in results)


# --- NaN and infinity keep their meaning, whatever the compiler may reorder


def broken(tree: Tree, leaf: int, bad: float) -> Tree:
    """The tree with a number in the middle of its leaf-th array replaced."""
    count = iter(range(10**6))

    def change(a: Array) -> Array:
        a = a.copy()
        if next(count) == leaf:
            a.flat[a.size // 2] = bad
        return a

    return tree_map(change, tree)


def arguments_with(case: Case, bad: float, rng: np.random.Generator) -> Iterator[list[Tree]]:
    """(z, Rz, dy, Rdy) with one bad number, in every array of each in turn."""
    y = case.value(open_engine("plain", "float64"), case.z)[0]
    good = [case.z, draw(rng, case.z), draw(rng, y), draw(rng, y)]
    for place, tree in enumerate(good):
        for leaf in range(len(list(leaves(tree)))):
            yield [broken(t, leaf, bad) if i == place else t for i, t in enumerate(good)]


def kinds(x: Array) -> Array:
    """0 finite, 1 NaN, 2 inf, 3 -inf."""
    return np.isnan(x) + 2 * np.isposinf(x) + 3 * np.isneginf(x)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_bad_numbers_go_the_same_way_on_both_engines(name: str, bad: float) -> None:
    rng, shown = np.random.default_rng(0), 0
    case = CASES[name](rng, Sizes())
    with np.errstate(all="ignore"):
        for arguments in arguments_with(case, bad, rng):
            plain, cpu = (four_maps(case, open_engine(engine, "float64"), *arguments) for engine in ("plain", "cpu"))
            for a, b in zip(plain, cpu, strict=True):
                assert np.array_equal(kinds(a), kinds(b))
                shown += bool(kinds(a).any())
    assert shown > 0


def test_the_cases_run_every_row_body_of_the_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the test above is about all of them."""
    ran: set[Callable[..., None]] = set()
    monkeypatch.setattr(Engine, "rows", lambda self, body, n, *args: (ran.add(body), body(0, n, *args)))
    rng = np.random.default_rng(0)
    for make_case in CASES.values():
        case = make_case(rng, Sizes())
        y = case.value(open_engine("plain", "float64"), case.z)[0]
        four_maps(case, open_engine("plain", "float64"), case.z, draw(rng, case.z), draw(rng, y), draw(rng, y))
    modules = [f"minigrok.layers.{layer.name}" for layer in LAYERS] + ["minigrok.layers.sums"]
    expected = set().union(*map(bodies, modules))
    assert len(expected) > 15
    assert expected <= ran


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_gradient_shows_in_the_optimiser(engine: str, bad: float) -> None:
    machine = open_engine(engine, "float64")
    g, theta = np.ones(9), np.ones(9)
    g[4] = bad
    assert not np.isfinite(norm(machine, g))
    adamw = AdamW(Optimiser(), machine, 9)
    with np.errstate(all="ignore"):
        adamw.step(theta, g, 1.0)
    assert np.isnan(theta[4])
    assert np.isfinite(np.delete(theta, 4)).all()


# --- engines agree


def test_engines_agree_in_float32_block_by_block() -> None:
    """Each against float64: up to 24 eps of the largest element of a block found, where sums cancel; 80 allowed."""
    exact = everything(*make("plain"))
    for engine in ENGINES:
        found = everything(*make(engine, "float32"))
        for name, part in layout(CONFIG).slices.items():
            if name.endswith("in_proj_bias"):
                continue  # a third of it, the key bias, has an exact gradient of 0
            for a, b in zip(found[1:4], exact[1:4], strict=True):
                assert np.abs(a[part] - b[part]).max() < 1e-5 * np.abs(b[part]).max(), f"{engine}: {name}"
        for i in (0, 4):
            assert np.abs(found[i] - exact[i]).max() < 1e-5 * np.abs(exact[i]).max()
        assert all(a.dtype == np.float32 for a in found[1:])


def test_the_cache_of_compiled_functions_knows_every_source_that_is_compiled() -> None:
    """A body from a file outside of `COMPILED` could change and be run as it was compiled before."""
    package = Path(minigrok.__file__).parent
    known = {path.relative_to(package).as_posix() for pattern in COMPILED for path in package.glob(pattern)}
    users = {p.relative_to(package).as_posix() for p in package.rglob("*.py") if "lo: int, hi: int" in p.read_text()}
    on_the_device_alone = {"training/fleet_step.py"}
    assert users - on_the_device_alone <= known
    assert {"layers/linear.py", "training/planes.py", "network/evaluation.py"} <= users


def test_fast_math_is_switched_on_in_one_place_only() -> None:
    """In the CPU engine, where this file tests what it does; vector_math needs its own, stricter flags."""
    package = Path(minigrok.__file__).parent
    users = {path.relative_to(package).as_posix() for path in package.rglob("*.py") if "fastmath" in path.read_text()}
    assert users == {"engine/cpu.py", "engine/vector_math.py"}
    from minigrok.engine.cpu import FLAGS as cpu
    from minigrok.engine.vector_math import FLAGS as vector

    assert cpu["fastmath"] == {"reassoc", "contract"}
    assert vector["fastmath"] == {"contract"}
