"""Planes in parameter space that an intervention acts in: their projector, and how they come from a run.

Formulas (B (K, P) the orthonormal rows of the plane, x (P,) a gradient, an update or theta)
    coordinates    c = B x              |c|^2 = |P x|^2
    mix            a x + b B^T c        with c = B x: a x + b P x
Each sum runs over chunks of CHUNK parameters in the working precision, then over the chunks in float64: the bits do not
depend on the number of threads.
A plane is built once, when a run starts, and kept in its folder: whoever resumes needs the source run no more.
Rows: what the paper reads of the source up to its last grok (minigrok.storage.cadence), 100 checkpoints at most; for a
plane in the attention matrices the whole attention log. A source that lacks one of them, or that is too short for so
few, gives all its snapshots, 100 at most; so does one for the plane of the past, up to the start. The steps of the rows
are written beside the plane.
Source: the planes of 20 components and of the attention matrices: arXiv:2602.18523, code aa4e72f; others:
`minigrok.config.arms`.
"""

from pathlib import Path

import numpy as np

from minigrok.config import Config, config_hash
from minigrok.config.arms import NO_SOURCE
from minigrok.engine import Array, Engine
from minigrok.engine.threads import one_blas_thread
from minigrok.errors import ConfigError, RunFolderError
from minigrok.geometry.bases import Basis, Trajectory
from minigrok.geometry.subspace import embed, orthonormal, thinned
from minigrok.network.params import attention_matrices, members
from minigrok.rng import rng
from minigrok.storage.cadence import cadence
from minigrok.storage.files import read_arrays, write_arrays
from minigrok.storage.milestones import milestones
from minigrok.storage.runs import Run, open_run

FILE = "plane.safetensors"  # in the folder of the intervened run
MOST = 100  # snapshots that span a plane (paper)
CHUNK = 1024  # parameters a row of work: our choice
MATCHED, ROUNDS = 1e-7, 1000  # of energies of matched directions, float32's rounding; rounds at most: our choice


def _coordinates(lo: int, hi: int, B: Array, chunk: int, x: Array, parts: Array) -> None:
    """parts_ik = sum of B_k x over the i-th chunk."""
    for i in range(lo, hi):
        here = slice(i * chunk, (i + 1) * chunk)
        x_i = x[here]
        for k in range(B.shape[0]):
            B_k, total = B[k, here], x.dtype.type(0)
            for j in range(x_i.size):
                total += B_k[j] * x_i[j]
            parts[i, k] = total


def _mix(lo: int, hi: int, B: Array, chunk: int, a: float, weights: Array, x: Array, out: Array) -> None:
    """out = a x + sum of weights_k B_k, on the chunks lo .. hi-1; x and out may be the same."""
    for i in range(lo, hi):
        here = slice(i * chunk, (i + 1) * chunk)
        x_i, out_i, a_i = x[here], out[here], x.dtype.type(a)
        for j in range(x_i.size):
            out_i[j] = a_i * x_i[j]
        for k in range(B.shape[0]):
            B_k, w = B[k, here], weights[k]
            for j in range(x_i.size):
                out_i[j] += w * B_k[j]


