"""Plots of patches and pixels; each returns a figure that carries alt text made from its data."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import patheffects as effects
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eo_ssl.data.samples import Pair
from eo_ssl.sensors import S2
from eo_ssl.show import composites
from eo_ssl.show.figure import FAINT, GRID, PALETTE, axes_grid, describe

_BY_NAME = {band.name: band for band in S2}
# The visible range in faint colours of its own, so that "red edge" and "near infrared" have their place.
_VISIBLE = ((380, 450, "#e9e3f5"), (450, 495, "#e1ebfa"), (495, 570, "#e4f4e6"), (570, 590, "#f8f6dc"),
            (590, 620, "#fcefdd"), (620, 700, "#fbe5e3"))  # fmt: skip


def images(
    pictures: Sequence[np.ndarray],
    titles: Sequence[str] = (),
    columns: int = 4,
    cell: float = 1.75,
    alt: str = "",
    **show: object,
) -> Figure:
    """A grid of pictures (H, W) or (H, W, 3) with titles; `show` goes to `imshow` (cmap, vmin, vmax)."""
    rows = -(-len(pictures) // columns)
    fig, axes = axes_grid(rows, min(columns, len(pictures)), cell)
    for ax, picture, title in zip(axes.flat, pictures, [*titles, *[""] * len(pictures)]):
        ax.imshow(picture, **({"cmap": "gray"} | show if np.ndim(picture) == 2 else {}))
        ax.set_title(title, fontsize=8.5)
    return describe(fig, alt or f"{len(pictures)} pictures: {', '.join(t for t in titles if t)}")


def pairs(chosen: Sequence[Pair], cell: float = 1.75, bar: bool = True) -> Figure:
    """Pairs side by side: Sentinel-2 true colour above, Sentinel-1 composite of the same place below."""
    fig, axes = axes_grid(2, len(chosen), cell)
    for (top, bottom), pair in zip(axes.T, chosen):
        top.imshow(composites.true_colour(pair.s2, pair.s2_bands))
        bottom.imshow(composites.radar(pair.s1))
        top.set_title(title(pair), fontsize=8.5)
    for ax, sensor in zip(axes[:, 0], ("Sentinel-2", "Sentinel-1")):
        ax.text(-0.06, 0.5, sensor, rotation=90, ha="right", va="center", transform=ax.transAxes, color=FAINT)
    if bar:
        scale_bar(axes[0, -1], chosen[-1].s1.shape[-1])
    places = "; ".join(
        f"{title(p).replace(chr(10), ' ')} ({', '.join(p.labels) or 'no label'})" for p in chosen
    )
    return describe(
        fig, f"{len(chosen)} places, each as Sentinel-2 true colour above and radar below: {places}"
    )


def title(pair: Pair, between: str = "\n") -> str:
    """Country and day of a pair, for a picture's title."""
    day = f"{between}{pair.date:%-d %B %Y}" if pair.date else ""
    return f"{pair.country or pair.name}{day}"


def scale_bar(ax: Axes, width: int, metres: int = 500, pixel: float = 10) -> None:
    """A white bar with its length in the lower right corner of an image `width` pixels wide."""
    length = metres / pixel
    x, y = width * 0.94 - length, width * 0.94
    outline = [effects.withStroke(linewidth=2.2, foreground="#00000099")]
    bar = [effects.withStroke(linewidth=4, foreground="#00000099")]
    ax.plot([x, x + length], [y, y], color="white", lw=2.2, solid_capstyle="butt", path_effects=bar)
    place = {"ha": "center", "va": "bottom", "fontsize": 7.5, "path_effects": outline}
    ax.text(x + length / 2, y - width * 0.03, f"{metres} m", color="white", **place)


def spectra(
    curves: Mapping[str, np.ndarray],
    bands: Sequence[str],
    colours: Sequence[str] = PALETTE,
    size: tuple[float, float] = (7.4, 3.5),
) -> Figure:
    """Reflectance over wavelength; each band drawn as wide as it is, curves named at the right.

    `curves` maps a name to reflectances (B,) in the order of `bands`.
    """
    order = np.argsort([_BY_NAME[b].centre for b in bands])
    names = [bands[i] for i in order]
    x = np.array([_BY_NAME[b].centre for b in names])
    half = np.array([_BY_NAME[b].width / 2 for b in names])
    fig, ax = plt.subplots(figsize=size)
    wavelength_axis(ax, names)
    ends = []
    for (name, values), colour in zip(curves.items(), colours):
        y = np.asarray(values, dtype=float)[order]
        ax.plot(x, y, color=colour, linewidth=1.2, alpha=0.55)
        ax.hlines(y, x - half, x + half, color=colour, linewidth=3.2)
        ends.append((float(y[-1]), name, colour))
    top = max(float(np.max(v)) for v in curves.values()) * 1.08
    ax.set(ylim=(0, top), ylabel="reflectance")
    _end_labels(ax, ends, gap=top * 0.062)
    said = "; ".join(_spectrum_words(name, np.asarray(v)[order], names) for name, v in curves.items())
    return describe(fig, f"Reflectance from {x[0]:.0f} to {x[-1]:.0f} nm. {said}")


