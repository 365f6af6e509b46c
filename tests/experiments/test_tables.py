"""Everything measured: one row per combination, in the order of the tables, with the numbers of the interval."""

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from eo_ssl.cli import app
from eo_ssl.experiments.results import append_result, read_results
from eo_ssl.experiments.tables import COLUMNS, in_order, measured


def write(folder, method, fraction, seed, right, n_labels=10):
    """A model that has `right` of ten patches right, and its counts."""
    counts = np.zeros((10, 8, 8), np.int32)
    counts[np.arange(10), 0, (np.arange(10) >= right).astype(int)] = 1
    key = f"single {method} f={fraction:g} s={seed}"
    path = folder / "counts" / f"{key.replace(' ', '_')}.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez(path, counts=counts, rows=np.arange(10), group=np.arange(10))
    test = {"aa": right / 10, "oa": right / 10}
    line = {
        "key": key,
        "task": "single",
        "method": method,
        "fraction": fraction,
        "seed": seed,
        "test_reads": 1,
    }
    append_result(folder / "results.jsonl", {**line, "n_labels": n_labels, "test": test})


def test_rows_hold_mean_interval_and_the_single_seeds(tmp_path):
    for seed, right in enumerate((5, 7, 9)):
        write(tmp_path, "late", 1.0, seed, right)
    write(tmp_path, "s1", 1.0, 0, 4)
    write(tmp_path, "late", 0.1, 0, 3)
    table = measured(read_results(tmp_path / "results.jsonl"), tmp_path)
    assert sorted(table.columns) == sorted(COLUMNS)
    assert table[["method", "fraction"]].to_numpy().tolist() == [["s1", 1.0], ["late", 0.1], ["late", 1.0]]
    last = table.iloc[-1]
    assert last["mean"] == pytest.approx(0.7) and last["low"] < 0.7 < last["high"] and last["seeds"] == 3
    assert last["values"] == [0.5, 0.7, 0.9] and last["n_labels"] == 10


def test_the_second_metric_and_the_printed_table(tmp_path):
    for seed, right in enumerate((5, 7)):
        write(tmp_path, "late", 1.0, seed, right)
    both = measured(read_results(tmp_path / "results.jsonl"), tmp_path, second=True)
    assert both["metric"].tolist() == ["aa", "oa"] and both["mean"].tolist() == pytest.approx([0.6, 0.6])
    shown = CliRunner().invoke(app, ["evaluate", "table", str(tmp_path), "--task", "single"]).stdout
    assert all(word in shown for word in ("late", "aa", "oa", "0.6"))


def test_a_model_without_labels_of_its_own_has_none_and_nothing_measured_is_an_empty_table(tmp_path):
    write(tmp_path, "late", 1.0, 0, 5, n_labels=None)
    assert np.isnan(measured(read_results(tmp_path / "results.jsonl"), tmp_path)["n_labels"].iloc[0])
    assert list(measured(pd.DataFrame(), tmp_path).columns) == COLUMNS


def test_order_goes_by_task_method_and_fraction_with_unknown_methods_last():
    rows = [("segment", "unet", 1), ("single", "new", 1), ("single", "late", 1), ("single", "late", 0.1),
            ("single", "s1", 1)]  # fmt: skip
    table = in_order([dict(zip(("task", "method", "fraction"), row)) for row in rows])
    assert table["method"].tolist() == ["s1", "late", "late", "new", "unet"] and table["fraction"][1] == 0.1
