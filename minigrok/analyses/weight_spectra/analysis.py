"""Spectra and commutators of W_Q and W_K over training, each beside random matrices of the same norms.

What is measured at a snapshot, and which of it depends on how query and key are written:
minigrok.geometry.attention_spectra. Each quantity is a series over the snapshots, with the value that Gaussian
matrices of the same Frobenius norms have ("random"): a series that follows it measures norms.
    gap          s_1 - s_2 or s_2 - s_3; its event is the smallest value of the moving average of 3
    commutator   c, or c / (sqrt(2 / d) |A| |B|), which is 1 for random matrices; its event is the largest value
    pair         pair index of W_t - W_0; its event is the largest value. Near 1 two singular values are equal, as a
                 Fourier frequency makes them; the random column says how often chance does
    layers       the commutator of a layer over that of the next one; its event is the ratio of the two peaks, wherever
                 they are. Of random matrices it is the ratio of the norms |A| |B|; normalised: divided by that, so 1
Events are sought from the fourth snapshot on (paper); a series that does not vary has none. The claim under test: the
gap is smallest when the commutator peaks, at grokking.
    nearer    share of the snapshots that are at most as far from the grok step (the peak) as the event is
It is a description of one run and no test: a series that merely rises or falls has its event at the end, near the
grok, whatever the grok has to do with it. Whether the two belong together, only other runs can say.
    over random    event of the series over its random value, which norms alone cannot move
Protocol "paper": layer 0 over the whole attention log, and every event is one of the moving average, the peak of the
commutator too; at its ends the first and the last value count twice.
Source: arXiv:2602.18523, weight spectral analysis (layer 0, blocks, c; code aa4e72f), table 12 of its third version
(peaks of two layers); the rest: minigrok.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from minigrok.analyses.base import Analysis, Cost, Work, attention_steps
from minigrok.analyses.shared import events
from minigrok.analyses.shared.cost import of_snapshots
from minigrok.analyses.weight_spectra.figure import figure
from minigrok.analyses.weight_spectra.result import (
    COMMUTATOR,
    FROM,
    NORMALISED,
    NOWHERE,
    Event,
    Result,
    Series,
    Settings,
)
from minigrok.analyses.weight_spectra.table import table
from minigrok.engine import Array
from minigrok.geometry import attention_spectra as spectra
from minigrok.statistics.intervals import band
from minigrok.storage.runs import Run

ATTENTION = ("W_Q", "W_K", "W_V", "W_O")
TIE = 1e-12  # relative spread of a series that does not vary but for rounding: our choice


@dataclass(frozen=True)
class Chance:
    """Means over Gaussian matrices of Frobenius norm 1, or for the product |A| |B| = 1.

    Attributes
    ----------
    whole, block, product : (2,)    s_1 - s_2 and s_2 - s_3 of (D, D), of (K, K), of the product
    pair : (draws,)                 pair index of (D, D)
    layers : (draws,)               normalised commutator of two (D, D) over that of two others
    """

    whole: Array
    block: Array
    product: Array
    pair: Array
    layers: Array


def compute(runs: Sequence[Run], settings: Settings, work: Work) -> Result:
    """Return every series of a run, its random values, its events and how far they are from the grok step.

    Raises
    ------
    RunFolderError
        Fewer than FROM + 2 snapshots, or no evaluation.
    """
    run, is_paper = runs[0], settings.protocol == "paper"
    columns = events.evaluations(run)
    groks = {task: events.reached(columns, task, *events.GROKS[events.STREAK]) for task in run.config.task.operations}
    steps = np.array(attention_steps(run, settings.protocol, FROM + 2, settings.snapshots))
    arrays = _measured(run, steps, work)
    model = run.config.model
    chance = _chance(model.width, model.head_width, settings.draws, work.rng("weight_spectra"))
    layers = 1 if is_paper else model.blocks
    grok = min((step for step in groks.values() if step is not None), default=None)
    found = [each for layer in range(layers) for each in _layer(arrays, layer, steps, grok, chance, is_paper)]
    if not is_paper:
        found += _between_layers(found, layers)
        pairs = spectra.pair_index(arrays["head_delta"])  # (S, N)
        found += [
            _series(-1, f"head {task} - start", "pair", pairs[:, i], float(np.mean(chance.pair)), steps, grok)
            for i, task in enumerate(groks)
        ]
    bands = band(chance.pair), band(chance.layers)
    return Result(run.folder.name, steps, groks, layers, model.heads, found, arrays, *bands, settings.draws)


def _measured(run: Run, steps: Array, work: Work) -> dict[str, Array]:
    start, heads = run.load_snapshot(int(steps[0])), run.config.model.heads

    def one(i: int) -> dict[str, Array]:
        return spectra.measure(run.load_snapshot(int(steps[i])), start, run.layout, heads)

    parts = work.parts([f"spectra-{step:06d}" for step in steps], one)
    return {name: np.stack([part[name] for part in parts]) for name in parts[0]}


def _chance(D: int, K: int, draws: int, rng: np.random.Generator) -> Chance:
    whole, block, product = [], [], []
    for _ in range(draws):
        G, B = rng.standard_normal((D, D)), rng.standard_normal((K, K))
        q, k = rng.standard_normal((2, K, D))
        whole.append(spectra.values(G) / np.linalg.norm(G))
        block.append(spectra.values(B) / np.linalg.norm(B))
        product.append(spectra.product_values(q, k) / (np.linalg.norm(q) * np.linalg.norm(k)))
    layers = [_normalised(D, rng) / _normalised(D, rng) for _ in range(draws)]
    gaps = [-np.diff(np.mean(each, axis=0))[:2] for each in (whole, block, product)]
    return Chance(gaps[0], gaps[1], gaps[2], spectra.pair_index(np.array(whole)), np.array(layers))


def _normalised(D: int, rng: np.random.Generator) -> float:
    A, B = rng.standard_normal((2, D, D))
    return spectra.commutator(A, B) / spectra.commutator_of_random(A, B)


def _layer(
    arrays: dict[str, Array], layer: int, steps: Array, grok: int | None, chance: Chance, is_paper: bool
) -> Iterator[Series]:
    """Series of a layer, the paper's first."""
    a = {name: values[:, layer] for name, values in arrays.items() if name != "head_delta"}
    peak = int(np.argmax(padded_average(a["c"])[FROM:] if is_paper else a["c"][FROM:])) + FROM

    def gap(name: str, s: Array, i: int, norms: Array, unit: Array) -> Series:
        return _series(layer, name, "gap", s[:, i] - s[:, i + 1], norms * unit[i], steps, grok, is_paper, peak)

    def other(name: str, kind: str, values: Array, random: Array | float) -> Series:
        return _series(layer, name, kind, values, random, steps, grok, is_paper)

    for m, matrix in enumerate(ATTENTION[:2]):
        for i in range(2):
            name = f"{matrix} s{i + 1} - s{i + 2}"
            yield gap(name, a["values"][:, m], i, a["norms"][:, m], chance.whole)
    yield other(COMMUTATOR, "commutator", a["c"], a["c_random"])
    if not is_paper:
        yield other(f"{COMMUTATOR} {NORMALISED}", "commutator", a["c"] / a["c_random"], 1.0)
    for h in range(a["block_c"].shape[1]):
        for m, matrix in enumerate(ATTENTION[:2]):
            norms = a["block_norms"][:, h, m]
            yield gap(f"head {h} {matrix} block s1 - s2", a["block_values"][:, h, m], 0, norms, chance.block)
        yield other(f"head {h} block commutator", "commutator", a["block_c"][:, h], a["block_c_random"][:, h])
        if not is_paper:
            norms = a["product_norms"][:, h]
            yield gap(f"head {h} W_Q'W_K s1 - s2", a["product_values"][:, h], 0, norms, chance.product)
    if not is_paper:
        pairs = spectra.pair_index(a["delta"])  # (S, 4)
        for m, matrix in enumerate(ATTENTION):
            yield other(f"{matrix} - start", "pair", pairs[:, m], float(np.mean(chance.pair)))


