"""The shipped claims hold together; a file that does not is refused, in three parts that name the claim."""

import re
from pathlib import Path

import pytest
from claim_texts import HEAD, KINDS, TIME, entry, load

from minigrok.audit import book as book_module
from minigrok.audit.book import load as load_book
from minigrok.audit.claims import STATISTICS, UNMEASURABLE
from minigrok.errors import ConfigError

ROOT = Path(book_module.__file__).parent.parent


@pytest.fixture(scope="module")
def book():
    """Reading it checks every field against the Result of its analysis, every rule against its own null."""
    return load_book()


def test_every_leaf_claim_of_the_third_version_has_an_entry(book):
    """Ids are permanent: this list may only grow."""
    wanted = {f"C{i}.{j}" for i, n in enumerate((3, 8, 8, 6, 4, 6, 1), start=1) for j in range(1, n + 1)}
    assert wanted <= {claim.id for claim in book.claims}
    assert {claim.kind for claim in book.claims} == {*STATISTICS, UNMEASURABLE}


def test_confirmation_seeds_were_never_looked_at(book):
    assert not {*book.confirm} & {42, 137, 2024, *range(1, 8)}
    assert max(claim.least for claim in book.claims) <= len(book.confirm)


def test_the_rules_are_sealed(book):
    """If not: they were changed, and every run before now is exploratory. Seal them: python .ci/seal.py."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", book.changed)


def test_a_changed_rule_breaks_the_seal(book, tmp_path):
    a, b = (load(tmp_path, entry("value", says=words)) for words in ("one", "another"))
    assert a.sha256 != b.sha256 != book.sha256


SOURCES = [path for folder in ("audit", "statistics") for path in (ROOT / folder).glob("*.py")]
OPEN = {"__init__.py", "audit.py", "book.py", "earlier.py", "missing.py", "simulated.py"}
OPEN |= {"detectors.py", "fits.py", "slingshots.py"}  # of analyses


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_every_module_that_decides_a_number_or_a_verdict_is_sealed(book, path, monkeypatch):
    """Not sealed: what only makes, keeps, prices or prints, and what analyses are made of."""
    whole, name = book_module._file, str(path.relative_to(ROOT))
    monkeypatch.setattr(book_module, "_file", lambda each: whole(each) + "#" * (each == name))
    assert (load_book().sha256 == book.sha256) == (path.name in OPEN)


@pytest.mark.parametrize("kind", KINDS)
def test_the_claims_that_tests_are_made_of_are_right(tmp_path, kind):
    assert load(tmp_path, entry(kind)).claims[0].kind == kind


REFUSED = {
    "unknown statistic": (entry("value", statistic="median"), "statistic is mean"),
    "unknown kind": (entry("value") | {"kind": "feeling"}, "kind is one of"),
    "unknown family": (entry("value", family="beauty"), "family is one of"),
    "unknown field": (entry("value", verdict="yes"), "a field of a claim"),
    "missing field": (entry("value", sesoi_why=None), "sesoi_why is given"),
    "no null": (entry("value", chance=None), "null or chance is given"),
    "null without words": (entry("value", drawn=None), "drawn says how"),
    "wrong type": (entry("value", least="many"), "of type int"),
    "unknown group": (entry("value", cases=["z"]), "the name of a group"),
    "unknown analysis": (entry("value", exact=[{"analysis": "magic", "field": "x"}]), "the name of an analysis"),
    "unknown path": (entry("value", exact=[TIME | {"field": "runs[0].beauty"}]), "no beauty in Times"),
    "not a path": (entry("value", exact=[TIME | {"field": "runs[0"}]), "a path such as"),
    "unknown function": (entry("value", exact=[TIME | {"field": "runs[0].steps|magic"}]), "a function of a field"),
    "waits for what is there": (entry("value", exact=[{"waits": "analysis gram"}]), "names a field of gram"),
    "waits for a field that is there": (entry("value", exact=[{"waits": "field gram draws"}]), "names a field"),
    "nothing exact": (entry("value", exact=[]), "exact has one quantity"),
    "waits for nothing known": (entry("value", exact=[{"waits": "better times"}]), "waits ="),
    "vacuous effect": (entry("value", sesoi=-1.0), "sesoi is an effect"),
    "vacuous range": (entry("value", range=[1.0, 2.0]), "tolerance leaves a value out"),
    "vacuous count": (entry("count", holds=[0.0, 3.0]), "holds leaves a value out"),
    "vacuous share": (entry("order", chance=0.8), "chance is in (0, sesoi)"),
    "vacuous half": (entry("order", sesoi=0.4), "sesoi is a share of seeds above a half"),
    "vacuous bound": (entry("invariance", sesoi=2.0, range=[0.0, 3.0]), "sesoi is smaller than the range"),
    "vacuous ratio": (entry("causal", sesoi=0.9), "sesoi is an effect"),
    "hopeless": (entry("order", least=4), "least can give p <= .05"),
    "reason missing": (
        {"id": "I", "says": "x", "place": "y", "family": "order", "kind": UNMEASURABLE},
        "why gives the reason",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_claim_that_does_not_hold_together_is_refused_by_its_id(tmp_path, name):
    table, words = REFUSED[name]
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, table)
    assert f"claim {table['id']}" in caught.value.required
    assert words in str(caught.value)
    assert caught.value.do


def test_a_rule_that_its_own_null_passes_is_found_by_simulation(tmp_path, monkeypatch):
    """As if the code of a rule said yes to everything: no field of the entry is wrong."""
    from minigrok.audit import rules, simulated
    from minigrok.audit.answers import Answer

    always = rules.Judged(Answer("yes"), Answer("yes"), False, False)
    monkeypatch.setitem(simulated.KINDS, "value", lambda *_: always)
    with pytest.raises(ConfigError, match="its null does not always pass"):
        load(tmp_path, entry("value"))


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (HEAD.replace("exploratory = [42]", "exploratory = [12]"), "never looked at"),
        (HEAD.replace("[11, 20]", "[11, 14]"), "the largest least n"),
        (HEAD.replace("[analyses]", "[other]"), r"\[analyses\]"),
        (HEAD.replace('preset = "tiny"', 'preset = "giant"'), "preset"),
        ("not TOML", "TOML"),
    ],
)
def test_a_file_that_is_no_book_of_claims_is_refused(tmp_path, head, words):
    with pytest.raises(ConfigError, match=words):
        load(tmp_path, entry("value"), head=head)


def test_a_rule_that_holm_makes_hopeless_is_refused(tmp_path):
    """Eight seeds give p = .008, enough for six claims and not for seven."""
    six = [entry("order", id=f"T{i}") for i in range(6)]
    assert len(load(tmp_path, *six).claims) == 6
    with pytest.raises(ConfigError, match="among 7 claims"):
        load(tmp_path, *six, entry("order", id="T6"))


def test_two_claims_of_one_id_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="ids of claims"):
        load(tmp_path, entry("value"), entry("order"))