class Plane:
    """A plane and its projector.

    Parameters
    ----------
    engine : Engine
        Runs the bodies.
    B : (K, P)
        Orthonormal rows, in the engine's dtype.
    """

    def __init__(self, engine: Engine, B: Array) -> None:
        self.engine, self.B = engine, np.ascontiguousarray(B, engine.dtype)
        self._chunks = -(-self.B.shape[1] // CHUNK)
        self._parts = np.empty((self._chunks, len(self.B)), engine.dtype)

    def coordinates(self, x: Array) -> Array:
        """Return c = B x, (K,) float64."""
        self.engine.rows(_coordinates, self._chunks, self.B, CHUNK, x, self._parts)
        return np.asarray(self._parts.sum(axis=0, dtype=np.float64))

    def mix(self, a: float, b: float, c: Array, x: Array, out: Array) -> None:
        """Write a x + b B^T c into out (P,), which may be x."""
        weights = (b * c).astype(self.engine.dtype)
        self.engine.rows(_mix, self._chunks, self.B, CHUNK, a, weights, x, out)


def plane_of(run: Run) -> Array | None:
    """Return the rows (K, P) of the plane of an intervened run: from its folder, or built and kept there.

    None: the run has none, or takes the direction of theta.

    Raises
    ------
    ConfigError
        The source is another model, task, seed or start than the run's.
    RunFolderError
        There is no source, it has not grokked, or too few snapshots.
    """
    settings, path = run.config.intervention, run.folder / FILE
    if settings.plane in NO_SOURCE:
        return None
    own = config_hash(run.config)
    if path.exists():
        arrays, note = read_arrays(path, 8 * MOST * run.layout.size + 2**20)
        if note.get("config_hash") != own or "B" not in arrays:
            got = f"a file with config hash {str(note.get('config_hash'))[:12]}"
            raise RunFolderError(f"{path} as this run wrote it (config hash {own[:12]})", got, "restore it from a copy")
        return arrays["B"]
    source = find_source(run.config, run.folder.parent)
    with one_blas_thread():
        B, steps = _rows(run.config, source)
    run.lock()
    note = {"config_hash": own, "source": config_hash(source.config), "steps": steps}
    B = B.astype(run.config.compute.dtype)
    write_arrays(run.path(FILE), {"B": B}, note, run.lock)
    return B


def require_source(config: Config, folder: Path) -> None:
    """Raise the error that `plane_of` would, but for missing directions, before the run's folder is made."""
    if config.intervention.plane not in NO_SOURCE:
        find_source(config, folder.resolve().parent)


def find_source(config: Config, parent: Path) -> Run:
    """Return the source run of an intervention, checked; `parent` is the folder that the intervened run lies in."""
    settings = config.intervention
    source = open_run(parent / settings.source)
    source.require_own("a source run that minigrok trained")
    other = source.config
    for part in ("task", "model", "init"):
        if getattr(other, part) != getattr(config, part):
            do = "take a source run of the same task, model and init, or change the run's"
            raise ConfigError(f"a source run with this run's {part}: {getattr(config, part)}", str(other), do)
    is_other = settings.plane == "other_seed"
    if (other.seed == config.seed) == is_other:
        wanted = f"another seed than {config.seed}" if is_other else f"seed {config.seed}"
        raise ConfigError(f"a source run of {wanted}", f"{source.folder} of seed {other.seed}", "name another source")
    missing = [task for task, reached in milestones(other, source.metrics()).items() if reached.grokked_at is None]
    if missing and settings.plane != "past":
        got, do = f"{source.folder}, which has not grokked {', '.join(missing)}", "train it on, or name another one"
        raise RunFolderError("a source run that has grokked every task: its plane ends there", got, do)
    _steps(config, source)
    return source


def _steps(config: Config, source: Run) -> list[int]:
    """Snapshots that span the plane, as the module says."""
    settings = config.intervention
    if settings.plane == "past":
        last, least = settings.start - 1, 2
    else:
        reached = milestones(source.config, source.metrics()).values()
        matrices = len(attention_matrices(config)) if settings.plane == "attention" else 1
        last, least = max(each.grokked_at or 0 for each in reached), settings.rank // matrices + 1
    steps = [step for step in source.snapshots() if step <= last]
    in_attention, every = settings.plane == "attention", cadence(source.config)
    logged = list(range(0, last + 1, every.attention if in_attention else every.checkpoint))
    if settings.plane != "past" and len(logged) >= least and {*logged} <= {*steps}:
        return logged if in_attention else thinned(logged, MOST)
    if len(steps) < least or steps[0] != 0:
        required = f"at least {least} snapshots up to step {last} in {source.folder}, the first of step 0"
        do = "train a source with a smaller train.snapshot_every, or lower intervention.rank"
        raise RunFolderError(required, f"{len(steps)}", do)
    return thinned(steps, MOST)


def _rows(config: Config, source: Run) -> tuple[Array, list[int]]:
    """Orthonormal rows (K, P) float64 of the plane, and the snapshots that they come from."""
    settings, steps = config.intervention, _steps(config, source)
    X = np.stack([source.load_snapshot(step) for step in steps])
    X -= X[0].copy()
    inside = members(config, settings.parts or ("*",))  # the support of the arm
    X[:, ~inside] = 0
    found = _components(config, X)
    if found.rank < settings.rank and settings.plane != "past":
        got, do = f"{found.rank} directions in {len(steps)} snapshots of {source.folder}", "lower intervention.rank"
        raise RunFolderError(f"a trajectory of {settings.rank} directions", got, do)
    B = embed(found.blocks, found.size)  # (P, K)
    B[~inside] = 0  # not rounding of the orthonormalisation; again below
    stream = rng(config.seed, f"intervention/{settings.plane}")
    if settings.plane == "minus_pc1":
        B = B[:, 1:]
    if settings.plane == "random":
        B = orthonormal(stream.standard_normal(B.shape) * inside[:, None])
    if settings.plane == "matched":
        B = _matched(B, list(source.layout.slices.values()), stream, inside)
    B[~inside] = 0
    return np.ascontiguousarray(B.T), steps


def _components(config: Config, X: Array) -> Basis:
    """Principal components of the trajectory X (S, P) that a plane starts from."""
    settings = config.intervention
    if settings.plane != "attention":
        return Trajectory(X, {}).full(settings.rank)
    places = attention_matrices(config)
    if settings.rank % len(places):
        do = "set intervention.rank, in the paper 16 for two tasks and 24 for three"
        raise ConfigError(f"a rank that {len(places)} attention matrices share evenly", str(settings.rank), do)
    return Trajectory(X, places).attention(settings.rank // len(places))


def _matched(B: Array, places: list[slice], stream: np.random.Generator, inside: Array | None = None) -> Array:
    """Random orthonormal directions (P, K), each with the energy of a column of B in every place, 0 outside a mask.

    R <- R_b |B_bk| / |R_bk| in each place b, then R <- R (R^T R)^(-1/2), the nearest orthonormal columns: either undoes
    some of the other, less each time. They end when energies, which sum to 1, are within MATCHED.

    Raises
    ------
    ConfigError
        They do not come that near.
    """
    R: Array = stream.standard_normal(B.shape) * (1 if inside is None else inside[:, None])
    wanted = _energies(B, places)
    for _ in range(ROUNDS):
        factors = np.sqrt(np.divide(wanted, _energies(R, places), out=np.zeros_like(wanted), where=wanted > 0))
        for place, factor in zip(places, factors, strict=True):
            R[place] *= factor
        squares, V = np.linalg.eigh(R.T @ R)
        R = R @ (V / np.sqrt(squares)) @ V.T
        off = float(np.abs(_energies(R, places) - wanted).max())
        if off <= MATCHED:
            return R
    raise ConfigError(f"random directions of energies within {MATCHED:g}", f"{off:.1e}", "lower intervention.rank")


def _energies(B: Array, places: list[slice]) -> Array:
    """Energy of each column in each place, (places, K)."""
    return np.array([np.square(B[place]).sum(axis=0) for place in places])
