"""Appendix, simulated against real: one set of measures for both, the real values, and how hard the set is.

S1 is in dB, S2 in reflectance, labels are the eight classes (255 = no class); images are (bands, H, W). Pixels that
are no data in any band (NaN) do not count.

Optical references are clear-sky means over areas of one class: EuroSAT (Helber et al. 2019, 20 patches a class) and
five tiles of TerraMesh (Blumenstiel et al. 2025, baseline offset removed). Radar references are the WorldCover pixels
of WorldCereal (temporal means, 500 pixels worldwide) and the same TerraMesh tiles. Texture is the median over patches
of BigEarthNet v2 (Clasen et al. 2024). All were measured on small samples: anchors, not truth.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import product
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
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

# Top-of-atmosphere reflectance x 1e4 of clear patches: B01 … B08, B8A, B09 … B12.
_EUROSAT = {
    "AnnualCrop": (1417, 1228, 1238, 1266, 1583, 2694, 3275, 3167, 3583, 913, 13, 2501, 1632),
    "Forest": (1121, 817, 670, 409, 706, 1988, 2582, 2529, 2915, 741, 9, 1263, 503),
    "HerbaceousVegetation": (1320, 1113, 1050, 1058, 1366, 2000, 2287, 2298, 2581, 1034, 18, 2341, 1437),
    "Industrial": (1660, 1479, 1404, 1417, 1549, 2010, 2243, 2123, 2388, 598, 12, 2102, 1545),
    "Pasture": (1260, 987, 943, 666, 1193, 2804, 3434, 3400, 3821, 1192, 13, 2028, 985),
    "PermanentCrop": (1388, 1208, 1244, 1316, 1617, 2485, 2902, 2817, 3196, 841, 14, 2720, 1757),
    "Residential": (1371, 1127, 1048, 972, 1244, 2086, 2443, 2358, 2655, 798, 13, 1993, 1332),
    "SeaLake": (1217, 948, 776, 505, 517, 399, 400, 331, 311, 95, 8, 112, 74),
}
_TERRAMESH = {
    "water": (1413, 1158, 946, 616, 685, 694, 714, 544, 667, 231, 9, 303, 158),
    "trees": (1232, 893, 705, 430, 726, 1834, 2275, 2242, 2561, 738, 10, 1033, 394),
    "crops": (1542, 1161, 973, 814, 1150, 1959, 2260, 2246, 2585, 790, 18, 1916, 1063),
    "built": (1360, 1053, 881, 835, 1027, 1533, 1772, 1796, 2021, 844, 17, 1745, 1159),
    "bare": (2198, 2330, 2479, 2828, 2917, 3109, 3357, 3233, 3598, 903, 15, 4183, 3559),
    "rangeland": (1379, 1182, 1176, 1407, 1662, 2162, 2470, 2424, 2824, 753, 58, 3213, 2218),
}
# Wetland over grass in the WorldCover table (both rows carry the same residual cloud), B01 taken as B02, B8A as B08.
_WETLAND_OVER_GRASS = (1.11, 1.11, 1.045, 0.962, 0.962, 0.951, 0.945, 0.933, 0.933, 1.0, 1.0, 0.889, 0.827)


def _mean(*rows: tuple[int, ...]) -> np.ndarray:
    return np.mean(rows, axis=0) / 1e4


_GRASS = _mean(_EUROSAT["HerbaceousVegetation"], _EUROSAT["Pasture"])
S2_REFERENCE: dict[str, np.ndarray] = {
    "Forest": _mean(_EUROSAT["Forest"], _TERRAMESH["trees"]),
    "Shrubland": _mean(_TERRAMESH["rangeland"]),
    "Grassland": _GRASS,
    "Wetlands": _GRASS * np.array(_WETLAND_OVER_GRASS),
    "Croplands": _mean(_EUROSAT["AnnualCrop"], _EUROSAT["PermanentCrop"], _TERRAMESH["crops"]),
    "Urban": _mean(_EUROSAT["Residential"], _EUROSAT["Industrial"], _TERRAMESH["built"]),
    "Barren": _mean(_TERRAMESH["bare"]),
    "Water": _mean(_EUROSAT["SeaLake"], _TERRAMESH["water"]),
}
# Backscatter in dB in the order of the classes: mean of the WorldCover row and the TerraMesh row where both exist
# (grass and shrub share TerraMesh's rangeland; wetland has WorldCover only; water also the sea patches of BigEarthNet).
_VV = (-8.45, -10.75, -11.55, -10.2, -10.75, -9.35, -13.45, -18.4)
_VH = (-14.4, -16.55, -17.7, -17.4, -17.95, -16.25, -19.7, -25.8)
S1_REFERENCE = dict(zip(CLASS_NAMES, zip(_VV, _VH)))


@dataclass(frozen=True)
class Texture:
    """Texture of one patch: autocorrelation of VV (dB) and B08 at `LAGS`, and two correlations between bands."""

    vv: tuple[float, ...]
    b08: tuple[float, ...]
    vv_vh: float
    vh_ndvi: float


TEXTURE_REFERENCE = Texture((0.83, 0.60, 0.33, 0.09), (0.94, np.nan, 0.69, 0.29), 0.61, 0.36)


def texture(s1: np.ndarray, s2: np.ndarray, bands: tuple[str, ...] = S2_BANDS) -> Texture:
    """Measure one patch of land without gaps; `bands` names the channels of `s2`."""
    red, near = s2[band_index(("B04", "B08"), bands)]
    ndvi = (near - red) / np.maximum(near + red, 1e-4)
    lags = [lag for lag in LAGS if lag < near.shape[0] // 2]
    vv, b08 = (tuple(autocorrelation(image, lag) for lag in lags) for image in (s1[0], near))
    vv_vh, vh_ndvi = (float(np.corrcoef(s1[k].ravel(), x.ravel())[0, 1]) for k, x in ((0, s1[1]), (1, ndvi)))
    return Texture(vv, b08, vv_vh, vh_ndvi)


def median_texture(patches: Sequence[Texture]) -> Texture:
    """Median of each measure over patches."""
    vv, b08, *pairs = (
        np.median([getattr(p, f.name) for p in patches], axis=0).tolist() for f in fields(Texture)
    )
    return Texture(tuple(vv), tuple(b08), *pairs)


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


def class_means(regions: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean S1 (8, 2), mean S2 (8, 13) and number of regions (8,): every region with enough pixels counts once."""
    sums = np.stack(list(regions))  # (R, 8, 16)
    enough = sums[..., 0] >= _FEWEST
    each = np.divide(sums, sums[..., :1], out=np.zeros_like(sums), where=enough[..., None])
    number = enough.sum(0)
    mean = np.where(number[:, None] > 0, each.sum(0) / np.maximum(number, 1)[:, None], np.nan)
    return mean[:, 1:3], mean[:, 3:], number


