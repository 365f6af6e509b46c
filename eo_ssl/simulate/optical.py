"""Sentinel-2 Level-1C: from materials to digital numbers, through light, air, optics and detector."""

import numpy as np
from scipy import ndimage

from eo_ssl.simulate.cover import CROP, GRASS, WATER
from eo_ssl.simulate.landscape import Landscape
from eo_ssl.simulate.materials import abundances
from eo_ssl.simulate.noise import Fields, generator
from eo_ssl.simulate.regions import REGIONS
from eo_ssl.simulate.spectra import SPECTRA
from eo_ssl.sensors import S2

WAVELENGTH = np.array([band.centre for band in S2], dtype=np.float32) / 1000  # micrometres
# Clear air over land: reflectance of the air itself, and the share of surface reflectance that comes through.
_PATH = np.array(
    [0.105, 0.072, 0.045, 0.026, 0.022, 0.017, 0.013, 0.011, 0.009, 0.004, 0.001, 0.002, 0.001],
    dtype=np.float32,
)
_THROUGH = np.array(
    [0.80, 0.84, 0.88, 0.92, 0.91, 0.93, 0.95, 0.93, 0.97, 0.28, 0.004, 0.93, 0.90], dtype=np.float32
)
# Relative texture of each class below the size of a parcel (crowns, tussocks, plough lines, waves).
_TEXTURE = np.array([0.11, 0.09, 0.035, 0.07, 0.03, 0.10, 0.06, 0.02], dtype=np.float32)
_SPREAD = np.array([0.10, 0.14, 0.12, 0.14, 0.13, 0.12, 0.16, 0.08], dtype=np.float32)
CLOUDY_SHARE = 0.12
# Noise in reflectance (about the specified signal-to-noise ratios) and point spread in pixels of the band.
_NOISE = np.array(
    [0.0012, 0.0012, 0.0011, 0.0011, 0.0012, 0.0013, 0.0014, 0.0014, 0.0014, 0.0014, 0.0003, 0.0012, 0.0011]
)
_PSF = {10: 0.60, 20: 0.75, 60: 1.2}


def optical(land: Landscape) -> np.ndarray:
    """The scene as Sentinel-2 would deliver it: (13, n, n) uint16 digital numbers on the 10 m grid."""
    n = land.spec.padded
    rng = land.spec.rng(23)
    fields = Fields(rng, n)
    surface = (_local_spectra(land, rng).T @ abundances(land)).reshape(13, n, n)  # (13, n, n)
    surface *= np.exp(_brightness(land, rng))
    surface *= 1 + _tilt(land, rng) * (WAVELENGTH[:, None, None] - 0.9)
    surface *= _light(land)
    path, through = _air(land, rng)
    top = surface
    top *= through[:, None, None]
    top += path[:, None, None]
    if rng.random() < CLOUDY_SHARE:
        top = _clouds(top, rng, fields)
    return _sense(top, rng)


def _local_spectra(land: Landscape, rng: np.random.Generator) -> np.ndarray:
    """The spectra of the materials as they are in this region and scene: species, soils and leaves differ."""
    regional = generator(land.spec.seed, 24, REGIONS.index(land.spec.region))
    log = np.zeros_like(SPECTRA)
    for stream, level in ((regional, 0.12), (rng, 0.06)):
        knots = stream.normal(0, level, (SPECTRA.shape[0], 5))
        at = np.array([0.44, 0.66, 0.75, 1.0, 2.2])
        log += np.stack([np.interp(WAVELENGTH, at, row) for row in knots]).astype(np.float32)
        log += stream.normal(0, 0.8 * level, (SPECTRA.shape[0], 1)).astype(np.float32)
    return SPECTRA * np.exp(log)


def _brightness(land: Landscape, rng: np.random.Generator) -> np.ndarray:
    """Log factor on all bands, (n, n): texture within parcels, spread between parcels and between stands."""
    cover, spec = land.cover, land.spec
    luck = spec.luck(land.parcels.label, 31) + spec.luck(land.parcels.label, 32) - 1
    managed = (cover == CROP) | (cover == GRASS)
    between = np.where(managed, 2.4 * luck, 0.7 * land.patchy).astype(np.float32)
    scene = rng.normal(0, 0.06, 8).astype(np.float32)
    between[cover == WATER] = 0
    texture = 0.85 * land.rough + 0.3 * rng.standard_normal(cover.shape, dtype=np.float32)
    return _TEXTURE[cover] * texture + _SPREAD[cover] * between + scene[cover]


