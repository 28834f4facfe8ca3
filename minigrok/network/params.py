"""Parameters: names, shapes and places of the arrays in the flat vector theta, and their initial values.

Names and order are those of PyTorch's state_dict for a module with the attributes pos_emb (Parameter),
tok_emb (Embedding), encoder (TransformerEncoder), norm (LayerNorm) and heads (ModuleDict of Linear).
"""

import itertools
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from minigrok.checks import nearest
from minigrok.config import Config
from minigrok.errors import ConfigError, ShapeError
from minigrok.network.torch_generator import TorchGenerator
from minigrok.rng import rng

Array = npt.NDArray[Any]
N_TOKENS = 2  # T: every input is a pair


@dataclass(frozen=True)
class Layout:
    """Where each named array lies in the flat vector theta.

    Attributes
    ----------
    shapes : dict of name to shape    in the order of the flat vector
    """

    shapes: dict[str, tuple[int, ...]]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names in the order of the flat vector."""
        return tuple(self.shapes)

    @cached_property
    def size(self) -> int:
        """Number of parameters P."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Place of each array in the flat vector."""
        ends = list(itertools.accumulate(math.prod(shape) for shape in self.shapes.values()))
        bounds = itertools.pairwise([0, *ends])
        return {name: slice(lo, hi) for name, (lo, hi) in zip(self.shapes, bounds, strict=True)}

    def views(self, theta: Array) -> dict[str, Array]:
        """Named arrays of a flat vector, without a copy.

        Parameters
        ----------
        theta : (..., P) any dtype    one vector, or a block of them

        Returns
        -------
        dict of name to (..., *shape)
            writing to a view writes to theta

        Raises
        ------
        ShapeError    the last axis is not P long
        """
        if theta.ndim == 0 or theta.shape[-1] != self.size:
            raise ShapeError(f"theta (..., P) with P = {self.size}", f"{theta.shape}", "use theta of this config")
        lead = theta.shape[:-1]
        return {name: theta[..., part].reshape(lead + self.shapes[name]) for name, part in self.slices.items()}

    def flat(self, arrays: Mapping[str, Array], dtype: npt.DTypeLike) -> Array:
        """Flat vector (P,) of named arrays, in any order.

        Raises
        ------
        ShapeError    a name is missing or unknown, or an array has another shape
        """
        for name in self.names:
            if name not in arrays:
                raise ShapeError(
                    f"the parameter {name} {self.shapes[name]}", "no such array", "add it, or change the config"
                )
        for name, array in arrays.items():
            if name not in self.shapes:
                raise ShapeError("only parameters of this model", f"{name} {array.shape}", nearest(name, self.names))
            if array.shape != self.shapes[name]:
                raise ShapeError(f"{name} {self.shapes[name]}", f"{array.shape}", "change the array or the config")
        return np.concatenate([np.ravel(arrays[name]) for name in self.names]).astype(dtype, copy=False)

    def group(self, patterns: Iterable[str]) -> npt.NDArray[np.bool_]:
        """Mask (P,) of the parameters whose name fits one of the patterns.

        Parameters
        ----------
        patterns : iterable of str    as in a shell: "heads.*", "encoder.layers.0.*", "*.bias", "pos_emb"

        Raises
        ------
        ConfigError    a pattern that fits no name
        """
        mask = np.zeros(self.size, dtype=np.bool_)
        for pattern in patterns:
            names = [name for name in self.names if fnmatchcase(name, pattern)]
            if not names:
                raise ConfigError("a pattern that fits a parameter", repr(pattern), nearest(pattern, self.names))
            for name in names:
                mask[self.slices[name]] = True
        return mask


def layout(config: Config) -> Layout:
    """Layout of the parameters of a model: 302,914 for the paper's two tasks, 315,427 for its three."""
    width, mlp_width, p = config.model.width, config.model.mlp_width, config.task.p
    shapes: dict[str, tuple[int, ...]] = {"pos_emb": (N_TOKENS, width), "tok_emb.weight": (p, width)}
    for block in range(config.model.blocks):
        prefix = f"encoder.layers.{block}."
        shapes |= {prefix + name: shape for name, shape in _block_shapes(width, mlp_width).items()}
    shapes |= {"norm.weight": (width,), "norm.bias": (width,)}
    for operation in config.task.operations:
        shapes |= {f"heads.{operation}.weight": (p, width), f"heads.{operation}.bias": (p,)}
    if config.model.norm == "sphere":  # no gains and shifts, and no biases of the heads
        shapes = {name: shape for name, shape in shapes.items() if not re.search(r"norm|heads.*bias", name)}
    return Layout(shapes)


def attention_matrices(config: Config) -> dict[str, slice]:
    """Places of W_Q, W_K, W_V, W_O (D, D) of each layer in the flat vector, named "L0 WQ" and so on."""
    D, slices, found = config.model.width, layout(config).slices, {}
    for block in range(config.model.blocks):
        name = f"encoder.layers.{block}.self_attn"
        fused = slices[f"{name}.in_proj_weight"]
        for i, matrix in enumerate(("WQ", "WK", "WV")):
            found[f"L{block} {matrix}"] = slice(fused.start + i * D * D, fused.start + (i + 1) * D * D)
        found[f"L{block} WO"] = slices[f"{name}.out_proj.weight"]
    return found


