"""The published numbers that this course redoes, as data: read from a table, digitised from a figure, or second-hand.

Two papers, two recipes. A number may be compared with others of the *same* paper, task and fraction only; that is why
every function here asks for the paper. What neither paper prints where we could read it (mIoU, the UNet, the ensemble,
any table of the second paper) is not here.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eo_ssl.errors import ConfigError
from eo_ssl.experiments.plan import get_method

NOT_PUBLISHED = "not published where we could read it"
KINDS = {
    "table": "read from a table",
    "figure": "digitised from a figure",
    "second-hand": "quoted by others",
}
MARKS = {"table": "{}", "figure": "≈ {}", "second-hand": "{}†"}
PAPERS = ("fusion", "transformers")
_FILE = Path(__file__).with_name("published.json")


@cache
def _content() -> dict[str, Any]:
    return json.loads(_FILE.read_text(encoding="utf-8"))


def paper(name: str) -> dict[str, str]:
    """Title, citation key and setting of "fusion" (2022, ISPRS) or "transformers" (2022, EarthVision)."""
    papers = _content()["papers"]
    if name not in papers:
        raise ConfigError(f"no paper called {name!r}; there are {', '.join(papers)}")
    return papers[name]


def claims() -> list[dict[str, Any]]:
    """The claims of both papers: text, paper, task, metric, and comparisons as "dual-finetune 0.1 > late 1"."""
    return _content()["claims"]


@cache
def _rows() -> tuple[dict[str, Any], ...]:
    rows = []
    for table in _content()["tables"]:
        shared = {k: table[k] for k in ("paper", "task", "kind", "within")}
        for method, line in table["rows"].items():
            for column, cell in zip(table["columns"], line.split(), strict=True):
                value, spread = map(float, cell.split("±"))
                rows.append({**shared, "method": method, "fraction": 1.0, "column": column, "value": value / 100,
                             "spread": spread / 100})  # fmt: skip
    for curve in _content()["curves"]:
        shared = {k: curve[k] for k in ("paper", "task", "kind", "within")}
        for method, values in curve["rows"].items():
            for fraction, value in zip(curve["fractions"], values, strict=True):
                rows.append({**shared, "method": method, "fraction": fraction, "column": curve["metric"],
                             "value": value / 100, "spread": np.nan})  # fmt: skip
    return tuple({**row, "within": row["within"] / 100} for row in rows)


def numbers() -> pd.DataFrame:
    """All published numbers, one a row, as shares (0 to 1).

    Columns: paper, task ("single", "multi", "segment"), kind (`KINDS`), within (half a unit of the last digit, or how
    well the figure could be read), method (ours of the same kind), fraction (nominal), column (a class name or "aa",
    "oa", "f1_macro", "f1_micro"), value, spread (standard deviation over runs, NaN where not given).
    """
    return pd.DataFrame(_rows())


def scores(paper: str, task: str) -> pd.DataFrame:
    """The summary scores of a paper's task, method × fraction; a table goes before a figure.

    Raises `ConfigError` where nothing was published.
    """
    found = numbers()
    found = found[(found["paper"] == paper) & (found["task"] == task)]
    found = found[found["column"].isin(("aa", "f1_macro"))]
    if not len(found):
        raise ConfigError(f"no numbers for {task} in the paper {paper!r}: {NOT_PUBLISHED}")
    order = {kind: i for i, kind in enumerate(KINDS)}
    found = found.sort_values("kind", key=lambda kinds: kinds.map(order), kind="stable")
    return found.drop_duplicates(["method", "fraction"]).reset_index(drop=True)


def score(paper: str, task: str, method: str, fraction: float) -> pd.Series | None:
    """One published summary score, or None where there is none."""
    try:
        found = scores(paper, task)
    except ConfigError:
        return None
    found = found[(found["method"] == method) & np.isclose(found["fraction"], fraction)]
    return found.iloc[0] if len(found) else None


def table(task: str) -> pd.DataFrame:
    """The published table of a task in percent, mean ± standard deviation over runs, as the course prints its own."""
    found = numbers()
    found = found[(found["kind"] == "table") & (found["task"] == task)]
    if not len(found):
        raise ConfigError(f"no table for {task!r}: {NOT_PUBLISHED}")
    cells = (100 * found["value"]).map("{:.0f}".format) + " ± " + (100 * found["spread"]).map("{:.0f}".format)
    wide = found.assign(cell=cells).pivot(index="method", columns="column", values="cell")
    wide = wide.loc[list(dict.fromkeys(found["method"])), list(dict.fromkeys(found["column"]))]
    names = {"aa": "AA", "oa": "OA", "f1_macro": "Avg F1", "f1_micro": "O-F1"}
    wide.index = pd.Index([get_method(m).label for m in wide.index], name="Method")
    return wide.rename(columns=names).rename_axis(columns=None)
