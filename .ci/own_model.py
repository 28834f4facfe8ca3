"""A model that somebody trained in plain PyTorch, for `minigrok adopt`: two tasks mod 17, some seconds.

own_model.py FOLDER     save FOLDER/000000.npz and so on, one a hundred steps, and beside them split.npy and loss.txt
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

P, WIDTH, HEADS, STEPS, EVERY = 17, 24, 3, 300, 100


class Net(nn.Module):
    """A pre-norm Transformer with a head a task; `different` are other arguments of its blocks."""

    def __init__(self, **different: Any) -> None:
        super().__init__()
        self.tok_emb = nn.Embedding(P, WIDTH)
        self.pos_emb = nn.Parameter(torch.randn(2, WIDTH) / WIDTH**0.5)
        usual = {"activation": "gelu", "norm_first": True, "batch_first": True, "dropout": 0.0}
        block = nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, **usual | different)
        self.encoder = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.ln = nn.LayerNorm(WIDTH)
        self.head_add, self.head_mul = nn.Linear(WIDTH, P), nn.Linear(WIDTH, P)

    def forward(self, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits (n, P) of both tasks, for pairs (n, 2)."""
        z = self.ln(self.encoder(self.tok_emb(pairs) + self.pos_emb)[:, 0])
        return self.head_add(z), self.head_mul(z)


def loss(net: nn.Module, pairs: Tensor) -> Tensor:
    """Return the sum of both tasks' mean cross-entropies."""
    (a, b), (add, mul) = pairs.T, net(pairs)
    return functional.cross_entropy(add, (a + b) % P) + functional.cross_entropy(mul, a * b % P)


def train(folder: Path, **different: Any) -> tuple[Net, Tensor]:
    """Train a network and save its snapshots, its train pairs and its last loss; return it and these pairs."""
    torch.manual_seed(1)
    pairs = torch.cartesian_prod(torch.arange(1, P), torch.arange(1, P))
    pairs = pairs[torch.randperm(len(pairs))[: len(pairs) // 2]]
    net = Net(**different)
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.1)
    folder.mkdir(parents=True)
    for step in range(STEPS + 1):
        if step % EVERY == 0:
            state = {name: x.numpy() for name, x in net.state_dict().items()}
            np.savez(folder / f"{step:06d}.npz", **state)
        if step < STEPS:
            optimiser.zero_grad()
            loss(net, pairs).backward()
            optimiser.step()
    np.save(folder / "split.npy", pairs.numpy())
    (folder / "loss.txt").write_text(str(loss(net.double(), pairs).item()), encoding="utf-8")
    return net, pairs


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(Path(sys.argv[1]))
