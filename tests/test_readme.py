"""README.md cannot drift: its tables equal the registries, its code runs, its links lead somewhere."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from minigrok_cli.main import main

from minigrok.analyses import ANALYSES
from minigrok.info import presets
from minigrok.layers import LAYERS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL = re.findall(r"^```sh.*?\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PYTHON = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def rows(name):
    """Rows of the table after the comment <!-- table: name -->, without its head."""
    table = README.partition(f"<!-- table: {name} -->\n")[2].partition("\n\n")[0]
    assert table, f"README.md has no table {name}"
    return table.splitlines()[2:]


def row(*cells):
    return f"| {' | '.join(cells)} |"


def test_layers_are_the_registry():
    files = {layer.name: f"minigrok/layers/{layer.name}.py" for layer in LAYERS}
    expected = [row(x.name, f"[{files[x.name]}]({files[x.name]})", f"`{x.forward}`") for x in LAYERS]
    assert rows("layers") == expected


def test_analyses_are_the_registry():
    links = {name: f"[{name}](minigrok/analyses/{name}.py)" for name in ANALYSES}
    assert rows("analyses") == [row(links[name], x.question, x.source) for name, x in ANALYSES.items()]


def test_presets_are_the_registry():
    expected = [row(f"`{x['name']}`", f"{x['parameters']:,}", x["description"]) for x in presets()]
    assert rows("presets") == expected


def test_commands_are_those_of_the_command_line():
    helps = {name: command.get_short_help_str(limit=200) for name, command in main.commands.items()}
    assert rows("commands") == [row(f"`minigrok {name}`", text) for name, text in helps.items()]


def test_every_runtime_dependency_has_its_reason():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {re.split("[<>=!~ ]", requirement)[0] for requirement in project["dependencies"]}
    reasons = [line.strip("| ").split(" | ") for line in rows("dependencies")]
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
