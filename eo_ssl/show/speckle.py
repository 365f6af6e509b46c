"""Figures about radar numbers: power against decibels, even fields and their speckle, averaging."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from eo_ssl.data.samples import Pair
from eo_ssl.sensors import to_linear
from eo_ssl.show.composites import grey, limits, true_colour
from eo_ssl.show.figure import COLOURS, FAINT, axes_grid, describe
from eo_ssl.show.plots import histograms

Window = tuple[Pair, slice, slice]


def decibel_views(db: np.ndarray) -> Figure:
    """One patch (H, W) of backscatter as linear power (left) and in decibels (right), with histograms."""
    power = to_linear(db)
    fig, axes = plt.subplots(2, 2, figsize=(6.4, 5.0), height_ratios=(2.1, 1))
    for column, (name, values) in enumerate((("linear power", power), ("decibels", db))):
        picture, counts = axes[0, column], axes[1, column]
        low, high = _span(values) if name == "linear power" else limits(values, 0.5, 99.5)
        picture.imshow(values, cmap="gray", vmin=low, vmax=high)
        picture.set_axis_off()
        picture.set_title(f"VV in {name}")
        histograms({name: values}, name, ax=counts, colours=[COLOURS["VV"]], span=_span(values))
    share = float((power < power.max() / 10).mean())
    alt = f"""The same radar patch twice, with histograms. In linear power a few bright points stand in
    darkness and {share:.0%} of the pixels crowd into the lowest tenth of the axis. In decibels structure
    shows everywhere and the values spread over {_span(db)[0]:.0f} to {_span(db)[1]:.0f} dB."""
    return describe(fig, alt)


def _span(values: np.ndarray) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def even_fields(windows: Sequence[Window], span: tuple[float, float] = (-22, -4)) -> Figure:
    """Windows of pairs, Sentinel-2 above and VV below, all with the same stretch."""
    fig, axes = axes_grid(2, len(windows), 0.92, extra=0.05)
    for (top, bottom), (pair, rows, columns) in zip(axes.T, windows):
        top.imshow(true_colour(pair.s2, pair.s2_bands, high=0.3)[rows, columns])
        bottom.imshow(grey(pair.band("VV")[rows, columns], span), cmap="gray", vmin=0, vmax=1)
    for ax, sensor in zip(axes[:, 0], ("Sentinel-2", "VV")):
        ax.text(-0.1, 0.5, sensor, rotation=90, ha="right", va="center", transform=ax.transAxes, color=FAINT)
    return describe(
        fig,
        f"{len(windows)} even fields: plain in Sentinel-2 above, mottled from nearly black to nearly "
        "white in Sentinel-1 VV below.",
    )


def normalised_power(windows: Sequence[Window], band: str = "VV") -> list[np.ndarray]:
    """Linear power of each window divided by its mean, so that fields of different brightness compare."""
    patches = [to_linear(pair.band(band)[rows, columns]).astype(float) for pair, rows, columns in windows]
    return [patch / patch.mean() for patch in patches]


def speckle_histogram(values: np.ndarray, looks: float) -> Figure:
    """Histogram of power divided by its mean, with the gamma laws for 1 look and for `looks`."""
    x = np.linspace(0.005, 3.2, 400)
    fig, ax = plt.subplots(figsize=(5.8, 2.9))
    ax.hist(np.ravel(values), 64, (0, 3.2), density=True, color=COLOURS["VV"], alpha=0.3, label="even fields")
    ax.plot(x, stats.gamma.pdf(x, 1, scale=1), color="#999999", ls="--", label="one look (theory)")
    ax.plot(
        x,
        stats.gamma.pdf(x, looks, scale=1 / looks),
        color=COLOURS["VV"],
        label=f"{looks:.1f} looks (theory)",
    )
    ax.set(xlabel="power / mean power of the field", yticks=[], xlim=(0, 3.2), ylim=(0, 1.25))
    ax.spines["left"].set_visible(False)
    ax.legend()
    inside = float(np.mean((values > 0.5) & (values < 1.5)))
    return describe(
        fig,
        f"Histogram of VV power over even fields, each divided by its mean: {inside:.0%} of the pixels lie "
        f"between half and one and a half times the mean. The gamma law for {looks:.1f} looks follows it; "
        "that for one look, falling steadily from zero, does not.",
    )
