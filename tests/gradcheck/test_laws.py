"""Every layer, half block and the network obey the laws, at sizes that hypothesis draws; broken maps are rejected."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrok.engine import ENGINES, open_engine
from minigrok.gradcheck.cases import CASES, Sizes
from minigrok.gradcheck.laws import LAWS, draw, flat, leaves, tree_map

PAIRS = [(case, law) for case in CASES for law in LAWS]
# D >= 3: with two channels a LayerNorm gives +-1, its derivative is eps / variance: only rounding is left to compare.
sizes = st.builds(
    Sizes,
    B=st.integers(1, 6),
    T=st.integers(1, 4),
    U=st.integers(1, 3),
    H=st.integers(1, 3),
    K=st.integers(1, 5),
    F=st.integers(1, 7),
    V=st.sampled_from([2, 3, 5, 11]),
    L=st.integers(1, 3),
).filter(lambda n: n.D >= 3)


def check(law, case, engine, rng):
    if law == "null direction" and case.null is None:
        return None
    return LAWS[law].check(case, engine, rng)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("case", "law"), PAIRS)
@settings(max_examples=10)
@given(sizes=sizes, seed=st.integers(0, 2**16))
def test_law_holds(engine, case, law, sizes, seed):
    rng = np.random.default_rng(seed)
    number = check(law, CASES[case](rng, sizes), open_engine(engine, "float64"), rng)
    assert number is None or LAWS[law].holds(number), f"{case}, {law}: {number} at {sizes}"


def flipped(tree, leaf):
    """The tree with the sign of its leaf-th array changed."""
    count = iter(range(10**6))
    return tree_map(lambda a: -a if next(count) == leaf else a, tree)


def broken_value(case, leaf):
    return dataclasses.replace(case, value=lambda e, z: (case.value(e, flipped(z, leaf))[0], case.value(e, z)[1]))


def broken_pull(case, leaf):
    def pull(*args):
        dz, dtape = case.pull(*args)
        return flipped(dz, leaf), dtape

    return dataclasses.replace(case, pull=pull)


def broken_r_value(case, leaf):
    return dataclasses.replace(case, r_value=lambda e, z, tape, Rz: case.r_value(e, z, tape, flipped(Rz, leaf)))


def broken_r_pull(case, leaf):
    return dataclasses.replace(case, r_pull=lambda *args: flipped(case.r_pull(*args), leaf))


# Which laws see which broken map. `symmetry` needs a Hessian: it cannot see an r_pull of a map linear in z.
CATCHES = {
    "adjoint": [broken_pull, broken_r_value],
    "taylor 1": [broken_value, broken_r_value],
    "taylor 2": [broken_pull, broken_r_pull],
    "symmetry": [broken_r_pull],
}
BILINEAR_OR_MORE = ["linear", "projection", "layernorm", "attention", "block: attend", "block: mlp"]


def second_derivative(case, engine, rng):
    y, tape = case.value(engine, case.z)
    _, dtape = case.pull(engine, case.z, tape, dy := draw(rng, y))
    Rz = draw(rng, case.z)
    _, rtape = case.r_value(engine, case.z, tape, Rz)
    return list(leaves(case.r_pull(engine, case.z, tape, dtape, Rz, rtape, np.zeros_like(dy))))


@pytest.mark.parametrize(("law", "break_it"), [(law, b) for law, broken in CATCHES.items() for b in broken])
@pytest.mark.parametrize("name", BILINEAR_OR_MORE)
def test_a_flipped_sign_is_caught(law, break_it, name):
    rng, engine = np.random.default_rng(0), open_engine("plain", "float64")
    case = CASES[name](rng, Sizes())
    count = len(list(leaves(case.z)))
    for leaf in range(count):
        if law == "symmetry" and not second_derivative(case, engine, rng)[leaf].any():
            continue  # the output bias: its part of the Hessian is 0, and flipped it still is
        number = LAWS[law].check(break_it(case, leaf), engine, rng)
        assert not LAWS[law].holds(number), f"{law} passed {name} with a flipped sign in leaf {leaf}: {number}"


def test_linearity_catches_a_map_that_is_not_linear():
    rng, engine = np.random.default_rng(0), open_engine("plain", "float64")
    case = CASES["linear"](rng, Sizes())

    def r_value(e, z, tape, Rz):
        Ry, rtape = case.r_value(e, z, tape, Rz)
        return Ry + 1e-9, rtape

    number = LAWS["linearity"].check(dataclasses.replace(case, r_value=r_value), engine, rng)
    assert not LAWS["linearity"].holds(number)


def test_null_direction_catches_a_direction_that_is_not_null():
    rng, engine = np.random.default_rng(0), open_engine("plain", "float64")
    for name in ("layernorm", "attention", "cross_entropy", "model"):
        case = CASES[name](rng, Sizes())
        wrong = dataclasses.replace(case, null=draw(rng, case.z))
        assert not LAWS["null direction"].holds(LAWS["null direction"].check(wrong, engine, rng))


# The mistakes that people make in second-order code, put into the real bodies.
MISTAKES = {
    "gelu without f''": ("gelu", "gelu", "_r_backward", "curvature = (two - z2)", "curvature = 0 * (two - z2)"),
    "layernorm without mean(a n)": ("layernorm", "layernorm", "_backward", "- n[i, c] * mean_an", ""),
    "layernorm without Rr": ("layernorm", "layernorm", "_r_backward", "Rlog_r[i] * dx[i, c] + ", ""),
    "attention without the mean": ("attention", "attention", "_softmax_jacobian", "(g[s] - m)", "g[s]"),
    "attention without R of the mean": ("attention", "attention", "_R_softmax_jacobian", "- Rm", ""),
    "attention without R of the keys": (
        "attention",
        "attention",
        "_r_backward",
        "_add(scale * e[b, h, t, s], Rkv[b, s, KEY, h], Rdq[b, t, h])",
        "pass",
    ),
    "cross-entropy without mean_u": ("cross_entropy", "cross_entropy", "_r_backward", " - mean_u", ""),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_formula_is_caught(mistake, monkeypatch):
    import importlib
    import inspect

    name, module_name, function, old, new = MISTAKES[mistake]
    module = importlib.import_module(f"minigrok.layers.{module_name}")
    source = inspect.getsource(getattr(module, function))
    assert old in source, "the formula has changed: change this test with it"
    space = dict(vars(module))
    exec(compile(source.replace(old, new), "<broken>", "exec"), space)
    monkeypatch.setattr(module, function, space[function])
    rng, engine = np.random.default_rng(0), open_engine("plain", "float64")
    case = CASES[name](rng, Sizes())
    failed = [law for law in LAWS if (x := check(law, case, engine, rng)) is not None and not LAWS[law].holds(x)]
    assert failed, f"no law sees {mistake}"


def test_every_layer_module_has_a_case():
    from pathlib import Path

    import minigrok.layers

    helpers = {"__init__", "sums"}
    modules = {path.stem for path in Path(minigrok.layers.__file__).parent.glob("*.py")} - helpers
    assert modules == {layer.name for layer in minigrok.layers.LAYERS}
    assert modules <= set(CASES)


def test_flat_keeps_order():
    assert flat((np.array([1.0]), (np.array([[2.0, 3.0]]), None))).tolist() == [1, 2, 3]
