"""Explorers: figures to move by mouse and keyboard, which compute in the browser and so need no kernel and no network.

An explorer is a script, `esm/<name>.js`, and a `spec` that it draws: numbers, colours and pictures, all in a few kilobytes
of text inside the notebook. One function makes each; they need the extra `course` (anywidget).
"""

import base64
import io
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from PIL import Image

from eo_ssl.data.samples import Pair
from eo_ssl.errors import ConfigError, DataError
from eo_ssl.experiments.plan import METHODS, UNTRAINED, get_method
from eo_ssl.experiments.tables import MAIN, TASKS
from eo_ssl.sensors import CLASS_NAMES, CLASSES, NUM_CLASSES, S2
from eo_ssl.show.composites import PRESETS, true_colour
from eo_ssl.show.results import METRIC_NAMES, NOTHING, curve, short_name, style_of

_ESM = Path(__file__).parent / "esm"
_STARTS = {"": "from scratch", UNTRAINED: "untrained"}  # by pretraining; all others are pretrained
_DB = (-45.0, 6.0)  # dB of byte 0 and byte 255 in the band explorer: steps of 0.2 dB
_SCENE = 200  # pixels of the picture of a scene
_CLASSES = {"names": CLASS_NAMES, "colours": [c.colour for c in CLASSES]}
STEPS = 31  # confidence in five bits, class in three: one byte per pixel of a predicted map


@cache
def _widget() -> type:
    """The one widget class of all explorers; made late, so that `eo_ssl.show` imports without the extra."""
    try:
        import anywidget
        import traitlets
    except ImportError as error:
        raise ConfigError("explorers need the course extra: pip install 'eo_ssl[course]'") from error

    class Explorer(anywidget.AnyWidget):
        """A script and what it draws."""

        _esm = traitlets.Unicode().tag(sync=True)
        spec = traitlets.Dict().tag(sync=True)

    return Explorer


def Explorer(script: str, **spec: Any) -> Any:
    """A widget that runs `esm/<script>.js`, after the helpers that all explorers share, on `spec`."""
    source = "".join((_ESM / f"{part}.js").read_text(encoding="utf-8") for part in ("common", script))
    return _widget()(_esm=source, spec=_plain(spec))


def _plain(value: Any) -> Any:
    """What JSON holds: pictures as data URLs, arrays of bytes as base64, numbers to five digits, NaN as null."""
    if isinstance(value, Image.Image):
        buffer = io.BytesIO()
        value.save(buffer, "JPEG", quality=88)
        return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    if isinstance(value, np.ndarray) and value.dtype.itemsize == 1:
        return base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    return (None if np.isnan(value) else round(value, 5)) if isinstance(value, float) else value


def band_explorer(pairs: Sequence[Pair], titles: Sequence[str]) -> Any:
    """Pick any three bands and any stretch, see the spectrum under the pointer; 256 steps a band, 100 kB a pair.

    All pairs must have the same Sentinel-2 bands.
    """
    places, blocks = zip(*(_bands(pair) for pair in pairs))
    bands = [next(band for band in S2 if band.name == name) for name in pairs[0].s2_bands]
    return Explorer(
        "bands",
        bands=[{key: getattr(band, key) for key in ("name", "centre", "width", "sees")} for band in bands],
        # A list, because notebooks are saved with the keys of a dict in alphabetical order.
        presets=[one for one in PRESETS.items() if {*one[1]} <= {*pairs[0].s2_bands}],
        places=[{"title": name, **place} for name, place in zip(titles, places)],
        db=_DB,
        payload=np.frombuffer(zlib.compress(b"".join(blocks), 9), np.uint8),
    )


def _bands(pair: Pair) -> tuple[dict[str, Any], bytes]:
    """Bytes of all bands, row by row as differences to the left neighbour, which compress to about half."""
    low = np.nanmin(pair.s2, (1, 2), keepdims=True)  # (B, 1, 1)
    high = np.maximum(np.nanmax(pair.s2, (1, 2), keepdims=True), low + 1e-6)
    scaled = (pair.s2 - low) / (high - low)  # (B, H, W) in [0, 1]
    power = (pair.s1 - _DB[0]) / (_DB[1] - _DB[0])  # (2, H, W)
    steps = _byte(np.nan_to_num(np.concatenate([scaled, power])))
    change = np.diff(steps, axis=-1, prepend=np.zeros_like(steps[..., :1]))  # wraps around, and back
    height, width = pair.s2.shape[1:]
    return {"height": height, "width": width, "low": low.ravel(), "high": high.ravel()}, change.tobytes()


