"""Every map of every layer on the CUDA engine against the plain one, with another replica beside it; and the laws."""

import itertools
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from minigrok.engine import Engine, device, open_engine
from minigrok.engine.cuda import CudaEngine, HostedCuda, graph
from minigrok.engine.cuda_products import Tiles
from minigrok.errors import EngineError, ShapeError
from minigrok.gradcheck.cases import CASES, Sizes
from minigrok.gradcheck.laws import LAWS, draw, flat
from minigrok.layers import gelu
from minigrok.layers.sums import column_sums

SMALL = Sizes(B=3, H=2, K=2, F=3, V=5, L=1)
ODD = Sizes(B=1, T=1, U=1, H=1, K=3, F=1, V=2, L=1)


def four_maps(name, sizes, engine):
    case, rng = CASES[name](np.random.default_rng(0), sizes), np.random.default_rng(1)
    y, tape = case.value(engine, case.z)
    dy, Rdy, Rz = draw(rng, y), draw(rng, y), draw(rng, case.z)
    dz, dtape = case.pull(engine, case.z, tape, dy)
    Ry, rtape = case.r_value(engine, case.z, tape, Rz)
    Rdz = case.r_pull(engine, case.z, tape, dtape, Rz, rtape, Rdy)
    return [flat(tree) for tree in (y, dz, Ry, Rdz)]


@pytest.mark.parametrize(
    ("name", "sizes"), [*((n, SMALL) for n in CASES), *((n, ODD) for n in CASES if not n.startswith("model"))]
)
def test_every_map_agrees_with_the_plain_engine_beside_a_replica_of_nans(name, sizes):
    plain = four_maps(name, sizes, Engine("float64"))
    cuda = four_maps(name, sizes, HostedCuda("float64", others=1))
    products = name not in (
        "embedding",
        "select",
        "layernorm",
        "sphere",
        "gelu",
        "attention",
        "uniform",
        "cross_entropy",
    )
    for a, b in zip(cuda, plain, strict=True):
        same_bits = device.simulated() and not products  # a device has its own exp and erf
        assert np.abs(a - b).max() <= (0 if same_bits else 1e-13 * max(1, np.abs(b).max())), "rows: the same bits"


@pytest.mark.parametrize("name", ["layernorm", "cross_entropy", "attention", "linear"])
@pytest.mark.parametrize("law", LAWS)
def test_laws_hold_on_the_engine(name, law):
    rng = np.random.default_rng(2)
    case = CASES[name](rng, Sizes(B=2, H=1, K=3, F=2, V=3, L=1))
    if law == "null direction" and case.null is None:
        return
    assert LAWS[law].holds(LAWS[law].check(case, open_engine("cuda", "float64"), rng))


def test_a_broken_body_is_seen(monkeypatch):
    def broken(lo, hi, slope, dy, dx):
        for i in range(lo, hi):
            dx[i, 0] = slope[i, 0] * dy[i, 0]  # and nothing beyond the first column

    plain = four_maps("gelu", SMALL, Engine("float64"))
    monkeypatch.setattr(gelu, "_times_slope", broken)
    with np.errstate(all="ignore"):
        cuda = four_maps("gelu", SMALL, HostedCuda("float64"))
    rounding = 0 if device.simulated() else 1e-14  # a device has its own exp and erf
    assert np.abs(cuda[0] - plain[0]).max() <= rounding
    assert np.abs(cuda[1] - plain[1]).max() > 1e-3


# --- products


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("M", "K", "N"), [(1, 1, 1), (5, 7, 3), (4, 4, 4), (9, 2, 6)])
def test_products_of_all_orientations_and_odd_sizes(dtype, M, K, N):
    rng = np.random.default_rng(0)
    for turned_a, turned_b in itertools.product((False, True), repeat=2):
        engine = CudaEngine(dtype, 3)
        engine._tiles = Tiles(4, 3, 2)  # several tiles and slabs, none of them full
        a = rng.standard_normal((3, *((K, M) if turned_a else (M, K)))).astype(dtype)
        b = rng.standard_normal((3, *((N, K) if turned_b else (K, N)))).astype(dtype)
        left, right, out = engine.stack(a), engine.stack(b), engine.empty(M, N)
        out[:] = np.nan
        engine.matmul(left.T if turned_a else left, right.T if turned_b else right, out)
        exact = np.matmul(
            *(x.astype(np.float64) for x in (a.swapaxes(1, 2) if turned_a else a, b.swapaxes(1, 2) if turned_b else b))
        )
        assert np.abs(out.host() - exact).max() <= 4 * K * np.finfo(dtype).eps
        assert out.dtype == dtype


def test_a_product_of_a_part_of_a_stack():
    """Query weights are the first rows of a larger matrix, which lies in the flat vector of its replica."""
    engine, rng = CudaEngine("float64", 2), np.random.default_rng(0)
    flat_weights, x = rng.standard_normal((2, 30)), rng.standard_normal((2, 3, 4))
    weight = engine.stack(flat_weights)[..., 5:29].reshape((6, 4))[2:5]
    out = engine.empty(3, 3)
    engine.matmul(engine.stack(x), weight.T, out)
    W = flat_weights[:, 5:29].reshape(2, 6, 4)[:, 2:5]
    np.testing.assert_allclose(out.host(), x @ W.swapaxes(1, 2), rtol=1e-14)


