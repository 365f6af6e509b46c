"""A landscape: which class lies where, and everything below it that the two sensors can see."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from scipy import ndimage

from eo_ssl.simulate import ground
from eo_ssl.simulate.ground import Fields, Parcels, Terrain, hash01
from eo_ssl.simulate.world import SceneSpec, Season, season_of

FOREST, SHRUB, GRASS, WETLAND, CROP, URBAN, BARREN, WATER = range(8)
_LAND = np.array([FOREST, SHRUB, GRASS, WETLAND, CROP, BARREN], dtype=np.uint8)

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


@dataclass(frozen=True)
class Town:
    """Towns, all maps (n, n): `roof` and `street` are fractions of the pixel (0 outside towns), the rest is garden."""

    roof: np.ndarray
    street: np.ndarray
    kind: np.ndarray  # material of the roof, in [0, 1)
    hall: np.ndarray  # large sheds


@dataclass(frozen=True)
class Landscape:
    """The ground truth of one scene, all maps (n, n)."""

    spec: SceneSpec
    season: Season
    cover: np.ndarray  # the class
    terrain: Terrain
    parcels: Parcels
    town: Town
    mixed: np.ndarray  # share of broadleaf among the trees
    height: np.ndarray  # of trees and houses, in metres
    rough: np.ndarray  # texture of about 20 m
    patchy: np.ndarray  # and of about 70 m


def make_landscape(spec: SceneSpec) -> Landscape:
    """Build the landscape of a scene from its own stream of random numbers."""
    region, rng = spec.region, spec.rng(21)
    fields = Fields(rng, spec.padded)
    river = rng.uniform(0.5, 4.0 if region.climate == "arid" else 9.0) * (1.0 if rng.random() < 0.75 else 0.3)
    terrain = ground.make_terrain(rng, fields, region.relief * np.exp(rng.normal(0, 0.3)), river)
    size, aspect = region.field * np.exp(rng.normal(0, 0.2)), rng.uniform(1.0, 3.5)
    parcels = ground.make_parcels(rng, fields, size, aspect)
    # Its theme and company, bent towards its region, with some luck: shares of the classes, (8,).
    mix = np.array(region.mix)
    mix = _COMPANY[spec.theme] ** 0.9 * (mix / mix.mean()) ** 0.3 * np.exp(rng.normal(0, 0.35, 8))
    mix /= mix.sum()
    water = water_mask(rng, fields, terrain, mix[WATER], spec.theme == WATER and rng.random() < 0.6)
    terrain = replace(terrain, east=terrain.east * ~water, south=terrain.south * ~water)
    urban, core = urban_mask(fields, terrain, parcels, water, mix[URBAN])
    cover = land_cover(rng, fields, terrain, parcels, water, mix)
    cover[urban], cover[water] = URBAN, WATER
    town = make_town(rng, fields, parcels, urban, core)
    rough, patchy = fields(1.5, 3.2), fields(7, 3.4)
    height = (np.where(cover == FOREST, 16 + 3 * patchy, 0) + 8 * town.roof).astype(np.float32)
    # Planted stands differ from parcel to parcel, wild ones slowly.
    planted = (2.0 if region.climate == "tropical" else 5.0) * (spec.luck(parcels.label, 61) - 0.5)
    logit = 1.6 * fields(25, 3.6) + planted + 5.0 * (0.5 - region.conifer)
    mixed = (1 / (1 + np.exp(-logit))).astype(np.float32)
    season = season_of(region, spec.season)
    return Landscape(spec, season, cover, terrain, parcels, town, mixed, height, rough, patchy)


def water_mask(rng: Generator, fields: Fields, terrain: Terrain, share: float, coast: bool) -> np.ndarray:
    """Rivers, and lakes (or a sea along one side, if `coast`) until the share of the scene is reached."""
    if coast:
        score = 2.2 * ground.incline(rng, fields.n) + 0.5 * fields(70, 3.4)
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
    rng: Generator, fields: Fields, terrain: Terrain, parcels: Parcels, water: np.ndarray, mix: np.ndarray
) -> np.ndarray:
    """Class codes of everything that is neither water nor town, (n, n) uint8, in the shares of `mix`.

    Crops and pastures take whole parcels, forest only where the land is farmed; the rest follows the terrain.
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
    bias = _quota(scores[:, ::4, ::4][:, ~water[::4, ::4]], mix[_LAND] / mix[_LAND].sum())
    return _LAND[np.argmax(scores + bias[:, None, None], axis=0)]


def _quota(scores: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Offsets that make the largest of `scores` (K, P) fall on each of K classes as often as `target` says."""
    bias = np.zeros(len(target), dtype=np.float32)
    for step in np.linspace(0.8, 0.1, 18):
        winner = np.argmax(scores + bias[:, None], axis=0)
        share = np.bincount(winner, minlength=len(target)) / scores.shape[1]
        bias += (step * np.log((target + 0.003) / (share + 0.003))).astype(np.float32)
    return bias


def make_town(rng: Generator, fields: Fields, parcels: Parcels, urban: np.ndarray, core: np.ndarray) -> Town:
    """Fill the mask `urban` with streets and buildings; `core` in 0 to 1 says how central a pixel is."""
    salt = int(rng.integers(1 << 30))
    bend = 3.0 * fields(60, 4.0)
    u, v = ground.turned(parcels.angle)
    u, v = u + bend, v - bend
    spacing = 6.0 + 7.0 * hash01(parcels.block, salt)
    a, b = np.floor(u / spacing), np.floor(v / (1.6 * spacing))
    street = (u - a * spacing < 0.9) | (v - b * 1.6 * spacing < 0.9)
    quarter = hash01(a, b, parcels.block, salt + 1)
    hall = urban & (quarter < 0.03 + 0.07 * core) & ~street
    park = (quarter > 0.90) & ~street
    house = hash01(np.floor(u / 2.2), np.floor(v / 1.9), salt + 2)
    density = 0.25 + 0.45 * core + 0.12 * hash01(parcels.block, salt + 3)
    roof = np.where(house < density, np.float32(0.75), np.float32(0.08))
    roof = np.where(hall, np.float32(0.9), np.where(street | park, np.float32(0.0), roof)) * urban
    paved = np.where(street, np.float32(0.6), np.float32(0.12) + np.float32(0.3) * core) * (1 - roof) * urban
    paved = np.where(park, np.float32(0.05), paved) * urban
    kind = np.where(hall, quarter * 8 % 1, hash01(np.floor(u / 2.2), np.floor(v / 1.9), salt + 4))
    return Town(*(a.astype(np.float32) for a in (roof, paved, kind)), hall)


def crop_stage(land: Landscape, parcel: np.ndarray) -> np.ndarray:
    """Green cover of a crop parcel, 0 (bare or harvested) to 1 (full canopy): one number per parcel."""
    early, sown = land.spec.luck(parcel, 4), land.spec.luck(parcel, 5)
    mean = land.season.crop * (0.7 + 0.4 * land.spec.region.vigour)
    # Winter and summer crops: a parcel is mostly either grown or bare.
    return np.clip(np.where(sown < mean, 0.55 + 0.45 * early, 0.45 * early**2), 0, 1).astype(np.float32)