def _tilt(land: Landscape, rng: np.random.Generator) -> np.ndarray:
    """Relative change of reflectance per micrometre, (n, n): cultivars, moisture, residues."""
    spec = land.spec
    luck = spec.luck(land.parcels.label, 33) - 0.5
    return (0.30 * luck * (land.cover != WATER) + rng.normal(0, 0.05)).astype(np.float32)


def _light(land: Landscape) -> np.ndarray:
    """Direct and diffuse light on each slope relative to flat ground, and the shadows trees throw, (n, n)."""
    terrain, zenith = land.terrain, np.deg2rad(90 - land.season.sun)
    # Morning sun: from the south-east in the north, from the north-east in the south.
    azimuth = np.deg2rad(150 if land.spec.region.latitude > 0 else 40)
    towards = np.sin(azimuth) * terrain.east - np.cos(azimuth) * -terrain.south
    incidence = (np.cos(zenith) - np.sin(zenith) * towards) / np.sqrt(1 + terrain.slope**2)
    direct = np.clip(incidence / np.cos(zenith), 0.05, 2.0)
    reach = np.clip(1.0 / np.tan(np.deg2rad(land.season.sun)) * 14 / 10, 0.3, 3.0)
    shift = (np.cos(azimuth) * reach, -np.sin(azimuth) * reach)
    thrown = (
        ndimage.shift(ndimage.gaussian_filter(land.height, 0.6), shift, order=1, mode="nearest") - land.height
    )
    shade = 0.45 * np.clip(thrown / 15, 0, 1)
    return ((0.22 + 0.78 * direct) * (1 - shade)).astype(np.float32)


def _air(land: Landscape, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Path reflectance and transmittance of each band, (13,): clear air plus haze, thicker for a low sun."""
    load = max(0.05, land.spec.region.haze * np.exp(rng.normal(0, 0.35)))
    mass = 0.5 * (1 + 1 / np.sin(np.deg2rad(land.season.sun)))
    haze = np.float32(0.014 * (load - 1.1) * mass) * (WAVELENGTH / 0.55) ** -1.3
    path = _PATH * np.float32(0.55 + 0.3 * mass) + haze
    path[10] = _PATH[10]
    vapour = np.exp(rng.normal(0, 0.18))
    through = _THROUGH * np.exp(-0.9 * haze)
    through[9] = through[9] ** vapour
    return np.maximum(path, 0.0005).astype(np.float32), through.astype(np.float32)


def _clouds(top: np.ndarray, rng: np.random.Generator, fields: Fields) -> np.ndarray:
    """Thin cloud over part of the scene, and its shadow beside it."""
    density = np.clip(fields(fields.n / 8, 3.0) + 0.25 * fields(14, 3.2) - rng.uniform(0.9, 1.7), 0, None)
    thick = 1 - np.exp(-rng.uniform(0.15, 0.7) * density)
    dy, dx = rng.integers(14, 32), -rng.integers(10, 26)
    shadow = ndimage.gaussian_filter(np.roll(thick, (dy, dx), (0, 1)), 1.5)
    white = np.where(WAVELENGTH < 1.2, 0.62, 0.45).astype(np.float32)
    white[9:11] = 0.30, 0.03
    top = top * (1 - 0.45 * shadow)
    return top * (1 - thick) + white[:, None, None] * thick


def _sense(top: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur, sample on the native grid, add noise, repeat to 10 m, and count: (13, n, n) uint16."""
    n = top.shape[1]
    out = np.empty((13, n, n), dtype=np.uint16)
    for k, band in enumerate(S2):
        step = band.resolution // 10
        image = top[k] if step == 1 else top[k].reshape(n // step, step, n // step, step).mean((1, 3))
        image = ndimage.gaussian_filter(image, _PSF[band.resolution] if step == 1 else 0.4, truncate=3)
        image += np.float32(_NOISE[k]) * rng.standard_normal(image.shape, dtype=np.float32)
        count = np.clip(np.rint(image * 1e4), 1, 16000).astype(np.uint16)
        out[k] = count if step == 1 else count.repeat(step, 0).repeat(step, 1)
    return out
