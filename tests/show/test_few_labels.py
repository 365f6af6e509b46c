"""Chapter 08: the headline is worded by the interval, gains pair what both have, the explorer needs a curve."""

import numpy as np
import pytest

from eo_ssl.errors import DataError
from eo_ssl.experiments.results import read_results
from eo_ssl.show import few_labels
from eo_ssl.show.results import curve


def headline(folder, evidence=True):
    return few_labels.headline(read_results(folder / "results.jsonl"), folder, "dual-finetune", evidence)


@pytest.mark.parametrize(
    ("tenth", "all_labels", "verdict"),
    [(9, 5, "**The claim holds"), (5, 9, "**The claim does not hold"), (7, 7, "does not settle")],
)
def test_the_claim_is_worded_by_its_interval(tmp_path, write_model, tenth, all_labels, verdict):
    write_model("dual-finetune", tenth, 0.1)
    write_model("late", all_labels, 1.0)
    assert verdict in headline(tmp_path)
    assert "no evidence" in headline(tmp_path, evidence=False)


def test_the_rival_is_the_best_supervised_model_with_all_labels(tmp_path, write_model):
    for method, fraction, right in (
        ("late", 1.0, 6),
        ("early", 1.0, 8),
        ("late", 0.1, 9),
        ("dual-finetune", 1.0, 10),
    ):
        write_model(method, right, fraction)
    points = curve(read_results(tmp_path / "results.jsonl"), tmp_path, "single")
    assert few_labels.best_supervised(points)["method"] == "early"
    with pytest.raises(DataError, match="chapter 03"):
        few_labels.best_supervised(points[points["method"] == "dual-finetune"])


def test_gains_pair_only_the_fractions_that_both_have(tmp_path, write_model):
    for method, fraction, right in (("late", 1.0, 6), ("dual-finetune", 0.1, 9), ("dual-finetune", 1.0, 9)):
        write_model(method, right, fraction)
    results, pairs = read_results(tmp_path / "results.jsonl"), [("dual-finetune", "late")]
    table = few_labels.gains(results, tmp_path, pairs, evidence=True)
    assert [row[0] for row in table.rows] == ["Dual-SimCLR, fine-tuned − Late fusion", "100% of the labels"]
    assert table.rows[1][1] == "+30.0" and table.rows[1][3] == "yes"
    smoke = few_labels.gains(results, tmp_path, pairs, evidence=False)
    assert smoke.rows[1][3] == "smoke run, no evidence"


def test_two_methods_in_a_sentence_bring_both_scores_and_the_verdict_of_the_interval(tmp_path, write_model):
    write_model("late", 6, 1.0)
    write_model("mma-finetune", 9, 1.0)
    results = read_results(tmp_path / "results.jsonl")
    said = few_labels.versus(results, tmp_path, "mma-finetune", "late", evidence=True)
    assert (
        "is ahead of **Late fusion**: 90.0% against 60.0% average accuracy, a difference of +30.0 points"
        in said
    )
    assert "is behind" in few_labels.versus(results, tmp_path, "late", "mma-finetune", evidence=True)


def test_redrawn_test_sets_say_how_wide_their_intervals_are():
    draws = {"alone": np.linspace(0.5, 0.6, 1001), "together": np.linspace(0.4, 0.6, 1001)}
    alt = few_labels.redrawn(draws).eo_alt
    assert "alone 9.5 points" in alt and "together 19.0 points" in alt


def test_the_explorer_takes_methods_with_a_curve_and_refuses_none(tmp_path, write_model):
    write_model("late", 6, 1.0)
    with pytest.raises(DataError, match="two label fractions"):
        few_labels.label_explorer(read_results(tmp_path / "results.jsonl"), tmp_path)
    write_model("late", 5, 0.1)
    widget = few_labels.label_explorer(read_results(tmp_path / "results.jsonl"), tmp_path)
    assert [c["name"] for c in widget.curves] == ["Late fusion"] and widget.curves[0]["labels"] == [10, 100]
