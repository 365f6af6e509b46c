"""The published numbers are consistent with themselves: averages with classes, curves with tables, names with methods."""

import pytest

from chapters import published
from chapters.ch11 import CLAIMS
from eo_ssl.experiments.plan import METHODS
from eo_ssl.sensors import CLASS_NAMES

NUMBERS = published.numbers()
TABLES = NUMBERS[NUMBERS["kind"] == "table"]


def test_every_table_row_has_all_classes_and_their_mean_within_rounding():
    assert TABLES.groupby("task")["method"].nunique().to_dict() == {"single": 7, "multi": 7}
    for (task, method), rows in TABLES.groupby(["task", "method"]):
        value = rows.set_index("column")["value"]
        classes, rest = value[list(CLASS_NAMES)], value.drop(list(CLASS_NAMES))
        assert rest.between(classes.min(), classes.max()).all()
        # Eight classes and the average are each rounded to a whole percent.
        assert abs(classes.mean() - value[{"single": "aa", "multi": "f1_macro"}[task]]) <= 0.01, method


def test_the_curves_end_where_the_table_of_the_same_paper_says_and_the_second_paper_has_none():
    ends = NUMBERS.query("paper == 'fusion' and kind == 'figure' and fraction == 1").set_index("method")
    table = TABLES.query("task == 'single' and column == 'aa'").set_index("method")
    for method, row in ends.iterrows():
        assert abs(row["value"] - table.loc[method, "value"]) <= row["within"] + 0.005, method
    second = NUMBERS[NUMBERS["paper"] == "transformers"]
    assert set(second["kind"]) == {"figure"} and set(second["column"]) == {"aa"}
    assert not set(second["method"]) & {"unet", "ensemble"}


def test_numbers_are_shares_of_known_methods_read_in_a_known_way():
    assert NUMBERS["value"].between(0, 1).all() and NUMBERS["within"].between(0.001, 0.02).all()
    assert set(NUMBERS["method"]) <= set(METHODS) and set(NUMBERS["kind"]) <= set(published.KINDS)
    assert not NUMBERS.duplicated(["paper", "task", "kind", "method", "fraction", "column"]).any()
    assert NUMBERS[NUMBERS["kind"] == "table"]["spread"].notna().all()


def test_a_table_goes_before_a_figure_and_a_figure_before_hearsay():
    found = published.score("fusion", "single", "dual-finetune", 1.0)
    assert found["kind"] == "table" and found["value"] == pytest.approx(0.70)
    assert published.score("fusion", "single", "dual-finetune", 0.1)["kind"] == "figure"
    assert published.score("fusion", "single", "dual-frozen", 1.0)["kind"] == "second-hand"


def test_every_claim_agrees_with_the_published_numbers_it_stands_for():
    for claim in CLAIMS:
        for pair in claim.parts if claim.published else ():
            first, second = (published.score(claim.paper, claim.task, *entry)["value"] for entry in pair)
            assert first > second, claim.text
