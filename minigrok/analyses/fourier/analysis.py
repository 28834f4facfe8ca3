"""Characters: does each task compute with those of its own group, and are its logits made of a few frequencies.

Families of functions, at position 0: the embedding's D columns over tokens; in each block the H attention weights of
token a, the D outputs of the heads before W_O, the F neurons after GELU, each over all pairs; each task's V logits over
all pairs, less the mean of each row, which no loss sees. Coordinates, characters, bases: minigrok.geometry.characters.
    embedding       a and a^2 (Z_p); log a (Z_(p-1))
    pairs           (a, b), (a^2, b^2), (log a, log b), and (log u, log v) with u = a + i b, v = a - i b, i^2 = -1
    logits          the task's answer y: `answer` (Z_p), for a^2 + b^2 the additive characters of the squares; and
                    `log answer` (Z_(p-1)), for a b those of log a + log b, for a^2 + b^2 those of log u + log v
    share           energy of a frequency over the variance of all channels; of pairs: of {0, k} x {0, k}, so a unit
                    made of 1, cos k, sin k in both coordinates has it all
    inside          share of the functions of the coordinate, whatever the frequency; "chance": of a random function
    single          share of a channel's best frequency, mean over the channels; "half": channels where it is over 1/2
Every function of y is in the span of both groups' characters. What tells the groups apart is whether few suffice.
Key frequencies of a family and coordinate, at the last snapshot: a share above the upper end of the band of the largest
share in random bases, and above 2 / (p - 1), which a character of one group has in every frequency of the other
(Gauss sums). One random basis in 40 or fewer has any.
    restricted      logits with only their constant and the characters of their keys; excluded: without the latter
    span of keys    variance of the embedding in the span of its key characters, by coordinate and of all together
    mixed           cosine of the channels' energies in the keys of two coordinates: 1, the same channels serve both
Nulls, at the last snapshot, `draws` of each: random orthogonal bases of the same size; for ablations the same number of
frequencies, the strongest ones of each basis; for spans random ones of the same rank; for "mixed" the channels of one
coordinate permuted. A random basis keeps the constant, and which functions are even: a^2 + b^2 makes an embedding with
E(-a) = E(a), which has the even frequencies of log a alone, without any of them being used. The first snapshot is the
untrained network.
Protocol "paper" has no counterpart: the same at the paper's checkpoints.
Source: Nanda et al. 2023 (arXiv:2301.05217) for a + b, p = 113: shares, units of one frequency, restricted and excluded
loss, where they keep the constant, too. Groups of the other tasks, rule of keys and nulls: minigrok.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from minigrok.analyses.base import Analysis, Cost, Work, checkpoint_steps
from minigrok.analyses.fourier import measure
from minigrok.analyses.fourier.figure import figure
from minigrok.analyses.fourier.measure import Judge, Reader
from minigrok.analyses.fourier.result import Ablation, Mixed, Result, Settings, Shared, Spectrum
from minigrok.analyses.fourier.table import table
from minigrok.analyses.shared import events
from minigrok.analyses.shared.cost import START, host
from minigrok.engine import Array
from minigrok.geometry import characters
from minigrok.geometry.characters import random_bases
from minigrok.geometry.lengths import cosine
from minigrok.statistics.intervals import band
from minigrok.storage.runs import Run

Name = tuple[str, str]  # family, coordinate
NO_KEYS = np.zeros(0, np.int64)


def compute(runs: Sequence[Run], settings: Settings, work: Work) -> Result:
    """Return the spectra of every family, what random bases show, and the loss with and without the key frequencies.

    Raises
    ------
    RunFolderError
        No snapshot, or no evaluation.
    """
    run = runs[0]
    columns, steps = events.evaluations(run), checkpoint_steps(run, settings.protocol, 1, settings.most)
    reader = Reader(run)
    names = [(what, by) for what, coordinates in reader.coordinates.items() for by in coordinates]
    null = work.parts(["random"], lambda n: _null(run, reader, steps[-1], names, settings, work))[0]
    keys = _keys(names, null, run.config.task.p)
    parts = _along(run, reader, steps, names, keys, work)
    return Result(
        run.folder.name,
        "" if characters.root_of_minus_one(run.config.task.p) else characters.NO_ROOT,
        settings.draws,
        np.array(steps),
        {task: events.reached(columns, task, *events.GROKS[events.STREAK]) for task in reader.tasks},
        [_spectrum(reader, name, parts, null, keys[name]) for name in names],
        [_ablation(task, by, parts, null) for task in reader.tasks for by in reader.coordinates[f"logits {task}"]],
        _shared(reader, keys, parts, null),
        _mixed(names, keys, parts, settings.draws, work.rng("fourier/mixed")),
    )


def _null(run: Run, reader: Reader, step: int, names: list[Name], settings: Settings, work: Work) -> dict[str, Array]:
    """Return what random bases show at the last snapshot; the keys, which they decide, decide how much is ablated."""
    families, rng, found = reader(run.load_snapshot(step)), work.rng("fourier/random"), {}
    for i, (what, by) in enumerate(names):
        work.report(i, len(names), f"random bases of {what}, {by}")
        F, coordinate = families[what], reader.coordinates[what][by]
        found[f"random {what}/{by}"] = measure.random_spectra(F, coordinate, settings.draws, rng)
        found[f"shares {what}/{by}"] = measure.spectrum(F, coordinate, NO_KEYS)["shares"]
    keys = _keys(names, found, run.config.task.p)
    judge = Judge(reader.engine, reader.data)
    for i, task in enumerate(reader.tasks):
        for by, coordinate in reader.coordinates[what := f"logits {task}"].items():
            count = len(keys[what, by])
            scores = judge.random(i, families[what], coordinate, count, settings.draws, rng)
            found[f"scores {what}/{by}"] = scores
    for by, Q in _spans(reader, keys).items():
        spans = (B[:, 1 : 1 + Q.shape[1]] for B in measure.bases(len(Q), settings.draws, rng, random_bases))
        found[f"span {by}"] = np.array([measure.explained(families["embedding"], each) for each in spans])
    return found


def _keys(names: list[Name], null: dict[str, Array], p: int) -> dict[Name, Array]:
    """Return the key frequencies of each family and coordinate."""
    found = {}
    for what, by in names:
        high = band(null[f"random {what}/{by}"][:, 0])[1]  # no band: nan, and no key
        is_key = (null[f"shares {what}/{by}"] > high) & (null[f"shares {what}/{by}"] > characters.leak(p))
        found[what, by] = 1 + np.flatnonzero(is_key)
    return found


def _along(
    run: Run, reader: Reader, steps: list[int], names: list[Name], keys: dict[Name, Array], work: Work
) -> dict[str, Array]:
    """Return everything that is measured along training, stacked over snapshots."""
    judge, spans = Judge(reader.engine, reader.data), _spans(reader, keys)

    def one(n: int) -> dict[str, Array]:
        families, found = reader(run.load_snapshot(steps[n])), {}
        for what, by in names:
            some = measure.spectrum(families[what], reader.coordinates[what][by], keys[what, by])
            found.update({f"{x} {what}/{by}": y for x, y in some.items()})
        for i, task in enumerate(reader.tasks):
            for by, coordinate in reader.coordinates[what := f"logits {task}"].items():
                kept = measure.waves(coordinate, keys[what, by])
                share, scores = judge.split(i, families[what], coordinate, kept)
                found.update({f"explained {what}/{by}": np.array(share), f"scores {what}/{by}": scores})
        for by, Q in spans.items():
            found[f"span {by}"] = np.array(measure.explained(families["embedding"], Q))
        return found

    parts = work.parts([f"{step:06d}" for step in steps], one)
    return {name: np.stack([part[name] for part in parts]) for name in parts[0]}


def _spectrum(reader: Reader, name: Name, parts: dict[str, Array], null: dict[str, Array], keys: Array) -> Spectrum:
    key, coordinate = "/".join(name), reader.coordinates[name[0]][name[1]]
    best, random = parts[f"best {key}"], null[f"random {key}"]  # (S, C), (draws, 2)
    return Spectrum(
        *name,
        best.shape[1],
        measure.chance(coordinate),
        parts[f"inside {key}"],
        parts[f"shares {key}"],
        np.array([measure.mean(each) for each in best]),
        (best > 0.5).sum(axis=1),
        _mean_and_band(random[:, 0]),
        _mean_and_band(random[:, 1]),
        keys,
    )


def _ablation(task: str, by: str, parts: dict[str, Array], null: dict[str, Array]) -> Ablation:
    key = f"logits {task}/{by}"
    scores, random = parts[f"scores {key}"], null[f"scores {key}"]
    loss, accuracy = (_mean_and_band(random[:, :, i]) for i in range(2))
    return Ablation(task, by, parts[f"explained {key}"], scores[:, :, 0], scores[:, :, 1], loss, accuracy)


def _spans(reader: Reader, keys: dict[Name, Array]) -> dict[str, Array]:
    """Return the span (n, r) of the embedding's key characters by each coordinate, and of all together."""
    coordinates = reader.coordinates["embedding"]
    found = {by: measure.token_span(each, keys["embedding", by]) for by, each in coordinates.items()}
    return found | {"all": measure.joined(found)}


