"""A scene on disk in any spelling, grid and resolution is read as what it shows; what does not fit is refused."""

import fake_patches as fake
import numpy as np
import pytest
from rasterio.warp import transform

from eo_ssl.data.scene import Scene
from eo_ssl.errors import DataError
from eo_ssl.sensors import S1_BANDS, S2, S2_BANDS

UTM, ORIGIN = "EPSG:32618", (400_000.0, 4_160_000.0)
SIZE = 96


def optical(x, y):
    """Reflectance × 10⁴ of all bands at places in UTM: planes, which bilinear resampling leaves as they are."""
    return np.stack([1000 + 50 * b + (x - ORIGIN[0]) / 2 + (ORIGIN[1] - y) for b in range(13)])


def centres(step, shape):
    y, x = np.indices(shape) * step + step / 2
    return ORIGIN[0] + x, ORIGIN[1] - y


def write(path, data, names=None, step=10.0, crs=32618, origin=ORIGIN, **options):
    names = names or (None,) * len(data)
    return fake.write(path, data, crs, *origin, step, descriptions=names, **options)


@pytest.fixture
def truth():
    return optical(*centres(10, (SIZE, SIZE)))


@pytest.fixture
def s2(tmp_path, truth):
    return write(tmp_path / "s2.tif", truth.astype(np.uint16), [b.replace("B0", "b") for b in S2_BANDS])


