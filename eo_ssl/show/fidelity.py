"""Simulated beside real: pictures, levels of each class, texture."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from eo_ssl.data.samples import Pair
from eo_ssl.sensors import CLASS_NAMES, CLASSES, S2, band_index
from eo_ssl.show import composites
from eo_ssl.show.figure import FAINT, PALETTE, axes_grid, describe

_ROWS = ("true colour", "near infrared", "VV", "VH")
_FALSE = ("B08", "B04", "B03")
REAL, SIMULATED = "#5f6b7a", PALETTE[1]


def side_by_side(
    real: Sequence[Pair], simulated: Sequence[Pair], size: int = 120, cell: float = 1.15
) -> Figure:
    """Columns of patches, real ones left, simulated ones right; rows: two composites, VV and VH.

    All are cut to `size` pixels and stretched alike, each picture by its own percentiles.
    """
    columns = [*real, *simulated]
    fig, axes = axes_grid(len(_ROWS), len(columns), cell, extra=0.05)
    for column, pair in zip(axes.T, columns):
        s1, s2 = pair.s1[:, :size, :size], pair.s2[:, :size, :size]
        column[0].imshow(composites.true_colour(s2, pair.s2_bands))
        column[1].imshow(composites.composite(s2, _FALSE, pair.s2_bands))
        for ax, db, span in zip(column[2:], s1, composites.RADAR_LIMITS):
            ax.imshow(composites.grey(db, span), cmap="gray", vmin=0, vmax=1)
    for ax, name in zip(axes[:, 0], _ROWS):
        ax.text(-0.06, 0.5, name, rotation=90, ha="right", va="center", transform=ax.transAxes, color=FAINT)
    for start, group, name in ((0, real, "real"), (len(real), simulated, "simulated")):
        if group:
            axes[0, start].set_title(name, fontsize=9.5, loc="left")
    rows = ", ".join(_ROWS)
    return describe(fig, f"{len(real)} real patches beside {len(simulated)} simulated ones, in {rows}")


def class_spectra(
    measured: np.ndarray, reference: Mapping[str, np.ndarray], names: Sequence[str], tolerance: float
) -> Figure:
    """One panel a class: measured reflectance (8, 13) as dots, the reference as a line with its tolerance."""
    bands = band_index(tuple(names))
    order = np.argsort([S2[b].centre for b in bands], kind="stable")
    chosen = np.array(bands)[order]
    nm = np.array([S2[b].centre for b in chosen])
    fig, axes = plt.subplots(2, 4, figsize=(8.2, 3.9), sharex=True, sharey=True)
    for ax, c in zip(axes.flat, CLASSES):
        wanted = reference[c.name][chosen]
        ax.fill_between(nm, wanted * (1 - tolerance), wanted * (1 + tolerance), color=REAL, alpha=0.18, lw=0)
        ax.plot(nm, wanted, color=REAL, lw=1.3, label="real")
        ax.plot(nm, measured[c.code][chosen], "o", color=SIMULATED, ms=3.4, label="simulated")
        ax.set_title(c.name)
        ax.grid(axis="y")
    axes[0, 0].legend(loc="upper left")
    fig.supxlabel("wavelength (nm)", fontsize=8.5, color=FAINT)
    fig.supylabel("reflectance", fontsize=8.5, color=FAINT)
    worst = {n: _worst(measured[k], reference[n], chosen) for k, n in enumerate(CLASS_NAMES)}
    said = ", ".join(f"{name} {gap:+.0%}" for name, gap in worst.items())
    return describe(fig, f"Simulated and real reflectance of eight classes; largest gap in any band: {said}")


def _worst(measured: np.ndarray, wanted: np.ndarray, bands: np.ndarray) -> float:
    gap = measured[bands] / wanted[bands] - 1
    return float(gap[np.nanargmax(np.abs(gap))]) if np.isfinite(gap).any() else float("nan")


def class_backscatter(
    measured: np.ndarray, reference: Mapping[str, tuple[float, float]], tolerance: float
) -> Figure:
    """VV and VH of each class, measured (8, 2) as dots on the reference bar with its tolerance."""
    fig, axes = plt.subplots(1, 2, figsize=(7.4, 2.7), sharey=True)
    for k, (ax, channel) in enumerate(zip(axes, ("VV", "VH"))):
        for y, name in enumerate(CLASS_NAMES):
            wanted = reference[name][k]
            ax.plot([wanted - tolerance, wanted + tolerance], [y, y], color=REAL, alpha=0.25, lw=7)
            ax.plot([wanted], [y], "|", color=REAL, ms=9, mew=1.6, label="" if y else "real, with tolerance")
        ax.plot(measured[:, k], range(len(CLASS_NAMES)), "o", color=SIMULATED, ms=4.5, label="simulated")
        ax.set(title=channel, xlabel="dB", yticks=range(len(CLASS_NAMES)), yticklabels=CLASS_NAMES)
        ax.grid(axis="x")
    axes[0].invert_yaxis()
    axes[1].legend(loc="lower right", fontsize=8)
    gaps = measured - np.array([reference[name] for name in CLASS_NAMES])
    said = ", ".join(f"{name} {vv:+.1f} and {vh:+.1f}" for name, (vv, vh) in zip(CLASS_NAMES, gaps))
    return describe(fig, f"Simulated minus real backscatter in dB, VV and VH: {said}")


def texture_curves(lags: Sequence[int], curves: Mapping[str, Sequence[float]], tolerance: float) -> Figure:
    """Autocorrelation over lag; the first curve is the reference and gets a band of `tolerance`."""
    fig, ax = plt.subplots(figsize=(3.9, 2.8))
    (first, wanted), *others = curves.items()
    known = ~np.isnan(wanted)
    x, y = np.array(lags)[known], np.array(wanted)[known]
    ax.fill_between(x, y - tolerance, y + tolerance, color=REAL, alpha=0.18, lw=0)
    ax.plot(x, y, color=REAL, marker="o", ms=4, label=first)
    for (name, values), colour in zip(others, (SIMULATED, PALETTE[0])):
        ax.plot(lags[: len(values)], values, color=colour, marker="o", ms=4, label=name)
    ax.set(xscale="log", xticks=lags, xticklabels=lags, xlabel="lag (pixels)", ylabel="autocorrelation")
    ax.minorticks_off()
    ax.grid(axis="y")
    ax.legend()
    said = "; ".join(f"{n}: {', '.join(f'{v:.2f}' for v in values)}" for n, values in curves.items())
    return describe(
        fig, f"Autocorrelation at lags {', '.join(map(str, lags))}. {said}".replace("nan", "not measured")
    )
