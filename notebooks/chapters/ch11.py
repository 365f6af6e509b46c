"""Chapter 11: the claims of the two papers and what a run says of each; one backbone with two heads; its checks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from torch import nn

from chapters import published
from eo_ssl import show
from eo_ssl.course.checks import exercise, expect, expect_close, numbers
from eo_ssl.evaluate.intervals import Interval
from eo_ssl.experiments.plan import CURVE, METHODS, SCRATCH, get_method
from eo_ssl.experiments.tables import MAIN, TASKS, compare, finished, in_order

# --- Claims: each a list of comparisons "A is ahead of B", settled by paired intervals over seeds and places ---

Entry = tuple[str, float]  # a method and its share of the labels


@dataclass(frozen=True)
class Claim:
    """A published sentence and the comparisons, first ahead of second, that it stands for."""

    text: str
    paper: str
    task: str
    parts: tuple[tuple[Entry, Entry], ...]
    metric: str = "aa"
    note: str = ""  # what differs here
    published: bool = True  # False for a question of ours that the paper raises and gives no number for


def _parts(texts: Sequence[str]) -> tuple[tuple[Entry, Entry], ...]:
    """From "dual-finetune 0.1 > late 1"."""
    words = (text.replace(">", "").split() for text in texts)
    return tuple(((first, float(own)), (second, float(other))) for first, own, second, other in words)


CLAIMS = tuple(Claim(**claim | {"parts": _parts(claim["parts"])}) for claim in published.CONTENT["claims"])

HOLDS, IN_PART, FAILS, OPEN, NOT_RUN = "holds", "holds as far as run", "does not hold", "undecided", "not run"
STATUSES = (HOLDS, IN_PART, FAILS, OPEN, NOT_RUN)
# What stands in where a run has not trained the published variant: all bands for three, the usual ResNet for the deep one.
STAND_INS = {
    "simclr-rgb-finetune": "simclr-finetune",
    "resnet50-finetune": "dual-finetune",
    "resnet50-frozen": "dual-frozen",
    "resnet50-scratch": "late",
}


def run_as(results: pd.DataFrame, task: str, method: str) -> str:
    """The method itself where the run has trained it for the task at any share of labels, otherwise what stands in for it.

    It is one of the two at all shares, so that a curve shows one network.
    """
    there = set(finished(results, task)["method"])
    return method if method in there else STAND_INS.get(method, method)


@dataclass(frozen=True)
class Outcome:
    """A claim and the comparisons that this run has the models for, as (first, second, interval of the difference)."""

    claim: Claim
    run: tuple[tuple[Entry, Entry, Interval], ...]

    @property
    def status(self) -> str:
        """Holds when every interval lies above zero, does not when one lies below, and is undecided otherwise."""
        signs = [show.settled(gap) for *_, gap in self.run]
        if not signs:
            return NOT_RUN
        if min(signs) < 1:
            return FAILS if -1 in signs else OPEN
        return HOLDS if len(signs) == len(self.claim.parts) else IN_PART

    def verdict(self, evidence: bool) -> str:
        """The status in the words of the page; a smoke run gives no evidence whatever its numbers are."""
        return self.status if evidence or self.status == NOT_RUN else "no evidence"

    @property
    def words(self) -> str:
        """One sentence: what this run says, by the comparison that decides, the one with the lowest interval."""
        note = f" ({self.claim.note})" if self.claim.note else ""
        if not self.run:
            return f"This profile does not train what it needs{note}."
        end = "high" if self.status == FAILS else "low"
        first, second, gap = min(self.run, key=lambda part: getattr(part[2], end))
        a, b = (f"{get_method(method).label} at {100 * share:g}%" for method, share in (first, second))
        verb = {1: "is ahead of", -1: "is behind", 0: "cannot be told from"}[show.settled(gap)]
        done, asked = len(self.run), len(self.claim.parts)
        some = f"; {done} of {asked} comparisons run" if done < asked else ""
        return f"{a} {verb} {b}: {show.points(gap)}{some}{note}."


def examine(results: pd.DataFrame, folder: str | Path, claims: Sequence[Claim] = CLAIMS) -> list[Outcome]:
    """Every claim with what this run measured; models that were not run are no error."""
    outcomes = []
    for claim in claims:
        lines, parts = finished(results, claim.task), []
        there = {*zip(lines["method"], lines["fraction"])}
        for pair in claim.parts:
            first, second = ((run_as(results, claim.task, method), fraction) for method, fraction in pair)
            if {first, second} <= there:
                gap = compare(folder, results, claim.task, first, second, claim.metric)
                parts.append((first, second, gap))
        outcomes.append(Outcome(claim, tuple(parts)))
    return outcomes


def published_words(claim: Claim) -> str:
    """The closest of the published comparisons: "≈ 65.3 against 62 ± 4 %", each number with the mark of its kind."""
    if not claim.published:
        return published.NOT_PUBLISHED
    scores = {
        pair: [published.score(claim.paper, claim.task, *entry) for entry in pair] for pair in claim.parts
    }
    closest = min(scores, key=lambda pair: scores[pair][0]["value"] - scores[pair][1]["value"])
    numbers = []
    for row in scores[closest]:
        spread = f" ± {100 * row['spread']:.0f}" if np.isfinite(row["spread"]) else ""
        numbers.append(published.MARKS[row["kind"]].format(f"{100 * row['value']:g}{spread}"))
    (_, own), (_, other) = closest
    several = len({share for pair in claim.parts for _, share in pair}) > 1
    where = f" with {100 * own:g}% of the labels" if several and own == other else ""
    return f"{' against '.join(numbers)} %{where}"


def claims_table(outcomes: Sequence[Outcome], evidence: bool) -> show.Table:
    """What was claimed, what was published, what this run says; one section per paper."""
    rows: list[tuple[str, ...]] = []
    for name, paper in published.PAPERS.items():
        rows.append((f"{paper['title']}: {paper['setting']}",))
        for one in outcomes:
            if one.claim.paper == name:
                here = f"**{one.verdict(evidence)}**"
                rows.append((one.claim.text, published_words(one.claim), here, one.words))
    caption = f"""{show.caution(evidence)}Quoted is the comparison that decides, in points of the claim's score, with
    its paired 95% interval over seeds and places. ≈ digitised from a figure, † quoted by others, all else read from a
    table."""
    head = ("claim", "published", "here", "in this run")
    return show.Table(head, tuple(rows), " ".join(caption.split()), wide=(1, 3), dense=True)


def tally(outcomes: Sequence[Outcome]) -> str:
    """How many published claims hold, do not, are undecided or were not run, and what chance alone would do."""
    found = [one.status for one in outcomes if one.claim.published]
    tested = sum(len(one.run) for one in outcomes if one.claim.published)
    said = [f"{status} **{found.count(status)}**" for status in STATUSES if status in found]
    return f"""Of {len(found)} published claims: {", ".join(said)}. Each of the {tested} intervals behind them errs at least
