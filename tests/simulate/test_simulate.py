"""The simulated set on disk: names, formats, geography, labels; the same bytes however it was made."""

import json
import random
import re
import time
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import forked
import numpy as np
import pytest
import rasterio
from threadpoolctl import threadpool_limits

import eo_ssl.simulate as module
from eo_ssl.errors import ConfigError, DataError
from eo_ssl.files import sha256
from eo_ssl.sensors import DFC10_TO_EIGHT, IGBP_TO_EIGHT, IGNORE
from eo_ssl.simulate import encoded, render, simulate
from eo_ssl.simulate.labels import DFC_CODE
from eo_ssl.simulate.world import PROFILES, REGIONS, SPLITS, plan

SEN12MS = r"(ROIs(?:1158_spring|1868_summer|1970_fall|2017_winter))/(s1|s2|lc)_(\d+)/\1_\2_\3_p\d+\.tif"
DFC2020 = (
    r"ROIs0000_(?:validation/(\w+)_validation|test/(\w+)_0)/ROIs0000_(?:validation_\1|test_\2)_0_p\d+\.tif"
)
FORMAT = {"s1": (2, "float32"), "s2": (13, "uint16"), "lc": (4, "uint8"), "dfc": (1, "uint8")}


def digest(root: Path, names: str = "*") -> dict[str, str]:
    """SHA-256 of the files below `root`, hidden ones too, by relative path."""
    return {p.relative_to(root).as_posix(): sha256(p) for p in root.rglob(names) if p.is_file()}


@pytest.fixture(scope="module")
def written(simulated) -> dict[str, str]:
    """Digests of all that the simulator wrote; other tests have packed the set since."""
    return {path: one for path, one in digest(simulated).items() if not path.startswith(".store/")}


@pytest.fixture(scope="module")
def world(simulated) -> dict[str, dict[str, tuple[np.ndarray, rasterio.DatasetReader]]]:
    """By sensor and path of the optical file of a patch: the pixels of the file, and the closed file for its facts."""
    found = defaultdict(dict)
    for path in sorted(simulated.rglob("*.tif")):
        name = path.relative_to(simulated).as_posix()
        assert re.fullmatch(SEN12MS, name) or re.fullmatch(DFC2020, name)
        sensor = re.search("/(s1|s2|lc|dfc)_", name)[1]
        with rasterio.open(path) as file:
            optical = name.replace(f"/{sensor}_", "/s2_").replace(f"_{sensor}_", "_s2_")
            found[sensor][optical] = file.read(), file
            assert (file.count, file.dtypes[0], file.width, file.height) == (*FORMAT[sensor], 64, 64)
            assert 32601 <= file.crs.to_epsg() <= 32760 and file.res == (10.0, 10.0)
            assert file.compression.value == "DEFLATE"
    return found


def test_every_patch_has_all_its_partners_on_the_same_ground(simulated, world):
    counts = json.loads((simulated / "dataset.json").read_text())["counts"]
    assert counts == {split: PROFILES["smoke"].patches(split) for split in SPLITS}
    assert len(world["s2"]) == sum(counts.values())
    labelled = {name for name in world["s2"] if "ROIs0000" in name}
    assert world["s1"].keys() == world["lc"].keys() == world["s2"].keys() and world["dfc"].keys() == labelled
    for name, (_, file) in ((name, found) for sensor in world.values() for name, found in sensor.items()):
        optical = world["s2"][name][1]
        assert (file.crs, file.transform) == (optical.crs, optical.transform)


def test_values_are_physical_and_codes_inside_their_legends(world):
    db, counts, (igbp, *lccs) = (np.stack([x for x, _ in world[k].values()], 1) for k in ("s1", "s2", "lc"))
    assert db.min() > -45 and db.max() < 30 and np.isfinite(db).all()
    assert counts.min() >= 1 and counts.max() <= 16000
    assert igbp.min() >= 1 and igbp.max() <= 17 and all(x.max() <= n for x, n in zip(lccs, (43, 40, 50)))
    for split in ("validation", "test"):
        seen = {c for name, (image, _) in world["dfc"].items() if split in name for c in np.unique(image)}
        assert seen == set(DFC_CODE)


def test_neighbours_in_pretraining_scenes_share_half_their_pixels_and_labelled_ones_none(world):
    scene = next(s for s in plan("smoke", 0) if s.split == "pretrain")
    for sensor in ("s1", "s2", "lc"):
        a, right, below = (world[sensor][scene.path("s2", k)] for k in (0, 1, scene.grid))
        assert np.array_equal(a[0][:, :, 32:], right[0][:, :, :32])
        assert np.array_equal(a[0][:, 32:], below[0][:, :32])
        assert (right[1].bounds.left - a[1].bounds.left, right[1].bounds.top) == (320, a[1].bounds.top)
    corners = [(file.crs, file.bounds.left, file.bounds.top) for _, file in world["dfc"].values()]
    for (zone, x, y), (other, u, v) in combinations(corners, 2):
        assert zone != other or max(abs(x - u), abs(y - v)) >= 640


def test_coarse_labels_agree_with_the_fine_ones_often_and_twenty_metre_bands_come_in_blocks(world):
    fine = np.stack([DFC10_TO_EIGHT[image[0]] for image, _ in world["dfc"].values()])
    coarse = np.stack([IGBP_TO_EIGHT[world["lc"][name][0][0]] for name in world["dfc"]])
    assert 0.45 < (fine == coarse)[coarse != IGNORE].mean() < 0.85
    counts = next(iter(world["s2"].values()))[0].astype(int)
    step = np.abs(np.diff(counts, axis=2))  # (13, H, W - 1)
    same = (step[11] == 0).mean(axis=0)  # B11: every second step stays inside a 20 m pixel
    assert max(same[0::2].min(), same[1::2].min()) == 1.0
    assert (step[1] == 0).mean() < 0.5  # B02 has its own value in every pixel


