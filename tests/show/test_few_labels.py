"""Chapter 08: the headline is worded by the interval, gains pair what both have, the explorer needs a curve."""

import pytest

from eo_ssl.errors import DataError
from eo_ssl.evaluate.results import read_results
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
    assert table["labels"].tolist() == ["100%"] and table["points"].tolist() == [30.0]
    assert table["excludes zero"].tolist() == ["yes"]
    smoke = few_labels.gains(results, tmp_path, pairs, evidence=False)
    assert smoke["excludes zero"].tolist() == ["smoke run, no evidence"]


def test_the_explorer_takes_methods_with_a_curve_and_refuses_none(tmp_path, write_model):
    write_model("late", 6, 1.0)
    with pytest.raises(DataError, match="two label fractions"):
        few_labels.label_explorer(read_results(tmp_path / "results.jsonl"), tmp_path)
    write_model("late", 5, 0.1)
    widget = few_labels.label_explorer(read_results(tmp_path / "results.jsonl"), tmp_path)
    assert [c["name"] for c in widget.curves] == ["Late fusion"] and widget.curves[0]["labels"] == [10, 100]
