"""`minigrok audit` end to end on run folders whose truth is known by construction."""

import json
import os
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from claim_texts import HEAD, SMALL, entry, text
from click.testing import CliRunner
from json_schema import problems
from minigrok_cli.main import main

from minigrok.analyses.shared.units import is_of_condition
from minigrok.audit.book import load
from minigrok.config import preset, with_values
from minigrok.experiments.sweep_file import read_sweep
from minigrok.network.params import initial
from minigrok.storage import runs

STEPS = (1, *range(100, 1100, 100))
ROWS = len(STEPS)
SCHEMA = json.loads(resources.files("minigrok.audit").joinpath("audit.schema.json").read_text("utf-8"))
ORDER = entry(
    "order",
    id="T1",
    quantity={"analysis": "grok_order", "field": "runs[0].steps[-1]|ascending(1,0)", "protocol": "paper"},
    exact=[{"analysis": "grok_order", "field": "runs[0].steps[2]|ascending(1,0)"}],
)
SHARE = {"analysis": "trajectory_pca", "field": "pieces[name=all].centred[0]"}
VALUE = entry(
    "value", id="T2", family="geometry", quantity=SHARE | {"protocol": "paper"}, exact=[SHARE], least=2, sesoi=0.1
)
GRAM = entry(
    "value", id="T3", family="spectra", quantity={"analysis": "gram", "field": "tracks[0].windows.share|max"},
    exact=[{"analysis": "gram", "field": "tracks[0].windows.share|max"}], least=2, sesoi=0.1,
)  # fmt: skip


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in, with a file of claims."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "claims.toml").write_text(text(ORDER, VALUE, GRAM), encoding="utf-8")
    return tmp_path


def make(folder, seed, add=8, mul=5, rows=ROWS, snapshots=3, **changes):
    """Make a run whose tasks reach accuracy 1 at these rows of STEPS."""
    config = with_values(preset("tiny"), {**SMALL, "seed": seed, **changes})
    rng, theta = np.random.default_rng(seed), initial(config).astype(np.float32)
    with runs.create(folder, config) as run:
        for i in range(rows):
            row = {"step": STEPS[i]}
            for task in config.task.operations:
                row |= {f"train_loss_{task}": 0.01, f"train_accuracy_{task}": 1.0}
            for task, at in zip(config.task.operations, (add, mul), strict=True):
                row |= {f"test_loss_{task}": 1.0, f"test_accuracy_{task}": float(i >= at)}
            run.append_metrics(row | {"grad_norm": 1.0, "param_norm": 1.0})
        for i in range(snapshots):
            run.save_snapshot(100 * i, theta)
            theta = theta + rng.normal(0, 0.01, theta.size).astype(np.float32)
    return folder


def audit(*arguments, code=0):
    """Call the command, and return what it printed and audit.json."""
    done = CliRunner().invoke(main, ["audit", "--file", "claims.toml", *map(str, arguments)])
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output
    path = Path("audit.json")
    table = json.loads(path.read_text("utf-8")) if path.exists() else {}
    assert not table or problems(table, SCHEMA) == []
    return done, {row["id"]: row for row in table.get("claims", ())} | {"runs": table.get("runs")}


def test_an_order_that_is_there_is_a_yes_and_what_does_not_count_is_named(here):
    folders = [make(here / f"s{seed}", seed) for seed in range(11, 21)]
    folders += [
        make(here / "seen", 42, add=3, mul=5),
        make(here / "again", 11, add=3, mul=5, **{"train.max_steps": 40_000}),
        make(here / "half", 20, rows=4, **{"train.max_steps": 50_000}),
        make(here / "other", 12, **{"task.p": 11}),
    ]
    done, rows = audit(*folders, "--claims", "T1")
    row = rows["T1"]
    assert (row["verdict"], row["supported"]["n"], row["reproduces"]["answer"]) == ("yes", 10, "yes")
    assert row["supported"]["p"] == row["supported"]["least_p"] == pytest.approx(2**-9)
    why = {run["run"]: run["left_out"] for run in rows["runs"]}
    assert why["s11"] == ""
    assert "exploratory: seed 42" in why["seen"]
    assert why["again"] == "a repeat of its seed"
    assert why["half"].startswith("unfinished")
    assert "of no condition" in why["other"]
    assert "14 runs, 4 of them not counted" in done.stdout


def test_runs_begun_before_the_rules_changed_are_exploratory(here):
    folders = [make(here / f"s{seed}", seed) for seed in range(11, 21)]
    for folder in folders[:8]:
        os.utime(folder / "config.toml", (10**9, 10**9))
    _, rows = audit(*folders, "--claims", "T1")
    assert rows["T1"]["verdict"] == "undecided"
    assert rows["T1"]["supported"]["n"] == 2
    assert "before the rules changed" in rows["T1"]["left_out"][0]


