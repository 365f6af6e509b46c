"""Pictures, tables and words: `show.figure(fig, alt=…)` displays any figure with alt text; the rest makes what is shown.

from eo_ssl import show
show.figure(show.pairs(chosen))              # plots bring their own alt text
show.figure(fig, alt="What it shows.")       # your own figure needs yours
show.text(f"The mean is **{x:.2f}**.")       # a computed sentence
show.results.growing_table(run)              # tables and figures of results
show.band_explorer(chosen, titles)           # figures to move, which need the course extra
"""

# ruff: noqa: F401 (all are here to be called as show.NAME)

from eo_ssl.show import explore, results, words
from eo_ssl.show.composites import PRESETS, composite, grey, label_map, legend, radar, true_colour
from eo_ssl.show.explore import (
    band_explorer,
    embedding_explorer,
    label_explorer,
    leakage_explorer,
    metric_explorer,
    offset_explorer,
    prediction_explorer,
    results_table,
    similarity_explorer,
    temperature_explorer,
    window_explorer,
)
from eo_ssl.show.figure import COLOURS, PALETTE, axes_grid, describe, figure, text
from eo_ssl.show.plots import (
    bars,
    forest,
    grid,
    histograms,
    lines,
    matrix,
    pairs,
    row_name,
    stacked,
    title,
    training,
)
from eo_ssl.show.quiz import quiz
from eo_ssl.show.tables import Table
from eo_ssl.show.words import caution, listed, percent, points, settled, signed, verdict
