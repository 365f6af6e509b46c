"""From lines of results to the rows of a table: mean, spread and interval over seeds and places."""

from pathlib import Path

import numpy as np
import pandas as pd

from eo_ssl.errors import DataError
from eo_ssl.evaluate.intervals import METRICS, Comparison, Interval, hierarchical_interval, paired_difference
from eo_ssl.evaluate.methods import METHODS

MAIN = {"single": "aa", "multi": "f1_macro", "segment": "miou"}
SECOND = {"single": "oa", "multi": "f1_micro", "segment": "aa"}


def finished(results: pd.DataFrame, task: str = "") -> pd.DataFrame:
    """The lines of trained and tested models: without those that only tried a learning rate."""
    if not len(results):
        return results
    found = results[results["test_reads"] == 1] if "test_reads" in results else results[:0]
    return found[found["task"] == task] if task else found


def summary(results: pd.DataFrame) -> pd.DataFrame:
    """One row per task, method and fraction: labels, seeds, mean and standard deviation over seeds."""
    found, rows = finished(results), []
    if not len(found):
        return pd.DataFrame()
    for (task, method, fraction), group in found.groupby(["task", "method", "fraction"]):
        row = {"task": task, "method": method, "fraction": fraction, "seeds": len(group)}
        labels = group["n_labels"].dropna() if "n_labels" in group else []
        row["labels"] = round(float(labels.mean())) if len(labels) else np.nan
        for name in (MAIN[task], SECOND[task]):
            values = group[f"test.{name}"]
            row[name], row[f"{name}_sd"] = values.mean(), values.std(ddof=1) if len(values) > 1 else np.nan
        row["seconds"] = group["seconds"].mean()
        rows.append(row)
    order = {name: i for i, name in enumerate(METHODS)}
    table = pd.DataFrame(rows)
    table["_order"] = table["method"].map(order).fillna(len(order))
    columns = ["task", "_order", "fraction"]
    return table.sort_values(columns).drop(columns="_order").round(4).reset_index(drop=True)


def counts_of(folder: str | Path, lines: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Counts per seed and test patch, (S, N, ...), and the overlap group of each patch, (N,).

    Raises `DataError` when a file is missing or the models were tested on different patches.
    """
    counts, groups, rows = [], None, None
    for key in lines["key"]:
        path = Path(folder) / "counts" / f"{str(key).replace(' ', '_').replace('/', '-')}.npz"
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
) -> Comparison:
    """Difference of (method, fraction) `first` minus `second`, paired over seeds and places."""
    (a, groups), (b, _) = (
        counts_of(folder, pick(results, task, method, fraction)) for method, fraction in (first, second)
    )
    return paired_difference(a, b, groups, METRICS[metric or MAIN[task]])
