"""The world of the simulated set: its regions and seasons, and which scenes a profile holds."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from eo_ssl.errors import ConfigError
from eo_ssl.simulate.ground import generator, hash01


@dataclass(frozen=True)
class Region:
    """One region; the fields after `mix`, the shares of the eight classes, make it look unlike the others.

    `field` is the edge of a typical parcel in pixels, `relief` the standard deviation of the terrain in metres,
    `haze` an aerosol load (1.1: as clear as usual), `sigma` an offset of the backscatter of land in dB; `moisture`,
    `vigour`, `conifer`, `bright` (soil) and `turbid` (water) lie in 0 to 1.
    """

    name: str
    split: str
    climate: str
    epsg: int
    north: float
    latitude: float
    seasons: str
    mix: tuple[float, ...]
    field: float
    relief: float
    moisture: float
    haze: float
    vigour: float
    conifer: float
    bright: float
    turbid: float
    sigma: float


def _region(line: str) -> Region:
    name, split, climate, epsg, north, latitude, seasons, mix, *rest = line.split()
    parts = np.array(mix.split("/"), dtype=float)
    shares = tuple((parts / parts.sum()).tolist())
    return Region(
        name, split, climate, int(epsg), float(north), float(latitude), seasons, shares, *map(float, rest)
    )


# name, split, climate, UTM zone, northing (km), latitude, seasons (winter, spring, summer, fall of the northern year),
# class shares, then field, relief, moisture, haze, vigour, conifer, bright, turbid, sigma.
_TABLE = """
Alpine     pretrain temperate  32632 5230  47 wsuf 36/4/22/2/18/8/4/6    22 240 .60 0.8 .85 .60 .45 .20  0.3
Boreal     pretrain boreal     32635 6810  61 suf  46/8/8/12/8/3/2/13    24  50 .70 0.6 .70 .75 .30 .10  0.0
Iberia     pretrain mediterran 32629 4300  39 wsuf 20/20/16/1/24/8/7/4   26  90 .25 1.0 .60 .35 .70 .30 -0.3
Sahel      pretrain monsoon    32631 1500  13 wsuf 6/26/24/3/24/4/11/2   14  25 .20 1.8 .45 .00 .75 .60 -0.8
Amazonia   pretrain tropical   32721 9650  -3 suf  50/4/14/10/8/3/1/10   40  25 .85 1.5 .95 .00 .35 .75  0.4
Corn       pretrain temperate  32615 4650  42 wsuf 10/3/14/3/48/10/2/10  48  14 .60 1.0 .85 .15 .25 .40  0.0
Punjab     pretrain monsoon    32643 3430  31 wsuf 3/6/8/4/58/13/4/4     10   6 .45 2.4 .65 .05 .55 .65 -0.2
Outback    pretrain arid       32753 7400 -23 wuf  3/34/22/1/6/2/28/4    40  40 .10 0.8 .30 .00 .95 .40 -1.0
Pampas     pretrain temperate  32721 6200 -34 wsuf 5/4/38/10/27/5/1/10   44   8 .60 0.8 .75 .10 .40 .55 -0.1
Honshu     pretrain temperate  32654 3950  36 wsuf 34/3/8/3/20/20/2/10   10 160 .70 1.2 .80 .50 .35 .25  0.4
Delta      pretrain tropical   32648 1150  10 wsuf 8/4/8/20/34/10/1/15    9   3 .85 1.8 .85 .00 .30 .85  0.2
Atlas      pretrain arid       32630 3600  32 wsf  5/26/18/1/14/6/26/4   16 220 .15 1.1 .40 .30 .80 .50 -0.6
Baltic     train    temperate  32634 6050  54 suf  20/3/14/20/15/4/1/26  20  20 .65 0.8 .80 .60 .40 .25  0.0
Hebei      train    temperate  32650 4330  39 suf  6/6/10/6/32/16/4/20   12  12 .45 2.0 .65 .20 .60 .60 -0.2
Florida    train    tropical   32617 2900  26 wsf  10/6/14/34/6/8/1/21   22   3 .80 1.0 .80 .35 .35 .30  0.2
Karoo      train    arid       32734 6300 -33 wsu  4/26/20/4/10/4/16/16  34 120 .15 0.7 .40 .10 .80 .30 -0.7
Caspian    train    mediterran 32639 4150  37 wsf  9/8/12/16/16/6/6/30   12  60 .45 1.4 .65 .10 .55 .55  0.1
Tasman     train    temperate  32755 5350 -42 wsf  16/6/18/14/8/4/2/32   28  80 .70 0.6 .85 .25 .40 .20  0.2
Amur       test     boreal     32653 5360  48 uf   34/6/10/5/14/8/2/26   30  60 .70 1.3 .75 .35 .35 .45  0.3
Rhine      test     temperate  32631 5700  51 su   24/3/8/2/34/16/1/18  22  70 .60 1.0 .80 .40 .40 .35  0.1
Mexico     test     monsoon    32614 2150  19 wf   26/14/8/2/20/18/5/8  12 200 .30 1.6 .55 .45 .65 .55 -0.4
Coral      test     tropical   32756 6990 -27 wf   32/6/7/6/6/12/2/38    26  45 .65 0.9 .75 .00 .45 .35  0.0
Konkan     test     monsoon    32643 2110  19 wf   22/8/7/6/24/14/2/26   9  90 .55 2.1 .70 .00 .50 .80  0.3
Aegean     test     mediterran 32635 4200  38 su   18/16/8/1/20/8/9/26  13 150 .20 1.2 .55 .45 .70 .15 -0.5
Volga      test     temperate  32638 5400  49 suf  14/7/14/4/34/6/6/22   46  20 .35 1.2 .60 .25 .60 .50 -0.3
"""

REGIONS: tuple[Region, ...] = tuple(_region(line) for line in _TABLE.strip().splitlines())

# Winter to fall of the local year: greenness of grass, leaves on deciduous trees, crop cover.
_SEASONS = {
    "temperate": ((0.45, 0.80, 0.70, 0.55), (0.15, 0.65, 1.00, 0.65), (0.30, 0.65, 0.60, 0.30)),
    "boreal": ((0.20, 0.45, 0.80, 0.45), (0.10, 0.40, 1.00, 0.45), (0.15, 0.40, 0.75, 0.25)),
    "mediterran": ((0.60, 0.75, 0.25, 0.35), (0.75, 0.90, 0.90, 0.85), (0.50, 0.75, 0.30, 0.25)),
    "arid": ((0.30, 0.35, 0.25, 0.25), (0.70, 0.80, 0.75, 0.70), (0.45, 0.55, 0.45, 0.35)),
    "tropical": ((0.70, 0.75, 0.85, 0.85), (1.00, 1.00, 1.00, 1.00), (0.50, 0.55, 0.65, 0.65)),
    "monsoon": ((0.45, 0.25, 0.70, 0.80), (0.70, 0.55, 1.00, 1.00), (0.60, 0.30, 0.55, 0.75)),
}


@dataclass(frozen=True)
class Season:
    """Greenness of grass, leaf-on share of deciduous trees, mean crop cover (0 to 1), sun elevation in degrees."""

    green: float
    leaf: float
    crop: float
    sun: float


def season_of(region: Region, season: int) -> Season:
    """The state of a region in a season of the northern year (0 winter … 3 fall); the south is half a year off."""
    local = (season + 2 * (region.latitude < 0)) % 4
    declination = (-18.0, 12.0, 18.0, -8.0)[season]
    # Sentinel-2 passes at about 10:30 local time, some way from culmination.
    sun = max(18.0, 0.93 * (90.0 - abs(region.latitude - declination)) - 3.0)
    return Season(*(values[local] for values in _SEASONS[region.climate]), sun)


MARGIN = 16
HELD_OUT = (
    9000  # number of the first scene held out of pretraining: the same places whatever the number of others
)
SEASON_FOLDERS = ("ROIs2017_winter", "ROIs1158_spring", "ROIs1868_summer", "ROIs1970_fall")
SPLITS = ("pretrain", "train", "test")


@dataclass(frozen=True)
class Profile:
    """Patch edge in pixels; per split the number of scenes and the patches along each side of a scene.

    A network can learn the air and the soil of a scene instead of its layout, so that pretraining wants many small
    scenes. `held_out`, scenes and patches a side, are few and large: there the right partner has to be told from
    neighbours that share its air and soil.
    """

    name: str
    patch: int
    scenes: tuple[int, int, int]
    grid: tuple[int, int, int]
    held_out: tuple[int, int] = (0, 0)
    s1_dtype: str = "float32"

    def patches(self, split: str) -> int:
        """Number of patches of a split; those of "pretrain" count the held-out ones."""
        k = SPLITS.index(split)
        return self.scenes[k] * self.grid[k] ** 2 + (k == 0) * self.held_out[0] * self.held_out[1] ** 2


PROFILES = {
    "smoke": Profile("smoke", 64, (12, 12, 12), (3, 2, 2), (1, 3)),
    "laptop": Profile("laptop", 128, (192, 38, 56), (3, 4, 4), (4, 7)),
    "many": Profile(
        "many", 128, (768, 0, 0), (3, 4, 4), (4, 7)
    ),  # places for the encoders released with the course
    "gpu": Profile("gpu", 256, (408, 62, 188), (5, 4, 4), (4, 7)),
    "paper": Profile("paper", 256, (12, 6, 7), (2, 2, 2), (1, 2), "float64"),
}


@dataclass(frozen=True)
class SceneSpec:
    """Everything that decides one scene: the same spec and seed give the same bytes."""

    seed: int
    split: str
    number: int
    region: Region
    season: int
    theme: int
    patch: int
    grid: int
    stride: int
    easting: float
    northing: float
    first: int
    s1_dtype: str = "float32"
    held_out: bool = False

    @property
    def code(self) -> int:
        """A number of its own for every scene of a data set."""
        return 10_000 * REGIONS.index(self.region) + self.number

    def rng(self, stream: int) -> np.random.Generator:
        """A stream of random numbers of this scene; each part of the simulator has its own."""
        return generator(self.seed, stream, self.code)

    def luck(self, *keys: np.ndarray | int) -> np.ndarray:
        """A uniform number in [0, 1) for each tuple of keys (a parcel, a block), the same wherever it is asked for."""
        return hash01(*keys, self.code, self.seed)

    @property
    def size(self) -> int:
        """Edge of the scene in pixels."""
        return self.stride * (self.grid - 1) + self.patch

    @property
    def padded(self) -> int:
        """Edge of the simulated square: scene plus margins, a multiple of 24 for the 20, 60 and 80 m grids, and of
        48 for a fast Fourier transform."""
        return -(-(self.size + 2 * MARGIN) // 48) * 48

    def path(self, sensor: str, patch: int) -> str:
        """Path of one patch file below the root, in the naming of SEN12MS or DFC2020.

        ROIs1158_spring/s1_8/ROIs1158_spring_s1_8_p100.tif, ROIs0000_test/s1_0/ROIs0000_test_s1_0_p17.tif and
        ROIs0000_validation/s1_validation/ROIs0000_validation_s1_0_p17.tif, where the file says 0.
        """
        top, folder, tag = {
            "pretrain": (SEASON_FOLDERS[self.season], self.number, self.number),
            "train": ("ROIs0000_validation", "validation", 0),
            "test": ("ROIs0000_test", 0, 0),
        }[self.split]
        return f"{top}/{sensor}_{folder}/{top}_{sensor}_{tag}_p{self.first + patch}.tif"

    @property
    def sensors(self) -> tuple[str, ...]:
        """Kinds of file written per patch; only DFC2020 has the fine label map."""
        return ("s1", "s2", "lc") if self.split == "pretrain" else ("s1", "s2", "lc", "dfc")

    def paths(self) -> Iterator[str]:
        """Paths of all files of the scene below the root."""
        return (self.path(sensor, patch) for sensor in self.sensors for patch in range(self.grid**2))


def profile_named(name: str) -> Profile:
    """The profile of that name; raises `ConfigError` where there is none."""
    if name not in PROFILES:
        raise ConfigError(f"profile {name!r} does not exist; choose one of {', '.join(PROFILES)}")
    return PROFILES[name]


def plan(profile: str | Profile, seed: int) -> list[SceneSpec]:
    """All scenes of a profile (a name, or one of your own) by number; those held out of pretraining count from 9000.

    Regions take turns, seasons go round within a region, and the theme (the class a scene is rich in) is drawn
    systematically from the class shares of the region.
    """
    chosen = profile if isinstance(profile, Profile) else profile_named(profile)
    numbers = [list(range(scenes)) for scenes in chosen.scenes]
    numbers[0] += range(HELD_OUT, HELD_OUT + chosen.held_out[0])
    return [_spec(chosen, k, seed, number) for k in range(3) for number in numbers[k]]


def _spec(chosen: Profile, k: int, seed: int, number: int) -> SceneSpec:
    """Scene `number` (from 0) of split `k`."""
    regions = [region for region in REGIONS if region.split == SPLITS[k]]
    visit, turn = divmod(number, len(regions))
    region, place = regions[turn], REGIONS.index(regions[turn])
    rng = generator(seed, 11, place)
    start, first_season = rng.random(), rng.integers(len(region.seasons))
    season = "wsuf".index(region.seasons[(visit + first_season) % len(region.seasons)])
    # Golden-ratio steps visit the cumulative shares evenly, whatever the number of scenes.
    point = (start + visit * 0.6180339887) % 1.0
    theme = int(np.searchsorted(np.cumsum(region.mix), point).clip(0, 7))
    held_out = number >= HELD_OUT
    # Scenes of one region stand on a 16 km lattice, jittered: near each other, never overlapping.
    lattice = np.array([3.5, (number - HELD_OUT) // 12] if held_out else [visit % 4 - 1.5, visit // 4 - 1.5])
    east, north = lattice * 16_000 + generator(seed, 12, place, visit).uniform(-500, 500, 2)
    easting, northing = round((500_000 + east) / 10) * 10.0, round((region.north * 1000 + north) / 10) * 10.0
    # Patches of pretraining scenes overlap by half, as in SEN12MS; those of DFC2020 scenes only touch.
    patch, overlaps = chosen.patch, SPLITS[k] == "pretrain"
    grid = chosen.held_out[1] if held_out else chosen.grid[k]
    return SceneSpec(
        seed, SPLITS[k], number + overlaps, region, season, theme, patch, grid,
        stride=patch // 2 if overlaps else patch, easting=easting, northing=northing,
        first=0 if overlaps else number * grid**2, s1_dtype="float32" if overlaps else chosen.s1_dtype,
        held_out=held_out,
    )  # fmt: skip
