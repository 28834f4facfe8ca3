"""What fourier measures at one snapshot: families of functions, their spectra, what random bases show, ablations."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from minigrok.analyses.fourier.result import KINDS, SPLITS
from minigrok.analyses.shared.activations import Activations
from minigrok.engine import Array
from minigrok.engine.base import Engine
from minigrok.geometry import characters
from minigrok.geometry.characters import Coordinate
from minigrok.network import model
from minigrok.network.evaluation import judge
from minigrok.storage.runs import Run
from minigrok.tasks import Pairs, pairs

Draw = Callable[[int, int, np.random.Generator], Array]
BLOCK = 10  # random bases that are drawn at a time: our choice


class Reader:
    """Families of functions at any parameters, each with its coordinates.

    Parameters
    ----------
    run : Run
    """

    def __init__(self, run: Run) -> None:
        self.layout, self.tasks, p = run.layout, run.config.task.operations, run.config.task.p
        self.data: Pairs = pairs(run.config.task, run.config.seed)
        self.activations, self.engine = (net := Activations(run, self.data.tokens)), net.net.engines[0]
        self.tokens = np.unique(self.data.tokens)
        of_pairs = characters.of_pairs(self.data.tokens[:, 0], self.data.tokens[:, 1], p)
        names = ("attention",) * (run.config.model.attention == "softmax") + ("head outputs", "neurons")
        places = [f"L{i} {x}" for i in range(run.config.model.blocks) for x in names]
        logits = {
            f"logits {task}": characters.of_numbers(y, p, "answer")
            for task, y in zip(self.tasks, self.data.targets, strict=True)
        }
        self.coordinates: dict[str, dict[str, Coordinate]] = {
            "embedding": characters.of_tokens(self.tokens, p),
            **dict.fromkeys(places, of_pairs),
            **logits,
        }

    def __call__(self, theta: Array) -> dict[str, Array]:
        """Return each family (M, C) at theta (P,): over tokens or all pairs; logits less their row's mean."""
        table = self.layout.views(theta)["tok_emb.weight"][self.tokens].astype(np.float64)
        return {"embedding": table} | self.activations(theta, self._kept)

    def _kept(self, logits: list[Array], tape: model.Tape) -> dict[str, Array]:
        found, B = {}, len(logits[0])
        for i, halves in enumerate(tape.blocks):
            attend, mlp = (_inner(half) for half in halves)
            if hasattr(attend.attention, "p"):  # else it is uniform
                found[f"L{i} attention"] = attend.attention.p[:, :, 0, 0]  # of position 0, to token a
            found[f"L{i} head outputs"] = _first(attend.out, B)
            found[f"L{i} neurons"] = _first(mlp.down, B)
        return found | {
            f"logits {task}": x - x.mean(axis=1, keepdims=True) for task, x in zip(self.tasks, logits, strict=True)
        }


def _inner(half: Any) -> Any:
    """Return the tape of half a block: where rows are kept on spheres, that between them."""
    return getattr(half, "half", half)


def _first(x: Array, B: int) -> Array:
    """Rows of position 0 of x (B U, C)."""
    return np.asarray(x.reshape(B, -1, x.shape[1])[:, 0])


class Pushed(NamedTuple):
    """A family by one coordinate: G (N, C) or (N, N, C), and the variance of each channel (C,), times M."""

    G: Array
    total: Array


def pushed(F: Array, coordinate: Coordinate) -> Pushed:
    """Return a family F (M, C) by a coordinate, each channel less its mean over the points that have one."""
    inside = coordinate.inside
    total = np.square(F - F.mean(axis=0)).sum(axis=0)
    G = coordinate.push(F - F[inside].mean(axis=0) if inside.any() else F)
    shape = (coordinate.order,) * (2 if coordinate.is_pair else 1)
    return Pushed(G.reshape(*shape, -1), total)


def by_frequency(x: Pushed, B: Array) -> Array:
    """Return the energy (K, C) at frequencies 1 .. K of a basis."""
    return characters.grid_energies(x.G, B) if x.G.ndim == 3 else characters.energies(x.G, B)[1:]


def shares(energy: Array, total: Array) -> Array:
    """Return energy (K, C) of all channels together as shares (K,); nan where nothing varies."""
    return energy.sum(axis=1) / total.sum() if total.sum() > 0 else np.full(len(energy), np.nan)


def best(energy: Array, total: Array) -> Array:
    """Return the share (C,) of each channel's best frequency; nan where it does not vary."""
    return np.asarray(np.divide(energy.max(axis=0), total, out=np.full(len(total), np.nan), where=total > 0))


