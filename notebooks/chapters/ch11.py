"""Chapter 11: the claims of the two papers and what a run says of each; one backbone with two heads; its checks."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from torch import nn

from chapters import published
from eo_ssl import show
from eo_ssl.course.checks import exercise, expect, expect_close, expect_shape
from eo_ssl.errors import ConfigError, DataError
from eo_ssl.evaluate.intervals import Interval
from eo_ssl.experiments.plan import get_method
from eo_ssl.experiments.tables import MAIN, compare, finished
from eo_ssl.files import read_json
from eo_ssl.sensors import CLASS_NAMES, CLASSES
from eo_ssl.show.results import curve, style_of, table
from eo_ssl.show.tables import Table
from eo_ssl.show.words import points, settled, signed

# --- Claims: each a list of comparisons "A is ahead of B", settled by paired intervals over seeds and places ---

Entry = tuple[str, float]  # a method and its share of the labels
SUPERVISED = ("s1", "s2", "early", "late")


@dataclass(frozen=True)
class Claim:
    """A published sentence and the comparisons, first ahead of second, that it stands for; `note` says what differs.

    `published` is False for a question of ours that the paper raises and gives no number for.
    """

    text: str
    paper: str
    task: str
    parts: tuple[tuple[Entry, Entry], ...]
    metric: str = "aa"
    note: str = ""
    published: bool = True


def _entry(text: str) -> Entry:
    method, fraction = text.split()
    return method, float(fraction)


CLAIMS = tuple(
    Claim(**{**claim, "parts": tuple(tuple(map(_entry, part.split(">"))) for part in claim["parts"])})
    for claim in published.claims()
)

HOLDS, IN_PART, FAILS, OPEN, NOT_RUN = "holds", "holds as far as run", "does not hold", "undecided", "not run"
STATUSES = (HOLDS, IN_PART, FAILS, OPEN, NOT_RUN)
# What stands in where a profile does not train the published variant.
STAND_INS = {"simclr-rgb-finetune": "simclr-finetune"}


@dataclass(frozen=True)
class Outcome:
    """A claim and the comparisons that this run has the models for, as (first, second, interval of the difference)."""

    claim: Claim
    run: tuple[tuple[Entry, Entry, Interval], ...]

    @property
    def status(self) -> str:
        """Holds when every interval lies above zero, does not when one lies below, and is undecided otherwise."""
        signs = [settled(gap) for *_, gap in self.run]
        if not signs:
            return NOT_RUN
        if -1 in signs:
            return FAILS
        if 0 in signs:
            return OPEN
        return HOLDS if len(signs) == len(self.claim.parts) else IN_PART

    @property
    def words(self) -> str:
        """One sentence: what this run says, by the comparison that decides, the one with the lowest interval."""
        note = f" ({self.claim.note})" if self.claim.note else ""
        if not self.run:
            return f"This profile does not train what it needs{note}."
        end = "high" if self.status == FAILS else "low"
        first, second, gap = min(self.run, key=lambda part: getattr(part[2], end))
        a, b = (f"{get_method(m).label} at {100 * f:g}%" for m, f in (first, second))
        verb = {1: "is ahead of", -1: "is behind", 0: "cannot be told from"}[settled(gap)]
        done, asked = len(self.run), len(self.claim.parts)
        some = "" if done == asked else f"; {done} of {asked} comparisons run"
        return f"{a} {verb} {b}: {points(gap)}{some}{note}."


def examine(results: pd.DataFrame, folder: str | Path, claims: Sequence[Claim] = CLAIMS) -> list[Outcome]:
    """Every claim with what this run measured; models that were not run are no error."""
    run = {(r.task, r.method, round(r.fraction, 6)) for r in finished(results).itertuples()}
    outcomes = []
    for claim in claims:
        parts = []
        for pair in claim.parts:
            first, second = (_stand_in(run, claim.task, entry) for entry in pair)
            if all((claim.task, m, round(f, 6)) in run for m, f in (first, second)):
                gap = compare(folder, results, claim.task, first, second, claim.metric).difference
                parts.append((first, second, gap))
        outcomes.append(Outcome(claim, tuple(parts)))
    return outcomes


def _stand_in(run: set[tuple[str, str, float]], task: str, entry: Entry) -> Entry:
    method, fraction = entry
    other = STAND_INS.get(method, method)
    replaced = (task, method, round(fraction, 6)) not in run and (task, other, round(fraction, 6)) in run
    return (other, fraction) if replaced else entry


def published_words(claim: Claim) -> str:
    """The closest of the published comparisons: "≈ 65.3 against 62 ± 4 %", each number with the mark of its kind."""
    known = []
    for pair in claim.parts if claim.published else ():
        a, b = (published.score(claim.paper, claim.task, *entry) for entry in pair)
        if a is not None and b is not None:
            known.append((a["value"] - b["value"], a, b, pair))
    if not known:
        return published.NOT_PUBLISHED
    _, a, b, pair = min(known, key=lambda one: one[0])
    several = len({f for one in claim.parts for _, f in one}) > 1 and pair[0][1] == pair[1][1]
    where = f" with {100 * pair[0][1]:g}% of the labels" if several else ""
    return f"{_number(a)} against {_number(b)} %{where}"


def _number(row: pd.Series) -> str:
    spread = f" ± {100 * row['spread']:.0f}" if np.isfinite(row["spread"]) else ""
    return published.MARKS[row["kind"]].format(f"{100 * row['value']:g}{spread}")


def verdict(outcome: Outcome, evidence: bool) -> str:
    """The status in the words of the page; a smoke run gives no evidence whatever its numbers are."""
    return outcome.status if evidence or outcome.status == NOT_RUN else "no evidence"


def claims_table(outcomes: Sequence[Outcome], evidence: bool) -> Table:
    """What was claimed, what was published, what this run says; one section per paper."""
    rows: list[tuple[str, ...]] = []
    for name in published.PAPERS:
        rows.append((f"{published.paper(name)['title']}: {published.paper(name)['setting']}",))
        for one in (o for o in outcomes if o.claim.paper == name):
            rows.append(
                (one.claim.text, published_words(one.claim), f"**{verdict(one, evidence)}**", one.words)
            )
    caption = (
        f"{show.caution(evidence)}Quoted is the comparison that decides, in points of the claim's score, with its "
        "paired 95% interval over seeds and places. ≈ digitised from a figure, † quoted by others, all else read from "
        "a table."
    )
    return Table(("claim", "published", "here", "in this run"), tuple(rows), caption, wide=(1, 3), dense=True)


def tally(outcomes: Sequence[Outcome]) -> str:
    """How many published claims hold, do not, are undecided or were not run, and what chance alone would do."""
    found = [one.status for one in outcomes if one.claim.published]
    tested = sum(len(one.run) for one in outcomes if one.claim.published)
    said = [f"{status} **{found.count(status)}**" for status in STATUSES if status in found]
    return (
        f"Of {len(found)} published claims: {', '.join(said)}. Each of the {tested} intervals behind them errs once in "
        f"twenty by its making, so about {0.05 * tested:.1f} of these comparisons may look settled that are not; and a "
        "claim of several comparisons fails when any one of them does."
    )


# --- Published beside measured ---

# Paper, task, the supervised models of that column, and the heading; scores of two columns are never compared.
COLUMNS = (
    ("fusion", "single", SUPERVISED, "one label, fusion paper"),
    ("fusion", "multi", SUPERVISED, "several labels, fusion paper"),
    ("transformers", "single", ("late", "swin-scratch"), "one label, Swin paper"),
    ("transformers", "segment", ("swinunet-scratch",), "a label per pixel, Swin paper"),
)
_SHORT = {"Shrubland": "Shrub", "Grassland": "Grass", "Wetlands": "Wetl.", "Croplands": "Crop"}


def beside(results: pd.DataFrame, task: str) -> Table:
    """The published table of a task and that of this run in one form, in percent: the averages first, then the classes.

    The methods are those of the paper, fine-tuned with all labels; SimCLR has all bands where RGB was not run.
    """
    theirs = published.table(task)
    columns = [*theirs.columns[-2:], *theirs.columns[:-2]]
    methods = list(dict.fromkeys(published.scores("fusion", task).query("kind == 'table'")["method"]))
    labels = [get_method(m).label for m in (*methods, *STAND_INS.values())]
    ours = table(results, task).reindex(columns=columns)
    rows: list[tuple[str, ...]] = []
    for head, part in (("published", theirs), ("this run", ours[ours.index.isin(labels)])):
        rows.append((head,))
        for name, line in part[columns].iterrows():
            cells = (re.sub(r"\s±\s", "±", str(cell)) for cell in line)  # narrow: eleven columns
            rows.append((str(name).removesuffix(", fine-tuned"), *cells))
    what = {"single": "recall of each class", "multi": "F1 of each class"}[task]
    caption = (
        f"With all labels, in percent: averages and {what}, mean ± standard deviation over runs or seeds."
    )
    return Table(("Method", *(_SHORT.get(c, c) for c in columns)), tuple(rows), caption, dense=True)


def differences(results: pd.DataFrame, folder: Path) -> Figure:
    """All labels: each pretrained method minus the best supervised one, published beside measured, a panel per column."""
    fig, axes = plt.subplots(2, 2, figsize=(8.2, 5.6))
    for ax, (paper, task, supervised, title) in zip(axes.flat, COLUMNS):
        rows = column_differences(results, folder, paper, task, supervised)
        show.forest(rows, "points ahead of the best supervised", unit="points", ax=ax, title=title)
        ax.get_legend().remove()
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return fig


def column_differences(
    results: pd.DataFrame, folder: Path, paper: str, task: str, supervised: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Differences to the best supervised model of the column, as `show.forest` takes them: published, and this run's."""
    scores = published.scores(paper, task)
    scores = scores[np.isclose(scores["fraction"], 1.0) & (scores["kind"] != "second-hand")]
    values = scores.set_index("method")["value"]
    best = values[[m for m in supervised if m in values]].max()
    metric = "aa" if task == "segment" else MAIN[task]
    lines = finished(results, task)
    lines = lines[np.isclose(lines["fraction"].astype(float), 1.0)] if len(lines) else lines
    trained = set(lines["method"]) if len(lines) else set()
    rivals = lines[lines["method"].isin(supervised)] if trained & set(supervised) else lines[:0]
    rival = str(rivals.groupby("method")[f"test.{metric}"].mean().idxmax()) if len(rivals) else ""
    rows = {}
    for method in (m for m in values.index if m not in supervised):
        own = next((m for m in (method, STAND_INS.get(method, "")) if m in trained), "")
        here: Any = np.nan
        if own and rival:
            here = compare(folder, results, task, (own, 1.0), (rival, 1.0), metric).difference
        rows[get_method(own or method).label] = {"published": values[method] - best, "this run": here}
    return rows


