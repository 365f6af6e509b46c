"""Appendix, simulated against real: one set of measures for both, the real values, and how hard the set is.

S1 is in dB, S2 in reflectance, labels are the eight classes (255 = no class); images are (bands, H, W). Pixels that
are no data in any band (NaN) do not count. The real values stand in `a1.toml`, with their sources.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from eo_ssl import show
from eo_ssl.data.measures import autocorrelation, band_statistics, looks
from eo_ssl.data.samples import Pair
from eo_ssl.data.source import class_counts, majority_of
from eo_ssl.evaluate.probe import average_accuracy
from eo_ssl.sensors import CLASS_NAMES, IGNORE, NUM_CLASSES, S2, S2_BANDS, band_index, to_linear
from eo_ssl.show.composites import RADAR_LIMITS

# How far the simulated set may be from the reference, as the tests assert and the book shows.
S1_TOLERANCE, S2_TOLERANCE, TEXTURE_TOLERANCE = 1.5, 0.25, 0.12
LOOKS_RANGE, SPECKLE_RANGE = (4.0, 6.0), (0.6, 0.8)
VV_VH_RANGE, VH_NDVI_RANGE = (0.45, 0.75), (0.15, 0.60)
LOOKS_MEASURED, SPECKLE_MEASURED = 4.9, 0.70
# Hardly any light from the ground arrives in B09 and B10, so they say nothing about a class.
COMPARED_BANDS = tuple(name for name in S2_BANDS if name not in ("B09", "B10"))

LAGS = (1, 2, 4, 16)
WATER, DRY = CLASS_NAMES.index("Water"), 0.02  # a patch with less water than this share is land
CIRRUS = 0.0040  # reflectance in B10 above which a pixel counts as cloud
_WINDOW = 32  # edge in pixels of the homogeneous areas in which speckle is measured
_FEWEST = 300  # pixels of a class that make a region's mean
_SHALLOW = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, class_weight="balanced"))

_REAL = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
S1_REFERENCE: dict[str, list[float]] = _REAL["backscatter"]  # dB, VV and VH
S2_REFERENCE = {name: np.mean(rows, axis=0) / 1e4 for name, rows in _REAL["reflectance"].items()}
S2_REFERENCE["Wetlands"] = S2_REFERENCE["Grassland"] * _REAL["wetland"]["over_grass"]


class Texture(NamedTuple):
    """Texture of one patch: autocorrelation of VV (dB) and B08 at `LAGS`, and two correlations between bands."""

    vv: list[float]
    b08: list[float]
    vv_vh: float
    vh_ndvi: float


TEXTURE_REFERENCE = Texture(**_REAL["texture"])


def texture(s1: np.ndarray, s2: np.ndarray, bands: tuple[str, ...] = S2_BANDS) -> Texture:
    """Measure one patch of land without gaps; `bands` names the channels of `s2`."""
    red, near = s2[band_index(("B04", "B08"), bands)]
    ndvi = (near - red) / np.maximum(near + red, 1e-4)
    lags = [lag for lag in LAGS if lag < near.shape[0] // 2]
    vv, b08 = ([autocorrelation(image, lag) for lag in lags] for image in (s1[0], near))
    vv_vh, vh_ndvi = (np.corrcoef(s1[k].ravel(), x.ravel())[0, 1] for k, x in ((0, s1[1]), (1, ndvi)))
    return Texture(vv, b08, vv_vh, vh_ndvi)


def median_texture(patches: Sequence[Texture]) -> Texture:
    """Median of each measure over patches."""
    return Texture(*(np.median(measure, axis=0).tolist() for measure in zip(*patches)))


def speckle(vv: np.ndarray, label: np.ndarray) -> list[tuple[float, float]]:
    """Looks, and lag-1 autocorrelation of intensity, in each window of VV (dB) that holds nothing but water."""
    # Two pixels off the shore: the land next to it reaches that far into the image.
    water = ndimage.binary_erosion(label == WATER, iterations=2, border_value=1) & np.isfinite(vv)
    corners = product(*(range(0, edge - _WINDOW + 1, _WINDOW) for edge in vv.shape))
    windows = (np.s_[y : y + _WINDOW, x : x + _WINDOW] for y, x in corners)
    powers = (to_linear(vv[window]) for window in windows if water[window].all())
    return [(looks(power), autocorrelation(power)) for power in powers]


def class_sums(s1: np.ndarray, s2: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Pixels, sums of S1 (dB) and sums of S2 of each class over its pure pixels without cirrus, (8, 1 + 2 + 13).

    Pure means more than two pixels from another class, as in the reference sets, which were sampled inside
    large areas of one class.
    """
    bands = np.concatenate([np.ones_like(s1[:1]), s1, s2])  # (16, H, W)
    clear = (s2[S2_BANDS.index("B10")] < CIRRUS) & np.isfinite(bands).all(0)
    sums = np.zeros((NUM_CLASSES, len(bands)))
    for code in np.unique(label[label < NUM_CLASSES]):
        pure = ndimage.binary_erosion(label == code, iterations=2) & clear
        sums[code] = bands[:, pure].sum(axis=1, dtype=np.float64)
    return sums


