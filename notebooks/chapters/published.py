"""The published numbers that this course redoes, as data: read from a table, digitised from a figure, or second-hand.

Two papers, two recipes. A number may be compared with others of the *same* paper, task and fraction only; that is why
every function here asks for the paper. What neither paper prints where we could read it (mIoU, the UNet, the ensemble,
any table of the second paper) is not here.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from eo_ssl.experiments.plan import get_method

NOT_PUBLISHED = "not published where we could read it"
KINDS = ("table", "figure", "second-hand")  # read from a table, digitised from a figure, quoted by others
MARKS = {"table": "{}", "figure": "≈ {}", "second-hand": "{}†"}
_SHARED, _SHARES = ("paper", "task", "kind", "within"), ("within", "value", "spread")
CONTENT = json.loads(Path(__file__).with_name("published.json").read_text(encoding="utf-8"))
PAPERS: dict[str, dict[str, str]] = CONTENT["papers"]  # title, citation key and setting


def numbers() -> pd.DataFrame:
    """All published numbers, one a row, as shares (0 to 1).

    Columns: paper, task ("single", "multi", "segment"), kind (`KINDS`), within (half a unit of the last digit, or how
    well the figure could be read), method (ours of the same kind), fraction (nominal), column (a class name or "aa",
    "oa", "f1_macro", "f1_micro"), value, spread (standard deviation over runs, NaN where not given).
    """
    rows = []
    for table in CONTENT["tables"]:
        for method, line in table["rows"].items():
            for column, cell in zip(table["columns"], line.split(), strict=True):
                rows.append([*map(table.get, _SHARED), method, 1.0, column, *map(float, cell.split("±"))])
    for curve in CONTENT["curves"]:
        for method, values in curve["rows"].items():
            for fraction, value in zip(curve["fractions"], values, strict=True):
                rows.append([*map(curve.get, _SHARED), method, fraction, curve["metric"], value, np.nan])
    names = [*_SHARED, "method", "fraction", "column", "value", "spread"]
    return pd.DataFrame(rows, columns=names).assign(**{k: lambda all, k=k: all[k] / 100 for k in _SHARES})


def scores(paper: str, task: str) -> pd.DataFrame:
    """The summary scores of a paper's task, method × fraction; a table goes before a figure. Empty: nothing published."""
    found = numbers()
    found = found[(found["paper"] == paper) & (found["task"] == task)]
    found = found[found["column"].isin(("aa", "f1_macro"))]
    found = found.sort_values("kind", key=lambda kinds: kinds.map(KINDS.index), kind="stable")
    return found.drop_duplicates(["method", "fraction"]).reset_index(drop=True)


def score(paper: str, task: str, method: str, fraction: float) -> pd.Series:
    """One published summary score; it must be there."""
    found = scores(paper, task)
    return found[(found["method"] == method) & (found["fraction"] == fraction)].iloc[0]


def table(task: str) -> pd.DataFrame:
    """The published table of a task in percent, mean ± standard deviation over runs, as the course prints its own."""
    found = numbers()
    found = found[(found["kind"] == "table") & (found["task"] == task)]
    value, spread = ((100 * found[name]).map("{:.0f}".format) for name in ("value", "spread"))
    wide = found.assign(cell=value + " ± " + spread).pivot(index="method", columns="column", values="cell")
    wide = wide.loc[list(dict.fromkeys(found["method"])), list(dict.fromkeys(found["column"]))]
    names = {"aa": "AA", "oa": "OA", "f1_macro": "Avg F1", "f1_micro": "O-F1"}
    wide.index = pd.Index([get_method(m).label for m in wide.index], name="Method")
    return wide.rename(columns=names).rename_axis(columns=None)
