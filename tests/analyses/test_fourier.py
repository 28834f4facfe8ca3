"""Networks and logits whose characters are known: what was planted is found, and nothing is found where nothing is."""

import numpy as np
import pytest
from synthetic_runs import make, rises, walk

from minigrok.analyses.base import Work
from minigrok.analyses.fourier import analysis, measure
from minigrok.analyses.fourier.figure import figure
from minigrok.analyses.fourier.measure import Judge, Reader
from minigrok.analyses.fourier.result import KINDS, Settings
from minigrok.analyses.fourier.table import table
from minigrok.config import preset, with_settings
from minigrok.geometry import characters
from minigrok.layers import gelu, linear
from minigrok.network import model
from minigrok.network.params import initial
from minigrok.network.passes import evaluation

SMALL = ["task.p=13", "model.width=16", "model.heads=2", "model.mlp_width=24"]
PAPER = ["task.p=97", 'task.operations=["add", "mul", "sq"]', "model.width=8", "model.heads=2", "model.mlp_width=8"]
KEYS = np.array([3, 17, 40])


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """Return the paper's pairs, split and classes."""
    return Reader(make(tmp_path_factory.mktemp("runs") / "a", settings=PAPER))


def waves(N, g):
    """Return cos and sin of the keys at g (M,)."""
    return np.concatenate([[np.cos(2 * np.pi * k * g / N), np.sin(2 * np.pi * k * g / N)] for k in KEYS]).T


def found_keys(F, coordinate, p, rng, draws=50):
    """Return the keys of a family by the rule of the analysis."""
    null = {"random f/x": measure.random_spectra(F, coordinate, draws, rng)}
    null["shares f/x"] = measure.spectrum(F, coordinate, KEYS[:0])["shares"]
    return analysis._keys([("f", "x")], null, p)["f", "x"]


@pytest.mark.parametrize(("task", "by", "other"), [
    ("add", "answer", "log answer"), ("mul", "log answer", "answer"), ("sq", "answer", "log answer"),
    ("sq", "log answer", "answer"),
])  # fmt: skip
def test_a_planted_circuit_is_found_in_its_group_and_its_keys_alone_solve_the_task(reader, task, by, other, rng):
    k, coordinates = reader.tasks.index(task), reader.coordinates[f"logits {task}"]
    N, inside = coordinates[by].order, coordinates[by].inside
    c = np.arange(97) if by == "answer" else characters.logarithms(97)
    F = np.where(inside[:, None], waves(N, coordinates[by].values) @ waves(N, c).T, 0)
    F[:, 0] *= by == "answer"  # 0 has no logarithm
    assert found_keys(F, coordinates[by], 97, rng).tolist() == KEYS.tolist()
    assert found_keys(F, coordinates[other], 97, rng).tolist() == []
    judge = Judge(reader.engine, reader.data)
    share, scores = judge.split(k, 20 * F, coordinates[by], measure.waves(coordinates[by], KEYS))
    full, restricted, excluded = dict(zip(KINDS, scores, strict=True)).values()
    assert share == pytest.approx(1)
    assert restricted == pytest.approx(full, abs=1e-8)
    assert full[1].min() == 1 if inside.all() else full[1].min() > 0.97  # no character at answer 0
    assert excluded[1].max() < 0.05
    random = judge.random(k, 20 * F, coordinates[by], 3, 5, rng)
    assert (random[:, 1, 0, 1] > 10 * full[0, 1] + 0.1).all()


def test_a_planted_embedding_shows_in_its_groups_and_in_no_other(reader, rng):
    coordinates = reader.coordinates["embedding"]
    F = np.hstack([waves(97, coordinates["a"].values), waves(96, coordinates["log a"].values)])
    F = F @ np.linalg.qr(rng.standard_normal((128, 12)))[0].T + 0.05 * rng.standard_normal((96, 128))
    keys = {by: found_keys(F, each, 97, rng).tolist() for by, each in coordinates.items()}
    assert keys == {"a": KEYS.tolist(), "log a": KEYS.tolist(), "a^2": []}
    spans = {by: measure.token_span(each, np.array(keys[by], np.int64)) for by, each in coordinates.items()}
    assert [Q.shape[1] for Q in spans.values()] == [6, 6, 0]
    alone = [measure.explained(F, Q) for Q in (spans["a"], spans["log a"], measure.joined(spans))]
    assert alone[0] < 0.6 > alone[1]
    assert alone[2] > 0.95


def test_an_even_embedding_has_no_keys_but_would_have_them_in_bases_that_mix_even_and_odd(reader, rng, monkeypatch):
    coordinate, f = reader.coordinates["embedding"]["log a"], rng.standard_normal((97, 128))
    a = reader.tokens
    F = f[a] + f[97 - a]
    assert found_keys(F, coordinate, 97, rng).tolist() == []
    monkeypatch.setattr(measure.bases, "__defaults__", (characters.random_bases,))
    assert len(found_keys(F, coordinate, 97, rng)) > 10


def test_a_random_embedding_has_keys_in_few_draws(rng):
    coordinate = characters.Coordinate(np.arange(1, 23), 23)
    found = [found_keys(rng.standard_normal((22, 8)), coordinate, 23, rng, 39) for _ in range(100)]
    assert sum(len(keys) > 0 for keys in found) <= 8  # 2.5 expected


