"""Maps of whole scenes: no seams, the right pixels, files that others can read, and nothing half-written."""

import shutil

import numpy as np
import pytest
import rasterio
import torch
import torch.nn.functional as F
from rasterio.transform import from_origin
from torch import nn
from typer.testing import CliRunner

from eo_ssl import cli, mapping
from eo_ssl.data.scene import Scene
from eo_ssl.data.statistics import Statistics
from eo_ssl.errors import ConfigError, DataError
from eo_ssl.mapping import STEPS, blend_window, blended, map_scene
from eo_ssl.sensors import CLASS_NAMES, CLASSES, S2_BANDS, level_change
from eo_ssl.train.checkpoint import write_model
from eo_ssl.train.config import FinetuneConfig
from eo_ssl.train.downstream import Downstream

PLACE = {"crs": "EPSG:32618", "transform": from_origin(4e5, 4e6, 10, 10)}
PLAIN = Statistics((0.0,) * 2, (1.0,) * 2, (0.0,) * 13, (1.0,) * 13)


class Dark(nn.Module):
    """Water (7) where the near infrared is below 0.2, forest (0) elsewhere, the surer the farther from it."""

    def forward(self, batch):
        margin = 40 * (0.2 - batch["s2"][:, 7:8])  # (B, 1, H, W)
        return torch.cat([-margin, torch.full_like(margin, -20).expand(-1, 6, -1, -1), margin], 1)


def model(net=None, tile=32, **settings):
    config = FinetuneConfig(model="unet", task="segment", image_size=tile, unet_width=4, **settings)
    torch.manual_seed(0)
    return Downstream(config.to_dict(), PLAIN.to_dict(), model=net)


def scene_file(path, height=150, width=100):
    """A scene whose near infrared is water in circles, without data in a corner."""
    y, x = np.indices((height, width))
    data = np.full((13, height, width), 900, np.uint16)
    data[7] = 2000 + 1000 * np.sin(y / 9) * np.cos(x / 7)
    data[:, :20, :30] = 0
    profile = {"driver": "GTiff", "count": 13, "height": height, "width": width, "dtype": "uint16"}
    with rasterio.open(path, "w", **profile | PLACE) as image:
        image.write(data)
        image.descriptions = S2_BANDS


@pytest.fixture
def s2(tmp_path):
    scene_file(tmp_path / "s2.tif")
    return tmp_path / "s2.tif"


def smooth(batch):
    """Probabilities from a blur of 17 pixels: near the edge of a tile it sees too little, like a network."""
    blur = F.avg_pool2d(batch["s2"][:, :1], 17, 1, 8, count_include_pad=True)
    return torch.cat([blur, 1 - blur, *[torch.zeros_like(blur)] * 6], 1)


@pytest.mark.parametrize("tile", [16, 62])
def test_windows_half_a_tile_apart_add_up_to_one(tile):
    window, half = blend_window(tile), tile // 2
    parts = [window[a : a + half, b : b + half] for a in (0, half) for b in (0, half)]
    np.testing.assert_allclose(sum(parts), 1, atol=1e-6)
    assert (window > 0).all() and window[half, half] > 0.9 > 0.1 > window[0].max()


