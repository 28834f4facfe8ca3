"""The page in a real Chromium: axe-core finds nothing to object to, wide and narrow."""

import html
import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from minigrok.audit.book import load
from minigrok.info import environment
from minigrok.report import page

CHROMIUM = shutil.which("chromium")
AXE = importlib.util.find_spec("axe_core_python")
QUIET = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync".split()
QUIET += ["--disable-background-networking", "--disable-component-update", "--virtual-time-budget=60000"]
RUN = """axe.run(document).then(found => { const out = document.createElement("pre"); out.id = "axe-found";
out.textContent = JSON.stringify(found.violations.map(x => [x.id, x.nodes.map(node => node.html)]));
document.body.replaceChildren(out) })"""


def objections(text, folder, width=1280):
    """Return what axe-core objects to; the page's own policy would not let its script run."""
    axe = (Path(AXE.submodule_search_locations[0]) / "axe.min.js").read_text("utf-8")
    text = re.sub(r"<meta http-equiv[^>]*>", "", text)
    at = text.rindex("</body>")
    file = folder / "page.html"
    file.write_text(f"{text[:at]}<script>{axe}</script><script>{RUN}</script>{text[at:]}", encoding="utf-8")
    call = [CHROMIUM, *QUIET, f"--user-data-dir={folder / 'user'}", f"--window-size={width},900", "--dump-dom"]
    done = subprocess.run([*call, file.as_uri()], capture_output=True, text=True, timeout=300)
    found = re.search(r'id="axe-found">(.*?)</pre>', done.stdout, re.S)
    assert found, done.stderr[-2000:]
    return json.loads(html.unescape(found[1]))


@pytest.fixture(scope="module")
def text():
    book = load()
    table = json.loads((Path(__file__).parents[2] / "reference_outputs" / "audit.json").read_text("utf-8"))
    table["claims"] = [row for row in table["claims"] if row["id"] in ("C1.1", "C6.1", "C6.3")]
    return page.html(book, table, environment())


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
@pytest.mark.skipif(AXE is None, reason="no axe-core here: pip install axe-core-python")
@pytest.mark.parametrize("width", [1280, 400])
def test_axe_has_no_objection(text, tmp_path, width):
    assert objections(text, tmp_path, width) == []


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None or AXE is None, reason="no Chromium, or no axe-core-python, here")
def test_what_axe_objects_to_is_seen(tmp_path):
    assert objections("<html><body><img src='x'><p>y</p></body></html>", tmp_path)