def _spectrum_words(name: str, values: np.ndarray, names: Sequence[str]) -> str:
    low, high = int(np.argmin(values)), int(np.argmax(values))
    return f"{name}: lowest {values[low]:.2f} in {names[low]}, highest {values[high]:.2f} in {names[high]}"


def wavelength_axis(ax: Axes, names: Sequence[str]) -> None:
    """Wavelength 400–2350 nm with the visible range tinted and the band names along the top."""
    for start, stop, colour in _VISIBLE:
        ax.axvspan(start, stop, color=colour, linewidth=0, zorder=0)
    ax.grid(axis="y")
    ax.set(xlim=(380, 2350), xlabel="wavelength (nm)")
    for i, name in enumerate(names):
        band = _BY_NAME[name]
        ax.axvline(band.centre, color=GRID, linewidth=0.7, zorder=0)
        # Neighbours in the red edge are 40 nm apart: their names stand on three levels.
        ax.annotate(name, (band.centre, 1), (0, 2 + 8 * (i % 3)), xycoords=ax.get_xaxis_transform(),
                    textcoords="offset points", ha="center", fontsize=7, color=FAINT)  # fmt: skip


def _end_labels(ax: Axes, ends: list[tuple[float, str, str]], gap: float) -> None:
    """Names at the right end of curves, pushed apart where they would overlap."""
    at = -np.inf
    for y, name, colour in sorted(ends):
        at = max(y, at + gap)
        ax.annotate(name, (2300, at), (8, 0), textcoords="offset points", color=colour, va="center",
                    annotation_clip=False, fontsize=8.5)  # fmt: skip


def histograms(
    groups: Mapping[str, np.ndarray],
    xlabel: str,
    bins: int = 80,
    span: tuple[float, float] | None = None,
    colours: Sequence[str] = PALETTE,
    ax: Axes | None = None,
) -> Figure:
    """Overlaid histograms of named values on one axis, as densities."""
    own = ax is None
    if ax is None:
        _, ax = plt.subplots(figsize=(5.2, 2.8))
    everything = np.concatenate([np.ravel(v) for v in groups.values()])
    edges = np.linspace(*(span or composites.limits(everything, 0.1, 99.9)), bins + 1)
    for (name, values), colour in zip(groups.items(), colours):
        ax.hist(np.ravel(values), edges, density=True, color=colour, alpha=0.32, linewidth=0)
        ax.hist(
            np.ravel(values), edges, density=True, color=colour, histtype="step", linewidth=1.4, label=name
        )
    ax.set(xlabel=xlabel, yticks=[], xlim=(edges[0], edges[-1]))
    ax.spines["left"].set_visible(False)
    if len(groups) > 1:
        ax.legend()
    said = "; ".join(f"{n}: mean {np.mean(v):.3g}, sd {np.std(v):.3g}" for n, v in groups.items())
    return describe(ax.figure, f"Histogram of {xlabel}. {said}") if own else ax.figure


def density(panels: Mapping[str, tuple[np.ndarray, np.ndarray]], xlabel: str, ylabel: str) -> Figure:
    """Where points lie (hexagons, darker is denser), a panel for each named (x, y), with its correlation."""
    fig, axes = plt.subplots(1, len(panels), figsize=(3.5 * len(panels), 3.1), squeeze=False, sharey=True)
    spans = [composites.limits(np.ravel(v), 0.5, 99.5) for v in next(iter(panels.values()))]
    said = []
    for ax, (name, (x, y)) in zip(axes[0], panels.items()):
        r = float(np.corrcoef(np.ravel(x), np.ravel(y))[0, 1])
        extent = (*spans[0], *spans[1])
        options = {"cmap": "BuPu", "mincnt": 1, "bins": "log", "linewidths": 0, "extent": extent}
        ax.hexbin(np.ravel(x), np.ravel(y), gridsize=45, **options)
        ax.set(xlabel=xlabel, title=f"{name}: correlation {r:.2f}", xlim=spans[0], ylim=spans[1])
        said.append(f"{name}: {np.size(x):,} points, correlation {r:.2f}")
    axes[0, 0].set_ylabel(ylabel)
    return describe(fig, f"{ylabel} against {xlabel}. {'; '.join(said)}")


def lines(
    x: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    xlabel: str,
    ylabel: str,
    dashed: Sequence[str] = (),
    size: tuple[float, float] = (5.2, 3.0),
) -> Figure:
    """Named curves over `x`; those in `dashed` (a theory, a chance level) are grey and dashed."""
    fig, ax = plt.subplots(figsize=size)
    colours = iter(PALETTE)
    for name, y in curves.items():
        style = (
            {"color": "#999999", "ls": "--"} if name in dashed else {"color": next(colours), "marker": "o"}
        )
        ax.plot(x, y, label=name, markersize=4.5, **style)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.grid(axis="y")
    ax.legend()
    said = "; ".join(f"{n}: {y[0]:.3g} at {x[0]:g}, {y[-1]:.3g} at {x[-1]:g}" for n, y in curves.items())
    return describe(fig, f"{ylabel} over {xlabel}. {said}")
