"""Chapter 08: the headline is worded by the interval."""

import numpy as np
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
    assert "not evidence" in headline(tmp_path, evidence=False)


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


def test_redrawn_test_sets_say_how_wide_their_intervals_are():
    draws = {"alone": np.linspace(0.5, 0.6, 1001), "together": np.linspace(0.4, 0.6, 1001)}
    alt = few_labels.redrawn(draws).eo_alt
    assert "alone 9.5 points" in alt and "together 19.0 points" in alt
