import fake_patches as fake
import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from eo_ssl.data import geotiff, strips, tiff
from eo_ssl.data.tiff import read_header
from eo_ssl.errors import DataError
from eo_ssl.sensors import S2_BANDS

RNG = np.random.default_rng(0)
DTYPES = ["uint8", "uint16", "int16", "int32", "float32", "float64"]


def array(bands=2, dtype="float32", size=16):
    if np.dtype(dtype).kind == "f":
        return RNG.normal(-12, 4, (bands, size, size)).astype(dtype)
    return RNG.integers(0, 100, (bands, size, size)).astype(dtype)


FORMS = [
    {},
    {"blockysize": 5},
    {"compress": "deflate", "blockysize": 16},
    {"compress": "deflate", "blockysize": 7, "predictor": 2},
    {"compress": "deflate", "predictor": 3},
    {"endianness": "big"},
    {"endianness": "big", "compress": "deflate", "predictor": 2},
]
NEEDS = {2: "ui", 3: "f"}  # kinds of values a predictor can be used with
CASES = [
    (d, form) for d in DTYPES for form in FORMS if np.dtype(d).kind in NEEDS.get(form.get("predictor"), "uif")
]


@pytest.mark.parametrize(("dtype", "options"), CASES, ids=str)
@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_strips_are_read_as_gdal_reads_them(tmp_path, dtype, interleave, options):
    path = fake.write(tmp_path / "a.tif", array(3, dtype), interleave=interleave, **options)
    header = read_header(path)
    for window in (None, (0, 0, 16), (3, 5, 8), (8, 0, 8), (15, 15, 1)):
        got = strips.read_strips(path, header, window)
        with rasterio.open(path) as image:
            area = window and Window(window[1], window[0], window[2], window[2])
            expected = image.read(window=area)
        assert got is not None, "read by GDAL instead"
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    "options",
    [{"compress": "lzw"}, {"tiled": True, "blockxsize": 16, "blockysize": 16}, {"BIGTIFF": "YES"}],
    ids=str,
)
def test_other_forms_are_left_to_gdal_and_read_alike(tmp_path, options):
    data = array()
    path = fake.write(tmp_path / "a.tif", data, **options)
    header = read_header(path)
    assert header is None or strips.read_strips(path, header, None) is None
    np.testing.assert_array_equal(geotiff.read_s1(path), data)
    np.testing.assert_array_equal(geotiff.read_s1(path, (2, 3, 5)), data[:, 2:7, 3:8])


@pytest.mark.parametrize("epsg", [32632, 32735, 4326])
def test_headers_say_where_a_patch_lies(tmp_path, epsg):
    path = fake.write(tmp_path / "a.tif", array(), epsg=epsg, x=123.0, y=45.0)
    header = read_header(path)
    assert (header.epsg, header.x, header.y, header.resolution) == (epsg, 123.0, 45.0, 10.0)
    assert geotiff.place(path) == (epsg, 123.0, 45.0, 10.0)


def test_a_file_without_crs_has_no_place(tmp_path):
    assert geotiff.place(fake.write(tmp_path / "a.tif", array(), epsg=None)) is None


def test_files_that_are_no_tiff_have_no_header(tmp_path):
    path = tmp_path / "a.tif"
    for content in (b"", b"hello", b"II*\0", b"MM\0*\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff"):
        path.write_bytes(content)
        assert tiff.read_header(path) is None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_radar_floats_are_decibels(tmp_path, dtype):
    data = array(dtype=dtype)
    got = geotiff.read_s1(fake.write(tmp_path / "a.tif", data))
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, data.astype(np.float32))


@pytest.mark.parametrize("dtype", ["int16", "int32"])
def test_radar_integers_are_decibels_divided_by_the_scale_given(tmp_path, dtype):
    data = RNG.integers(-3000, 0, (2, 16, 16)).astype(dtype)
    path = fake.write(tmp_path / "a.tif", data)
    np.testing.assert_allclose(geotiff.read_s1(path, scale=0.01), data * 0.01, rtol=1e-6)
    declared = fake.write(tmp_path / "b.tif", data, scales=(0.01, 0.01))
    np.testing.assert_allclose(geotiff.read_s1(declared), data * 0.01, rtol=1e-6)


def test_scaled_radar_integers_without_a_scale_are_refused_with_the_fix(tmp_path):
    path = fake.write(tmp_path / "a.tif", np.full((2, 16, 16), -1200, np.int16))
    with pytest.raises(DataError, match=r"a\.tif.*not decibels.*give the scale"):
        geotiff.read_s1(path)


def test_whole_decibels_as_integers_are_read_as_they_are(tmp_path):
    path = fake.write(tmp_path / "a.tif", np.full((2, 16, 16), -12, np.int16))
    assert (geotiff.read_s1(path) == -12).all()


def test_no_data_and_infinities_become_nan(tmp_path):
    data = array()
    data[0, 0, 0], data[1, 2, 3], data[0, 5, 5] = np.inf, np.nan, -9999
    got = geotiff.read_s1(fake.write(tmp_path / "a.tif", data, nodata=-9999))
    assert np.isnan(got[[0, 1, 0], [0, 2, 5], [0, 3, 5]]).all() and np.isnan(got).sum() == 3


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32"])
def test_optical_integers_become_uint16(tmp_path, dtype):
    data = array(13, dtype)
    got, offset = geotiff.read_s2(fake.write(tmp_path / "a.tif", data))
    assert got.dtype == np.uint16 and offset == 0
    np.testing.assert_array_equal(got, data)


