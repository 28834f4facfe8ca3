"""Lesson 12: a rule for a claim, written before the result, that could fail."""

from collections.abc import Iterator
from pathlib import Path

from minigrok.audit.book import load
from minigrok.errors import ConfigError
from minigrok.lessons.findings import Finding

SUFFIX = ".toml"

START = """# Lesson 12. A rule for the claim "one direction holds the trajectory of tiny". So far no run could break it.
# Change what is vacuous, until `minigrok learn 12 --check` lets it pass.

[rules]
confirm = [21, 30]            # seeds that count: nobody has looked at them
exploratory = [42, 137, 2024] # seeds that were looked at

[groups]
"tiny" = { preset = "tiny" }

[analyses]

[[claim]]
id = "T1"
says = "tiny: the first principal component holds the trajectory"
place = "lesson 12"
family = "geometry"
kind = "value"                # its mean over seeds, beyond a null model
paper = { low = 90.0, high = 100.0, unit = "%", n = 3, source = "a guess" }
protocol = "exact"
quantity = { analysis = "trajectory_pca", field = "pieces[name='all'].centred[:,0]|mean" }
exact = [{ analysis = "trajectory_pca", field = "pieces[name='all'].centred[:,0]|mean" }]
null = { analysis = "trajectory_pca", field = "pieces[name='all'].walk[:,0]|median" }
drawn = "a random walk with the run's own step lengths"
statistic = "mean"
direction = "+"               # larger than its null
range = [0.0, 100.0]          # all that a share can be
tolerance = 90.0              # the paper's range, give or take this much: is anything left outside?
sesoi = 0.0                   # the smallest difference from the null that matters, in %: 0 is no effect
sesoi_why = "?"
cases = ["tiny"]
least = 5                     # seeds; all of them must do
least_why = "Student's interval needs some"
"""


def check(path: Path) -> Iterator[Finding]:
    """Yield whether the file is a book of claims whose rules can fail: what `minigrok audit --file` asks of it."""
    try:
        book = load(path)
    except ConfigError as error:
        yield Finding("a rule that can fail", False, f"{error.required}; got {error.got}", _meaning(error))
        return
    yield Finding("a rule that can fail", True, f"{len(book.claims)} claims")
    reasons = [claim.id for claim in book.claims if len(claim.sesoi_why.split()) < 3]
    hint = "sesoi_why says why a smaller difference would not matter to anybody, in three words or more"
    yield Finding("a reason for the smallest effect", not reasons, ", ".join(reasons) or "all", hint if reasons else "")


def _meaning(error: ConfigError) -> str:
    text = error.required
    if "tolerance" in text:
        return "vacuous: with this tolerance the paper's range holds every value that there is. Make it smaller"
    if "sesoi" in text and "its own null" in text:
        return "vacuous: a difference this small, or as wide as the range, decides nothing. What would matter to you?"
    if "always pass" in text or "its own null" in text:
        return "vacuous: numbers drawn from the null pass the rule. Ask for more than the null gives"
    if "least" in text:
        return "hopeless: so few seeds cannot give p <= .05. Lesson 11 says how many can"
    return error.do
