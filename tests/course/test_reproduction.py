"""Claims follow their intervals: all above zero, one below, one across, some not run, none run, or a smoke run."""

import pandas as pd
import pytest

from eo_ssl.course import reproduction
from eo_ssl.course.claims import CLAIMS, Claim
from eo_ssl.course.reproduction import (
    FAILS,
    HOLDS,
    IN_PART,
    NOT_RUN,
    OPEN,
    examine,
    published_words,
    verdict,
    words,
)
from eo_ssl.evaluate.intervals import Comparison, Interval

CLAIM = Claim(
    "A beats both", "fusion", "single", tuple((("dual-finetune", 1.0), (m, 1.0)) for m in ("early", "late"))
)
UP, DOWN, ACROSS = Interval(0.05, 0.02, 0.08), Interval(-0.05, -0.08, -0.02), Interval(0.01, -0.02, 0.04)


def results(*methods, task="single", fraction=1.0):
    return pd.DataFrame(
        [{"task": task, "method": m, "fraction": fraction, "seed": 0, "test_reads": 1} for m in methods]
    )


@pytest.fixture
def outcome(monkeypatch):
    """`outcome({"early": UP, …})`: the claim examined in a run where these rivals were trained."""

    def make(gaps, claim=CLAIM, own="dual-finetune"):
        found = lambda folder, lines, task, first, second, metric: Comparison(gaps[second[0]], 0.5)  # noqa: E731
        monkeypatch.setattr(reproduction, "compare", found)
        return examine(results(own, *gaps), ".", [claim])[0]

    return make


@pytest.mark.parametrize(
    ("gaps", "status", "said"),
    [
        ({"early": UP, "late": UP}, HOLDS, "is ahead of"),
        ({"early": UP, "late": DOWN}, FAILS, "is behind Late fusion"),
        ({"early": ACROSS, "late": DOWN}, FAILS, "is behind Late fusion"),
        ({"early": ACROSS, "late": UP}, OPEN, "cannot be told from Early fusion"),
        ({"early": UP}, IN_PART, "1 of 2 comparisons run"),
        ({}, NOT_RUN, "does not train"),
    ],
)
def test_a_claim_is_worded_by_the_comparison_that_decides(outcome, gaps, status, said):
    found = outcome(gaps)
    assert found.status == status == verdict(found, True) and said in words(found)


def test_a_smoke_run_gives_no_evidence_whatever_its_numbers(outcome):
    assert verdict(outcome({"early": UP, "late": UP}), False) == "no evidence"
    assert verdict(outcome({}), False) == NOT_RUN


def test_simclr_with_all_bands_stands_in_where_rgb_was_not_run(outcome):
    claim = Claim("x", "fusion", "single", ((("dual-finetune", 1.0), ("simclr-rgb-finetune", 1.0)),))
    assert outcome({"simclr-finetune": UP}, claim).parts[0].second[0] == "simclr-finetune"
    both = outcome({"simclr-finetune": DOWN, "simclr-rgb-finetune": UP}, claim)
    assert both.parts[0].second[0] == "simclr-rgb-finetune" and both.status == HOLDS


def test_the_published_side_names_its_closest_comparison_and_how_it_was_read():
    said = published_words(CLAIMS[0])
    assert said == "≈ 65.3 against 62 ± 4 %"
    assert (
        published_words(next(c for c in CLAIMS if c.text.startswith("A linear layer"))) == "59† against 57† %"
    )
    assert published_words(CLAIMS[-1]) == "not published where we could read it"
    assert "with 1% of the labels" in published_words(
        next(c for c in CLAIMS if c.text.startswith("The ResNet pair"))
    )


def test_no_claim_compares_the_two_papers_or_two_tasks():
    for claim in CLAIMS:
        assert claim.paper in ("fusion", "transformers") and claim.task in ("single", "multi", "segment")
    assert len({claim.text for claim in CLAIMS}) == len(CLAIMS)


def test_an_empty_run_answers_not_run_to_everything():
    assert {o.status for o in examine(pd.DataFrame(), ".")} == {NOT_RUN}
