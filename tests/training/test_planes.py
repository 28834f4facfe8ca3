"""Planes: the projector's laws, what spans them, and everything a source run can be that it must not."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrok.config import Config, Intervention, Model, Task, Train, with_values
from minigrok.engine import Array, open_engine
from minigrok.engine.threads import Team, TeamEngine
from minigrok.errors import ConfigError, MinigrokError, RunFolderError
from minigrok.geometry.subspace import orthonormal
from minigrok.network.params import attention_matrices, layout, members
from minigrok.storage.files import read_arrays, write_arrays
from minigrok.storage.runs import Run, create, open_run
from minigrok.training.planes import CHUNK, FILE, MATCHED, Plane, _energies, _matched, find_source, plane_of

CONFIG = Config(
    "small",
    task=Task(p=5),
    model=Model(width=4, heads=2, mlp_width=3),
    train=Train(7, 20, 1, 1, grok_patience=12, after_grok=8),
)


def rows(P: int, K: int, seed: int = 0) -> Array:
    return orthonormal(np.random.default_rng(seed).standard_normal((P, K))).T


@pytest.mark.parametrize("engine", ["plain", "cpu"])
@settings(max_examples=15, deadline=None)
@given(P=st.sampled_from([7, CHUNK, CHUNK + 1, 3 * CHUNK - 5]), K=st.integers(1, 7), seed=st.integers(0, 99))
def test_the_projector_is_idempotent_symmetric_and_what_numpy_says(engine: str, P: int, K: int, seed: int) -> None:
    B, (x, y) = rows(P, K, seed), np.random.default_rng(seed + 1).standard_normal((2, P))
    plane = Plane(open_engine(engine, "float64"), B)

    def project(v: Array) -> Array:
        out = np.empty_like(v)
        plane.mix(0.0, 1.0, plane.coordinates(v), v, out)
        return out

    Px = project(x)
    assert np.allclose(Px, B.T @ (B @ x), rtol=0, atol=1e-13)
    assert np.allclose(project(Px), Px, rtol=0, atol=1e-13)
    assert project(x) @ y == pytest.approx(x @ project(y), abs=1e-11)
    assert np.square(plane.coordinates(x)).sum() == pytest.approx(Px @ Px)
    assert abs((x - Px) @ Px) < 1e-11


def test_a_basis_that_is_not_orthonormal_is_no_projector() -> None:
    """The law above can fail: rows 1 % too long."""
    B = 1.01 * rows(50, 3)
    plane, x = Plane(open_engine("cpu", "float64"), B), np.ones(50)
    once, twice = np.empty(50), np.empty(50)
    plane.mix(0.0, 1.0, plane.coordinates(x), x, once)
    plane.mix(0.0, 1.0, plane.coordinates(once), once, twice)
    assert np.abs(twice - once).max() > 1e-3


def test_in_place_and_on_any_number_of_threads_the_bits_are_the_same() -> None:
    B, x = rows(20 * CHUNK + 3, 5), np.random.default_rng(3).standard_normal(20 * CHUNK + 3).astype(np.float32)
    found = []
    for threads in (1, 2, 3):
        plane, out = Plane(TeamEngine(open_engine("cpu", "float32"), Team(threads)), B), x.copy()
        plane.mix(0.9, 0.1, plane.coordinates(out), out, out)
        found.append(out.tobytes())
    assert len(set(found)) == 1
    exact = 0.9 * x.astype(np.float64) + 0.1 * B.T @ (B @ x.astype(np.float64))
    assert np.abs(np.frombuffer(found[0], np.float32) - exact).max() < 1e-6


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of two source runs, seeds 42 and 7: random walks of 20 steps whose tasks grok at step 12."""
    folder = tmp_path_factory.mktemp("planes")
    for name, seed in (("source", 42), ("other", 7)):
        source(folder / name, with_values(CONFIG, {"seed": seed}), 20)
    return folder


def source(folder: Path, config: Config, steps: int, every: int = 1) -> None:
    walk = np.random.default_rng(config.seed).standard_normal((steps + 1, layout(config).size)).cumsum(axis=0)
    with create(folder, config) as run:
        for step, theta in enumerate(walk.astype(np.float32)):
            run.save_snapshot(every * step, theta)
            if step:
                run.append_metrics(
                    {"step": every * step}
                    | {f"{part}_accuracy_{task}": 1.0 for part in ("train", "test") for task in ("add", "mul")}
                )


def intervened(top: Path, name: str = "", config: Config = CONFIG, **values: object) -> Run:
    """Run folder with an intervention, not trained."""
    given = {"arm": "deletion", "dose": 0.1, "source": "source", "start": 4, "rank": 3} | values
    changed = with_values(config, {f"intervention.{key}": value for key, value in given.items()})
    folder = top / (name or f"run-{len(list(top.iterdir()))}")
    return create(folder, changed)