def curves_beside(results: pd.DataFrame, folder: Path) -> Figure:
    """Average accuracy against the share of labels: published on the left, this run on the right, each with its axis."""
    shown = (COLUMNS[0], COLUMNS[2], COLUMNS[3])
    fig, axes = plt.subplots(len(shown), 2, figsize=(7.4, 7.4))
    for (left, right), (paper, task, _, title) in zip(axes, shown):
        scores = published.scores(paper, task)
        scores = scores[scores["kind"] != "second-hand"]
        names = [m for m, one in scores.groupby("method", sort=False) if len(one) > 1]
        ours = curve(results, folder, task, names, "aa") if len(finished(results, task)) else pd.DataFrame()
        styles, used = {}, []
        for name in names:
            style = style_of(name)
            if style in used:  # two models from scratch share their look
                style = style | {"linestyle": ":", "marker": "v"}
            used.append(style_of(name))
            styles[get_method(name).label] = style
        for ax, rows, where in ((left, scores, "published"), (right, ours, "this run")):
            _curves(ax, rows, names, styles, f"{where}: {title}")
        right.legend(
            *left.get_legend_handles_labels(), loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=3
        )
    return fig


def _curves(ax: plt.Axes, rows: pd.DataFrame, names: Sequence[str], styles: dict, title: str) -> None:
    fractions = (0.01, 0.1, 0.5, 1.0)
    rows = rows if len(rows) else pd.DataFrame(columns=["method", "fraction", "value"])
    curves, bands = {}, {}
    for name in names:
        label, one = get_method(name).label, rows[rows["method"] == name].set_index("fraction")
        curves[label] = 100 * one["value"].astype(float).reindex(fractions)
        if "low" in one:
            bands[label] = [100 * one[end].reindex(fractions) for end in ("low", "high")]
    show.lines(
        [100 * f for f in fractions], curves, "labels, %", "AA, %", log="x", styles=styles, bands=bands, ax=ax
    )
    ax.set_title(title, fontsize=8.5)
    ax.get_legend().remove()