def test_optical_bands_are_sorted_by_name(tmp_path):
    data = array(13, "uint16")
    names = list(S2_BANDS[::-1])
    got, _ = geotiff.read_s2(fake.write(tmp_path / "a.tif", data, descriptions=names))
    np.testing.assert_array_equal(got, data[::-1])


@pytest.mark.parametrize("options", [{}, {"tiled": True, "blockxsize": 16, "blockysize": 16}], ids=str)
def test_level_2a_needs_names_and_gets_an_empty_b10(tmp_path, options):
    data = array(12, "uint16")
    names = [name for name in S2_BANDS if name != "B10"]
    got, _ = geotiff.read_s2(fake.write(tmp_path / "a.tif", data, descriptions=names, **options))
    np.testing.assert_array_equal(np.delete(got, 10, 0), data)
    assert not got[10].any()
    with pytest.raises(DataError, match="cannot tell which"):
        geotiff.read_s2(fake.write(tmp_path / "b.tif", data, **options))


@pytest.mark.parametrize(
    ("tags", "offset"),
    [
        ({}, 0),
        ({"PROCESSING_BASELINE": "02.09"}, 0),
        ({"PROCESSING_BASELINE": "N0400"}, 1000),
        ({"PROCESSING_BASELINE": "05.11"}, 1000),
        ({"RADIO_ADD_OFFSET": "-1000"}, 1000),
        ({"BOA_ADD_OFFSET": "-1000"}, 1000),
    ],
    ids=str,
)
@pytest.mark.parametrize("options", [{}, {"compress": "lzw"}], ids=str)
def test_the_offset_is_what_the_metadata_say(tmp_path, tags, offset, options):
    path = fake.write(tmp_path / "a.tif", array(13, "uint16"), tags=tags, **options)
    assert geotiff.read_s2(path)[1] == offset


@pytest.mark.parametrize(
    ("sensor", "data", "says"),
    [
        ("s1", array(3), "3 bands"),
        ("s1", array(2, "uint8"), "S1 as uint8"),
        ("s1", np.full((2, 16, 16), 500, np.float32), "not decibels"),
        ("s2", array(10, "uint16"), "10 bands"),
        ("s2", array(13, "float32"), "S2 as float32"),
        ("s2", np.full((13, 16, 16), -5, np.int16), "expected 0 to 65535"),
        ("lc", array(2, "uint8"), "2 bands"),
        ("lc", array(1, "float32"), "label map as float32"),
        ("lc", np.full((1, 16, 16), 300, np.int32), "label codes"),
    ],
)
def test_wrong_files_are_refused_by_name(tmp_path, sensor, data, says):
    path = fake.write(tmp_path / "the_file.tif", data)
    read = {"s1": geotiff.read_s1, "s2": geotiff.read_s2, "lc": geotiff.read_labels}[sensor]
    with pytest.raises(DataError, match=says) as error:
        read(path)
    assert "the_file.tif" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "options", [{}, {"compress": "deflate"}, {"compress": "lzw"}, {"interleave": "band"}], ids=str
)
def test_truncated_files_are_refused_at_every_length(tmp_path, options):
    path = fake.write(tmp_path / "a.tif", array(13, "uint16"), **options)
    whole = path.read_bytes()
    for length in np.linspace(0, len(whole) - 1, 25).astype(int):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"a\.tif"):
            geotiff.read_s2(path)


def test_damage_inside_a_deflated_strip_is_found(tmp_path):
    path = fake.write(
        tmp_path / "a.tif", array(13, "uint16"), compress="deflate", interleave="band", blockysize=16
    )
    header, whole = read_header(path), bytearray(path.read_bytes())
    refused = 0
    for strip in range(13):
        damaged = bytearray(whole)
        damaged[header.offsets[strip] + header.sizes[strip] // 2] ^= 0x55
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"a\.tif"):
            geotiff.read_s2(path)
        refused += 1
    assert refused == 13


def test_windows_outside_the_image_are_refused(tmp_path):
    for options in ({}, {"compress": "lzw"}):
        path = fake.write(tmp_path / "a.tif", array(), **options)
        with pytest.raises(DataError, match="window"):
            geotiff.read_s1(path, (10, 10, 8))


def test_absurd_sizes_are_refused_before_memory_is_asked_for(tmp_path):
    path = fake.write(tmp_path / "a.tif", np.zeros((1, 1, 1), np.uint8))
    text = (
        '<VRTDataset rasterXSize="1000000" rasterYSize="1000000"><VRTRasterBand dataType="Float32" band="1"/>'
        "</VRTDataset>"
    )
    path.write_text(text)
    with pytest.raises(DataError, match=r"a\.tif"):
        geotiff.read_s1(path)


@pytest.mark.parametrize("options", [{}, {"compress": "deflate"}, {"tiled": True, "blockxsize": 16}], ids=str)
def test_images_that_were_never_written_are_refused_not_read_as_zeros(tmp_path, options):
    path = tmp_path / "a.tif"
    shape = {"width": 32, "height": 32, "count": 2, "dtype": "float32"}
    with rasterio.open(
        path, "w", driver="GTiff", crs="EPSG:32632", SPARSE_OK=True, blockysize=16, **shape, **options
    ) as file:
        file.write(array(size=16), window=Window(0, 0, 16, 16))
    with pytest.raises(DataError, match="never written"):
        geotiff.read_s1(path)
