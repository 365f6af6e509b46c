"""The table that grows from chapter to chapter, method × task × label fraction, and the figure of all of it."""

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from eo_ssl.errors import ConfigError
from eo_ssl.experiments.plan import METHODS, get_method, make_grid
from eo_ssl.experiments.results import read_results
from eo_ssl.experiments.tables import MAIN, TASKS, measured
from eo_ssl.show.figure import GRID, describe
from eo_ssl.show.results import METRIC_NAMES
from eo_ssl.show.tables import Table

if TYPE_CHECKING:
    from eo_ssl.course.session import Run

PARTS = ("fusion", "few-labels", "swin", "segmentation")  # of chapters 03, 08, 09 and 10
NO_EVIDENCE = "Smoke run, no evidence: these numbers only show that the table can be made."
Key = tuple[str, str, float]
_SHADES = ("#c6d5e6", "#8fb0d2", "#5b86b5", "#1f4a7a")  # light to dark: few labels to all


def growing_table(run: "Run", part: str = "", task: str = "") -> Table:
    """What is known up to a chapter's `part` of the grid ("" for all parts), of one `task` or of all.

    Each cell is the mean over seeds and the 95% interval over seeds and places, in percent; what this part
    added is bold, and its row says "new". What the plan leaves out is "–", what no chapter has run yet "not run".
    Raises `ConfigError` for a part or a task that does not exist.
    """
    for name, known in ((part, PARTS), (task, TASKS)):
        if name and name not in known:
            raise ConfigError(f"no {name!r} in the growing table; there are {', '.join(known)}")
    earlier, own = planned(run.profile.name, part)
    table = measured(read_results(run.root / "results.jsonl"), run.root)
    known = {(r.task, r.method, round(r.fraction, 6)): r for r in table.itertuples()}
    wanted = sorted(earlier | own, key=_place)
    fractions = sorted({f for t, _, f in wanted if not task or t == task})
    rows: list[tuple[str, ...]] = []
    for one in (t for t in TASKS if not task or t == task):
        keys = [key for key in wanted if key[0] == one]
        if keys:
            rows.append((f"{TASKS[one].capitalize()}: {METRIC_NAMES[MAIN[one]]}, %",))
        for method in dict.fromkeys(method for _, method, _ in keys):
            rows.append(_row(one, method, fractions, known, set(keys), own if part else set()))
    head = ("Method", *(f"{100 * f:g}%" for f in fractions), "seeds", *(("added",) if part else ()))
    missing = [key for key in wanted if key not in known and (not task or key[0] == task)]
    return Table(head, tuple(rows), _caption(run, part, len(missing)))


def planned(profile: str, part: str = "") -> tuple[set[Key], set[Key]]:
    """Task, method and fraction of all models of earlier parts, and of those that `part` adds ("": all are old)."""
    before = PARTS[: PARTS.index(part)] if part else PARTS
    earlier = _keys(profile, before) if before else set()
    return earlier, (_keys(profile, (part,)) - earlier if part else set())


def _keys(profile: str, parts: tuple[str, ...]) -> set[Key]:
    cells = make_grid(profile, parts).cells
    return {(cell.task, cell.method, round(cell.fraction, 6)) for cell in cells if cell.rate is None}


def _place(key: Key) -> tuple[int, int, float]:
    return list(TASKS).index(key[0]), list(METHODS).index(key[1]), key[2]


def _row(
    task: str, method: str, fractions: list[float], known: dict[Key, object], plan: set[Key], new: set[Key]
) -> tuple[str, ...]:
    cells, seeds = [], set()
    for fraction in fractions:
        key = (task, method, fraction)
        found = known.get(key)
        text = _cell(found) if found is not None else "not run" if key in plan else "–"
        cells.append(f"**{text}**" if key in new else text)
        seeds |= {found.seeds} if found is not None and key in plan else set()  # type: ignore[attr-defined]
    marks = ("new",) if any((task, method, f) in new for f in fractions) else ("",) if new else ()
    return (get_method(method).label, *cells, "–".join(map(str, sorted(seeds))) or "–", *marks)


def _cell(row: object) -> str:
    mean, low, high = (100 * getattr(row, name) for name in ("mean", "low", "high"))
    return "–" if np.isnan(mean) else f"{mean:.0f} [{low:.0f}, {high:.0f}]"


def _caption(run: "Run", part: str, missing: int) -> str:
    words = ["Test scores by share of labels: mean over seeds and 95% interval over seeds and places."]
    words += ["Bold: new in this chapter."] if part else []
    words += [f"{missing} entries belong to chapters that this run has not reached."] if missing else []
    return " ".join(words if run.is_evidence else [f"**{NO_EVIDENCE}**", *words])


def overview(table: pd.DataFrame) -> Figure:
    """Every method of every task with its interval, one mark per share of labels; rows of `measured`."""
    tasks = [task for task in TASKS if (table["task"] == task).any()]
    if not tasks:
        raise ConfigError("nothing was measured yet: run chapter 03, 08, 09 or 10 first")
    counts = [table.loc[table["task"] == t, "method"].nunique() for t in tasks]
    fig, axes = plt.subplots(len(tasks), 1, figsize=(7.6, 0.3 * sum(counts) + 0.85 * len(tasks) + 0.4), squeeze=False,
                             height_ratios=[c + 1 for c in counts])  # fmt: skip
    fractions = sorted(table["fraction"].unique())
    shade = dict(zip(fractions, _SHADES[-len(fractions) :]))
    said = []
    for ax, task in zip(axes[:, 0], tasks):
        rows = table[table["task"] == task]
        names = list(dict.fromkeys(rows["method"]))
        for fraction, one in rows.groupby("fraction"):
            y = np.array([names.index(m) for m in one["method"]]) + 0.2 * (
                fractions.index(fraction) - len(fractions) / 2 + 0.5
            )
            mean, low, high = (100 * one[c].to_numpy(float) for c in ("mean", "low", "high"))
            bars = np.clip([mean - low, high - mean], 0, None)
            ax.errorbar(mean, y, xerr=bars, fmt="osD^"[fractions.index(fraction) % 4], color=shade[fraction], ms=4.5,
                        elinewidth=1.2, label=f"{100 * fraction:g}% of the labels")  # fmt: skip
            best = one.loc[one["mean"].idxmax()]
            said.append(
                f"{TASKS[task]}, {100 * fraction:g}% of the labels: best {best['label']} {100 * best['mean']:.0f}%"
            )
        ax.set_yticks(range(len(names)), [get_method(m).label for m in names])
        ax.set(ylim=(len(names) - 0.4, -0.6), title=f"{TASKS[task]}: {METRIC_NAMES[MAIN[task]]}, %")
        ax.grid(axis="x", color=GRID)
    axes[int(np.argmax([table[table["task"] == t]["fraction"].nunique() for t in tasks])), 0].legend(
        loc="lower center", bbox_to_anchor=(0.4, 1.06), ncols=4, fontsize=8)  # fmt: skip
    return describe(
        fig, f"Dots with intervals, one row per method. {'; '.join(said)}. All numbers stand in the table."
    )
