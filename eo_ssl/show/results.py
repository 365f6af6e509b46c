"""Tables and figures of results: label efficiency, accuracy per class, paired differences, the table that grows.

`results` are the lines of a run's results.jsonl, `folder` is the run, where the counts for the intervals lie. A method has
one look in every figure: the colour says what was pretrained, a dashed line that it stayed frozen.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from eo_ssl.experiments import tables
from eo_ssl.experiments.plan import METHODS, get_method, make_grid
from eo_ssl.experiments.results import read_results
from eo_ssl.experiments.tables import MAIN, SECOND, TASKS, compare, interval, pick
from eo_ssl.profiles import NO_EVIDENCE
from eo_ssl.sensors import CLASS_NAMES
from eo_ssl.show.figure import PALETTE
from eo_ssl.show.plots import bars, lines
from eo_ssl.show.tables import Table
from eo_ssl.show.words import settled, signed, verdict

METRIC_NAMES = {
    "aa": "average accuracy (AA)",
    "oa": "overall accuracy (OA)",
    "f1_macro": "macro F1",
    "f1_micro": "micro F1",
    "map": "mean average precision (mAP)",
    "miou": "mean intersection over union (mIoU)",
}
_COLUMNS = {  # the first five of the papers
    "aa": "AA", "oa": "OA", "f1_macro": "Avg F1", "f1_micro": "O-F1", "miou": "mIoU", "map": "mAP"
}  # fmt: skip
_PER_CLASS = {
    "single": ("recall", "per_class"),
    "multi": ("F1", "f1_per_class"),
    "segment": ("IoU", "iou_per_class"),
}
PARTS = ("fusion", "few-labels", "swin", "segmentation")  # of the grid, run by chapters 03, 08, 09 and 10
_COLOURS = {
    "s1": PALETTE[4], "s2": PALETTE[0], "early": PALETTE[5], "late": PALETTE[6],
    "simclr": PALETTE[0], "simclr-rgb": PALETTE[5], "dual-simclr": PALETTE[2], "mma": PALETTE[3],
    "swin-pair": PALETTE[1], "unet": PALETTE[5], "ensemble": PALETTE[4], "untrained": "#777777",
}  # fmt: skip
NOTHING = "nothing was measured yet: run chapter 03, 08, 09 or 10 first"
Key = tuple[str, str, float]  # task, method, fraction


def short_name(metric: str) -> str:
    """A metric for a column.

    >>> short_name("aa"), short_name("f1_macro"), short_name("miou")
    ('AA', 'macro F1', 'mIoU')
    """
    return METRIC_NAMES[metric].split("(")[-1].rstrip(")")


def style_of(method: str) -> dict[str, str]:
    """Colour, line and marker that a method has in every figure."""
    found = get_method(method)
    key = next((k for k in (found.pretraining, found.model) if k in _COLOURS), "late")
    line, marker = "--" if found.mode == "frozen" else "-", "osD^vPX*"[list(_COLOURS).index(key) % 8]
    if found.released:
        line = ":"
    elif key == "late" and found.family != "resnet":  # another network from scratch
        line, marker = "-.", {"swin": "v", "deep": "<"}.get(found.family, ">")
    return {"color": _COLOURS[key], "marker": marker, "linestyle": line}


def table(results: pd.DataFrame, task: str) -> pd.DataFrame:
    """The table of the papers, with all labels: one row per method, mean ± standard deviation over seeds in percent.

    Columns are the two summary metrics, of several labels mAP as well, and the classes (recall, F1 or IoU, after the
    task). A class that does not occur in the test set, or a single seed without spread, is shown as such.
    """
    rows, metrics = {}, (MAIN[task], SECOND[task], *(("map",) if task == "multi" else ()))
    for name in METHODS:
        if 1.0 in _fractions(results, task, name):
            seeds = pick(results, task, name, 1.0)
            row = {_COLUMNS[m]: _spread(seeds[f"test.{m}"].to_numpy(float)) for m in metrics}
            rows[get_method(name).label] = row | dict(
                zip(CLASS_NAMES, map(_spread, _per_class(seeds, task).T))
            )
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(columns="Method")


def _per_class(seeds: pd.DataFrame, task: str) -> np.ndarray:
    return np.array(seeds[f"test.{_PER_CLASS[task][1]}"].tolist(), dtype=float)  # (seeds, 8)


def _spread(values: np.ndarray) -> str:
    if np.isnan(values).all():
        return "–"
    mean = f"{100 * np.nanmean(values):.0f}"
    return f"{mean}\u00a0±\u00a0{100 * np.nanstd(values, ddof=1):.0f}" if len(values) > 1 else mean


def _fractions(results: pd.DataFrame, task: str, method: str) -> list[float]:
    found = tables.finished(results, task)
    return sorted(found.loc[found["method"] == method, "fraction"].unique()) if len(found) else []


def curve(
    results: pd.DataFrame, folder: str | Path, task: str, methods: Sequence[str] = (), metric: str = ""
) -> pd.DataFrame:
    """Value, low and high of each method at each fraction: the numbers behind `label_efficiency`."""
    found = tables.finished(results, task)
    found = found[found["method"].isin(methods)] if methods and len(found) else found
    rows = tables.measured(found, folder, second=metric not in ("", MAIN[task]))
    return rows[rows["metric"] == (metric or MAIN[task])].rename(columns={"mean": "value"})


def label_efficiency(
    results: pd.DataFrame, folder: str | Path, task: str = "single", methods: Sequence[str] = ()
) -> Figure:
    """Score against the share of labels, with 95% intervals over seeds and places."""
    points = curve(results, folder, task, methods)
    wide = 100 * points.pivot(index="fraction", columns="label", values=["value", "low", "high"])
    names = dict(zip(points["label"], points["method"]))
    fig = lines(
        [100 * f for f in wide.index],
        {label: wide["value", label] for label in names},
        "labels used for fine-tuning, % of the training patches",
        f"{METRIC_NAMES[MAIN[task]]}, %",
        bands={label: (wide["low", label], wide["high", label]) for label in names},
        styles={label: style_of(name) for label, name in names.items()},
        size=(6.4, 3.9),
        log="x",
    )
    fig.axes[0].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=3.2)  # a dash must show
    return fig


def per_class_bars(results: pd.DataFrame, task: str, methods: Sequence[str]) -> Figure:
    """Recall (or F1, IoU) of each class with all labels as bars side by side, lines for the spread over seeds."""
    means, looks = {}, {}
    for name in methods:
        values, label = 100 * _per_class(pick(results, task, name, 1.0), task), get_method(name).label
        means[label] = np.where(np.isnan(values).all(0), np.nan, np.nan_to_num(values).mean(0))
        hatch = "//" if get_method(name).mode == "frozen" else None
        looks[label] = {"color": style_of(name)["color"], "hatch": hatch}
        if len(values) > 1:
            looks[label]["yerr"] = np.nan_to_num(values).std(0, ddof=1)
    return bars(means, CLASS_NAMES, f"{_PER_CLASS[task][0]}, %", looks=looks, ylim=(0, 105))


def versus(
    results: pd.DataFrame,
    folder: str | Path,
    first: str,
    second: str,
    task: str = "single",
    fraction: float = 1.0,
    other: float | None = None,
) -> str:
    """Two methods in a sentence: both scores, and the verdict by the paired interval over seeds and places.

    `other` is the label fraction of `second` where it differs from that of `first`.
    """
    both = ((first, fraction), (second, fraction if other is None else other))
    gap = compare(folder, results, task, *both)
    scores = [f"{interval(folder, results, task, *one).value:.1%}" for one in both]
    names = [get_method(name).label for name, _ in both]
    shares = ["all labels" if np.isclose(f, 1) else f"{f:.0%} of the labels" for _, f in both]
    start = f"With {shares[0]}, "
    if shares[0] != shares[1]:
        start, names = "", [f"{name} with {share}" for name, share in zip(names, shares)]
    by = f"{METRIC_NAMES[MAIN[task]]}, {' against '.join(scores[:: settled(gap) or 1])}"
    return f"{start}{verdict(*names, gap, by)}, paired over seeds and places"


def gains(
    results: pd.DataFrame,
    folder: str | Path,
    pairs: Sequence[tuple[str, str]],
    task: str = "single",
    *,
    evidence: bool,
) -> Table:
    """Paired differences of methods at each fraction that both have, in points, with intervals.

    Without `evidence` (a smoke run) every row says so where it would say whether the interval leaves out zero.
    """
    rows: list[tuple[str, ...]] = []
    for first, second in pairs:
        both = sorted({*_fractions(results, task, first)} & {*_fractions(results, task, second)})
        if both:
            rows.append((f"{get_method(first).label} − {get_method(second).label}",))
        for fraction in both:
            gap = compare(folder, results, task, (first, fraction), (second, fraction))
            sure = ("yes" if settled(gap) else "no") if evidence else NO_EVIDENCE
            span = f"{signed(gap.low)} to {signed(gap.high)}"
            rows.append((f"{fraction:.0%} of the labels", signed(gap.value), span, sure))
    head = ("Compared", "difference, points", "95% interval", "leaves out zero")
    return Table(head, tuple(rows), "Paired differences: over the same seeds and places.")


def growing_table(run: Any, part: str = "", task: str = "") -> Table:
    """What is known of a run up to a chapter's `part` of the grid ("" for all parts), of one `task` or of all.

    Each cell is the mean over seeds and the 95% interval over seeds and places, in percent; what this part
    added is bold, and its row says "new". What the plan leaves out is "–", what no chapter has run yet "not run".
    """
    earlier, own = planned(run.profile.name, part)
    found = tables.measured(read_results(run.root / "results.jsonl"), run.root)
    known = {(r["task"], r["method"], round(r["fraction"], 6)): r for r in found.to_dict("records")}
    plan = {key for key in earlier | own if not task or key[0] == task}
    fractions = sorted({fraction for *_, fraction in plan})
    rows: list[tuple[str, ...]] = []
    for one in (t for t in TASKS if any(key[0] == t for key in plan)):
        rows.append((f"{TASKS[one].capitalize()}: {METRIC_NAMES[MAIN[one]]}, %",))
        for method in (m for m in METHODS if any(key[:2] == (one, m) for key in plan)):
            keys = [(one, method, fraction) for fraction in fractions]
            cells = [_cell(known.get(key)) if key in plan or key in known else "–" for key in keys]
            cells = [f"**{cell}**" if key in own else cell for key, cell in zip(keys, cells)]
            seeds = sorted({known[key]["seeds"] for key in keys if key in known and key in plan})
            new = () if not part else ("new",) if own & {*keys} else ("",)
            rows.append((get_method(method).label, *cells, "–".join(map(str, seeds)) or "–", *new))
    head = ("Method", *(f"{100 * f:g}%" for f in fractions), "seeds", *(("added",) if part else ()))
    missing = len(plan - known.keys())
    caption = [
        "" if run.is_evidence else f"**{NO_EVIDENCE.capitalize()}.**",
        "Test scores by share of labels: mean over seeds and 95% interval over seeds and places.",
        "Bold: new in this chapter." if part else "",
        f"{missing} entries belong to chapters that this run has not reached." if missing else "",
    ]
    return Table(head, tuple(rows), " ".join(filter(None, caption)))


def planned(profile: str, part: str = "") -> tuple[set[Key], set[Key]]:
    """Task, method and fraction of all models of earlier parts, and of those that `part` adds ("": all are old)."""
    until = PARTS.index(part) if part else len(PARTS)
    each = [
        {(c.task, c.method, round(c.fraction, 6)) for c in make_grid(profile, (one,)).cells if c.rate is None}
        for one in PARTS
    ]
    earlier: set[Key] = set().union(*each[:until])
    return earlier, set().union(*each[until : until + 1]) - earlier


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "not run"
    mean, low, high = (100 * row[name] for name in ("mean", "low", "high"))
    return "–" if np.isnan(mean) else f"{mean:.0f} [{low:.0f}, {high:.0f}]"
