"""The plots of the book, each a figure that carries alt text made from its data.

`grid` and `pairs` for pictures, `lines`, `forest` (dots with intervals), `matrix`, `bars`, `stacked` and `histograms`
for numbers. Those with an argument `ax` draw into axes that you made, too, so that
panels share a figure: each panel adds its sentence to the alt text of the figure.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, zip_longest
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib import cbook
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

from eo_ssl.data.samples import Pair
from eo_ssl.show import composites
from eo_ssl.show.figure import COLOURS, FAINT, INK, PALETTE, axes_grid, describe
from eo_ssl.show.words import Score, listed, minus, signed, three

Picture = np.ndarray  # (H, W), or (H, W, 3) in [0, 1]
Look = Mapping[str, Any]  # options of a Matplotlib artist


def grid(
    pictures: Sequence[Picture | None] | Sequence[Sequence[Picture | None]],
    titles: Sequence[str] | Sequence[Sequence[str]] = (),
    columns: int = 4,
    rows: Sequence[str] = (),
    frames: Mapping[tuple[int, int], str] | None = None,
    cell: float = 1.75,
    extra: float = 0.22,
    colourbar: str = "",
    alt: str = "",
    **show: Any,
) -> Figure:
    """Pictures in rows and columns, `cell` inches each; a picture that is None leaves its place empty.

    A flat list is filled in row by row over `columns`; a list of lists gives the rows. `titles` stand over every picture
    (flat or nested like the pictures), or over the columns where there are as many as columns. `rows` are names at the
    left, `frames` coloured frames by (row, column), `extra` inches of height a row for its titles. Whatever else goes to
    `imshow` (cmap, vmin, vmax) for pictures (H, W). The axes are `fig.axes`, row by row.
    """
    flat = len(pictures) == 0 or isinstance(pictures[0], np.ndarray | None)
    columns = min(columns, max(1, len(pictures))) if flat else max(map(len, pictures))
    lines = _in_rows(pictures, columns) if flat else pictures
    titles = _in_rows(titles, columns) if len(titles) == 0 or isinstance(titles[0], str) else titles
    fig, axes = axes_grid(len(lines), columns, cell, extra)
    for r, (line, names) in enumerate(zip_longest(lines, titles, fillvalue=())):
        for c, (ax, picture, name) in enumerate(zip_longest(axes[r], line, names)):
            ax.set_title(name or "", fontsize=8.5 if cell > 1.3 else 7)
            if picture is None:
                ax.set_box_aspect(1)
                continue
            image = ax.imshow(picture, **({"cmap": "gray"} | show if np.ndim(picture) == 2 else {}))
            if (r, c) in (frames or {}):
                ax.set_axis_on()
                ax.set(xticks=[], yticks=[])
                ax.spines[:].set(visible=True, color=frames[r, c], linewidth=3)
    for ax, name in zip(axes[:, 0], rows):
        row_name(ax, name)
    if colourbar:
        fig.colorbar(image, ax=list(axes.flat), shrink=0.8, label=colourbar)
    heads = "; ".join(name.replace("\n", " ") for names in titles for name in names if name)
    count = sum(picture is not None for line in lines for picture in line)
    said = [f"{count} pictures", f"in rows: {', '.join(rows)}." if rows else "of" if heads else "", heads]
    return describe(fig, alt or " ".join(filter(None, said)))


def _in_rows(items: Sequence[Any], columns: int) -> list[Sequence[Any]]:
    return [items[i : i + columns] for i in range(0, len(items), columns)]


def row_name(ax: Axes, name: str) -> None:
    """A name at the left of a row of pictures, reading upwards."""
    ax.text(-0.06, 0.5, name, rotation=90, ha="right", va="center", transform=ax.transAxes, color=FAINT)


def pairs(chosen: Sequence[Pair], cell: float = 1.75) -> Figure:
    """Pairs side by side: Sentinel-2 true colour above, Sentinel-1 composite of the same place below."""
    optical = [composites.true_colour(p.s2, p.s2_bands) for p in chosen]
    radar = [composites.radar(p.s1) for p in chosen]
    fig = grid([optical, radar], [title(p) for p in chosen], rows=("Sentinel-2", "Sentinel-1"), cell=cell)
    last = fig.axes[len(chosen) - 1]
    scale = AnchoredSizeBar(last.transData, 50, "500 m", "lower right", borderpad=0.3, sep=2, size_vertical=2)
    last.add_artist(scale)  # 50 pixels of 10 m
    places = "; ".join(f"{title(p, ' ')} ({', '.join(p.labels) or 'no label'})" for p in chosen)
    what = f"{len(chosen)} places, each as Sentinel-2 true colour above and radar below"
    return describe(fig, f"{what}: {places}")


def title(pair: Pair, between: str = "\n") -> str:
    """Country and date of a pair, as far as they are known."""
    day = f"{between}{pair.date:%-d %B %Y}" if pair.date else ""
    return f"{pair.country or pair.name}{day}"


def _drawn(ax: Axes, alt: str) -> Figure:
    """Add a sentence about a panel to the alt text of its figure."""
    before = getattr(ax.figure, "eo_alt", "")
    return describe(ax.figure, f"{before} {alt}".strip())


def _guides(level: Callable[..., Any], guides: Mapping[str, float] | None) -> list[str]:
    """Dashed lines with their names, drawn by `level` (`ax.axhline`), in words."""
    for name, value in (guides or {}).items():
        level(value, label=name, color=COLOURS["chance"], linestyle="--", linewidth=1.2, zorder=1)
    return [f"{name} {value:.3g}" for name, value in (guides or {}).items()]


def _finished(ax: Axes, what: str, said: Sequence[str], axis: Look, above: bool = True) -> Figure:
    """Options of the axes, a legend (`above` them), and the alt text with all that was said."""
    ax.set(**axis)
    count = len(ax.get_legend_handles_labels()[1])
    if count and above:
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=4, borderaxespad=0.2, fontsize=8)
        ax.set_title(ax.get_title("left"), pad=8 + 14 * -(-count // 4))
    elif count > 1:
        ax.legend()
    title = f"{axis['title']}: " if axis.get("title") else ""
    return _drawn(ax, f"{title}{what}. {'; '.join(said)}.")


def lines(
    x: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    xlabel: str,
    ylabel: str,
    dashed: Sequence[str] = (),
    size: tuple[float, float] = (5.2, 3.0),
    bands: Mapping[str, tuple[Sequence[float], Sequence[float]]] | None = None,
    styles: Mapping[str, Look] | None = None,
    log: str = "",
    percent: bool = False,
    ax: Axes | None = None,
    **axis: Any,
) -> Figure:
    """Named curves over `x`; those in `dashed` (a theory, a chance level) are grey and dashed.

    NaN in a curve is left out. `bands` gives low and high of a curve as error bars, `styles` the look of a curve. `log`
    names the logarithmic axes ("x", "y", "xy"), which get ticks at the values of `x`; `percent` labels shares as percent.
    Whatever else goes to `Axes.set` (ylim, title, xticks).
    """
    ax = ax or plt.subplots(figsize=size)[1]
    form = "{:.0%}" if percent else "{:.3g}"
    colours, said = cycle(PALETTE), []
    grey = {"color": COLOURS["chance"], "linestyle": "--"}
    for i, (name, values) in enumerate(curves.items()):
        table = np.array([x, values, *(bands or {}).get(name, ())], dtype=float)  # x, y, low, high
        at, y, *ends = table[:, np.isfinite(table[1])]
        own = grey if name in dashed else {"color": next(colours), "marker": "o" if len(y) < 16 else ""}
        style = {"markersize": 4.5} | own | cbook.normalize_kwargs((styles or {}).get(name), Line2D)
        error = np.clip([y - ends[0], ends[1] - y], 0, None) if ends else None
        side = 1.03 ** (i - len(curves) / 2) if bands and "x" in log else 1  # not on each other
        ax.errorbar(at * side, y, error, label=name, capsize=2, elinewidth=1, **style)
        told = []
        for place, value, *span in zip(at, y, *ends):
            interval = f" ({' to '.join(map(form.format, span))})" if span else ""
            told.append(f"{form.format(value)}{interval} at {place:g}")
        said.append(f"{name}: {', '.join(told if len(told) < 6 else (told[0], told[-1])) or 'no values'}")
    if log:
        ax.set(**{f"{which}scale": "log" for which in log})
        ax.set_xticks(*(x, [f"{v:,g}" for v in x]) if "x" in log and len(x) < 12 else (ax.get_xticks(),))
        ax.minorticks_off()
    if percent:
        ax.yaxis.set_major_formatter("{x:.0%}")
    ax.grid(axis="y")
    names = {"xlabel": xlabel, "ylabel": ylabel}
    return _finished(ax, f"{ylabel} over {xlabel}", said, names | axis, above=False)


def forest(
    values: Mapping[str, Score | Mapping[str, Score]],
    xlabel: str,
    unit: str = "%",
    guides: Mapping[str, float] | None = None,
    colours: Mapping[str, str] | None = None,
    ax: Axes | None = None,
    **axis: Any,
) -> Figure:
    """Dots with intervals, a row for each name, in a row a mark for each inner name (with a legend).

    A score is an `Interval`, (value, low, high), or a number without an interval; NaN is left out and said to be "not
    run". `unit` says how shares are shown: "%" as percent, "points" as signed differences with a line at zero, "" as
    they are. `guides` are dashed vertical lines (the level of guessing), in the unit of the values.
    """
    rows = {name: row if isinstance(row, Mapping) else {"": row} for name, row in values.items()}
    marks = list(dict.fromkeys(mark for row in rows.values() for mark in row))
    look, scale = dict(zip(marks, cycle(PALETTE))) | dict(colours or {}), 100 if unit else 1
    ax = ax or plt.subplots(figsize=(6.4, 0.8 + len(rows) * max(0.3, 0.17 * len(marks))))[1]
    for i, mark in enumerate(marks):
        there = [(y, *three(row[mark])) for y, row in enumerate(rows.values()) if mark in row]
        y, value, low, high = np.array(there, dtype=float).T * [[1], [scale], [scale], [scale]]
        y += 0.7 / max(2, len(marks)) * (i - (len(marks) - 1) / 2)
        style = {"fmt": "osD^vPX*"[i % 8], "color": look[mark], "ms": 5, "capsize": 2, "elinewidth": 1.3}
        ax.errorbar(value, y, xerr=np.clip([value - low, high - value], 0, None), label=mark, **style)
    if unit == "points":
        ax.axvline(0, color=FAINT, linewidth=1, zorder=1)
    ax.set_yticks(range(len(rows)), list(rows))
    ax.grid(axis="x")
    said = []
    for name, row in rows.items():
        told = (f"{mark} {_score_words(score, unit)}".strip() for mark, score in row.items())
        said.append(f"{name}: {', '.join(told)}")
    said += _guides(ax.axvline, {name: scale * level for name, level in (guides or {}).items()})
    names = {"ylim": (len(rows) - 0.4, -0.6), "xlabel": xlabel}
    return _finished(ax, f"{xlabel}, dots with 95% intervals", said, names | axis)


def _score_words(score: Score, unit: str) -> str:
    """A score as it is written in the alt text."""
    form = {"points": signed, "%": lambda v: f"{100 * v:.0f}", "": lambda v: f"{v:.2f}"}[unit]
    value, low, high = map(form, three(score))
    interval = f" ({low} to {high})" if low != high else ""
    return "not run" if "nan" in value else f"{value}{'%' * (unit == '%')}{interval}"


def matrix(
    values: np.ndarray | Mapping[str, np.ndarray],
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    form: str = "",
    span: tuple[float, float] | None = None,
    cmap: str = "cividis",
    colourbar: str = "",
    outlined: np.ndarray | None = None,
    ax: Axes | None = None,
    cell: float = 0.45,
    alt: str = "",
    **axis: Any,
) -> Figure:
    """A matrix (R, C) as colours, or named ones side by side on one scale; what is not finite is hatched.

    `form` ("{:.0f}") writes the numbers into the cells, `span` are the ends of the colour scale, `outlined` (R, C) bool
    frames cells. Whatever else goes to `Axes.set` of each panel (xlabel, ylabel, title).
    """
    panels = values if isinstance(values, Mapping) else {axis.pop("title", ""): values}
    panels = {name: np.where(np.isfinite(table), table, np.nan) for name, table in panels.items()}
    ends = {name: (np.nanmin(table) + 0, np.nanmax(table) + 0) for name, table in panels.items()}
    low, high = span or (min(a for a, _ in ends.values()), max(b for _, b in ends.values()))
    axes = [ax]
    if ax is None:
        r, c = next(iter(panels.values())).shape
        height, width = (max(1.6, cell * n) + (1.1 if len(rows) else 0.4) for n in (r, c))
        size = (width * len(panels) + 0.6 * bool(colourbar), height - 0.1)
        axes = plt.subplots(1, len(panels), figsize=size, squeeze=False)[1][0]
    for one, (name, table) in zip(axes, panels.items()):
        image = one.imshow(table, cmap=cmap, vmin=low, vmax=high)
        for (i, j), value in np.ndenumerate(table):
            square = (j - 0.5, i - 0.5), 1, 1
            if np.isnan(value):
                one.add_patch(Rectangle(*square, fc="#eeeeee", ec="#aaaaaa", hatch="///", lw=0))
            elif form:
                dark = np.dot(image.cmap(image.norm(value))[:3], (0.299, 0.587, 0.114)) < 0.5
                look = {"ha": "center", "va": "center", "fontsize": 7.5, "color": "white" if dark else INK}
                one.text(j, i, minus(form.format(value)), **look)
            if outlined is not None and outlined[i, j]:
                one.add_patch(Rectangle(*square, fill=False, edgecolor=INK, linewidth=1.4))
        one.set_xticks(range(len(columns)), columns, rotation=40, ha="right")
        one.set_yticks(range(len(rows)), rows)
        one.tick_params(length=0)
        one.set(title=name, **axis)
    if colourbar:
        axes[0].figure.colorbar(image, ax=list(axes), shrink=0.8, label=colourbar)
    said = [f"{name} from {a:.2f} to {b:.2f}".strip() for name, (a, b) in ends.items()]
    return _drawn(axes[0], alt or f"Matrix of {colourbar or 'numbers'}: {'; '.join(said)}.")


def bars(
    values: Mapping[str, Sequence[float]],
    names: Sequence[str],
    ylabel: str,
    labels: str | Mapping[str, Sequence[str]] = "",
    guides: Mapping[str, float] | None = None,
    looks: Mapping[str, Look] | None = None,
    size: tuple[float, float] = (7.4, 3.1),
    **axis: Any,
) -> Figure:
    """Grouped bars: a group for each of `names` (the classes), in it a bar for each key of `values`; NaN has no bar.

    `labels` stand on the bars, a form such as "%.0f" or texts; `guides` are horizontal dashed lines; `looks` options of
    `Axes.bar` (color, hatch, yerr). Whatever else goes to `Axes.set`.
    """
    ax = plt.subplots(figsize=size)[1]
    width, said = 0.8 / max(1, len(values)), []
    for i, (name, heights) in enumerate(values.items()):
        x = np.arange(len(names)) + (i - (len(values) - 1) / 2) * width
        look = {"color": PALETTE[i % len(PALETTE)], "edgecolor": "white", "linewidth": 0.5, "label": name}
        look |= {"error_kw": {"elinewidth": 0.8, "ecolor": INK}} | dict((looks or {}).get(name, {}))
        drawn = ax.bar(x, heights, 0.94 * width, **look)
        if labels:
            own = {"fmt": labels} if isinstance(labels, str) else {"labels": labels[name]}
            ax.bar_label(drawn, fontsize=7 if len(names) > 4 else 8, color=FAINT, **own)
        told = ["none" if np.isnan(v) else f"{v:.3g}" for v in heights]
        said.append(f"{name}: " + ", ".join(map(" ".join, zip(names, told))))
    ax.set_xticks(range(len(names)), names)
    ax.tick_params(axis="x", length=0)
    said += _guides(ax.axhline, guides)
    return _finished(ax, f"Bars of {ylabel}", said, {"ylabel": ylabel} | axis)


def stacked(
    values: Mapping[str, Mapping[str, float]],
    colours: Mapping[str, str],
    form: str = "{:.0%}",
    inside: bool = False,
    ends: Sequence[str] = (),
    **axis: Any,
) -> Figure:
    """Horizontal bars, a row for each name, made of parts {name: length} in the colours of the parts.

    `inside` writes the lengths into the parts that have room, `ends` texts at the right of the rows.
    """
    ax = plt.subplots(figsize=(7.2, 0.6 * len(values) + 0.9))[1]
    table = pd.DataFrame(values).fillna(0)  # rows: parts, columns: bars
    left = table.cumsum() - table
    for part, length in table.iterrows():
        look = {"color": colours[part], "edgecolor": "white", "label": part}
        drawn = ax.barh(range(len(values)), length, 0.68, left.loc[part], **look)
        if inside:  # a thin slice has no room; the alt text has its number
            told = [form.format(v) if v > 0.06 * table.sum().max() else "" for v in length]
            box = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 1}
            ax.bar_label(drawn, told, label_type="center", fontsize=7.5, color=INK, bbox=box)
    for y, (end, total) in enumerate(zip(ends, table.sum())):
        ax.text(total, y, f"  {end}", va="center", fontsize=8, color=INK)
    ax.set_yticks(range(len(values)), list(values))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    said = [f"{name}: {listed(row, form)}" for name, row in values.items()]
    return _finished(ax, "Stacked bars", said, {"ylim": (len(values) - 0.5, -0.5)} | axis)


def histograms(
    groups: Mapping[str, np.ndarray],
    xlabel: str,
    bins: int = 80,
    span: tuple[float, float] | None = None,
    colours: Sequence[str] = PALETTE,
    ax: Axes | None = None,
    ylabel: str = "",
    guides: Mapping[str, float] | None = None,
    **axis: Any,
) -> Figure:
    """Overlaid histograms of named values on one axis, as densities; with a `ylabel` ("draws") as counts.

    NaN is left out; `guides` are dashed vertical lines.
    """
    ax = ax or plt.subplots(figsize=(5.2, 2.8))[1]
    groups = {name: np.ravel(values)[np.isfinite(np.ravel(values))] for name, values in groups.items()}
    span = span or composites.limits(np.concatenate([*groups.values()]), 0.1, 99.9)
    options, said = {"bins": np.linspace(*span, bins + 1), "density": not ylabel}, []
    for (name, values), colour in zip(groups.items(), cycle(colours)):
        label = name if len(groups) > 1 or guides else ""
        ax.hist(values, color=colour, alpha=0.32, linewidth=0, **options)
        ax.hist(values, color=colour, histtype="step", linewidth=1.4, label=label, **options)
        numbers = f"mean {np.mean(values):.3g}, sd {np.std(values):.3g}" if len(values) else "empty"
        said.append(f"{name}: {numbers}")
    ax.spines["left"].set_visible(bool(ylabel))
    names = {"xlabel": xlabel, "xlim": span} | ({"ylabel": ylabel} if ylabel else {"yticks": []})
    said += _guides(ax.axvline, guides)
    return _finished(ax, f"Histogram of {xlabel}", said, names | axis)


def training(history: pd.DataFrame, chance: float) -> Figure:
    """Curves of a pretraining run: losses with the chance level, retrieval among held-out patches, spread."""
    fig, (loss, rank, spread) = plt.subplots(1, 3, figsize=(7.8, 2.6))
    epoch, guess = history["epoch"], "held-out, guessing"
    losses = {"training batches": history["train_loss"], "held-out": history["val_loss"]}
    losses[guess] = np.full(len(history), chance)
    lines(epoch, losses, "epoch", "loss (nats)", [guess], ax=loss, ylim=(0, None))
    columns = {"first": "val_top1", "among five": "val_top5", "five, guessing": "val_chance_top5"}
    found = {name: history[column] for name, column in columns.items()}
    lines(epoch, found, "epoch", "partner found", ["five, guessing"], ax=rank, ylim=(0, 1.04))
    lines(epoch, {"spread": history["val_spread"]}, "epoch", "spread of z", ax=spread, ylim=(0, 1.1))
    return fig
