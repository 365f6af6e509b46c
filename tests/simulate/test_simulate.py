"""The simulated set on disk: names, formats, geography, labels; the same bytes however it was made."""

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import rasterio
from threadpoolctl import threadpool_limits

import eo_ssl.simulate as module
from eo_ssl.errors import ConfigError, DataError
from eo_ssl.sensors import DFC10_TO_EIGHT, IGBP_TO_EIGHT, IGNORE, remap
from eo_ssl.simulate import encoded, render, simulate
from eo_ssl.simulate.labels import DFC_CODE
from eo_ssl.simulate.world import PROFILES, REGIONS, plan

SEN12MS = (
    r"(ROIs1158_spring|ROIs1868_summer|ROIs1970_fall|ROIs2017_winter)/(s1|s2|lc)_(\d+)/\1_\2_\3_p\d+\.tif"
)
DFC2020 = (
    r"(ROIs0000_validation/(s1|s2|lc|dfc)_validation/ROIs0000_validation_\2_0"
    r"|ROIs0000_test/(s1|s2|lc|dfc)_0/ROIs0000_test_\3_0)_p\d+\.tif"
)


def digest(root: Path) -> dict[str, str]:
    """SHA-256 of every file below `root`, hidden ones too, by relative path."""
    files = (p for p in root.rglob("*") if p.is_file())
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return simulate(tmp_path_factory.mktemp("simulated") / "smoke", "smoke", seed=0, workers=1)


@pytest.fixture(scope="module")
def files(root) -> dict[str, Path]:
    return {p.relative_to(root).as_posix(): p for p in sorted(root.rglob("*.tif"))}


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read()


def test_every_file_is_named_as_in_sen12ms_or_dfc2020(files):
    odd = [name for name in files if not re.fullmatch(SEN12MS, name) and not re.fullmatch(DFC2020, name)]
    assert odd == []


def test_counts_are_those_of_the_profile_and_every_patch_has_all_its_partners(root, files):
    counts = json.loads((root / "dataset.json").read_text())["counts"]
    assert counts == {split: PROFILES["smoke"].patches(split) for split in ("pretrain", "train", "test")}
    optical = [name for name in files if "/s2_" in name]
    assert len(optical) == sum(counts.values())
    for name in optical:
        wanted = ("s1", "lc") if "ROIs0000" not in name else ("s1", "lc", "dfc")
        assert all(name.replace("/s2_", f"/{s}_").replace("_s2_", f"_{s}_") in files for s in wanted)


@pytest.mark.parametrize(
    ("sensor", "bands", "dtype"),
    [("s1", 2, "float32"), ("s2", 13, "uint16"), ("lc", 4, "uint8"), ("dfc", 1, "uint8")],
)
def test_files_are_compressed_utm_geotiff_at_ten_metres(files, sensor, bands, dtype):
    chosen = [path for name, path in files.items() if f"/{sensor}_" in name]
    for path in chosen:
        with rasterio.open(path) as file:
            assert (file.count, file.dtypes[0], file.width, file.height) == (bands, dtype, 64, 64)
            assert 32601 <= file.crs.to_epsg() <= 32760
            assert file.res == (10.0, 10.0)
            assert file.compression.value == "DEFLATE"


def test_values_are_physical(files):
    for name, path in list(files.items())[::5]:
        if "/s1_" in name:
            db = read(path)
            assert np.isfinite(db).all() and db.min() > -45 and db.max() < 30
        elif "/s2_" in name:
            counts = read(path)
            assert counts.min() >= 1 and counts.max() <= 16000


def test_neighbours_in_pretraining_scenes_share_half_their_pixels(root, files):
    scene = next(s for s in plan("smoke", 0) if s.split == "pretrain")
    for sensor in ("s1", "s2", "lc"):
        a, right, below = (files[scene.path(sensor, k)] for k in (0, 1, scene.grid))
        assert np.array_equal(read(a)[:, :, 32:], read(right)[:, :, :32])
        assert np.array_equal(read(a)[:, 32:], read(below)[:, :32])
    with (
        rasterio.open(files[scene.path("s2", 0)]) as first,
        rasterio.open(files[scene.path("s2", 1)]) as second,
    ):
        assert second.bounds.left - first.bounds.left == 320
        assert second.bounds.top == first.bounds.top