def _between_layers(found: list[Series], layers: int) -> Iterator[Series]:
    """Series of a layer's commutator over that of the next one."""
    known = {each.layer: each for each in found if each.name == COMMUTATOR}
    for layer in range(layers - 1):
        a, b = known[layer], known[layer + 1]
        with np.errstate(invalid="ignore", divide="ignore"):  # nan: all weights are 0
            values, random = a.values / b.values, a.random / b.random
            over = values / random
        peak, chance = a.event.value / b.event.value, a.event.random / b.event.random
        name = f"{COMMUTATOR} over layer {layer + 1}"
        yield Series(layer, name, "layers", values, random, Event(None, peak, chance), Event())
        normalised = Event(None, peak / chance, 1.0)
        yield Series(layer, f"{name} {NORMALISED}", "layers", over, np.ones_like(over), normalised, Event())


def _series(
    layer: int,
    name: str,
    kind: str,
    values: Array,
    random: Array | float,
    steps: Array,
    grok: int | None,
    is_paper: bool = False,
    peak: int | None = None,
) -> Series:
    inside, at_peak = np.broadcast_to(random, values.shape).copy(), None
    with np.errstate(invalid="ignore"):
        over = values / inside  # nan: all weights are 0
    smooth, smooth_over = (smoothed(x, kind, is_paper) for x in (values, over))
    event, beside = (_event(x, kind, inside, steps, grok, peak) for x in (smooth, smooth_over))
    if peak is not None:
        low, high = smooth[FROM:].min(), smooth[FROM:].max()
        at_peak = float((smooth[peak] - low) / (high - low)) if high > low else None
    return Series(layer, name, kind, values, inside, event, beside, at_peak)


