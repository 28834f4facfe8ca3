"""The page of the audit: whole in one file, escaped, the same in every reader, and no verdict but the table's."""

import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from minigrok_cli.main import main

from minigrok.audit import book as books
from minigrok.audit.audit import audit, to_json
from minigrok.audit.claims import UNMEASURABLE
from minigrok.audit.verdict import VERDICTS
from minigrok.config import preset
from minigrok.info import environment
from minigrok.report import page, texts
from minigrok.storage import runs as run_folders

OUTPUTS = Path(__file__).parents[2] / "reference_outputs"
HOSTILE = "<script>alert(1)</script>\"'><svg onload=alert(2)>&amp;]]>{{ 7 * 7 }}|x|\x1b[31m\x00\u202e\n# $\\frac{1}{2}$"


@pytest.fixture(scope="module")
def book():
    return books.load()


@pytest.fixture(scope="module")
def empty(book):
    return json.loads(to_json(audit(book, [])))


def case(claim, seed, counts=True, **changes):
    numbers = dict.fromkeys(("paper", "null", "x", "target", "start", "end", "check"), 1.0 + seed)
    head = {"run": f"s{seed}", "seed": seed, "role": "case", "group": claim.cases[0], "counts": counts}
    return head | numbers | {"exact": [2.0 + seed] * len(claim.exact)} | changes


def with_evidence(book, table):
    """Return a table in which every claim has three runs, one of exploration, and all verdicts occur."""
    table = copy.deepcopy(table)
    measured = [row for row in table["claims"] if row["kind"] != UNMEASURABLE]
    for claim, row in zip((c for c in book.claims if c.kind != UNMEASURABLE), measured, strict=True):
        row["evidence"] = [case(claim, 21), case(claim, 22, exact=["inf"] * len(claim.exact)), case(claim, 42, False)]
    for row, verdict in zip(measured, VERDICTS, strict=False):
        row["verdict"] = verdict
    return table


@pytest.fixture(scope="module")
def full(book, empty):
    return page.html(book, with_evidence(book, empty), environment())