ROWS = {"queries": 0, "keys": 1, "values": 2}  # thirds of in_proj
PATTERNS = {"outputs": "*.out_proj.*", "attention": "*.self_attn.*"}


def members(config: Config, parts: Iterable[str]) -> npt.NDArray[np.bool_]:
    """Mask (P,) of parts of the network.

    Parameters
    ----------
    config : Config
    parts : iterable of str
        Patterns of names as in `Layout.group`; "queries", "keys", "values": those rows of every in_proj_weight and
        in_proj_bias; "outputs": out_proj's weight and bias of every block; "attention": all of these

    Raises
    ------
    ConfigError    a part that is none
    """
    D, whole = config.model.width, layout(config)
    mask = np.zeros(whole.size, dtype=np.bool_)
    for part in parts:
        if part in ROWS:
            rows = slice(ROWS[part] * D, (ROWS[part] + 1) * D)
            for name, view in whole.views(mask).items():
                if ".in_proj_" in name:
                    view[rows] = True
        else:
            mask |= whole.group([PATTERNS.get(part, part)])
    return mask


def _block_shapes(width: int, mlp_width: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes in one nn.TransformerEncoderLayer; linear weights are (out, in)."""
    return {
        "self_attn.in_proj_weight": (3 * width, width),  # rows: query, key, value
        "self_attn.in_proj_bias": (3 * width,),
        "self_attn.out_proj.weight": (width, width),
        "self_attn.out_proj.bias": (width,),
        "linear1.weight": (mlp_width, width),
        "linear1.bias": (mlp_width,),
        "linear2.weight": (width, mlp_width),
        "linear2.bias": (width,),
        "norm1.weight": (width,),
        "norm1.bias": (width,),
        "norm2.weight": (width,),
        "norm2.bias": (width,),
    }


def initial(config: Config) -> Array:
    """Initial parameters, drawn from PyTorch's default distributions.

    Formula
        tok_emb                       N(0, 1)
        pos_emb                       N(0, 1) / sqrt(D)
        in_proj_weight                U(+-sqrt(6 / (3D + D)))     Xavier on the fused matrix
        other weights and biases      U(+-1 / sqrt(fan_in))       Kaiming with a = sqrt(5)
        attention biases              0
        LayerNorm                     gain 1, shift 0

    Parameters
    ----------
    config : Config    with init.identical_blocks every block is a copy of the first

    Returns
    -------
    theta : (P,) config.compute.dtype
        rounded once from float64 ("numpy"), or the generator's float32 as they are ("pytorch"), so that float32 and
        float64 runs start together

    Notes
    -----
    Parts that config.init.zero names are 0; the others are what they are without it.
    init.generator "numpy": the stream "init" of the seed, in the order of theta.
    init.generator "pytorch": the numbers of the paper's own run. Its code seeds PyTorch, splits the pairs by another
    generator, and builds the model on the CPU before it goes to a device, so the model's lines draw first and alone.

    Source
    ------
    arXiv:2602.18523, code aa4e72f: distributions and order; its companion's code (cbc1078) does the same.
    """
    parts = layout(config)
    theta = np.empty(parts.size)  # (P,)
    arrays = parts.views(theta)
    torchs = config.init.generator == "pytorch"
    stream = TorchGenerator(config.seed) if torchs else rng(config.seed, "init")
    for name in torch_order(config) if torchs else parts.names:
        first = re.sub(r"^encoder\.layers\.\d+", "encoder.layers.0", name)
        copied = config.init.identical_blocks and first != name
        if torchs and not copied and name.endswith(".out_proj.bias"):
            stream.uniform(0, 1, parts.shapes[name])  # nn.Linear draws it, and attention sets it to 0
        arrays[name][...] = arrays[first] if copied else _draw(name, parts.shapes, stream)
    theta[members(config, config.init.zero)] = 0
    return theta.astype(config.compute.dtype)


def torch_order(config: Config) -> list[str]:
    """Names of the arrays in the order in which the paper's code draws them.

    Its model makes tok_emb, pos_emb, a block, copies of the block, the last norm, the heads. Attention makes out_proj
    before it fills in_proj_weight. Everything else comes in the order of theta.
    """
    order = ["tok_emb.weight"]
    for name in layout(config).names:
        if name.endswith(".in_proj_weight"):
            order += [name.replace("in_proj_weight", f"out_proj.{part}") for part in ("weight", "bias")]
        order.append(name)
    return list(dict.fromkeys(order))


def _draw(name: str, shapes: Mapping[str, tuple[int, ...]], stream: np.random.Generator | TorchGenerator) -> Array:
    """Draw one array of float64, or PyTorch's float32, from its distribution; the formulas are in `initial`."""
    shape = shapes[name]
    if name == "tok_emb.weight":
        return stream.standard_normal(shape)
    if name == "pos_emb":
        return stream.standard_normal(shape) / math.sqrt(shape[1])
    if "norm" in name:
        return np.full(shape, 1.0 if name.endswith(".weight") else 0.0)
    if name.endswith((".in_proj_bias", ".out_proj.bias")):
        return np.zeros(shape)
    if name.endswith(".in_proj_weight"):
        bound = math.sqrt(6 / sum(shape))
    else:
        fan_in = shapes[name.replace(".bias", ".weight")][1]
        bound = 1 / math.sqrt(fan_in)
    return stream.uniform(-bound, bound, shape)