def _event(smooth: Array, kind: str, random: Array, steps: Array, grok: int | None, peak: int | None) -> Event:
    """Return the event of a smoothed series (S,)."""
    late = smooth[FROM:]
    if not np.isfinite(late).any() or np.nanmax(late) - np.nanmin(late) <= TIE * np.nanmax(np.abs(late)):
        return Event()
    index = FROM + int((np.nanargmin if kind == "gap" else np.nanargmax)(late))
    to_grok = closeness(steps, index, grok)
    to_peak = closeness(steps, index, None if peak is None else int(steps[peak]))
    return Event(int(steps[index]), float(smooth[index]), float(random[index]), *to_grok, *to_peak)


def smoothed(x: Array, kind: str, is_paper: bool) -> Array:
    """Return the series (S,) in which an event is sought."""
    if is_paper:
        return padded_average(x)
    return moving_average(x) if kind == "gap" else x


def moving_average(x: Array) -> Array:
    """Return the mean of each value and its neighbours (S,); at the ends of the two values there are."""
    counts = np.convolve(np.ones(len(x)), np.ones(3), "same")
    return np.asarray(np.convolve(x, np.ones(3), "same") / counts)


def padded_average(x: Array) -> Array:
    """Return the paper's mean of each value and its neighbours (S,): the first and the last have themselves as one."""
    padded = np.concatenate([x[:1], x, x[-1:]])
    return np.asarray((padded[:-2] + padded[1:-1] + padded[2:]) / 3)


def closeness(steps: Array, index: int, target: int | None) -> tuple[float, float]:
    """Return steps from the target to an event, and the share of the snapshots that are no farther.

    Parameters
    ----------
    steps : (S,) int
    index : int              of the event, FROM or more
    target : int, optional   a step; None: there is none, and no distance
    """
    if target is None:
        return NOWHERE, NOWHERE
    far = np.abs(steps[FROM:] - target)
    return float(steps[index] - target), float(np.mean(far <= far[index - FROM]))


def cost(runs: Sequence[Run], settings: Settings) -> Cost:
    """Count the snapshots."""
    return of_snapshots(runs, min(len(runs[0].snapshots()), settings.snapshots), 0.1)


ANALYSIS = Analysis(
    "Do the singular values of queries and keys do anything at grokking that random matrices of their norms do not?",
    "arXiv:2602.18523, weight spectra; normalised and gauge-invariant ones, random values, place in time: minigrok",
    Settings,
    compute,
    table,
    figure,
    cost,
)
