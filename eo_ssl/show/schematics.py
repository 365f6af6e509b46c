"""Drawings that explain the sensors: who sends the light, and what sends the radar's pulse back."""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon, Rectangle

from eo_ssl.sensors import S2
from eo_ssl.show.figure import COLOURS, FAINT, INK, describe
from eo_ssl.show.plots import wavelength_axis

_SUN, _GROUND, _LEAF = "#d9a404", "#8a7a66", "#2f7d4f"


def _arrow(ax: Axes, start: tuple, end: tuple, colour: str, width: float = 1.6, style: str = "-|>") -> None:
    arrow = {
        "arrowstyle": style,
        "color": colour,
        "lw": width,
        "shrinkA": 0,
        "shrinkB": 0,
        "mutation_scale": 11,
    }
    ax.annotate("", end, start, arrowprops=arrow)


def _panel(ax: Axes, title: str, note: str) -> None:
    ax.set(xlim=(0, 10), ylim=(-1.9, 8), aspect="equal")
    ax.set_axis_off()
    ax.set_title(title, loc="center", fontsize=9.5, color=INK)
    ax.text(5, -0.75, note, ha="center", va="top", fontsize=8, color=FAINT, linespacing=1.35)
    ax.plot([0.2, 9.8], [0, 0], color=_GROUND, linewidth=2)


def _satellite(ax: Axes, x: float, y: float, colour: str) -> None:
    ax.add_patch(Rectangle((x - 0.35, y - 0.35), 0.7, 0.7, facecolor=colour, edgecolor="none"))
    for side in (-1, 1):
        left = x + side * 0.45 - (1.0 if side < 0 else 0)
        ax.add_patch(Rectangle((left, y - 0.18), 1.0, 0.36, facecolor=colour, alpha=0.45, edgecolor="none"))


def _cloud(ax: Axes, x: float, y: float) -> None:
    for dx, dy, r in ((-0.9, 0, 0.55), (-0.2, 0.3, 0.75), (0.6, 0.15, 0.62), (1.15, -0.08, 0.42)):
        ax.add_patch(Circle((x + dx, y + dy), r, facecolor="#cfd6de", edgecolor="none"))


