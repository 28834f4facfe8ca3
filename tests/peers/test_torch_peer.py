"""PyTorch at every work of the benchmark, by every way that it may choose: the gate lets it pass."""

import numpy as np
import pytest
from equal import SMALL, agree, works

torch = pytest.importorskip("torch", reason="the oracle needs PyTorch: install the extra [oracle]")

from minigrok.bench.pipe import PeerError  # noqa: E402
from minigrok.peers import torch_peer, torch_twin  # noqa: E402
from minigrok.peers.problem import Problem, Work  # noqa: E402

pytestmark = pytest.mark.oracle


@works
def test_eager_agrees(work: Work) -> None:
    errors = agree(torch_peer, "eager", work)
    if work.dtype == "float64":
        assert max(errors.values()) < 1e-7


def test_the_fastest_way_starts_from_the_first_point_again() -> None:
    """Choosing makes some steps; they must leave no trace in parameters, moments or stream."""
    assert max(agree(torch_peer, "eager", Work("step", "float64"), choose=True).values()) < 1e-7


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.func's, about a part of PyTorch that it uses itself
@pytest.mark.parametrize("directions", [1, 3])
def test_both_ways_to_a_product_agree(directions: int) -> None:
    peer = torch_peer.Hvp(Problem(SMALL, Work("hvp", "float64", directions=directions), choose=False), compiled=False)
    first, second = (
        [torch_twin.join(parts) for parts in way(0)] for way in (peer._double_backward, peer._forward_over_reverse)
    )
    assert len(first) == directions
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-12 * np.abs(first).max())


def test_another_model_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch_peer.build

    def build(config, theta):
        theta = theta.copy()
        theta[-1] *= 1.01
        return real(config, theta)

    monkeypatch.setattr(torch_peer, "build", build)
    with pytest.raises(PeerError, match="before it is timed"):
        agree(torch_peer, "eager", Work("hvp", "float64"))