class Elements(HTMLParser):
    """Every element with its attributes, and the text of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.found, self.raw, self.open = [], {}, ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        self.open = tag

    def handle_data(self, data):
        self.raw[self.open] = self.raw.get(self.open, "") + data

    def handle_endtag(self, tag):
        self.open = ""


def loads(text):
    """What a page would load from elsewhere, or run."""
    parsed = Elements(text)
    found = [
        f"{tag} {name}" for tag, a in parsed.found for name in a if name.startswith("on") or name in ("src", "srcset")
    ]
    for _, attributes in parsed.found:
        found += [v for k, v in attributes.items() if k.endswith("href") and not v.startswith("#")]
        found += [v for k, v in attributes.items() if "url(" in (v or "") and "url(#" not in v]
    found += [
        a.get("type", "script") for tag, a in parsed.found if tag == "script" and a.get("type") != "application/json"
    ]
    found += [tag for tag, _ in parsed.found if tag in ("link", "iframe", "object", "embed", "img", "base", "form")]
    return found + re.findall(r"@import|url\((?!#)", parsed.raw.get("style", ""))


def test_the_page_is_whole_small_and_runs_nothing(full):
    assert loads(full) == []
    assert len(full.encode()) < 3_000_000
    assert "default-src 'none'" in full


@pytest.mark.parametrize(
    "broken",
    [
        '<img src="https://a.b/x.png">',
        "<script>1</script>",
        '<a href="http://a.b">',
        '<p onclick="x">',
        "<style>@import 'x'</style>",
    ],
)
def test_what_is_loaded_or_run_is_seen(broken):
    assert loads(broken)


def test_every_link_has_its_target_and_no_id_is_there_twice(full):
    found = Elements(full).found
    ids = [a["id"] for _, a in found if "id" in a]
    assert len(ids) == len(set(ids))
    named = [v.removeprefix("#") for _, a in found for k, v in a.items() if k.endswith("href")]
    named += [word for _, a in found for word in a.get("aria-labelledby", "").split()]
    named += [name for _, a in found for v in a.values() for name in re.findall(r"url\(#([^)]+)\)", v or "")]
    assert named
    assert set(named) <= set(ids)


def test_every_claim_has_its_section_and_a_measured_one_figure_formula_code_and_command(book, full):
    sections = full.split("<article")[1:]
    assert len(sections) == len(book.claims)
    for claim in book.claims:
        (section,) = [text for text in sections if f'<h3 id="{claim.id}"' in text]
        wanted = ["<title ", "<desc ", "<math", "<pre", f"minigrok audit --claims {claim.id} --missing", "Null: "]
        assert claim.kind == UNMEASURABLE or [each for each in wanted if each not in section] == []


def test_drawings_are_xml_with_the_null_and_what_never_came(full):
    drawings = re.findall(r"<svg role=.*?</svg>", full, re.S)
    assert len(drawings) > 30
    for drawing in drawings:
        root = ElementTree.fromstring(drawing)
        assert root[0].tag.endswith("title")
        assert root[1].tag.endswith("desc")
        assert not re.search(r"#0000", drawing)  # colours are the page's
    described = "".join(re.findall(r"<desc.*?</desc>", full, re.S))
    assert "null" in described
    assert "never" in described


def test_a_verdict_has_a_word_a_colour_and_a_shape_of_its_own(full):
    shapes = {}
    for name, shape, word in re.findall(r'<span class="verdict (\w+)"><svg[^>]*>(.*?)</svg>(.*?)</span>', full, re.S):
        shapes.setdefault(word, set()).add((name, shape))
    assert set(shapes) == set(VERDICTS)
    assert all(len(found) == 1 for found in shapes.values())
    assert len({shape for found in shapes.values() for _, shape in found}) == len(VERDICTS)
    assert set(texts.texts()["verdict"]) == set(VERDICTS)


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [x / 12.92 if x <= 0.03928 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_colour_of_text_is_readable_in_light_dark_and_print():
    css = (Path(page.__file__).parent / "templates" / "page.css").read_text("utf-8")
    themes = re.findall(r":root \{(.*?)\}", css, re.S)
    assert len(themes) == 3
    for theme in themes:
        colours = dict(re.findall(r"--(\w+): (#\w+)", theme))
        full = {name: "#" + "".join(2 * c for c in c[1:]) if len(c) == 4 else c for name, c in colours.items()}
        for name in set(full) - {"paper", "shade", "band", "line"}:
            for ground in ("paper", "shade"):
                light, dark = sorted((luminance(full[name]), luminance(full[ground])), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (name, ground)


def hostile(book, table):
    table = with_evidence(book, table)
    table["claims"] = [*{row["kind"]: row for row in table["claims"]}.values()]  # one of each kind
    table["runs"] = [{"run": HOSTILE, "seed": 21, "group": HOSTILE, "left_out": HOSTILE}]
    for row in table["claims"]:
        row["missing"], row["left_out"] = [HOSTILE], [HOSTILE]
        for each in row["evidence"]:
            each["run"] = each["group"] = HOSTILE
    return table


def test_hostile_names_stay_text(book, empty, full):
    text = page.html(book, hostile(book, empty), environment())
    assert loads(text) == []
    tags = {tag for tag, _ in Elements(text).found}
    assert tags <= {tag for tag, _ in Elements(full).found}
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202e]", text)
    assert "{{ 7 * 7 }}" in text
    embedded = json.loads(re.search(r'id="audit">(.*?)</script>', text, re.S)[1])
    assert "alert(1)" in embedded["runs"][0]["run"]
    for drawing in re.findall(r"<svg role=.*?</svg>", text, re.S):
        ElementTree.fromstring(drawing)


def test_hostile_names_stay_in_their_cell_of_markdown(book, empty):
    text = page.markdown(book, hostile(book, empty))
    (row,) = [line for line in text.splitlines() if "alert(1)" in line]
    assert len(re.findall(r"(?<!\\)\|", row)) == 5
    assert "<" not in row
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202e]", text)


def test_embedded_numbers_are_those_of_audit_json(book, empty):
    text = page.html(book, empty, environment())
    assert json.loads(re.search(r'id="audit">(.*?)</script>', text, re.S)[1]) == empty


def test_texts_name_claims_and_functions_that_exist(book):
    assert set(texts.texts()["claim"]) <= {claim.id for claim in book.claims}
    for claim in book.claims:
        if claim.kind != UNMEASURABLE:
            text = texts.of_claim(claim)
            assert text.formula
            assert text.words
            assert 2 <= len(texts.source(text.code).splitlines()) <= 40


def test_without_runs_the_page_says_what_would_decide(book, empty):
    text = page.html(book, empty, environment())
    assert f"0 of at least {book.claims[0].least} seeds" in text
    assert re.search(r"Needs \d+ runs \(8 of dual wd 1, 8 of dual wd 0\.5\), at most [\d.]+ million steps", text)
    assert "nothing to draw" in text


def test_findings_are_the_page_of_the_audit_beside_them(book):
    """If not: minigrok report RUNS -o reference_outputs/FINDINGS.md writes both anew."""
    table = json.loads((OUTPUTS / "audit.json").read_text("utf-8"))
    assert table["rules"]["sha256"] == book.sha256
    assert page.markdown(book, table) == (OUTPUTS / "FINDINGS.md").read_text("utf-8")


def test_the_command_writes_each_page_and_refuses_other_endings(book, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(books, "load", lambda source: book)
    folder = tmp_path / "<script>alert(1)<" / "x"
    with run_folders.create(folder, preset("dual")):
        pass
    done = CliRunner().invoke(main, ["report", str(folder), "--read-only", "--claims", "I1", "-o", "page.html"])
    assert (done.exit_code, loads(Path("page.html").read_text("utf-8"))) == (0, []), done.output
    done = CliRunner().invoke(main, ["report", "--claims", "I1", "-o", "page.md"])
    assert done.exit_code == 0
    assert json.loads(Path("audit.json").read_text("utf-8"))["claims"][0]["id"] == "I1"
    done = CliRunner().invoke(main, ["report", "-o", "page.pdf"])
    assert done.exit_code == 2
    assert "required: the page's name ends with .html or .md" in done.stderr.replace("\n", " ")
