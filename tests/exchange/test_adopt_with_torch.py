"""A model trained in plain PyTorch, adopted: the same loss and curvature; other networks refused; and the way back."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import minigrok

torch = pytest.importorskip("torch", reason="the oracle needs PyTorch: install the extra [oracle]")
import oracle  # noqa: E402
from scipy.sparse.linalg import LinearOperator, eigsh  # noqa: E402

from minigrok.analyses.shared.activations import Activations  # noqa: E402
from minigrok.config import Config, Model, Task, with_settings  # noqa: E402
from minigrok.network.params import initial  # noqa: E402
from minigrok.peers.torch_twin import double_backward, exact_attention  # noqa: E402
from minigrok.storage.runs import create, open_run  # noqa: E402
from minigrok.tasks import pairs  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[2] / ".ci"))
import own_model  # noqa: E402

pytestmark = [pytest.mark.oracle, pytest.mark.slow]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def adopted(folder: Path, out: Path, code: int = 0) -> str:
    value = (folder / "loss.txt").read_text()
    args = (
        "--heads",
        own_model.HEADS,
        "--split",
        folder / "split.npy",
        "--loss",
        f"{own_model.STEPS}={value}",
        "--out",
        out,
    )
    return minigrok("adopt", folder, *args, code=code).stderr


def top_eigenvalue(net: torch.nn.Module, at: torch.Tensor) -> float:
    """Highest eigenvalue of the Hessian of her loss in float64, by double backward."""
    with exact_attention():
        value = own_model.loss(net, at)
        sizes = [q.numel() for q in net.parameters()]

        def product(v: np.ndarray) -> np.ndarray:
            parts = torch.tensor(v.ravel()).split(sizes)
            direction = [u.view_as(q) for u, q in zip(parts, net.parameters(), strict=True)]
            return oracle.join(double_backward(net, own_model.loss(net, at), [direction])[0])

        assert value.dtype == torch.float64
        H = LinearOperator((sum(sizes), sum(sizes)), matvec=product, dtype=np.float64)
        return float(eigsh(H, k=1, which="LA", return_eigenvectors=False)[0])


def test_her_top_eigenvalue_is_ours(tmp_path: Path) -> None:
    net, train = own_model.train(tmp_path / "hers")
    adopted(tmp_path / "hers", tmp_path / "run")
    minigrok("analyse", "hessian", tmp_path / "run", "--set", 'parts=["split"]', "--set", "most=1")
    result = json.loads((tmp_path / "run" / "analysis" / "hessian" / "result.json").read_text())["result"]
    (last,) = result["checkpoints"]
    assert last["step"] == own_model.STEPS
    numbers = np.load(tmp_path / "run" / "analysis" / "hessian" / "arrays.npz", allow_pickle=False)
    ours, theirs = numbers["checkpoints.0.ends.0.highest.values"][0], top_eigenvalue(net, train)
    print(f"top Hessian eigenvalue: minigrok {ours:.15g}, double backward {theirs:.15g}")
    assert ours == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize(
    "different", [{"activation": "relu"}, {"norm_first": False}, {"layer_norm_eps": 1e-6}], ids=lambda x: next(iter(x))
)
def test_another_network_is_refused(
    different: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_model, "STEPS", 100)
    own_model.train(tmp_path / "hers", **different)
    said = adopted(tmp_path / "hers", tmp_path / "run", code=1)
    assert "the train loss of step 100" in said
    assert "one epsilon in every norm" in said
    assert not (tmp_path / "run").exists()


SMALL = Config("small", task=Task(p=7), model=Model(width=8, heads=2, mlp_width=6, blocks=2))


@pytest.mark.parametrize("settings", [[], ["model.norm=sphere"], ["model.attention=uniform", "model.norm_eps=1e-3"]])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_exported_gives_our_logits(settings: list[str], dtype: str, tmp_path: Path) -> None:
    config = with_settings(SMALL, [*settings, f"compute.dtype={dtype}"])
    with create(tmp_path / "run", config) as made:
        made.save_snapshot(3, initial(config))
    minigrok("export", tmp_path / "run", 3, "--torch", tmp_path / "network.py")
    minigrok("export", tmp_path / "run", 3, "--torch", tmp_path / "network.py", code=2, words=("already there",))
    minigrok("export", tmp_path / "run", 3, "--torch", tmp_path / "network.txt", code=2, words=("network.py",))
    minigrok("export", tmp_path / "run", 4, "--torch", tmp_path / "other.py", code=2, words=("snapshots: 3",))
    source = (tmp_path / "network.py").read_text()
    assert "minigrok." not in source
    assert not (tmp_path / "other.py").exists()
    model = runpy.run_path(str(tmp_path / "network.py"))["network"]()
    run, tokens = open_run(tmp_path / "run"), pairs(config.task, config.seed).tokens
    own = Activations(run, tokens)(run.theta(), lambda z, _: {"z": np.stack(z)[None]})["z"][0]
    with torch.no_grad():
        theirs = torch.stack(model(torch.tensor(tokens))).numpy()
        assert str(theirs.dtype) == dtype
        theirs = torch.stack(model.double()(torch.tensor(tokens))).numpy()
    assert np.abs(theirs - own).max() <= 1e-12 * np.abs(own).max()
