from itertools import product

import fake_patches as fake
import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from eo_ssl.data import geotiff
from eo_ssl.errors import DataError
from eo_ssl.sensors import S2_BANDS, S2_BANDS_L2A

RNG = np.random.default_rng(0)


def array(bands=2, dtype="float32", size=16):
    if np.dtype(dtype).kind == "f":
        return RNG.normal(-12, 4, (bands, size, size)).astype(dtype)
    return RNG.integers(0, 100, (bands, size, size)).astype(dtype)


TILED = {"tiled": True, "blockxsize": 16, "blockysize": 16}
FORMS = [{}, {"blockysize": 5}, {"compress": "lzw"}, TILED, {"BIGTIFF": "YES"}, {"interleave": "band"}]


@pytest.mark.parametrize("options", FORMS, ids=str)
def test_every_form_is_read_whole_and_by_window(tmp_path, options):
    data = array()
    path = fake.write(tmp_path / "a.tif", data, **options)
    np.testing.assert_array_equal(geotiff.read_s1(path), data)
    np.testing.assert_array_equal(geotiff.read_s1(path, (2, 3, 5)), data[:, 2:7, 3:8])


@pytest.mark.parametrize("bits", [12, 14, 15])
@pytest.mark.parametrize("options", [{}, {"compress": "deflate"}], ids=str)
def test_fewer_bits_than_the_type_has_are_read_exactly(tmp_path, bits, options):
    data = RNG.integers(1, 2**bits, (13, 16, 16)).astype(np.uint16)
    got, _ = geotiff.read_s2(fake.write(tmp_path / "a.tif", data, nbits=bits, **options))
    np.testing.assert_array_equal(got, data)


@pytest.mark.parametrize("epsg", [32632, 32735, 4326])
def test_headers_say_where_a_patch_lies(tmp_path, epsg):
    path = fake.write(tmp_path / "a.tif", array(), epsg=epsg, x=123.0, y=45.0)
    assert geotiff.read_header(path) == (epsg, 123.0, 45.0, 10.0, 16, 16)


def test_a_corner_does_not_depend_on_how_a_file_counts_pixels(tmp_path):
    for tags in ({"AREA_OR_POINT": "Point"}, {"AREA_OR_POINT": "Area"}):
        path = fake.write(tmp_path / f"{tags['AREA_OR_POINT']}.tif", array(), x=500.0, y=600.0, tags=tags)
        assert geotiff.read_header(path)[:4] == (32632, 500.0, 600.0, 10.0)


def test_a_file_without_crs_has_no_place(tmp_path):
    header = geotiff.read_header(fake.write(tmp_path / "a.tif", array(), epsg=None))
    assert header.epsg == 0 and np.isnan(header.x) and header.width == 16


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"II*\0", b"MM\0*\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff"]
)
def test_files_that_are_no_tiff_are_refused(tmp_path, content):
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    for read in (geotiff.read_header, geotiff.read_s1, geotiff.read_s2, geotiff.read_labels):
        with pytest.raises(DataError, match=r"a\.tif"):
            read(path)


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


def test_scale_and_offset_count_band_by_band_and_the_tag_scale_does_not(tmp_path):
    data = RNG.integers(-3000, -100, (2, 16, 16)).astype(np.int16)
    path = fake.write(tmp_path / "a.tif", data, scales=(0.01, 0.005))
    np.testing.assert_allclose(
        geotiff.read_s1(path), data * np.array([0.01, 0.005])[:, None, None], rtol=1e-5
    )
    decibels = np.clip(data, -40, -1)
    path = fake.write(tmp_path / "b.tif", decibels, tags={"SCALE": "0.5"})
    np.testing.assert_array_equal(geotiff.read_s1(path), decibels)


def test_radar_bands_are_sorted_by_name(tmp_path):
    data = array()
    for k, names in enumerate((("VH", "VV"), ("Sigma0_VH_db", "Sigma0_VV_db"))):
        path = fake.write(tmp_path / f"{k}.tif", data, descriptions=names)
        np.testing.assert_array_equal(geotiff.read_s1(path), data[::-1])
    for k, names in enumerate((("HH", "HV"), ("VV", "VV"), ("VV", ""))):
        path = fake.write(tmp_path / f"bad{k}.tif", data, descriptions=names)
        with pytest.raises(DataError, match="cannot tell which they are"):
            geotiff.read_s1(path)


def test_linear_power_is_refused_and_converted_on_request(tmp_path):
    power = RNG.uniform(0.01, 0.3, (2, 16, 16)).astype(np.float32)
    path = fake.write(tmp_path / "a.tif", power)
    with pytest.raises(DataError, match="power"):
        geotiff.read_s1(path)
    np.testing.assert_allclose(geotiff.read_s1(path, unit="power"), 10 * np.log10(power), rtol=1e-5)


def test_a_border_of_zeros_is_no_data(tmp_path):
    data = array()
    data[:, :, :3] = 0
    got = geotiff.read_s1(fake.write(tmp_path / "a.tif", data))
    assert np.isnan(got[:, :, :3]).all() and np.isfinite(got[:, :, 3:]).all()


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