# --- One pair of encoders, two heads ---


def shared(first: nn.Module, second: nn.Module) -> tuple[int, int]:
    """How many numbers two models hold in common, and how many the first holds: the same memory, not equal values."""
    own = {p.data_ptr(): p.numel() for p in first.parameters()}
    there = {p.data_ptr() for p in second.parameters()}
    return sum(n for place, n in own.items() if place in there), sum(own.values())


def parameters(model: Any) -> dict[str, int]:
    """Parameters of the S1 encoder, the S2 encoder, and all the rest. Raises `ConfigError` without a pair."""
    pair = model.backbone
    if not hasattr(pair, "s1") or not hasattr(pair, "s2"):
        raise ConfigError(f"{type(model).__name__} has no pair of encoders")
    counts = {
        f"{name.upper()} encoder": sum(p.numel() for p in getattr(pair, name).parameters())
        for name in ("s1", "s2")
    }
    return counts | {"head": sum(p.numel() for p in model.head_parameters())}


def two_answers(
    s1: np.ndarray, s2: np.ndarray, probability: np.ndarray, found: np.ndarray, truth: np.ndarray
) -> Figure:
    """One patch, two heads: S1 (2, H, W) dB and S2 (13, H, W), probabilities of the patch (8,), map and truth (H, W)."""
    pictures = [show.true_colour(s2), show.radar(s1), None, show.label_map(found), show.label_map(truth)]
    titles = ["Sentinel-2", "Sentinel-1", "head 1: the patch, %", "head 2: the map", "truth"]
    fig = show.grid(pictures, titles, columns=5, cell=1.55)
    ax = fig.axes[2]
    ax.set_axis_on()
    ax.barh(range(8), 100 * probability, color=[c.colour for c in CLASSES], edgecolor="grey", linewidth=0.4)
    ax.set_yticks(range(8), CLASS_NAMES, fontsize=6)
    ax.set(ylim=(7.6, -0.6), xlim=(0, 100), title=titles[2])
    best = int(probability.argmax())
    labelled = truth < 8
    share = np.bincount(truth[labelled], minlength=8) / max(1, labelled.sum())
    right = (found == truth)[labelled].mean() if labelled.any() else float("nan")
    return show.describe(fig, f"One patch and two answers from the same encoders. The classifier says {CLASS_NAMES[best]} "
                         f"with {probability[best]:.0%}; the map is right in {right:.0%} of the pixels. Truth: mostly "
                         f"{CLASS_NAMES[int(share.argmax())]}, {share.max():.0%}.")  # fmt: skip


