"""Chapter 08: the rival of the headline claim, and rates at an end of their list."""

import pandas as pd
import pytest

from chapters import ch08
from eo_ssl.experiments.results import read_results


def test_the_rival_is_the_best_supervised_model_with_all_labels(tmp_path, write_model):
    write_model("dual-finetune", 10, 1.0)
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
