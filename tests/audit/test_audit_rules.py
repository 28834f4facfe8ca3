"""Each kind of rule on evidence whose truth is planted: every verdict comes out; and how often a null gets a yes."""

import numpy as np
import pytest
from claim_texts import KINDS, TIME, claim

from minigrok.audit import simulated
from minigrok.audit.answers import Answer, Case
from minigrok.audit.rules import KINDS as RULES
from minigrok.audit.rules import Judged
from minigrok.audit.verdict import TABLE, VERDICTS, corrected, enough, verdict

SEEDS = range(11, 21)
NAN = float("nan")


@pytest.fixture
def decide(tmp_path):
    """Verdict of a claim of a kind on cases."""

    def decided(kind, cases, **changes):
        one = claim(tmp_path, kind, **changes)
        judged = RULES[one.kind](one, cases, np.random.default_rng(1), 2000)
        return verdict(judged, judged.supported.n >= one.least)

    return decided


def noise(seed, size=0.1):
    return float(np.random.default_rng(seed).normal(0, size))


def runs(make, seeds=SEEDS, **changes):
    return [Case(seed, **(make(seed) | changes)) for seed in seeds]


# --- value: paper 1 .. 2, null 0, sesoi .5 ------------------------------------------------------------------

VALUE = {"null": TIME, "chance": None}


def values(paper, exact, null, seeds=SEEDS, spread=0.1):
    each = lambda s: {"paper": paper + noise(s, spread), "exact": (exact + noise(s, spread),), "null": null}  # noqa: E731
    return runs(each, seeds)


@pytest.mark.parametrize(
    ("cases", "says"),
    [
        (values(1.5, 1.5, 0.0), "yes"),
        (values(0.1, 0.1, 0.0), "no"),
        (values(1.5, 0.1, 0.0), "artefact"),  # the paper's way prints 1.5, and nothing is there
        (values(1.5, 1.5, 1.5), "uninformative"),
        (values(1.5, 0.5, 0.0, spread=0.3), "undecided"),  # across sesoi
        (values(1.5, 1.5, 0.0, SEEDS[:3]), "undecided"),  # below the least n
    ],
)
def test_value(decide, cases, says):
    assert decide("value", cases, **VALUE) == says


def test_a_value_in_the_other_direction(decide):
    assert decide("value", values(-1.5, -1.5, 0.0), **VALUE, direction="-", paper=PAPER) == "yes"
    assert decide("value", values(1.5, 1.5, 0.0), **VALUE, direction="-", paper=PAPER) == "no"


PAPER = {"low": -2.0, "high": -1.0, "n": 3, "source": "printed"}

# --- order and count ----------------------------------------------------------------------------------------


def signs(paper, *exact, **more):
    return [
        Case(seed, paper=p, exact=e, **more) for seed, p, e in zip(SEEDS, paper, zip(*exact, strict=True), strict=True)
    ]


UP, DOWN, MIXED, TIES = [1.0] * 10, [-1.0] * 10, [1.0, -1.0] * 5, [1.0] * 5 + [0.0] * 5
TWO = {"exact": [TIME, TIME]}


@pytest.mark.parametrize(
    ("cases", "says"),
    [
        (signs(UP, UP, UP), "yes"),
        (signs(DOWN, DOWN, DOWN), "no"),
        (signs(UP, UP, DOWN), "artefact"),  # only at the paper's mark
        (signs(MIXED, MIXED, [1.0] * 9 + [-1.0]), "undecided"),
        (signs(UP, TIES, TIES), "undecided"),  # five seeds without a tie
    ],
)
def test_order(decide, cases, says):
    assert decide("order", cases, **TWO) == says


def test_an_order_whose_null_has_it_too_is_uninformative(decide):
    cases = signs(UP, UP, null=1.0)
    assert decide("order", cases, null=TIME, chance=None) == "uninformative"
    assert decide("order", signs(UP, UP, null=-1.0), null=TIME, chance=None) == "yes"


def test_tasks_and_conditions_of_a_seed_are_one_unit(decide):
    """Three cases of each of four seeds are four seeds."""
    cases = [Case(seed, group=g, paper=1.0, exact=(1.0,)) for seed in SEEDS[:4] for g in "abc"]
    assert decide("order", cases) == "undecided"


