"""Which scenes a profile holds: region, season, size, and where its patches go on disk."""

from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np

from eo_ssl.simulate.noise import generator, hash01
from eo_ssl.simulate.regions import REGIONS, Region
from eo_ssl.errors import ConfigError

MARGIN = 24
SEASON_FOLDERS = ("ROIs2017_winter", "ROIs1158_spring", "ROIs1868_summer", "ROIs1970_fall")
SPLITS = ("pretrain", "train", "test")


@dataclass(frozen=True)
class Profile:
    """Patch edge in pixels; per split the number of scenes and the patches along each side of a scene.

    Patches of pretraining scenes overlap by half, as in SEN12MS; those of DFC2020 scenes only touch.
    """

    name: str
    patch: int
    scenes: tuple[int, int, int]
    grid: tuple[int, int, int]
    s1_dtype: str = "float32"

    def patches(self, split: str) -> int:
        """Number of patches of a split."""
        k = SPLITS.index(split)
        return self.scenes[k] * self.grid[k] ** 2


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("smoke", 64, (12, 12, 12), (3, 2, 2)),
        Profile("laptop", 128, (41, 38, 56), (7, 4, 4)),
        Profile("gpu", 256, (124, 62, 188), (9, 4, 4)),
        Profile("paper", 256, (12, 6, 7), (2, 2, 2), "float64"),
    )
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
        """Edge of the simulated square: scene plus margins, a multiple of 24 for the 20, 60 and 80 m grids."""
        return -(-(self.size + 2 * MARGIN) // 24) * 24

    def path(self, sensor: str, patch: int) -> str:
        """Path of one patch file below the root, in the naming of SEN12MS or DFC2020.

        SEN12MS: ROIs1158_spring/s1_8/ROIs1158_spring_s1_8_p100.tif. DFC2020: ROIs0000_test/s1_0/ROIs0000_test_s1_0_p17.tif
        and ROIs0000_validation/s1_validation/ROIs0000_validation_s1_0_p17.tif (the folder says "validation", the file "0").
        """
        if self.split == "pretrain":
            top, folder, tag = SEASON_FOLDERS[self.season], f"{sensor}_{self.number}", self.number
        elif self.split == "train":
            top, folder, tag = "ROIs0000_validation", f"{sensor}_validation", 0
        else:
            top, folder, tag = "ROIs0000_test", f"{sensor}_0", 0
        return f"{top}/{folder}/{top}_{sensor}_{tag}_p{self.first + patch}.tif"

    @property
    def sensors(self) -> tuple[str, ...]:
        """Kinds of file written per patch; only DFC2020 has the fine label map."""
        return ("s1", "s2", "lc") if self.split == "pretrain" else ("s1", "s2", "lc", "dfc")


def profile_named(name: str) -> Profile:
    """The profile of that name; raises `ConfigError` naming those that exist."""
    if name not in PROFILES:
        raise ConfigError(f"profile {name!r} does not exist; choose one of {', '.join(PROFILES)}")
    return PROFILES[name]


def plan(profile: str | Profile, seed: int) -> list[SceneSpec]:
    """All scenes of a profile (a name, or one of your own), in the order in which they are numbered.

    Regions take turns, so that a small profile still sees many of them; seasons go round within a region.
    The theme (the class a scene is rich in) is drawn systematically from the class shares of the region.
    """
    chosen = profile if isinstance(profile, Profile) else profile_named(profile)
    specs: list[SceneSpec] = []
    for k, split in enumerate(SPLITS):
        regions = [region for region in REGIONS if region.split == split]
        visits = [0] * len(regions)
        first = 0
        for number, r in enumerate(islice(cycle(range(len(regions))), chosen.scenes[k])):
            specs.append(_spec(chosen, k, seed, number, regions[r], visits[r], first))
            visits[r] += 1
            first += 0 if split == "pretrain" else chosen.grid[k] ** 2
    return specs


def _spec(
    chosen: Profile, k: int, seed: int, number: int, region: Region, visit: int, first: int
) -> SceneSpec:
    rng = generator(seed, 11, REGIONS.index(region))
    start, turn = rng.random(), rng.integers(len(region.seasons))
    season = "wsuf".index(region.seasons[(visit + turn) % len(region.seasons)])
    # Golden-ratio steps visit the cumulative shares evenly, whatever the number of scenes.
    point = (start + visit * 0.6180339887) % 1.0
    theme = int(np.searchsorted(np.cumsum(region.mix), point).clip(0, 7))
    # Scenes of one region stand on a 16 km lattice, jittered: near each other, never overlapping.
    lattice = np.array([visit % 4 - 1.5, visit // 4 - 1.5])
    east, north = lattice * 16_000 + generator(seed, 12, REGIONS.index(region), visit).uniform(-500, 500, 2)
    return SceneSpec(
        seed, SPLITS[k], number + 1 if k == 0 else number, region, season, theme, chosen.patch, chosen.grid[k],
        chosen.patch // 2 if k == 0 else chosen.patch,
        round((500_000 + east) / 10) * 10.0, round((region.north * 1000 + north) / 10) * 10.0,
        first, chosen.s1_dtype if k else "float32",
    )  # fmt: skip
