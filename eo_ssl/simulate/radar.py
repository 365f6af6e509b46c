"""Sentinel-1 GRD: backscatter of each class, the shape of the ground, and correlated speckle."""

import numpy as np
from scipy import fft, ndimage

from eo_ssl.sensors import to_db, to_linear
from eo_ssl.simulate.ground import Fields
from eo_ssl.simulate.landscape import CROP, FOREST, GRASS, SHRUB, URBAN, WATER, WETLAND, Landscape, crop_stage

# Level of each class in dB (VV, VH) before texture, moisture and speckle.
_LEVEL = np.array([
    [-8.3, -14.2], [-10.6, -16.6], [-11.2, -17.6], [-10.4, -17.3],
    [-10.6, -18.0], [-10.4, -16.8], [-13.3, -19.8], [-18.7, -27.0],
], dtype=np.float32)  # fmt: skip
# Texture in dB common to both channels, fine (22 m) and patchy (75 m), per class.
_FINE = np.array([1.5, 1.5, 1.2, 1.5, 1.2, 2.6, 1.6, 0.3], dtype=np.float32)
_PATCHY = np.array([1.0, 1.2, 0.9, 1.3, 0.8, 1.2, 1.4, 0.3], dtype=np.float32)
_BETWEEN = np.array([0.7, 0.9, 1.1, 1.0, 1.3, 0.8, 1.4, 0.0], dtype=np.float32)
LOOKS = 5
SPECKLE_SIGMA = 1.18
_FLOOR = (10**-2.95, 10**-3.25)


def radar(land: Landscape, drawn: dict[str, float] | None = None) -> np.ndarray:
    """The scene as Sentinel-1 would deliver it: (2, n, n) float32, VV and VH in dB.

    `drawn` receives what was drawn for the whole scene and only radar sees: "soil moisture" of the day, against that
    of the region, and the "incidence angle" in degrees.
    """
    rng, drawn = land.spec.rng(25), {} if drawn is None else drawn
    fields = Fields(rng, land.spec.padded)
    look = 1 if rng.random() < 0.5 else -1
    level = _backscatter(land, rng, fields, drawn) + _geometry(land, rng, look, drawn)
    out = np.empty_like(level)
    for k in range(2):
        power = to_linear(level[k]) + _houses(land, rng, k, look)
        power = ndimage.gaussian_filter(power.astype(np.float32), 0.6, truncate=3)
        echo = power * speckle(rng, land.spec.padded)
        out[k] = to_db(echo + _FLOOR[k] * rng.gamma(LOOKS, 1 / LOOKS, power.shape))
    # 1/128 dB is far below the speckle, and rounding to it halves the size of the files.
    return np.round(out * 128) / 128


def speckle(rng: np.random.Generator, n: int) -> np.ndarray:
    """Multiplicative speckle of mean one, (n, n): the mean of `LOOKS` correlated single-look intensities |z|².

    Intensities of a circular complex Gaussian field z with correlation ρ(d) correlate as ρ(d)²; a Gaussian transfer
    function of width σ gives exp(−d²/2σ²), 0.70 at lag 1 for σ = 1.18. The mean of L looks is gamma with L looks.
    """
    f = fft.fftfreq(n).astype(np.float32)
    transfer = np.exp(-2 * (np.pi * SPECKLE_SIGMA) ** 2 * f**2)
    transfer *= np.sqrt(n / (transfer**2).sum())
    shape = (transfer[:, None] * transfer[None, :] * n / np.sqrt(2)).astype(np.float32)
    power = np.zeros((n, n), dtype=np.float32)
    for _ in range(LOOKS):
        white = rng.standard_normal((n, n, 2), dtype=np.float32).view(np.complex64)[..., 0]
        z = fft.ifft2(white * shape)
        power += z.real**2 + z.imag**2
    return power / LOOKS


