"""The table of chapter 11 to sort and filter in the page: all logic runs in the browser."""

from typing import Any

import anywidget
import numpy as np
import pandas as pd
import traitlets

from eo_ssl.errors import ConfigError
from eo_ssl.experiments.plan import METHODS
from eo_ssl.experiments.tables import TASKS
from eo_ssl.show.browser import script
from eo_ssl.show.results import METRIC_NAMES


class ResultsTable(anywidget.AnyWidget):
    """Results as a table: sort by any column, filter by task, labels, start and name; made by `results_table`."""

    _esm = script("results")
    rows = traitlets.List(traitlets.Dict()).tag(sync=True)
    tasks = traitlets.List(traitlets.List(traitlets.Unicode())).tag(sync=True)
    note = traitlets.Unicode("").tag(sync=True)


def results_table(table: pd.DataFrame, note: str = "") -> ResultsTable:
    """Explorer of the rows of `measured`; `note` (at smoke, that it is no evidence) stands above the table."""
    if not len(table):
        raise ConfigError("nothing was measured yet: run chapter 03, 08, 09 or 10 first")
    tasks = [[task, TASKS[task]] for task in TASKS if (table["task"] == task).any()]
    return ResultsTable(rows=[_row(row) for row in table.to_dict("records")], tasks=tasks, note=note)


def _row(row: dict[str, Any]) -> dict[str, Any]:
    method = METHODS[row["method"]]
    labels = None if np.isnan(row["n_labels"]) else round(row["n_labels"])
    start = "mixed" if method.members else "pretrained" if method.pretraining else "from scratch"
    return {
        "task": row["task"], "label": row["label"], "start": start, "fraction": row["fraction"], "labels": labels,
        "seeds": int(row["seeds"]), "metric": METRIC_NAMES[row["metric"]].split("(")[-1].rstrip(")"),
        **{k: round(float(row[k]), 4) for k in ("mean", "low", "high")},
        "values": [round(float(v), 4) for v in row["values"]],
    }  # fmt: skip