def test_matrices_that_do_not_fit_are_named():
    engine = CudaEngine("float32")
    with pytest.raises(ShapeError, match=r"\(2, 3\), \(4, 5\), \(2, 5\)"):
        engine.matmul(engine.empty(2, 3), engine.empty(4, 5), engine.empty(2, 5))


# --- stacks


def test_a_stack_hides_its_replicas():
    engine = CudaEngine("float32", 2)
    values = np.arange(48, dtype=np.float32).reshape(2, 4, 6)
    stack = engine.stack(values)
    assert (stack.shape, stack.ndim, stack.size, stack.replicas) == ((4, 6), 2, 24, 2)
    assert stack.T.shape == (6, 4)
    assert stack.reshape(2, -1, 3).shape == (2, 4, 3)
    assert np.array_equal(stack.T.host(), values.swapaxes(1, 2))
    engine.rows(_negate, 2, stack[1:3])  # a view writes through
    values[:, 1:3] *= -1
    assert np.array_equal(stack.host(), values)


def _negate(lo, hi, x):
    for i in range(lo, hi):
        for c in range(x.shape[1]):
            x[i, c] = -x[i, c]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda s: s[::2],
        lambda s: s[:, 1],
        lambda s: s.T.reshape(8),
        lambda s: s.reshape(7),
        lambda s: s[:, 1:2],
        lambda s: s[0:1].host(),
    ],
)
def test_what_a_stack_cannot_do_fails(wrong):
    with pytest.raises(ShapeError):
        wrong(CudaEngine("float32", 2).empty(2, 4))
    with pytest.raises(ShapeError, match="2 replicas"):
        np.asarray(CudaEngine("float32", 2).empty(2))


def test_numbers_are_rounded_on_the_host_and_arrays_of_the_host_refused():
    engine = CudaEngine("float32")
    calls = engine.record(lambda: engine.rows(column_sums, 2, engine.zeros((3, 2)), engine.empty(2)))
    assert len(calls) == 1
    assert isinstance(engine._number(0.1), np.float32)
    assert engine._number(True) is True
    with pytest.raises(TypeError, match="ndarray"):
        engine.rows(column_sums, 2, np.zeros((3, 2)), engine.empty(2))


def test_too_many_replicas_and_too_little_memory_are_named(monkeypatch):
    with pytest.raises(EngineError, match="fewer"):
        CudaEngine("float32", 70_000)
    engine = CudaEngine("float32", 64)

    def full(*_):
        raise RuntimeError("[CUresult.CUDA_ERROR_OUT_OF_MEMORY] Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY")

    monkeypatch.setattr("numba.cuda.device_array", full)
    with pytest.raises(EngineError, match=r"64 replicas \(64.0 MiB more\).*--replicas"):
        engine.empty(512, 512)


# --- a step as one graph


class FakeCore:
    """cuda.core as far as `graph` knows it: what is built runs when it is launched, and not before."""

    def __init__(self):
        self.captured, self.launched = [], 0
        self.Stream = SimpleNamespace(from_handle=lambda handle: f"stream {handle}")

    def Device(self, number):
        return self

    def set_current(self):
        return None

    def create_graph_builder(self):
        return self

    begin_building = end_building = complete = create_graph_builder

    def launch(self, stream):
        assert stream == "stream 0"
        self.launched += 1
        for launch in self.captured:
            launch()


def test_a_graph_holds_every_launch_once_and_runs_when_launched(monkeypatch):
    core, engine = FakeCore(), CudaEngine("float32")
    x, y = engine.zeros((4, 3)), engine.zeros((3,))
    x[:] = 1
    calls = engine.record(lambda: [engine.rows(_negate, 4, x), engine.rows(column_sums, 3, x, y)])
    assert np.asarray(y).tolist() == [-4] * 3

    class Captured:
        def __init__(self, kernel):
            self.kernel = kernel

        def __getitem__(self, configuration):
            grid, block, stream = configuration
            assert stream is core
            return lambda *args: core.captured.append(lambda: self.kernel[grid, block](*args))

    captured = [(function, (Captured(args[0]), *args[1:])) for function, args in calls]
    monkeypatch.setattr("minigrok.engine.device.simulated", lambda: False)
    monkeypatch.setitem(sys.modules, "cuda.core", core)
    monkeypatch.setattr("numba.cuda.get_current_device", lambda: SimpleNamespace(id=0))
    again = graph(captured)
    assert len(core.captured) == 2
    assert np.asarray(y).tolist() == [-4] * 3, "capture runs nothing"
    again()
    again()
    assert core.launched == 2
    assert np.asarray(y).tolist() == [-4] * 3
    assert np.asarray(x).tolist() == [[-1] * 3] * 4
    again()
    assert np.asarray(y).tolist() == [4] * 3


def test_the_names_that_a_graph_needs_are_there():
    """Without a driver no graph can be built, but that its methods have these names can be seen."""
    core = pytest.importorskip("cuda.core")
    from cuda.core.graph import Graph, GraphBuilder

    assert {"create_graph_builder", "set_current"} <= set(dir(core.Device))
    assert {"begin_building", "end_building", "complete"} <= set(dir(GraphBuilder))
    assert "launch" in dir(Graph)
    assert "from_handle" in dir(core.Stream)
