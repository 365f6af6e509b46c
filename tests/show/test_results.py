"""Tables and figures of results: right numbers, alt text from the data, absent classes and single seeds."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest

from eo_ssl.errors import DataError
from eo_ssl.evaluate.metrics import average_accuracy
from eo_ssl.experiments.plan import METHODS
from eo_ssl.experiments.results import append_result, read_results
from eo_ssl.experiments.tables import compare, finished, interval, summary
from eo_ssl.show import results as show
from eo_ssl.show import results_panel


def write(folder, method, fraction, seed, skill, task="single", patches=60):
    """A line and its counts: each test patch of classes 0 to 6 right with probability `skill`; class 7 absent."""
    rng = np.random.default_rng(seed + int(1000 * fraction))
    truth = np.arange(patches) % 7
    guess = np.where(rng.random(patches) < skill, truth, (truth + 1) % 7)
    counts = np.zeros((patches, 8, 8), np.int32)
    counts[np.arange(patches), truth, guess] = 1
    total = counts.sum(0)
    recall = [total[c, c] / total[c].sum() if total[c].sum() else None for c in range(8)]
    key = f"{task} {method} f={fraction:g} s={seed}"
    aa = float(average_accuracy(total[None])[0])
    test = {
        "aa": aa, "oa": float((truth == guess).mean()), "miou": aa, "per_class": recall, "iou_per_class": recall,
        "confusion": total.tolist(),
    }  # fmt: skip
    line = {
        "key": key, "task": task, "method": method, "fraction": fraction, "seed": seed, "test": test,
        "n_labels": round(100 * fraction), "seconds": 1.0, "test_reads": 1, "val_score": 0.5,
    }  # fmt: skip
    append_result(folder / "results.jsonl", line)
    (folder / "counts").mkdir(exist_ok=True)
    maps = {f"map_{row}": np.full((4, 4), row % 8, np.uint8) for row in (3, 4)}
    path = folder / "counts" / f"{key.replace(' ', '_')}.npz"
    np.savez_compressed(path, counts=counts, rows=np.arange(patches), group=np.arange(patches), **maps)


@pytest.fixture
def run(tmp_path):
    for seed in range(3):
        for fraction in (0.1, 1.0):
            write(tmp_path, "late", fraction, seed, 0.5 + 0.1 * fraction)
            write(tmp_path, "dual-finetune", fraction, seed, 0.8 + 0.1 * fraction)
        write(tmp_path, "dual-frozen", 1.0, seed, 0.7)
    append_result(
        tmp_path / "results.jsonl", {"key": "tuning", "task": "single", "method": "late", "fraction": 1.0}
    )
    return tmp_path, read_results(tmp_path / "results.jsonl")


def test_the_table_has_mean_and_spread_in_percent_and_a_dash_for_absent_classes(run):
    _, results = run
    table = show.table(results, "single", digits=1)
    assert list(table.index) == ["Late fusion", "Dual-SimCLR, frozen", "Dual-SimCLR, fine-tuned"]
    lines = results[(results["method"] == "late") & (results["fraction"] == 1.0)]["test.aa"].dropna()
    assert (
        table.loc["Late fusion", "AA"]
        == f"{100 * lines.mean():.1f}\u00a0±\u00a0{100 * lines.std(ddof=1):.1f}"
    )
    assert table.loc["Late fusion", "Water"] == "–"


def test_lines_that_only_tried_a_learning_rate_are_no_results(run):
    _, results = run
    assert len(results) == 16 and len(finished(results)) == 15 and summary(results)["seeds"].eq(3).all()


def test_the_curve_has_a_point_with_an_interval_for_every_method_and_fraction(run):
    folder, results = run
    points = show.curve(results, folder, "single")
    assert (
        len(points) == 5
        and (points["low"] <= points["value"]).all()
        and (points["value"] <= points["high"]).all()
    )
    late = results[(results["method"] == "late") & (results["fraction"] == 0.1)]["test.aa"]
    found = points[(points["method"] == "late") & (points["fraction"] == 0.1)]["value"].iloc[0]
    assert found == pytest.approx(late.mean())


def test_the_curve_says_its_numbers_in_words(run):
    folder, results = run
    fig = show.label_efficiency(results, folder)
    found = interval(folder, results, "single", "dual-finetune", 1.0)
    assert f"{100 * found.value:.0f} [{100 * found.low:.0f}, {100 * found.high:.0f}] with 100%" in fig.eo_alt
    assert "Late fusion" in fig.eo_alt and len(fig.axes[0].get_legend_handles_labels()[0]) == 3


def test_a_clear_difference_is_found_and_points_the_right_way(run):
    folder, results = run
    found = compare(folder, results, "single", ("dual-finetune", 1.0), ("late", 0.1))
    assert found.difference.low > 0 and found.p_not_better < 0.05
    back = compare(folder, results, "single", ("late", 0.1), ("dual-finetune", 1.0))
    assert back.difference.value == pytest.approx(-found.difference.value)


def test_bars_and_confusion_bring_alt_text_with_their_numbers(run):
    _, results = run
    assert "Dual-SimCLR, frozen: Forest" in show.per_class_bars(results).eo_alt
    alt = show.confusion(results, "late").eo_alt
    assert "Water does not occur" in alt and "taken for" in alt


def test_one_seed_is_shown_without_a_spread(tmp_path):
    write(tmp_path, "late", 1.0, 0, 0.6)
    results = read_results(tmp_path / "results.jsonl")
    assert "±" not in show.table(results, "single").to_string()
    assert "Late fusion" in show.per_class_bars(results).eo_alt


def test_missing_results_and_counts_are_named(run):
    folder, results = run
    with pytest.raises(DataError, match="mma-frozen"):
        interval(folder, results, "single", "mma-frozen", 1.0)
    next((folder / "counts").glob("single_late_f=1_*")).unlink()
    with pytest.raises(DataError, match="no counts"):
        interval(folder, results, "single", "late", 1.0)


def test_an_empty_run_gives_empty_tables():
    assert summary(pd.DataFrame()).empty and show.table(pd.DataFrame(), "single").empty


def test_methods_that_share_a_figure_can_be_told_apart():
    for names in (
        ("s1", "s2", "early", "late", "dual-finetune", "dual-frozen", "mma-finetune"),
        ("unet", "swinunet-scratch", "swinunet-finetune", "swinunet-frozen", "ensemble"),
    ):
        assert len({tuple(show.style_of(name).values()) for name in names}) == len(names)
    assert all(show.style_of(name) for name in METHODS)


class Source:
    patch_size = 4

    def mask(self, row, top, left, size):
        return np.full((4, 4), row % 8, np.uint8)

    def read(self, row):
        return {"s1": np.zeros((2, 4, 4)), "s2": np.zeros((13, 4, 4))}


def test_the_panel_shows_each_model_and_counts_its_errors(tmp_path):
    for method in results_panel.PANEL:
        write(tmp_path, method, 1.0, 0, 0.6, task="segment")
    results = read_results(tmp_path / "results.jsonl")
    fig = results_panel.qualitative(Source(), tmp_path, results)
    assert len(fig.axes) == 2 * 8 and "pixels right: UNet 100%" in fig.eo_alt


def test_the_panel_prefers_patches_that_show_more_classes():
    class Mixed(Source):
        def mask(self, row, top, left, size):
            return np.arange(16, dtype=np.uint8).reshape(4, 4) % (row + 1)

    assert results_panel.choose_rows(Mixed(), [0, 5, 2], 2) == [5, 2]