def two_ways() -> Figure:
    """Sunlight in, reflected light out — and a pulse sent sideways, its echo received."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(7.4, 3.7))
    small = {"ha": "center", "va": "top", "fontsize": 7.5, "color": FAINT}
    _panel(
        left,
        "Sentinel-2 receives sunlight",
        "passive · looks straight down\nby day, without cloud · 13 bands",
    )
    left.add_patch(Circle((1.3, 6.9), 0.75, facecolor=_SUN, edgecolor="none"))
    _satellite(left, 6.4, 7.0, COLOURS["S2"])
    _arrow(left, (1.9, 6.2), (5.4, 0.25), _SUN)
    _arrow(left, (5.6, 0.25), (6.35, 6.4), COLOURS["S2"])
    _arrow(left, (1.3, 6.0), (1.55, 3.95), _SUN)
    _cloud(left, 1.65, 3.2)
    left.text(1.65, 2.3, "a cloud hides\nthe ground", **small)
    _panel(
        right,
        "Sentinel-1 sends its own pulses",
        "active · looks sideways · day and night,\nthrough cloud · 1 wavelength",
    )
    _satellite(right, 1.8, 7.0, COLOURS["S1"])
    _arrow(right, (2.2, 6.4), (7.0, 0.35), COLOURS["S1"])
    _arrow(right, (6.55, 0.35), (1.75, 6.4), COLOURS["VH"])
    _cloud(right, 4.6, 3.2)
    right.text(7.9, 5.0, "the pulse and its echo\ncross the cloud", **small)
    return describe(fig, _TWO_WAYS)


_TWO_WAYS = """Two drawings. Left: Sentinel-2 looks straight down and receives sunlight that the ground
reflects; a cloud stops it. Right: Sentinel-1 sends radar pulses to the side and receives their echo, even
through a cloud."""


def mechanisms() -> Figure:
    """Four things that can happen to a radar pulse, and how bright each is in VV and VH."""
    fig, axes = plt.subplots(1, 4, figsize=(9.2, 2.9))
    titles = ("Mirror", "Rough surface", "Volume", "Double bounce")
    notes = (
        "calm water, runways\nVV dark · VH dark",
        "bare soil, wind on water\nVV medium · VH dark",
        "leaves and branches\nVV bright · VH bright",
        "walls and trunks\nVV very bright",
    )
    for ax, title, note, draw in zip(axes, titles, notes, (_mirror, _rough, _volume, _double)):
        _panel(ax, title, note)
        _arrow(ax, (0.6, 7.6), _TARGETS[title], COLOURS["S1"], 2.0)
        draw(ax)
    return describe(fig, _MECHANISMS)


_MECHANISMS = """Four drawings of a radar pulse coming from the upper left. Calm water mirrors it away:
dark. A rough surface scatters it in all directions: medium in VV. Leaves and branches scatter it many times:
bright in VV and VH. A wall and the ground return it by a double bounce: very bright in VV."""


_TARGETS = {"Mirror": (5, 0.1), "Rough surface": (5, 0.35), "Volume": (4.2, 3.6), "Double bounce": (4.4, 0.1)}


def _mirror(ax: Axes) -> None:
    ax.add_patch(Rectangle((0.2, -0.32), 9.6, 0.32, facecolor=COLOURS["S2"], alpha=0.35, edgecolor="none"))
    _arrow(ax, (5, 0.1), (9.4, 7.6), COLOURS["VH"], 2.0)


def _rough(ax: Axes) -> None:
    x = np.linspace(0.2, 9.8, 300)
    wave = 0.18 * np.sin(5.1 * x) + 0.14 * np.sin(11.7 * x + 1) + 0.1
    ax.fill_between(x, -0.3, wave, color=_GROUND, linewidth=0)
    for end in ((1.9, 4.6), (3.6, 5.4), (5.6, 5.3), (7.5, 4.3), (8.8, 2.6)):
        _arrow(ax, (5, 0.4), end, COLOURS["VH"], 1.1)


def _volume(ax: Axes) -> None:
    random = np.random.default_rng(3)
    for x in (3.2, 5.2, 7.2):
        ax.plot([x, x], [0, 2.4], color=_GROUND, linewidth=2.5)
        for dx, dy in random.normal(0, 0.62, (26, 2)):
            ax.add_patch(Circle((x + dx, 3.5 + dy), 0.2, facecolor=_LEAF, alpha=0.5, edgecolor="none"))
    path = [(4.2, 3.6), (5.6, 3.0), (6.3, 4.2), (4.9, 4.6)]
    for a, b in pairwise(path):
        _arrow(ax, a, b, COLOURS["VH"], 1.1, "-")
    for start, end in (((4.9, 4.6), (1.9, 7.7)), ((6.3, 4.2), (8.6, 7.2)), ((5.6, 3.0), (9.3, 4.4))):
        _arrow(ax, start, end, COLOURS["VH"], 1.3)


def _double(ax: Axes) -> None:
    ax.add_patch(Rectangle((6.6, 0), 2.2, 4.4, facecolor="#b9b2a8", edgecolor="none"))
    for y in (0.9, 2.1, 3.3):
        for x in (7.0, 7.9):
            ax.add_patch(Rectangle((x, y), 0.5, 0.6, facecolor="white", alpha=0.8, edgecolor="none"))
    ax.add_patch(Polygon([(6.4, 4.4), (9.0, 4.4), (7.7, 5.5)], facecolor="#a15c4a", edgecolor="none"))
    _arrow(ax, (4.4, 0.1), (6.55, 3.3), COLOURS["VH"], 2.0, "-")
    _arrow(ax, (6.55, 3.3), (3.2, 7.7), COLOURS["VH"], 2.0)


def band_chart() -> Figure:
    """Where the 13 bands of Sentinel-2 lie on the wavelength axis, one row per pixel size."""
    fig, ax = plt.subplots(figsize=(7.4, 2.3))
    wavelength_axis(ax, [band.name for band in S2])
    rows = {10: 2, 20: 1, 60: 0}
    colours = {10: "#225588", 20: "#4488bb", 60: "#99bbdd"}
    for band in S2:
        left, y = band.centre - band.width / 2, rows[band.resolution]
        ax.add_patch(
            Rectangle((left, y - 0.32), band.width, 0.64, color=colours[band.resolution], linewidth=0)
        )
    ax.set(ylim=(-0.6, 2.6), yticks=list(rows.values()), yticklabels=[f"{r} m pixels" for r in rows])
    ax.grid(visible=False)
    ax.tick_params(left=False)
    words = ", ".join(f"{b.name} {b.sees} {b.centre:.0f} nm" for b in S2)
    return describe(
        fig, f"The Sentinel-2 bands on the wavelength axis, in rows of 10, 20 and 60 m pixels: {words}"
    )
