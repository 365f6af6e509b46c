"""ben-ge and DFC2020 by name: read as published, split without leaks, fetched whole or not at all."""

import hashlib
import http.server
import json
import shutil
import tarfile
import threading
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import fake_patches as fake
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics.pairwise import haversine_distances

from eo_ssl.course import session
from eo_ssl.data import ben_ge, catalog, check, fetch, georef, geotiff, samples, splits
from eo_ssl.data.dataset import PatchDataset, open_source
from eo_ssl.errors import ConfigError, DataError
from eo_ssl.sensors import S2_BANDS

B10 = S2_BANDS.index("B10")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The unpacked archive; do not change it."""
    return fake.ben_ge(tmp_path_factory.mktemp("ben-ge"))


@pytest.fixture
def copy(root, tmp_path):
    return Path(shutil.copytree(root, tmp_path / "data"))


@pytest.mark.parametrize("packed", [False, True])
def test_patches_hold_what_was_written_at_ten_metres_and_b10_is_the_training_mean(root, packed):
    source = open_source(root, packed=packed)
    assert source.level == "L2A" and source.patch_size == 24
    row = source.rows("train")[0]
    number = int(source.catalog["id"][row].split("_")[3])
    images, label = fake.images(fake.on_tile(number), 24), fake.classes(number, 24)
    read, numbers = source.read(row), images["s2"]
    np.testing.assert_allclose(read["s1"], images["s1"], atol=0.0026)  # the store rounds to 0.005 dB
    assert read["valid"].all() and not read["s2"][B10].any()
    for band in ("B02", "B08"):
        k = S2_BANDS.index(band)
        np.testing.assert_allclose(read["s2"][k], numbers[k] / 1e4, rtol=1e-6)
    for band in ("B8A", "B09"):  # coarser: bilinear, so between the smallest and largest number
        k = S2_BANDS.index(band)
        assert numbers[k].min() / 1e4 <= read["s2"][k].min() < read["s2"][k].max() <= numbers[k].max() / 1e4
    np.testing.assert_array_equal(source.mask(row, 0, 0, 24), label)
    np.testing.assert_array_equal(source.mask(row, 3, 5, 12), label[3:15, 5:17])
    again = PatchDataset(source, [row], 24, "centre", statistics=source.stats("train"))
    assert not again[0]["s2"][B10].any()
    window = PatchDataset(source, [row], 12, "centre")[0]["s2"].numpy()
    np.testing.assert_array_equal(window, read["s2"][:, 6:18, 6:18])


@pytest.mark.network
@pytest.mark.filterwarnings("ignore:invalid value encountered in divide")  # none are left to draw from
def test_the_genuine_patches_read_as_the_reader_of_the_small_samples_reads_them(tmp_path):
    found = fetch.fetch(["bigearthnet"])["bigearthnet"]
    rows = []
    (tmp_path / "sentinel-1").symlink_to(next(found.rglob("BigEarthNet-S1-Example")))
    (tmp_path / "sentinel-2").symlink_to(next(found.rglob("BigEarthNet-S2-Example")))
    for pair in samples.bigearthnet_pairs():
        (about,) = [p for p in found.rglob("S1*.json") if pair.name in p.read_text()]
        place = geotiff.read_header(tmp_path / "sentinel-2" / pair.name)[:3]
        cover = tmp_path / "esaworldcover" / f"{pair.name}_esaworldcover.tif"
        fake.write(cover, np.full((1, 120, 120), 10, np.uint8), *place)
        rows.append({"patch_id": pair.name, "patch_id_s1": about.parent.name, "lon": 10.0, "lat": 50.0})
    pd.DataFrame(rows).to_csv(tmp_path / "ben-ge-6_meta.csv")
    source = open_source(tmp_path, packed=False)
    ids = source.catalog["id"].tolist()
    for pair in samples.bigearthnet_pairs():
        read = source.read(ids.index(pair.name))
        np.testing.assert_array_equal(read["s1"], pair.s1)
        for band in pair.s2_bands:  # on the 10 m grid digital numbers are whole again
            np.testing.assert_allclose(read["s2"][S2_BANDS.index(band)], pair.band(band), atol=0.51e-4)
    assert not len(source.rows("train", "val", "test"))  # chapters look at them


def kilometres(a: pd.DataFrame, b: pd.DataFrame) -> np.ndarray:
    """Great-circle distances, (len(a), len(b))."""
    return 6371 * haversine_distances(*(np.radians(table[["lat", "lon"]]) for table in (a, b)))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(4, 20), st.floats(0.2, 1))
def test_no_two_splits_share_a_tile_or_come_closer_than_five_kilometres(seed, tiles, degrees):
    """Tiles that touch each other, in a small area: many patches lie at a border."""
    rng = np.random.default_rng(seed)
    n = 20 * tiles
    lon, lat = 10 + rng.uniform(0, degrees, n) * tiles, 48 + rng.uniform(0, degrees, n)
    region = np.floor((lon - 10) / degrees).astype(int).astype(str)
    table = pd.DataFrame(
        {"id": np.arange(n).astype(str), "dataset": "ben-ge", "scene": region, "region": region}
    )
    table = table.assign(split="", group=table["id"], lon=lon, lat=lat, x=lon, epsg=0)
    made = splits.assign(table, seed)
    parts = {name: made[made["split"] == name] for name in ("train", "val", "test")}
    assert all(len(part) for part in parts.values())
    for a, b in (("train", "val"), ("train", "test"), ("val", "test")):
        assert not set(parts[a]["region"]) & set(parts[b]["region"])
        assert kilometres(parts[a], parts[b]).min() >= 4.999
    assert made["split"].equals(splits.assign(table, seed + 1)["split"])  # one split for every run
    assert f"{(made['split'] == '').sum()} patches between them" in made.attrs["notes"][0]


def test_training_patches_serve_pretraining_and_held_out_patches_are_named_by_id(copy):
    source = open_source(copy, packed=False)
    assert source.rows("pretrain").tolist() == source.rows("train").tolist()
    assert source.rows("pretrain_val").tolist() == source.rows("val").tolist()
    for task in check.tasks_of(source.catalog):
        check.require_trainable(source, task=task)
    catalog.require_complete(copy)
    blocks = georef.spatial_blocks(source.catalog, 24)
    assert len(set(blocks)) == source.catalog["region"].nunique() == 12
    gone = source.catalog["id"][source.rows("train")[:2]].tolist()
    (copy / "held.txt").write_text("\n".join(gone))
    (copy / "dataset.json").write_text('{"holdout": "held.txt"}')
    left = open_source(copy, packed=False)
    assert left.catalog.loc[left.catalog["id"].isin(gone), "split"].eq("").all()


def test_the_random_split_that_others_use_stands_beside_ours(copy):
    found, base = catalog.find(copy), copy / "ben-ge-800"
    assert set(found["published"]) == {"train"}  # the first 500 rows of the meta file
    assert ben_ge._published(Path("ben-ge-800_meta.csv"), [str(i) for i in range(800)])["500"] == "val"
    (base / "ben-ge-800_meta.csv").rename(base / "ben-ge-8k_meta.csv")
    (base / "splits").mkdir()
    for k, part in enumerate(("train", "val", "test")):
        found["id"][k::3].to_csv(base / "splits" / f"ben-ge-8k_{part}.csv", index=False, header=False)
    assert catalog.find(copy)["published"].tolist() == ["train", "val", "test"] * 8


def test_a_band_that_has_changed_is_not_read_through_a_stale_cache(copy):
    before, state = open_source(copy), catalog.identity(copy)
    row = int(before.rows("train")[0])
    path = next((copy / before.catalog["s2"][row]).glob("*_B03.tif"))
    path.write_bytes(next((copy / before.catalog["s2"][row]).glob("*_B04.tif")).read_bytes())
    assert catalog.identity(copy) != state
    read = open_source(copy).read(row)["s2"]
    np.testing.assert_array_equal(read[S2_BANDS.index("B03")], read[S2_BANDS.index("B04")])


def test_what_the_whole_set_lacks_is_one_line(root, tmp_path):
    (table,) = root.rglob("*_meta.csv")
    frame = pd.read_csv(table)
    for folder in ben_ge.FOLDERS.values():
        (tmp_path / folder).symlink_to(table.parent / folder)
    for changed, said in (
        (frame.drop(columns="lon"), r"no column lon; its columns are patch_id"),
        (frame.replace(frame["patch_id"][3], "../../etc/passwd"), r"'\.\./\.\./etc/passwd' is no name"),
        (pd.concat([frame, frame[:1]]), "or there twice"),
    ):
        changed.to_csv(tmp_path / table.name, index=False)
        with pytest.raises(DataError, match=said):
            catalog.find(tmp_path)
    frame.to_csv(tmp_path / table.name, index=False)
    (tmp_path / "esaworldcover").unlink()
    with pytest.raises(OSError, match="esaworldcover"):
        catalog.find(tmp_path)


def test_what_a_patch_lacks_is_named_by_the_check(tmp_path):
    base = fake.ben_ge(tmp_path, 12, top="")
    coarse, fine = (next(base.glob(f"sentinel-2/*_0_0/*_{band}.tif")) for band in ("B8A", "B02"))
    coarse.write_bytes(fine.read_bytes())
    next(base.glob("sentinel-2/*_1_1/*_B8A.tif")).unlink()
    next(base.glob("esaworldcover/*_2_2_*.tif")).unlink()
    shutil.rmtree(next(base.glob("sentinel-1/*_3_3")))
    problems = [p for p in check.check(tmp_path).problems if p.id != "(all)"]
    found = {p.id.split("_")[3]: (p.severity, p.message) for p in problems}
    assert found["0"][0] == found["1"][0] == check.FATAL
    assert "_B8A.tif: 24 × 24 pixels" in found["0"][1] and "no file for band B8A" in found["1"][1]
    assert found["2"] == (check.LEFT_OUT, "no dfc file") and found["3"] == (check.LEFT_OUT, "no s1 file")
    assert len(problems) == 4


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=12), st.text(max_size=12))
def test_any_name_in_the_meta_file_is_a_patch_below_the_folder_or_refused(tmp_path_factory, name, radar):
    root = tmp_path_factory.mktemp("names")
    for folder in ben_ge.FOLDERS.values():
        (root / folder).mkdir()
    frame = pd.DataFrame({"patch_id": [name], "patch_id_s1": [radar], "lon": [8.0], "lat": [47.0]})
    frame.to_csv(root / "ben-ge-1_meta.csv", index=False)
    try:
        found = ben_ge.patches(root, root / "ben-ge-1_meta.csv")
    except DataError as error:
        assert "meta.csv" in str(error)
        return
    (patch,) = found.values()
    assert "/" not in patch["id"] and patch["region"] and not patch["s1"]


def test_dfc2020_is_split_by_its_lists_with_the_warning(tmp_path):
    source = open_source(fake.copernicus(tmp_path))
    assert source.level == "L1C" and isinstance(source.path, Path)
    number = source.catalog["id"].str.rpartition("_p")[2].astype(int)
    for k, name in enumerate(("train", "val", "test")):
        assert set(number[source.rows(name)]) == {i for i in range(12) if i % 3 == k}
    assert "nothing shows whether training ground is tested" in source.report()
    catalog.require_complete(tmp_path)
    check.require_trainable(source, task="finetune")
    images = fake.images(fake.on_tile(number[0]), 24)
    np.testing.assert_allclose(source.read(0)["s2"], images["s2"] / 1e4, rtol=1e-6)
    np.testing.assert_array_equal(source.mask(0, 0, 0, 24), fake.classes(number[0], 24))
    lists = sorted(tmp_path.rglob("dfc-*.csv"))
    lists[1].write_text(lists[1].read_text() + lists[0].read_text())
    with pytest.raises(DataError, match=r"is in test, too|is in train, too"):
        catalog.find(tmp_path)
    lists[0].unlink()
    with pytest.raises(DataError, match=r"no dfc-test-new\.csv beside the other lists"):
        catalog.find(tmp_path)


# --- fetching, from a server on this machine


class Host(http.server.BaseHTTPRequestHandler):
    """Zenodo and Hugging Face in one: a record, an archive behind a redirect, cut after `cuts` bytes in turn."""

    archive, record, cuts, asked, ranges = b"", b"", [], [], True
    log_message = Mock()

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        if "/api/records/" in self.path:
            return self.answer(200, self.record)
        if "/at/" not in self.path:  # as both hosts do
            self.send_response(302)
            self.send_header("Location", f"/at/{self.path}")
            return self.end_headers()
        start = self.headers.get("Range") if self.ranges else None
        type(self).asked.append(self.headers.get("Range"))
        first = int(start[6:-1]) if start else 0
        return self.answer(
            206 if start else 200, self.archive[first:], self.cuts.pop(0) if self.cuts else None
        )

    def answer(self, status, body, cut=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:cut])
        self.close_connection = True


@pytest.fixture(scope="module")
def archive(root, tmp_path_factory):
    path = tmp_path_factory.mktemp("archive") / "ben-ge-800.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        file.add(root / "ben-ge-800", "ben-ge-800")
    return path


@pytest.fixture
def host(archive, tmp_path, monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Host)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    at = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("EO_SSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", at)
    monkeypatch.setattr(fetch, "ZENODO", at)
    Host.archive, Host.asked, Host.cuts, Host.ranges = archive.read_bytes(), [], [], True
    about = {"key": archive.name, "size": len(Host.archive), "links": {"self": f"{at}/files/{archive.name}"}}
    about["checksum"] = "md5:" + hashlib.md5(Host.archive).hexdigest()
    Host.record = json.dumps({"files": [about]}).encode()
    small = {n: replace(s, unpacked=10**6) for n, s in fetch.SETS.items()}
    monkeypatch.setattr(fetch, "SETS", small)
    yield Host
    server.shutdown()


def left(kept: str = "") -> set[str]:
    """What lies in the cache, without the lock and the part that a later try goes on from."""
    return {p.name for p in (fetch.files.cache_dir() / "data").iterdir()} - {".lock", kept}


def test_a_data_set_is_fetched_by_its_name_once_verified_and_opened(host):
    with pytest.raises(DataError, match="ben-ge-800 is not here yet: `eo-ssl data fetch ben-ge-800` gets it"):
        session.check_data("ben-ge-800")  # in a chapter nothing is fetched without being asked for
    with pytest.raises(DataError, match="did you mean ben-ge-8k"):
        session.check_data("benge-8k")
    folder = fetch.fetch_set("ben-ge-800")
    assert left() == {"ben-ge-800"} and host.asked == [None]
    said = json.loads((folder / "dataset.json").read_text())
    assert said["checksum"].startswith("md5:") and said["cite"] and said["licence"]
    assert session.check_data("ben-ge-800") == folder.resolve()
    source = open_source("ben-ge-800", packed=False)
    assert (source.name, source.version, source.level) == ("ben-ge-800", "12941231", "L2A")
    assert len(source.catalog) == 24 and fetch.fetch_set("ben-ge-800") == folder and len(host.asked) == 1


@pytest.mark.parametrize("ranges", [True, False])
def test_cut_at_any_byte_it_goes_on_where_it_was_and_nothing_is_half_written(host, monkeypatch, ranges):
    """Ten places; a try that brings something is followed by another, one that brings nothing ends it."""
    monkeypatch.setattr(fetch, "BLOCK", 512)
    host.ranges, size = ranges, len(host.archive)
    for k, at in enumerate(np.linspace(0, size - 1, 10).astype(int).tolist()):
        host.cuts = [max(0, at - host_has(host) if ranges else at), 0]
        with pytest.raises(DataError, match=r"cannot be reached \(.* try again later .*kept") as caught:
            fetch.fetch_set("ben-ge-800")
        assert "\n" not in str(caught.value) and left(".ben-ge-800.tar.gz.part") == set(), k
        host.cuts = []
    assert (fetch.fetch_set("ben-ge-800") / "ben-ge-800" / "ben-ge-800_meta.csv").is_file()
    assert left() == {"ben-ge-800"}
    if ranges:
        assert size - 512 <= int(host.asked[-1][6:-1]) < size


def host_has(host) -> int:
    part = fetch.files.cache_dir() / "data" / ".ben-ge-800.tar.gz.part"
    return part.stat().st_size if part.exists() else 0


def test_what_has_come_is_kept_when_unpacking_is_interrupted(host, monkeypatch):
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(fetch, "unpack", Mock(side_effect=KeyboardInterrupt))
        fetch.fetch_set("ben-ge-800")
    assert host_has(host) == len(host.archive)
    assert fetch.fetch_set("ben-ge-800").is_dir() and len(host.asked) == 1, "not fetched again"


def test_another_file_than_published_is_thrown_away_before_it_is_unpacked(host):
    whole = host.archive
    host.archive = whole[:-1] + bytes([whole[-1] ^ 1])
    with pytest.raises(DataError, match=r"is not what was published .*hash.*fetch it again"):
        fetch.fetch_set("ben-ge-800")
    assert left() == set()
    with pytest.raises(DataError, match=r"ben-ge-8k\.tar\.gz from .* is not what was published"):
        fetch.fetch_set("ben-ge-8k")  # this record does not hold it
    host.archive = whole
    assert fetch.fetch_set("ben-ge-800").is_dir()


def test_from_hugging_face_at_one_revision_by_the_checksum_that_is_known(host, tmp_path, monkeypatch):
    packed = Path(shutil.make_archive(tmp_path / "dfc", "zip", fake.copernicus(tmp_path / "dfc2020")))
    host.archive = packed.read_bytes()
    with pytest.raises(DataError, match="is not what was published"):
        fetch.fetch_set("dfc2020")
    known = "md5:" + hashlib.md5(host.archive).hexdigest()
    monkeypatch.setitem(fetch.SETS, "dfc2020", replace(fetch.SETS["dfc2020"], checksum=known))
    assert len(open_source(fetch.fetch_set("dfc2020")).rows("test")) == 4


def test_without_a_network_one_line_says_what_to_do_and_a_full_disk_is_known_before(host, monkeypatch):
    huge = replace(fetch.SETS["ben-ge-800"], unpacked=10**18)
    monkeypatch.setitem(fetch.SETS, "ben-ge-800", huge)
    with pytest.raises(DataError, match=r"needs .* MB but only"):
        fetch.fetch_set("ben-ge-800")
    assert host.asked == []
    monkeypatch.setitem(fetch.SETS, "ben-ge-800", replace(huge, unpacked=10**6))
    monkeypatch.setattr(fetch, "ZENODO", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    for name in ("ben-ge-800", "dfc2020"):
        with pytest.raises(DataError, match=f"{name} cannot be reached .* folder .* simulated") as caught:
            fetch.fetch_set(name)
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="did you mean ben-ge-800"):
        fetch.fetch_set("ben-ge-80")
