"""Sentinel-2 Level-1C: from materials to digital numbers, through light, air, optics and detector."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from threadpoolctl import threadpool_limits

from eo_ssl.sensors import AIR_PATH, AIR_THROUGH, S2
from eo_ssl.simulate.ground import Fields, generator
from eo_ssl.simulate.landscape import CROP, GRASS, URBAN, WATER, WETLAND, Landscape, crop_stage
from eo_ssl.simulate.world import REGIONS

# Order of the rows below.
CONIFER, BROADLEAF, GREEN, DRY, DARK, BRIGHT, SAND, ASPHALT, SHEET, TILE, CLEAR, TURBID = range(12)

# Typical values of public spectral libraries and of PROSAIL, moved within their spread until the classes of the
# simulated set had the level of the real ones in the appendix. B10 never reaches the ground.
SPECTRA = np.array([
    [.010, .012, .025, .013, .040, .150, .190, .200, .215, .215, 0, .080, .030],  # conifers
    [.012, .015, .036, .016, .064, .250, .335, .345, .365, .370, 0, .145, .050],  # broadleaf trees
    [.022, .028, .064, .034, .100, .310, .408, .415, .440, .445, 0, .200, .090],  # green grass and crops
    [.055, .070, .100, .138, .175, .213, .233, .248, .268, .278, 0, .350, .245],  # straw and dead leaves
    [.040, .050, .070, .090, .105, .118, .128, .138, .148, .155, 0, .190, .150],  # dark, wet soil
    [.080, .100, .145, .202, .228, .252, .267, .282, .297, .307, 0, .420, .350],  # bright, dry soil
    [.150, .195, .250, .300, .320, .340, .355, .365, .385, .395, 0, .465, .400],  # sand and light rock
    [.060, .070, .080, .085, .092, .097, .100, .103, .106, .108, 0, .125, .118],  # asphalt
    [.190, .225, .250, .270, .280, .290, .295, .300, .305, .310, 0, .320, .290],  # metal sheet and concrete
    [.050, .060, .085, .135, .160, .175, .185, .195, .205, .210, 0, .255, .230],  # tiles
    [.020, .025, .024, .014, .020, .019, .019, .018, .017, .014, 0, .008, .004],  # clear water, some glint
    [.045, .058, .085, .075, .078, .062, .063, .054, .050, .030, 0, .027, .016],  # turbid water
], dtype=np.float32)  # fmt: skip
WAVELENGTH = np.array([band.centre for band in S2], dtype=np.float32) / 1000  # micrometres
# Noise of the detector in reflectance (about the specified signal-to-noise ratios).
_NOISE = np.array(
    [.0012, .0012, .0011, .0011, .0012, .0013, .0014, .0014, .0014, .0014, .0003, .0012, .0011], dtype=np.float32
)  # fmt: skip
# Point spread in pixels of the band; the coarse ones are averaged before.
_BLUR = {10: 0.60, 20: 0.4, 60: 0.4}
# Relative texture of each class below the size of a parcel (crowns, tussocks, plough lines, waves), and spread between
# parcels.
_TEXTURE = np.array([0.11, 0.09, 0.035, 0.07, 0.03, 0.10, 0.06, 0.02], dtype=np.float32)
_SPREAD = np.array([0.10, 0.14, 0.12, 0.14, 0.13, 0.12, 0.16, 0.08], dtype=np.float32)
_CLOUDY = 0.12  # share of scenes with thin cloud


def optical(land: Landscape, drawn: dict[str, float] | None = None) -> np.ndarray:
    """The scene as Sentinel-2 would deliver it: (13, n, n) uint16 digital numbers on the 10 m grid.

    `drawn` receives what was drawn for the whole scene and only light sees: "haze", the log of the day's load over
    that of the region.
    """
    n, drawn = land.spec.padded, {} if drawn is None else drawn
    rng = land.spec.rng(23)
    fields = Fields(rng, n)
    # A matrix product on one thread rounds otherwise than on several: two, for the same bytes on any machine.
    with threadpool_limits(2, "blas"):
        surface = (_local_spectra(land, rng).T @ abundances(land)).reshape(13, n, n)  # (13, n, n)
    surface *= np.exp(_brightness(land, rng))
    # Cultivars, moisture and residues tilt a spectrum: relative change of reflectance per micrometre.
    tilt = (0.30 * tint(land) * (land.cover != WATER) + rng.normal(0, 0.05)).astype(np.float32)
    surface *= 1 + tilt * (WAVELENGTH[:, None, None] - 0.9)
    surface *= _light(land)
    path, through = _air(land, rng, drawn)
    top = surface * through[:, None, None] + path[:, None, None]
    if rng.random() < _CLOUDY:
        top = _clouds(land, top, rng, fields)
    return _sense(top, rng)


def _local_spectra(land: Landscape, rng: np.random.Generator) -> np.ndarray:
    """The spectra of the materials as they are in this region and scene: species, soils and leaves differ."""
    regional = generator(land.spec.seed, 24, REGIONS.index(land.spec.region))
    log = np.zeros_like(SPECTRA)
    for stream, level in ((regional, 0.12), (rng, 0.06)):
        knots, at = stream.normal(0, level, (SPECTRA.shape[0], 5)), (0.44, 0.66, 0.75, 1.0, 2.2)
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


def _light(land: Landscape) -> np.ndarray:
    """Direct and diffuse light on each slope relative to flat ground, and the shadows trees throw, (n, n)."""
    terrain, zenith = land.terrain, np.deg2rad(90 - land.season.sun)
    # Morning sun: from the south-east in the north, from the north-east in the south.
    azimuth = np.deg2rad(150 if land.spec.region.latitude > 0 else 40)
    # Rise towards the sun: a slope that climbs that way turns its face from it. North is minus south.
    towards = np.sin(azimuth) * terrain.east - np.cos(azimuth) * terrain.south
    incidence = (np.cos(zenith) - np.sin(zenith) * towards) / np.sqrt(1 + terrain.slope**2)
    direct = np.clip(incidence / np.cos(zenith), 0.05, 2.0)
    reach = np.clip(1.0 / np.tan(np.deg2rad(land.season.sun)) * 14 / 10, 0.3, 3.0)
    shift = (np.cos(azimuth) * reach, -np.sin(azimuth) * reach)
    crowns = ndimage.gaussian_filter(land.height, 0.6)
    thrown = ndimage.shift(crowns, shift, order=1, mode="nearest") - land.height
    shade = 0.45 * np.clip(thrown / 15, 0, 1)
    return ((0.22 + 0.78 * direct) * (1 - shade)).astype(np.float32)


def tint(land: Landscape) -> np.ndarray:
    """The colour of each parcel, −0.5 (bluer) to 0.5 (redder), (n, n): radar has no part in it."""
    return land.spec.luck(land.parcels.label, 33) - 0.5


def _air(land: Landscape, rng: np.random.Generator, drawn: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """Path reflectance and transmittance of each band, (13,): clear air plus haze, thicker for a low sun."""
    drawn["haze"] = rng.normal(0, 0.35)
    load = max(0.05, land.spec.region.haze * np.exp(drawn["haze"]))
    mass = 0.5 * (1 + 1 / np.sin(np.deg2rad(land.season.sun)))
    haze = np.float32(0.014 * (load - 1.1) * mass) * (WAVELENGTH / 0.55) ** -1.3
    path = AIR_PATH * np.float32(0.55 + 0.3 * mass) + haze
    path[10] = AIR_PATH[10]
    through = AIR_THROUGH * np.exp(-0.9 * haze)
    through[9] **= np.exp(rng.normal(0, 0.18))  # water vapour
    return np.maximum(path, 0.0005).astype(np.float32), through.astype(np.float32)


def _clouds(land: Landscape, top: np.ndarray, rng: np.random.Generator, fields: Fields) -> np.ndarray:
    """Thin cloud over part of the scene, and its shadow beside it, away from the morning sun."""
    density = np.clip(fields(fields.n / 8, 3.0) + 0.25 * fields(14, 3.2) - rng.uniform(0.9, 1.7), 0, None)
    thick = 1 - np.exp(-rng.uniform(0.15, 0.7) * density)
    dy, dx = rng.integers(14, 32), -rng.integers(10, 26)
    dy = -dy if land.spec.region.latitude > 0 else dy  # rows count southwards
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
        image = ndimage.gaussian_filter(image, _BLUR[band.resolution], truncate=3)
        image += _NOISE[k] * rng.standard_normal(image.shape, dtype=np.float32)
        count = np.clip(np.rint(image * 1e4), 1, 16000).astype(np.uint16)
        out[k] = count if step == 1 else count.repeat(step, 0).repeat(step, 1)
    return out


def abundances(land: Landscape) -> np.ndarray:
    """Share of each material in each pixel, (K, n·n); what is missing to one lies in the shade of trees."""
    spec, season = land.spec, land.season
    n = spec.padded
    rng = spec.rng(22)
    share = np.zeros((len(SPECTRA), n * n), dtype=np.float32)
    green = np.clip(season.green * (0.55 + 0.6 * spec.region.vigour) + rng.normal(0, 0.08), 0.05, 0.95)
    soil = 1 - spec.region.bright + 0.5 * (spec.region.moisture - 0.5)
    dark = np.clip(soil + rng.normal(0, 0.12), 0.05, 0.95)
    for cover, made_of in enumerate(_MADE_OF):
        where = np.flatnonzero(land.cover.ravel() == cover)
        if where.size:
            view = _View(land, where, np.float32(green), np.float32(dark), rng)
            for material, fraction in made_of(view).items():
                share[material, where] = fraction
    # Roads, tracks and seams replace part of the pixels below them; a road never crosses water in sight.
    dry = ~np.isin(land.cover, (WATER, URBAN, WETLAND))
    for mask, fraction, material in (
        (land.parcels.road, 0.55, ASPHALT),
        (land.parcels.track, 0.45, BRIGHT),
        (land.parcels.edge & (land.cover == CROP), 0.35, GREEN),
    ):
        where = np.flatnonzero((mask & dry).ravel())
        share[:, where] *= 1 - np.float32(fraction)
        share[material, where] += np.float32(fraction)
    return share


@dataclass
class _View:
    """The pixels of one class in one scene, and what decides their materials."""

    land: Landscape
    where: np.ndarray  # flat indices of the pixels
    green: np.float32
    dark: np.float32
    rng: np.random.Generator

    def __post_init__(self) -> None:
        self.season, self.region = self.land.season, self.land.spec.region
        self.rough, self.patchy = self.map(self.land.rough), self.map(self.land.patchy)
        self.parcel = self.map(self.land.parcels.label)

    def map(self, values: np.ndarray) -> np.ndarray:
        return values.ravel()[self.where]

    def luck(self, salt: int) -> np.ndarray:
        """A uniform number per parcel."""
        return self.land.spec.luck(self.parcel, salt)


Shares = dict[int, np.ndarray]  # of a pixel, by material


def _ground(fraction: np.ndarray, dark: np.ndarray | float) -> Shares:
    """Bare soil, from dark and wet to bright and dry."""
    dark = np.clip(np.asarray(dark, np.float32), 0, 1)
    return {DARK: fraction * dark, BRIGHT: fraction * (1 - dark)}


def _herbs(fraction: np.ndarray, green: np.ndarray | float) -> Shares:
    """Grass or crop, from green to dry."""
    green = np.asarray(green, np.float32)
    return {GREEN: fraction * green, DRY: fraction * (1 - green)}


def _forest(v: _View) -> Shares:
    closed = np.clip(1.0 + 0.04 * v.patchy + 0.04 * v.rough - 0.15 * (1 - v.region.vigour), 0.2, 1.0)
    broad = v.map(v.land.mixed)
    needles, leaves = closed * (1 - broad), closed * broad * v.season.leaf
    rest = 1 - needles - leaves
    # Bare branches and litter; what is missing to one lies in the shade of the trunks.
    litter = _herbs(0.32 * rest, 0.6 * v.green) | _ground(0.30 * rest, 0.9)
    return {CONIFER: needles, BROADLEAF: leaves, **litter}


def _shrub(v: _View) -> Shares:
    bush = np.clip(0.06 + 0.24 * v.region.vigour + 0.14 * v.patchy + 0.10 * v.rough, 0.05, 0.9)
    bare = np.clip(0.90 - 0.45 * v.region.vigour + 0.10 * v.patchy, 0.02, 0.9) * (1 - bush)
    grass = _herbs(1 - bush - bare, 0.45 * v.green)
    return {BROADLEAF: 0.6 * bush, CONIFER: 0.4 * bush, **_ground(bare, 0.35 * v.dark), **grass}


def _grass(v: _View) -> Shares:
    green = np.clip(v.green * (0.75 + 0.7 * v.luck(1)) + 0.08 * v.patchy + 0.03 * v.rough, 0.02, 1)
    bare = np.clip(0.22 - 0.2 * v.green + 0.2 * (v.luck(2) - 0.5) + 0.04 * v.patchy, 0, 0.7)
    tree = np.clip(0.25 * (v.luck(3) - 0.7) + 0.03 * v.rough, 0, 0.3)
    return {BROADLEAF: tree, **_ground(bare * (1 - tree), v.dark), **_herbs((1 - bare) * (1 - tree), green)}


def _wetland(v: _View) -> Shares:
    wet = np.clip(0.13 + 0.15 * v.patchy + 0.05 * v.rough + 0.1 * v.map(v.land.terrain.wetness), 0.0, 0.9)
    reed = np.clip(0.85 * v.green + 0.22 + 0.12 * v.patchy, 0.05, 0.9)
    bush = np.clip(0.10 * v.rough - 0.02, 0, 0.5) * (1 - wet)
    return {CLEAR: 0.5 * wet, DARK: 0.5 * wet, BROADLEAF: bush, **_herbs(1 - wet - bush, reed)}


def _crop(v: _View) -> Shares:
    stage = crop_stage(v.land, v.parcel)
    along = 0.05 * v.patchy + 0.03 * v.rough
    plant = np.clip(stage + along * (0.3 + stage), 0, 0.97)
    straw = (v.luck(6) < 0.35) * v.luck(7) * (1 - plant)
    ripe = (v.luck(8) < 0.25) & (stage > 0.5)
    green = np.where(ripe, 0.25 + 0.4 * v.luck(9), 0.85 + 0.15 * v.luck(9))
    soil = _ground(1 - plant - straw, v.dark + 0.5 * (v.luck(10) - 0.5) + 0.05 * v.patchy)
    return {GREEN: plant * green, DRY: plant * (1 - green) + straw, **soil}


def _urban(v: _View) -> Shares:
    town = v.land.town
    roof, street, kind = v.map(town.roof), v.map(town.street), v.map(town.kind)
    bright = np.clip(np.where(v.map(town.hall), 0.75, 0.15) * (0.4 + kind), 0, 1)
    garden = 1 - roof - street
    tree = np.clip(0.3 * v.region.vigour + 0.15 * v.patchy + 0.10 * v.rough, 0, 0.8)
    leaves, bare = garden * tree * (0.3 + 0.7 * v.season.leaf), garden * 0.25 * (1 - v.region.vigour)
    lawn = _herbs(np.maximum(garden - leaves - bare, 0), min(0.9, 0.25 + 0.7 * v.green))
    built = {SHEET: roof * bright, TILE: roof * (1 - bright), ASPHALT: street}
    return {**built, BROADLEAF: leaves, **_ground(bare, v.dark), **lawn}


def _barren(v: _View) -> Shares:
    kind = v.rng.uniform(0.5, 1.1)
    plants = np.clip(0.06 + 0.05 * v.patchy + 0.04 * v.rough, 0, 0.3)
    sand = np.clip(kind + 0.15 * v.patchy, 0, 1) * (1 - plants)
    return {SAND: sand, **_ground(1 - plants - sand, 0.25 * v.dark), **_herbs(plants, 0.3 * v.green)}


def _water(v: _View) -> Shares:
    base = np.clip(v.region.turbid + v.rng.normal(0, 0.15), 0, 1)
    shallow = np.exp(-np.abs(v.map(v.land.terrain.bank)) / 6.0) * 0.2
    turbid = np.clip(0.8 * base + 0.06 * v.patchy + shallow, 0, 1)
    return {TURBID: turbid, CLEAR: 1 - turbid}


_MADE_OF = (_forest, _shrub, _grass, _wetland, _crop, _urban, _barren, _water)  # in the order of the classes
