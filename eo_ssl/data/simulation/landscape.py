"""A landscape: which class lies where, and everything below it that the two sensors can see."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from eo_ssl.data.simulation.noise import Fields, generator
from eo_ssl.data.simulation.parcels import Parcels, make_parcels
from eo_ssl.data.simulation.plan import SceneSpec
from eo_ssl.data.simulation.regions import REGIONS, Season, season_of
from eo_ssl.data.simulation.terrain import Terrain, make_terrain
from eo_ssl.data.simulation.towns import Town, make_town

FOREST, SHRUB, GRASS, WETLAND, CROP, URBAN, BARREN, WATER = range(8)

# What usually lies around a class: one row per theme, columns in the order of the classes.
_COMPANY = np.array([
    [0.72, 0.05, 0.08, 0.01, 0.08, 0.02, 0.01, 0.03],
    [0.10, 0.62, 0.15, 0.01, 0.04, 0.02, 0.05, 0.01],
    [0.10, 0.08, 0.60, 0.02, 0.13, 0.04, 0.01, 0.02],
    [0.10, 0.03, 0.12, 0.50, 0.06, 0.02, 0.01, 0.16],
    [0.07, 0.03, 0.11, 0.01, 0.70, 0.05, 0.01, 0.02],
    [0.08, 0.02, 0.14, 0.01, 0.14, 0.53, 0.03, 0.05],
    [0.02, 0.22, 0.10, 0.01, 0.03, 0.02, 0.55, 0.05],
    [0.10, 0.03, 0.08, 0.05, 0.08, 0.05, 0.03, 0.58],
])  # fmt: skip


@dataclass(frozen=True)
class Landscape:
    """The ground truth of one scene, all maps (n, n).

    `cover` is the class, `mixed` the share of broadleaf trees where there are trees (0 to 1), `height` the
    height of trees and houses in metres, `rough` and `patchy` correlated textures at 15 and 60 m.
    """

    spec: SceneSpec
    season: Season
    cover: np.ndarray
    terrain: Terrain
    parcels: Parcels
    town: Town
    mixed: np.ndarray
    height: np.ndarray
    rough: np.ndarray
    patchy: np.ndarray


def make_landscape(spec: SceneSpec) -> Landscape:
    """Build the landscape of a scene from its own stream of random numbers."""
    region = spec.region
    rng = generator(spec.seed, 21, REGIONS.index(region), spec.number)
    fields = Fields(rng, spec.padded)
    arid = region.climate == "arid"
    river = rng.uniform(0.5, 4.0 if arid else 9.0) * (1.0 if rng.random() < 0.75 else 0.3)
    terrain = make_terrain(rng, fields, region.relief * np.exp(rng.normal(0, 0.3)), river)
    parcels = make_parcels(rng, fields, region.field * np.exp(rng.normal(0, 0.2)), rng.uniform(1.0, 3.5))
    mix = scene_mix(rng, spec)
    water = _water(rng, fields, terrain, mix[WATER], spec.theme == WATER)
    urban, core = _urban(fields, terrain, water, mix[URBAN])
    cover = _land(rng, fields, terrain, parcels, water, mix)
    cover[urban] = URBAN
    cover[water] = WATER
    town = make_town(rng, fields, parcels, urban, core)
    mixed = _sigmoid(2.5 * fields(14, 3.2) + 4.0 * (0.5 - region.conifer)) * (
        1 - 0.5 * (region.conifer > 0.6)
    )
    rough, patchy = fields(1.5, 3.0), fields(8, 3.0)
    height = np.where(cover == FOREST, 16 + 3 * patchy, 0) + 8 * town.roof
    return Landscape(
        spec,
        season_of(region, spec.season),
        cover,
        terrain,
        parcels,
        town,
        mixed,
        height.astype(np.float32),
        rough,
        patchy,
    )


def scene_mix(rng: np.random.Generator, spec: SceneSpec) -> np.ndarray:
    """Class shares of one scene: its theme and company, bent towards its region, with some luck."""
    region = np.array(spec.region.mix)
    mix = _COMPANY[spec.theme] ** 0.9 * (region / region.mean()) ** 0.3 * np.exp(rng.normal(0, 0.35, 8))
    return mix / mix.sum()


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return (1 / (1 + np.exp(-x))).astype(np.float32)


def _water(
    rng: np.random.Generator, fields: Fields, terrain: Terrain, share: float, theme: bool
) -> np.ndarray:
    """River pixels, and lakes or a sea until the share is reached."""
    n = fields.n
    ramp = np.linspace(-1, 1, n, dtype=np.float32)
    if theme and rng.random() < 0.6:
        angle = rng.uniform(0, 2 * np.pi)
        score = 2.2 * (np.cos(angle) * ramp[None, :] + np.sin(angle) * ramp[:, None]) + 0.6 * fields(
            n / 8, 2.8
        )
    else:
        score = fields(n / 9, 3.4) - 0.7 * terrain.elevation / terrain.elevation.std()
    water = terrain.bank < 0
    missing = share - water.mean()
    if missing > 0.002:
        water |= score > np.quantile(score[~water], 1 - missing / (1 - water.mean()))
    return water


def _urban(
    fields: Fields, terrain: Terrain, water: np.ndarray, share: float
) -> tuple[np.ndarray, np.ndarray]:
    """Mask of towns and villages, and how central each pixel is (0 to 1)."""
    score = 0.8 * fields(26, 3.2) + 0.9 * fields(90, 3.0) - 6 * np.minimum(terrain.slope, 0.3)
    score = score + 0.5 * np.exp(-np.abs(terrain.bank) / 40)
    threshold = np.quantile(score[~water], max(0.0, 1 - share / max(0.05, 1 - water.mean())))
    urban = (score > threshold) & ~water
    core = np.clip((score - threshold) / 1.6, 0, 1).astype(np.float32)
    return urban, core


def _land(
    rng: np.random.Generator,
    fields: Fields,
    terrain: Terrain,
    parcels: Parcels,
    water: np.ndarray,
    mix: np.ndarray,
) -> np.ndarray:
    """Forest, shrub, grass, wetland, crop and bare ground in the shares asked for.

    Crops and pastures take whole parcels; forest follows parcels where the land is farmed and its own
    outline elsewhere; shrub, wetland and bare ground follow the terrain.
    """
    n = fields.n
    steep = np.minimum(terrain.slope / 0.25, 2.0)
    shore = np.exp(-ndimage.distance_transform_edt(~water) / 14.0).astype(np.float32) if water.any() else 0.0
    luck = rng.gumbel(0, 0.42, (3, parcels.count)).astype(np.float32)
    size = np.bincount(parcels.label.ravel(), minlength=parcels.count)

    def by_parcel(score: np.ndarray, k: int) -> np.ndarray:
        mean = np.bincount(parcels.label.ravel(), score.ravel(), parcels.count) / size
        return (mean.astype(np.float32) + luck[k])[parcels.label]

    farm = fields(n / 6, 3.0)
    forest = 0.8 * fields(n / 10, 2.9) + 0.8 * steep + 0.25 * fields(10, 2.6)
    shrub = 0.8 * fields(n / 10, 2.9) + 0.4 * steep - 0.4 * terrain.wetness + 0.4 * fields(10, 2.4)
    wild = _sigmoid(2 * farm)
    scores = np.stack([
        np.where(farm < 0.6, forest, by_parcel(forest, 0)),
        shrub,
        by_parcel(0.8 * fields(n / 9, 2.9) + 0.2 * terrain.wetness, 1),
        0.6 * fields(18, 2.8) + 0.9 * terrain.wetness + 2.2 * shore - 0.8 * steep,
        by_parcel(0.8 * fields(n / 9, 2.9) - 1.2 * steep + 0.6 * wild, 2),
        0.8 * fields(n / 10, 2.7) + 0.7 * steep + 0.3 * fields(10, 2.4) - 0.3 * terrain.wetness,
    ])  # fmt: skip
    target = mix[[FOREST, SHRUB, GRASS, WETLAND, CROP, BARREN]]
    bias = _quota(scores[:, ::4, ::4][:, ~water[::4, ::4]], target / target.sum())
    codes = np.array([FOREST, SHRUB, GRASS, WETLAND, CROP, BARREN], dtype=np.uint8)
    return codes[np.argmax(scores + bias[:, None, None], axis=0)]


def _quota(scores: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Offsets per class that make the largest of `scores` (K, P) fall on each class as often as `target` says."""
    bias = np.zeros(len(target), dtype=np.float32)
    for step in np.linspace(0.8, 0.1, 18):
        share = (
            np.bincount(np.argmax(scores + bias[:, None], axis=0), minlength=len(target)) / scores.shape[1]
        )
        bias += (step * np.log((target + 0.003) / (share + 0.003))).astype(np.float32)
    return bias
