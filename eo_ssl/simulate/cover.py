"""Which class lies where: water, towns, and the rest of the land in the shares asked for."""

import numpy as np
from scipy import ndimage

from eo_ssl.simulate.noise import Fields
from eo_ssl.simulate.parcels import Parcels
from eo_ssl.simulate.world import SceneSpec
from eo_ssl.simulate.terrain import Terrain

FOREST, SHRUB, GRASS, WETLAND, CROP, URBAN, BARREN, WATER = range(8)
_LAND = (FOREST, SHRUB, GRASS, WETLAND, CROP, BARREN)

# What usually lies around a class: one row per theme, columns in the order of the classes.
_COMPANY = np.array([
    [0.76, 0.04, 0.07, 0.01, 0.07, 0.02, 0.01, 0.02],
    [0.09, 0.67, 0.13, 0.01, 0.03, 0.02, 0.04, 0.01],
    [0.09, 0.07, 0.64, 0.02, 0.12, 0.03, 0.01, 0.02],
    [0.09, 0.03, 0.11, 0.56, 0.05, 0.02, 0.01, 0.13],
    [0.06, 0.03, 0.10, 0.01, 0.73, 0.05, 0.01, 0.01],
    [0.07, 0.02, 0.12, 0.01, 0.12, 0.60, 0.03, 0.03],
    [0.02, 0.20, 0.08, 0.01, 0.03, 0.02, 0.60, 0.04],
    [0.09, 0.03, 0.07, 0.04, 0.07, 0.05, 0.03, 0.62],
])  # fmt: skip


def scene_mix(rng: np.random.Generator, spec: SceneSpec) -> np.ndarray:
    """Class shares of one scene, (8,): its theme and company, bent towards its region, with some luck."""
    region = np.array(spec.region.mix)
    mix = _COMPANY[spec.theme] ** 0.9 * (region / region.mean()) ** 0.3 * np.exp(rng.normal(0, 0.35, 8))
    return mix / mix.sum()


def water_mask(
    rng: np.random.Generator, fields: Fields, terrain: Terrain, share: float, coast: bool
) -> np.ndarray:
    """Rivers, and lakes (or a sea along one side, if `coast`) until the share of the scene is reached."""
    n = fields.n
    if coast:
        angle = rng.uniform(0, 2 * np.pi)
        ramp = np.linspace(-1, 1, n, dtype=np.float32)
        score = 2.2 * (np.cos(angle) * ramp[None, :] + np.sin(angle) * ramp[:, None]) + 0.5 * fields(70, 3.4)
    else:
        score = fields(64, 3.8) - 0.7 * terrain.elevation / terrain.elevation.std()
    water = terrain.bank < 0
    missing = share - water.mean()
    if missing > 0.002:
        water |= score > np.quantile(score[~water], 1 - missing / (1 - water.mean()))
    return water


def urban_mask(
    fields: Fields, terrain: Terrain, parcels: Parcels, water: np.ndarray, share: float
) -> tuple[np.ndarray, np.ndarray]:
    """Towns and villages on flat ground, near roads and rivers, and how central each pixel is (0 to 1)."""
    score = 0.8 * fields(22, 3.8) + 0.9 * fields(90, 3.6) - 6 * np.minimum(terrain.slope, 0.3)
    score += 0.5 * np.exp(-np.abs(terrain.bank) / 40)
    if parcels.road.any():
        score += 1.1 * np.exp(-ndimage.distance_transform_edt(~parcels.road) / 7.0)
    # Half of the outline follows property: whole parcels are built on, or not.
    score = (0.55 * score + 0.45 * parcels.mean(score)).astype(np.float32)
    threshold = np.quantile(score[~water], max(0.0, 1 - share / max(0.05, 1 - water.mean())))
    urban = (score > threshold) & ~water
    return urban, np.clip((score - threshold) / 1.6, 0, 1).astype(np.float32)


def land_cover(
    rng: np.random.Generator,
    fields: Fields,
    terrain: Terrain,
    parcels: Parcels,
    water: np.ndarray,
    mix: np.ndarray,
) -> np.ndarray:
    """Class codes of everything that is neither water nor town, (n, n) uint8, in the shares of `mix`.

    Crops and pastures take whole parcels; forest follows parcels where the land is farmed and its own
    outline elsewhere; shrub, wetland and bare ground follow the terrain.
    """
    steep = np.minimum(terrain.slope / 0.25, 2.0)
    shore = np.exp(-ndimage.distance_transform_edt(~water) / 14.0) * water.any()
    luck = rng.gumbel(0, 0.42, (3, parcels.count)).astype(np.float32)
    farm = fields(96, 3.4)
    forest = 0.9 * fields(80, 3.8) + 0.8 * steep + 0.15 * fields(9, 3.4)
    grass = 0.9 * fields(80, 3.8) + 0.2 * terrain.wetness
    crop = 0.9 * fields(80, 3.6) - 1.2 * steep + 0.3 * np.clip(farm, -2, 2)
    scores = np.stack([
        np.where(farm < -0.2, forest, parcels.mean(forest) + luck[0][parcels.label]),
        0.9 * fields(80, 3.8) + 0.4 * steep - 0.4 * terrain.wetness + 0.25 * fields(9, 3.2),
        parcels.mean(grass) + luck[1][parcels.label],
        0.6 * fields(18, 3.4) + 0.9 * terrain.wetness + 2.2 * shore - 0.8 * steep,
        parcels.mean(crop) + luck[2][parcels.label],
        0.9 * fields(80, 3.6) + 0.7 * steep + 0.2 * fields(9, 3.2) - 0.3 * terrain.wetness,
    ])  # fmt: skip
    bias = _quota(scores[:, ::4, ::4][:, ~water[::4, ::4]], mix[list(_LAND)] / mix[list(_LAND)].sum())
    return np.array(_LAND, dtype=np.uint8)[np.argmax(scores + bias[:, None, None], axis=0)]


def _quota(scores: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Offsets that make the largest of `scores` (K, P) fall on each of K classes as often as `target` says."""
    bias = np.zeros(len(target), dtype=np.float32)
    for step in np.linspace(0.8, 0.1, 18):
        winner = np.argmax(scores + bias[:, None], axis=0)
        share = np.bincount(winner, minlength=len(target)) / scores.shape[1]
        bias += (step * np.log((target + 0.003) / (share + 0.003))).astype(np.float32)
    return bias


def stands(fields: Fields, parcels: Parcels, spec: SceneSpec) -> np.ndarray:
    """Share of broadleaf trees, (n, n) in 0 to 1: planted stands differ from parcel to parcel, wild ones slowly."""
    planted = spec.luck(parcels.label, 61) - 0.5
    weight = 2.0 if spec.region.climate == "tropical" else 5.0
    logit = 1.6 * fields(25, 3.6) + weight * planted + 5.0 * (0.5 - spec.region.conifer)
    return (1 / (1 + np.exp(-logit))).astype(np.float32)