@pytest.mark.parametrize("kind", ["a, b", "log a, log b", "log u, log v"])
def test_planted_units_are_of_one_frequency_in_their_coordinate_alone(reader, kind):
    coordinates = reader.coordinates["L0 neurons"]
    N, inside = coordinates[kind].order, coordinates[kind].inside
    s, t = (waves(N, x) for x in np.divmod(coordinates[kind].values, N))
    F = np.maximum(s + t, 0) * inside[:, None]  # what a ReLU makes of one frequency
    for by, coordinate in coordinates.items():
        best = measure.spectrum(F, coordinate, KEYS)["best"]
        assert best.min() > 0.85 if by == kind else best.max() < 0.15


def test_families_are_what_the_network_computes_at_position_0(tmp_path):
    run = make(tmp_path / "a", settings=SMALL)
    reader, theta = Reader(run), initial(run.config).astype(np.float64)
    found, net = reader(theta), reader.activations.net
    engine = net.engines[0]
    engine.rewind()
    plan = model.plan(run.config, reader.data.tokens[:5], savings=False)
    logits, tape = model.forward(engine, net.w, plan)
    for i, (attend, mlp) in enumerate(tape.blocks):
        assert found[f"L{i} attention"][:5] == pytest.approx(attend.attention.p[:, :, 0, 0])
        h, _ = linear.forward(engine, net.w.blocks[i][1].up, mlp.up)
        g, _ = gelu.forward(engine, h)
        assert found[f"L{i} neurons"][:5] == pytest.approx(g[::2])
        p, kv = attend.attention.p, attend.attention.kv
        mixed = (p[:, :, 0, :, None] * kv[:, :, 1].transpose(0, 2, 1, 3)).sum(axis=2)  # (B, H, K)
        assert found[f"L{i} head outputs"][:5] == pytest.approx(mixed.reshape(5, -1))
    for task, x in zip(reader.tasks, logits, strict=True):
        assert found[f"logits {task}"][:5] == pytest.approx(x - x.mean(axis=1, keepdims=True))


def test_scores_in_full_are_those_of_an_evaluation(tmp_path):
    run = make(tmp_path / "a", settings=SMALL)
    reader, theta = Reader(run), initial(run.config).astype(np.float64)
    judge, families = Judge(reader.engine, reader.data), reader(theta)
    seen = np.stack([judge(k, families[f"logits {task}"]) for k, task in enumerate(reader.tasks)])
    for n, rows in enumerate((reader.data.train, reader.data.test)):
        scores = evaluation(reader.activations.net, *reader.data.of(rows)).scores()
        assert seen[:, 0, n] == pytest.approx(scores.loss)
        assert seen[:, 1, n] == pytest.approx(scores.accuracy)


def result_of(tmp_path, settings=(), draws=40, steps=(0, 100, 200)):
    """Return the result of a run without structure."""
    settings = [*SMALL, *settings]
    config = with_settings(preset("tiny"), settings)
    tests = [rises(5)] * len(config.task.operations)
    run = make(tmp_path / "a", tests, settings=settings, thetas=walk(config, steps))
    return analysis.compute([run], Settings(draws=draws), Work())


def test_energies_of_a_whole_run_are_shares(tmp_path):
    result = result_of(tmp_path)
    for each in result.spectra:
        assert each.shares.min() >= 0
        assert (each.shares.sum(axis=1) <= each.inside + 1e-9).all()
        assert each.inside.max() <= 1 + 1e-9
    inside = {each.by: each.inside for each in result.spectra if each.what == "embedding"}
    assert inside["a"] == pytest.approx(1)
    assert inside["log a"] == pytest.approx(1)
    assert len(figure(result).axes) == 3 + 3 + 2 * 4  # embedding, one block, two tasks
    assert len({tuple(row) for row in table(result)}) == 1


def test_where_minus_one_has_no_root_it_says_so(tmp_path):
    result = result_of(tmp_path, ["task.p=7"])
    assert "log u, log v" not in {each.by for each in result.spectra}
    assert table(result)[-1]["says"] == characters.NO_ROOT
    assert not result_of(tmp_path / "b").says


def test_too_few_draws_have_no_band_and_no_keys(tmp_path):
    result = result_of(tmp_path, draws=38)
    assert all(len(each.keys) == 0 and np.isnan(each.random_largest[1:]).all() for each in result.spectra)
    assert not result.mixed
    assert all(row["random low"] is None for row in table(result))


@pytest.mark.parametrize("same", [True, False])
def test_channels_that_serve_both_coordinates_or_one_are_told_apart(same, rng):
    x = np.abs(rng.standard_normal((2, 60))) * (np.arange(60) < 30)
    names = [("L0 neurons", "a, b"), ("L0 neurons", "log a, log b")]
    parts = {"/".join(names[0]): x, "/".join(names[1]): x if same else np.roll(x, 30, axis=1)}
    parts = {f"in keys {name}": energy for name, energy in parts.items()}
    (mixed,) = analysis._mixed(names, dict.fromkeys(names, KEYS), parts, 60, rng)
    assert mixed.cosine == pytest.approx(1 if same else 0)
    assert mixed.cosine[-1] > mixed.random[2] if same else mixed.cosine[-1] < mixed.random[1]
