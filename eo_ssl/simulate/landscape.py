"""A landscape: which class lies where, and everything below it that the two sensors can see."""

from dataclasses import dataclass, replace

import numpy as np

from eo_ssl.simulate.cover import (
    FOREST,
    URBAN,
    WATER,
    land_cover,
    scene_mix,
    stands,
    urban_mask,
    water_mask,
)
from eo_ssl.simulate.noise import Fields
from eo_ssl.simulate.parcels import Parcels, make_parcels
from eo_ssl.simulate.world import SceneSpec
from eo_ssl.simulate.regions import Season, season_of
from eo_ssl.simulate.terrain import Terrain, make_terrain
from eo_ssl.simulate.towns import Town, make_town


@dataclass(frozen=True)
class Landscape:
    """The ground truth of one scene, all maps (n, n).

    `cover` is the class, `mixed` the share of broadleaf trees where there are trees (0 to 1), `height` the
    height of trees and houses in metres, `rough` and `patchy` textures of about 20 and 70 m.
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
    rng = spec.rng(21)
    fields = Fields(rng, spec.padded)
    river = rng.uniform(0.5, 4.0 if region.climate == "arid" else 9.0) * (1.0 if rng.random() < 0.75 else 0.3)
    terrain = make_terrain(rng, fields, region.relief * np.exp(rng.normal(0, 0.3)), river)
    parcels = make_parcels(rng, fields, region.field * np.exp(rng.normal(0, 0.2)), rng.uniform(1.0, 3.5))
    mix = scene_mix(rng, spec)
    water = water_mask(rng, fields, terrain, mix[WATER], spec.theme == WATER and rng.random() < 0.6)
    level = ~water
    terrain = replace(terrain, east=terrain.east * level, south=terrain.south * level)
    urban, core = urban_mask(fields, terrain, parcels, water, mix[URBAN])
    cover = land_cover(rng, fields, terrain, parcels, water, mix)
    cover[urban] = URBAN
    cover[water] = WATER
    town = make_town(rng, fields, parcels, urban, core)
    rough, patchy = fields(1.5, 3.2), fields(7, 3.4)
    height = (np.where(cover == FOREST, 16 + 3 * patchy, 0) + 8 * town.roof).astype(np.float32)
    return Landscape(
        spec, season_of(region, spec.season), cover, terrain, parcels, town, stands(fields, parcels, spec),
        height, rough, patchy,
    )  # fmt: skip