def test_without_runs_every_row_says_what_it_lacks_and_the_sweep_has_it(here):
    done, rows = audit("--missing")
    assert all(rows[name]["verdict"] == "undecided" for name in ("T1", "T2", "T3"))
    assert "a: 8 more seeds" in rows["T1"]["missing"]
    assert "audit-missing.toml: 8 runs, at most" in done.stdout
    assert "core-hours of training" in done.stdout
    sweep = read_sweep(here / "audit-missing.toml")
    group = load(here / "claims.toml").groups["a"].config
    assert [config.seed for config in sweep.configs] == [*range(11, 19)]
    assert all(is_of_condition(config, group) and config.compute.portable for config in sweep.configs)


def test_an_undecided_claim_with_its_least_n_asks_for_the_other_seeds(here):
    folders = [make(here / f"s{s}", s, add=8 if s % 3 else 4) for s in range(11, 19)]
    _, rows = audit(*folders, "--claims", "T1", "--missing")
    assert rows["T1"]["verdict"] == "undecided"
    assert [config.seed for config in read_sweep(here / "audit-missing.toml").configs] == [19, 20]


def test_analyses_are_made_once_and_read_again(here):
    folders = [make(here / f"s{seed}", seed, snapshots=13) for seed in (11, 12)]
    _, rows = audit(*folders, "--read-only")
    assert "s11: trajectory_pca (paper) not made" in rows["T2"]["missing"]
    assert not any("more seeds" in words for words in rows["T2"]["missing"])  # runs would not help
    first, rows = audit(*folders)
    assert first.stderr.count("making s11: trajectory_pca") == 2  # both protocols
    assert rows["T2"]["verdict"] in ("yes", "no", "undecided", "artefact", "uninformative")
    assert rows["T2"]["supported"]["n"] == rows["T3"]["supported"]["n"] == 2
    second, again = audit(*folders)
    assert "trajectory_pca" not in second.stderr
    assert {name: row for name, row in again.items() if name != "runs"} == {
        n: r for n, r in rows.items() if n != "runs"
    }
    assert (here / "s11" / "analysis" / "audit-gram-exact" / "parts").is_dir()  # a comparison keeps its long parts
    assert not (here / "s11" / "analysis" / "gram").exists()  # and no comparison of several runs is overwritten


def test_a_killed_audit_goes_on_where_it_was(here, monkeypatch):
    from minigrok.analyses import perform as module

    folders = [make(here / f"s{seed}", seed, snapshots=13) for seed in (11, 12)]
    made = []

    def dies(analysis, one, settings):
        if len(made) == 1:
            raise KeyboardInterrupt
        made.append(analysis.name)
        return perform(analysis, one, settings)

    perform = module.perform
    monkeypatch.setattr(module, "perform", dies)
    audit(*folders, "--claims", "T2", code=130)
    monkeypatch.setattr(module, "perform", perform)
    done, rows = audit(*folders, "--claims", "T2")
    assert done.stderr.count("making") == 3  # of four
    assert rows["T2"]["supported"]["n"] == 2


def test_a_damaged_result_and_a_damaged_table_are_rows_not_the_end(here):
    folders = [make(here / f"s{seed}", seed) for seed in (11, 12, 13)]
    audit(*folders, "--claims", "T2")
    (folders[0] / "analysis" / "trajectory_pca" / "arrays.npz").write_bytes(b"damaged")
    (folders[1] / "metrics.csv").write_text("step,nonsense\n1,2,3\n")
    _, rows = audit(*folders)
    assert any("s11" in words and "damaged" in words for words in rows["T2"]["missing"])
    assert "damaged" in next(run["left_out"] for run in rows["runs"] if run["run"] == "s12")
    assert rows["T2"]["supported"]["n"] == 1


def test_a_verdict_that_changed_ends_with_1_and_is_named(here):
    folders = [make(here / f"s{seed}", seed) for seed in range(11, 19)]
    audit(*folders, "--claims", "T1")
    os.rename("audit.json", "before.json")
    audit(*folders, "--claims", "T1", "--expect", "before.json")
    done, _ = audit(*folders[:3], "--claims", "T1", "--expect", "before.json", code=1)
    assert "T1: undecided, was yes" in done.stderr
    audit(*folders, "--claims", "T1")
    done, _ = audit(*folders[:3], "--claims", "T1", "--expect", "audit.json", code=1)  # which is written anew
    assert "T1: undecided, was yes" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "the folder of a run"),
        (["--claims", "Z9"], "the beginning of a claim's id"),
        (["--expect", "broken.json"], "an audit.json"),
        (["--expect", "other.json"], "the format of audit.json"),
    ],
)
def test_wrong_use_is_said_in_three_parts(here, arguments, words):
    (here / "broken.json").write_text("{")
    (here / "other.json").write_text('{"format": 7, "claims": []}')
    done, _ = audit(*arguments, code=2)
    assert words in done.stderr
    assert all(f"{part}:" in done.stderr for part in ("required", "got", "do"))


