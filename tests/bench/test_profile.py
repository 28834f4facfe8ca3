"""The profile names every kernel of a step once, and counts the products' operations."""

import fakes

from minigrok.bench.profile import profile
from minigrok.bench.report import table


def test_the_calls_of_a_step() -> None:
    settings, said = fakes.settings(), []
    rows = profile(settings, lambda done, total, words: said.append(done / total))
    assert said[-1] == 1
    names = [row["kernel"] for row in rows]
    assert len(names) == len(set(names))
    assert {"matrix products", "attention.backward", "gelu.forward", "AdamW", "gradient norm"} < set(names)
    assert [row["ms"] for row in rows] == sorted((row["ms"] for row in rows), reverse=True)
    assert abs(sum(row["share"] for row in rows) - 1) < 1e-12
    assert [row["kernel"] for row in rows if row["flop"]] == ["matrix products"]
    text = table("profile", rows, {"threads": 1, "bursts": 1, "seconds": 1.0, "loaded": False})
    assert len(text.rows) == len(rows)
    assert text.note.endswith("ms in all, on one thread")
