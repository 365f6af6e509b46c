"""Tables and figures of results: label efficiency, accuracy per class, confusion, the table that grows, other profiles.

`results` are the lines of a run's results.jsonl, `folder` is the run, where the counts for the intervals lie. A method has
one look in every figure: the colour says what was pretrained, a dashed line that it stayed frozen.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from eo_ssl.errors import ConfigError
from eo_ssl.experiments import tables
from eo_ssl.experiments.plan import METHODS, get_method, make_grid
from eo_ssl.experiments.results import read_results
from eo_ssl.experiments.tables import MAIN, SECOND, TASKS, compare, in_order, interval, pick
from eo_ssl.profiles import NO_EVIDENCE
from eo_ssl.sensors import CLASS_NAMES
from eo_ssl.show.figure import PALETTE, describe
from eo_ssl.show.plots import bars, forest, lines, matrix
from eo_ssl.show.tables import Table
from eo_ssl.show.words import settled, signed, verdict

METRIC_NAMES = {
    "aa": "average accuracy (AA)",
    "oa": "overall accuracy (OA)",
    "f1_macro": "macro F1",
    "f1_micro": "micro F1",
    "miou": "mean intersection over union (mIoU)",
}
_COLUMNS = {"aa": "AA", "oa": "OA", "f1_macro": "Avg F1", "f1_micro": "O-F1", "miou": "mIoU"}  # of the papers
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
_SHADES = ("#c6d5e6", "#8fb0d2", "#5b86b5", "#1f4a7a")  # light to dark: few labels to all
NOTHING = "nothing was measured yet: run chapter 03, 08, 09 or 10 first"
Key = tuple[str, str, float]  # task, method, fraction
Release = Mapping[str, Any]  # results of a profile that are kept with the book


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
    line = "--" if found.mode == "frozen" else "-"
    return {"color": _COLOURS[key], "marker": "osD^vPX*"[list(_COLOURS).index(key) % 8], "linestyle": line}


def table(results: pd.DataFrame, task: str) -> pd.DataFrame:
    """The table of the papers, with all labels: one row per method, mean ± standard deviation over seeds in percent.

    Columns are the two summary metrics and the classes (recall, F1 or IoU, after the task). A class that does not
    occur in the test set, or a single seed without spread, is shown as such.
    """
    rows = {}
    for name in METHODS:
        if 1.0 in _fractions(results, task, name):
            seeds = pick(results, task, name, 1.0)
            main, second = (_spread(seeds[f"test.{m}"].to_numpy(float)) for m in (MAIN[task], SECOND[task]))
            row = {_COLUMNS[MAIN[task]]: main, _COLUMNS[SECOND[task]]: second}
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


def confusion(results: pd.DataFrame, method: str) -> Figure:
    """Confusion matrix of a single-label method with all labels, summed over seeds, each row (true class) in percent."""
    counts, said = np.sum(pick(results, "single", method, 1.0)["test.confusion"].tolist(), 0), []  # (8, 8)
    total = counts.sum(1, keepdims=True)
    share = 100 * counts / np.where(total > 0, total, np.nan)  # a class that does not occur is hatched
    for i, name in enumerate(CLASS_NAMES):
        wrong = np.where(np.arange(len(share)) == i, -1, share[i])
        j = int(wrong.argmax())
        taken = f", {wrong[j]:.0f}% taken for {CLASS_NAMES[j]}" if wrong[j] >= 5 else ""
        said.append(f"{name}: {share[i, i]:.0f}% right{taken}" if total[i] else f"{name} does not occur")
    label = get_method(method).label
    look = {"colourbar": "% of the true class", "title": label, "xlabel": "predicted", "ylabel": "true"}
    alt = f"Confusion matrix of {label}. {'; '.join(said)}."
    return matrix(share, CLASS_NAMES, CLASS_NAMES, "{:.0f}", (0, 100), alt=alt, **look)


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
    gap = compare(folder, results, task, *both).difference
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
            gap = compare(folder, results, task, (first, fraction), (second, fraction)).difference
            sure = ("yes" if settled(gap) else "no") if evidence else NO_EVIDENCE
            span = f"{signed(gap.low)} to {signed(gap.high)}"
            rows.append((f"{fraction:.0%} of the labels", signed(gap.value), span, sure))
    head = ("Compared", "difference, points", "95% interval", "leaves out zero")
    return Table(head, tuple(rows), "Paired differences: over the same seeds and places.")


def growing_table(run: Any, part: str = "", task: str = "") -> Table:
    """What is known of a run up to a chapter's `part` of the grid ("" for all parts), of one `task` or of all.

    Each cell is the mean over seeds and the 95% interval over seeds and places, in percent; what this part
    added is bold, and its row says "new". What the plan leaves out is "–", what no chapter has run yet "not run".
    Raises `ConfigError` for a part or a task that does not exist.
    """
    for name, there in ((part, PARTS), (task, TASKS)):
        if name and name not in there:
            raise ConfigError(f"no {name!r} in the growing table; there are {', '.join(there)}")
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


def overview(table: pd.DataFrame) -> Figure:
    """Every method of every task with its interval, one mark per share of labels; rows of `measured`."""
    if not len(table):
        raise ConfigError(NOTHING)
    table = table.assign(mark=[f"{100 * f:g}% of the labels" for f in table["fraction"]])
    marks = table.sort_values("fraction")["mark"].unique()
    best = table.loc[table.groupby(["task", "mark"], sort=False)["mean"].idxmax()]
    said = "; ".join(f"{TASKS[r.task]}, {r.mark}: best {r.label} {r.mean:.0%}" for r in best.itertuples())
    fig = _forests(table, dict(zip(marks, _SHADES[-len(marks) :])))
    return describe(fig, f"Dots with intervals, a row per method. {said}. The table has all numbers.")


def _forests(rows: pd.DataFrame, colours: Mapping[str, str] | None = None) -> Figure:
    """Rows of `measured`, in order, as a panel for each task: a line per method, a dot for each `mark`."""
    found = rows.groupby("task", sort=False)
    counts = found["method"].nunique()
    size = (7.6, 0.3 * counts.sum() + 0.85 * len(counts) + 0.4)
    axes = plt.subplots(len(counts), figsize=size, squeeze=False, height_ratios=list(counts + 1))[1]
    for ax, (task, own) in zip(axes[:, 0], found):
        values: dict[str, dict[str, Any]] = {}
        for row in own.itertuples():
            values.setdefault(get_method(row.method).label, {})[row.mark] = (row.mean, row.low, row.high)
        forest(values, f"{METRIC_NAMES[MAIN[task]]}, %", ax=ax, colours=colours, title=TASKS[task])
    return axes[0, 0].figure


def release_rows(release: Release) -> pd.DataFrame:
    """The rows of a committed release in the form of `measured`: main metrics of known methods only."""
    rows = [
        {"n_labels": np.nan, "seeds": 0, "values": [], **row, "label": get_method(row["method"]).label}
        for row in release["rows"]
        if row["method"] in METHODS and row["metric"] == MAIN.get(row["task"])
    ]
    return in_order(rows) if rows else pd.DataFrame(columns=tables.COLUMNS)


def provenance(releases: Mapping[str, Release | None]) -> str:
    """One line per profile: where and when its committed results were measured, or that they were not yet."""
    said = []
    for name, release in releases.items():
        if release is None:
            said.append(f"- **{name}**: not yet measured{' on GPU' * (name == 'gpu')}.")
            continue
        seeds = [row["seeds"] for row in release["rows"]]
        seeds = dict.fromkeys((min(seeds), max(seeds)))
        facts = [release["device"], release["date"][:10], f"commit {release['commit'][:9] or 'unknown'}"]
        said.append(f"- **{name}**: measured on {', '.join(facts)}, {'–'.join(map(str, seeds))} seeds.")
    return "\n".join(said)


def beside(kept: Mapping[str, pd.DataFrame]) -> Figure:
    """Scores with all labels of the methods that two or more profiles have in common, a panel per task.

    `kept` holds rows of `measured` or `release_rows` by profile; the values of two profiles come from other images,
    networks and budgets, so only order and differences within one may be compared.
    """
    rows = pd.concat([table.assign(mark=name) for name, table in kept.items()])
    rows = rows[np.isclose(rows["fraction"].astype(float), 1)]
    rows = rows[rows.groupby(["task", "method"])["mark"].transform("nunique") >= 2]
    if not len(rows):
        return describe(plt.figure(), "No method was measured in two profiles.")
    return _forests(in_order(rows))


def agreement(first: pd.DataFrame, second: pd.DataFrame, task: str) -> tuple[int, int]:
    """Pairs of methods that both tables put in the same order by their means, of all pairs they share."""
    both = []
    for table in (first, second):
        chosen = table[(table["task"] == task) & np.isclose(table["fraction"].astype(float), 1)]
        both.append(chosen.set_index("method")["mean"])
    shared = pd.concat(both, axis=1, join="inner").to_numpy(float)  # (methods, 2)
    signs = [np.prod(a - b) > 0 for a, b in combinations(shared, 2)]
    return sum(signs), len(signs)


def agreement_words(kept: Mapping[str, pd.DataFrame]) -> str:
    """How far the first table and each other order the methods of each task alike."""
    (name, own), *others = kept.items()
    said = []
    for other, rows in others:
        counts = {task: agreement(own, rows, task) for task in TASKS}
        parts = [f"{same} of {n} pairs of methods ({TASKS[task]})" for task, (same, n) in counts.items() if n]
        both = f"at {name} and at {other}"
        said.append(f"In the same order {both}: {', '.join(parts) or 'no pair of methods in common'}.")
    chance = "Without any relation it would be about half of the pairs; many of these differences are within their intervals."
    return " ".join([*said, chance])