def test_the_blended_map_of_a_smooth_function_is_that_of_the_whole_image_without_seams():
    tile, y, x = 64, *np.indices((160, 224))
    field = torch.from_numpy(0.5 + 0.3 * np.sin(y / 40) * np.cos(x / 50)).float()
    s2 = F.pad(field.expand(13, -1, -1), (tile // 2,) * 4, mode="reflect")  # as `blended` wants it
    image = {"s2": s2, "valid": torch.ones(s2.shape[1:], dtype=torch.bool)}
    exact = smooth({"s2": image["s2"][None]})[0, 0, 32:-32, 32:-32]
    found = blended(smooth, image, tile)[0, 32:-32, 32:-32]
    assert (found - exact).abs().max() < 0.025  # tiles set side by side are wrong by more than 0.2
    for axis in (0, 1):  # a seam is a step between neighbours
        assert (found.diff(dim=axis) - exact.diff(dim=axis)).abs().max() < 0.01


def test_a_function_of_pixels_alone_is_mapped_exactly_and_only_where_there_are_data(s2, tmp_path):
    with Scene(s2) as scene:
        shares = map_scene(model(Dark()), scene, tmp_path / "map.tif")
    with rasterio.open(s2) as image:
        data, place = image.read(), (image.crs, image.transform, image.shape)
    truth = np.where(data.any(0), np.where(data[7] < 2000, 7, 0), 255)
    margin = 80 * (0.2 - data[7] / 1e4)
    with rasterio.open(tmp_path / "map.tif") as found, rasterio.open(tmp_path / "map_confidence.tif") as sure:
        assert (found.crs, found.transform, found.shape) == (sure.crs, sure.transform, sure.shape) == place
        clear = np.abs(margin) > 1e-3
        np.testing.assert_array_equal(found.read(1)[clear], truth[clear])
        assert found.nodata == sure.nodata == 255 and found.dtypes == ("uint8",)
        colours = {c.code: found.colormap(1)[c.code][:3] for c in CLASSES}
        assert colours == {c.code: tuple(bytes.fromhex(c.colour[1:])) for c in CLASSES}
        assert [found.tags()[f"class_{i}"] for i in range(8)] == list(CLASS_NAMES) == list(sure.descriptions)
        water = sure.read(8)[truth < 255] * sure.scales[7]
        np.testing.assert_allclose(water, 1 / (1 + np.exp(-margin[truth < 255])), atol=1 / STEPS)
        assert (sure.read()[:, truth == 255] == 255).all()
    known = truth[truth < 255]
    assert shares == pytest.approx({c.name: (known == c.code).mean() for c in CLASSES}, abs=1e-3)
    from PIL import Image

    with Image.open(tmp_path / "map.png") as picture:
        assert picture.getpixel((99, 140)) == colours[truth[140, 99]]
        assert picture.getpixel((2, 2)) == (255, 255, 255)


def test_blocks_do_not_show_and_two_runs_give_the_same_bytes(s2, tmp_path, monkeypatch):
    class Around(nn.Module):
        def forward(self, batch):
            return 20 * F.pad(batch["s2"][:, 3:11], (2,) * 4)[..., 4:, 4:]  # each pixel asks one further up

    down = model(Around())
    for name, block in (("large", 1024), ("small", 32), ("again", 32)):
        monkeypatch.setattr(mapping, "BLOCK", block)
        with Scene(s2) as scene:
            map_scene(down, scene, tmp_path / f"{name}.tif")
    maps = []
    for name in ("large", "small"):
        with rasterio.open(tmp_path / f"{name}_confidence.tif") as image:
            maps.append(image.read().astype(int))
    assert np.abs(maps[0] - maps[1]).max() <= 1
    for kind in (".tif", "_confidence.tif", ".png"):
        assert (tmp_path / f"small{kind}").read_bytes() == (tmp_path / f"again{kind}").read_bytes()


@pytest.mark.parametrize("name", ["map.tif", "map_confidence.tif"])
def test_both_files_are_cloud_optimized(name, tmp_path):
    """What GDAL's validator asks for: tiles, overviews down to one tile, all headers before all pixels, coarse first."""
    scene_file(tmp_path / "s2.tif", 60, 600)
    with Scene(tmp_path / "s2.tif") as scene:
        map_scene(model(Dark(), tile=256), scene, tmp_path / "map.tif")
    first, headers = [], []
    with rasterio.open(tmp_path / name) as image:
        levels = image.overviews(1)
        assert image.block_shapes[0] == (512, 512) and max(image.shape) / levels[-1] <= 512
        assert image.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    for level in [{}, *({"overview_level": number} for number in range(len(levels)))]:
        with rasterio.open(tmp_path / name, **level) as image:
            first.append(int(image.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1)))
            headers.append(int(image.get_tag_item("IFD_OFFSET", "TIFF", bidx=1)))
    assert headers == sorted(headers) and max(headers) < min(first) and first == sorted(first, reverse=True)


def test_a_scene_of_surface_reflectance_is_taken_up_to_the_sensor(s2, tmp_path):
    seen = []

    class Watch(Dark):
        def forward(self, batch):
            seen.append(batch["s2"][:, 7].amax())  # where there are no data it is 0
            return super().forward(batch)

    for level in ("L1C", "L2A"):
        with Scene(s2, level=level) as scene:
            map_scene(model(Watch()), scene, tmp_path / f"{level}.tif")
    gain, path = (float(part[7]) for part in level_change("L2A", "L1C"))
    as_it_is, converted = torch.stack(seen).chunk(2)
    torch.testing.assert_close(converted, as_it_is * gain + path)


def test_refusals_leave_nothing_behind(s2, tmp_path, monkeypatch):
    with Scene(s2) as scene:
        with pytest.raises(ConfigError, match="trained for single-label patches"):
            other = FinetuneConfig(model="s2", task="single", backbone="resnet_nano", image_size=32)
            map_scene(Downstream(other.to_dict(), PLAIN.to_dict()), scene, tmp_path / "map.tif")
        with pytest.raises(DataError, match=r"s2.tif: exists"):
            map_scene(model(Dark()), scene, s2)
        monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 1000))
        with pytest.raises(DataError, match=r"the map needs .* free some space"):
            map_scene(model(Dark()), scene, tmp_path / "map.tif")
    assert list(tmp_path.iterdir()) == [s2]