def trajectory(top: Path, last: int, origin: str) -> Array:
    run = open_run(top / origin)
    X = np.stack([run.load_snapshot(step) for step in range(last + 1)]).astype(np.float64)
    return X - X[0]


def same_span(A: Array, B: Array) -> bool:
    return A.shape == B.shape and np.allclose(np.linalg.svd(A @ B.T, compute_uv=False), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("basis", "origin", "last", "chosen"),
    [
        ("source", "source", 12, slice(0, 3)),
        ("minus_pc1", "source", 12, slice(1, 3)),
        ("past", "source", 3, slice(0, 3)),
        ("other_seed", "other", 12, slice(0, 3)),
    ],
)
def test_a_plane_is_spanned_by_the_components_to_the_last_grok_or_the_start(
    top: Path, basis: str, origin: str, last: int, chosen: slice
) -> None:
    run = intervened(top, basis=basis, source=origin)
    B = plane_of(run)
    assert B is not None
    assert B.dtype == np.float32
    _, _, V = np.linalg.svd(trajectory(top, last, origin), full_matrices=False)
    assert same_span(B, V[chosen])
    assert not same_span(B, np.linalg.svd(trajectory(top, 20, origin), full_matrices=False)[2][chosen])
    _, note = read_arrays(run.folder / FILE)
    assert note["steps"] == list(range(last + 1))
    assert note["source"] == open_run(top / origin)._note()["config_hash"]


def test_a_plane_in_the_attention_matrices_has_as_many_components_of_each(top: Path) -> None:
    run = intervened(top, basis="attention", rank=16)
    B, X = plane_of(run), trajectory(top, 12, "source")
    assert B is not None
    X -= X.mean(axis=0)
    expected = np.zeros((16, run.layout.size))
    for i, place in enumerate(attention_matrices(CONFIG).values()):
        expected[2 * i : 2 * i + 2, place] = np.linalg.svd(X[:, place], full_matrices=False)[2][:2]
    assert same_span(B, expected)
    with pytest.raises(ConfigError, match="a rank that 8 attention matrices share evenly"):
        plane_of(intervened(top, basis="attention", rank=12))


@pytest.mark.parametrize("basis", ["source", "matched", "random"])
@pytest.mark.parametrize("support", [("attention",), ("queries", "keys")])
def test_with_a_support_a_plane_lies_in_it(top: Path, basis: str, support: tuple[str, ...]) -> None:
    run = intervened(top, arm="keep_rank", basis=basis, support=list(support))
    B, inside = plane_of(run), members(CONFIG, support)
    assert B is not None
    assert not B[:, ~inside].any()
    assert np.abs(B @ B.T - np.eye(3)).max() < 1e-6
    X = trajectory(top, 12, "source") * inside
    components = np.linalg.svd(X, full_matrices=False)[2][:3]
    assert same_span(B, components) == (basis == "source")
    if basis == "matched":
        places = list(run.layout.slices.values())
        assert np.abs(_energies(B.T, places) - _energies(components.T, places)).max() < 2e-6


def test_a_source_as_long_as_the_papers_gives_its_checkpoints_alone(tmp_path: Path) -> None:
    """Saved every 100 steps, grokked at 1,300: the last snapshot up to there is no checkpoint, but is in the log."""
    config = with_values(CONFIG, {"train.grok_patience": 13, "train.snapshot_every": 100})
    source(tmp_path / "source", config, 20, every=100)

    def rows_of(**values: object) -> list[int]:
        run = intervened(tmp_path, config=config, **values)
        plane_of(run)
        steps: list[int] = read_arrays(run.folder / FILE)[1]["steps"]
        return steps

    assert rows_of() == list(range(0, 1201, 200))
    assert rows_of(basis="attention", rank=16) == list(range(0, 1301, 100))
    assert rows_of(basis="past", start=500) == list(range(0, 500, 100))
    assert rows_of(rank=8) == list(range(0, 1301, 100))  # more directions than seven checkpoints have
    (tmp_path / "source" / "snapshots" / "000400.safetensors").unlink()
    assert rows_of() == [step for step in range(0, 1301, 100) if step != 400]


