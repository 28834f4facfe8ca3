"""Kernels compile to PTX without a device; float32 ones hold no float64, and the check can tell. All: .ci/run."""

import re
from contextlib import nullcontext
from importlib.util import find_spec

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs the extra [cuda]")

from minigrok.bench.kernels import FLOAT64, launches, model_configs
from minigrok.engine import device
from minigrok.engine.cuda import row_source
from minigrok.engine.ptx import Noting, ptx
from minigrok.engine.stack import Stack
from minigrok.layers import attention, cross_entropy, embedding, gelu, layernorm, linear, select, sums
from minigrok.network import model
from minigrok.network.params import layout

compiler = pytest.mark.skipif(
    find_spec("nvidia") is None or device.look().toolkit is None, reason="no CUDA compiler library"
)
SINGLE, DOUBLE = ({k[0].__name__: k for c in model_configs() for k in launches(c, d)} for d in ("float32", "float64"))


def test_a_pass_launches_every_body_of_the_layers():
    modules = attention, embedding, gelu, layernorm, linear, select, sums, cross_entropy
    bodies = {
        f"{module.__name__.rpartition('.')[2]}_{name}"
        for module in modules
        for name, value in vars(module).items()
        if getattr(value, "__module__", "") == module.__name__ and re.match(r"\(lo: '?int", str(_signature(value)))
    }
    assert len(bodies) > 20
    assert bodies - SINGLE.keys() == {"cross_entropy__r_forward"}, "no product asks for the loss along a direction"
    assert {"product_NN", "product_NT", "product_TN", "fleet_step_step_of", "optim_sum_of_squares"} <= SINGLE.keys()


def _signature(value):
    import inspect

    return inspect.signature(value) if inspect.isfunction(value) else ""


@compiler
@pytest.mark.parametrize("capability", [(8, 0), (9, 0)])
@pytest.mark.parametrize("name", ["product_NT", "gelu__forward", "layernorm__forward", "fleet_step_step_of"])
def test_a_float32_kernel_holds_no_float64_and_keeps_to_registers(name, capability):
    text = ptx(SINGLE[name], capability)
    assert f".target sm_{capability[0]}{capability[1]}" in text
    assert ".f32" in text
    assert FLOAT64.findall(text) == []
    assert "ld.local" not in text, "a thread's sums are registers"


@compiler
def test_a_float64_kernel_is_one():
    assert FLOAT64.findall(ptx(DOUBLE["product_NT"], (9, 0)))


def _with_a_double(lo, hi, x, y):
    for i in range(lo, hi):
        y[i] = x[i] / x.size  # an integer takes float32 to float64


@compiler
def test_a_stray_float64_is_seen():
    machine = Noting("float32", 1)
    machine.rows(_with_a_double, 3, machine.zeros((3,)), machine.zeros((3,)))
    (launch,) = machine.launches
    assert launch[0].__name__ == row_source(_with_a_double, (True, True)).__name__
    assert any("div" in found or "rcp" in found or "mul" in found for found in FLOAT64.findall(ptx(launch, (9, 0))))


class Pointer:
    """Device memory that nobody reads: where it begins."""

    def __init__(self, begin=0):
        self.begin = begin

    def view(self, start, stop=None):
        return Pointer(self.begin + start)


@pytest.mark.parametrize("replicas", [1, 3])
def test_weights_are_views_of_theta_on_a_real_device_array(replicas, monkeypatch):
    """numba-cuda's own arithmetic of offsets and strides, which the simulator leaves to NumPy, needs no device."""
    from numba.cuda.cudadrv import devices
    from numba.cuda.cudadrv.devicearray import DeviceNDArray

    monkeypatch.setattr(devices._runtime, "ensure_context", nullcontext)
    config = next(iter(model_configs()))
    P = layout(config).size
    host = np.zeros((replicas, P))
    there = DeviceNDArray(host.shape, host.strides, host.dtype, gpu_data=Pointer())
    found = leaves_of(model.weights(layout(config).views(Stack(there)), config))
    one = leaves_of(model.weights(layout(config).views(host[0]), config))
    assert len(found) == len(one) > 20
    for stack, array in zip(found, one, strict=True):
        assert stack.shape == array.shape
        assert stack.data.strides == (P * 8, *array.strides)
        assert stack.data.gpu_data.begin == array.ctypes.data - host.ctypes.data


def leaves_of(tree):
    return [leaf for part in tree for leaf in leaves_of(part)] if isinstance(tree, tuple) else [tree]


def test_noting_computes_nothing():
    machine = Noting("float32", 2)
    out = machine.zeros((3,))
    machine.rows(_with_a_double, 3, machine.zeros((3,)), out)
    assert not np.any(out.host())
