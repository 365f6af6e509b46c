"""A whole Sentinel-2 scene becomes a georeferenced map of land cover, block by block, whatever its size.

Each block is covered by tiles that overlap by half. A pixel gets the mean of what its tiles say, weighted by a window
that fades out towards the edges of a tile, so that no seam shows:

    p(x) = Σₜ w(x − t) · pₜ(x),   w(i, j) = sin²(π (i + ½) / n) · sin²(π (j + ½) / n),   Σₜ w(x − t) = 1
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import rasterio
import rasterio.shutil
import typer
from rasterio.errors import RasterioError
from rasterio.windows import Window
from tqdm import tqdm

from eo_ssl.data.geotiff import PatchError, require_sound
from eo_ssl.data.scene import Scene
from eo_ssl.errors import ConfigError, DataError
from eo_ssl.files import require_space
from eo_ssl.sensors import CLASSES, IGNORE, NUM_CLASSES

if TYPE_CHECKING:
    from torch import Tensor

    from eo_ssl.train.downstream import Downstream

BLOCK = 1024  # pixels, about: the side of what is read, mapped and written at a time
BATCH = 32  # tiles
STEPS = 250  # a confidence of 1 in the file of confidences
PICTURE = 1200  # pixels, the longer side of the quick-look
COLOURS = [tuple(bytes.fromhex(c.colour[1:])) for c in CLASSES]

Images = dict[str, "Tensor"]  # s1 (2, H, W) dB, s2 (13, H, W) reflectance, valid (H, W)


def blend_window(tile: int) -> np.ndarray:
    """sin²(π (i + ½) / n) along both axes, (n, n) float32; windows half a tile apart add up to 1.

    >>> w = blend_window(4)
    >>> np.allclose(w[:2, :2] + w[2:, :2] + w[:2, 2:] + w[2:, 2:], 1)
    True
    """
    side = np.sin(np.pi * (np.arange(tile) + 0.5) / tile) ** 2
    return np.outer(side, side).astype(np.float32)


def blended(predict: Callable[[Images], "Tensor"], images: Images, tile: int) -> "Tensor":
    """Σ w · p over tiles half a tile apart: (K, H, W), whole but for the outer half tile, which the caller cuts off.

    H and W are multiples of half a tile; tiles without a valid pixel are left out. `predict` gives the probabilities
    (B, K, tile, tile) of a batch of tiles.
    """
    import torch

    half, (height, width) = tile // 2, images["valid"].shape
    places = [(y, x) for y in range(0, height - half, half) for x in range(0, width - half, half)]
    places = [(y, x) for y, x in places if images["valid"][y : y + tile, x : x + tile].any()]
    window = torch.from_numpy(blend_window(tile)).to(images["valid"].device)
    total = window.new_zeros(NUM_CLASSES, height, width)
    for first in range(0, len(places), BATCH):
        part = places[first : first + BATCH]
        cuts = {k: [x[..., y : y + tile, x0 : x0 + tile] for y, x0 in part] for k, x in images.items()}
        found = predict({k: torch.stack(tiles) for k, tiles in cuts.items()}) * window  # (B, K, tile, tile)
        for (y, x), one in zip(part, found):
            total[:, y : y + tile, x : x + tile] += one
    return total


def map_scene(down: "Downstream", scene: Scene, out: Path) -> dict[str, float]:
    """Map a scene with a trained segmentation model, on the device where that is; returns the share of each class.

    Writes `out`, a Cloud-Optimized GeoTIFF of classes (255: no data) with their colours and names; beside it the
    confidence in each class (8 bands, 250 is certain) as `…_confidence.tif`, and a picture as `….png`. All three appear
    whole or not at all. Raises `ConfigError` for a model of patches, `DataError` for a scene that cannot be read, a name
    that is taken, or a disk that is full.
    """
    import torch

    if down.config.task != "segment":
        raise ConfigError(
            f"this model was trained for {down.config.task}-label patches; a map needs task segment"
        )
    down.eval()
    device, tile = down.device, down.config.image_size

    def predict(batch: Images) -> "Tensor":
        with torch.no_grad():
            return down.model(down.prepare(batch, scene.level)).float().softmax(1)

    half, step = tile // 2, math.lcm(tile // 2, 16)  # blocks of a GeoTIFF are multiples of 16
    side, (height, width) = step * max(1, BLOCK // step), scene.grid.shape
    corners = [(top, left) for top in range(0, height, side) for left in range(0, width, side)]
    counts = np.zeros(256, np.int64)
    with _written(out, scene, side) as (classes, confidence):
        for top, left in tqdm(corners, "mapping", unit="block", disable=None):
            h, w = min(side, height - top), min(side, width - left)
            high, wide = (-(-length // half) * half + tile for length in (h, w))
            images = scene.read(top - half, left - half, high, wide)
            inner = np.s_[..., half : half + h, half : half + w]
            valid, found = images["valid"][inner], np.zeros((NUM_CLASSES, h, w), np.float32)
            if valid.any():
                there = {name: torch.from_numpy(image).to(device) for name, image in images.items()}
                found = blended(predict, there, tile)[inner].cpu().numpy()
            best = np.where(valid, found.argmax(0), IGNORE).astype(np.uint8)
            counts += np.bincount(best.ravel(), minlength=256)
            classes.write(best, 1, window=Window(left, top, w, h))
            steps = np.where(valid, np.rint(found * STEPS), IGNORE).astype(np.uint8)
            confidence.write(steps, window=Window(left, top, w, h))
    return {c.name: counts[c.code] / max(counts[:NUM_CLASSES].sum(), 1) for c in CLASSES}


@contextmanager
def _written(out: Path, scene: Scene, side: int) -> Iterator[tuple[Any, Any]]:
    """Two files to write blocks of `side` pixels into; at the end they become the files of the map, whole."""
    final = [out.with_name(f"{out.stem}_confidence.tif"), out.with_suffix(".png"), out]
    if taken := [str(path) for path in final if path.exists()]:
        raise DataError(f"{taken[0]}: exists; delete it, or choose another name for the map")
    grid = scene.grid
    require_space(out.parent, grid.width * grid.height * (1 + NUM_CLASSES), "the map")
    profile = {"driver": "GTiff", "dtype": "uint8", "nodata": IGNORE, "compress": "deflate"}
    profile |= {"crs": grid.crs, "transform": grid.transform, "width": grid.width, "height": grid.height}
    profile |= {"interleave": "band", "tiled": True, "blockxsize": side, "blockysize": side}
    profile |= {"BIGTIFF": "IF_SAFER"}
    about = {"software": "eo_ssl", "s2_level": scene.level, "s2_offset": scene.offset}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-", ignore_cleanup_errors=True) as folder:
            rough, done = ([Path(folder, f"{kind}{i}.tif") for i in range(2)] for kind in ("rough", "done"))
            with (
                rasterio.open(rough[0], "w", count=1, **profile) as classes,
                rasterio.open(rough[1], "w", count=NUM_CLASSES, **profile) as confidence,
            ):
                classes.write_colormap(1, {c.code: colour for c, colour in zip(CLASSES, COLOURS)})
                classes.update_tags(**about, **{f"class_{c.code}": c.name for c in CLASSES})
                confidence.update_tags(**about)
                confidence.descriptions = tuple(c.name for c in CLASSES)
                confidence.scales = (1 / STEPS,) * NUM_CLASSES
                yield classes, confidence
            for source, target, how in zip(rough, done, ("mode", "average")):
                require_sound(source)  # GDAL passes over some of what a full disk refuses
                options = {"compress": "deflate", "overview_resampling": how, "bigtiff": "if_safer"}
                rasterio.shutil.copy(source, target, driver="COG", **options)
                require_sound(target)
            picture = Path(folder, "picture.png")
            _picture(done[0], picture)
            for source, target in zip((done[1], picture, done[0]), final):
                source.replace(target)
    except (RasterioError, OSError, PatchError) as error:
        why = " ".join(str(error.__cause__ or error).split())[:200]
        raise DataError(
            f"{out}: cannot be written ({why}); free some space, or choose another folder"
        ) from error


def _picture(classes: Path, target: Path) -> None:
    """The map, small enough to look at, above the names of its classes."""
    from PIL import Image, ImageDraw

    with rasterio.open(classes) as image:
        scale = max(1.0, max(image.shape) / PICTURE)
        codes = image.read(1, out_shape=tuple(max(1, round(n / scale)) for n in image.shape))
    table = np.full((256, 3), 255, np.uint8)
    table[: len(COLOURS)] = COLOURS
    picture = Image.new("RGB", (max(codes.shape[1], 400), codes.shape[0] + 44), "white")
    picture.paste(Image.fromarray(table[codes]))
    pen = ImageDraw.Draw(picture)
    for i, c in enumerate(CLASSES):
        x, y = 8 + i % 4 * 98, codes.shape[0] + 6 + i // 4 * 19
        pen.rectangle((x, y, x + 12, y + 12), c.colour, "#777777")
        pen.text((x + 17, y), c.name, "black")
    picture.save(target, "PNG")


def map_command(
    s2: Annotated[
        Path, typer.Argument(help="Sentinel-2: a file with named bands, or a folder of band files.")
    ],
    out: Annotated[Path, typer.Argument(help="The map to write, a .tif.")],
    model: Annotated[Path, typer.Option(help="Folder of a trained segmentation model.")],
    s1: Annotated[Path | None, typer.Option(help="Sentinel-1, VV and VH in dB, on any grid.")] = None,
    level: Annotated[str, typer.Option(help="L1C or L2A, where the files do not say.")] = "",
    offset: Annotated[int | None, typer.Option(help="Added to the digital numbers, where not said.")] = None,
) -> None:
    """Map a whole scene: classes and confidences as Cloud-Optimized GeoTIFF, and a picture.

    Example: eo-ssl map S2.tif MAP.tif --s1 S1.tif --model runs/laptop/models/segment_unet_f=1_s=0
    """
    import torch

    from eo_ssl.train.downstream import load_trained

    down, _ = load_trained(model.expanduser(), "cuda" if torch.cuda.is_available() else "cpu")
    with Scene(s2.expanduser(), s1 and s1.expanduser(), level, offset) as scene:
        typer.echo(f"{scene.level}, offset {scene.offset}, {scene.grid.width} × {scene.grid.height} pixels")
        shares = map_scene(down, scene, out.expanduser())
    typer.echo("\n".join(f"{name:<11} {share:6.1%}" for name, share in shares.items()))
