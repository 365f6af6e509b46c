"""Results of other profiles, measured elsewhere and kept with the book, beside those of this run."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from eo_ssl.experiments.plan import METHODS, get_method
from eo_ssl.experiments.tables import MAIN, TASKS, in_order
from eo_ssl.show.evidence import caution
from eo_ssl.show.figure import GRID, PALETTE, describe
from eo_ssl.show.results import METRIC_NAMES

Release = Mapping[str, Any]
NAMES = {"laptop": "laptop", "gpu": "GPU", "paper": "paper"}


def release_rows(release: Release | None) -> pd.DataFrame:
    """The rows of a committed release in the form of `measured`: main metrics of known methods only."""
    rows = [
        {"n_labels": np.nan, "seeds": 0, "values": [], **row, "label": get_method(row["method"]).label}
        for row in (release or {}).get("rows", ())
        if row["method"] in METHODS and row["metric"] == MAIN.get(row["task"])
    ]
    return in_order(rows) if rows else pd.DataFrame(columns=["task", "method", "fraction", "metric", "mean"])


def provenance(releases: Mapping[str, Release | None]) -> str:
    """One line per profile: where and when its committed results were measured, or that they were not yet."""
    lines = []
    for name, release in releases.items():
        if release is None:
            lines.append(
                f"- **{NAMES.get(name, name)}**: not yet measured{' on GPU' if name == 'gpu' else ''}."
            )
            continue
        facts = ", ".join(str(f) for f in (release.get("device"), str(release.get("date", ""))[:10]) if f)
        commit = f", commit {str(release['commit'])[:9]}" if release.get("commit") else ""
        seeds = sorted({int(row.get("seeds", 0)) for row in release.get("rows", ())} - {0})
        said = f", {'–'.join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))} seeds" if seeds else ""
        lines.append(f"- **{NAMES.get(name, name)}**: measured on {facts}{commit}{said}.")
    return "\n".join(lines)


def beside(tables: Mapping[str, pd.DataFrame], fraction: float = 1.0) -> Figure:
    """Scores of the methods that two or more profiles have in common, a panel per task, a mark per profile.

    `tables` holds rows of `measured` or `release_rows` by profile; the values of two profiles come from other images,
    networks and budgets, so only order and differences within one may be compared.
    """
    rows = pd.concat(
        [t.assign(profile=name) for name, t in tables.items() if len(t)] or [pd.DataFrame()],
        ignore_index=True,
    )
    rows = rows[np.isclose(rows["fraction"], fraction)]
    shown = {task: _common(rows[rows["task"] == task]) for task in TASKS}
    shown = {task: names for task, names in shown.items() if names}
    fig, axes = plt.subplots(1, max(1, len(shown)), figsize=(9.2, 3.3), squeeze=False)
    said = []
    for ax, (task, names) in zip(axes[0], shown.items()):
        for i, (profile, one) in enumerate(rows[rows["task"] == task].groupby("profile", sort=False)):
            one = one.set_index("method").reindex(names)
            mean, low, high = (100 * one[c].to_numpy(float) for c in ("mean", "low", "high"))
            y = np.arange(len(names)) + 0.22 * (i - (len(tables) - 1) / 2)
            ax.errorbar(mean, y, xerr=np.clip([mean - low, high - mean], 0, None), fmt="oDs^"[i % 4], ms=4.5, elinewidth=1,
                        color=PALETTE[i], label=NAMES.get(str(profile), str(profile)))  # fmt: skip
            values = ", ".join(
                f"{get_method(m).label} {v:.0f}" for m, v in zip(names, mean) if np.isfinite(v)
            )
            said.append(f"{TASKS[task]}, {profile}: {values}")
        ax.set_yticks(range(len(names)), [get_method(m).label for m in names], fontsize=7)
        ax.set(
            ylim=(len(names) - 0.4, -0.6), xlabel=f"{METRIC_NAMES[MAIN[task]].split('(')[-1].rstrip(')')}, %"
        )
        ax.set_title(TASKS[task], fontsize=9)
        ax.grid(axis="x", color=GRID)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return describe(fig, f"Scores by method and profile in percent, all labels. {'. '.join(said)}.")


def _common(rows: pd.DataFrame) -> list[str]:
    counts = rows.groupby("method")["profile"].nunique() if len(rows) else pd.Series(dtype=int)
    return [name for name in METHODS if counts.get(name, 0) >= 2]


def agreement(first: pd.DataFrame, second: pd.DataFrame, task: str, fraction: float = 1.0) -> tuple[int, int]:
    """Pairs of methods that both tables put in the same order by their means, of all pairs they share."""
    one, other = (
        t[(t["task"] == task) & np.isclose(t["fraction"].astype(float), fraction)].set_index("method")["mean"]
        for t in (first, second)
    )
    names = [m for m in one.index if m in other.index]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    return sum((one[a] - one[b]) * (other[a] - other[b]) > 0 for a, b in pairs), len(pairs)


def agreement_words(tables: Mapping[str, pd.DataFrame], evidence: bool) -> str:
    """How far the first table and each other order the methods of each task alike; `evidence` is that of the first."""
    (name, own), *others = tables.items()
    lines = []
    for other, rows in others:
        parts = []
        for task in TASKS:
            same, pairs = agreement(own, rows, task)
            parts += [f"{same} of {pairs} pairs of methods ({TASKS[task]})"] if pairs else []
        said = ", ".join(parts) or "no pair of methods in common"
        lines.append(
            f"In the same order at {NAMES.get(name, name)} and at {NAMES.get(other, other)}: {said}."
        )
    half = " Without any relation it would be about half of the pairs; many of these differences are within their intervals."
    return caution(evidence) + " ".join(lines) + half
