"""Chapter 03: figures carry what they show in words; sentences follow the numbers; the explorer refuses odd input."""

import numpy as np
import pandas as pd
import pytest

from eo_ssl.errors import ConfigError
from eo_ssl.evaluate.results import append_result, read_results
from eo_ssl.show import fusion
from eo_ssl.show.widgets_fusion import metric_explorer


def write_model(folder, method, right, patches=40, seeds=3):
    """A model of `right` in ten correct on each of two classes, with its counts per patch."""
    (folder / "counts").mkdir(exist_ok=True)
    for seed in range(seeds):
        key = f"single {method} f=1 s={seed}"
        counts = np.zeros((patches, 8, 8), np.int64)
        for i in range(patches):
            truth, good = i % 2, (i // 2 + seed) % 10 < right
            counts[i, truth, truth if good else 1 - truth] = 1
        np.savez(folder / "counts" / f"{key.replace(' ', '_')}.npz",
                 counts=counts, rows=np.arange(patches), group=np.arange(patches))  # fmt: skip
        line = {
            "key": key,
            "method": method,
            "task": "single",
            "fraction": 1.0,
            "seed": seed,
            "test_reads": 1,
        }
        append_result(
            folder / "results.jsonl", {**line, "n_labels": 10, "seconds": 1.0, "test": {"aa": right / 10}}
        )


def words(folder, evidence=True):
    return fusion.best_words(read_results(folder / "results.jsonl"), folder, "single", evidence)


def test_a_clear_gain_is_called_one_and_a_loss_is_not(tmp_path):
    write_model(tmp_path, "s2", 5)
    write_model(tmp_path, "late", 9)
    assert "ahead by 40.0 points" in words(tmp_path) and "leaves out zero" in words(tmp_path)
    write_model(tmp_path, "s1", 10)
    assert "behind by" in words(tmp_path) and "**S1**" in words(tmp_path)


def test_equal_models_are_not_told_apart(tmp_path):
    for method in ("s2", "early"):
        write_model(tmp_path, method, 7)
    assert "does not settle" in words(tmp_path)


def test_a_smoke_run_says_so(tmp_path):
    for method in ("s2", "early"):
        write_model(tmp_path, method, 7)
    assert "no evidence" in words(tmp_path, evidence=False)


def test_alt_texts_hold_the_numbers():
    share = np.array([0.5, 0, 0, 0, 0.25, 0, 0, 0.25])
    assert "Forest 50%" in fusion.class_shares({"training": share}).eo_alt
    scores = pd.DataFrame(
        {"both sensors": [0.6], "without S2": [0.4], "without S1": [0.2]}, index=["Late fusion"]
    )
    assert "without S2 40 %" in fusion.lost_sensor(scores).eo_alt
    assert "10 to 30 %" in fusion.batch_averages([0.1, np.nan, 0.3], 0.2).eo_alt
    assert "undefined" in fusion.batch_averages([np.nan], 0.2).eo_alt


def test_the_explorer_needs_one_value_per_class():
    widget = metric_explorer(np.array([np.nan, *[0.5] * 7]), {"testing": np.full(8, 1 / 8)})
    assert widget.recall[0] == 0.0 and len(widget.names) == 8
    with pytest.raises(ConfigError, match="one per class"):
        metric_explorer(np.ones(7), {"testing": np.full(8, 1 / 8)})
