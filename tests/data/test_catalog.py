import shutil

import fake_patches as fake
import numpy as np
import pytest

from eo_ssl.data import catalog, georef, catalog as layouts
from eo_ssl.errors import DataError


def find(root, **options):
    return catalog.find(root, **options).set_index("id")


@pytest.mark.parametrize(
    ("name", "season", "scene", "region", "split"),
    [
        ("ROIs1158_spring_s1_8_p100.tif", "spring", "ROIs1158_spring_8", "ROIs1158_spring_8", "pretrain"),
        ("ROIs1970_fall_lc_120_p7.tif", "fall", "ROIs1970_fall_120", "ROIs1970_fall_120", "pretrain"),
        ("ROIs0000_test_s2_0_p17.tif", "", "ROIs0000_test_0", "", "test"),
        ("ROIs0000_validation_dfc_0_p0.tif", "", "ROIs0000_validation_0", "", "train"),
        (
            "ROIs0000_autumn_dfc_BandarAnzali_p611.tif",
            "fall",
            "ROIs0000_autumn_BandarAnzali",
            "BandarAnzali",
            "",
        ),
    ],
)
def test_names_of_all_layouts_are_read(name, season, scene, region, split):
    parsed = layouts.parse(name)
    assert (parsed.season, parsed.scene, parsed.region, parsed.split) == (season, scene, region, split)


@pytest.mark.parametrize(
    "name", ["readme.tif", "ROIs1158_spring_s3_8_p1.tif", "ROIs1158_monsoon_s1_8_p1.tif"]
)
def test_other_names_are_no_patches(name):
    assert layouts.parse(name) is None


def test_one_row_a_patch_with_paths_of_all_sensors(tmp_path):
    found = find(fake.make(tmp_path, fake.sen12ms()))
    assert len(found) == 4
    row = found.loc["ROIs1158_spring_8_p30"]
    assert row["s2"] == "ROIs1158_spring/s2_8/ROIs1158_spring_s2_8_p30.tif"
    assert row["dfc"] == "" and (tmp_path / row["lc"]).is_file()


def test_position_comes_from_the_ground_not_from_the_number(tmp_path):
    found = find(fake.make(tmp_path, fake.sen12ms(numbers=(30, 31, 32, 34))))
    assert found[["row", "col"]].to_numpy().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_patches_that_share_pixels_have_one_group_and_touching_ones_do_not(tmp_path):
    patches = fake.sen12ms() + fake.layout_a(regions=((32632, 9e5, 5e6),))
    found = find(fake.make(tmp_path, patches))
    pretrain = found[found["split"] == "pretrain"]
    assert pretrain["group"].nunique() == 1
    assert found[found["split"] == "train"]["group"].nunique() == 4


def test_scenes_of_different_seasons_on_the_same_ground_share_a_group(tmp_path):
    patches = fake.sen12ms() + fake.sen12ms("ROIs1868_summer", 40)
    assert find(fake.make(tmp_path, patches))["group"].nunique() == 1


def test_same_coordinates_in_another_zone_are_another_place(tmp_path):
    patches = fake.sen12ms() + fake.sen12ms("ROIs1868_summer", 40, epsg=32633)
    assert find(fake.make(tmp_path, patches))["group"].nunique() == 2


def test_groups_agree_with_a_plain_loop_over_all_pairs(tmp_path):
    rng = np.random.default_rng(1)
    patches = [
        fake.Patch(
            f"ROIs1158_spring/{{0}}_{k % 3}/ROIs1158_spring_{{0}}_{k % 3}_p{k}.tif", 32632, x, y, k, False
        )
        for k, (x, y) in enumerate(rng.integers(0, 150, (40, 2)) * 10.0)
    ]
    found = catalog.find(fake.make(tmp_path, patches))
    label = list(range(len(found)))
    extent = fake.SIZE * 10
    x, y = found["x"].to_numpy(), found["y"].to_numpy()
    for i in range(len(found)):
        for j in range(len(found)):
            if abs(x[i] - x[j]) < extent and abs(y[i] - y[j]) < extent:
                old, new = label[j], label[i]
                label = [new if k == old else k for k in label]
    same = np.equal.outer(found["group"].to_numpy(), found["group"].to_numpy())
    assert (same == np.equal.outer(label, label)).all()
    assert 1 < found["group"].nunique() < len(found)


def test_layout_a_regions_are_recovered_from_georeferencing(tmp_path):
    regions = ((32632, 5e5, 5e6), (32632, 9e5, 5e6), (32735, 3e5, 7e6))
    found = find(fake.make(tmp_path, fake.layout_a(regions=regions)))
    assert sorted(found["region"].unique()) == ["EPSG:32632-1", "EPSG:32632-2", "EPSG:32735-1"]
    assert (found.groupby("region").size() == 4).all()


def test_layout_b_keeps_its_cities(tmp_path):
    found = find(fake.make(tmp_path, fake.layout_b()))
    assert set(found["region"]) == {"Mumbai", "BlackForest", "MexicoCity"} and set(found["split"]) == {""}


def test_without_georeferencing_the_scene_is_the_group(tmp_path):
    fake.make(tmp_path, fake.sen12ms())
    found = find(tmp_path, georeference=False)
    assert set(found["group"]) == {"ROIs1158_spring_8"} and (found["row"] == -1).all()


def test_files_without_crs_are_listed_with_unknown_position(tmp_path):
    for sensor, array in fake.images(fake.sen12ms()[0]).items():
        fake.write(tmp_path / fake.sen12ms()[0].pattern.format(sensor), array, epsg=None)
    found = find(tmp_path)
    assert (found["row"] == -1).all() and found["x"].isna().all()


def test_other_files_and_duplicates_are_reported_not_swallowed(tmp_path):
    fake.make(tmp_path, fake.sen12ms())
    name = "ROIs1158_spring_s1_8_p30.tif"
    (tmp_path / "copy").mkdir()
    shutil.copy(tmp_path / "ROIs1158_spring/s1_8" / name, tmp_path / "copy" / name)
    (tmp_path / "note.tif").write_text("hello")
    found = catalog.find(tmp_path)
    assert len(found) == 4
    assert len(found.attrs["duplicates"]) == 1 and found.attrs["unknown"] == ["note.tif"]


def test_no_pixel_is_read_to_make_a_catalog(tmp_path, monkeypatch):
    fake.make(tmp_path, fake.sen12ms())
    monkeypatch.setattr("rasterio.open", lambda *a, **k: pytest.fail("opened by GDAL"))
    assert len(catalog.find(tmp_path)) == 4


def test_headers_are_read_once_and_again_when_the_folder_changed(tmp_path, monkeypatch):
    root = fake.make(tmp_path / "data", fake.sen12ms())
    read = []
    original = georef.read_header
    monkeypatch.setattr(georef, "read_header", lambda path: read.append(path) or original(path))
    first = catalog.find(root)
    second = catalog.find(root)
    assert len(read) == 4 and first.equals(second)
    fake.make(root, fake.sen12ms(numbers=(50,), x=7e5))
    assert len(catalog.find(root)) == 5 and len(read) == 9


def test_an_empty_or_missing_folder_is_an_error_that_says_so(tmp_path):
    with pytest.raises(DataError, match="no SEN12MS or DFC2020 patches"):
        catalog.find(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        catalog.find(tmp_path / "nowhere")