def _backscatter(
    land: Landscape, rng: np.random.Generator, fields: Fields, drawn: dict[str, float]
) -> np.ndarray:
    """Backscatter of flat ground in dB, (2, n, n)."""
    spec, cover = land.spec, land.cover
    region, label = spec.region, land.parcels.label
    # What grows and how wet it is differs between regions and dates.
    scene = rng.normal(0, 0.5, (8, 1)) + rng.normal(0, 0.4, (8, 2)) + region.sigma
    scene[WATER] = rng.normal(0, 1.0) + rng.normal(0, 0.4, 2)
    level = (_LEVEL + scene.astype(np.float32))[cover].transpose(2, 0, 1).copy()  # (2, n, n)
    luck = (spec.luck(label, 41) + spec.luck(label, 42) - 1) * 2.4
    managed = (cover == CROP) | (cover == GRASS)
    between = np.where(managed, luck, 0.7 * fields(20, 3.0))
    fine = _FINE[cover] * fields(2.2, 3.8)
    patchy = _PATCHY[cover] * (0.8 * fields(8, 3.0) + 0.6 * land.patchy)
    level += (fine + patchy + _BETWEEN[cover] * between).astype(np.float32)
    stage = crop_stage(land, label) - 0.45
    drawn["soil moisture"] = rng.normal(0, 0.15)
    wet = region.moisture - 0.5 + drawn["soil moisture"]
    crop, open_ground = cover == CROP, (cover != WATER) & (cover != FOREST) & (cover != URBAN)
    level[0] += crop * (0.8 * stage) + open_ground * np.float32(2.2 * wet)
    level[1] += (cover == GRASS) * (2.0 * spec.luck(label, 1) - 1.0)
    level[1] += crop * (4.8 * stage) + open_ground * np.float32(1.4 * wet)
    leaves = land.season.leaf - 0.8
    level[1] += ((cover == FOREST) * land.mixed + 0.6 * (cover == SHRUB)) * np.float32(1.2 * leaves)
    flooded = (cover == WETLAND) * np.clip(land.patchy, -1.5, 2.0)
    level[0] -= 0.8 * flooded
    level[1] -= 1.2 * flooded
    wind = (cover == WATER) * (0.8 * fields(spec.padded / 6, 3.4) + 0.5 * fields(20, 2.8))
    level += wind.astype(np.float32)
    return level + (land.parcels.road & (cover != WATER) & (cover != URBAN)) * np.float32(-2.5)


def _geometry(land: Landscape, rng: np.random.Generator, look: int, drawn: dict[str, float]) -> np.ndarray:
    """What the side view does, (n, n) in dB: slopes, incidence across the scene, and the edges of woods."""
    drawn["incidence angle"] = rng.uniform(31, 45)
    incidence = np.deg2rad(drawn["incidence angle"])
    rise = look * ndimage.gaussian_filter(land.terrain.east, 1.0)
    local = np.clip(incidence - np.arctan(rise), np.deg2rad(8), np.deg2rad(80))
    slope = 10 * np.log10(np.clip(np.tan(incidence) / np.tan(local), 0.15, 8.0))
    # The rim of a wood that faces the radar is bright, the ground behind it lies in shadow.
    edge = look * ndimage.gaussian_filter(land.height, 0.8, order=(0, 1))
    rim = np.clip(0.45 * edge, -4.0, 3.0)
    trend = -0.6 * look * np.linspace(-1, 1, land.spec.padded)
    return (slope + rim + trend[None, :]).astype(np.float32)


def _houses(land: Landscape, rng: np.random.Generator, channel: int, look: int) -> np.ndarray:
    """Extra power from walls and streets, (n, n): bright points, brightest where streets run along the flight."""
    town, spec = land.town, land.spec
    track = np.deg2rad(78 if look > 0 else 102)  # direction of flight on the map
    aligned = np.cos(2 * (land.parcels.angle - track)) ** 8
    points = spec.rng(26).random(town.roof.shape, dtype=np.float32)
    bright = np.where(points > 0.90, (points - 0.90) / 0.10, 0) ** 3 * (1 + town.hall)
    gain = (6.0, 0.9)[channel]
    return gain * town.roof * bright * (0.7 + 1.2 * aligned) * np.exp(rng.normal(0, 0.2))
