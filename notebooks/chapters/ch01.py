"""Chapter 01: spectra, one radar patch in power and in decibels, optics against radar; its checks."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from eo_ssl import show
from eo_ssl.course.checks import ExerciseFailed, exercise, expect_close
from eo_ssl.sensors import S2, band_index, to_linear
from eo_ssl.show.composites import limits
from eo_ssl.show.figure import FAINT, GRID

# The visible range in faint colours of its own, so that "red edge" and "near infrared" have their place.
_VISIBLE = ((380, 450, "#e9e3f5"), (450, 495, "#e1ebfa"), (495, 570, "#e4f4e6"), (570, 590, "#f8f6dc"),
            (590, 620, "#fcefdd"), (620, 700, "#fbe5e3"))  # fmt: skip


def decibel_views(db: np.ndarray) -> Figure:
    """One patch (H, W) of backscatter in dB: as linear power (left) and in decibels (right), with histograms."""
    power = to_linear(db)
    fig, axes = plt.subplots(2, 2, figsize=(6.4, 5.0), height_ratios=(2.1, 1))
    views = ("linear power", power, (0, 100)), ("decibels", db, (0.5, 99.5))
    for (name, values, ends), picture, counts in zip(views, *axes):
        low, high = np.percentile(values, ends)
        picture.imshow(values, cmap="gray", vmin=low, vmax=high)
        picture.set_title(f"VV in {name}")
        picture.set_axis_off()
        span = float(values.min()), float(values.max())
        show.histograms({name: values}, name, ax=counts, colours=[show.COLOURS["VV"]], span=span)
    alt = "A radar patch in linear power, bright points in darkness, and in decibels, with structure everywhere."
    return show.describe(fig, f"{alt} {fig.eo_alt}")


def spectra(curves: Mapping[str, np.ndarray], bands: Sequence[str], colours: Sequence[str]) -> Figure:
    """Reflectance over wavelength, each band drawn as wide as it is.

    `curves` maps a name to reflectances (B,) in the order of `bands`.
    """
    shown = [S2[i] for i in band_index(tuple(bands))]
    x, half = np.array([(band.centre, band.width / 2) for band in shown]).T
    ax = plt.subplots(figsize=(7.4, 3.5))[1]
    for start, stop, colour in _VISIBLE:
        ax.axvspan(start, stop, color=colour, linewidth=0, zorder=0)
    for i, band in enumerate(shown):
        ax.axvline(band.centre, color=GRID, linewidth=0.7, zorder=0)
        # Neighbours in the red edge are 40 nm apart: their names stand on three levels.
        above = {"xycoords": ax.get_xaxis_transform(), "textcoords": "offset points", "ha": "center"}
        ax.annotate(band.name, (band.centre, 1), (0, 2 + 8 * (i % 3)), fontsize=7, color=FAINT, **above)
    said = []
    for (name, y), colour in zip(curves.items(), colours):
        ax.plot(x, y, color=colour, linewidth=1.2, alpha=0.55)
        ax.hlines(y, x - half, x + half, color=colour, linewidth=3.2, label=name)
        low, high = int(np.argmin(y)), int(np.argmax(y))
        found = f"lowest {y[low]:.2f} in {bands[low]}, highest {y[high]:.2f} in {bands[high]}"
        said.append(f"{name}: {found}")
    ax.grid(axis="y")
    ax.set(xlim=(380, 2350), ylim=(0, None), xlabel="wavelength (nm)", ylabel="reflectance")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return show.describe(ax.figure, f"Reflectance from {x[0]:.0f} to {x[-1]:.0f} nm. {'; '.join(said)}")


def density(panels: Mapping[str, tuple[np.ndarray, np.ndarray]], xlabel: str, ylabel: str) -> Figure:
    """Where points lie (hexagons, darker is denser), a panel for each named (x, y), with its correlation."""
    fig, axes = plt.subplots(1, len(panels), figsize=(3.5 * len(panels), 3.1), squeeze=False, sharey=True)
    wide, high = (limits(v, 0.5, 99.5) for v in next(iter(panels.values())))
    said = []
    for ax, (name, (x, y)) in zip(axes[0], panels.items()):
        x, y = np.ravel(x), np.ravel(y)
        r = np.corrcoef(x, y)[0, 1]
        options = {"cmap": "BuPu", "mincnt": 1, "bins": "log", "linewidths": 0, "extent": (*wide, *high)}
        ax.hexbin(x, y, gridsize=45, **options)
        ax.set(xlabel=xlabel, title=f"{name}: correlation {r:.2f}", xlim=wide, ylim=high)
        said.append(f"{name}: {len(x):,} points, correlation {r:.2f}")
    axes[0, 0].set_ylabel(ylabel)
    return show.describe(fig, f"{ylabel} against {xlabel}. {'; '.join(said)}")


@contextmanager
def no_warning(hint: str) -> Iterator[None]:
    """Answer a warning or a division by zero in the learner's code with `hint`; other errors keep their words."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            yield
        except ExerciseFailed as error:
            if not isinstance(error.__cause__, Warning | ArithmeticError):
                raise
            raise ExerciseFailed(hint) from error


