"""The pages cannot drift: their tables equal the registries, their code runs, what they link and name is there."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from minigrok_cli.help import first_sentence, pages
from minigrok_cli.main import main

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "minigrok" / "docs"
README, ARCHITECTURE = ROOT / "README.md", ROOT / "ARCHITECTURE.md"
FINDINGS = ROOT / "reference_outputs" / "FINDINGS.md"
BEYOND = ROOT / "reference_outputs" / "BEYOND.md"
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in (README, *sorted(DOCS.glob("*.md")))}
ALL_TEXTS = TEXTS | {path.name: path.read_text(encoding="utf-8") for path in (ARCHITECTURE, FINDINGS, BEYOND)}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

sys.path.insert(0, str(ROOT / ".ci"))
import tables  # noqa: E402

GENERATED = tables.tables()
BY_HAND = {"accuracy", "dependencies", "extras"}  # each has a test of its own below
SIMULATED = {"calibration", "power"}  # by .ci/calibration.py: tests/calibration/test_calibration.py


# --- tables ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", TEXTS)
def test_tables_are_the_registries(page):
    """If not: python .ci/tables.py writes them anew."""
    for name in set(tables.names(TEXTS[page])) - BY_HAND - SIMULATED:
        assert tables.rows(TEXTS[page], name) == GENERATED[name]


def test_every_table_stands_on_a_page():
    assert {name for text in TEXTS.values() for name in tables.names(text)} == set(GENERATED) | BY_HAND | SIMULATED
    assert all(GENERATED.values())


def test_a_table_that_drifted_is_seen_and_mended():
    page = TEXTS["layers.md"]
    broken = page.replace("`y = x W^T + b`", "`y = W x`")
    assert tables.rows(broken, "layers") != GENERATED["layers"]
    assert tables.rewritten(broken) == page


def test_the_accuracy_table_keeps_the_limits_that_the_tests_assert():
    """If not: python .ci/accuracy_table.py --write measures it anew."""
    accuracy = pytest.importorskip("accuracy", reason="needs PyTorch: install the extra [oracle]", exc_type=ImportError)
    page = TEXTS["accuracy.md"]
    rows = cells(page, "accuracy")
    assert [row[0] for row in rows] == list(accuracy.LIMITS)
    for dtype, *numbers in rows:
        for number, limit in zip(numbers, accuracy.LIMITS[dtype].values(), strict=True):
            assert limit / 30 < float(number) <= limit / 2, (dtype, number)
    head = page[: page.index("| " + " | ".join(rows[0]))].splitlines()[-2]
    assert head == "| dtype | " + " | ".join(accuracy.COLUMNS) + " |"


def cells(page, name):
    return [line.strip("| ").split(" | ") for line in tables.rows(page, name)]


def test_every_runtime_dependency_has_its_reason():
    needed = {re.split("[<>=!~ ]", requirement)[0] for requirement in PROJECT["project"]["dependencies"]}
    assert {package for package, _ in cells(TEXTS["dependencies.md"], "dependencies")} == needed


def test_every_extra_says_what_for():
    extras = {f"`{extra}`" for extra in PROJECT["project"]["optional-dependencies"]}
    assert {extra for extra, _ in cells(TEXTS["dependencies.md"], "extras")} == extras


# --- blocks ----------------------------------------------------------------------------------------------


def block(*name):
    script = [sys.executable, ROOT / ".ci" / "blocks.py", *name]
    return subprocess.run(script, capture_output=True, text=True, check=True).stdout


def test_the_two_commands_are_one_line_each_and_start_from_nothing():
    first, second = block("install-and-train"), block("install-and-test")
    assert first == "python3 -m venv .venv && .venv/bin/pip install -q . && .venv/bin/minigrok train dual\n"
    assert second == ".venv/bin/pip install -q '.[test,oracle]' && .venv/bin/pytest -n 2 --dist loadfile\n"


def test_ci_runs_every_shell_block():
    named = ("install-and-train", "install-and-test", "audit-your-own-model")
    extracted = "".join(map(block, named)) + block()
    written = [x for text in TEXTS.values() for x in re.findall(r"^```sh.*?\n(.*?)^```$", text, re.M | re.S)]
    assert sorted(extracted.splitlines()) == sorted("".join(written).splitlines())


PYTHON = {  # page -> what its block prints
    "README.md": r"(\d+ \[.*\]\n){3}",
    "python.md": r"curvature along the gradient: -?\d+\.\d+\n",
}


@pytest.mark.parametrize("page", PYTHON)
def test_python_blocks_run(page, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(python_block(page), page, "exec"), {})
    assert re.fullmatch(PYTHON[page], capsys.readouterr().out)


def python_block(page):
    (text,) = re.findall(r"^```python\n(.*?)^```$", TEXTS[page], re.M | re.S)
    return text


def test_every_python_block_is_run():
    assert {page for page, text in TEXTS.items() if "```python" in text} == set(PYTHON)


def test_the_python_of_the_readme_is_under_ten_lines():
    assert len([line for line in python_block("README.md").splitlines() if line]) < 10


# --- links and names -------------------------------------------------------------------------------------


def links(text: str) -> list[tuple[str, str]]:
    """Words and target of every link that leads to a file."""
    found = re.findall(r"\[([^\]]*)\]\(([^)#]+)[^)]*\)", text)
    return [(words, target) for words, target in found if "://" not in target]


@pytest.mark.parametrize("path", [README, ARCHITECTURE, FINDINGS, BEYOND], ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    found = links(path.read_text(encoding="utf-8"))
    assert found
    assert [target for _, target in found if not (path.parent / target).exists()] == []


def lost_links(page: str) -> list[str]:
    """Links of a page that would not make sense without a checkout: all but those to other pages."""
    fine = {(f"`minigrok help {topic}`", f"{topic}.md") for topic in pages()}
    return [target for words, target in links(page) if (words, target) not in fine]


@pytest.mark.parametrize("topic", pages())
def test_pages_link_pages_alone_as_the_command_that_shows_them(topic):
    assert lost_links(pages()[topic]) == []


def test_other_links_are_seen():
    page = "[`minigrok help gpu`](gpu.md) [gpu](gpu.md) [`minigrok help no`](no.md) [x](../layers/gelu.py) [y](https://a.b)"
    assert lost_links(page) == ["gpu.md", "no.md", "../layers/gelu.py"]


def unknown_names(text: str) -> list[str]:
    """Modules and repository files that a text names in backticks, and that are not there."""
    spans = re.findall(r"`([^`\n]+)`", text)
    modules = [re.sub(r"(\.[A-Z]\w*)+$", "", x) for x in spans if re.fullmatch(r"minigrok(\.\w+)+", x)]
    files = [x for x in spans if re.fullmatch(r"(minigrok|cli|tests|reference_outputs|\.ci)/[\w./-]+", x)]
    return [x for x in modules if not is_module(x)] + [x for x in files if not (ROOT / x).exists()]


def is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize("page", TEXTS)
def test_no_code_is_broken_over_two_lines(page):
    """The checks below would not see it."""
    assert [line for line in TEXTS[page].splitlines() if line.replace("```", "").count("`") % 2] == []


@pytest.mark.parametrize("page", ALL_TEXTS)
def test_modules_and_files_that_are_named_exist(page):
    assert unknown_names(re.sub(r"minigrok\.analyses\.NAME|minigrok/docs/\*\.md", "", ALL_TEXTS[page])) == []


def test_a_wrong_name_is_seen():
    good = "`minigrok.layers.gelu` `minigrok.network.objective.Objective` `tests/layers`"
    assert unknown_names(f"{good} `minigrok.objective` `tests/none.py`") == ["minigrok.objective", "tests/none.py"]


def calls(text: str) -> Iterator[list[str]]:
    """Words of every call of minigrok in a text: in code spans, and in the lines of blocks."""
    spans, blocks = re.findall(r"`([^`\n]+)`", text), re.findall(r"^```(?:sh|text).*?\n(.*?)^```$", text, re.M | re.S)
    for line in spans + "".join(blocks).splitlines():
        for call in re.findall(r"(?:^|&& |KILL \d+ )(?:\.venv/bin/)?minigrok ([a-z][^#|&]*)", line):
            yield re.split(r"\s{2,}", call)[0].split()


def wrong_calls(text: str) -> list[str]:
    """Calls whose command, or one of whose options, minigrok does not have."""
    wrong = []
    for name, *words in calls(text):
        command = main.commands.get(name)
        if isinstance(command, click.Group) and words:
            command = command.commands.get(words.pop(0))
        known = {"-h", "--help"} | {option for x in command.params for option in x.opts} if command else set()
        if not command or any(word not in known for word in words if word.startswith("-")):
            wrong.append(" ".join([name, *words]))
    return wrong


@pytest.mark.parametrize("page", ALL_TEXTS)
def test_commands_and_options_that_are_named_exist(page):
    assert wrong_calls(ALL_TEXTS[page]) == []


def test_a_wrong_command_or_option_is_seen():
    good = "`minigrok train tiny --set a=1`, `minigrok reference check`"
    text = f"{good} `minigrok trian`\n```sh\nx && .venv/bin/minigrok train --sed 1 && y\n```\n`minigrok reference chek`"
    assert wrong_calls(text) == ["trian", "reference", "train --sed 1"]
    assert len(list(calls("".join(TEXTS.values())))) > 40


# --- pages -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topic", pages())
def test_a_page_says_first_what_it_is_about(topic):
    heading, _, rest = pages()[topic].partition("\n\n")
    assert re.fullmatch(r"# [A-Z].+", heading)
    assert not re.match(r"[#<`|]{2,}|```", rest)
    assert 20 < len(first_sentence(pages()[topic])) < 140


def test_no_topic_is_a_command():
    assert set(pages()).isdisjoint(main.commands)


def test_the_pages_are_in_the_package():
    assert "docs/*.md" in PROJECT["tool"]["setuptools"]["package-data"]["minigrok"]
    assert sorted(pages()) == sorted(path.stem for path in DOCS.glob("*.md"))


def test_the_readme_is_short():
    assert len(TEXTS["README.md"].splitlines()) <= 185


# --- the floor plan --------------------------------------------------------------------------------------


def missing(plan: str) -> list[str]:
    """Packages and modules on the first floor of minigrok that a plan does not name."""
    floor = [x.name + "/" * x.is_dir() for x in (ROOT / "minigrok").iterdir() if x.suffix == ".py" or is_package(x)]
    return [name for name in floor if not re.search(rf"^ .*\b{re.escape(name)}", plan, re.M) and name != "__init__.py"]


def is_package(path: Path) -> bool:
    return (path / "__init__.py").exists()


def test_the_floor_plan_has_every_room():
    plan = re.search(r"^## Folders\n\n```text\n(.*?)^```", ALL_TEXTS["ARCHITECTURE.md"], re.M | re.S)[1]
    assert missing(plan) == []
    assert missing(plan.replace("geometry/", "topology/")) == ["geometry/"]
