"""Turning bands into pictures: colour composites, radar composites, label maps."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from eo_ssl.sensors import CLASSES, IGNORE_COLOUR, RGB, S2_BANDS, band_index

# Red, green and blue of the picture come from these bands.
PRESETS = {
    "true colour": RGB,
    "false colour (near infrared)": ("B08", "B04", "B03"),
    "short-wave infrared": ("B12", "B8A", "B04"),
    "agriculture": ("B11", "B08", "B02"),
    "red edge": ("B8A", "B06", "B05"),
}
# Fixed limits keep pictures comparable from place to place: dB for VV, VH and their difference VV − VH.
RADAR_LIMITS = ((-21.0, -1.0), (-28.0, -8.0), (0.0, 15.0))


def limits(values: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """Percentiles between which a picture is stretched; never of zero width; 0 and 1 where nothing is finite."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return 0.0, 1.0
    bottom, top = np.percentile(finite, [low, high])
    return float(bottom), float(max(top, bottom + 1e-6))


def stretch(values: np.ndarray, low: float, high: float, gamma: float = 1.0) -> np.ndarray:
    """Map [low, high] to [0, 1], clip the rest, brighten by `gamma`: ((x − low)/(high − low))^(1/gamma).

    >>> stretch(np.array([0.0, 0.5, 2.0]), 0, 1).tolist()
    [0.0, 0.5, 1.0]
    """
    scaled = np.clip((np.nan_to_num(values, nan=low) - low) / max(high - low, 1e-9), 0, 1)
    return scaled ** (1 / gamma)


def composite(s2: np.ndarray, names: Sequence[str] = RGB, bands: tuple[str, ...] = S2_BANDS) -> np.ndarray:
    """Three bands as a picture (H, W, 3) in [0, 1], each stretched from its 1st to its 99th percentile.

    `s2` (B, H, W) is reflectance with the band names `bands`; unknown names raise `DataError`.
    """
    channels = s2[band_index(tuple(names), bands)]  # (3, H, W)
    return np.stack([stretch(c, *limits(c, 1, 99), gamma=1.2) for c in channels], axis=-1)


def true_colour(s2: np.ndarray, bands: tuple[str, ...] = S2_BANDS, high: float | None = None) -> np.ndarray:
    """Red, green and blue much as the eye would see them: the haze taken off, then one stretch for all three.

    Haze is what the darkest percentile of a band shows (the air, in L1C data); `high` is the reflectance
    above it that is shown as white, by default that of the brightest percentile, at least 0.08.
    """
    channels = s2[band_index(RGB, bands)]  # (3, H, W)
    dark = [min(max(limits(c, 1, 99)[0], 0.0) * 0.8, 0.15) for c in channels]
    clear = channels - np.array(dark)[:, None, None]
    top = high or max(limits(clear, 0, 99)[1], 0.08)
    return np.stack([stretch(c, 0, top, gamma=1.4) for c in clear], axis=-1)


def radar(s1: np.ndarray) -> np.ndarray:
    """VV red, VH green, VV − VH (the ratio, in dB) blue: (2, H, W) dB → (H, W, 3) in [0, 1].

    Volume scattering (forest) turns green and yellow, bare soil and calm water blue, towns white and pink.
    """
    vv, vh = s1
    return np.stack([stretch(c, *span) for c, span in zip((vv, vh, vv - vh), RADAR_LIMITS)], axis=-1)


def grey(db: np.ndarray, span: tuple[float, float]) -> np.ndarray:
    """One polarisation as a grey picture (H, W) between two dB limits."""
    return stretch(db, *span)


def label_map(mask: np.ndarray) -> np.ndarray:
    """A label map as a picture (H, W, 3) in the colours of the legend; codes outside it are white."""
    table = np.tile(to_rgb(IGNORE_COLOUR), (256, 1))
    table[[c.code for c in CLASSES]] = [to_rgb(c.colour) for c in CLASSES]
    return table[np.asarray(mask, dtype=np.uint8)]


def legend(where: Axes | Figure, **options: Any) -> None:
    """The classes in their colours, in axes or in a figure; `options` are those of `legend` in Matplotlib."""
    handles = [Patch(facecolor=c.colour, edgecolor="#999999", linewidth=0.4, label=c.name) for c in CLASSES]
    where.legend(handles=handles, **{"loc": "center left"} | options)