def leakage_explorer(source: Any, rows: Sequence[int], features: np.ndarray) -> Any:
    """Scenes with their patches split in three ways: who shares ground, whose class the nearest neighbour gets right.

    `rows` of a source, with features (N, D) of each; patches without a class are left out.
    """
    labels = source.majority(rows)
    keep = labels < NUM_CLASSES
    rows, labels = np.asarray(rows)[keep], labels[keep]
    frame = source.catalog.iloc[rows]
    places, sides = positions(frame, source.patch_size)
    scaled = np.asarray(features, dtype=float)[keep]
    scaled = 30 * (scaled - scaled.mean(0)) / np.maximum(scaled.std(0), 1e-9)  # divided by the spread, later
    pictures = []
    for scene, width in enumerate(sides):
        own = [(row, place[1:]) for row, place in zip(rows, places) if place[0] == scene]
        pictures.append(scene_picture(source, *zip(*own), width))
    return Explorer(
        "leakage",
        patches=[(*place, label) for place, label in zip(places, labels)],
        scenes=[{"name": f"scene {chr(65 + i)}", "side": side} for i, side in enumerate(sides)],
        classes=CLASS_NAMES,
        width=scaled.shape[1],
        sprite=_sheet(pictures, min(4, len(pictures)), _SCENE),
        features=np.clip(np.round(scaled), -127, 127).astype(np.int8),
    )


def positions(frame: pd.DataFrame, size: int) -> tuple[list[tuple[int, float, float]], list[float]]:
    """(scene, x, y) of each patch and the width of each scene, all in units of one patch; y points south."""
    extent, scene = frame["resolution"] * size, pd.factorize(frame["scene"])[0]
    x = (frame["x"] - frame.groupby("scene")["x"].transform("min")) / extent
    y = (frame.groupby("scene")["y"].transform("max") - frame["y"]) / extent
    sides = np.maximum(x, y).groupby(scene).max() + 1
    return list(zip(scene.tolist(), x, y)), sides.tolist()


def scene_picture(
    source: Any, rows: Sequence[int], places: Sequence[tuple[float, float]], width: float
) -> np.ndarray:
    """Patches pasted at their places (x, y), in units of a patch, in true colour: (200, 200, 3) in [0, 1]."""
    pixels = round(_SCENE / width)  # of one patch
    at = ((np.arange(pixels) + 0.5) / pixels * source.patch_size).astype(int)
    canvas = np.full((len(S2), _SCENE, _SCENE), np.nan, np.float32)
    for row, place in zip(rows, places):
        left, top = (min(round(v * _SCENE / width), _SCENE - pixels) for v in place)
        patch = np.nan_to_num(source.read(int(row))["s2"][:, at][:, :, at])
        canvas[:, top : top + pixels, left : left + pixels] = patch
    return np.where(np.isnan(canvas[0, ..., None]), 0.93, true_colour(np.nan_to_num(canvas)))


def metric_explorer(recall: np.ndarray, shares: Mapping[str, np.ndarray]) -> Any:
    """Sliders from a model's recall per class (8,), class shares (8,) to choose by name; AA and OA follow at once.

    A class that the model was never asked about (NaN) starts at 0.
    """
    splits = {"splits": [*shares], "shares": [*shares.values()]}
    recall = np.round(np.nan_to_num(np.asarray(recall, dtype=float)), 2)
    return Explorer("metrics", **_CLASSES, recall=recall, **splits)


def temperature_explorer(negatives: np.ndarray, positive: float, temperature: float, count: int) -> Any:
    """Softmax shares of one partner and its negatives under sliders for τ, their number and the partner's cosine.

    `negatives` (K,) are the cosines of one anchor with its negatives, `positive` with its partner; at most 256 are kept.
    """
    ordered = np.sort(np.asarray(negatives, dtype=float))[::-1]
    if len(ordered) > 256:
        ordered = np.quantile(ordered, np.linspace(1, 0, 256))
    start = {"positive": round(float(positive), 2), "temperature": temperature, "count": count}
    return Explorer("temperature", negatives=ordered, **start)


