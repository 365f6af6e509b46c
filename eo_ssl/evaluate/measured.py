"""Everything that a run measured, one row per task, method and label fraction, with its interval."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eo_ssl.evaluate.methods import METHODS, get_method
from eo_ssl.evaluate.summary import MAIN, finished, interval

TASKS = {"single": "one label per patch", "multi": "several labels per patch", "segment": "a label per pixel"}
COLUMNS = (
    "task",
    "method",
    "label",
    "fraction",
    "n_labels",
    "seeds",
    "metric",
    "mean",
    "low",
    "high",
    "values",
)


def measured(results: pd.DataFrame, folder: str | Path) -> pd.DataFrame:
    """Mean of the task's main metric over seeds, with its 95% interval over seeds and places, as shares.

    Columns as in `COLUMNS`; n_labels is NaN where a model has no labels of its own (an ensemble). Rows stand in
    the order of the tables: by task, method, fraction.
    """
    rows: list[dict[str, Any]] = []
    found = finished(results)
    if not len(found):
        return pd.DataFrame(rows, columns=list(COLUMNS))
    for (task, method, fraction), lines in found.groupby(["task", "method", "fraction"]):
        metric = MAIN[task]
        got = interval(folder, results, task, method, fraction)
        labels = lines["n_labels"].dropna() if "n_labels" in lines else []
        rows.append({
            "task": task, "method": method, "label": get_method(method).label, "fraction": float(fraction),
            "n_labels": float(np.mean(labels)) if len(labels) else np.nan, "seeds": len(lines), "metric": metric,
            "mean": got.value, "low": got.low, "high": got.high,
            "values": lines.sort_values("seed")[f"test.{metric}"].tolist(),
        })  # fmt: skip
    return in_order(rows)


def in_order(rows: Iterable[dict[str, Any]] | pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of the tables: tasks, then methods, then fractions; unknown methods come last."""
    table = pd.DataFrame(rows)
    places = {name: i for i, name in enumerate(METHODS)}
    keys = [
        table["task"].map({name: i for i, name in enumerate(TASKS)}),
        table["method"].map(places).fillna(len(places)),
        table["fraction"],
    ]
    return table.iloc[np.lexsort([np.asarray(k, dtype=float) for k in reversed(keys)])].reset_index(drop=True)
