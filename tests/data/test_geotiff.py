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
TILED = {"tiled": True, "blockxsize": 16, "blockysize": 16}
FORMS = [{}, {"blockysize": 5}, {"compress": "lzw"}, TILED, {"BIGTIFF": "YES"}, {"interleave": "band"}]


def array(bands=2, dtype="float32", size=16):
    if np.dtype(dtype).kind == "f":
        return RNG.normal(-12, 4, (bands, size, size)).astype(dtype)
    return RNG.integers(0, 100, (bands, size, size)).astype(dtype)


@pytest.fixture
def write(tmp_path):
    """`write(data, …)` is the path of a new file with these pixels."""
    made = []
    return lambda data, **how: made.append(0) or fake.write(tmp_path / f"file{len(made)}.tif", data, **how)


@pytest.mark.parametrize("options", FORMS, ids=str)
def test_every_form_is_read_whole_and_by_window(write, options):
    data = array(dtype="float64")
    path = write(data, **options)
    np.testing.assert_array_equal(geotiff.read_s1(path), data.astype(np.float32))
    np.testing.assert_array_equal(geotiff.read_s1(path, (2, 3, 5)), data[:, 2:7, 3:8].astype(np.float32))
    with pytest.raises(DataError, match="window"):
        geotiff.read_s1(path, (10, 10, 8))


@pytest.mark.parametrize("bits", [12, 14, 15])
@pytest.mark.parametrize("options", [{}, {"compress": "deflate"}], ids=str)
def test_fewer_bits_than_the_type_has_are_read_exactly(write, bits, options):
    data = RNG.integers(1, 2**bits, (13, 16, 16)).astype(np.uint16)
    np.testing.assert_array_equal(geotiff.read_s2(write(data, nbits=bits, **options))[0], data)


@pytest.mark.parametrize("epsg", [32632, 32735, 4326])
@pytest.mark.parametrize("counts", ["Point", "Area"])
def test_headers_say_where_a_patch_lies_however_a_file_counts_pixels(write, epsg, counts):
    path = write(array(), epsg=epsg, x=123.0, y=45.0, tags={"AREA_OR_POINT": counts})
    assert geotiff.read_header(path) == (epsg, 123.0, 45.0, 10.0, 16, 16)
    nowhere = (0, np.nan, np.nan, np.nan, 16, 16)
    np.testing.assert_equal(geotiff.read_header(write(array(), epsg=None)), nowhere)


VRT = b'<VRTDataset rasterXSize="1000000" rasterYSize="9"><VRTRasterBand dataType="Byte"/></VRTDataset>'


@pytest.mark.parametrize("content", [b"", b"hello", b"II*\0", b"MM\0*\xff\xff\xff\xff", VRT])
def test_files_that_are_no_tiff_are_refused(tmp_path, content):
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    for read in (geotiff.read_header, geotiff.read_s1, geotiff.read_s2, geotiff.read_labels):
        with pytest.raises(DataError, match=r"a\.tif"):
            read(path)


@pytest.mark.parametrize("dtype", ["int16", "int32"])
def test_radar_integers_are_decibels_divided_by_the_scale_given_or_declared_band_by_band(write, dtype):
    data = RNG.integers(-3000, -100, (2, 16, 16)).astype(dtype)
    np.testing.assert_allclose(geotiff.read_s1(write(data), scale=0.01), data * 0.01, rtol=1e-6)
    declared = geotiff.read_s1(write(data, scales=(0.01, 0.005)))
    np.testing.assert_allclose(declared, data * np.array([0.01, 0.005])[:, None, None], rtol=1e-5)
    with pytest.raises(DataError, match=r"not decibels.*give the scale"):
        geotiff.read_s1(write(data))
    decibels = np.clip(data, -40, -1)
    np.testing.assert_array_equal(geotiff.read_s1(write(decibels, tags={"SCALE": "0.5"})), decibels)


def test_radar_bands_are_sorted_by_name(write):
    data, vh, vv = array(), "Sigma0_VH_db", "Sigma0_VV_db"
    np.testing.assert_array_equal(geotiff.read_s1(write(data, descriptions=(vh, vv))), data[::-1])
    for names in (("HH", "HV"), (vv, vv), (vv, "")):
        with pytest.raises(DataError, match="cannot tell which they are"):
            geotiff.read_s1(write(data, descriptions=names))


def test_no_data_infinities_and_a_border_of_zeros_become_nan(write):
    data = array()
    data[0, 0, 0], data[1, 2, 3], data[0, 5, 5], data[:, 7, 7], data[0, 8, 8] = np.inf, np.nan, -9999, 0, 0
    got = geotiff.read_s1(write(data, nodata=-9999))
    assert np.isnan(got[[0, 1, 0], [0, 2, 5], [0, 3, 5]]).all() and np.isnan(got[:, 7, 7]).all()
    assert np.isnan(got).sum() == 5


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32"])
def test_optical_integers_become_uint16_with_bands_sorted_by_name(write, dtype):
    data, names = array(13, dtype), [band.replace("B0", "b") for band in S2_BANDS]
    for path in (write(data), write(data[::-1], descriptions=names[::-1])):
        got, offset = geotiff.read_s2(path)
        assert got.dtype == np.uint16 and offset == 0
        np.testing.assert_array_equal(got, data)