# --- What more unlabelled patches change: measured once by benchmarks/more_unlabelled.py, kept with the book ---

MAKE = "python benchmarks/more_unlabelled.py"


def read_measurement(path: Path) -> dict[str, Any] | None:
    """The kept measurement, None where there is none; raises `DataError` naming what a damaged file lacks."""
    if not path.is_file():
        return None
    found = read_json(path)
    lacking = [key for key in ("baseline", "rows", "commit", "machine", "date", "seeds") if key not in found]
    if lacking or not found["rows"]:
        raise DataError(f"{path}: {', '.join(lacking) or 'rows'} missing; make it again: {MAKE}")
    return found


def variants(found: dict[str, Any], method: str = "dual-finetune") -> dict[str, dict[float, dict[str, Any]]]:
    """The rows of a method by pretraining ("1,764 pairs, 30 epochs (390 updates)") and share of labels."""
    rows: dict[str, dict[float, dict[str, Any]]] = {}
    for row in (row for row in found["rows"] if row["method"] == method):
        name = f"{row['unlabelled']:,} pairs, {row['epochs']} epochs ({row['updates']:,} updates)"
        rows.setdefault(name, {})[row["fraction"]] = row
    return rows


def difference(row: dict[str, Any]) -> Interval:
    """The interval of a row of the measurement."""
    return Interval(*(row["difference"][key] for key in ("value", "low", "high")))


def unlabelled_words(found: dict[str, Any], few: float = 0.1) -> str:
    """What the measurement says about the headline claim, variant by variant, and which of the two helped more."""
    rows = variants(found)
    rival = get_method(found["baseline"]["method"]).label
    said = {1: "**holds**", -1: "**does not hold**", 0: "is undecided"}
    lines = [
        f"Dual-SimCLR, fine-tuned with {100 * few:g}% of the labels, against {rival} with all of them:\n"
    ]
    for name, row in rows.items():
        lines.append(
            f"- {name}: {points(difference(row[few]))}; the claim {said[settled(difference(row[few]))]}. With all "
            f"labels {points(difference(row[1.0]))}. Held-out pairs find each other among the first five in "
            f"{row[few]['top5']:.0%} of cases, by chance in {row[few]['chance_top5']:.1%}."
        )
    at_few = [row[few] for row in rows.values()]
    fewest = min(row["unlabelled"] for row in at_few)
    usual = min((row for row in at_few if row["unlabelled"] == fewest), key=lambda row: row["epochs"])
    others = [row for row in at_few if row is not usual]
    longer, larger = (
        max(
            (row["mean"] - usual["mean"] for row in others if (row["unlabelled"] == fewest) == same),
            default=np.nan,
        )
        for same in (True, False)
    )
    advice = "As one would expect: more epochs teach a network *those* scenes, more scenes what scenes have in common."
    lines.append(
        f"\nMore epochs on the same patches changed the score at {100 * few:g}% by {signed(longer)} points, more patches "
        f"by {signed(larger)}: best of each, without an interval. {advice if larger > max(longer, 0) else ''}"
    )
    return "\n".join(lines)


