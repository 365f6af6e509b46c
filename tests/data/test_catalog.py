import os
import shutil
from contextlib import nullcontext
from unittest.mock import Mock

import fake_patches as fake
import numpy as np
import pytest

from eo_ssl import files
from eo_ssl.data import catalog, georef
from eo_ssl.errors import DataError


def find(root, **options):
    return catalog.find(root, **options).set_index("id")


@pytest.fixture
def root(tmp_path):
    """One scene of four patches."""
    return fake.make(tmp_path / "data", fake.sen12ms())


def test_one_row_a_patch_with_paths_and_a_position_from_the_ground_not_from_the_number(root):
    found = find(root)
    row = found.loc["ROIs1158_spring_8_p30"]
    assert row["s2"] == "ROIs1158_spring/s2_8/ROIs1158_spring_s2_8_p30.tif"
    assert row["dfc"] == "" and (root / row["lc"]).is_file()
    assert found[["row", "col"]].to_numpy().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_patches_that_share_pixels_have_one_group(tmp_path):
    rng = np.random.default_rng(1)
    name = "ROIs1158_spring/{{0}}_{0}/ROIs1158_spring_{{0}}_{0}_p{1}.tif"
    patches = [
        fake.Patch(name.format(k % 3, k), 32632 + k % 2, x, y, k, False)
        for k, (x, y) in enumerate(rng.integers(0, 30, (60, 2)) * 80.0)  # some overlap, some only touch
    ]
    found = catalog.find(fake.make(tmp_path, patches))
    label = list(range(len(found)))
    extent = fake.SIZE * 10
    epsg, x, y = (found[column].to_numpy() for column in ("epsg", "x", "y"))
    for i in range(len(found)):
        for j in range(len(found)):
            if epsg[i] == epsg[j] and abs(x[i] - x[j]) < extent and abs(y[i] - y[j]) < extent:
                label = [label[i] if k == label[j] else k for k in label]
    same = np.equal.outer(found["group"].to_numpy(), found["group"].to_numpy())
    assert (same == np.equal.outer(label, label)).all()
    assert 1 < found["group"].nunique() < len(found)


def test_regions_are_those_of_the_ground_or_the_cities_of_the_names(tmp_path):
    regions = ((32632, 5e5, 5e6), (32632, 9e5, 5e6), (32735, 3e5, 7e6))
    found = find(fake.make(tmp_path / "a", fake.layout_a(regions=regions)))
    sizes = found["region"].value_counts()
    assert set(sizes.index) == {"EPSG:32632-1", "EPSG:32632-2", "EPSG:32735-1"} and (sizes == 4).all()
    found = find(fake.make(tmp_path / "b", fake.layout_b()))
    assert set(found["region"]) == {"Mumbai", "BlackForest", "MexicoCity"} and set(found["split"]) == {""}


def test_where_the_position_is_unknown_the_scene_is_the_group(root):
    for patch in fake.sen12ms():
        for sensor, array in fake.images(patch).items():
            fake.put(root, patch, sensor, array, epsg=None)
    found = find(root)
    assert set(found["group"]) == set(found["region"]) == {"ROIs1158_spring_8"}
    assert (found["row"] == -1).all() and found["x"].isna().all()


def test_other_files_and_duplicates_are_reported_and_a_folder_linked_twice_counts_once(root):
    (root / "copy").mkdir()
    shutil.copy(root / "ROIs1158_spring/s1_8/ROIs1158_spring_s1_8_p30.tif", root / "copy")
    (root / "note.tif").write_text("hello")
    for name in ("linked", "again"):
        (root / name).symlink_to(root / "ROIs1158_spring", target_is_directory=True)
    found = catalog.find(root)
    assert len(found) == 4
    assert len(found.attrs["duplicates"]) == 1 and found.attrs["unknown"] == ["note.tif"]


@pytest.fixture
def opened(monkeypatch):
    """Paths whose headers were read."""
    read = []
    original = georef.read_header
    monkeypatch.setattr(georef, "read_header", lambda path: read.append(path) or original(path))
    return read


def test_only_headers_of_new_and_changed_files_are_read_again(root, opened):
    first = catalog.find(root)
    assert first.equals(catalog.find(root)) and len(opened) == 12
    fake.make(root, fake.sen12ms(numbers=(50,), x=7e5))
    assert len(catalog.find(root)) == 5 and len(opened) == 15
    moved = fake.sen12ms(numbers=(50,), x=8e5)[0]
    fake.put(root, moved, "s2", fake.images(moved)["s2"])
    found = find(root)
    assert len(opened) == 16 and "same place" in found.loc["ROIs1158_spring_8_p50", "reason"]