def test_a_disk_that_fills_up_is_one_line_and_leaves_no_file(s2, tmp_path):
    class Noise(nn.Module):
        def forward(self, batch):
            return torch.randn(len(batch["s2"]), 8, *batch["s2"].shape[2:])

    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Scene(s2) as scene:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))  # of any file
        try:
            with pytest.raises(DataError, match=r"map.tif: cannot be written"):
                map_scene(model(Noise()), scene, tmp_path / "map.tif")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == [s2]


def test_the_command_maps_a_scene_and_says_what_it_found(s2, tmp_path):
    write_model(model(), tmp_path / "model")
    call = ["map", str(s2), str(tmp_path / "map.tif"), "--model", str(tmp_path / "model"), "--offset", "0"]
    done = CliRunner().invoke(cli.app, call)
    assert done.exit_code == 0, done.output
    assert "L1C, offset 0, 100 × 150 pixels" in done.output and "Forest" in done.output
    assert {path.name for path in tmp_path.glob("map*")} == {"map.tif", "map_confidence.tif", "map.png"}


@pytest.mark.slow
def test_memory_does_not_grow_with_the_scene(tmp_path):
    resource = pytest.importorskip("resource")
    profile = {"driver": "GTiff", "tiled": True, "compress": "deflate", "SPARSE_OK": True, "nodata": 0}
    profile |= {"count": 13, "height": 10_000, "width": 10_000, "dtype": "uint16"}
    with rasterio.open(tmp_path / "s2.tif", "w", **profile | PLACE) as image:
        for at in (0, 3000, 9000):
            data = np.full((13, 1000, 1000), 900, np.uint16)
            image.write(data, window=rasterio.windows.Window(at, at, 1000, 1000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Scene(tmp_path / "s2.tif") as scene:
        map_scene(model(Dark(), tile=128), scene, tmp_path / "map.tif")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert peak < 2 * 2**20 and peak - before < 2**20  # kilobytes
    with rasterio.open(tmp_path / "map.tif") as found:
        assert found.read(1, window=rasterio.windows.Window(9500, 9500, 1, 1)) == 7
        assert found.read(1, window=rasterio.windows.Window(5000, 9500, 1, 1)) == 255
