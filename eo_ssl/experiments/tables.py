"""From lines of results to the rows of a table: mean and interval over seeds and places, and comparisons."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eo_ssl.errors import DataError
from eo_ssl.evaluate.intervals import Interval, hierarchical_interval, paired_difference
from eo_ssl.evaluate.metrics import METRICS
from eo_ssl.experiments.plan import METHODS
from eo_ssl.files import inside

TASKS = {"single": "one label per patch", "multi": "several labels per patch", "segment": "a label per pixel"}
MAIN = {"single": "aa", "multi": "f1_macro", "segment": "miou"}
SECOND = {"single": "oa", "multi": "f1_micro", "segment": "aa"}
ROW = ["task", "method", "fraction"]
COLUMNS = [*ROW, "label", "n_labels", "seeds", "metric", "mean", "low", "high", "values"]


def finished(results: pd.DataFrame, task: str = "") -> pd.DataFrame:
    """The lines of trained and tested models: without those that only tried a learning rate."""
    if "test_reads" not in results:
        return results[:0]
    found = results[results["test_reads"] == 1]
    return found[found["task"] == task] if task else found


def counts_of(folder: str | Path, lines: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Counts per seed and test patch, (S, N, ...), and the overlap group of each patch, (N,).

    Raises `DataError` when a file is missing or the models were tested on different patches.
    """
    counts, groups, rows = [], None, None
    for key in lines["key"]:
        path = inside(Path(folder), "counts", f"{key}.npz")
        if not path.is_file():
            raise DataError(
                f"{path}: no counts for {key}; delete its line in results.jsonl and run the grid again"
            )
        with np.load(path, allow_pickle=False) as file:
            if rows is not None and not np.array_equal(rows, file["rows"]):
                raise DataError(f"{path}: tested on other patches than the models it is compared with")
            counts.append(file["counts"])
            rows, groups = file["rows"], file["group"]
    if groups is None:
        raise DataError(f"{folder}: no results to draw intervals from; run the grid first")
    return np.stack(counts), groups


def pick(results: pd.DataFrame, task: str, method: str, fraction: float) -> pd.DataFrame:
    """The lines of all seeds of one method at one fraction, in the order of seeds."""
    found = finished(results, task)
    found = found[(found["method"] == method) & np.isclose(found["fraction"], fraction)]
    if not len(found):
        raise DataError(f"no results for {task} {method} at {fraction:g} of the labels; run the grid first")
    return found.sort_values("seed")


def interval(
    folder: str | Path, results: pd.DataFrame, task: str, method: str, fraction: float, metric: str = ""
) -> Interval:
    """Mean over seeds of the main metric of the task (or `metric`), with its interval over seeds and places."""
    counts, groups = counts_of(folder, pick(results, task, method, fraction))
    return hierarchical_interval(counts, groups, METRICS[metric or MAIN[task]])


def compare(
    folder: str | Path,
    results: pd.DataFrame,
    task: str,
    first: tuple[str, float],
    second: tuple[str, float],
    metric: str = "",
) -> Interval:
    """Difference of (method, fraction) `first` minus `second`, paired over seeds and places."""
    (a, groups), (b, _) = (counts_of(folder, pick(results, task, *one)) for one in (first, second))
    return paired_difference(a, b, groups, METRICS[metric or MAIN[task]])


def measured(results: pd.DataFrame, folder: str | Path, second: bool = False) -> pd.DataFrame:
    """Mean over seeds of each task's main metric, with its 95% interval over seeds and places, as shares.

    One row per task, method, fraction and metric, in the order of the tables; columns as in `COLUMNS`. With
    `second` a row of the second metric follows, where it has an interval. n_labels is NaN where a model has no
    labels of its own (an ensemble); values are those of the seeds, in their order.
    """
    rows: list[dict[str, Any]] = []
    found = finished(results)
    for (task, method, fraction), lines in found.groupby(ROW) if len(found) else ():
        labels = lines["n_labels"].astype(float).mean() if "n_labels" in lines else np.nan
        for metric in (MAIN[task], SECOND[task])[: 1 + second]:
            if metric not in METRICS:
                continue
            got = interval(folder, results, task, method, fraction, metric)
            rows.append({
                "task": task,
                "method": method,
                "fraction": float(fraction),
                "label": METHODS[method].label if method in METHODS else method,
                "n_labels": float(labels),
                "seeds": len(lines),
                "metric": metric,
                "mean": got.value,
                "low": got.low,
                "high": got.high,
                "values": lines.sort_values("seed")[f"test.{metric}"].tolist(),
            })  # fmt: skip
    return in_order(rows) if rows else pd.DataFrame(columns=COLUMNS)


def in_order(rows: Iterable[dict[str, Any]] | pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of the tables: tasks, then methods, then fractions; unknown methods come last."""
    place = {name: i for names in (TASKS, METHODS) for i, name in enumerate(names)}

    def key(column: pd.Series) -> pd.Series:
        return column if column.name == "fraction" else column.map(place).fillna(len(place))

    return pd.DataFrame(rows).sort_values(ROW, key=key, kind="stable", ignore_index=True)
