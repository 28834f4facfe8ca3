"""Time PyTorch's training step on a device, eager and compiled: beside `minigrok bench --engine cuda`.

The peer is that of `minigrok bench` (minigrok.peers.torch_peer): same model, data order and optimiser, whichever AdamW
is the fastest; its tensors are made on the device. One run at a time: PyTorch has no replicas here.
"""

import argparse
import time

import torch

from minigrok.config import preset
from minigrok.peers import torch_peer
from minigrok.peers.problem import Problem, Work

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--device", default="cuda")
parser.add_argument("--config", default="dual", help="a preset")
parser.add_argument("--steps", type=int, default=100, help="of a block")
parser.add_argument("--blocks", type=int, default=5)
asked = parser.parse_args()

if asked.device == "cuda" and not torch.cuda.is_available():
    parser.exit(
        3, f"required: a PyTorch with CUDA - got: {torch.__version__}, no device - do: install torch for CUDA 13\n"
    )
torch.set_default_device(asked.device)
for name in ("eager", "compile"):
    peer = torch_peer.open_peer(name, Problem(preset(asked.config), Work("step")))
    blocks = []
    for _ in range(asked.blocks + 1):  # the first one warms up
        start = time.perf_counter()
        for _ in range(asked.steps):
            peer.run()  # reads the loss, and so waits for the device
        blocks.append((time.perf_counter() - start) / asked.steps)
    step = sorted(blocks[1:])[asked.blocks // 2]
    who = f"PyTorch {torch.__version__} {name} ({peer.note}) on {asked.device}"
    print(f"{who}: {step * 1e3:.3f} ms a step, {1 / step:,.0f} steps a second")
