"""Figures and sentences of chapter 07: layouts, probes, retrieval, neighbours, and what selection does to a score."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from eo_ssl.evaluate.intervals import Interval
from eo_ssl.sensors import CLASSES, IGNORE, IGNORE_COLOUR, NUM_CLASSES
from eo_ssl.show.figure import FAINT, INK, PALETTE, axes_grid, describe
from eo_ssl.show.words import caution

METHODS = {
    "band statistics": PALETTE[3],
    "untrained": "#999999",
    "SimCLR": PALETTE[5],
    "Dual-SimCLR": PALETTE[2],
    "MMA": PALETTE[4],
}
NO_CLASS = "no single class"


def class_group(codes: np.ndarray) -> dict[str, object]:
    """Colours by class for the explorer; 255 becomes a ninth, white one."""
    codes = np.where(np.asarray(codes) == IGNORE, NUM_CLASSES, codes)
    return {"name": "class", "labels": [*(c.name for c in CLASSES), NO_CLASS],
            "colours": [*(c.colour for c in CLASSES), IGNORE_COLOUR], "codes": codes}  # fmt: skip


def place_group(names: Sequence[str]) -> dict[str, object]:
    """Colours by region for the explorer, in the order of appearance."""
    codes, labels = pd.factorize(pd.Series(names))
    table = plt.get_cmap("tab20")(np.arange(len(labels)) % 20)
    colours = ["#" + "".join(f"{round(255 * v):02x}" for v in one[:3]) for one in table]
    return {"name": "region", "labels": [str(x) for x in labels], "colours": colours, "codes": codes}


def planes(layouts: Mapping[str, np.ndarray], group: Mapping[str, object], real: np.ndarray) -> Figure:
    """One plane (N, 2) for each encoder, coloured by group; real patches are triangles."""
    fig, axes = plt.subplots(2, -(-len(layouts) // 2), figsize=(7.6, 6.9), squeeze=False)
    colours = np.array(group["colours"])[np.asarray(group["codes"])]
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, (name, plane) in zip(axes.flat, layouts.items()):
        ax.scatter(*plane[~real].T, c=colours[~real], s=12, edgecolors="#88888866", linewidths=0.3)
        ax.scatter(*plane[real].T, c=colours[real], s=30, marker="^", edgecolors=INK, linewidths=0.6)
        ax.set_title(name)
    present = sorted(set(np.asarray(group["codes"]).tolist()))
    handles = [plt.Line2D([], [], ls="", marker="o", markeredgecolor="#888888", markeredgewidth=0.4,
                          color=group["colours"][c], label=group["labels"][c]) for c in present]  # fmt: skip
    if real.any() and not real.all():
        handles.append(
            plt.Line2D([], [], ls="", marker="^", color="white", markeredgecolor=INK, label="real patch")
        )
    fig.legend(handles=handles, loc="outside lower center", ncols=5)
    return describe(fig, f"{len(layouts)} UMAP planes ({', '.join(layouts)}) of {len(real)} patches by {group['name']}; "
                    f"{int(real.sum())} of them are real and drawn as triangles")  # fmt: skip


def recall_curves(tables: Mapping[str, pd.DataFrame], ks: Sequence[int]) -> Figure:
    """Recall@k of radar → optical (solid) and back (dashed), a panel for each set of pairs, guessing in grey."""
    fig, axes = plt.subplots(1, len(tables), figsize=(3.8 * len(tables), 3.1), sharey=True, squeeze=False)
    said = []
    for ax, (name, table) in zip(axes[0], tables.items()):
        for method, row in table.iterrows():
            colour = METHODS.get(str(method), "#999999")
            guess = method == "guessing"
            for way, style in (("s1_to_s2", "-"), ("s2_to_s1", ":")):
                label = str(method) if way == "s1_to_s2" else None
                shown = (
                    {"ls": "--", "lw": 1, "color": "#999999"}
                    if guess
                    else {"ls": style, "marker": "o", "ms": 4, "color": colour}
                )
                if not (guess and way == "s2_to_s1"):
                    ax.plot(range(len(ks)), [row[f"{way}_recall@{k}"] for k in ks], label=label, **shown)
            first, last = (row[f"s1_to_s2_recall@{k}"] for k in (ks[0], ks[-1]))
            said.append(f"{name}, {method}: {first:.0%} at {ks[0]}, {last:.0%} at {ks[-1]}")
        ax.set_xticks(range(len(ks)), [str(k) for k in ks])
        ax.set(title=name, xlabel="k", ylim=(0, 1.02))
        ax.yaxis.set_major_formatter("{x:.0%}")
        ax.grid(axis="y")
    axes[0, 0].set_ylabel("partner among the first k")
    axes[0, 0].legend()
    return describe(fig, f"Recall at k, radar to optical solid and back dotted. {'; '.join(said)}")


def gallery(queries: Sequence[np.ndarray], found: Sequence[Sequence[np.ndarray]], partner: Sequence[Sequence[bool]],
            titles: Sequence[Sequence[str]]) -> Figure:  # fmt: skip
    """Rows: a radar picture, then the optical pictures that come first; the true partner is framed in green."""
    fig, axes = axes_grid(len(queries), len(found[0]) + 1, 1.25, extra=0.3)
    for line, query, pictures, right, names in zip(axes, queries, found, partner, titles):
        line[0].imshow(query)
        line[0].set_title(names[0], fontsize=7)
        for ax, picture, own, name in zip(line[1:], pictures, right, names[1:]):
            ax.imshow(picture)
            ax.set_title(name, fontsize=7)
            if own:
                ax.set_axis_on()
                ax.set(xticks=[], yticks=[])
                for spine in ax.spines.values():
                    spine.set(visible=True, color=PALETTE[2], linewidth=3)
    hits = sum(any(r) for r in partner)
    return describe(fig, f"{len(queries)} radar patches, each with the {len(found[0])} optical patches found most similar; "
                    f"the true partner is among them {hits} times, framed in green")  # fmt: skip


def selection(scores: pd.DataFrame) -> Figure:
    """Scores of equal classifiers on two test halves; the one that is best on half A is marked."""
    fig, ax = plt.subplots(figsize=(4.2, 3.6))
    best = scores.loc[scores["a"].idxmax()]
    ax.scatter(scores["a"], scores["b"], s=16, color=PALETTE[0], alpha=0.5, linewidths=0)
    ax.scatter(best["a"], best["b"], s=70, facecolor="none", edgecolor=PALETTE[1], linewidth=2)
    span = [float(scores.min().min()) - 0.02, float(scores.max().max()) + 0.02]
    ax.plot(span, span, color="#999999", ls="--", lw=1)
    ax.annotate(
        "chosen by A",
        (best["a"], best["b"]),
        (0, -20),  # below the point, which lies farthest to the right: few others are there
        textcoords="offset points",
        ha="center",
        color=PALETTE[1],
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1},
    )
    ax.text(span[1], span[1], "A = B ", ha="right", va="top", fontsize=8, color=FAINT)
    ax.set(xlabel="average accuracy on test half A", ylabel="on test half B")
    means = scores.mean()
    return describe(fig, f"{len(scores)} classifiers by their score on two test halves. The best on A has {best['a']:.1%} "
                    f"there and {best['b']:.1%} on B; the means are {means['a']:.1%} and {means['b']:.1%}")  # fmt: skip


def ahead(first: str, second: str, gap: Interval, what: str, evidence: bool) -> str:
    """Which of two encoders is ahead by `what`, if the interval of the difference lets one tell."""
    sign = -1 if gap.high < 0 else 1  # the winner minus the other
    value, low, high = (100 * sign * x for x in (gap.value, *(gap.low, gap.high)[::sign]))
    points = f"{value:+.1f} points, 95% interval {low:+.1f} to {high:+.1f}"
    if gap.low > 0 or gap.high < 0:
        better, other = (first, second)[::sign]
        text = f"**{better} is ahead of {other}** by {what}: {points}."
    else:
        text = f"**{first} and {second} cannot be told apart** by {what} ({points})."
    return (caution(evidence) + text).replace("-SimCLR", "\0").replace("-", "−").replace("\0", "-SimCLR")


def branches(cka: pd.Series, evidence: bool) -> str:
    """What CKA says about the branches of each method, beside the untrained pair (index: methods)."""
    before = float(cka["untrained"])
    start = (
        f"Even untrained branches agree to {before:.2f}: a patch with water differs from one without in both sensors."
        if before >= 0.1
        else f"Untrained branches have next to nothing in common ({before:.2f})."
    )
    more = [
        f"{name} to {value:.2f}"
        for name, value in cka.items()
        if name != "untrained" and value > before + 0.02
    ]
    change = (
        f"Training raised it on simulated patches (the real pairs have a column of their own), {' and '.join(more)}."
        if more
        else "Training did not raise it here."
    )
    end = ("More is not better without end: a branch that keeps *only* what both sensors see has thrown away what its own "
           "sensor alone knows.")  # fmt: skip
    return f"{caution(evidence)}{start} {change} {end}".replace("(-", "(−").replace("to -", "to −")
