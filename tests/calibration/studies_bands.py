"""Studies of bands and of what a single run is tested for: the null's own draws, and orders of updates."""

from __future__ import annotations

from functools import partial

import numpy as np
from grok_times import Rng
from study import Claim, Outcome, Study, coverage, holds, inside, power, rejects, size

from minigrok.analyses import gram, heads, trajectory_pca
from minigrok.analyses.fourier import measure
from minigrok.analyses.weight_spectra.analysis import _chance
from minigrok.engine import Array
from minigrok.geometry import attention_spectra, bases, nulls, subspace, updates
from minigrok.geometry.characters import Coordinate
from minigrok.geometry.hutchinson import hutchinson
from minigrok.statistics import intervals

WIDE = (39, 50, 100, 200)  # draws behind a band
FEW = (39, 100)  # where a draw is slow


def covers(column: str, sense: str = "=") -> tuple[Claim]:
    """Claim of a band: that of statistics.intervals."""
    return (coverage(column, sense, intervals.coverage),)


# --- intervals -------------------------------------------------------------------------------------------


def any_band(rng: Rng, n: int) -> list[Outcome]:
    """A new draw of a skewed null beside the band of n draws."""
    return [inside(rng.exponential(), intervals.band(rng.exponential(size=n)))]


def share(rng: Rng, n: int, chance: float) -> list[Outcome]:
    """Clopper and Pearson's interval."""
    low, high = intervals.share_interval(int(rng.binomial(n, chance)), n)
    return [holds(low, chance, high)]


def trace(rng: Rng, n: int, dominant: float) -> list[Outcome]:
    """Trace of a symmetric operator, whose first eigenvalue may be that many times as large as all others together."""
    size, rank = 60, 40
    A = rng.standard_normal((size, rank)) / np.sqrt(size)
    u = rng.standard_normal(size) / np.sqrt(size)
    H = A @ A.T + dominant * rank * np.outer(u, u)
    found = hutchinson(lambda v: H @ v, size, n, rng)
    low, high, _ = intervals.mean_interval(found.each[:, 0])
    return [holds(low, float(np.trace(H)), high)]


# --- bands of analyses -----------------------------------------------------------------------------------


def pca(rng: Rng, n: int) -> list[Outcome]:
    """PC1 of a random walk, which is a decay walk without decay."""
    W = np.cumsum(rng.standard_normal((12, 400)), axis=0)
    walk, decay = trajectory_pca._nulls(W, np.arange(12), 0.0, n, rng)
    share = 100 * subspace.pca(subspace.centred(subspace.gram(W - W[0]))).shares
    nothing = np.zeros(0)
    ends = (nothing,) * 4
    piece = trajectory_pca.Piece("", 400, share[:3] / 100, share[:3], 0, 0, 0, share[:3], walk, decay, *ends)
    row = trajectory_pca.table(trajectory_pca.Result("", np.arange(12), [piece]))[0]
    x = row["PC1 centred %"]
    return [holds(row["walk low"], x, row["walk high"]), holds(row["decay low"], x, row["decay high"])]


def decaying(rng: Rng, n: int) -> list[Outcome]:
    """PC1 of a decaying walk beside the null of decay and noise."""
    W = nulls.decay_path(20.0, np.full(11, 0.9), np.ones(11), 400, rng)
    W = W @ np.linalg.qr(rng.standard_normal((400, 12)))[0].T
    _, decay = trajectory_pca._nulls(W, np.arange(12), 0.1, n, rng)
    share = subspace.pca(subspace.centred(subspace.gram(W - W[0]))).shares[0]
    return [inside(share, intervals.band(decay[:, 0]))]


def gaussian(rng: Rng, n: int) -> list[Outcome]:
    """Two heads of n independent Gaussian weights."""
    return [bool(abs(heads.cosine(*rng.standard_normal((2, n)))) <= heads.independent(n))]


def relabelled(rng: Rng, n: int) -> list[Outcome]:
    """Two heads whose classes have nothing in common."""
    found = heads.compare(rng.standard_normal((15, 6)), rng.standard_normal((15, 6)), None, 2, n, rng)
    return [inside(float(found["cosine"]), found["relabelled"][1:])]


def read_spaces(rng: Rng, n: int, patterns: bool) -> list[Outcome]:
    """Two heads whose logits are random patterns in the span of Z, or whose weights are Gaussian."""
    A, B, Z = (rng.standard_normal(shape) for shape in ((15, 6), (15, 6), (40, 6)))
    if patterns:
        _, s, Vt = np.linalg.svd(Z - Z.mean(axis=0), full_matrices=False)
        A, B = A / s @ Vt, B / s @ Vt
    found = heads.compare(A, B, Z, 2, n, rng)
    name = "read z" if patterns else "rows"
    names = [(f"{what} {each}", f"{what}_random {each}") for each in (name, "read z") for what in ("overlap", "angle")]
    return [inside(float(found[x]), found[random][1:]) for x, random in names[2 * patterns :]]


PLACES = ((slice(0, 40), 2), (slice(40, 100), 3))


def random_basis(rng: Rng) -> bases.Basis:
    """Random orthonormal columns in two slices."""
    blocks = [(subspace.orthonormal(rng.standard_normal((p.stop - p.start, k))), p) for p, k in PLACES]
    return bases.Basis(blocks, 120)


def share_in_blocks(rng: Rng, n: int) -> list[Outcome]:
    """Energy of a vector in a basis that knows nothing of it."""
    x = rng.standard_normal(120) * np.linspace(1, 3, 120)
    found = bases.against_chance(random_basis(rng), x, n, rng)
    return [holds(found.low, found.share, found.high)]


