"""How much of each material lies in every pixel."""

import numpy as np

from eo_ssl.simulate.cover import BARREN, CROP, FOREST, GRASS, SHRUB, URBAN, WATER, WETLAND
from eo_ssl.simulate.landscape import Landscape
from eo_ssl.simulate.spectra import (
    ASPHALT,
    BRIGHT,
    BROADLEAF,
    CLEAR,
    CONIFER,
    DARK,
    DRY,
    GREEN,
    SAND,
    SHEET,
    SPECTRA,
    TILE,
    TURBID,
)  # fmt: skip


def abundances(land: Landscape) -> np.ndarray:
    """Share of each material in each pixel, (K, n·n), rows summing to one."""
    spec, season = land.spec, land.season
    n = spec.padded
    rng = spec.rng(22)
    share = np.zeros((len(SPECTRA), n * n), dtype=np.float32)
    green = np.clip(season.green * (0.55 + 0.6 * spec.region.vigour) + rng.normal(0, 0.08), 0.05, 0.95)
    dark = np.clip(
        1 - spec.region.bright + 0.5 * (spec.region.moisture - 0.5) + rng.normal(0, 0.12), 0.05, 0.95
    )
    for cover, fill in _FILL.items():
        where = np.flatnonzero(land.cover.ravel() == cover)
        if where.size:
            fill(_View(land, where, share, np.float32(green), np.float32(dark), rng))
    _roads(land, share)
    return share


class _View:
    """One class in one scene: the pixels, and shorthand to read maps and add materials there."""

    def __init__(
        self,
        land: Landscape,
        where: np.ndarray,
        share: np.ndarray,
        green: float,
        dark: float,
        rng: np.random.Generator,
    ):
        self.land, self.where, self.share, self.green, self.dark, self.rng = (
            land,
            where,
            share,
            green,
            dark,
            rng,
        )
        self.season, self.region = land.season, land.spec.region
        self.rough, self.patchy = self.map(land.rough), self.map(land.patchy)
        self.parcel = land.parcels.label.ravel()[where]

    def map(self, values: np.ndarray) -> np.ndarray:
        return values.ravel()[self.where]

    def luck(self, salt: int) -> np.ndarray:
        """A uniform number per parcel."""
        return self.land.spec.luck(self.parcel, salt)

    def set(self, material: int, fraction: np.ndarray) -> None:
        self.share[material, self.where] = fraction

    def ground(self, fraction: np.ndarray, dark: np.ndarray | float) -> None:
        """Bare soil, from dark and wet to bright and dry."""
        dark = np.clip(dark, 0, 1)
        self.set(DARK, fraction * dark)
        self.set(BRIGHT, fraction * (1 - dark))

    def herbs(self, fraction: np.ndarray, green: np.ndarray) -> None:
        """Grass or crop, from green to dry."""
        self.set(GREEN, fraction * green)
        self.set(DRY, fraction * (1 - green))


def _forest(v: _View) -> None:
    closed = np.clip(1.0 + 0.04 * v.patchy + 0.04 * v.rough - 0.15 * (1 - v.region.vigour), 0.2, 1.0)
    broad = v.map(v.land.mixed)
    leaf = v.season.leaf
    v.set(CONIFER, closed * (1 - broad))
    v.set(BROADLEAF, closed * broad * leaf)
    rest = 1 - closed * (1 - broad) - closed * broad * leaf
    # Bare branches and litter, a quarter of it in the shade of the trunks.
    v.herbs(0.32 * rest, np.full_like(rest, 0.6 * v.green))
    v.ground(0.30 * rest, np.full_like(rest, 0.9))


def _shrub(v: _View) -> None:
    bush = np.clip(0.06 + 0.24 * v.region.vigour + 0.14 * v.patchy + 0.10 * v.rough, 0.05, 0.9)
    bare = np.clip(0.90 - 0.45 * v.region.vigour + 0.10 * v.patchy, 0.02, 0.9) * (1 - bush)
    v.set(BROADLEAF, 0.6 * bush)
    v.set(CONIFER, 0.4 * bush)
    v.ground(bare, np.full_like(bush, 0.35 * v.dark))
    v.herbs(1 - bush - bare, np.full_like(bush, 0.45 * v.green))


def _grass(v: _View) -> None:
    green = np.clip(v.green * (0.75 + 0.7 * v.luck(1)) + 0.08 * v.patchy + 0.03 * v.rough, 0.02, 1)
    bare = np.clip(0.22 - 0.2 * v.green + 0.2 * (v.luck(2) - 0.5) + 0.04 * v.patchy, 0, 0.7)
    tree = np.clip(0.25 * (v.luck(3) - 0.7) + 0.03 * v.rough, 0, 0.3)
    v.ground(bare * (1 - tree), np.full_like(green, v.dark))
    v.set(BROADLEAF, tree)
    v.herbs((1 - bare) * (1 - tree), green)


