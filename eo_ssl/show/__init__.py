"""Pictures: `show.figure(fig, alt=…)` displays any figure with alt text; the rest makes the figures.

from eo_ssl import show
show.figure(show.pairs(chosen))              # plots bring their own alt text
show.figure(fig, alt="What it shows.")       # your own figure needs yours
show.text(f"The mean is **{x:.2f}**.")       # a computed sentence
"""

from eo_ssl.show.composites import PRESETS, composite, label_map, legend, radar, true_colour
from eo_ssl.show.figure import COLOURS, PALETTE, axes_grid, describe, figure, text, use_style
from eo_ssl.show.plots import density, histograms, images, lines, pairs, scale_bar, spectra
from eo_ssl.show.schematics import band_chart, mechanisms, two_ways

__all__ = [
    "COLOURS",
    "PALETTE",
    "PRESETS",
    "axes_grid",
    "band_chart",
    "composite",
    "density",
    "describe",
    "figure",
    "histograms",
    "images",
    "label_map",
    "legend",
    "lines",
    "mechanisms",
    "pairs",
    "radar",
    "scale_bar",
    "spectra",
    "text",
    "true_colour",
    "two_ways",
    "use_style",
]

use_style()