def angles(rng: Rng, n: int) -> list[Outcome]:
    """Two bases that know nothing of each other."""
    A, B = random_basis(rng), random_basis(rng)
    seen, drawn = bases.angles(A, B), np.array([bases.random_angles(A, B, rng) for _ in range(n)])
    return [inside(x, intervals.band(d)) for x, d in zip(seen[:2], drawn.T, strict=False)]


def pair_index(rng: Rng, n: int) -> list[Outcome]:
    """A Gaussian matrix."""
    values = attention_spectra.values(rng.standard_normal((12, 12)))
    band = intervals.band(_chance(12, 4, n, rng).pair)
    return [inside(float(attention_spectra.pair_index(values)), band)]


def characters(rng: Rng, n: int, lacks: int) -> list[Outcome]:
    """Largest share of a frequency, and `single`, of Gaussian functions on a group that lacks some elements."""
    coordinate, F = Coordinate(np.arange(lacks, 22), 22), rng.standard_normal((22 - lacks, 6))
    found = measure.spectrum(F, coordinate, np.zeros(0, np.int64))
    seen, drawn = (found["shares"].max(), found["best"].mean()), measure.random_spectra(F, coordinate, n, rng)
    return [inside(float(x), intervals.band(d)) for x, d in zip(seen, drawn.T, strict=True)]


# --- gram ------------------------------------------------------------------------------------------------

WINDOW = 4


def windows_of(G: Array) -> tuple[Array, updates.Windows]:
    """First updates and scores of all windows."""
    starts = np.arange(len(G) - WINDOW + 1)
    return starts, updates.score(G, starts, WINDOW)


def walk(rng: Rng, n: int) -> list[Outcome]:
    """First window of a random walk beside the band of n walks."""
    U = rng.standard_normal((8, 2000))
    G = U @ U.T
    starts, seen = windows_of(G)
    found = gram._walk(G, 2000, starts, len(starts), gram.Settings(window=WINDOW, draws=n), rng)
    return [inside(getattr(seen, x)[0], getattr(found, x)[:, 0]) for x in ("g23", "share", "R")]


def order(rng: Rng, n: int, kind: str) -> list[Outcome]:
    """p order and p share of n updates."""
    U = rng.standard_normal((n, 50))
    if kind == "sizes":
        U *= np.exp(0.5 * rng.standard_normal((n, 1)))
    if kind == "smooth":
        for t in range(1, n):
            U[t] += 0.9 * U[t - 1]
    if kind == "narrows":
        U[:, 0] += np.linspace(0, 30, n)
    starts, seen = windows_of(U @ U.T)
    settings = gram.Settings(window=WINDOW, draws=39)
    return [rejects(p) for p in gram._order(U @ U.T, starts, seen, settings, rng)]


READ = (*covers("overlap of read z"), *covers("angle of read z"))
ORDER = (size("p order"), size("p share"))
CHARACTERS = (*covers("random low, high"), *covers("single low, high"))
PC1 = (*covers("walk low, high"), *covers("decay low, high"))
STUDIES = [
    Study("every band", "a skewed null", covers("low, high"), any_band, WIDE, "draws", 2000),
    Study("every share", "true share .2", (coverage("interval", ">="),), partial(share, chance=0.2), unit="runs"),
    Study("trajectory_pca", "a random walk", PC1, pca, FEW, "draws", 200),
    Study("trajectory_pca", "a walk with decay", covers("decay low, high"), decaying, FEW, "draws", 200),
    Study("heads", "the weights are Gaussian", (coverage("chance +-"),), gaussian, (3, 5, 10), "weights", 2000),
    Study("heads", "classes have nothing in common", covers("relabelled"), relabelled, FEW, "draws"),
    Study("heads", "the logits are random patterns", READ, partial(read_spaces, patterns=True), FEW, "draws", 200),
    Study(
        "heads",
        "the weights are Gaussian",
        (*covers("overlap of rows"), *covers("angle of rows"), *(x._replace(sense="~") for x in READ)),
        partial(read_spaces, patterns=False),
        FEW,
        "draws",
        200,
    ),
    Study(
        "subspace, commutator", "a basis unrelated to the vector", covers("low, high"), share_in_blocks, WIDE, "draws"
    ),
    Study("subspace", "unrelated bases", (*covers("overlap"), *covers("smallest")), angles, FEW, "draws", 200),
    Study("weight_spectra", "a Gaussian matrix", covers("pair index"), pair_index, FEW, "draws", 200),
    Study("fourier", "Gaussian functions", CHARACTERS, partial(characters, lacks=0), FEW, "draws", 200),
    Study("fourier", "Gaussian functions, 0 missing", CHARACTERS, partial(characters, lacks=1), FEW, "draws", 200),
    Study("gram", "a random walk", tuple(x for c in ("g23", "share", "R") for x in covers(c)), walk, FEW, "draws", 200),
    Study("gram", "updates of one law", ORDER, partial(order, kind=""), (12, 20, 40), "updates"),
    Study("gram", "sizes of one law, in any order", ORDER, partial(order, kind="sizes"), (12, 20, 40), "updates"),
    Study(
        "gram",
        "each update goes on in the direction of the one before",
        tuple(size(claim.column, "~") for claim in ORDER),
        partial(order, kind="smooth"),
        (12, 20, 40),
        "updates",
    ),
    Study("hessian", "a flat spectrum", (coverage("trace"),), partial(trace, dominant=0.0), unit="probes", draws=2000),
    Study(
        "hessian",
        "one eigenvalue as large as all others together",
        (coverage("trace", "~"),),
        partial(trace, dominant=1.0),
        unit="probes",
        draws=2000,
    ),
]
POWER = [
    Study(
        "gram",
        "updates come to share a direction",
        tuple(power(claim.column) for claim in ORDER),
        partial(order, kind="narrows"),
        (12, 20, 40),
        "updates",
    )
]
