"""What the two sensors measure, and the land-cover legends: bands, units, classes, colours."""

from dataclasses import dataclass

import numpy as np

from eo_ssl.errors import DataError


@dataclass(frozen=True)
class OpticalBand:
    """One band of the Sentinel-2 MSI: centre and width in nm, native resolution in metres."""

    name: str
    centre: float
    width: float
    resolution: int
    sees: str


@dataclass(frozen=True)
class RadarBand:
    """One polarisation of Sentinel-1 (C band, 5.405 GHz, wavelength 5.55 cm)."""

    name: str
    sees: str


# Centres and widths of Sentinel-2A, ESA MSI spectral response functions.
S2 = (
    OpticalBand("B01", 442.7, 21, 60, "coastal aerosol"),
    OpticalBand("B02", 492.4, 66, 10, "blue"),
    OpticalBand("B03", 559.8, 36, 10, "green"),
    OpticalBand("B04", 664.6, 31, 10, "red"),
    OpticalBand("B05", 704.1, 15, 20, "red edge 1"),
    OpticalBand("B06", 740.5, 15, 20, "red edge 2"),
    OpticalBand("B07", 782.8, 20, 20, "red edge 3"),
    OpticalBand("B08", 832.8, 106, 10, "near infrared"),
    OpticalBand("B8A", 864.7, 21, 20, "narrow near infrared"),
    OpticalBand("B09", 945.1, 20, 60, "water vapour"),
    OpticalBand("B10", 1373.5, 31, 60, "cirrus"),
    OpticalBand("B11", 1613.7, 91, 20, "short-wave infrared 1"),
    OpticalBand("B12", 2202.4, 175, 20, "short-wave infrared 2"),
)
S1 = (
    RadarBand("VV", "sent vertical, received vertical: rough surfaces, wind on water, double bounce"),
    RadarBand("VH", "sent vertical, received horizontal: volume scattering in vegetation"),
)
S2_BANDS: tuple[str, ...] = tuple(band.name for band in S2)
S2_BANDS_L2A: tuple[str, ...] = tuple(name for name in S2_BANDS if name != "B10")
S1_BANDS: tuple[str, ...] = tuple(band.name for band in S1)
RGB = ("B04", "B03", "B02")

# Level-1C/2A digital number = reflectance x 1e4 (+ 1000 from processing baseline 04.00 on).
DN_PER_REFLECTANCE = 1e4
BASELINE_0400_OFFSET = 1000


def band_index(names: str | tuple[str, ...], bands: tuple[str, ...] = S2_BANDS) -> list[int]:
    """Positions of band names in `bands`; raises `DataError` naming the band that is not there.

    >>> band_index(("B04", "B03", "B02"))
    [3, 2, 1]
    """
    names = (names,) if isinstance(names, str) else names
    missing = [name for name in names if name not in bands]
    if missing:
        raise DataError(f"band {', '.join(missing)} not found; the bands here are {', '.join(bands)}")
    return [bands.index(name) for name in names]


@dataclass(frozen=True)
class LandCover:
    """One class of a legend: code in the label map, name, colour as #rrggbb."""

    code: int
    name: str
    colour: str


IGNORE = 255

# Colours after Paul Tol's "muted" scheme, which readers with colour-vision deficiency can tell apart.
CLASSES = (
    LandCover(0, "Forest", "#117733"),
    LandCover(1, "Shrubland", "#999933"),
    LandCover(2, "Grassland", "#44aa99"),
    LandCover(3, "Wetlands", "#88ccee"),
    LandCover(4, "Croplands", "#ddcc77"),
    LandCover(5, "Urban", "#882255"),
    LandCover(6, "Barren", "#dddddd"),
    LandCover(7, "Water", "#332288"),
)
CLASS_NAMES: tuple[str, ...] = tuple(c.name for c in CLASSES)
NUM_CLASSES = len(CLASSES)
IGNORE_COLOUR = "#ffffff"

# The simplified IGBP legend of the 2020 Data Fusion Contest: codes 1 to 10.
DFC10 = (
    LandCover(1, "Forest", "#117733"),
    LandCover(2, "Shrubland", "#999933"),
    LandCover(3, "Savanna", "#cc6677"),
    LandCover(4, "Grassland", "#44aa99"),
    LandCover(5, "Wetlands", "#88ccee"),
    LandCover(6, "Croplands", "#ddcc77"),
    LandCover(7, "Urban/Built-up", "#882255"),
    LandCover(8, "Snow/Ice", "#aa4499"),
    LandCover(9, "Barren", "#dddddd"),
    LandCover(10, "Water", "#332288"),
)

IGBP = {
    1: "Evergreen needleleaf forest",
    2: "Evergreen broadleaf forest",
    3: "Deciduous needleleaf forest",
    4: "Deciduous broadleaf forest",
    5: "Mixed forest",
    6: "Closed shrublands",
    7: "Open shrublands",
    8: "Woody savannas",
    9: "Savannas",
    10: "Grasslands",
    11: "Permanent wetlands",
    12: "Croplands",
    13: "Urban and built-up lands",
    14: "Cropland/natural vegetation mosaics",
    15: "Permanent snow and ice",
    16: "Barren",
    17: "Water bodies",
}
_IGBP_TO_DFC10 = {
    **dict.fromkeys(range(1, 6), 1),
    **dict.fromkeys((6, 7), 2),
    **dict.fromkeys((8, 9), 3),
    10: 4,
    11: 5,
    12: 6,
    14: 6,
    13: 7,
    15: 8,
    16: 9,
    17: 10,
}
# Savanna and snow are not in the eight-class set of the papers.
_DFC10_TO_EIGHT = {1: 0, 2: 1, 4: 2, 5: 3, 6: 4, 7: 5, 9: 6, 10: 7}


def _table(mapping: dict[int, int]) -> np.ndarray:
    table = np.full(256, IGNORE, dtype=np.uint8)
    table[list(mapping)] = list(mapping.values())
    return table


IGBP_TO_DFC10 = _table(_IGBP_TO_DFC10)
DFC10_TO_EIGHT = _table(_DFC10_TO_EIGHT)
IGBP_TO_EIGHT = DFC10_TO_EIGHT[IGBP_TO_DFC10]


def remap(labels: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Translate a label map through a 256-entry table; codes outside 0–255 raise `DataError`.

    >>> remap(np.array([[1, 8, 12, 17]]), IGBP_TO_EIGHT)
    array([[  0, 255,   4,   7]], dtype=uint8)
    """
    labels = np.asarray(labels)
    if labels.size and (labels.min() < 0 or labels.max() > 255):
        raise DataError(f"label codes must lie in 0 to 255, found {labels.min()} to {labels.max()}")
    return table[labels.astype(np.uint8)]


def to_db(linear: np.ndarray, floor: float = 1e-5) -> np.ndarray:
    """Backscatter from linear power to decibels, 10·log₁₀(σ⁰); values below `floor` are raised to it.

    >>> to_db(np.array([1.0, 0.1])).tolist()
    [0.0, -10.0]
    """
    return 10.0 * np.log10(np.maximum(linear, floor))


def to_linear(db: np.ndarray) -> np.ndarray:
    """Backscatter from decibels to linear power, 10^(dB/10).

    >>> to_linear(np.array([0.0, -10.0])).tolist()
    [1.0, 0.1]
    """
    return np.power(10.0, np.asarray(db) / 10.0)
