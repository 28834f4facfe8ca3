"""The initial weights of the paper's code: laws that need no PyTorch, known answers, and PyTorch itself.

On x86-64 with AVX2 or AVX-512 all must be PyTorch's bit for bit.
"""

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from minigrok.config import Config, Model, Task, preset, with_settings
from minigrok.network import torch_generator
from minigrok.network.params import initial, layout, torch_order
from minigrok.network.torch_generator import TorchGenerator

SEEDS = (42, 137, 2024)  # the paper's
KNOWN = {  # crc32 of theta, float32, little-endian; made by PyTorch 2.13.0 with AVX2
    ("dual", 42): "b7a50cc9",
    ("dual", 137): "d31a5422",
    ("dual", 2024): "3781799d",
    ("tri", 42): "ad210f3f",
    ("tri", 137): "a3ff5601",
    ("tri", 2024): "897ab559",
    ("single-add", 42): "2bfa5e79",
    ("single-add", 137): "9b09725e",
    ("single-add", 2024): "f6b4b035",
}
SMALL = with_settings(
    Config("small", task=Task(p=5), model=Model(width=4, heads=2, mlp_width=3, blocks=3)), ["init.generator=pytorch"]
)
seeds = st.integers(0, 2**32 - 1)
lengths = st.one_of(st.integers(1, 70), st.integers(1000, 1100))


def fractions(seed: int, n: int) -> Any:
    """Low 24 bits of NumPy's own words, over 2^24, float64."""
    words = np.random.RandomState(seed).randint(0, 2**32, n, dtype=np.uint32)
    return (words & 0xFFFFFF) / 2.0**24


@given(seeds, lengths, st.floats(-2, 1), st.floats(1e-3, 3))
def test_uniform_is_a_linear_function_of_randomstates_words_rounded_once(
    seed: int, n: int, low: float, width: float
) -> None:
    found = TorchGenerator(seed).uniform(low, low + width, (n,))
    a, b = np.float32(low), np.float32(low + width)
    exact = fractions(seed, n) * np.float64(b - a) + np.float64(a)
    assert found.dtype == np.float32
    assert np.array_equal(found, exact.astype(np.float32))
    assert (found >= a).all()
    assert (found <= b).all()


@given(seeds, st.integers(16, 300))
def test_normal_is_box_muller_of_randomstates_words_block_by_block(seed: int, n: int) -> None:
    """Beside float64 the rounding of the angle shows, up to 2.4e-7 on a radius of up to 5.8, and little else."""
    found = TorchGenerator(seed).standard_normal((n,))
    drawn = fractions(seed, n + 16)
    used = [drawn[i : i + 16] for i in range(0, n - n % 16, 16)] + [drawn[n : n + 16]] * (n % 16 > 0)
    blocks = []
    for u, v in (np.split(block, 2) for block in used):
        r = np.sqrt(-2 * np.log(1 - u))
        blocks.append(np.concatenate([r * np.cos(2 * np.pi * v), r * np.sin(2 * np.pi * v)]))
    wanted = np.concatenate(blocks)
    if n % 16:  # the last block lies over the end of the one before, or over numbers that no block has made
        wanted = np.concatenate([wanted[: n - n % 16], np.zeros(n % 16)])
        wanted[-16:] = blocks[-1]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=3e-6)


