"""The layers: one file each, four maps in one order (forward, backward, r_forward, r_backward), formulas on top.

Nothing is imported here, so that listing the layers costs nothing.
"""

from typing import NamedTuple


class Layer(NamedTuple):
    """A layer's module name and what it computes."""

    name: str
    forward: str


LAYERS = (
    Layer("embedding", "x_jt = token_t + position_j"),
    Layer("select", "y_i = x_index(i)"),
    Layer("linear", "y = x W^T + b"),
    Layer("projection", "y = select(x) W^T + b, in the cheaper order"),
    Layer("layernorm", "y = gain (x - mean x) / sqrt(var x + eps) + shift"),
    Layer("sphere", "y = x / |x|"),
    Layer("attention", "y_t = sum_s softmax_s(q_t . k_s / sqrt K) v_s"),
    Layer("uniform", "y_t = sum_s v_s / T"),
    Layer("gelu", "y = x (1 + erf(x / sqrt 2)) / 2"),
    Layer("cosine", "y = 10 z . n, n = sphere(W)"),
    Layer("cross_entropy", "loss = -log softmax(x)_k"),
)
