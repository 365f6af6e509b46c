"""Retrieval beside guessing: the verdict follows the interval, not the number."""

import pandas as pd
import pytest

from eo_ssl.show.words import against_guessing


def table(recall, guess):
    return pd.DataFrame({"s1_to_s2_recall@5": {"MMA": recall, "guessing": guess}})


@pytest.mark.parametrize(
    ("recall", "number", "verdict"),
    [
        (0.4, 30, "better than guessing"),
        (4 / 30, 30, "not to be told from guessing"),
        (0.0, 200, "worse than guessing"),
        (0.25, 12, "not to be told from guessing"),
    ],
)
def test_the_verdict_follows_the_interval(recall, number, verdict):
    assert verdict in against_guessing(table(recall, 5 / 30), number, 5, evidence=True)


def test_the_same_recall_of_more_queries_is_surer():
    few, many = (against_guessing(table(0.25, 0.17), n, 5, evidence=True) for n in (20, 2000))
    assert "not to be told" in few and "better than guessing" in many


def test_a_smoke_run_is_no_evidence():
    assert against_guessing(table(0.4, 0.1), 30, 5, evidence=False).startswith("*Smoke run")