def similarity_explorer(
    matrices: Mapping[str, np.ndarray],
    overlap: np.ndarray,
    radar: Sequence[np.ndarray],
    optical: Sequence[np.ndarray],
    what: str = "cosine",
    of: str = "encoders",
) -> Any:
    """Matrices of cosines {name: (N, N)}, radar by optical; the cell under the pointer shows its two patches.

    `overlap` (N, N) bool marks pairs that share ground; pictures radar[i], optical[i] (H, W, 3). What is no cosine says
    by `what` the numbers in [−1, 1] are called, and by `of` the choice between the matrices.
    """
    size, itself = len(overlap), np.eye(len(overlap), dtype=bool)
    others = ~(np.asarray(overlap, dtype=bool) | itself)  # that the partner competes with
    ranks = [1 + ((m > np.diag(m)[:, None]) & others).sum(1) for m in map(np.asarray, matrices.values())]
    return Explorer(
        "similarity",
        size=size,
        ranks=[one.tolist() for one in ranks],
        compared=(1 + others.sum(1)).tolist(),
        what=what,
        of=of,
        names=[*matrices],
        matrices=[_cosines(m) for m in matrices.values()],
        overlap=overlap,  # bool
        sprite=_sheet([*radar, *optical], size),
        colours=_colour_table("RdBu_r"),
    )


def offset_explorer(cases: Sequence[Mapping[str, Any]]) -> Any:
    """A smaller map dragged over a larger one; the surface of mean cosines fills in as it goes.

    Cases have the keys name, maps large (E, H, H) and small (E, h, h), pictures radar and optical, and truth: the offset
    (y, x) at which the small crop was cut, or None where it shows another place. All maps of a kind have one size.
    """
    large, small = (cases[0][which].shape[-1] for which in ("large", "small"))
    return Explorer(
        "offsets",
        large=large,
        small=small,
        cases=[_case(c, large - small + 1) for c in cases],
        colours=_colour_table("RdBu_r"),
        heat=_colour_table("viridis"),
    )


def _case(case: Mapping[str, Any], offsets: int) -> dict[str, Any]:
    large, small = (np.asarray(case[k], dtype=np.float32) for k in ("large", "small"))  # (E, H, H), (E, h, h)
    large, small = (m / np.maximum(np.linalg.norm(m, axis=0), 1e-12) for m in (large, small))
    every = np.einsum("eyx,evu->yxvu", large, small)  # (H, H, h, h): each place with each place
    pictures = {what: _image(case[what], min(192, len(case[what]))) for what in ("radar", "optical")}
    truth = -1 if case["truth"] is None else int(case["truth"][0]) * offsets + int(case["truth"][1])
    return {"name": case["name"], "cosine": _cosines(every), "truth": truth, **pictures}


def embedding_explorer(
    planes: Mapping[str, np.ndarray],
    near: Mapping[str, np.ndarray],
    items: Sequence[Mapping[str, str]],
    groups: Sequence[Mapping[str, Any]],
    optical: Sequence[np.ndarray],
    radar: Sequence[np.ndarray],
    marked: str = "real",
) -> Any:
    """N patches in the plane under named encoders; the one under the pointer is shown with its nearest neighbours.

    planes: (N, 2) in [0, 1] each; near: (N, k) positions each; items: label, where and kind ("real", "simulated") of each
    patch, those of the kind `marked` as triangles; groups: ways to colour, with name, labels, colours and codes (N,);
    pictures optical[i], radar[i] (H, W, 3).
    """
    columns = int(np.ceil(np.sqrt(len(items))))
    return Explorer(
        "embedding",
        names=[*planes],
        planes=[_byte(plane) for plane in planes.values()],
        near=[*near.values()],
        items=items,
        groups=[{**group, "codes": [*group["codes"]]} for group in groups],
        optical=_sheet(optical, columns),
        radar=_sheet(radar, columns),
        columns=columns,
        marked=marked,
    )


def label_explorer(
    results: pd.DataFrame, folder: Path, task: str = "single", methods: Sequence[str] = ()
) -> Any:
    """Curves over the share of labels: choose methods, move a target line, read off how many labels each needs.

    Shows all methods of a task with at least two label fractions (or those of `methods`); `DataError` without any.
    """
    curves = []
    for name, one in curve(results, folder, task, methods).groupby("method", sort=False):
        if len(one) > 1:
            style = style_of(str(name))
            look = {"colour": style["color"], "dashed": style["linestyle"] == "--"}
            points = one[["fraction", "value", "low", "high"]].to_numpy(float)
            labels = np.nan_to_num(one["n_labels"].to_numpy(float)).round().astype(int)
            curves.append({"name": get_method(str(name)).label, **look, "points": points, "labels": labels})
    if not curves:
        raise DataError("the label explorer needs a method with two label fractions")
    return Explorer("labels", curves=curves, unit=METRIC_NAMES[MAIN[task]])


