"""README.md cannot drift: its tables equal the registries, its code runs, its links lead somewhere."""

import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL = re.findall(r"^```sh.*?\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PYTHON = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


tables = runpy.run_path(str(ROOT / ".ci" / "readme_tables.py"))


@pytest.mark.parametrize("name", tables["tables"]())
def test_tables_are_the_registries(name):
    """If not: python .ci/readme_tables.py writes them anew."""
    assert tables["rows"](README, name) == tables["tables"]()[name]


def test_the_accuracy_table_keeps_the_limits_that_the_tests_assert():
    """If not: python .ci/accuracy_table.py --write measures it anew."""
    accuracy = pytest.importorskip("accuracy", reason="needs PyTorch: install the extra [oracle]", exc_type=ImportError)
    rows = [line.strip("| ").split(" | ") for line in tables["rows"](README, "accuracy")]
    assert [row[0] for row in rows] == list(accuracy.LIMITS)
    for dtype, *cells in rows:
        for cell, limit in zip(cells, accuracy.LIMITS[dtype].values(), strict=True):
            assert limit / 30 < float(cell) <= limit / 2, (dtype, cell)
    head = README[: README.index("| " + " | ".join(rows[0]))].splitlines()[-2]
    assert head == "| dtype | " + " | ".join(accuracy.COLUMNS) + " |"


def test_every_runtime_dependency_has_its_reason():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {re.split("[<>=!~ ]", requirement)[0] for requirement in project["dependencies"]}
    reasons = [line.strip("| ").split(" | ") for line in tables["rows"](README, "dependencies")]
    assert {package for package, _ in reasons} == needed


def block(*name):
    script = [sys.executable, ROOT / ".ci" / "readme_blocks.py", *name]
    return subprocess.run(script, capture_output=True, text=True, check=True).stdout


def test_the_two_commands_are_one_line_each_and_start_from_nothing():
    first, second = block("install-and-train"), block("install-and-test")
    assert first == "python3 -m venv .venv && .venv/bin/pip install -q . && .venv/bin/minigrok train dual\n"
    assert second == ".venv/bin/pip install -q '.[test,oracle]' && .venv/bin/pytest\n"


def test_ci_runs_every_shell_block():
    extracted = block("install-and-train") + block("install-and-test") + block()
    assert sorted(extracted.splitlines()) == sorted("".join(SHELL).splitlines())


@pytest.mark.parametrize("text", PYTHON)
def test_python_blocks_run(text, capsys):
    exec(compile(text, "README.md", "exec"), {})
    assert re.fullmatch(r"curvature along the gradient: -?\d+\.\d+\n", capsys.readouterr().out)


def test_links_lead_somewhere():
    links = {link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link}
    missing = [link for link in links if not (ROOT / link).exists()]
    assert [link for link in missing if not link.startswith("reference_outputs/")] == []
