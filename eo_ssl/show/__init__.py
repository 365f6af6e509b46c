"""Pictures: `show.figure(fig, alt=…)` displays any figure with alt text; the rest makes the figures.

from eo_ssl import show
show.figure(show.pairs(chosen))              # plots bring their own alt text
show.figure(fig, alt="What it shows.")       # your own figure needs yours
show.text(f"The mean is **{x:.2f}**.")       # a computed sentence
"""

from eo_ssl.show.composites import PRESETS, composite, grey, label_map, legend, radar, true_colour
from eo_ssl.show.figure import COLOURS, PALETTE, axes_grid, describe, figure, text, use_style
from eo_ssl.show.plots import (
    bars,
    density,
    forest,
    grid,
    histograms,
    images,
    lines,
    matrix,
    pairs,
    row_name,
    scale_bar,
    spectra,
    stacked,
    title,
)
from eo_ssl.show.words import caution, listed, percent, points, settled, share, signed, verdict

__all__ = [
    "COLOURS",
    "PALETTE",
    "PRESETS",
    "axes_grid",
    "bars",
    "caution",
    "composite",
    "density",
    "describe",
    "figure",
    "forest",
    "grey",
    "grid",
    "histograms",
    "images",
    "label_map",
    "legend",
    "lines",
    "listed",
    "matrix",
    "pairs",
    "percent",
    "points",
    "radar",
    "row_name",
    "scale_bar",
    "settled",
    "share",
    "signed",
    "spectra",
    "stacked",
    "text",
    "title",
    "true_colour",
    "use_style",
    "verdict",
]

use_style()
