"""Chapter 03: figures carry what they show in words; sentences follow the numbers; the explorer refuses odd input."""

import numpy as np
import pandas as pd
import pytest

from eo_ssl.errors import ConfigError
from eo_ssl.experiments.results import read_results
from eo_ssl.show import fusion
from eo_ssl.show.widgets_fusion import metric_explorer


def words(folder, evidence=True):
    return fusion.best_words(read_results(folder / "results.jsonl"), folder, "single", evidence)


def test_a_clear_gain_is_called_one_and_a_loss_is_not(tmp_path, write_model):
    write_model("s2", 5)
    write_model("late", 9)
    assert "ahead by 40.0 points" in words(tmp_path) and "leaves out zero" in words(tmp_path)
    write_model("s1", 10)
    assert "behind by" in words(tmp_path) and "**S1**" in words(tmp_path)
    assert words(tmp_path).count("average accuracy") == 1  # a number without its metric says nothing


def test_equal_models_are_not_told_apart(tmp_path, write_model):
    for method in ("s2", "early"):
        write_model(method, 7)
    assert "does not settle" in words(tmp_path)


def test_a_smoke_run_says_so(tmp_path, write_model):
    for method in ("s2", "early"):
        write_model(method, 7)
    assert "no evidence" in words(tmp_path, evidence=False)


def test_alt_texts_hold_the_numbers():
    share = np.array([0.5, 0, 0, 0, 0.25, 0, 0, 0.25])
    assert "Forest 50%" in fusion.class_shares({"training": share}).eo_alt
    scores = pd.DataFrame(
        {"both sensors": [0.6], "without S2": [0.4], "without S1": [0.2]}, index=["Late fusion"]
    )
    assert "without S2 40%" in fusion.lost_sensor(scores).eo_alt
    chance = fusion.lost_sensor(scores, classes=5).axes[0].lines[0]
    assert list(chance.get_ydata()) == [20.0, 20.0]
    assert "10 to 30%" in fusion.batch_averages([0.1, np.nan, 0.3], 0.2).eo_alt
    assert "undefined" in fusion.batch_averages([np.nan], 0.2).eo_alt


def test_the_explorer_needs_one_value_per_class():
    widget = metric_explorer(np.array([np.nan, *[0.5] * 7]), {"testing": np.full(8, 1 / 8)})
    assert widget.recall[0] == 0.0 and len(widget.names) == 8
    with pytest.raises(ConfigError, match="one per class"):
        metric_explorer(np.ones(7), {"testing": np.full(8, 1 / 8)})