class Patch(NamedTuple):
    """One labelled patch: s1 (2, H, W) dB, s2 (13, H, W) reflectance, label (H, W), region and split."""

    s1: np.ndarray
    s2: np.ndarray
    label: np.ndarray
    region: str
    split: str


def survey(patches: Iterable[Patch]) -> pd.DataFrame:
    """What was measured of each patch, one a row.

    region, split, class (by majority), shares of the classes, sums (`class_sums`), texture (of land without gaps),
    speckle (a list) and features (band statistics).
    """
    rows = []
    for p in patches:
        counts = class_counts(p.label)
        land = counts[WATER] < DRY * p.label.size and np.isfinite(p.s1).all() and np.isfinite(p.s2).all()
        rows.append({
            "region": p.region, "split": p.split, "class": majority_of(counts), "shares": counts / p.label.size,
            "sums": class_sums(p.s1, p.s2, p.label), "texture": texture(p.s1, p.s2) if land else None,
            "speckle": speckle(p.s1[0], p.label), "features": band_statistics(p.s1, p.s2),
        })  # fmt: skip
    return pd.DataFrame(rows)


def class_means(world: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean S1 (8, 2), mean S2 (8, 13) and number of regions (8,): every region with enough pixels counts once."""
    sums = np.stack([np.sum([*own], axis=0) for _, own in world.groupby("region")["sums"]])  # (R, 8, 16)
    enough = sums[..., 0] >= _FEWEST
    each = np.where(enough[..., None], sums / np.maximum(sums[..., :1], 1), np.nan)
    number = enough.sum(0)
    mean = np.nansum(each, 0) / np.where(number > 0, number, np.nan)[:, None]  # NaN where there is none
    return mean[:, 1:3], mean[:, 3:], number


def table(world: pd.DataFrame, *splits: str) -> tuple[np.ndarray, np.ndarray]:
    """Band statistics (N, 30) and majority classes (N,) of the patches of some splits that have a class."""
    chosen = world[world["split"].isin(splits) & (world["class"] != IGNORE)]
    features, classes = np.stack(chosen["features"].to_list()), chosen["class"].to_numpy()
    whole = np.isfinite(features).all(1)
    return features[whole], classes[whole]


def patches_of(source: Any, per_region: int, seed: int) -> Iterator[Patch]:
    """Labelled patches of an open data set, at most `per_region` from each region, drawn by `seed`."""
    split, region = (source.catalog[column].to_numpy() for column in ("split", "region"))
    labelled = np.isin(split, ("train", "val", "test"))
    rng = np.random.default_rng(seed)
    for name in sorted(set(region[labelled])):
        for row in rng.permutation(np.flatnonzero(labelled & (region == name)))[:per_region].tolist():
            images = source.read(row)
            label = source.mask(row, 0, 0, source.patch_size)
            yield Patch(images["s1"], images["s2"], label, str(name), str(split[row]))


def across(x: np.ndarray, y: np.ndarray, test_x: np.ndarray, test_y: np.ndarray) -> float:
    """Average accuracy on `test` of a balanced logistic regression fitted on the rest."""
    return average_accuracy(test_y, _SHALLOW.fit(x, y).predict(test_x))


def within(x: np.ndarray, y: np.ndarray) -> float:
    """Average accuracy under five-fold cross-validation with patches of all regions in every fold."""
    guess = cross_val_predict(_SHALLOW, x, y, cv=KFold(5, shuffle=True, random_state=0))
    return average_accuracy(y, guess)


REAL, SIMULATED = "#5f6b7a", show.PALETTE[1]


def side_by_side(real: Sequence[Pair], simulated: Sequence[Pair], size: int) -> Figure:
    """Columns of patches, real ones left, simulated ones right; rows: two composites, VV and VH.

    All are cut to `size` pixels and stretched alike, each picture by its own percentiles.
    """
    columns = []
    for pair in (*real, *simulated):
        s1, s2 = pair.s1[:, :size, :size], pair.s2[:, :size, :size]
        radar = [np.repeat(show.grey(db, span)[..., None], 3, axis=2) for db, span in zip(s1, RADAR_LIMITS)]
        infrared = show.composite(s2, ("B08", "B04", "B03"), pair.s2_bands)
        columns.append([show.true_colour(s2, pair.s2_bands), infrared, *radar])
    rows = ["true colour", "near infrared", "VV", "VH"]
    titles = ["real"] * len(real) + ["simulated"] * len(simulated)
    alt = f"{len(real)} real patches beside {len(simulated)} simulated ones, in {', '.join(rows)}."
    return show.grid([list(row) for row in zip(*columns)], titles, rows=rows, cell=1.15, extra=0.05, alt=alt)


def class_spectra(measured: np.ndarray) -> Figure:
    """One panel a class: measured reflectance (8, 13) as dots, the reference as a line with its tolerance."""
    bands = sorted(band_index(COMPARED_BANDS), key=lambda b: S2[b].centre)
    nm = [S2[b].centre for b in bands]
    fig, axes = plt.subplots(2, 4, figsize=(8.2, 3.9), sharex=True, sharey=True)
    worst = {}
    for ax, name, found in zip(axes.flat, CLASS_NAMES, measured[:, bands]):
        wanted = S2_REFERENCE[name][bands]
        ends = wanted * (1 - S2_TOLERANCE), wanted * (1 + S2_TOLERANCE)
        ax.fill_between(nm, *ends, color=REAL, alpha=0.18, lw=0)
        ax.plot(nm, wanted, color=REAL, lw=1.3, label="real")
        ax.plot(nm, found, "o", color=SIMULATED, ms=3.4, label="simulated")
        ax.set_title(name)
        ax.grid(axis="y")
        gap = found / wanted - 1
        worst[name] = gap[np.nanargmax(np.abs(gap))] if np.isfinite(gap).any() else np.nan
    axes[0, 0].legend(loc="upper left")
    fig.supxlabel("wavelength (nm)", fontsize=8.5)
    fig.supylabel("reflectance", fontsize=8.5)
    said = f"largest gap in any band: {show.listed(worst, '{:+.0%}')}"
    return show.describe(fig, f"Simulated and real reflectance of eight classes; {said}.")


def class_backscatter(measured: np.ndarray) -> Figure:
    """VV and VH of each class in dB: measured (8, 2), and the reference with its tolerance."""
    fig, axes = plt.subplots(1, 2, figsize=(7.4, 2.9), sharey=True)
    wanted = np.array([S1_REFERENCE[name] for name in CLASS_NAMES])  # (8, 2)
    colours = {"real, with tolerance": REAL, "simulated": SIMULATED}
    for ax, channel, real, simulated in zip(axes, ("VV", "VH"), wanted.T, measured.T.tolist()):
        spans = zip(real, real - S1_TOLERANCE, real + S1_TOLERANCE)
        rows = {name: dict(zip(colours, both)) for name, *both in zip(CLASS_NAMES, spans, simulated)}
        show.forest(rows, "dB", unit="", colours=colours, ax=ax, title=channel)
        ax.get_legend().remove()
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    gaps = measured - wanted
    said = ", ".join(f"{name} {vv:+.1f} and {vh:+.1f}" for name, (vv, vh) in zip(CLASS_NAMES, gaps))
    return show.describe(fig, f"Simulated minus real backscatter in dB, VV and VH: {said}.")


def texture_curves(curves: Mapping[str, Sequence[float]]) -> Figure:
    """Autocorrelation over lag; the first curve is the reference, with bars of the tolerance."""
    reference, wanted = next(iter(curves.items()))
    bands = {reference: (np.subtract(wanted, TEXTURE_TOLERANCE), np.add(wanted, TEXTURE_TOLERANCE))}
    styles = dict(zip(curves, ({"color": c} for c in (REAL, SIMULATED, show.PALETTE[0]))))
    look = {"log": "x", "size": (3.9, 2.8), "styles": styles, "bands": bands}
    return show.lines(LAGS, curves, "lag (pixels)", "autocorrelation", **look)