@pytest.mark.parametrize(
    "names", [[f"B{k}" for k in (*range(1, 9), "8A", *range(9, 13))], [b.lower() for b in S2_BANDS]], ids=str
)
def test_optical_bands_are_sorted_by_name_in_other_spellings(tmp_path, names):
    data = array(13, "uint16")
    got, _ = geotiff.read_s2(fake.write(tmp_path / "a.tif", data[::-1], descriptions=names[::-1]))
    np.testing.assert_array_equal(got, data)


def test_unnamed_bands_are_taken_in_the_order_asked_for(tmp_path):
    data = array(13, "uint16")
    order = (*S2_BANDS[:8], *S2_BANDS[9:], "B8A")  # as in EuroSAT
    got, _ = geotiff.read_s2(fake.write(tmp_path / "a.tif", data), bands=order)
    np.testing.assert_array_equal(got[8], data[12])
    got, _ = geotiff.read_s2(fake.write(tmp_path / "b.tif", np.delete(data, 10, 0)), bands=S2_BANDS_L2A)
    np.testing.assert_array_equal(np.delete(got, 10, 0), np.delete(data, 10, 0))


@pytest.mark.parametrize(("dtype", "nodata"), [("int16", -9999), ("int32", -9999), ("uint16", 65535)])
def test_optical_no_data_is_masked_before_values_are_judged(tmp_path, dtype, nodata):
    data = array(13, dtype) + 1
    data[3, 4, 5] = nodata
    got, _ = geotiff.read_s2(fake.write(tmp_path / "a.tif", data, nodata=nodata))
    assert not got[:, 4, 5].any() and (got.any(0).sum() == 255)


def test_label_no_data_becomes_ignore(tmp_path):
    data = array(1, "int16")
    data[0, 2, 3] = -1
    got = geotiff.read_labels(fake.write(tmp_path / "a.tif", data, nodata=-1))
    assert got[2, 3] == 255 and (got != 255).sum() == 255


@pytest.mark.parametrize("options", [{}, TILED], ids=str)
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
        *[({"PROCESSING_BASELINE": text}, 0) for text in ("02.09", "N0209", "N0214", "0301", "")],
        *[({"PROCESSING_BASELINE": text}, 1000) for text in ("N0400", "04.00", "05.11", "0509", "n0511")],
        ({"RADIO_ADD_OFFSET": "-1000"}, 1000),
        ({"BOA_ADD_OFFSET": "-1000"}, 1000),
    ],
    ids=str,
)
@pytest.mark.parametrize("options", [{}, {"compress": "lzw"}], ids=str)
def test_the_offset_is_what_the_metadata_say(tmp_path, tags, offset, options):
    path = fake.write(tmp_path / "a.tif", array(13, "uint16"), tags=tags, **options)
    assert geotiff.read_s2(path)[1] == offset


def test_an_offset_declared_as_that_of_the_bands_is_read_and_another_scale_refused(tmp_path):
    path = fake.write(tmp_path / "a.tif", array(13, "uint16"), scales=(1e-4,) * 13, offsets=(-0.1,) * 13)
    assert geotiff.read_s2(path)[1] == 1000
    path = fake.write(tmp_path / "b.tif", array(13, "uint16"), scales=(0.01,) * 13)
    with pytest.raises(DataError, match=r"expected 0\.0001"):
        geotiff.read_s2(path)


def test_a_baseline_nobody_understands_is_refused_with_the_fix(tmp_path):
    path = fake.write(tmp_path / "a.tif", array(13, "uint16"), tags={"PROCESSING_BASELINE": "latest"})
    with pytest.raises(DataError, match="s2_offset"):
        geotiff.read_s2(path)


@pytest.mark.parametrize(
    ("sensor", "data", "says"),
    [
        ("s1", array(3), "3 bands"),
        ("s1", array(2, "uint8"), "S1 as uint8"),
        ("s1", np.full((2, 16, 16), 500, np.float32), "not decibels"),
        ("s2", array(10, "uint16"), "10 bands"),
        ("s2", array(13, "float32"), "S2 as float32"),
        ("s2", array(13, "uint8"), "picture"),
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
    whole = bytearray(path.read_bytes())
    with rasterio.open(path) as image:
        starts = [int(image.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=b)) for b in image.indexes]
    for start, at in product(starts, (20, 100, 150, 250)):
        damaged = bytearray(whole)
        damaged[start + at] ^= 0x55
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"a\.tif"):
            geotiff.read_s2(path)


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


@pytest.mark.parametrize(
    "options",
    [{}, {"compress": "deflate"}, {"tiled": True, "blockxsize": 16}, {"interleave": "band"}],
    ids=str,
)
def test_images_that_were_never_written_are_refused_not_read_as_zeros(tmp_path, options):
    path = tmp_path / "a.tif"
    shape = {"width": 32, "height": 32, "count": 2, "dtype": "float32"}
    with rasterio.open(
        path, "w", driver="GTiff", crs="EPSG:32632", SPARSE_OK=True, blockysize=16, **shape, **options
    ) as file:
        file.write(array(size=16), window=Window(0, 0, 16, 16))
    with pytest.raises(DataError, match="never written"):
        geotiff.read_s1(path)
