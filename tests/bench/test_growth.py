"""Every axis changes one size and leaves the others; the figure shows every point."""

from typing import Any

import fakes
import pytest

from minigrok.bench import growth as module
from minigrok.bench.figure import growth_figure
from minigrok.bench.growth import axes, growth
from minigrok.bench.rounds import Entry
from minigrok.bench.settings import PEERS, Progress, Settings
from minigrok.engine.threads import available_threads

AXES = {axis.label: axis for axis in axes(1)}


def changed(label: str, value: int) -> dict[str, tuple[Any, Any]]:
    """Return settings of the configuration that an axis changes, {name: (before, after)}."""
    start = fakes.settings()
    after = AXES[label].change(start, value)
    assert (after.bursts, after.peers) == (start.bursts, start.peers)
    sections = ("task", "model", "train", "compute", "optimiser", "init")
    pairs = [(s, getattr(start.config, s), getattr(after.config, s)) for s in sections]
    return {
        f"{s}.{name}": getattr(b, name)
        for s, a, b in pairs
        for name in a.__dataclass_fields__
        if getattr(a, name) != getattr(b, name)
    }


def test_an_axis_changes_its_size_only() -> None:
    assert changed("batch size B", 64) == {"train.batch_size": 64}
    assert changed("width D (F = 2 D)", 32) == {"model.width": 32, "model.mlp_width": 64}
    assert changed("blocks L", 8) == {"model.blocks": 8}
    assert changed("modulus p", 23) == {"task.p": 23}
    assert changed("shards", 4) == {"compute.shards": 4}
    assert changed("L at D = 512", 4) == {"model.width": 512, "model.mlp_width": 1024, "model.blocks": 4}


@pytest.mark.parametrize(("n", "values"), [(1, (1,)), (2, (1, 2)), (6, (1, 2, 4, 6)), (8, (1, 2, 4, 8))])
def test_threads_double_up_to_all(n: int, values: tuple[int, ...]) -> None:
    assert {axis.label: axis.values for axis in axes(n)}["threads"] == values


def test_threads_do_not_change_the_shards() -> None:
    n = available_threads()
    axis = {axis.label: axis for axis in axes(n)}["threads"]
    points = [axis.change(fakes.settings(threads=n), value) for value in axis.values]
    assert [point.threads for point in points] == list(axis.values)
    assert {point.config.compute.shards for point in points} == {max(n, fakes.SMALL.compute.shards)}


def test_every_value_is_measured_with_pytorch_eager_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def measure(entries: list[Entry], settings: Settings, progress: Progress) -> list[dict[str, Any]]:
        seen.append((settings.config.model.blocks, settings.bursts, settings.seconds))
        return [{"contender": entry.contender} for entry in entries]

    monkeypatch.setattr(module, "measure", measure)
    settings = fakes.settings(peers=PEERS, bursts=9, seconds=5.0)
    points = growth(settings, lambda *_: None, [AXES["blocks L"]])
    assert [(point["axis"], point["value"]) for point in points] == [("blocks L", L) for L in (1, 2, 4, 8)]
    assert seen == [(L, module.BURSTS, module.SECONDS) for L in (1, 2, 4, 8)]
    assert points[0]["rows"] == [{"contender": "minigrok"}, {"contender": "eager"}]


def point(axis: str, value: int) -> dict[str, Any]:
    row = {"contender": "minigrok", "label": "minigrok", "median_ms": 2.0 * value, "peak_bytes": 1e8 + value}
    peer = {"contender": "eager", "label": "PyTorch eager", "median_ms": 7.0 * value, "peak_bytes": 5e8}
    missing = {"contender": "jax", "label": "JAX jit", "error": "not installed"}
    return {"axis": axis, "value": value, "rows": [row, peer, missing]}


def test_the_figure_has_a_line_a_contender_through_every_point() -> None:
    points = [point("blocks L", L) for L in (1, 2, 4)] + [point("threads", 1)]
    time, memory = growth_figure(points).axes
    lines = {line.get_label(): line.get_xydata() for line in time.lines}
    assert lines["minigrok"].tolist() == [[1, 2], [2, 4], [4, 8]]
    assert lines["PyTorch eager"].tolist() == [[1, 7], [2, 14], [4, 28]]
    assert len(lines) == 2
    assert [line.get_ydata()[0] for line in memory.lines] == pytest.approx([100.000001, 500])
    assert (time.get_ylabel(), memory.get_xlabel()) == ("training step (ms)", "blocks L")
    assert [tick.get_text() for tick in time.get_xticklabels()] == ["1", "2", "4"]
    assert "MB" in memory.get_ylabel()