def test_json_is_what_is_kept(here):
    done, _ = audit("--json")
    assert json.loads(done.stdout) == json.loads((here / "audit.json").read_text("utf-8"))


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.pop("rules"),
        lambda table: table.update(more=1),
        lambda table: table["claims"][0].update(verdict="perhaps"),
        lambda table: table["claims"][0]["supported"].update(p="small"),
        lambda table: table["rules"].update(sha256="short"),
    ],
)
def test_the_schema_refuses_what_is_none(here, change):
    audit()
    table = json.loads((here / "audit.json").read_text("utf-8"))
    change(table)
    assert problems(table, SCHEMA)


def test_the_shipped_claims_price_the_whole_paper(here):
    """Every group is a sweep's grid, and every run of it belongs to its group."""
    from minigrok.audit.audit import audit as decide
    from minigrok.audit.missing import sweep_text, wanted

    book = load()
    seeds = wanted(book, decide(book, [], is_making=False).rows)
    sweep = read_sweep(sweep_text(book, seeds))
    assert len(sweep.configs) == sum(len(each) for each in seeds.values()) > 100
    for config in sweep.configs:
        assert any(is_of_condition(config, group.config) for group in book.groups.values())
        if config.intervention.source:
            assert config.intervention.source in {other.name for other in sweep.configs}


def test_settings_that_are_lists_are_one_value_in_the_sweep(here):
    words = '"a" = { preset = "tiny", set = { '
    head = HEAD.replace(words, words + '"task.operations" = ["mul", "sq"], ')
    (here / "claims.toml").write_text(text(ORDER, head=head), encoding="utf-8")
    audit("--missing")
    configs = read_sweep(here / "audit-missing.toml").configs
    assert [config.seed for config in configs] == [*range(11, 19)]
    assert {tuple(config.task.operations) for config in configs} == {("mul", "sq")}


def test_another_head_is_another_file(here):
    (here / "claims.toml").write_text(text(ORDER, head=HEAD.replace("[11, 20]", "[31, 40]")), encoding="utf-8")
    _, rows = audit(make(here / "s11", 11))
    assert "seed 11 is none of 31..40" in rows["T1"]["left_out"][0]


def halves(here):
    """Return two folders of runs whose joint audit says yes."""
    for seed in range(11, 21):
        make(here / ("one" if seed < 16 else "two") / f"s{seed}", seed)
    return [[*sorted((here / part).iterdir())] for part in ("one", "two")]


def test_an_earlier_audit_stands_for_runs_that_are_gone(here):
    one, two = halves(here)
    _, whole = audit(*one, *two, "--claims", "T1")
    audit(*one, "--claims", "T1")
    Path("audit.json").rename("one.json")
    _, both = audit(*two, "--with", "one.json", "--claims", "T1")
    for part in ("verdict", "reproduces", "supported", "lacks"):
        assert both["T1"][part] == whole["T1"][part]
    assert {run["run"] for run in both["runs"]} == {run["run"] for run in whole["runs"]}
    _, again = audit(*two, "--with", "audit.json", "--claims", "T1")  # a run at hand counts once
    assert again["T1"]["supported"] == whole["T1"]["supported"]


def test_what_was_not_whole_is_asked_for_again(here):
    one, _ = halves(here)
    audit(*one, "--read-only", "--claims", "T2")  # its analysis was not made
    Path("audit.json").rename("one.json")
    _, rows = audit("--with", "one.json", "--claims", "T2")
    assert set(rows["T2"]["lacks"].popitem()[1]) >= {11, 12}


DAMAGED = {
    "no JSON": (lambda table: "{", "audit.json"),
    "other rules": (lambda table: json.dumps(table | {"rules": {"sha256": "0" * 64}}), "the rules of"),
    "another format": (lambda table: json.dumps(table | {"format": 0}), "the format"),
    "no evidence": (lambda table: json.dumps(table | {"claims": [{"id": "T1", "verdict": "yes"}]}), "its evidence"),
    "a word for a number": (
        lambda table: json.dumps(table).replace('"seed": 11', '"seed": "eleven"'), "its evidence"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_an_earlier_audit_that_cannot_be_believed_is_refused(here, name):
    damage, words = DAMAGED[name]
    audit(make(here / "s11", 11), "--claims", "T1")
    Path("one.json").write_text(damage(json.loads(Path("audit.json").read_text("utf-8"))), "utf-8")
    done, _ = audit("--with", "one.json", "--claims", "T1", code=2)
    assert words in done.output
