"""BigEarthNet patches: the class names, their place among the eight classes, resampling to 10 m."""

import re
from datetime import date
from pathlib import Path
from types import MappingProxyType

import numpy as np
from scipy import ndimage

from eo_ssl.errors import DataError
from eo_ssl.sensors import CLASS_NAMES, DN_PER_REFLECTANCE, S2_BANDS_L2A

# The CORINE Land Cover names of BigEarthNet v1 that changed in the 19-class nomenclature (Sumbul et al.
# 2021, table 2). Names that are absent here and below (roads, mines, bare rock, ...) were dropped by it.
_RENAMED = {
    "Continuous urban fabric": "Urban fabric",
    "Discontinuous urban fabric": "Urban fabric",
    "Non-irrigated arable land": "Arable land",
    "Permanently irrigated land": "Arable land",
    "Rice fields": "Arable land",
    "Vineyards": "Permanent crops",
    "Fruit trees and berry plantations": "Permanent crops",
    "Olive groves": "Permanent crops",
    "Annual crops associated with permanent crops": "Permanent crops",
    "Natural grassland": "Natural grassland and sparsely vegetated areas",
    "Sparsely vegetated areas": "Natural grassland and sparsely vegetated areas",
    "Moors and heathland": "Moors, heathland and sclerophyllous vegetation",
    "Sclerophyllous vegetation": "Moors, heathland and sclerophyllous vegetation",
    "Transitional woodland/shrub": "Transitional woodland, shrub",
    "Inland marshes": "Inland wetlands",
    "Peatbogs": "Inland wetlands",
    "Salt marshes": "Coastal wetlands",
    "Salines": "Coastal wetlands",
    "Water courses": "Inland waters",
    "Water bodies": "Inland waters",
    "Coastal lagoons": "Marine waters",
    "Estuaries": "Marine waters",
    "Sea and ocean": "Marine waters",
}
# The 19 classes -> the eight of this course. Agro-forestry (crops under open trees) is savanna-like, and
# savanna is not one of the eight, so it maps to none. "Natural grassland and sparsely vegetated" is mostly
# grassland.
NINETEEN_TO_EIGHT = MappingProxyType(
    {
        "Urban fabric": "Urban",
        "Industrial or commercial units": "Urban",
        "Arable land": "Croplands",
        "Permanent crops": "Croplands",
        "Pastures": "Grassland",
        "Complex cultivation patterns": "Croplands",
        "Land principally occupied by agriculture, with significant areas of natural vegetation": "Croplands",
        "Agro-forestry areas": None,
        "Broad-leaved forest": "Forest",
        "Coniferous forest": "Forest",
        "Mixed forest": "Forest",
        "Natural grassland and sparsely vegetated areas": "Grassland",
        "Moors, heathland and sclerophyllous vegetation": "Shrubland",
        "Transitional woodland, shrub": "Shrubland",
        "Beaches, dunes, sands": "Barren",
        "Inland wetlands": "Wetlands",
        "Coastal wetlands": "Wetlands",
        "Inland waters": "Water",
        "Marine waters": "Water",
    }
)


def nineteen(names: tuple[str, ...]) -> tuple[str, ...]:
    """CORINE names of BigEarthNet v1 (or v2) in the 19-class nomenclature; dropped classes disappear.

    >>> nineteen(("Vineyards", "Olive groves", "Airports", "Pastures"))
    ('Permanent crops', 'Pastures')
    """
    renamed = [_RENAMED.get(name, name) for name in names]
    renamed = [_INDUSTRIAL if name.startswith("Industrial or commercial") else name for name in renamed]
    return tuple(name for name in dict.fromkeys(renamed) if name in NINETEEN_TO_EIGHT)


_INDUSTRIAL = "Industrial or commercial units"


def eight(names: tuple[str, ...]) -> np.ndarray:
    """Which of the eight classes are present: multi-hot (8,) float32 from 19-class names.

    >>> eight(("Pastures", "Mixed forest", "Agro-forestry areas")).tolist()
    [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    """
    unknown = [name for name in names if name not in NINETEEN_TO_EIGHT]
    if unknown:
        raise DataError(f"{unknown[0]!r} is not one of the 19 BigEarthNet classes")
    present = {NINETEEN_TO_EIGHT[name] for name in names}
    return np.array([name in present for name in CLASS_NAMES], dtype=np.float32)


def acquired(name: str | Path) -> date:
    """Acquisition day from a Sentinel product or patch name.

    >>> acquired("S1B_IW_GRDH_1SDV_20170612T165809_33UUP_26_57").isoformat()
    '2017-06-12'
    """
    found = re.search(r"_(\d{4})(\d{2})(\d{2})T\d{5,6}", str(name))
    if not found:
        raise DataError(f"{name}: no acquisition time in this name")
    try:
        return date(*map(int, found.groups()))
    except ValueError as error:
        raise DataError(f"{name}: {error}") from error


def to_grid(
    band: np.ndarray, shape: tuple[int, int], step: float, offset: tuple[float, float] = (0.0, 0.0)
) -> np.ndarray:
    """Resample a coarser band to the 10 m grid, bilinearly between pixel *centres*.

    `step` is the target pixel in source pixels (0.5 for 20 m → 10 m, 1/6 for 60 m), `offset` the upper left
    corner of the target in source pixels. Bilinear, because copying (nearest neighbour) draws 20 m and 60 m
    block edges that a network would read as texture, and cubic overshoots next to bright roofs and water:
    bilinear values always stay between those measured. It adds no detail. Shapes: (h, w) → `shape`, float32.

    >>> to_grid(np.array([[0.0, 1.0]]), (2, 4), 0.5).tolist()
    [[0.0, 0.25, 0.75, 1.0], [0.0, 0.25, 0.75, 1.0]]
    """
    band = band.astype(np.float32)
    if step == 1 and offset == (0.0, 0.0) and band.shape == shape:
        return band
    start = [o + step / 2 - 0.5 for o in offset]  # centre of the first target pixel, in source pixel centres
    return ndimage.affine_transform(band, [step, step], start, shape, order=1, mode="nearest")


def stack_bands(bands: dict[str, np.ndarray], shape: tuple[int, int], where: str) -> np.ndarray:
    """L2A digital numbers by band name → reflectance (12, H, W) float32 in the order of `S2_BANDS_L2A`.

    All bands must cover the same square: the ratio of the sizes is the ratio of the resolutions.
    """
    stack = []
    for name in S2_BANDS_L2A:
        if name not in bands:
            raise DataError(f"{where}: band {name} is missing")
        band = bands[name]
        if band.ndim != 2 or shape[0] % band.shape[0] or shape[0] * band.shape[1] != shape[1] * band.shape[0]:
            raise DataError(f"{where}: band {name} has shape {band.shape}, which does not fit {shape}")
        stack.append(to_grid(band, shape, band.shape[0] / shape[0]))
    return np.stack(stack) / DN_PER_REFLECTANCE  # (12, H, W)