# --- Exercise checks ---


@exercise("paired difference", praise="What made a draw easy or hard was the same for both, and cancelled.")
def check_paired_difference(paired_difference: Callable) -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(300)  # some places are hard for everybody
    first, second = (hard + gain + rng.normal(0, 0.01, (3, 300)) for gain in (0.02, 0.0))
    got = paired_difference(first, second, 1000, np.random.default_rng(1))
    expect(
        np.ndim(got) == 1 and len(got) == 3,
        "Return three numbers: the difference, its lower and its upper bound.",
    )
    value, low, high = (float(v) for v in got)
    expect_close(
        value, first.mean() - second.mean(), "The difference",
        mistakes={"it is the wrong way round, take first minus second": second.mean() - first.mean()},
    )  # fmt: skip
    expect(low < high, "Return the lower bound before the upper one.")
    expect(
        high - low < 0.03,
        f"The interval is {high - low:.3f} wide, though the first is ahead on nearly every place. Were *different* places "
        "drawn for the two methods? Use the same positions for both: that is what paired means.",
    )
    expect(
        low > 0, "The first method is ahead by 0.02 on nearly every place, but the interval includes zero."
    )
    seeds = np.array([[0.0], [0.3], [0.6]]) + np.zeros((3, 300))  # only the seeds differ
    _, low, high = paired_difference(seeds, np.zeros((3, 300)), 1000, np.random.default_rng(2))
    expect(
        high - low > 0.3,
        "Where the seeds differ and the places do not, the interval should be wide: draw seeds with replacement, too.",
    )
    places = np.tile(rng.integers(0, 2, 300).astype(float), (3, 1))  # only the places differ
    _, low, high = paired_difference(places, np.zeros((3, 300)), 1000, np.random.default_rng(3))
    expect(
        0.06 < high - low < 0.2,
        f"300 places of 0 or 1, the same for all seeds, should give an interval about 0.11 wide, not {high - low:.3f}. Draw "
        "as many places as there are, with replacement, and the *same ones for all seeds* of a draw.",
    )


@exercise("average rank", praise="Ranks can be averaged where scores cannot.")
def check_average_rank(average_rank: Callable) -> None:
    plain = np.array([[0.6, 0.7, 0.5], [50.0, 60.0, 40.0]])  # (columns, methods)
    got = np.asarray(average_rank(plain), dtype=float)
    expect_shape(got, (3,), "The average ranks of three methods")
    expect_close(
        got, [2, 1, 3], "Ranks of (0.6, 0.7, 0.5) and (50, 60, 40)",
        mistakes={
            "the best score should get rank 1: rank from the highest down": [2, 3, 1],
            "ranks begin at 1, not at 0": [1, 0, 2],
            "that is the average score; the columns have different units, so rank within each column first":
                plain.mean(0),
        },
    )  # fmt: skip
    expect_close(
        average_rank(np.array([[0.7, 0.7, 0.5]])), [1.5, 1.5, 3], "Ranks of (0.7, 0.7, 0.5)",
        mistakes={
            "two equal scores share the mean of their ranks, (1 + 2) / 2": [1, 2, 3],
            "equal scores share the *mean* of their ranks, 1.5, not the best of them": [1, 1, 3],
        },
    )  # fmt: skip
    holes = np.array([[0.9, 0.8, np.nan], [0.5, 0.6, 0.7]])
    expect_close(
        average_rank(holes), [2, 2, 1], "Ranks where the third method was not run in the first column",
        mistakes={
            "a method that was not run got a rank: leave NaN out of the column, and out of the mean": [2, 2, 2],
            "NaN was ranked first": [2.5, 2.5, 1],
        },
    )  # fmt: skip
    never = np.asarray(average_rank(np.array([[0.9, np.nan], [0.5, np.nan]])), dtype=float)
    expect(
        np.isnan(never[1]) and never[0] == 1,
        "A method that was never run has no rank: NaN, and the other is first.",
    )