@pytest.mark.parametrize("profile", PROFILES)
def test_scenes_never_share_ground_nor_splits_regions_nor_patches_paths(profile):
    for a, b in combinations(REGIONS, 2):
        assert a.name != b.name and (a.epsg != b.epsg or abs(a.north - b.north) > 500)
    scenes, used = plan(profile, 0), defaultdict(set)
    for a, b in combinations(scenes, 2):
        apart = max(abs(a.easting - b.easting), abs(a.northing - b.northing))
        assert a.region is not b.region or apart >= 10 * max(a.size, b.size)
    for scene in scenes:
        used[scene.split].add(scene.region.name)
    assert sum(map(len, used.values())) == len(set.union(*used.values()))
    assert len(used["train"]) >= 4 or not PROFILES[profile].scenes[1]
    paths = [path for scene in scenes for path in scene.paths()]
    assert len(paths) == len(set(paths))


def some() -> list:
    """A scene in six, of all splits."""
    return plan("smoke", 0)[::6]


@pytest.fixture
def few(written, monkeypatch):
    """Makes sets of few scenes; `few(target)` asserts that theirs are the bytes of the whole set."""
    specs = some()
    monkeypatch.setattr(module, "plan", lambda *_: specs)
    paths = {path for spec in specs for path in spec.paths()}

    def same(target: Path) -> None:
        assert digest(target, "*.tif") == {path: written[path] for path in paths}
        assert {path.name for path in target.iterdir() if path.is_file()} == {
            "dataset.json",
            "held_out_scenes.txt",
        }

    return same


@pytest.mark.parametrize("where", ["pool", "cluster"])
def test_where_it_is_computed_does_not_change_a_byte(few, tmp_path, where):
    target = tmp_path / "set"
    if where == "pool":
        simulate(target, "smoke", seed=0, workers=2)
    else:
        distributed = pytest.importorskip("distributed")
        here = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
        with distributed.LocalCluster(**here) as cluster:
            simulate(target, "smoke", seed=0, scheduler=cluster.scheduler_address)
    few(target)


def test_the_number_of_threads_does_not_change_a_byte_and_another_seed_gives_other_data(simulated):
    """One thread of the matrix product rounds otherwise than several."""
    first, second = plan("smoke", 0)[20], plan("smoke", 1)[20]
    assert not np.array_equal(render(first)["s2"], render(second)["s2"])
    for threads in (1, 3):
        with threadpool_limits(threads):
            for path, content in encoded(plan("smoke", 0)[16]).items():
                assert (simulated / path).read_bytes() == content


def test_an_interrupted_set_is_finished_to_the_same_bytes(few, tmp_path, monkeypatch, capsys):
    real, made, redone = module.encoded, [], []

    def fails_later(spec):
        if len(made) == 3:
            raise OSError(28, "No space left on device")
        made.append(spec)
        return real(spec)

    monkeypatch.setattr(module, "encoded", fails_later)
    target = tmp_path / "set"
    with pytest.raises(DataError, match="No space left on device; make room or choose another folder"):
        simulate(target, "smoke", seed=0, workers=1)
    assert not (target / "dataset.json").exists()
    (target / ".simulating" / "half").write_bytes(b"half a file")
    next(target.rglob("*.tif")).unlink()  # its scene is made again
    monkeypatch.setattr(module, "encoded", lambda spec: redone.append(spec) or real(spec))
    simulate(target, "smoke", seed=0, workers=1)
    few(target)
    assert len(made) + len(redone) == len(some()) + 1
    before = {p: p.stat().st_mtime_ns for p in target.rglob("*")}
    simulate(target, "smoke", seed=0, workers=1)
    assert {p: p.stat().st_mtime_ns for p in target.rglob("*")} == before
    assert capsys.readouterr().err == ""  # no bar is drawn where nobody watches


def test_a_folder_that_holds_something_else_is_refused(simulated, tmp_path):
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("do not touch")
    taken = {
        simulated: "seed 0, not 1",
        tmp_path: "not empty",
        thesis: "thesis.txt.*: cannot be written .*another folder",
    }
    for folder, said in taken.items():
        with pytest.raises(DataError, match=said):
            simulate(folder, "smoke", seed=1)
    with pytest.raises(ConfigError, match="smoke, laptop, many, gpu, paper"):
        simulate(tmp_path / "new", "huge")


def make(target):
    """Few scenes, in a process to be killed."""
    specs = some()
    module.plan = lambda *_: specs
    simulate(target, "smoke", seed=0, workers=1)


@pytest.mark.kill
def test_a_run_killed_again_and_again_at_random_moments_ends_with_the_same_bytes(few, tmp_path):
    chance, target, kills = random.Random(0), tmp_path / "set", 0
    for files in sorted(chance.randrange(0, 130) for _ in range(3)):
        process = forked.start(make, target)
        while process.is_alive() and len(list(target.rglob("*.tif"))) < files:
            time.sleep(0.002)
        kills += process.is_alive()
        process.kill()
        process.join()
    assert kills > 1, "most runs ended before they were killed"
    simulate(target, "smoke", seed=0, workers=1)
    few(target)
