"""The split and leakage explorer of chapter 02: splits, overlaps and nearest neighbours are worked out in the browser."""

import base64
from collections.abc import Sequence
from typing import Any

import anywidget
import numpy as np
import pandas as pd
import traitlets

from eo_ssl.errors import ConfigError
from eo_ssl.sensors import CLASS_NAMES, NUM_CLASSES
from eo_ssl.show.browser import data_url, script
from eo_ssl.show.composites import true_colour

_SIDE = 200  # pixels of a scene's picture
_MOST = 600  # patches: more would make the browser wait


class LeakageExplorer(anywidget.AnyWidget):
    """Scenes with their patches split in three ways; made by `leakage_explorer`."""

    _esm = script("leakage")
    patches = traitlets.List().tag(sync=True)
    scenes = traitlets.List(traitlets.Dict()).tag(sync=True)
    classes = traitlets.List(traitlets.Unicode()).tag(sync=True)
    features = traitlets.Unicode().tag(sync=True)
    width = traitlets.Int().tag(sync=True)
    sprite = traitlets.Unicode().tag(sync=True)


def leakage_explorer(source: Any, rows: Sequence[int], features: np.ndarray) -> LeakageExplorer:
    """Explorer of the patches `rows` of a source (at most 600), with features (N, D) of each.

    Patches without a class are left out. Raises `ConfigError` if there are too many or of one scene only.
    """
    labels = source.majority(rows)
    keep = labels < NUM_CLASSES
    frame, labels = source.catalog.iloc[np.asarray(rows)[keep]], labels[keep]
    if len(frame) > _MOST or frame["scene"].nunique() < 2:
        raise ConfigError(f"{len(frame)} patches of {frame['scene'].nunique()} scenes: give 2 scenes or more, "
                          f"{_MOST} patches at most")  # fmt: skip
    places, sides = positions(frame, source.patch_size)
    scaled = np.asarray(features, dtype=float)[keep]
    scaled = (
        30 * (scaled - scaled.mean(0)) / np.maximum(scaled.std(0), 1e-9)
    )  # the browser divides by the spread
    names = frame["scene"].unique()
    sheet = [scene_picture(source, frame[frame["scene"] == name], np.asarray(rows)[keep][frame["scene"] == name])
             for name in names]  # fmt: skip
    columns = min(4, len(sheet))
    sheet += [np.ones_like(sheet[0])] * (-len(sheet) % columns)
    lines = [np.concatenate(sheet[i : i + columns], axis=1) for i in range(0, len(sheet), columns)]
    return LeakageExplorer(
        patches=[[int(s), round(x, 3), round(y, 3), int(c)] for (s, x, y), c in zip(places, labels)],
        scenes=[{"name": f"scene {chr(65 + i)}", "side": round(side, 3)} for i, side in enumerate(sides)],
        classes=list(CLASS_NAMES), width=scaled.shape[1], sprite=data_url(np.concatenate(lines)),
        features=base64.b64encode(np.clip(np.round(scaled), -127, 127).astype(np.int8).tobytes()).decode(),
    )  # fmt: skip


def positions(frame: pd.DataFrame, size: int) -> tuple[list[tuple[int, float, float]], list[float]]:
    """(scene, x, y) of each patch and the width of each scene, all in units of one patch; y points south."""
    extent = frame["resolution"] * size
    codes, names = pd.factorize(frame["scene"])
    x = (frame["x"] - frame.groupby("scene")["x"].transform("min")) / extent
    y = (frame.groupby("scene")["y"].transform("max") - frame["y"]) / extent
    table = pd.DataFrame({"s": codes, "x": x.to_numpy(), "y": y.to_numpy()})
    sides = (table.groupby("s")[["x", "y"]].max().max(axis=1) + 1).tolist()
    return [tuple(row) for row in table.itertuples(index=False)], sides[: len(names)]


def scene_picture(source: Any, frame: pd.DataFrame, rows: Sequence[int], side: int = _SIDE) -> np.ndarray:
    """The patches of one scene laid out as on the ground, in true colour: (side, side, 3) in [0, 1]."""

    places, (width,) = positions(frame, source.patch_size)
    step = max(1, int(source.patch_size * width / side / 1.5))
    canvas, filled = mosaic([source.read(int(r))["s2"][:, ::step, ::step] for r in rows], places, width)
    picture = true_colour(canvas)
    picture[~filled] = 0.93
    at = np.minimum((np.arange(side) + 0.5) / side * len(picture), len(picture) - 1).astype(int)
    return picture[at][:, at]


def mosaic(
    images: Sequence[np.ndarray], places: Sequence[tuple[int, float, float]], width: float
) -> tuple[np.ndarray, np.ndarray]:
    """Patches (B, h, h) pasted at (scene, x, y), in units of a patch: the scene (B, H, H) and where it is filled."""
    side = images[0].shape[-1]
    total = int(np.ceil(width * side))
    canvas, filled = np.zeros((len(images[0]), total, total), np.float32), np.zeros((total, total), bool)
    for image, (_, x, y) in zip(images, places):
        top, left = round(y * side), round(x * side)
        area = (slice(top, min(top + side, total)), slice(left, min(left + side, total)))
        h, w = canvas[(0, *area)].shape
        canvas[(slice(None), *area)] = np.nan_to_num(image[:, :h, :w])
        filled[area] = True
    return canvas, filled
