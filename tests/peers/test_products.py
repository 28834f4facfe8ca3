"""The products of a step are noted shape by shape, and run alone on every thread."""

import numpy as np
from equal import SMALL

from minigrok.engine import open_engine
from minigrok.peers.problem import Problem, Work
from minigrok.peers.products import Counting, Product, open_peer, step_products


def test_a_product_is_made_and_noted() -> None:
    seen: list[Product] = []
    engine = Counting(open_engine("plain", "float64"), seen)
    rng = np.random.default_rng(0)
    a, b, out = rng.standard_normal((3, 4)), rng.standard_normal((5, 4)).T, np.empty((3, 5))
    engine.matmul(a, b, out)
    np.testing.assert_array_equal(out, a @ b)
    assert seen == [Product(3, 4, 5, False, True)]
    assert seen[0].flop == 2 * 3 * 4 * 5


def test_products_of_a_step_alone_on_two_threads() -> None:
    problem = Problem(SMALL, Work("sgemm-step"), threads=2)
    peer = open_peer("sgemm", problem)
    products = step_products(problem)
    peer.run()
    assert peer.outcome() == {}
    assert peer.flop() == 2 * sum(product.flop for product in products)
    for operands, product in zip(peer._streams[1], products, strict=True):
        a, b, out = operands
        assert (*a.shape, b.shape[1]) == product[:3]
        assert (out == product.K).all(), "ones times ones"
        assert (a.strides[0] < a.strides[1], b.strides[0] < b.strides[1]) == product[3:] or 1 in product[:3]


def test_square_products() -> None:
    assert open_peer("sgemm", Problem(SMALL, Work("sgemm-64"))).flop() == 2 * 64**3
