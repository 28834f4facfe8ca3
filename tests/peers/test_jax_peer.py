"""JAX at the benchmark's works: `jax` writes attention as users do, `jax-tuned` takes the faster of two ways."""

from collections.abc import Iterator

import equal
import pytest
from equal import WORKS

jax = pytest.importorskip("jax", reason="the benchmark's peer needs JAX: install the extra [bench]")

from minigrok.bench.pipe import PeerError  # noqa: E402
from minigrok.config import with_settings  # noqa: E402
from minigrok.peers import jax_peer, jax_twin  # noqa: E402
from minigrok.peers.problem import Problem, Work  # noqa: E402

pytestmark = pytest.mark.oracle
SMALL = with_settings(equal.SMALL, ["model.blocks=1", 'task.operations=["mul"]'])  # XLA takes seconds for each block


def agree(name: str, work: Work) -> dict[str, float]:
    return equal.agree(jax_peer, name, work, config=SMALL)


@pytest.fixture(autouse=True)
def _precision() -> Iterator[None]:
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.mark.parametrize(
    "work", [work for work in WORKS if work.dtype == "float64"], ids=lambda w: f"{w.kind} {w.directions}"
)
def test_jax_agrees(work: Work) -> None:
    assert max(agree("jax", work).values()) < 1e-7


@pytest.mark.parametrize("kind", ["step", "eval"])
def test_attention_by_sums_agrees_and_the_note_says_so(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax_peer, "fastest", lambda ways, _: next(way for way in ways if "sums" in way))
    agree("jax-tuned", Work(kind, "float64"))
    assert "attention by sums" in jax_peer.open_peer("jax-tuned", Problem(SMALL, Work(kind))).note


@pytest.mark.parametrize("kind", ["step", "hvp", "eval"])
def test_only_the_tuned_one_chooses_how_to_write_attention(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    offered: dict[str, set[str]] = {}
    for contender in ("jax", "jax-tuned"):

        def choose(ways, _, contender=contender):
            offered[contender] = {name for name in jax_twin.ATTENTION if any(name in way for way in ways)}
            return next(iter(ways))

        monkeypatch.setattr(jax_peer, "fastest", choose)
        jax_peer.open_peer(contender, Problem(SMALL, Work(kind)))
    assert offered == {"jax": {"products"}, "jax-tuned": {"products", "sums"}}


def test_a_wrong_attention_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    real = jax_twin.attend_by_products
    monkeypatch.setattr(jax_twin, "attend_by_products", lambda q, k, v: real(1.001 * q, k, v))
    with pytest.raises(PeerError, match="JAX jit to compute minigrok's"):
        agree("jax", Work("hvp", "float64"))