def test_level_2a_needs_names_or_an_order_and_gets_an_empty_b10(write):
    data = array(12, "uint16")
    for path, bands in ((write(data, descriptions=S2_BANDS_L2A), ()), (write(data), S2_BANDS_L2A)):
        got, _ = geotiff.read_s2(path, bands=bands)
        np.testing.assert_array_equal(np.delete(got, 10, 0), data)
        assert not got[10].any()
    with pytest.raises(DataError, match="cannot tell which"):
        geotiff.read_s2(write(data))


@pytest.mark.parametrize(("dtype", "nodata"), [("int16", -9999), ("int32", -9999), ("uint16", 65535)])
def test_no_data_is_masked_before_values_are_judged(write, dtype, nodata):
    data = array(13, dtype) + 1
    data[3, 4, 5] = nodata
    got, _ = geotiff.read_s2(write(data, nodata=nodata))
    assert not got[:, 4, 5].any() and (got.any(0).sum() == 255)
    labels = geotiff.read_labels(write(data[3:4], nodata=nodata))
    assert labels[4, 5] == 255 and (labels != 255).sum() == 255


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
def test_the_offset_is_what_the_metadata_say(write, tags, offset):
    assert geotiff.read_s2(write(array(13, "uint16"), tags=tags))[1] == offset


def test_an_offset_declared_as_that_of_the_bands_is_read_and_other_words_refused(write):
    data = array(13, "uint16")
    assert geotiff.read_s2(write(data, scales=(1e-4,) * 13, offsets=(-0.1,) * 13))[1] == 1000
    with pytest.raises(DataError, match=r"expected 0\.0001"):
        geotiff.read_s2(write(data, scales=(0.01,) * 13))
    with pytest.raises(DataError, match="s2_offset"):
        geotiff.read_s2(write(data, tags={"PROCESSING_BASELINE": "latest"}))


@pytest.mark.parametrize(
    ("sensor", "data", "says"),
    [
        ("s1", array(3), "3 bands"),
        ("s1", array(2, "uint8"), "S1 as uint8"),
        ("s1", np.full((2, 16, 16), 500, np.float32), "not decibels"),
        ("s2", array(13, "float32"), "S2 as float32"),
        ("s2", array(13, "uint8"), "picture"),
        ("s2", np.full((13, 16, 16), -5, np.int16), "expected 0 to 65535"),
        ("lc", array(1, "float32"), "label map as float32"),
        ("lc", np.full((1, 16, 16), 300, np.int32), "label codes"),
    ],
)
def test_wrong_files_are_refused_by_name(write, sensor, data, says):
    path = write(data)
    read = {"s1": geotiff.read_s1, "s2": geotiff.read_s2, "lc": geotiff.read_labels}[sensor]
    with pytest.raises(DataError, match=says) as error:
        read(path)
    assert path.name in str(error.value) and "\n" not in str(error.value)


def test_damage_inside_a_deflated_strip_is_found(write):
    path = write(array(13, "uint16"), compress="deflate", interleave="band", blockysize=16)
    whole = bytearray(path.read_bytes())
    with rasterio.open(path) as image:
        starts = [int(image.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=b)) for b in image.indexes]
    for start, at in product(starts, (20, 100, 150, 250)):
        damaged = bytearray(whole)
        damaged[start + at] ^= 0x55
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=path.name):
            geotiff.read_s2(path)


@pytest.mark.parametrize("options", [*FORMS, {"compress": "deflate"}], ids=str)
def test_cut_files_are_refused_and_flipped_bits_in_the_header_never_crash(write, options):
    """A bit of a file without checksums can be changed unnoticed, but nothing else than a `DataError` is raised."""
    path = write(array(13, "uint16"), **options)
    whole, rng, refused = path.read_bytes(), np.random.default_rng(5), 0
    for _ in range(15):
        path.write_bytes(whole[: rng.integers(1, len(whole) * 9 // 10)])
        with pytest.raises(DataError, match=path.name):
            geotiff.read_s2(path)
    for _ in range(60):
        damaged = bytearray(whole)
        for at in rng.integers(0, 600, rng.integers(1, 4)):
            damaged[at] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            geotiff.read_s2(path)
        except DataError:
            refused += 1
    assert refused > 10


@pytest.mark.parametrize("options", [{}, {"compress": "deflate"}, TILED, {"interleave": "band"}], ids=str)
def test_images_that_were_never_written_are_refused_not_read_as_zeros(tmp_path, options):
    path = tmp_path / "a.tif"
    shape = {"width": 32, "height": 32, "count": 2, "dtype": "float32", "crs": "EPSG:32632"}
    options = {"SPARSE_OK": True, "blockysize": 16, **options}
    with rasterio.open(path, "w", driver="GTiff", **shape, **options) as file:
        file.write(array(size=16), window=Window(0, 0, 16, 16))
    with pytest.raises(DataError, match="never written"):
        geotiff.read_s1(path)
