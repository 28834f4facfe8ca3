"""`minigrok bench` as a stranger types it."""

import json
import os
from pathlib import Path

import fakes
import pytest
from click.testing import CliRunner
from minigrok_cli.main import main

from minigrok.config import to_toml


def test_without_a_peer_it_says_so_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setattr("minigrok.bench.settings.find_spec", lambda package: package == "minigrok")
    config, kept = tmp_path / "small.toml", tmp_path / "kept" / "bench.json"
    config.write_text(to_toml(fakes.SMALL))
    sizes = ["--config", str(config), "--threads", "1", "--bursts", "1", "--seconds", "0"]
    result = CliRunner().invoke(main, ["bench", "eval", *sizes, "--peers", "eager, jax-tuned", "--json", str(kept)])
    assert result.exit_code == 0, result.output
    assert "not installed (pip install torch==2.13.0)" in result.stdout
    assert "eval: 100%  done" in result.stderr
    report = json.loads(kept.read_text())
    rows = {row["contender"]: row for row in report["sections"]["eval"]}
    assert rows["minigrok"]["median_ms"] > 0
    assert rows["jax-tuned"]["error"] == "not installed (pip install jax==0.10.2)"
    assert report["environment"]["cpus"]


@pytest.mark.parametrize("kind", ["pipe", "link", "folder", "below a file"])
def test_a_place_that_cannot_take_the_numbers_is_refused_before_they_are_measured(tmp_path: Path, kind: str) -> None:
    """A device or a link, such as /dev/stdout, would be replaced by a file."""
    place = tmp_path / "place"
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "link":
        place.symlink_to(tmp_path / "elsewhere")
    elif kind == "folder":
        place.mkdir()
    else:
        place.write_text("")
        place /= "bench.json"
    result = CliRunner().invoke(main, ["bench", "startup", "--json", str(place)])
    assert result.exit_code == 2
    assert "  do: " in result.stderr
    assert "about" not in result.stderr