once in twenty, and with three seeds more often, so {0.05 * tested:.0f} or more of these comparisons may look settled that
are not; and a claim of several comparisons fails when any one of them does."""


# --- Published beside measured ---

# Paper, task, the supervised models of that column, and the heading; scores of two columns are never compared.
COLUMNS = (
    ("fusion", "single", SCRATCH, "one label, fusion paper"),
    ("fusion", "multi", SCRATCH, "several labels, fusion paper"),
    ("transformers", "single", ("resnet50-scratch", "swin-scratch"), "one label, Swin paper"),
    ("transformers", "segment", ("swinunet-scratch",), "a label per pixel, Swin paper"),
)


def beside(results: pd.DataFrame, task: str) -> pd.DataFrame:
    """The published table of a task above that of this run, in percent: mean ± standard deviation over runs or seeds.

    The methods are those of the paper, fine-tuned with all labels; SimCLR has all bands where RGB was not run.
    """
    theirs, ours = published.table(task), show.results.table(results, task)
    labels = [*theirs.index, get_method(STAND_INS["simclr-rgb-finetune"]).label]
    columns = [*theirs.columns[-2:], *theirs.columns[:-2]]  # the averages first
    both = {"published": theirs[columns], "this run": ours[ours.index.isin(labels)]}
    short = {"Shrubland": "Shrub", "Grassland": "Grass", "Wetlands": "Wetl.", "Croplands": "Crop"}
    table = pd.concat(both, join="inner").rename(lambda name: name.removesuffix(", fine-tuned"))
    return table.rename(columns=short).replace(" *± *", "±", regex=True)  # narrow: ten columns


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
    scores = published.scores(paper, task).query("fraction == 1 and kind != 'second-hand'")
    values = scores.set_index("method")["value"]
    best = values[values.index.isin(supervised)].max()
    metric = "aa" if task == "segment" else MAIN[task]
    ours = finished(results, task).query("fraction == 1").groupby("method")[f"test.{metric}"].mean()
    rivals = ours[ours.index.isin([run_as(results, task, method) for method in supervised])]
    rows = {}
    for method in values.index.difference(supervised, sort=False):
        own = run_as(results, task, method)
        here: Any = np.nan
        if own in ours and len(rivals):
            here = compare(folder, results, task, (own, 1.0), (rivals.idxmax(), 1.0), metric)
        label = get_method(own if own in ours else method).label
        rows[label] = {"published": values[method] - best, "this run": here}
    return rows


def curves_beside(results: pd.DataFrame, folder: Path) -> Figure:
    """Average accuracy against the share of labels: published on the left, this run on the right, each with its axis.

    A published method has the name of what stands for it in this run.
    """
    shown = (COLUMNS[0], COLUMNS[2], COLUMNS[3])
    fig, axes = plt.subplots(len(shown), 2, figsize=(7.4, 7.4))
    for (left, right), (paper, task, _, title) in zip(axes, shown):
        scores = published.scores(paper, task).query("kind != 'second-hand'")
        scores = scores.assign(method=[run_as(results, task, method) for method in scores["method"]])
        names = [m for m, one in scores.groupby("method", sort=False) if len(one) > 1]
        styles = {get_method(name).label: show.results.style_of(name) for name in names}
        ours = show.results.curve(results, folder, task, names, "aa")
        for ax, rows, where in ((left, scores, "published"), (right, ours, "this run")):
            curves, bands = {}, {}
            for name, label in zip(names, styles):
                one = rows[rows["method"] == name].set_index("fraction").reindex(CURVE)
                curves[label] = 100 * one["value"]
                if "low" in one:
                    bands[label] = 100 * one["low"], 100 * one["high"]
            look = {"log": "x", "styles": styles, "bands": bands, "ax": ax}
            show.lines([100 * f for f in CURVE], curves, "labels, %", "AA, %", **look)
            ax.set_title(f"{where}: {title}", fontsize=8.5)
            ax.get_legend().remove()
        handles = left.get_legend_handles_labels()
        right.legend(*handles, loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=3)
    return fig


# --- Everything measured, here and at other profiles ---

Release = Mapping[str, Any]  # results of a profile that are kept with the book
SHADES = ("#c6d5e6", "#8fb0d2", "#5b86b5", "#1f4a7a")  # light to dark: few labels to all


def overview(table: pd.DataFrame) -> Figure:
    """Every method of every task with its interval, one mark per share of labels; rows of `measured`."""
    table = table.assign(mark=[f"{100 * f:g}% of the labels" for f in table["fraction"]])
    marks = table.sort_values("fraction")["mark"].unique()
    best = table.loc[table.groupby(["task", "mark"], sort=False)["mean"].idxmax()]
    said = "; ".join(f"{TASKS[r.task]}, {r.mark}: best {r.label} {r.mean:.0%}" for r in best.itertuples())
    fig = _forests(table, dict(zip(marks, SHADES[-len(marks) :])))
    return show.describe(fig, f"Dots with intervals, a row per method. {said}. The table has all numbers.")


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
        label = f"{show.results.METRIC_NAMES[MAIN[task]]}, %"
        show.forest(values, label, ax=ax, colours=colours, title=TASKS[task])
    return axes[0, 0].figure


def release_rows(release: Release) -> pd.DataFrame:
    """The rows of a committed release in the form of `measured`: main metrics of known methods only."""
    rows = pd.DataFrame(release["rows"])
    rows = rows[rows["method"].isin(METHODS) & (rows["metric"] == rows["task"].map(MAIN))]
    return in_order(rows.assign(label=[get_method(method).label for method in rows["method"]]))


def provenance(releases: Mapping[str, Release | None]) -> str:
    """One line per profile: where and when its committed results were measured, or that they were not yet."""
    said = []
    for name, release in releases.items():
        if release is None:
            said.append(f"- **{name}**: not yet measured{' on GPU' * (name == 'gpu')}.")
            continue
        seeds = sorted({row["seeds"] for row in release["rows"]})
        span = f"{seeds[0]}–{seeds[-1]}" if len(seeds) > 1 else seeds[0]
        facts = f"{release['device']}, {release['date'][:10]}, commit {release['commit'][:9] or 'unknown'}"
        said.append(f"- **{name}**: measured on {facts}, {span} seeds.")
    return "\n".join(said)


def profiles_beside(kept: Mapping[str, pd.DataFrame]) -> Figure:
    """Scores with all labels of the methods that two or more profiles have in common, a panel per task.

    `kept` holds rows of `measured` or `release_rows` by profile; the values of two profiles come from other images,
    networks and budgets, so only order and differences within one may be compared.
    """
    rows = pd.concat([table.assign(mark=name) for name, table in kept.items()])
    rows = rows[rows["fraction"] == 1]
    rows = rows[rows.groupby(["task", "method"])["mark"].transform("nunique") >= 2]
    return _forests(in_order(rows))


def agreement(kept: Mapping[str, pd.DataFrame]) -> str:
    """How many pairs of methods, with all labels, the first table and each other put in the same order, task by task."""
    (name, own), *others = kept.items()
    said = []
    for other, rows in others:
        parts, both = [], own[own["fraction"] == 1].merge(rows, on=["task", "method", "fraction"])
        for task, one in both.groupby("task", sort=False):
            pairs = combinations(one[["mean_x", "mean_y"]].to_numpy(), 2)
            same = [np.prod(a - b) > 0 for a, b in pairs]
            if same:
                parts.append(f"{sum(same)} of {len(same)} pairs of methods ({TASKS[task]})")
        said.append(f"In the same order at {name} and at {other}: {', '.join(parts)}.")
    chance = "Without any relation it would be about half of the pairs; many of these differences are within their intervals."
    return " ".join([*said, chance])


# --- One pair of encoders, two heads ---


def shared(first: nn.Module, second: nn.Module) -> tuple[int, int]:
    """How many numbers two models hold in common, and how many the first holds: the same memory, not equal values."""
    own = {p.data_ptr(): p.numel() for p in first.parameters()}
    there = {p.data_ptr() for p in second.parameters()}
    return sum(n for place, n in own.items() if place in there), sum(own.values())


def parameters(model: Any) -> dict[str, int]:
    """Parameters of the S1 encoder, the S2 encoder, and all the rest of a model with a pair."""
    parts = {
        "S1 encoder": model.backbone.s1.parameters(),
        "S2 encoder": model.backbone.s2.parameters(),
        "head": [p for name, p in model.named_parameters() if not name.startswith("backbone.")],
    }
    return {name: sum(p.numel() for p in part) for name, part in parts.items()}


# --- Exercise checks ---


@exercise("paired difference", praise="What made a draw easy or hard was the same for both, and cancelled.")
def check_paired_difference(paired_difference: Callable) -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(300)  # some places are hard for everybody
    first, second = (hard + gain + rng.normal(0, 0.01, (3, 300)) for gain in (0.02, 0.0))
    got = numbers(paired_difference(first, second, 1000, np.random.default_rng(1)))
    expect(got.shape == (3,), "Return three numbers: the difference, its lower and its upper bound.")
    value, low, high = got
    gap = first.mean() - second.mean()
    mistakes = {"it is the wrong way round, take first minus second": -gap}
    expect_close(value, gap, "The difference", mistakes=mistakes)
    expect(low < high, "Return the lower bound before the upper one.")
    paired = "though the first is ahead nearly everywhere: draw the same positions for both, that is paired"
    expect(high - low < 0.03, f"The interval is {high - low:.3f} wide, {paired}.")
    expect(low > 0, "The first is ahead by 0.02 on nearly every place, but the interval includes zero.")
    nothing = np.zeros((3, 300))
    seeds = np.add(nothing, [[0.0], [0.3], [0.6]])  # only the seeds differ
    _, low, high = paired_difference(seeds, nothing, 1000, np.random.default_rng(2))
    wide = "Where only the seeds differ the interval is wide: draw seeds with replacement, too."
    expect(high - low > 0.3, wide)
    places = nothing + rng.integers(0, 2, 300)  # only the places differ
    _, low, high = paired_difference(places, nothing, 1000, np.random.default_rng(3))
    about = f"For 300 places of 0 or 1 it should be about 0.11 wide, not {high - low:.3f}"
    many = "Draw as many places as there are, with replacement, the *same ones for all seeds* of a draw"
    expect(0.06 < high - low < 0.2, f"{about}. {many}.")


@exercise("average rank", praise="Ranks can be averaged where scores cannot.")
def check_average_rank(average_rank: Callable) -> None:
    nan, plain = np.nan, np.array([[0.6, 0.7, 0.5], [50.0, 60.0, 40.0]])  # (columns, methods)
    cases = [
        ("Ranks of (0.6, 0.7, 0.5) and (50, 60, 40)", plain, [2, 1, 3], {
            "the best score should get rank 1: rank from the highest down": [2, 3, 1],
            "ranks begin at 1, not at 0": [1, 0, 2],
            "that is the average score; the units differ, so rank within each column first": plain.mean(0),
        }),
        ("Ranks of (0.7, 0.7, 0.5)", [[0.7, 0.7, 0.5]], [1.5, 1.5, 3], {
            "two equal scores share the mean of their ranks, (1 + 2) / 2": [1, 2, 3],
            "equal scores share the *mean* of their ranks, 1.5, not the best of them": [1, 1, 3],
        }),
        ("Ranks where the third was not run in the first column", [[0.9, 0.8, nan], [0.5, 0.6, 0.7]], [2, 2, 1], {
            "a method that was not run got a rank: leave NaN out of column and mean": [2, 2, 2],
        }),
        ("Ranks where the second was never run, which leaves it without a rank", [[0.9, nan], [0.5, nan]], [1, nan], {}),
    ]  # fmt: skip
    for what, scores, wanted, mistakes in cases:
        expect_close(average_rank(np.array(scores)), wanted, what, mistakes=mistakes)
