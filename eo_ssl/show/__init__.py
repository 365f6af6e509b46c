"""Pictures: `show.figure(fig, alt=…)` displays any figure with alt text; the rest makes the figures.

from eo_ssl import show
show.figure(show.pairs(chosen))              # plots bring their own alt text
show.figure(fig, alt="What it shows.")       # your own figure needs yours
show.text(f"The mean is **{x:.2f}**.")       # a computed sentence
"""

from eo_ssl.show.composites import PRESETS, composite, grey, label_map, legend, radar, true_colour
from eo_ssl.show.figure import COLOURS, PALETTE, axes_grid, describe, figure, text, use_style
from eo_ssl.show.plots import density, histograms, images, lines, pairs, scale_bar, spectra, title
from eo_ssl.show.schematics import band_chart, mechanisms, two_ways
from eo_ssl.show.speckle import decibel_views, even_fields, normalised_power, speckle_histogram

__all__ = [
    "COLOURS",
    "PALETTE",
    "PRESETS",
    "axes_grid",
    "band_chart",
    "composite",
    "decibel_views",
    "density",
    "describe",
    "even_fields",
    "figure",
    "grey",
    "histograms",
    "images",
    "label_map",
    "legend",
    "lines",
    "mechanisms",
    "normalised_power",
    "pairs",
    "radar",
    "scale_bar",
    "speckle_histogram",
    "spectra",
    "text",
    "title",
    "true_colour",
    "two_ways",
    "use_style",
]

use_style()