@pytest.mark.parametrize("kind", ["value", "order", "count", "event", "invariance"])
def test_a_second_condition_of_the_same_seeds_adds_no_evidence(tmp_path, kind):
    one, rng = claim(tmp_path, kind), np.random.default_rng(2)
    cases = simulated.null_cases(one, rng)
    doubled = [Case(**(vars(case) | {"group": g})) for case in cases for g in "ab"]
    a, b = (RULES[kind](one, each, np.random.default_rng(1), 99) for each in (cases, doubled))
    assert str(a) == str(b)


@pytest.mark.parametrize(
    ("controls", "says"),
    [([0.0] * 10, "yes"), ([1.5] * 10, "uninformative"), ([1.5] * 6 + [0.0] * 4, "undecided"), ([], "undecided")],
)
def test_count_beside_controls(decide, controls, says):
    cases = signs([1.5] * 10, [1.5] * 10)
    cases += [Case(seed, "control", paper=c, exact=(c,)) for seed, c in zip(SEEDS, controls, strict=False)]
    assert decide("count", cases, controls=["b"]) == says


# --- event --------------------------------------------------------------------------------------------------


def dates(event, target=lambda s: 5000.0 + 1000 * (s % 5), end=20_000.0, trivial=500.0, controls=NAN):
    each = [
        Case(s, paper=event(s), exact=(event(s),), target=target(s), start=0.0, end=end, trivial=(trivial,))
        for s in SEEDS
    ]
    return each + [Case(s, "control", paper=controls, exact=(controls,), end=end) for s in SEEDS]


def just_before(seed):
    return (5000.0 + 1000 * (seed % 5)) * (0.8 + noise(seed, 0.01))


def test_event(decide):
    assert decide("event", dates(just_before)) == "yes"
    assert decide("event", dates(lambda s: 19_000.0)) == "no"
    assert decide("event", dates(just_before, controls=3000.0)) == "no"  # it comes where nothing groks, too
    assert decide("event", dates(just_before, end=9500.0, target=lambda s: 9400.0)) == "uninformative"
    assert decide("event", dates(lambda s: 500.0 + abs(noise(s, 200)))) == "undecided"  # early, no better than trivial


def test_an_event_by_the_papers_protocol_alone_is_an_artefact(decide):
    cases = [Case(**(vars(case) | {"paper": 4000.0})) for case in dates(lambda s: 19_000.0)]
    assert decide("event", cases) == "artefact"


# --- covariation --------------------------------------------------------------------------------------------


def trend(paper, exact, null, seeds=SEEDS):
    rng, found = np.random.default_rng(5), []
    for s in seeds:
        for i in range(3):
            one, two, three = rng.normal(0, 0.1, 3)
            found.append(
                Case(s, x=float(i), paper=paper * i + one, exact=(exact * i + two,) * 2, null=null * i + three)
            )
    return found


@pytest.mark.parametrize(
    ("cases", "says"),
    [
        (trend(1, 1, 0), "yes"),
        (trend(-1, -1, 0), "no"),
        (trend(1, -1, 0), "artefact"),
        (trend(1, 1, 1), "uninformative"),
        (trend(1, 1, 0, SEEDS[:3]), "undecided"),
    ],
)
def test_covariation(decide, cases, says):
    assert decide("covariation", cases, **TWO) == says


def test_a_trend_at_one_matched_point_alone_is_no_trend(decide):
    cases = [Case(**(vars(case) | {"exact": (case.exact[0], -case.exact[1])})) for case in trend(1, 1, 0)]
    assert decide("covariation", cases, **TWO) in ("no", "artefact")


# --- invariance: paper 1.5, bound .5 ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cases", "says"),
    [
        (values(1.5, 1.5, 0.0), "yes"),
        (values(0.2, 0.2, 0.0), "no"),
        (values(1.5, 0.2, 0.0), "artefact"),
        (values(1.5, 1.5, 1.5), "uninformative"),  # nothing could have failed
        (values(1.5, 2.0, 0.0, spread=0.5), "undecided"),
    ],
)
def test_invariance(decide, cases, says):
    cases = [Case(**(vars(case) | {"null": case.null + noise(case.seed, 0.01)})) for case in cases]
    assert decide("invariance", cases) == says


# --- causal: ratio 1.25 at least ----------------------------------------------------------------------------


