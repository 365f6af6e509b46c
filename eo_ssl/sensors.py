"""What the two sensors measure, and the land-cover legends: bands, units, classes, colours."""

import re
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
# C band, 5.405 GHz. VV, sent and received vertical: rough surfaces, wind on water, double bounce; VH: volume scattering.
S1_BANDS = ("VV", "VH")
S2_BANDS = tuple(band.name for band in S2)
B10 = S2_BANDS.index("B10")
S2_BANDS_L2A = tuple(name for name in S2_BANDS if name != "B10")
RGB = ("B04", "B03", "B02")

# Level-1C/2A digital number = reflectance x 1e4 (+ 1000 from processing baseline 04.00 on).
DN_PER_REFLECTANCE = 1e4
BASELINE_0400_OFFSET = 1000

# Clear air over land, by band: the reflectance of the air itself, and the share of surface reflectance that comes
# through. The simulator builds L1C with them, and with them real L2A becomes L1C.
LEVELS = ("L1C", "L2A")  # reflectance at the top of the atmosphere, and at the surface
AIR_PATH, AIR_THROUGH = np.array([
    [.105, .072, .045, .026, .022, .017, .013, .011, .009, .004, .001, .002, .001],
    [.800, .840, .880, .920, .910, .930, .950, .930, .970, .280, .004, .930, .900],
], dtype=np.float32)  # fmt: skip


def level_change(have: str, want: str) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shift of each band, (13,) float32 each, that take reflectance of level `have` to level `want`.

    To the top of the atmosphere ρ_TOA = ρ · through + path, to the surface its inverse, both in clear air. B10 never
    reaches the ground: it is NaN, a band that says nothing. Raises `DataError` for a level that does not exist.

    >>> scale, shift = level_change("L2A", "L1C")
    >>> round(float(0.5 * scale[7] + shift[7]), 3)  # a meadow in the near infrared
    0.476
    """
    for level in (have, want):
        if level not in LEVELS:
            raise DataError(f"product level {level!r}; choose {' or '.join(LEVELS)}")
    if have == want:
        return np.ones_like(AIR_PATH), np.zeros_like(AIR_PATH)
    scale, shift = (AIR_THROUGH, AIR_PATH) if want == "L1C" else (1 / AIR_THROUGH, -AIR_PATH / AIR_THROUGH)
    seen = np.array(S2_BANDS) != "B10"
    return np.where(seen, scale, np.float32(np.nan)), np.where(seen, shift, np.float32(np.nan))


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


# What STAC catalogues call the bands of Sentinel-2, in both spellings of the red edge.
_COMMON = {
    "coastal": "B01", "blue": "B02", "green": "B03", "red": "B04", "rededge1": "B05", "rededge071": "B05",
    "rededge2": "B06", "rededge075": "B06", "rededge3": "B07", "rededge078": "B07", "nir": "B08",
    "nir08": "B8A", "nir09": "B09", "cirrus": "B10", "swir16": "B11", "swir22": "B12",
}  # fmt: skip


def s2_band(name: str) -> str:
    """The band that a name in any spelling in use stands for, "" if none.

    >>> [s2_band(n) for n in ("B1", "b01", "B8a", "B08, central wavelength 833 nm", "swir22", "Band 1")]
    ['B01', 'B01', 'B8A', 'B08', 'B12', '']
    """
    word = re.split(r"[\s,_(]", name.strip(), maxsplit=1)[0]
    match = re.fullmatch(r"B0?(\d{1,2}A?)", word.upper())
    found = f"B{match[1]:0>2}" if match else _COMMON.get(word.lower(), "")
    return found if found in S2_BANDS else ""


def s1_band(name: str) -> str:
    """The polarisation in the name of a radar band, "" if there is none.

    >>> s1_band("Sigma0_VH_db"), s1_band("vv"), s1_band("Band 1")
    ('VH', 'VV', '')
    """
    match = re.search(r"(?<![a-z])(vv|vh|hh|hv)(?![a-z])", name.lower())
    return match[1].upper() if match else ""


def baseline_offset(baseline: str) -> int:
    """What ESA added to the digital numbers in a processing baseline, in any spelling: 1000 from 04.00 on.

    Raises `ValueError` for a text that is no baseline.

    >>> [baseline_offset(b) for b in ("02.09", "N0209", "0301", "N0400", "04.00", "5.1", "0509")]
    [0, 0, 0, 1000, 1000, 1000, 1000]
    """
    match = re.fullmatch(r"N?(\d{1,2})(?:\.\d{1,2}|\d{2})", baseline.strip().upper())
    if match is None:
        raise ValueError(f"processing baseline {baseline!r}; expected a number such as 04.00 or N0400")
    return BASELINE_0400_OFFSET if int(match[1]) >= 4 else 0


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
CLASS_NAMES = tuple(c.name for c in CLASSES)
NUM_CLASSES = len(CLASSES)
IGNORE_COLOUR = "#ffffff"

# Label maps are translated by `table[codes]`: from the simplified IGBP legend of DFC2020 (1 to 10) and from IGBP
# (1 to 17) to the eight classes. Savanna, snow and all other codes have none (255).
_DFC10 = {1: 0, 2: 1, 4: 2, 5: 3, 6: 4, 7: 5, 9: 6, 10: 7}
_IGBP = dict.fromkeys(range(1, 6), 0) | {6: 1, 7: 1, 10: 2, 11: 3, 12: 4, 14: 4, 13: 5, 16: 6, 17: 7}
DFC10_TO_EIGHT, IGBP_TO_EIGHT = (
    np.array([eight.get(code, IGNORE) for code in range(256)], np.uint8) for eight in (_DFC10, _IGBP)
)
# From ESA WorldCover to the legend of DFC2020: trees, shrubs, grass, crops, built-up, bare, snow, water, wetland and
# mangroves; moss and lichen have no class there, and a code of neither legend becomes 254.
_WORLDCOVER = {0: 0, 10: 1, 20: 2, 30: 4, 40: 6, 50: 7, 60: 9, 70: 8, 80: 10, 90: 5, 95: 5, 100: 0, 255: 0}
WORLDCOVER_TO_DFC10 = np.array([_WORLDCOVER.get(code, 254) for code in range(256)], np.uint8)


def to_db(linear: np.ndarray) -> np.ndarray:
    """Backscatter from linear power to decibels, 10·log₁₀(σ⁰), at least −50 dB.

    >>> to_db(np.array([1.0, 0.1])).tolist()
    [0.0, -10.0]
    """
    return 10.0 * np.log10(np.maximum(linear, 1e-5))


def to_linear(db: np.ndarray) -> np.ndarray:
    """Backscatter from decibels to linear power, 10^(dB/10).

    >>> to_linear(np.array([0.0, -10.0])).tolist()
    [1.0, 0.1]
    """
    return np.power(10.0, np.asarray(db) / 10.0)
