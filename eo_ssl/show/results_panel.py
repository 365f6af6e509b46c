"""The qualitative panel of the segmentation paper: images, truth, predictions of several models, errors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from eo_ssl.errors import DataError
from eo_ssl.experiments.plan import get_method
from eo_ssl.experiments.tables import pick
from eo_ssl.sensors import CLASS_NAMES, CLASSES, IGNORE
from eo_ssl.show.composites import label_map, radar, true_colour
from eo_ssl.show.figure import axes_grid, describe

PANEL = ("unet", "swinunet-scratch", "swinunet-finetune", "ensemble")
# Right, wrong, unlabelled: distinct in lightness as well as in hue.
_VERDICT = np.array([[0.85, 0.89, 0.93], [0.80, 0.20, 0.07], [1.0, 1.0, 1.0]])


def predicted_maps(
    folder: str | Path, results: pd.DataFrame, method: str, fraction: float = 1.0
) -> dict[int, np.ndarray]:
    """Label maps that the first seed of a method predicted, by row of the catalogue (written while testing)."""
    key = str(pick(results, "segment", method, fraction)["key"].iloc[0])
    path = Path(folder) / "counts" / f"{key.replace(' ', '_')}.npz"
    if not path.is_file():
        raise DataError(
            f"{path}: no predicted maps; delete the line of {key} in results.jsonl and run the grid again"
        )
    with np.load(path, allow_pickle=False) as file:
        return {int(name.removeprefix("map_")): file[name] for name in file.files if name.startswith("map_")}


def choose_rows(source: Any, rows: Sequence[int], count: int = 3) -> list[int]:
    """Patches with the most classes, each chosen to show classes that those before it lack."""
    size, left, seen = source.patch_size, list(rows), set()
    classes = {r: set(np.unique(source.mask(r, 0, 0, size)).tolist()) - {IGNORE} for r in left}
    chosen: list[int] = []
    while left and len(chosen) < count:
        best = max(left, key=lambda r: (len(classes[r] - seen), len(classes[r]), -r))
        chosen.append(best)
        seen |= classes[best]
        left.remove(best)
    return chosen


def with_labels(source: Any, rows: Sequence[int]) -> Figure:
    """Patches of a source in true colour, below them their label maps, with the colours of the classes."""
    fig, axes = axes_grid(2, len(rows), cell=2.0, extra=0.5)
    labels = [source.mask(row, 0, 0, source.patch_size) for row in rows]
    for column, (row, label) in enumerate(zip(rows, labels)):
        axes[0, column].imshow(true_colour(source.read(row)["s2"]))
        axes[1, column].imshow(label_map(label))
    _legend(fig, 4)
    shares = [np.bincount(x.ravel(), minlength=IGNORE + 1)[: len(CLASS_NAMES)] / x.size for x in labels]
    words = "; ".join(f"{CLASS_NAMES[s.argmax()]} covers {s.max():.0%}" for s in shares)
    said = f"{len(rows)} patches in true colour, below them their label maps. Commonest classes: {words}."
    return describe(fig, said)


def _legend(fig: Figure, columns: int) -> None:
    handles = [Patch(facecolor=c.colour, edgecolor="#999999", linewidth=0.4, label=c.name) for c in CLASSES]
    fig.legend(handles=handles, loc="outside lower left", ncols=columns, fontsize=7)


def qualitative(
    source: Any,
    folder: str | Path,
    results: pd.DataFrame,
    methods: Sequence[str] = PANEL,
    fraction: float = 1.0,
    rows: Sequence[int] = (),
    count: int = 3,
) -> Figure:
    """S2 true colour, S1, truth, the prediction of each method, and where the last one errs; one patch per row."""
    maps = {name: predicted_maps(folder, results, name, fraction) for name in methods}
    common = sorted(set.intersection(*(set(found) for found in maps.values())))
    chosen = list(rows) or choose_rows(source, common, count)
    labels = [get_method(name).label for name in methods]
    titles = ["Sentinel-2", "Sentinel-1", "truth", *labels, "errors of the last"]
    fig, axes = axes_grid(len(chosen), len(titles), cell=1.25)
    for ax, title in zip(axes[0], titles):
        lines = title.replace(" from ", "\nfrom ").replace(", ", ",\n").replace(" + ", "\n+ ")
        ax.set_title(lines, fontsize=7)
    words = []
    for i, row in enumerate(chosen):
        truth = source.mask(row, 0, 0, source.patch_size)
        found = {name: maps[name][row] for name in methods}
        for ax, picture in zip(axes[i], _pictures(source.read(row), truth, list(found.values()))):
            ax.imshow(picture)
        words.append(_row_words(i + 1, truth, found))
    _legend(fig, 8)
    return describe(fig, f"Grid of images, one test patch per row: {', '.join(titles)}. {' '.join(words)}")


def _pictures(patch: dict[str, np.ndarray], truth: np.ndarray, found: list[np.ndarray]) -> list[np.ndarray]:
    """The pictures of one row: both sensors, truth, predictions, errors of the last; (H, W, 3) each."""
    verdict = np.where(truth == IGNORE, 2, (found[-1] != truth).astype(int))
    maps = map(label_map, (truth, *found))
    return [true_colour(patch["s2"]), radar(patch["s1"]), *maps, _VERDICT[verdict]]


def _row_words(number: int, truth: np.ndarray, found: dict[str, np.ndarray]) -> str:
    labelled = truth != IGNORE
    codes, counts = np.unique(truth[labelled], return_counts=True)
    order = np.argsort(-counts)[:3]
    cover = ", ".join(f"{CLASS_NAMES[codes[k]]} {counts[k] / max(labelled.sum(), 1):.0%}" for k in order)
    right = ", ".join(
        f"{get_method(name).label} {(one[labelled] == truth[labelled]).mean():.0%}"
        for name, one in found.items()
    )
    return f"Row {number}: {cover}; pixels right: {right}."