def lives(arm, base, beside, seeds=SEEDS, check=1.0):
    found = []
    for role, factor in (("case", arm), ("baseline", base), ("c", beside)):
        for s in seeds:
            time = factor * 10_000 * np.exp(noise(s, 0.2) + noise(s + 100 * len(role), 0.03))
            found.append(Case(s, role, exact=(float(time),), end=50_000.0, check=check if role == "case" else NAN))
    return found


@pytest.mark.parametrize(
    ("cases", "says"),
    [
        (lives(2, 1, 1), "yes"),
        (lives(1, 1, 1), "no"),
        (lives(2, 1, 2), "uninformative"),  # the control arm does as much
        (lives(2, 1, 1, SEEDS[:5]), "undecided"),  # five paired seeds cannot
        (lives(2, 1, 1, check=0.0), "undecided"),  # nothing was manipulated
        (lives(2, 1, 1)[:20], "undecided"),  # no control arm
    ],
)
def test_causal(decide, cases, says):
    assert decide("causal", cases) == says


def test_runs_that_never_grok_are_censored_not_left_out(decide):
    cases = [Case(**(vars(c) | ({"exact": (NAN,)} if c.role == "case" else {}))) for c in lives(2, 1, 1)]
    assert decide("causal", cases) == "yes"


# --- nulls, the table, many claims --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_null_gets_a_yes_as_rarely_as_stated(tmp_path, kind):
    """.05 at most in truth; 400 trials may show .078 with a chance of .01."""
    one = claim(tmp_path, kind, **({"range": [0.0, 10.0]} if kind == "invariance" else {}))
    found = simulated.passes_of_null(
        one, np.random.default_rng(3), trials=400 if kind != "causal" else 200, exchanges=199
    )
    assert found <= 0.078


@pytest.mark.parametrize("kind", ["value", "invariance"])
def test_every_exact_number_must_show_it(decide, kind):
    both = {"exact": [TIME, TIME], "null": TIME, "chance": None}
    agree = runs(lambda s: {"paper": 1.5 + noise(s), "exact": (1.5 + noise(s),) * 2, "null": 0.0})
    apart = [Case(c.seed, paper=c.paper, exact=(c.exact[0], 5.0 * (kind == "invariance")), null=0.0) for c in agree]
    unknown = [Case(c.seed, paper=c.paper, exact=(c.exact[0], NAN), null=0.0) for c in agree]
    assert decide(kind, agree, **both) == "yes"
    assert decide(kind, apart, **both) == "no"
    assert decide(kind, unknown, **both) == "undecided"


def test_each_condition_needs_the_least_number_of_seeds(tmp_path):
    one = claim(tmp_path, "order", cases=["a", "b"])
    many = [Case(seed, group="a", paper=1.0, exact=(1.0,)) for seed in SEEDS]
    few = [Case(seed, group="b", paper=1.0, exact=(1.0,)) for seed in SEEDS[:3]]
    more = [Case(seed, group="b", paper=1.0, exact=(1.0,)) for seed in SEEDS[:8]]
    for cases, says in ((many, False), (many + few, False), (many + more, True)):
        judged = RULES["order"](one, cases, np.random.default_rng(1), 200)
        assert judged.supported.answer == "yes"
        assert enough(one, judged, cases) is says


def test_no_evidence_is_undecided(decide):
    for kind in KINDS:
        assert decide(kind, [Case(11, exact=(NAN,), trivial=(NAN,))]) == "undecided"


def test_the_table_is_complete_and_has_every_verdict():
    answers = ("yes", "no", "undecided")
    found = {
        verdict(Judged(Answer(one), Answer(two), passes, differs), enough)
        for one in answers
        for two in answers
        for passes in (True, False)
        for differs in (True, False)
        for enough in (True, False)
    }
    assert found == {*VERDICTS[:-1]} == {row[-1] for row in TABLE}


def test_holm_within_a_family_takes_back_a_yes_and_counts_claims_without_a_p():
    yes = [Judged(Answer("yes"), Answer("yes", p=p), False, False) for p in (0.02, 0.03, 0.04)]
    both = corrected(yes, ["a", "a", "b"], {"a": 2, "b": 1})
    assert [round(p, 4) for _, p in both] == [0.04, 0.04, 0.04]
    assert [facts.supported.answer for facts, _ in both] == ["yes"] * 3
    more = corrected(yes, ["a", "a", "b"], {"a": 5, "b": 2})
    assert [facts.supported.answer for facts, _ in more] == ["undecided"] * 3
