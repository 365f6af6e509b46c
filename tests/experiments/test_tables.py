"""Everything measured: one row per combination, in the order of the tables, with the numbers of the interval."""

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from eo_ssl.cli import app
from eo_ssl.experiments.results import read_results
from eo_ssl.experiments.tables import COLUMNS, measured


def test_rows_hold_mean_interval_and_the_single_seeds_in_the_order_of_the_tables(tmp_path, write_model):
    for method, right, fraction in (("late", 7, 1.0), ("s1", 4, 1.0), ("late", 3, 0.1)):
        write_model(method, right, fraction)
    results = read_results(tmp_path / "results.jsonl")
    table = measured(results, tmp_path)
    assert sorted(table.columns) == sorted(COLUMNS)
    assert table[["method", "fraction"]].to_numpy().tolist() == [["s1", 1.0], ["late", 0.1], ["late", 1.0]]
    last = table.iloc[-1]
    assert last["mean"] == pytest.approx(0.7) and last["low"] < 0.7 < last["high"]
    assert last["values"] == [0.7] * 3 and last["seeds"] == 3 and last["n_labels"] == 100
    assert np.isnan(measured(results.assign(n_labels=None), tmp_path)["n_labels"].iloc[0])  # an ensemble
    both = measured(results, tmp_path, second=True)
    assert both["metric"].tolist() == ["aa", "oa"] * 3
    shown = CliRunner().invoke(app, ["evaluate", "table", str(tmp_path), "--task", "single"]).stdout
    assert all(word in shown for word in ("late", "aa", "oa", "0.7"))
    assert list(measured(pd.DataFrame(), tmp_path).columns) == COLUMNS
