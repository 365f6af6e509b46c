"""Chapter 13: a simulated place with truth, the real scene, seams, maps against indices, and the exercise check."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rasterio
import torch
from rasterio.transform import from_origin
from torch import Tensor

from eo_ssl.course.checks import exercise, expect_close, expect_shape, numbers
from eo_ssl.data.fetch import fetch
from eo_ssl.data.samples import SCENE
from eo_ssl.data.scene import Scene
from eo_ssl.errors import DataError
from eo_ssl.evaluate.metrics import confusion_matrix, mean_iou
from eo_ssl.evaluate.predict import predict_maps
from eo_ssl.mapping import STEPS
from eo_ssl.sensors import CLASS_NAMES, DN_PER_REFLECTANCE, IGNORE, NUM_CLASSES, S1_BANDS, S2_BANDS

MODELS = ("unet", "swinunet-finetune")
SIDE = 128  # pixels of a square to explore, at most
SMOKE_SIDE, SMOKE_CORNER = 160, (0.45, 0.35)  # of the scene, at smoke: pixels, and where they begin


def best_model(results: pd.DataFrame) -> str:
    """Which of the models of chapter 10 was best on validation, of those trained on all labels."""
    whole = results[(results["task"] == "segment") & (results["fraction"] == 1)]
    return whole[whole["method"].isin(MODELS)].groupby("method")["val_score"].mean().idxmax()


def mosaic(source: Any, folder: Path) -> tuple[Path, Path, np.ndarray]:
    """Neighbouring validation patches as one scene: files of S2 and S1, and the truth (H, W); gaps are no data."""
    frame = source.catalog.reset_index(drop=True).loc[source.rows("val")]
    frame = frame[frame["scene"] == frame["scene"].mode().iloc[0]]
    size = source.patch_size
    if frame["x"].isna().all():  # where they lie is not known: four of them, side by side, somewhere
        frame, k = frame.head(4), np.arange(min(4, len(frame)))
        places = {"x": 4e5 + 10 * size * (k % 2), "y": 5e6 - 10 * size * (k // 2)}
        frame = frame.assign(epsg=32632, resolution=10.0, **places)
    step, places = frame["resolution"].iloc[0], frame[["y", "x"]]
    grid = ((places - places.iloc[0]) / [-step, step]).round().astype(int)  # rows and columns from the first
    near = (grid.abs() < 3 * size).all(axis=1)  # of patches scattered over a scene those about the first
    frame, grid = frame[near], grid[near] - grid[near].min()
    shape = tuple(grid.max() + size)
    s1, s2 = np.full((2, *shape), np.nan, np.float32), np.zeros((13, *shape), np.uint16)
    truth = np.full(shape, IGNORE, np.uint8)
    for row, (y, x) in zip(frame.index, grid.to_numpy()):
        patch, here = source.read(row), np.s_[..., y : y + size, x : x + size]
        s1[here], truth[here] = patch["s1"], source.mask(row, 0, 0, size)
        s2[here] = np.nan_to_num(np.rint(np.clip(patch["s2"], 1e-4, 6) * DN_PER_REFLECTANCE))
    corner = from_origin(frame["x"].min(), frame["y"].max(), step, step)
    place = {"crs": f"EPSG:{frame['epsg'].iloc[0]}", "transform": corner}
    paths = folder / "place_s2.tif", folder / "place_s1.tif"
    for path, data, names in zip(paths, (s2, s1), (S2_BANDS, S1_BANDS)):
        _write(path, data, names, **place)
    return *paths, truth


def _write(path: Path, data: np.ndarray, names: tuple[str, ...], **place: Any) -> None:
    count, height, width = data.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": data.dtype}
    with rasterio.open(path, "w", **profile, **place) as image:
        image.write(data)
        image.descriptions = names


def real_scene(run: Any, instead: Path, folder: Path) -> tuple[Path, str]:
    """The files of the real scene, at smoke its middle alone; without them `instead` and a sentence that says so."""
    try:
        bands = fetch(["l1c"])["l1c"] / SCENE
    except DataError as error:
        why = f"**The real scene is not here** ({error}). What follows maps a place of this run instead"
        return instead, f"{why}; what is said of coasts, harvests and haze does not hold for it."
    if run.is_evidence:
        return bands, ""
    with Scene(bands) as scene:
        top, left = (round(n * share) for n, share in zip(scene.grid.shape, SMOKE_CORNER))
        cut = np.rint(scene.read(top, left, SMOKE_SIDE, SMOKE_SIDE)["s2"] * DN_PER_REFLECTANCE)
        shift = scene.grid.transform.translation(left, top)
        place = {"crs": scene.grid.crs, "transform": scene.grid.transform @ shift}
    _write(folder / "middle.tif", cut.astype(np.uint16), S2_BANDS, **place)
    return folder / "middle.tif", ""


# --- Seams ---


def side_by_side(predict: Callable[[dict], Tensor], images: Mapping[str, Tensor], tile: int) -> Tensor:
    """Probabilities (K, H, W) of tiles that touch, and overlap only at the lower and right edge, if no whole one fits."""
    height, width = images["valid"].shape
    found = torch.zeros(NUM_CLASSES, height, width)
    # The last one first: those that stand in the grid are laid over it.
    ys, xs = ([n - tile, *range(0, n - tile + 1, tile)] for n in (height, width))
    for y in ys:
        for x in xs:
            here = np.s_[..., y : y + tile, x : x + tile]
            found[here] = predict({name: image[here][None] for name, image in images.items()})[0].cpu()
    return found


def seam(probability: Tensor, valid: Tensor, tile: int) -> float:
    """How much larger the step in probability is from tile to tile than inside them: 1 where no seam shows.

    Shape: probability (K, H, W), valid (H, W); tiles start at the corner.
    """
    steps, edges = [], []
    for values, there in ((probability, valid), (probability.mT, valid.T)):
        step, known = values.diff(dim=1).abs().sum(0), there[1:] & there[:-1]  # (H − 1, W), or (W − 1, H)
        at = torch.arange(len(step)) % tile == tile - 1
        edges.append(step[at][known[at]])
        steps.append(step[~at][known[~at]])
    return float(torch.cat(edges).mean() / torch.cat(steps).mean().clamp_min(1e-6))


@exercise("the blend window", praise="Half a tile further, sin² becomes cos², and the two make 1.")
def check_blend_window(window: Callable[[int], np.ndarray]) -> None:
    n = 8
    got = numbers(window(n))
    expect_shape(got, (n, n), "the window of a tile of 8 pixels")

    def outer(x: np.ndarray, power: int = 2) -> np.ndarray:
        side = np.sin(np.pi * x) ** power
        return np.outer(side, side)

    i = np.arange(n)
    middle, hann = (i + 0.5) / n, np.hanning(n)
    half = (
        "the half pixel is missing: the middle of pixel i is at i + ½, and sin² starts at 0 before the first"
    )
    back = "the window has to come back to 0 at the other edge: one half wave, π, in a tile of n"
    mistakes = {
        half: outer(i / n),
        back: outer(middle / 2),
        "that is a whole wave: sin² already has one in half a turn, π": outer(2 * middle),
        "sin without the square does not add up to 1": outer(middle, power=1),
        "np.hanning touches 0 at both ends: halves of it do not add up to 1": np.outer(hann, hann),
        "rows and columns are multiplied, not added": np.add.outer(*[np.sin(np.pi * middle) ** 2] * 2),
    }
    wanted = outer(middle)
    expect_close(got, wanted, "The window", mistakes=mistakes)


@exercise("where a pixel lies", praise="Half a pixel is five metres: enough to miss a road.")
def check_place(place: Callable[[Any, int, int], tuple[float, float]]) -> None:
    corner = (
        "that is the upper left corner of the pixel; its middle is half a pixel further in both directions"
    )
    mistakes = {
        corner: [400_050, 4_159_980],
        "row and column have changed places: columns go east, rows go south": [400_025, 4_159_945],
        "rows grow to the south and y to the north: e is negative already": [400_055, 4_160_025],
    }
    got = place(from_origin(400_000, 4_160_000, 10, 10), 2, 5)
    what = "The middle of the pixel in row 2, column 5"
    expect_close(got, [400_055, 4_159_975], what, rtol=0, mistakes=mistakes)


# --- What the map is worth ---


def without_radar(down: Any, patches: Any, tile: int) -> dict[str, float]:
    """mIoU on patches with both sensors, and with the radar taken away."""

    def alone(batch: dict[str, Tensor]) -> Tensor:
        return down({key: value for key, value in batch.items() if key != "s1"})

    found = {}
    for name, predict in (("both sensors", down), ("Sentinel-2 alone", alone)):
        maps = predict_maps(predict, patches, tile)
        counts = sum(confusion_matrix(likely.argmax(0), truth) for _, likely, truth in maps)
        found[name] = float(mean_iou(counts))
    return found


def read_map(out: Path, step: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Classes (H, W) and probabilities (8, H, W), NaN without data, of a map on disk; every `step`-th pixel."""
    with rasterio.open(out) as image, rasterio.open(out.with_name(f"{out.stem}_confidence.tif")) as sure:
        shape = tuple(-(-n // step) for n in image.shape)
        codes, steps = image.read(1, out_shape=shape), sure.read(out_shape=(NUM_CLASSES, *shape))
    return codes, np.where(steps == IGNORE, np.nan, steps.astype(np.float32) / STEPS)


def by_class(codes: np.ndarray, probability: np.ndarray) -> pd.DataFrame:
    """Share of each class in the map, its mean confidence, and the share of its pixels below one half."""
    known = codes != IGNORE
    sure = pd.Series(probability.max(0)[known]).groupby(np.array(CLASS_NAMES)[codes[known]])
    parts = {"share": sure.size() / known.sum(), "confidence": sure.mean()}
    parts["below ½"] = sure.apply(lambda one: (one < 0.5).mean())
    return pd.DataFrame(parts).sort_values("share", ascending=False)


def against_indices(s2: np.ndarray, codes: np.ndarray) -> pd.Series:
    """Two questions that need no labels: s2 (13, H, W) reflectance, codes (H, W).

    Open water reflects more green than near infrared (NDWI > 0); a dense canopy has an NDVI above 0.6 and is not bare.
    """
    green, red, near = (s2[S2_BANDS.index(name)] for name in ("B03", "B04", "B08"))
    water, canopy = green > near, near - red > 0.6 * (near + red)
    known, wet = codes != IGNORE, codes == CLASS_NAMES.index("Water")
    bare = np.isin(codes, [CLASS_NAMES.index(name) for name in ("Water", "Urban", "Barren")])

    def share(asked: np.ndarray, among: np.ndarray) -> float:
        return asked[among].mean() if among.any() else np.nan

    shares = {
        "NDWI above 0, of all pixels": share(water, known),
        "of these, called Water": share(wet, water),
        "of what is called Water, NDWI above 0": share(water, wet),
        "NDVI above 0.6, of all pixels": share(canopy, known),
        "of these, called Water, Urban or Barren": share(bare, canopy),
    }
    return pd.Series(shares, name="share of pixels")


def to_explore(scene: Scene, out: Path, kind: str) -> list[dict[str, Any]]:
    """The scene at a glance, and its surest, least sure and most varied squares, for `show.prediction_explorer`."""
    height, width = scene.grid.shape
    unknown = " Nobody has drawn the truth of this place." if kind == "real" else ""

    def item(name: str, s2: np.ndarray, probability: np.ndarray, note: str) -> dict[str, Any]:
        about = {"name": name, "note": f"{note}{unknown}", "s2_bands": S2_BANDS, "truth": None}
        return {**about, "s2": np.nan_to_num(s2), "maps": [np.nan_to_num(probability)]}

    step, edge = max(1, -(-max(height, width) // SIDE)), min(height, width)
    seen = scene.read(0, 0, edge, edge)["s2"][:, ::step, ::step]
    rows, columns = seen.shape[1:]
    whole = read_map(out, step)[1][:, :rows, :columns]
    items = [item(f"{kind}, every {step}. pixel", seen, whole, "All of it.")]
    codes, full = read_map(out)
    side = min(SIDE, edge)
    corners = [(y, x) for y in range(0, height - side + 1, side) for x in range(0, width - side + 1, side)]
    squares = {(y, x): np.s_[y : y + side, x : x + side] for y, x in corners}
    known = {at: square for at, square in squares.items() if (codes[square] != IGNORE).mean() > 0.5}
    squares = known or squares
    sure = {at: np.nan_to_num(full[:, *square]).max(0).mean() for at, square in squares.items()}
    kinds = {at: len(np.unique(codes[square])) for at, square in squares.items()}
    least = {at: -one for at, one in sure.items()}
    for name, worth in (("the surest", sure), ("the least sure", least), ("most classes", kinds)):
        y, x = max(worth, key=worth.get)
        s2, note = scene.read(y, x, side, side)["s2"], "The middle of the square is shown at 10 m."
        items.append(item(f"{name}, at row {y}, column {x}", s2, full[:, *squares[y, x]], note))
    return items