@dataclass(frozen=True)
class Patch:
    """One labelled patch: s1 (2, H, W) dB, s2 (13, H, W) reflectance, label (H, W), region and split."""

    s1: np.ndarray
    s2: np.ndarray
    label: np.ndarray
    region: str
    split: str


@dataclass
class Survey:
    """What was measured: sums per class and region, texture of land, speckle on water, band statistics."""

    sums: dict[str, np.ndarray] = field(default_factory=dict)
    textures: list[Texture] = field(default_factory=list)
    speckles: list[tuple[float, float]] = field(default_factory=list)
    features: list[np.ndarray] = field(default_factory=list)
    classes: list[int] = field(default_factory=list)
    shares: list[np.ndarray] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)

    @property
    def means(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean S1 (8, 2), mean S2 (8, 13) and number of regions per class."""
        return class_means(self.sums.values())

    @property
    def texture(self) -> Texture:
        """Median texture of the land patches."""
        return median_texture(self.textures)

    @property
    def speckle(self) -> tuple[float, float]:
        """Median looks and median lag-1 autocorrelation of intensity on water."""
        number, lag = np.median(self.speckles, axis=0)
        return float(number), float(lag)

    def table(self, *splits: str) -> tuple[np.ndarray, np.ndarray]:
        """Band statistics (N, 30) and majority classes (N,) of the patches of some splits that have a class."""
        features, classes = np.array(self.features), np.array(self.classes)
        chosen = np.isin(self.splits, splits) & (classes != IGNORE) & np.isfinite(features).all(1)
        return features[chosen], classes[chosen]


def survey(patches: Iterable[Patch]) -> Survey:
    """Measure every patch."""
    found = Survey()
    for p in patches:
        counts = class_counts(p.label)
        found.sums[p.region] = class_sums(p.s1, p.s2, p.label) + found.sums.get(p.region, 0)
        if counts[WATER] < DRY * p.label.size and np.isfinite(p.s1).all() and np.isfinite(p.s2).all():
            found.textures.append(texture(p.s1, p.s2))
        found.speckles += speckle(p.s1[0], p.label)
        found.features.append(band_statistics(p.s1, p.s2))
        found.classes.append(majority_of(counts))
        found.shares.append(counts / p.label.size)
        found.splits.append(p.split)
    return found


def patches_of(source: Any, per_region: int = 60, seed: int = 0) -> Iterator[Patch]:
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


def within(x: np.ndarray, y: np.ndarray, seed: int = 0) -> float:
    """Average accuracy under five-fold cross-validation with patches of all regions in every fold."""
    guess = cross_val_predict(_SHALLOW, x, y, cv=KFold(5, shuffle=True, random_state=seed))
    return average_accuracy(y, guess)


REAL, SIMULATED = "#5f6b7a", show.PALETTE[1]


def side_by_side(real: Sequence[Pair], simulated: Sequence[Pair], size: int = 120) -> Figure:
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
    bands = np.array(band_index(COMPARED_BANDS))
    bands = bands[np.argsort([S2[b].centre for b in bands], kind="stable")]
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
    said = show.listed(worst, "{:+.0%}")
    return show.describe(
        fig, f"Simulated and real reflectance of eight classes; largest gap in any band: {said}."
    )


def class_backscatter(measured: np.ndarray) -> Figure:
    """VV and VH of each class in dB: measured (8, 2), and the reference with its tolerance."""
    fig, axes = plt.subplots(1, 2, figsize=(7.4, 2.9), sharey=True)
    wanted = np.array([S1_REFERENCE[name] for name in CLASS_NAMES])  # (8, 2)
    colours = {"real, with tolerance": REAL, "simulated": SIMULATED}
    for ax, channel, real, simulated in zip(axes, ("VV", "VH"), wanted.T, measured.T):
        spans = zip(real, real - S1_TOLERANCE, real + S1_TOLERANCE)
        rows = dict(
            zip(CLASS_NAMES, (dict(zip(colours, both)) for both in zip(spans, map(float, simulated))))
        )
        show.forest(rows, "dB", unit="", colours=colours, ax=ax, title=channel)
        ax.get_legend().remove()
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    gaps = measured - wanted
    said = ", ".join(f"{name} {vv:+.1f} and {vh:+.1f}" for name, (vv, vh) in zip(CLASS_NAMES, gaps))
    return show.describe(fig, f"Simulated minus real backscatter in dB, VV and VH: {said}.")


def texture_curves(curves: Mapping[str, Sequence[float]]) -> Figure:
    """Autocorrelation over lag; the first curve is the reference and gets a band of the tolerance."""
    wanted = next(iter(curves.values()))
    styles = dict(zip(curves, ({"color": c} for c in (REAL, SIMULATED, show.PALETTE[0]))))
    fig = show.lines(LAGS, curves, "lag (pixels)", "autocorrelation", log="x", size=(3.9, 2.8), styles=styles)
    known = np.isfinite(wanted)
    x, y = np.array(LAGS)[known], np.array(wanted)[known]
    fig.axes[0].fill_between(x, y - TEXTURE_TOLERANCE, y + TEXTURE_TOLERANCE, color=REAL, alpha=0.18, lw=0)
    return fig