def test_sensors_and_labels_of_a_patch_lie_on_the_same_ground(files):
    for name in [n for n in files if "/s2_" in n][::7]:
        others = [name.replace("/s2_", f"/{s}_").replace("_s2_", f"_{s}_") for s in ("s1", "lc", "dfc")]
        with rasterio.open(files[name]) as optical:
            for other in (o for o in others if o in files):
                with rasterio.open(files[other]) as file:
                    assert (file.crs, file.transform) == (optical.crs, optical.transform)


def test_dfc_patches_do_not_overlap(files):
    corners = defaultdict(list)
    for name, path in files.items():
        if "/dfc_" in name:
            with rasterio.open(path) as file:
                corners[file.crs.to_epsg()].append((file.bounds.left, file.bounds.top))
    for places in corners.values():
        for (x, y), (u, v) in combinations(places, 2):
            assert max(abs(x - u), abs(y - v)) >= 640


def test_regions_of_the_splits_differ_and_lie_far_apart():
    by_name = {region.name: region for region in REGIONS}
    assert len(by_name) == len(REGIONS)
    for a, b in combinations(REGIONS, 2):
        assert a.epsg != b.epsg or abs(a.north - b.north) > 500
    for profile in PROFILES:
        used = defaultdict(set)
        for scene in plan(profile, 0):
            used[scene.split].add(scene.region.name)
        assert not (
            used["pretrain"] & used["train"]
            or used["train"] & used["test"]
            or used["pretrain"] & used["test"]
        )
        assert len(used["train"]) >= 4


def test_scenes_of_a_profile_never_share_ground():
    for profile in PROFILES:
        scenes = plan(profile, 0)
        for a, b in combinations(scenes, 2):
            if a.region is b.region:
                gap = max(abs(a.easting - b.easting), abs(a.northing - b.northing))
                assert gap >= 10 * max(a.size, b.size)


def test_patch_numbers_are_unique():
    for profile in PROFILES:
        paths = [scene.path("s2", k) for scene in plan(profile, 0) for k in range(scene.grid**2)]
        assert len(paths) == len(set(paths))


def test_label_codes_are_inside_their_legends(files):
    for name, path in files.items():
        if "/dfc_" in name:
            assert np.isin(read(path), DFC_CODE).all()
        elif "/lc_" in name:
            igbp, cover, use, water = read(path)
            assert igbp.min() >= 1 and igbp.max() <= 17
            assert cover.max() <= 43 and use.max() <= 40 and water.max() <= 50


def test_all_eight_classes_occur_in_both_labelled_splits(files):
    for split in ("validation", "test"):
        seen = {c for name, path in files.items() if f"{split}_dfc_" in name for c in np.unique(read(path))}
        assert seen == set(DFC_CODE)


def test_coarse_labels_agree_with_the_fine_ones_often_but_not_always(files):
    agree = total = 0
    for name, path in files.items():
        if "/dfc_" in name:
            fine = remap(read(path)[0], DFC10_TO_EIGHT)
            coarse = remap(
                read(files[name.replace("/dfc_", "/lc_").replace("_dfc_", "_lc_")])[0], IGBP_TO_EIGHT
            )
            known = coarse != IGNORE
            agree, total = agree + (fine == coarse)[known].sum(), total + known.sum()
    assert 0.45 < agree / total < 0.85


def test_twenty_metre_bands_come_in_blocks(files):
    name = next(n for n in files if "/s2_" in n)
    counts = read(files[name]).astype(int)
    step = np.abs(np.diff(counts, axis=2))  # (13, H, W - 1)
    same = (step[11] == 0).mean(axis=0)  # B11: every second step stays inside a 20 m pixel
    assert max(same[0::2].min(), same[1::2].min()) == 1.0
    assert (step[1] == 0).mean() < 0.5  # B02 has its own value in every pixel


