"""The network in PyTorch, by itself: minigrok's peer and oracle, and what `minigrok export` writes.

A batch is tokens (B, T = 2), integers. The model stays in train mode (dropout is 0): in eval mode
nn.TransformerEncoderLayer may take a fused path.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class UniformBlock(nn.TransformerEncoderLayer):
    """PyTorch's block with every token's weight 1 / T: queries and keys are there, and nothing reads them."""

    def _sa_block(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        D, attention = x.shape[-1], self.self_attn
        v = functional.linear(x, attention.in_proj_weight[2 * D :], attention.in_proj_bias[2 * D :])
        out: Tensor = attention.out_proj(v.mean(1, keepdim=True).expand_as(v))
        return out


class Sphere(nn.Module):
    """Rows of unit length."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x / |x|."""
        return functional.normalize(x, dim=-1)


class SphereBlock(nn.TransformerEncoderLayer):
    """PyTorch's block with rows of unit length before and after each half, in the place of its norms."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.norm1 = self.norm2 = nn.Identity()

    def forward(self, src: Tensor, *_: Any, **__: Any) -> Tensor:
        """Return both halves of src (B, T, D)."""
        x = functional.normalize(src, dim=-1)
        x = functional.normalize(x + self._sa_block(x, None, None), dim=-1)
        return functional.normalize(x + self._ff_block(x), dim=-1)


class UniformSphereBlock(UniformBlock, SphereBlock):
    """Both."""


class Cosine(nn.Module):
    """Ten times the cosine between a row and each class's vector."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, V)."""
        return 10 * functional.linear(functional.normalize(x, dim=-1), functional.normalize(self.weight, dim=-1))


BLOCKS = {  # by norm and attention
    ("layernorm", "softmax"): nn.TransformerEncoderLayer,
    ("layernorm", "uniform"): UniformBlock,
    ("sphere", "softmax"): SphereBlock,
    ("sphere", "uniform"): UniformSphereBlock,
}


class TorchModel(nn.Module):
    """Pre-norm Transformer that reads every operation's result off position 0 (arXiv:2602.18523).

    Parameters
    ----------
    p, width, heads, mlp_width, blocks : int
        V classes and tokens, D, H, F, L.
    operations : sequence of str
        One read-out head each.
    norm_eps : float
        Of every LayerNorm.
    attention : str
        "softmax" or "uniform".
    norm : str
        "layernorm" or "sphere".
    """

    def __init__(
        self,
        p: int,
        width: int,
        heads: int,
        mlp_width: int,
        blocks: int,
        operations: Sequence[str],
        norm_eps: float = 1e-5,
        attention: str = "softmax",
        norm: str = "layernorm",
    ) -> None:
        super().__init__()
        self.tok_emb = nn.Embedding(p, width)  # first, as in the paper's code: after a seed the same numbers
        self.pos_emb = nn.Parameter(torch.randn(2, width) / width**0.5)
        block = BLOCKS[norm, attention](
            width,
            heads,
            mlp_width,
            dropout=0.0,
            activation="gelu",
            layer_norm_eps=norm_eps,
            batch_first=True,
            norm_first=True,
        )
        self.encoder = nn.TransformerEncoder(block, blocks, enable_nested_tensor=False)
        is_sphere = norm == "sphere"
        self.norm = Sphere() if is_sphere else nn.LayerNorm(width, eps=norm_eps)
        head = Cosine if is_sphere else nn.Linear
        self.heads = nn.ModuleDict({operation: head(width, p) for operation in operations})

    def forward(self, tokens: Tensor) -> list[Tensor]:
        """Return the logits (B, V) of every operation; tokens (B, 2)."""
        x = self.norm(self.encoder(self.tok_emb(tokens) + self.pos_emb)[:, 0])
        return [head(x) for head in self.heads.values()]