def test_one_file_and_a_folder_of_bands_in_their_own_resolutions_are_the_same_scene(s2, truth, tmp_path):
    for i, band in enumerate(S2):
        path = tmp_path / "R" / f"T18_{band.name}_{band.resolution}m.tif"
        data = optical(*centres(band.resolution, (SIZE * 10 // band.resolution,) * 2)).astype(np.uint16)
        write(path, data[i : i + 1], step=band.resolution)
    coarse = np.full((1, 16, 16), 9, np.uint16)
    write(tmp_path / "R" / "T18_B05_60m.tif", coarse, step=60)  # the finer one counts
    write(tmp_path / "R" / "MSK_CLOUDS_B04.tif", np.ones((1, 96, 96), np.uint16))
    with Scene(s2) as whole, Scene(tmp_path / "R") as parts:
        assert whole.level == parts.level == "L1C" and whole.offset == parts.offset == 0
        for scene, off in ((whole, 0.5), (parts, 2)):  # of rounding; of corners that are not interpolated
            inner = scene.read(6, 6, 84, 84)
            np.testing.assert_allclose(1e4 * inner["s2"], np.floor(truth[:, 6:-6, 6:-6]), atol=off + 1)
            assert inner["valid"].all() and inner["s2"].dtype == np.float32
        exact = whole.read(0, 0, SIZE, SIZE)["s2"]
    np.testing.assert_array_equal(np.rint(1e4 * exact), truth.astype(np.uint16))


def test_beyond_its_edge_the_scene_is_its_mirror_image(s2):
    with Scene(s2) as scene:
        whole, around = scene.read(0, 0, SIZE, SIZE), scene.read(-5, 90, 20, 20)
    np.testing.assert_array_equal(around["s2"][:, 5, 5], whole["s2"][:, 0, 95])
    np.testing.assert_array_equal(around["s2"][:, 4, 6], whole["s2"][:, 0, 95])
    np.testing.assert_array_equal(around["s2"][:, :5], around["s2"][:, 9:4:-1])


@pytest.mark.parametrize(
    ("tags", "folder", "offset"),
    [
        ({"PROCESSING_BASELINE": "05.09"}, "x", 1000),
        ({"RADIO_ADD_OFFSET": "-1000"}, "x", 1000),
        ({}, "S2A_MSIL1C_20220501T100000_N0400_R122_T33UUP.SAFE", 1000),
        ({}, "S2A_MSIL2A_20190501T100000_N0212_R122_T33UUP.SAFE", 0),
    ],
)
def test_offset_and_level_are_what_the_product_says(tags, folder, offset, truth, tmp_path):
    data = truth.astype(np.uint16)
    data[:, :4] = 0
    path = write(tmp_path / folder / "s2.tif", data, S2_BANDS, tags=tags)
    with Scene(path) as scene:
        found = scene.read(0, 0, SIZE, SIZE)
        assert scene.offset == offset and scene.level == ("L2A" if "L2A" in folder else "L1C")
    np.testing.assert_allclose(1e4 * found["s2"][:, 4:], data[:, 4:] - float(offset), atol=1e-3 * 1e4)
    assert not found["valid"][:4].any() and np.isnan(found["s2"][:, :4]).all() and found["valid"][4:].all()
    with Scene(path, level="L2A", offset=7) as scene:
        assert (scene.level, scene.offset) == ("L2A", 7)


def test_a_folder_that_holds_a_product_is_that_product_and_one_of_two_is_refused(truth, tmp_path):
    names = [f"S2A_MSIL2A_20230501T100000_N0509_R122_T33UU{tile}.SAFE" for tile in "PQ"]
    for name in names:
        for i, band in enumerate(S2_BANDS):
            write(tmp_path / name / f"T33UUP_{band}_10m.tif", truth[i : i + 1].astype(np.uint16))
        if name == names[0]:
            with Scene(tmp_path) as scene:
                assert (scene.level, scene.offset) == ("L2A", 1000)
    with pytest.raises(DataError, match=r"T33UUP and .*T33UUQ; give the folder of one"):
        Scene(tmp_path)


def test_without_b10_the_level_is_l2a_and_the_band_says_nothing(truth, tmp_path):
    names = [name for name in S2_BANDS if name != "B10"]
    data = np.delete(truth, 10, 0).astype(np.uint16)
    with Scene(write(tmp_path / "s2.tif", np.concatenate([data, data[:1]]), [*names, "SCL"])) as scene:
        found = scene.read(0, 0, 8, 8)
    assert scene.level == "L2A" and np.isnan(found["s2"][10]).all() and found["valid"].all()
    np.testing.assert_array_equal(np.rint(1e4 * found["s2"][12]), data[11, :8, :8])


def test_radar_on_a_grid_in_degrees_lies_where_it_belongs(s2, tmp_path):
    edges_x, edges_y = transform(UTM, "EPSG:4326", [ORIGIN[0] - 300, ORIGIN[0] + 700], [ORIGIN[1] + 300] * 2)
    step = 1e-4
    shape = (140, 160)
    rows, columns = np.indices(shape)
    lon, lat = edges_x[0] + (columns + 0.5) * step, edges_y[0] - (rows + 0.5) * step
    x, y = transform("EPSG:4326", UTM, lon.ravel(), lat.ravel())
    plane = (-20 + (np.array(x) - ORIGIN[0]) / 200 + (ORIGIN[1] - np.array(y)) / 400).reshape(shape)
    data = np.stack([plane - 6, plane]).astype(np.float32)  # VH comes first
    data[:, :, 100:] = -9999
    names, corner = ["Sigma0_VH_db", "Sigma0_VV_db"], (edges_x[0], edges_y[0])
    path = write(tmp_path / "s1.tif", data, names, step, 4326, corner, nodata=-9999)
    with Scene(s2, path) as scene:
        found = scene.read(0, 0, SIZE, SIZE)
    px, py = centres(10, (SIZE, SIZE))
    expected = -20 + (px - ORIGIN[0]) / 200 + (ORIGIN[1] - py) / 400
    valid = found["valid"]
    assert 0.3 < valid.mean() < 0.8 and not valid[:, -1].any() and np.isnan(found["s2"][:, ~valid]).all()
    inner = valid & np.roll(valid, -2, 1)
    np.testing.assert_allclose(found["s1"][0][inner], expected[inner], atol=0.02)
    np.testing.assert_allclose(found["s1"][1][inner], expected[inner] - 6, atol=0.02)


DATA = np.ones((13, 32, 32), np.uint16)


@pytest.mark.parametrize(
    ("message", "data", "how"),
    [
        ("4 bands without names; B01.*not found", DATA[:4], {}),
        ("4 bands named a, b, c, d; B01.*not found", DATA[:4], {"names": tuple("abcd")}),
        ("EPSG:4326 is geographic.*gdalwarp", DATA, {"crs": 4326, "step": 1e-4, "origin": (14.0, 52.0)}),
        ("no coordinate reference system", DATA, {"crs": None}),
        ("pixels of 20 × 20", DATA, {"step": 20.0}),
        ("pixels are uint8; expected uint16", DATA.astype(np.uint8), {}),
    ],
)
def test_what_does_not_fit_is_refused_by_name_and_reason(message, data, how, tmp_path):
    with pytest.raises(DataError, match=message):
        Scene(write(tmp_path / "s2.tif", data, **how))


def test_what_is_no_image_and_radar_of_another_place_or_unit_is_refused(s2, tmp_path):
    (tmp_path / "text.tif").write_text("no image")
    (tmp_path / "empty").mkdir()
    for path, message in (("text.tif", "cannot be read"), ("empty", "0 files without names; B01.*not found")):
        with pytest.raises(DataError, match=message):
            Scene(tmp_path / path)
    db = np.full((2, 32, 32), -12, np.float32)
    with pytest.raises(DataError, match=r"s1.tif: does not overlap .*s2.tif"):
        Scene(s2, write(tmp_path / "s1.tif", db, S1_BANDS, origin=(500_000, 4_160_000)))
    power = write(tmp_path / "power.tif", 10 ** (db / 10), S1_BANDS)
    with Scene(s2, power) as scene, pytest.raises(DataError, match=r"power.tif: values .*not decibels"):
        scene.read(0, 0, 32, 32)


def test_blocks_that_are_damaged_are_refused_when_they_are_read(tmp_path):
    noise = np.random.default_rng(0).integers(1, 9999, (13, 64, 64), dtype=np.uint16)
    path = write(tmp_path / "packed.tif", noise, compress="deflate")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2000] = bytes(2000)
    path.write_bytes(content)
    with Scene(path) as scene, pytest.raises(DataError, match=r"packed.tif: cannot be read"):
        scene.read(0, 0, 64, 64)
