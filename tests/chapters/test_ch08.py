"""Chapter 08: the rival and the wording of the claim; checks accept any form and answer the usual mistakes by name."""

import pandas as pd
import pytest

from chapters import ch08
from eo_ssl.errors import DataError
from eo_ssl.evaluate.intervals import Interval
from eo_ssl.experiments.results import read_results


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.01, 0.05, "**The claim holds in this run.**"),
        (-0.05, -0.01, "**The claim does not hold in this run.**"),
        (-0.01, 0.01, "**This run does not settle the claim.**"),
    ],
)
def test_the_claim_is_worded_by_its_interval(low, high, words):
    assert ch08.claim(Interval((low + high) / 2, low, high)) == words


def test_the_rival_is_the_best_supervised_model_with_all_labels(tmp_path, write_model):
    write_model("dual-finetune", 10, 1.0)
    with pytest.raises(DataError, match="chapter 03"):
        ch08.best_supervised(read_results(tmp_path / "results.jsonl"), tmp_path)
    for method, fraction, right in (("late", 1.0, 6), ("early", 1.0, 8), ("late", 0.1, 9)):
        write_model(method, right, fraction)
    rival = ch08.best_supervised(read_results(tmp_path / "results.jsonl"), tmp_path)
    assert rival["method"] == "early" and rival["value"] == pytest.approx(0.8)


def test_rates_at_an_end_of_their_list_are_named():
    tried = {"0.001": 0.4, "0.01": 0.5, "0.1": 0.45}
    rows = [("late", 0.01, tried), ("dual-frozen", 0.1, tried), ("s1", 0.001, {}), ("early", 0.001, tried)]
    results = pd.DataFrame(rows, columns=["method", "lr", "rates"]).assign(task="single")
    said = ch08.at_an_end(results)
    assert "Dual-SimCLR, frozen (largest), Early fusion (smallest)" in said and "Late" not in said
    assert "No chosen" in ch08.at_an_end(results[:1])
