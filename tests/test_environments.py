"""The environments that are shipped as files: the reference's, and the oldest that is supported."""

import json
import tomllib
from pathlib import Path

TOP = Path(__file__).parents[1]
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]


def pinned(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return dict(line.split("==") for line in lines)


def test_the_constraints_are_the_environment_of_the_references() -> None:
    kept = pinned(TOP / "reference_outputs" / "constraints.txt")
    for path in TOP.glob("reference_outputs/*/environment.json"):
        assert json.loads(path.read_text())["packages"] == kept, path


def test_the_oldest_environment_is_what_the_project_allows() -> None:
    oldest = pinned(TOP / ".ci" / "oldest.txt")
    needs = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]]
    for name, lowest in (need.split(">=") for need in needs):
        found = oldest[name].split(".")
        assert found[: len(lowest.split("."))] == lowest.split("."), name
    assert PROJECT["requires-python"] == ">=3.11"