def spectrum(F: Array, coordinate: Coordinate, keys: Array) -> dict[str, Array]:
    """Return `inside`, `shares` (K,), `best` (C,) and `in keys` (C,), an energy, of a family F (M, C)."""
    x = pushed(F, coordinate)
    energy = by_frequency(x, characters.fourier_basis(coordinate.order))
    inside = np.square(x.G).sum() / x.total.sum() if x.total.sum() > 0 else np.nan
    found = {"inside": np.array(inside), "shares": shares(energy, x.total), "best": best(energy, x.total)}
    return found | {"in keys": energy[keys - 1].sum(axis=0)}


def chance(coordinate: Coordinate) -> float:
    """Return the share of a random function's variance that functions of the coordinate have."""
    M, cells = len(coordinate.values), int((coordinate.counts > 0).sum())
    return (cells - 1) / (M - 1) if M > 1 and cells else float("nan")


def bases(N: int, draws: int, rng: np.random.Generator, drawn: Draw = characters.random_characters) -> Iterator[Array]:
    """Yield random bases, drawn in blocks."""
    for lo in range(0, draws, BLOCK):
        yield from drawn(N, min(BLOCK, draws - lo), rng)


def random_spectra(F: Array, coordinate: Coordinate, draws: int, rng: np.random.Generator) -> Array:
    """Return the largest share and the mean of `best` in random bases, (draws, 2)."""
    x, found = pushed(F, coordinate), []
    for B in bases(coordinate.order, draws, rng):
        energy = by_frequency(x, B)
        found.append([shares(energy, x.total).max(), mean(best(energy, x.total))])
    return np.array(found)


def mean(x: Array) -> float:
    """Return the mean of what is known of x (C,); nan if nothing is."""
    some = x[~np.isnan(x)]
    return float(some.mean()) if len(some) else float("nan")


class Judge:
    """Losses and accuracies of logits over the train and the test pairs of each task."""

    def __init__(self, engine: Engine, data: Pairs) -> None:
        self.engine, self.targets, self.rows = engine, data.targets, (data.train, data.test)

    def __call__(self, task: int, logits: Array) -> Array:
        """Return loss and accuracy (2, 2) by SPLITS of logits (M, V)."""
        found = np.full((2, len(SPLITS)), np.nan)
        for n, rows in enumerate(self.rows):
            if len(rows):
                self.engine.rewind()
                correct = np.empty(len(rows), np.bool_)
                found[0, n] = judge(self.engine, logits[rows], self.targets[task, rows], correct).mean()
                found[1, n] = correct.mean()
        return found

    def split(self, task: int, F: Array, coordinate: Coordinate, waves: Array) -> tuple[float, Array]:
        """Return the share of variance in a span, and loss and accuracy (KINDS, 2, SPLITS) of F in full and split."""
        constant, part = characters.split(F, coordinate, waves)
        total = float(np.square(F - F.mean(axis=0)).sum())
        share = float(np.square(part).sum()) / total if total > 0 else float("nan")
        kinds = dict(zip(KINDS, (F, constant + part, F - part), strict=True))
        return share, np.stack([self(task, each) for each in kinds.values()])

    def random(
        self, task: int, F: Array, coordinate: Coordinate, count: int, draws: int, rng: np.random.Generator
    ) -> Array:
        """Return these scores (draws, KINDS, 2, SPLITS) by the `count` strongest frequencies of random bases."""
        x, N, found = pushed(F, coordinate), coordinate.order, []
        for B in bases(N, draws, rng):
            strongest = 1 + np.argsort(-shares(by_frequency(x, B), x.total), kind="stable")[:count]
            found.append(self.split(task, F, coordinate, B[:, characters.columns(N, strongest)])[1])
        return np.array(found)


def waves(coordinate: Coordinate, keys: Array) -> Array:
    """Return the characters of key frequencies, (N, c)."""
    N = coordinate.order
    return characters.fourier_basis(N)[:, characters.columns(N, keys)]


def token_span(coordinate: Coordinate, keys: Array) -> Array:
    """Return orthonormal functions of the tokens (n, r): the key characters, less their mean."""
    found = characters.span(coordinate, waves(coordinate, keys))
    return coordinate.pull(found)


def joined(spans: Mapping[str, Array]) -> Array:
    """Return an orthonormal basis of the sum of spans (n, r)."""
    U, s, _ = np.linalg.svd(np.hstack([*spans.values()]), full_matrices=False)
    return np.asarray(U[:, s > 1e-9])  # orthonormal columns each: equal directions but for rounding


def explained(F: Array, Q: Array) -> float:
    """Return the share of the variance of F (n, C) in a span of functions of mean 0, Q (n, r)."""
    centred = F - F.mean(axis=0)
    total = float(np.square(centred).sum())
    return float(np.square(Q.T @ centred).sum()) / total if total > 0 else float("nan")
