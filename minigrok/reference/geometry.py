"""The geometry that reference_outputs/ keeps of a trained network: what the analyses measure, at its shipped weights.

commutator    of the first and the second batch of train pairs: exact bracket, float64 differences at two steps
curvature     highest eigenvalue of H and G on the first batch, 30 Lanczos products
weights       query and key matrices of each block: singular values, commutator; cosine of two heads
"""

from collections.abc import Iterable
from functools import partial

import numpy as np

from minigrok.config import Config
from minigrok.engine import Array
from minigrok.geometry import attention_spectra, brackets, krylov, lengths
from minigrok.network.objective import Objective
from minigrok.network.params import layout
from minigrok.reference.numbers import BATCH, EXACT, WHY, Expected, direction, float64
from minigrok.tasks import pairs

PRODUCTS = 30  # of Lanczos: the highest eigenvalue is then exact to rounding
DIFFERENCES = 1e-9  # relative tolerance at eta = 1e-3; rounding grows as 1 / eta^2
WHY_DIFFERENCES = "float64: a difference of parameters, over eta^2; 6e-15 found between Haswell and AVX-512 kernels"
WHY_EIGENVALUE = "float64, converged to rounding after 30 products; 2e-15 found between Haswell and AVX-512 kernels"


def geometry(config: Config, theta: Array) -> list[Expected]:
    """Return the numbers of tier "exact" at given weights theta (P,)."""
    config, theta = float64(config), np.asarray(theta, np.float64)
    a, b = _batches(config)
    return [*_commutator(a, b, theta), *_curvature(a, theta), *_weights(config, theta)]


def _batches(config: Config) -> list[Objective]:
    data = pairs(config.task, config.seed)
    parts = np.array_split(data.train[: 2 * BATCH], 2)
    return [Objective(config, data.tokens[rows], data.targets[:, rows]) for rows in parts]


def _commutator(a: Objective, b: Objective, theta: Array) -> Iterable[Expected]:
    exact, source = (
        brackets.bracket(a, b, theta),
        "minigrok.geometry.brackets, first and second 512 train pairs, tasks summed",
    )
    values = {
        "|bracket|": brackets.norm(exact.vector),
        "D, exact": brackets.defect(exact),
        "cos(g_A, g_B)": lengths.cosine(exact.g_a, exact.g_b),
    }
    for name, value in values.items():
        yield Expected(name, value, "nats^2" if name == "|bracket|" else "1", EXACT, 0.0, "exact", WHY, source)
    for eta in (1e-3, 1e-4):
        value = brackets.defect(brackets.difference(a, b, theta, eta), eta)
        name, rtol = f"D, float64 differences, eta {eta:g}", DIFFERENCES * (1e-3 / eta) ** 2
        yield Expected(name, value, "1", rtol, 0.0, "exact", WHY_DIFFERENCES, source)


def _curvature(a: Objective, theta: Array) -> Iterable[Expected]:
    start, source = direction(3, theta.size), f"minigrok.geometry.krylov, first {BATCH} train pairs, start direction(3)"
    for name, product in (("H", a.hvp), ("G", a.ggn_vp)):
        found = krylov.ritz(krylov.lanczos(partial(product, theta), start, PRODUCTS))
        value = float(found.values.max())
        yield Expected(f"highest of {name}", value, "nats", EXACT, 0.0, "exact", WHY_EIGENVALUE, source)


def _weights(config: Config, theta: Array) -> Iterable[Expected]:
    views, source = layout(config).views(theta), "minigrok.geometry.attention_spectra"
    for layer in range(config.model.blocks):
        Q, K = attention_spectra.query_key(views, layer)
        rows = slice(0, config.model.head_width)
        c = attention_spectra.commutator(Q, K)
        values = {
            "W_Q s_1": attention_spectra.values(Q)[0],
            "W_K s_1": attention_spectra.values(K)[0],
            "|[W_Q, W_K]|": c,
            "|[W_Q, W_K]| / random": c / attention_spectra.commutator_of_random(Q, K),
            "head 0 W_Q'W_K s_1": attention_spectra.product_values(Q[rows], K[rows])[0],
        }
        for name, value in values.items():
            yield Expected(f"L{layer} {name}", float(value), "1", EXACT, 0.0, "exact", WHY, source)
    heads = [views[f"heads.{operation}.weight"].ravel() for operation in config.task.operations]
    if len(heads) > 1:
        cosine = lengths.cosine(heads[0], heads[1])
        source = "minigrok.geometry.lengths.cosine"
        yield Expected("cosine of two heads", cosine, "1", EXACT, 0.0, "exact", WHY, source)