def _wetland(v: _View) -> None:
    wet = np.clip(0.13 + 0.15 * v.patchy + 0.05 * v.rough + 0.1 * v.map(v.land.terrain.wetness), 0.0, 0.9)
    reed = np.clip(0.85 * v.green + 0.22 + 0.12 * v.patchy, 0.05, 0.9)
    bush = np.clip(0.10 * v.rough - 0.02, 0, 0.5) * (1 - wet)
    v.set(CLEAR, 0.5 * wet)
    v.set(DARK, 0.5 * wet)
    v.set(BROADLEAF, bush)
    v.herbs(1 - wet - bush, reed)


def crop_stage(land: Landscape, parcel: np.ndarray) -> np.ndarray:
    """Green cover of a crop parcel, 0 (bare or harvested) to 1 (full canopy): one number per parcel."""
    early, sown = land.spec.luck(parcel, 4), land.spec.luck(parcel, 5)
    mean = land.season.crop * (0.7 + 0.4 * land.spec.region.vigour)
    # Winter and summer crops: a parcel is mostly either grown or bare.
    return np.clip(np.where(sown < mean, 0.55 + 0.45 * early, 0.45 * early**2), 0, 1).astype(np.float32)


def _crop(v: _View) -> None:
    stage = crop_stage(v.land, v.parcel)
    along = 0.05 * v.patchy + 0.03 * v.rough
    plant = np.clip(stage + along * (0.3 + stage), 0, 0.97)
    straw = (v.luck(6) < 0.35) * v.luck(7) * (1 - plant)
    ripe = (v.luck(8) < 0.25) & (stage > 0.5)
    green = np.where(ripe, 0.25 + 0.4 * v.luck(9), 0.85 + 0.15 * v.luck(9))
    v.ground(1 - plant - straw, v.dark + 0.5 * (v.luck(10) - 0.5) + 0.05 * v.patchy)
    v.set(GREEN, plant * green)
    v.set(DRY, plant * (1 - green) + straw)


def _urban(v: _View) -> None:
    town = v.land.town
    roof, street, kind = v.map(town.roof), v.map(town.street), v.map(town.kind)
    bright = np.where(v.map(town.hall), 0.75, 0.15) * (0.4 + kind)
    v.set(SHEET, roof * np.clip(bright, 0, 1))
    v.set(TILE, roof * (1 - np.clip(bright, 0, 1)))
    v.set(ASPHALT, street)
    garden = 1 - roof - street
    tree = np.clip(0.3 * v.region.vigour + 0.15 * v.patchy + 0.10 * v.rough, 0, 0.8)
    v.set(BROADLEAF, garden * tree * (0.3 + 0.7 * v.season.leaf))
    v.ground(garden * 0.25 * (1 - v.region.vigour), np.full_like(garden, v.dark))
    rest = garden - garden * tree * (0.3 + 0.7 * v.season.leaf) - garden * 0.25 * (1 - v.region.vigour)
    v.herbs(np.maximum(rest, 0), np.full_like(garden, min(0.9, 0.25 + 0.7 * v.green)))


def _barren(v: _View) -> None:
    kind = v.rng.uniform(0.5, 1.1)
    plants = np.clip(0.06 + 0.05 * v.patchy + 0.04 * v.rough, 0, 0.3)
    sand = np.clip(kind + 0.15 * v.patchy, 0, 1) * (1 - plants)
    v.set(SAND, sand)
    v.ground(1 - plants - sand, np.full_like(sand, 0.25 * v.dark))
    v.herbs(plants, np.full_like(sand, 0.3 * v.green))


def _water(v: _View) -> None:
    base = np.clip(v.region.turbid + v.rng.normal(0, 0.15), 0, 1)
    shallow = np.exp(-np.abs(v.map(v.land.terrain.bank)) / 6.0) * 0.2
    turbid = np.clip(0.8 * base + 0.06 * v.patchy + shallow, 0, 1)
    v.set(TURBID, turbid)
    v.set(CLEAR, 1 - turbid)


def _roads(land: Landscape, share: np.ndarray) -> None:
    """Replace part of the pixels under roads, tracks and seams; a road never crosses water in sight."""
    dry = (land.cover != WATER) & (land.cover != URBAN)
    for mask, fraction, material in (
        (land.parcels.road, 0.55, ASPHALT),
        (land.parcels.track, 0.45, BRIGHT),
        (land.parcels.edge & (land.cover == CROP), 0.35, GREEN),
    ):
        where = np.flatnonzero((mask & dry & (land.cover != WETLAND)).ravel())
        share[:, where] *= 1 - np.float32(fraction)
        share[material, where] += np.float32(fraction)


_FILL = {
    FOREST: _forest, SHRUB: _shrub, GRASS: _grass, WETLAND: _wetland, CROP: _crop, URBAN: _urban, BARREN: _barren,
    WATER: _water,
}  # fmt: skip