@exercise("NDVI", praise="Leaves are dark in red and bright in the near infrared, and the sum cancels shade.")
def check_ndvi(ndvi: Callable) -> None:
    red, nir = np.array([[0.05, 0.2], [0.1, 0.03]]), np.array([[0.45, 0.25], [0.1, 0.01]])
    mistakes = {
        "the signs are swapped: near infrared minus red": (red - nir) / (red + nir),
        "this is the simple ratio; take the difference over the sum": nir / red,
        "divide by the sum of both bands": nir - red,
    }
    expect_close(ndvi(red, nir), (nir - red) / (nir + red), "the NDVI", mistakes=mistakes)
    with no_warning("Two zeros divide zero by zero: return 0 there, and no warning."):
        empty = ndvi(np.zeros((2, 3)), np.zeros((2, 3)))
    expect_close(empty, np.zeros((2, 3)), "the NDVI where both bands are 0")


@exercise("decibels", praise="Ten times the power is +10 dB, twice the power +3 dB.")
def check_decibels(decibels: Callable) -> None:
    power = np.array([1.0, 0.1, 0.01, 2.0])
    mistakes = {
        "use the logarithm to base 10, np.log10, not the natural one": 10 * np.log(power),
        "20 is for amplitudes; this is power, so 10": 20 * np.log10(power),
        "a decibel is a tenth of a bel: multiply by 10": np.log10(power),
        "adding 1e-5 shifts every value; np.maximum raises only small ones": 10 * np.log10(power + 1e-5),
    }
    expect_close(decibels(power), [0, -10, -20, 3.0103], "decibels of 1, 0.1, 0.01 and 2", mistakes=mistakes)
    mistakes = {"the logarithm of 0 is −∞: raise the power to at least 1e-5 first": [-np.inf, -90]}
    expect_close(decibels(np.array([0.0, 1e-9])), [-50, -50], "decibels of 0 and of 1e-9", mistakes=mistakes)


@exercise("number of looks", praise="More looks, less speckle, and coarser detail: that is the trade.")
def check_looks(number_of_looks: Callable) -> None:
    power = np.random.default_rng(0).gamma(5.0, 0.02 / 5.0, (80, 80))
    db = 10 * np.log10(power)
    wanted = power.mean() ** 2 / power.var()
    mistakes = {
        "turn the decibels into power first; those of dB are something else": db.mean() ** 2 / db.var(),
        "square the mean: mean² over variance": power.mean() / power.var(),
        "divide by the variance, not by the standard deviation": power.mean() ** 2 / power.std(),
        "square it: mean² over variance, not mean over standard deviation": power.mean() / power.std(),
    }
    expect_close(number_of_looks(db), wanted, "the number of looks of a simulated field", mistakes=mistakes)