@given(seeds, st.integers(1, 15), st.integers(1, 15))
def test_short_normals_come_in_pairs_and_one_may_wait(seed: int, n: int, m: int) -> None:
    """Whatever the cut, the numbers are the same, and of each pair of 53 bits they have the length of a radius."""
    generator, together = TorchGenerator(seed), TorchGenerator(seed)
    apart = np.concatenate([generator.standard_normal((n,)), generator.standard_normal((m,))])
    assert np.array_equal(apart, [together.standard_normal((1,))[0] for _ in range(n + m)])
    words = np.random.RandomState(seed).randint(0, 2**32, 2 * (n + m) + 2, dtype=np.uint32).astype(object)
    for i in range((n + m) // 2):
        v = (words[4 * i + 2] * 2**32 + words[4 * i + 3]) % 2**53 / 2**53
        assert np.hypot(*apart[2 * i : 2 * i + 2]) == pytest.approx(math.sqrt(-2 * math.log(1 - v)), abs=1e-6)


def test_moments_of_a_long_draw() -> None:
    n = 400_000
    z, u = TorchGenerator(1).standard_normal((n,)), TorchGenerator(2).uniform(-1, 1, (n,))
    assert stats.kstest(z.astype(np.float64), "norm").pvalue > 1e-3
    assert stats.kstest((u.astype(np.float64) + 1) / 2, "uniform").pvalue > 1e-3


def errors() -> tuple[float, float]:
    """Largest errors of log, relative to the largest log, and of sin and cos, on thinned fractions, in 2^-24."""
    x = (np.arange(1, 2**24 + 1, 97) / 2.0**24).astype(np.float32)
    exact = np.log(x.astype(np.float64))
    angle = np.float32(2 * math.pi) * (x - x[0])
    found = torch_generator._sin_cos(angle)
    both = zip(found, (np.sin, np.cos), strict=True)
    of_log = np.abs(torch_generator._log(x) - exact).max() / np.abs(exact).max()
    return of_log * 2**24, max(np.abs(y - f(angle.astype(np.float64))).max() for y, f in both) * 2**24


def test_the_functions_are_accurate() -> None:
    assert torch_generator._log(np.float32([1.0])) == 0
    of_log, of_circle = errors()
    assert of_log < 1
    assert of_circle < 2


@pytest.mark.parametrize("constants", ["LOG", "LOG_2", "SIN", "COS", "HALF_PI"])
def test_a_wrong_constant_is_seen(monkeypatch: pytest.MonkeyPatch, constants: str) -> None:
    """One number of each list, wrong by 1 %."""
    values = list(getattr(torch_generator, constants))
    values[0 if constants == "HALF_PI" else -1] *= 1.01
    monkeypatch.setattr(torch_generator, constants, values)
    of_log, of_circle = errors()
    assert of_log > 1 or of_circle > 2


@pytest.mark.parametrize("name", ["dual", "tri", "single-add"])
def test_known_answers(name: str) -> None:
    """Frozen: the first numbers are those that many pages on the internet show for torch.manual_seed(42)."""
    for seed in SEEDS:
        theta = initial(with_settings(preset(name), [f"seed={seed}"]))
        assert f"{crc32(theta.tobytes()):08x}" == KNOWN[name, seed]
    first = layout(preset(name)).views(initial(preset(name)))["tok_emb.weight"][0, :4]
    assert [f"{x:.4f}" for x in first] == ["1.9269", "1.4873", "0.9007", "-2.1055"]


def test_the_papers_presets_start_where_its_code_did_and_tiny_does_not() -> None:
    assert all(preset(name).init.generator == "pytorch" for name, _ in KNOWN)
    assert preset("tiny").init.generator == "numpy"


def test_blocks_are_copies_unless_asked_and_tasks_share_the_trunk() -> None:
    dual, tri = initial(preset("dual")), initial(preset("tri"))
    start = layout(preset("dual")).slices["heads.mul.weight"].stop
    assert np.array_equal(dual[:start], tri[:start])
    views = layout(SMALL).views(initial(SMALL))
    apart = layout(SMALL).views(initial(with_settings(SMALL, ["init.identical_blocks=false"])))
    for name in (name for name in views if ".1." in name):
        twin = name.replace(".1.", ".0.")
        assert np.array_equal(views[name], views[twin])
        assert np.array_equal(apart[twin], views[twin])
        assert np.array_equal(apart[name], apart[twin]) == (np.ptp(apart[name]) == 0)


def test_float64_starts_from_the_float32_numbers() -> None:
    double = initial(with_settings(SMALL, ["compute.dtype=float64"]))
    assert double.dtype == np.float64
    assert np.array_equal(double, initial(SMALL).astype(np.float64))


def test_the_order_has_every_array_once() -> None:
    assert sorted(torch_order(SMALL)) == sorted(layout(SMALL).names)


# ---------------------------------------------------------------------------------------------------- beside PyTorch


def theirs(config: Config) -> Any:
    """Theta of a module that is built as the paper's code builds its own."""
    oracle = pytest.importorskip("oracle", reason="the oracle tests need the extra [oracle]")
    oracle.torch.manual_seed(config.seed)
    model = config.model
    sizes = (config.task.p, model.width, model.heads, model.mlp_width, model.blocks)
    return oracle.flat(oracle.OracleModel(*sizes, config.task.operations))


def ulps(a: Any, b: Any) -> Any:
    """Numbers of float32 from each of a to that of b."""
    bits = np.stack([a, b]).view("<i4").astype(np.int64)
    return np.abs(np.diff(np.where(bits < 0, -(bits & 0x7FFFFFFF), bits), axis=0)[0])


def test_ulps_are_counted_across_zero() -> None:
    x = np.float32([0.0, 1.0, -1.0, 1e-45])
    y = np.nextafter(x, np.float32(-2))
    assert ulps(x, y).tolist() == [1, 1, 1, 1]
    assert ulps(np.float32([1e-45]), np.float32([-1e-45])).tolist() == [2]


def require_vectors() -> None:
    torch = pytest.importorskip("torch", reason="the oracle tests need the extra [oracle]")
    if (found := torch.backends.cpu.get_cpu_capability()) not in ("AVX2", "AVX512"):
        pytest.skip(f"PyTorch draws by the C library on {found}")


@pytest.mark.oracle
@pytest.mark.parametrize("seed", [*SEEDS, 0, 2**32 - 1])
@pytest.mark.parametrize("name", ["dual", "tri", "single-add", "single-mul"])
def test_initial_weights_are_pytorchs_bit_for_bit(name: str, seed: int) -> None:
    require_vectors()
    config = with_settings(preset(name), [f"seed={seed}"])
    mine, wanted = initial(config), theirs(config)
    assert mine.dtype == wanted.dtype == np.float32
    assert ulps(mine, wanted).max() == 0
    assert not np.array_equal(initial(with_settings(config, ["init.generator=numpy"])), wanted)


@pytest.mark.oracle
@given(
    seeds, st.integers(1, 3), st.integers(1, 4), st.integers(1, 6), st.integers(1, 3), st.sampled_from([3, 5, 7, 11])
)
def test_so_are_those_of_small_models(seed: int, heads: int, width: int, mlp: int, blocks: int, p: int) -> None:
    """Lengths below 16, odd ones, and ones that 16 does not divide."""
    require_vectors()
    model = Model(width=heads * width, heads=heads, mlp_width=mlp, blocks=blocks)
    config = replace(SMALL, seed=seed, model=model, task=Task(p=p, operations=("mul", "add")))
    assert ulps(initial(config), theirs(config)).max() == 0


@pytest.mark.oracle
def test_blocks_that_differ_are_drawn_one_after_another() -> None:
    require_vectors()
    oracle = pytest.importorskip("oracle")
    torch, model = oracle.torch, SMALL.model
    torch.manual_seed(SMALL.seed)
    torch.nn.Embedding(SMALL.task.p, model.width), torch.randn(2, model.width)
    blocks = [torch.nn.TransformerEncoderLayer(model.width, model.heads, model.mlp_width) for _ in range(model.blocks)]
    mine = layout(SMALL).views(initial(with_settings(SMALL, ["init.identical_blocks=false"])))
    for i, block in enumerate(blocks):
        for name, wanted in block.state_dict().items():
            assert np.array_equal(mine[f"encoder.layers.{i}.{name}"], wanted.numpy()), name


@pytest.mark.oracle
def test_another_processors_pytorch_is_rounding_away() -> None:
    """PyTorch's code for no vectors at all: the bounds that the page on accuracy gives."""
    pytest.importorskip("torch", reason="the oracle tests need the extra [oracle]")
    code = "import sys, numpy, test_torch_generator as t; from minigrok.config import preset\n"
    code += "sys.stdout.buffer.write(t.theirs(preset('dual')).tobytes())"
    paths = os.pathsep.join(str(x) for x in (Path(__file__).parent, Path(__file__).parents[1]))
    env = os.environ | {"ATEN_CPU_CAPABILITY": "default", "PYTHONPATH": paths}
    out = subprocess.run([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, check=True).stdout
    config = preset("dual")
    parts, mine, wanted = layout(config), initial(config), np.frombuffer(out, np.float32)
    for name, place in parts.slices.items():
        scale = np.abs(wanted[place]).max()
        bound = 2e-6 if "emb" in name else 2**-23 * scale
        assert np.abs(mine[place] - wanted[place]).max() <= bound, name
