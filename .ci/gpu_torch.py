"""Time PyTorch's training step on a device, in five ways: beside `minigrok bench --engine cuda`.

    eager                        as the paper's code runs it
    compiled                     torch.compile of model and loss
    compiled, reduce-overhead    the same with torch.compile's own CUDA graphs
    eager, graph                 the whole step, batch to AdamW, captured as one CUDA graph
    compiled, graph              the same of compiled model and loss

Model, data order and optimiser are those of `minigrok bench` (minigrok.peers), AdamW the fused one. Batches are drawn
before the clock starts and lie on the device; nobody reads a loss before the clock stops. One run at a time: PyTorch
has no replicas here. --beside FILE compares with the JSON of `minigrok bench --engine cuda` on the same card.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from minigrok.config import preset
from minigrok.peers import torch_twin as twin
from minigrok.peers.problem import Problem, Work
from minigrok.peers.torch_peer import build

Step = Callable[[Tensor], Tensor]  # of the rows of a batch; returns the loss
WARM = 5  # steps before a capture: PyTorch asks for three at least


def make_step(problem: Problem, device: str, compiled: bool = False, graph: bool = False, **options: str) -> Step:
    """Return one training step of a new model."""
    model = build(problem.config, problem.points[0]).to(device)
    rows = problem.table.train
    tokens = torch.tensor(problem.table.tokens[rows], device=device)
    targets = torch.tensor(problem.table.targets[:, rows], device=device)
    s = problem.config.optimiser
    sizes = {"lr": s.learning_rate, "betas": (s.beta1, s.beta2), "eps": s.eps, "weight_decay": s.weight_decay}
    adamw = twin.adamw(model, **sizes, fused=True, capturable=graph)

    def loss(x: Tensor, y: Tensor) -> Tensor:
        return twin.batch_loss(model, x, y, [1.0] * len(targets))

    made = twin.make_step(
        model, torch.compile(loss, dynamic=False, **options) if compiled else loss, adamw, s.clip_norm
    )

    def step(batch: Tensor) -> Tensor:
        torch.compiler.cudagraph_mark_step_begin()
        return made(tokens[batch], targets[:, batch])

    return (
        captured(step, torch.zeros(problem.config.train.batch_size, dtype=torch.int64, device=device))
        if graph
        else step
    )


def captured(step: Step, batch: Tensor) -> Step:
    """Return a step that fills `batch` and launches one CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM):
            step(batch)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step(batch)

    def launch(rows: Tensor) -> Tensor:
        batch.copy_(rows)
        graph.replay()
        return loss

    return launch


def seconds(step: Step, batches: Tensor, wait: Callable[[], None]) -> float:
    """Return the seconds of a step, over a block of batches."""
    wait()
    start = time.perf_counter()
    for rows in batches:
        loss = step(rows)
    wait()
    taken = (time.perf_counter() - start) / len(batches)
    assert torch.isfinite(loss)
    return taken


def compare(found: dict[str, float], file: Path) -> None:
    """Print how many times faster minigrok is, and the goals of issue 6."""
    bench = json.loads(file.read_text(encoding="utf-8"))
    rates, best, eager = {r["replicas"]: r for r in bench["rates"]}, min(found.values()), found["eager"]
    print(f"minigrok: {bench['cuda']}")
    if 1 in rates:
        print(f"one run: {best / rates[1]['step']:.2f} times PyTorch's best way (goal 2)")
    for count, rate in rates.items():
        print(
            f"{count} replicas: {rate['run_steps'] * eager:.1f} times PyTorch eager one after the other (goal 30 at 36)"
        )


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cpu: to try this script")
    parser.add_argument("--config", default="dual", help="a preset")
    parser.add_argument("--steps", type=int, default=100, help="of a block")
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--beside", type=Path)
    asked = parser.parse_args()
    on_card = asked.device == "cuda"
    if on_card and not torch.cuda.is_available():
        need = f"required: a PyTorch with CUDA - got: {torch.__version__}, no device - do: install torch for CUDA 13\n"
        parser.exit(3, need)
    problem = Problem(preset(asked.config), Work("step"))
    ways = {"eager": {}, "compiled": {"compiled": True}}
    if on_card:
        ways["compiled, reduce-overhead"] = {"compiled": True, "mode": "reduce-overhead"}
        ways |= {"eager, graph": {"graph": True}, "compiled, graph": {"compiled": True, "graph": True}}
    wait = torch.cuda.synchronize if on_card else lambda: None
    stream = problem.stream()
    batches = torch.stack([torch.from_numpy(stream.next()) for _ in range(asked.steps)]).to(asked.device)
    card = torch.cuda.get_device_name() if on_card else asked.device
    found = {}
    for name, options in ways.items():
        try:
            step = make_step(problem, asked.device, **options)
            times = [seconds(step, batches, wait) for _ in range(asked.blocks + 1)][1:]  # the first one warms up
        except Exception as error:  # a way that this PyTorch cannot go: the others count
            print(f"PyTorch {torch.__version__}, {name}: {type(error).__name__}: {error}", flush=True)
            continue
        found[name] = sorted(times)[asked.blocks // 2]
        ms = f"{found[name] * 1e3:.3f} ms a step ({min(times) * 1e3:.3f} .. {max(times) * 1e3:.3f})"
        print(f"PyTorch {torch.__version__}, {name}, {card}: {ms}", flush=True)
    if asked.json:
        asked.json.write_text(
            json.dumps({"torch": torch.__version__, "card": card, "seconds": found}), encoding="utf-8"
        )
    if asked.beside and asked.beside.exists() and "eager" in found:
        compare(found, asked.beside)


if __name__ == "__main__":
    main()
