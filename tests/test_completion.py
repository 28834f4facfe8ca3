"""Names that a shell completes: the script is printed for each shell, and every registry answers."""

import subprocess

import pytest
from click.testing import CliRunner
from minigrok_cli.main import main

from minigrok.analyses import ANALYSES
from minigrok.config import keys, preset_names


def completed(words: str) -> list[str]:
    """What the shell would offer for the last of the words."""
    parts = words.split(" ")
    environment = {"_MINIGROK_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(parts) - 1)}
    found = CliRunner(env=environment).invoke(main, prog_name="minigrok")
    return [line.partition(",")[2] for line in found.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("minigrok fig", ["figure", "figures"]),
        ("minigrok train ", preset_names()),
        ("minigrok train dual --set ", [f"{key}=" for key in keys()]),
        ("minigrok train dual --engine c", ["cpu", "cuda"]),
        ("minigrok sweep paper-", ["paper-dual", "paper-tri"]),
        ("minigrok analyse ", ["all", *ANALYSES]),
        ("minigrok analyse gram runs/x --set w", ["window="]),
        ("minigrok analyse nonsense runs/x --set ", []),
        ("minigrok intervene runs/x --arm rem", ["removal"]),
        ("minigrok figure 16", ["16a", "16b"]),
        ("minigrok help run", ["run-folder"]),
        ("minigrok bench s", ["startup", "step"]),
        ("minigrok reference check dual_d", ["dual_decay"]),
    ],
)
def test_names_complete(words: str, names: list[str]) -> None:
    assert sorted(completed(words)) == sorted(names)


def test_a_source_that_is_no_preset_completes_as_a_file() -> None:
    assert completed("minigrok train my") == ["my"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_asks_minigrok(shell: str) -> None:
    done = CliRunner().invoke(main, ["completion", shell])
    assert done.exit_code == 0
    assert f"_MINIGROK_COMPLETE={shell}_complete" in done.stdout


def test_the_script_is_one_that_bash_reads() -> None:
    script = CliRunner().invoke(main, ["completion", "bash"]).stdout
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_another_shell_is_told_which_there_are() -> None:
    done = CliRunner().invoke(main, ["completion", "tcsh"])
    assert done.exit_code == 2
    assert "'bash', 'zsh', 'fish'" in done.stderr


def test_analyse_alone_lists_the_analyses() -> None:
    done = CliRunner().invoke(main, ["analyse"])
    assert done.exit_code == 0
    assert all(each.question in done.stdout for each in ANALYSES.values())
    without_run = CliRunner().invoke(main, ["analyse", "gram"])
    assert without_run.exit_code == 2
    assert "minigrok analyse gram runs/tiny-s42" in without_run.stderr