def test_the_number_of_workers_does_not_change_a_byte(root, tmp_path):
    assert digest(simulate(tmp_path / "again", "smoke", seed=0, workers=2)) == digest(root)


def test_the_number_of_threads_does_not_change_a_byte(root):
    """One thread of the matrix product rounds otherwise than several."""
    spec = plan("smoke", 0)[16]
    with threadpool_limits(1):
        for path, content in encoded(spec).items():
            assert (root / path).read_bytes() == content


def test_a_dask_cluster_gives_the_same_bytes(root, tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        simulate(tmp_path / "set", "smoke", seed=0, scheduler=cluster.scheduler_address)
    assert digest(tmp_path / "set") == digest(root)


def test_another_seed_gives_other_data():
    first, second = plan("smoke", 0)[20], plan("smoke", 1)[20]
    assert not np.array_equal(render(first)["s2"], render(second)["s2"])


def test_a_finished_set_is_left_alone(root):
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    simulate(root, "smoke", seed=0, workers=1)
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*")} == before


def test_an_interrupted_set_is_finished_to_the_same_bytes(root, tmp_path, monkeypatch):
    real, made, redone = module.encoded, [], []

    def fails_later(spec):
        if len(made) == 5:
            raise OSError(28, "No space left on device")
        made.append(spec)
        return real(spec)

    monkeypatch.setattr(module, "encoded", fails_later)
    with pytest.raises(DataError, match="No space left on device; make room or choose another folder"):
        simulate(tmp_path / "set", "smoke", seed=0, workers=1)
    assert not (tmp_path / "set" / "dataset.json").exists()
    (tmp_path / "set" / ".simulating" / "half").write_bytes(b"half a file")
    next((tmp_path / "set").rglob("*.tif")).unlink()  # its scene is made again
    with pytest.raises(DataError, match="seed 0, not 1"):
        simulate(tmp_path / "set", "smoke", seed=1)
    monkeypatch.setattr(module, "encoded", lambda spec: redone.append(spec) or real(spec))
    assert digest(simulate(tmp_path / "set", "smoke", seed=0, workers=1)) == digest(root)
    assert len(made) + len(redone) == len(plan("smoke", 0)) + 1


def test_a_folder_that_holds_something_else_is_refused(root, tmp_path):
    with pytest.raises(DataError, match="seed"):
        simulate(root, "smoke", seed=1)
    with pytest.raises(DataError, match="profile"):
        simulate(root, "laptop", seed=0)
    (tmp_path / "thesis.txt").write_text("do not touch")
    with pytest.raises(DataError, match="not empty"):
        simulate(tmp_path, "smoke")
    with pytest.raises(DataError, match=r"thesis\.txt.*: cannot be written .*choose another folder"):
        simulate(tmp_path / "thesis.txt" / "set", "smoke")
    with pytest.raises(ConfigError, match="smoke, laptop, gpu, paper"):
        simulate(tmp_path / "new", "huge")


def test_no_bar_is_drawn_into_a_log_file(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(module, "plan", lambda *_: plan("smoke", 0)[:1])
    simulate(tmp_path / "set", "smoke", workers=1)
    assert capsys.readouterr().err == ""


_SCRIPT = """
import sys
from eo_ssl.simulate import simulate
if __name__ == "__main__":
    simulate(sys.argv[1], "smoke", 0, int(sys.argv[2]))
"""


@pytest.mark.kill
@pytest.mark.parametrize("moment", range(6))
def test_a_run_killed_at_a_random_moment_resumes_to_the_same_bytes(root, tmp_path, moment):
    chance = random.Random(moment)
    target, files, workers = tmp_path / "set", chance.randrange(0, 700), chance.choice([1, 2])
    (tmp_path / "script.py").write_text(_SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py"), str(target), str(workers)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    while process.poll() is None and len(list(target.rglob("*.tif"))) < files:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert digest(simulate(target, "smoke", seed=0, workers=1)) == digest(root)