def window_explorer(picture: np.ndarray, patch: int, window: int, title: str) -> Any:
    """A token, its windows, and what has reached it after one, two or three blocks.

    `picture` (H, H, 3) in [0, 1] is cut into tokens of `patch` pixels of 10 m; windows of `window` tokens fill the grid
    before and after one merging.
    """
    side, times = len(picture) // patch, max(1, 384 // len(picture))
    large = picture.repeat(times, 0).repeat(times, 1)  # keeps pixels square
    grid = {"side": side, "window": window, "shift": window // 2, "metres": 10.0 * patch}
    return Explorer("windows", **grid, picture=_image(large), title=title)


def prediction_explorer(models: Sequence[str], patches: Sequence[Mapping[str, Any]]) -> Any:
    """Predicted maps over the image: choose patch and model, fade, and read class and confidence of a pixel.

    Patches have the keys name, note, s2 (B, H, W) with s2_bands, maps (one (8, H, W) probability per model) and truth
    (H, W) or None; larger ones are shown by the 128 × 128 pixels in their middle.
    """
    shown = []
    for patch in patches:
        picture, truth = true_colour(patch["s2"], patch["s2_bands"]), patch["truth"]  # (H, W, 3)
        side = min(len(picture), 128)
        middle = tuple(slice((n - side) // 2, (n - side) // 2 + side) for n in picture.shape[:2])
        one = {"name": patch["name"], "note": patch["note"], "size": side}
        one["truth"] = None if truth is None else np.asarray(truth, dtype=np.uint8)[middle]
        one["maps"] = [packed(np.asarray(m)[:, *middle]) for m in patch["maps"]]
        shown.append({**one, "picture": _image(picture[middle])})
    return Explorer("prediction", **_CLASSES, models=list(models), patches=shown)


def packed(probability: np.ndarray) -> np.ndarray:
    """Class and confidence of each pixel in one byte, (H, W). Shape: probability (8, H, W)."""
    best, sure = probability.argmax(0), probability.max(0)
    return best.astype(np.uint8) << 5 | np.round(np.clip(sure, 0, 1) * STEPS).astype(np.uint8)


def results_table(table: pd.DataFrame, note: str = "") -> Any:
    """Everything measured (rows of `measured`) as a table to sort by any column and filter by task, labels and name.

    `note` (at smoke, that it is no evidence) stands above the table. Raises `ConfigError` without rows.
    """
    if not len(table):
        raise ConfigError(NOTHING)
    kept, rows = ["task", "label", "fraction", "mean", "low", "high", "seeds", "values"], []
    for row in table.to_dict("records"):
        method = METHODS[row["method"]]
        start = "mixed" if method.members else _STARTS.get(method.pretraining, "pretrained")
        own = {"start": start, "metric": short_name(row["metric"]), "labels": np.round(row["n_labels"])}
        rows.append({key: row[key] for key in kept} | own)
    tasks = [one for one in TASKS.items() if (table["task"] == one[0]).any()]
    return Explorer("results", rows=rows, tasks=tasks, note=note)


def _byte(values: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1] in 256 steps."""
    return np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _cosines(values: np.ndarray) -> np.ndarray:
    """Numbers in [−1, 1] as signed bytes, steps of 1/127."""
    return np.round(np.clip(values, -1, 1) * 127).astype(np.int8)


def _colour_table(name: str) -> np.ndarray:
    """The 256 colours of a Matplotlib map (256, 3), so that picture and explorer look alike."""
    return mpl.colormaps[name](np.arange(256), bytes=True)[:, :3]


def _image(picture: np.ndarray, side: int = 0) -> Image.Image:
    """A picture (H, W, 3) in [0, 1] as a PIL image; with a `side` of `side` × `side` pixels."""
    image = Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8))
    return image.resize((side, side), Image.Resampling.LANCZOS) if side else image


def _sheet(pictures: Sequence[np.ndarray], columns: int, side: int = 52) -> Image.Image:
    """Pictures at `side` × `side` pixels on one sheet, `columns` a row, row by row."""
    sheet = _image(np.ones((-(-len(pictures) // columns) * side, columns * side, 3)))
    for i, picture in enumerate(pictures):
        sheet.paste(_image(picture, side), (i % columns * side, i // columns * side))
    return sheet