def test_random_planes_are_orthonormal_and_matched_ones_have_the_energies_of_the_components(top: Path) -> None:
    own, random, matched = (plane_of(intervened(top, basis=basis)) for basis in ("source", "random", "matched"))
    assert own is not None
    assert random is not None
    assert matched is not None
    for B in (random, matched):
        assert np.allclose(B @ B.T, np.eye(3), atol=1e-6)
        assert np.linalg.svd(own @ B.T, compute_uv=False).max() < 0.8
    parts = open_run(top / "source").layout.slices.values()
    energies = [np.array([np.square(B[:, place]).sum(axis=1) for place in parts]) for B in (own, random, matched)]
    assert np.abs(energies[2] - energies[0]).max() < 5e-7  # of 1, in each array and direction; float32
    assert np.abs(energies[1] - energies[0]).max() > 0.05


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(4, 40), min_size=1, max_size=5), K=st.integers(1, 4), seed=st.integers(0, 99))
def test_matched_directions_are_orthonormal_and_of_the_energies_wanted(sizes: list[int], K: int, seed: int) -> None:
    """Setting energies and then QR, which is shorter, misses them."""
    stream, ends = np.random.default_rng(seed), np.cumsum(sizes)
    places = [slice(int(end) - size, int(end)) for size, end in zip(sizes, ends, strict=True)]
    scale = np.repeat(10 ** stream.uniform(-1, 0, len(sizes)), sizes)
    B = orthonormal(scale[:, None] * stream.standard_normal((sum(sizes), K)))
    R = _matched(B, places, stream)
    assert np.allclose(R.T @ R, np.eye(K), atol=1e-12)
    assert np.abs(_energies(R, places) - _energies(B, places)).max() <= MATCHED


def test_energies_that_are_set_before_a_qr_are_not_kept() -> None:
    stream, places = np.random.default_rng(0), [slice(0, 20), slice(20, 60)]
    B = orthonormal(np.repeat([3.0, 1.0], [20, 40])[:, None] * stream.standard_normal((60, 4)))
    R = stream.standard_normal((60, 4))
    for place in places:
        R[place] *= np.linalg.norm(B[place], axis=0) / np.linalg.norm(R[place], axis=0)
    assert np.abs(_energies(orthonormal(R), places) - _energies(B, places)).max() > 0.01


def test_an_array_that_does_not_move_stays_so_in_a_matched_plane() -> None:
    stream, places = np.random.default_rng(0), [slice(0, 20), slice(20, 60)]
    B = np.zeros((60, 3))
    B[20:] = orthonormal(stream.standard_normal((40, 3)))
    R = _matched(B, places, stream)
    assert not R[:20].any()
    assert np.allclose(R.T @ R, np.eye(3))


def test_a_plane_once_built_needs_no_source(tmp_path: Path, top: Path) -> None:
    shutil.copytree(top / "source", tmp_path / "source")
    run = intervened(tmp_path, "run")
    B = plane_of(run)
    shutil.rmtree(tmp_path / "source")
    assert np.array_equal(plane_of(run), B)
    arrays, note = read_arrays(run.folder / FILE)
    write_arrays(run.folder / FILE, arrays, note | {"config_hash": "another"})
    with pytest.raises(RunFolderError, match=r"plane\.safetensors as this run wrote it"):
        plane_of(run)


def test_the_direction_of_theta_and_no_arm_need_no_source(tmp_path: Path) -> None:
    assert plane_of(create(tmp_path / "a", with_values(CONFIG, {"intervention.arm": "norm"}))) is None
    assert plane_of(create(tmp_path / "b", CONFIG)) is None


@pytest.mark.parametrize(
    ("changes", "values", "words"),
    [
        ({}, {"source": "nowhere"}, "the folder of a run"),
        ({"model.width": 6}, {}, "this run's model"),
        ({"task.p": 7}, {}, "this run's task"),
        ({"init.identical_blocks": False}, {}, "this run's init"),
        ({"seed": 7}, {}, "a source run of seed 7"),
        ({}, {"basis": "other_seed"}, "another seed than 42"),
        ({}, {"rank": 13}, "at least 14 snapshots up to step 12"),
        ({}, {"basis": "past", "start": 1}, "at least 2 snapshots up to step 0"),
    ],
)
def test_a_source_that_does_not_fit_is_an_error(
    top: Path, changes: dict[str, object], values: dict[str, object], words: str
) -> None:
    run = intervened(top, config=with_values(CONFIG, changes), **values)
    with pytest.raises(MinigrokError, match=words):
        plane_of(run)
    assert not (run.folder / FILE).exists()


def test_a_source_that_has_not_grokked_is_an_error_but_for_its_past(top: Path) -> None:
    source(top / "short", CONFIG, 6)
    config = with_values(CONFIG, {"intervention.arm": "deletion", "intervention.source": "short"})
    with pytest.raises(RunFolderError, match="has not grokked add, mul"):
        find_source(config, top)
    past = with_values(config, {"intervention.arm": "past", "intervention.start": 4})
    assert find_source(past, top).folder == top / "short"


def test_settings_that_change_no_plane_are_free(top: Path) -> None:
    config = with_values(CONFIG, {"train.max_steps": 99, "train.eval_every": 5, "optimiser.weight_decay": 0.5})
    assert plane_of(intervened(top, config=config)) is not None
    assert Intervention().plane == ""
    with pytest.raises(ConfigError):
        with_values(CONFIG, {"intervention.source": "source", "intervention.arm": "removal", "intervention.dose": 2})
