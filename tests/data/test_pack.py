import json
import os
import shutil

import fake_patches as fake
import numpy as np
import pytest

from eo_ssl import files
from eo_ssl.data import catalog, dataset, geotiff, store as pack, store
from eo_ssl.data.source import Affine
from eo_ssl.errors import ConfigError, DataError


@pytest.fixture
def root(tmp_path):
    return fake.world(tmp_path / "data")


def contents(folder):
    """Every file of a store and its bytes."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths}


def test_every_pixel_comes_back_as_exactly_as_stated(root, tmp_path):
    source = store.StoreSource(pack.pack(root, tmp_path / "store"))
    size = source.patch_size
    direct = dataset.TiffSource(root, catalog.find(root))
    for row, patch in enumerate(source.catalog.to_dict("records")):
        got = source.read(row)
        db = geotiff.read_s1(root / patch["s1"])
        numbers, _ = geotiff.read_s2(root / patch["s2"])
        assert np.abs(got["s1"] - db).max() <= store.STEP / 2 + 1e-5
        np.testing.assert_array_equal(np.rint(got["s2"] * 1e4), numbers)
        for coarse in (False, True):
            expected = direct.mask(row, 0, 0, size, coarse)
            np.testing.assert_array_equal(source.mask(row, 0, 0, size, coarse), expected)


def test_quantised_backscatter_is_within_half_a_step_and_nan_stays_nan():
    db = np.random.default_rng(0).uniform(-163, 163, 100_000).astype(np.float32)
    steps = store.quantise(db)
    assert steps.dtype == np.int16 and np.abs(steps * store.STEP - db).max() <= store.STEP / 2 + 1e-4
    assert store.quantise(np.array([np.nan, np.inf, -np.inf])).tolist() == [store.INVALID] * 3
    assert store.quantise(np.array([-1000.0])).tolist() != [store.INVALID]


def test_digital_numbers_keep_all_sixteen_bits(tmp_path):
    patch = fake.sen12ms(numbers=(30,))[0]
    root = fake.make(tmp_path / "data", [patch])
    numbers = np.arange(13 * 256, dtype=np.uint32).reshape(13, 16, 16) * 19 % 65536
    numbers[0, 0, 0] = 65535
    fake.write(root / patch.pattern.format("s2"), numbers.astype(np.uint16), patch.epsg, patch.x, patch.y)
    source = store.StoreSource(pack.pack(root, tmp_path / "store"))
    np.testing.assert_array_equal(np.rint(source.read(0)["s2"].astype(np.float64) * 1e4), numbers)


def test_a_crop_reads_the_same_pixels_as_the_whole(root, tmp_path):
    source = store.StoreSource(pack.pack(root, tmp_path / "store"))
    whole = source.read(3)
    s1, s2 = np.empty((2, 5, 5), np.float32), np.empty((13, 5, 5), np.float32)
    assert source.fill(3, 7, 2, s1, s2, Affine.physical()) is None
    np.testing.assert_array_equal(s1, whole["s1"][:, 7:12, 2:7])
    np.testing.assert_array_equal(s2, whole["s2"][:, 7:12, 2:7])


def test_the_rows_of_a_crop_are_one_contiguous_piece_of_the_file(root, tmp_path):
    out = pack.pack(root, tmp_path / "store")
    name = json.loads((out / "store.json").read_text())["shards"].popitem()[0]
    images = store.open_part(out, name, "images", fake.SIZE)
    assert images[1, 4:9].flags["C_CONTIGUOUS"] and images.shape[2] == 15


def test_packing_again_and_with_processes_gives_the_same_bytes(root, tmp_path):
    first = contents(pack.pack(root, tmp_path / "a"))
    assert contents(pack.pack(root, tmp_path / "a")) == first
    assert contents(pack.pack(root, tmp_path / "b", workers=2)) == first
    assert contents(pack.pack(root, tmp_path / "c", threads=3)) == first


def test_finished_shards_are_kept_and_damaged_ones_made_again(root, tmp_path):
    out = pack.pack(root, tmp_path / "store")
    before = contents(out)
    images = sorted((out / "shards").glob("*.images"))
    times = {path: path.stat().st_mtime_ns for path in images}
    damaged = bytearray(images[0].read_bytes())
    damaged[100] ^= 1
    images[0].write_bytes(damaged)
    os.truncate(images[1], 50)
    images[2].unlink()
    assert len(pack.verify(out)) == 3
    assert contents(pack.pack(root, out)) == before and pack.verify(out) == []
    assert [path.stat().st_mtime_ns == times[path] for path in images[3:]] == [True] * len(images[3:])


def test_changed_source_files_are_packed_again(root, tmp_path):
    out = pack.pack(root, tmp_path / "store")
    patch = catalog.find(root).iloc[0]
    data = geotiff.read_s1(root / patch["s1"]) - 5
    fake.write(root / patch["s1"], data, int(patch["epsg"]), patch["x"], patch["y"])
    source = store.StoreSource(pack.pack(root, out))
    assert np.abs(source.read(0)["s1"] - data).max() < 0.003


def test_shards_of_scenes_that_are_gone_disappear(root, tmp_path):
    out = pack.pack(root, tmp_path / "store")
    shutil.rmtree(root / "ROIs1868_summer")
    pack.pack(root, out)
    assert not list((out / "shards").glob("ROIs1868*")) and pack.verify(out) == []


def test_a_store_without_its_last_file_is_no_store(root, tmp_path):
    out = pack.pack(root, tmp_path / "store")
    (out / "store.json").unlink()
    assert not store.is_store(out)
    with pytest.raises(DataError):
        dataset.open_source(out)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"format": "something else"}', '{"format": "eo_ssl store", "version": 99}']
)
def test_a_broken_description_is_a_clear_error(root, tmp_path, text):
    out = pack.pack(root, tmp_path / "store")
    (out / "store.json").write_text(text)
    with pytest.raises(DataError, match=r"store"):
        dataset.open_source(out)


def test_a_shard_that_is_too_short_is_a_clear_error(root, tmp_path):
    out = pack.pack(root, tmp_path / "store")
    source = dataset.open_source(out)
    for path in (out / "shards").glob("*.images"):
        os.truncate(path, 10)
    with pytest.raises(DataError, match="damaged"):
        source.read(0)


def test_patches_below_ninety_percent_valid_are_packed_but_left_out(root, tmp_path):
    patch = catalog.find(root).iloc[0]
    data = geotiff.read_s1(root / patch["s1"])
    data[0, :4] = np.nan
    fake.write(root / patch["s1"], data, int(patch["epsg"]), patch["x"], patch["y"])
    source = store.StoreSource(pack.pack(root, tmp_path / "store"))
    assert source.left_out == {patch["id"]: "75% valid"}
    assert source.catalog["split"][0] == "" and np.isnan(source.read(0)["s1"][0, :4]).all()


def test_patches_without_partner_are_not_packed(root, tmp_path):
    patch = catalog.find(root).iloc[0]
    (root / patch["s2"]).unlink()
    source = store.StoreSource(pack.pack(root, tmp_path / "store"))
    assert len(source.catalog) == 35 and patch["id"] not in set(source.catalog["id"])


@pytest.mark.parametrize("offset", [None, 1000])
def test_statistics_of_the_store_are_those_of_the_files(root, tmp_path, offset):
    packed = store.StoreSource(pack.pack(root, tmp_path / "store", s2_offset=offset)).stats("pretrain")
    read = dataset.open_source(root, s2_offset=offset).stats("pretrain")
    for key, value in packed.to_dict().items():
        if not key.endswith("bands"):
            np.testing.assert_allclose(value, read.to_dict()[key], rtol=1e-5)


def test_an_unreadable_file_stops_packing_by_name(root, tmp_path):
    patch = catalog.find(root).iloc[5]
    (root / patch["s2"]).write_bytes(b"nonsense")
    with pytest.raises(DataError, match=os.path.basename(patch["s2"])):
        pack.pack(root, tmp_path / "store")
    assert not store.is_store(tmp_path / "store")


def test_a_full_disk_is_noticed_before_anything_is_written(root, tmp_path, monkeypatch):
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(DataError, match="free"):
        pack.pack(root, tmp_path / "store")


def test_a_simulated_root_is_packed_on_opening_and_found_again(root):
    files.write_json(root / "dataset.json", {"name": "simulated", "version": "1"})
    assert dataset.open_source(root).kind == "store"
    made = (root / ".store/store.json").stat().st_mtime_ns
    source = dataset.open_source(root)
    assert source.version == "1" and (root / ".store/store.json").stat().st_mtime_ns == made
    assert dataset.open_source(root, packed=False).kind == "geotiff"


def test_a_cluster_gives_the_same_store(root, tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
    ) as cluster:
        packed = contents(pack.pack(root, tmp_path / "a", scheduler=cluster.scheduler_address))
    assert packed == contents(pack.pack(root, tmp_path / "b"))


def test_a_cluster_that_does_not_answer_is_a_clear_error(root, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")

    def refuse(*args, **options):
        raise OSError("timed out")

    monkeypatch.setattr(distributed, "Client", refuse)
    with pytest.raises(ConfigError, match="no dask scheduler answers at tcp://nowhere:1"):
        pack.pack(root, tmp_path / "store", scheduler="tcp://nowhere:1")