def test_roots_do_not_share_what_is_cached_of_their_files(tmp_path):
    for k in (0, 1):
        root = fake.make(tmp_path / str(k), fake.sen12ms(x=5e5 + 1e4 * k))
        for path in root.rglob("*.tif"):
            os.utime(path, ns=(10**18, 10**18))
        assert catalog.find(root)["x"].min() == 5e5 + 1e4 * k


def test_the_identity_of_data_changes_with_any_file_and_not_with_its_place(root, tmp_path):
    seen = [catalog.identity(root)]
    assert seen[0] == catalog.find(root).attrs["state"]
    shutil.copytree(root, tmp_path / "copy")  # keeps times
    assert catalog.identity(tmp_path / "copy") == seen[0]
    os.utime(next(root.rglob("*_s1_*.tif")), ns=(10**18, 10**18))
    seen.append(catalog.identity(root))
    files.write_json(root / "dataset.json", {"s2_offset": 1000})
    seen.append(catalog.identity(root))
    next(root.rglob("*_lc_*.tif")).unlink()
    seen.append(catalog.identity(root))
    assert len(set(seen)) == 4


def test_a_simulated_set_made_again_is_the_same_and_one_changed_in_place_is_not(tmp_path, opened):
    made = []
    for name in "ab":
        root = fake.make(tmp_path / name, fake.sen12ms())
        files.write_json(root / "dataset.json", {"name": "simulated", "version": "1"})
        made.append(catalog.identity(root))
    assert (catalog.find(root)["reason"] == "").all() and len(opened) == 4  # one header a patch is enough
    os.utime(next(root.rglob("*_s1_*.tif")), ns=(2 * 10**18, 2 * 10**18))
    assert made[0] == made[1] != catalog.identity(root)


def test_what_the_card_says_is_read_and_nonsense_refused(root):
    said = {"name": "mine", "s1_scale": 0.01, "s2_bands": ["B1", "b02", "swir22"], "anything": 1}
    files.write_json(root / "dataset.json", said)
    card = catalog.find(root).attrs["card"]
    assert (card.name, card.s1_scale, card.s2_bands) == ("mine", 0.01, ("B01", "B02", "B12"))
    nonsense = [{"s2_ofset": 1}, {"s1_unit": "W"}, {"s2_bands": ["B1", "B1"]}, {"s2_offset": "yes"}, []]
    for wrong in (*nonsense, {"s1_scale": "0.01"}, {"s2_bands": 5}, {"holdout": 5}, {"level": "L3"}):
        files.write_json(root / "dataset.json", wrong)
        with pytest.raises(DataError, match=r"dataset\.json"):
            catalog.find(root)


def test_an_offset_of_a_scene_that_is_not_there_is_refused(root):
    files.write_json(root / "dataset.json", {"s2_offset": {"ROIs1158_spring_s2_8": 1000}})
    with pytest.raises(DataError, match="names 'ROIs1158_spring_s2_8', no patch and no scene here"):
        catalog.find(root)
    card = catalog.Card(s2_offset={"a": 1000})
    assert card.offset({"id": "a_p1", "scene": "a/EPSG:32632-1"}, 0) == 1000, (
        "scenes of layout A are told apart"
    )


def test_what_cannot_be_listed_or_is_no_data_set_is_a_clear_error(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="no SEN12MS or DFC2020 patches"):
        catalog.find(tmp_path)
    (tmp_path / "file").write_text("")
    for wrong in ("file", "nowhere"):
        with pytest.raises(DataError, match=f"{wrong}: no such folder"):
            catalog.find(tmp_path / wrong)
    denied = PermissionError(13, "Permission denied", str(tmp_path))
    monkeypatch.setattr(os, "scandir", Mock(side_effect=denied))
    with pytest.raises(PermissionError, match=str(tmp_path)):
        catalog.find(tmp_path)


@pytest.mark.parametrize(
    ("parts", "missing"),
    [
        (fake.sen12ms() + fake.layout_b(), None),
        (fake.sen12ms(), "DFC2020 radar"),
        (fake.layout_b(), "SEN12MS radar"),
        (fake.sen12ms() + fake.layout_a(), "DFC2020 test patches"),
    ],
)
def test_what_is_missing_of_both_data_sets_is_named(tmp_path, parts, missing):
    root = fake.make(tmp_path, parts)
    with pytest.raises(DataError, match=missing) if missing else nullcontext():
        catalog.require_complete(root)