def _shared(reader: Reader, keys: dict[Name, Array], parts: dict[str, Array], null: dict[str, Array]) -> list[Shared]:
    spans = _spans(reader, keys).items()
    return [Shared(by, Q.shape[1], parts[f"span {by}"], _mean_and_band(null[f"span {by}"])) for by, Q in spans]


def _mixed(
    names: list[Name], keys: dict[Name, Array], parts: dict[str, Array], draws: int, rng: np.random.Generator
) -> list[Mixed]:
    found = []
    for (what, first), (other, second) in combinations([name for name in names if len(keys[name])], 2):
        if what == other and not what.startswith("logits"):
            x, y = (parts[f"in keys {what}/{by}"] for by in (first, second))  # (S, C)
            along = np.array([cosine(*each) for each in zip(x, y, strict=True)])
            random = np.array([cosine(x[-1], rng.permutation(y[-1])) for _ in range(draws)])
            found.append(Mixed(what, first, second, along, _mean_and_band(random)))
    return found


def _mean_and_band(draws: Array) -> Array:
    return np.stack([draws.mean(axis=0), *band(draws)])


def cost(runs: Sequence[Run], settings: Settings) -> Cost:
    """Count the snapshots and the random bases."""
    count = min(len(runs[0].snapshots()), settings.most)
    words = f"{count} snapshots and {settings.draws} random bases"
    return Cost(host(START) + host(0.4 * count + 0.25 * settings.draws, runs), words)


ANALYSIS = Analysis(
    "Does each task compute with the characters of its own group, and do a few frequencies make its logits?",
    "arXiv:2301.05217 for a + b; groups of the other tasks, log u and log v, rule of keys, random bases: minigrok",
    Settings,
    compute,
    table,
    figure,
    cost,
)
