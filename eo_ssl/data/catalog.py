"""Finds the patches of SEN12MS, DFC2020 (layouts A and B) and the simulated set: one row a patch.

File names are listed, not opened. The regions of DFC2020 layout A, grid positions and overlap groups
come from the georeferencing: one header of some kilobytes per patch, read in parallel and cached.
"""

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd

from eo_ssl import files
from eo_ssl.data import georef, layouts
from eo_ssl.errors import DataError

COLUMNS = (
    "id", "dataset", "season", "scene", "region", "split", "row", "col", "group",
    "s1", "s2", "lc", "dfc", "epsg", "x", "y", "resolution",
)  # fmt: skip


def find(root: str | Path, georeference: bool = True, workers: int | None = None) -> pd.DataFrame:
    """Catalog of a data root, sorted by scene and patch number.

    Columns: `id` (unique), `dataset`, `season`, `scene`, `region`, `split` ("pretrain", "train", "test"
    or ""), `row`, `col` (position in the scene in stride units, -1 if unknown), `group` (patches that
    share pixels have the same one; the scene where unknown), `s1`, `s2`, `lc`, `dfc` (paths relative to
    the root, "" if absent), `epsg`, `x`, `y`, `resolution` (upper-left corner in CRS units, NaN if
    unknown). `attrs`: `root`, `name`, `version`, `s2_offset`, `unknown` (TIFF files with other names),
    `duplicates` (second files for the same patch and sensor).

    With `georeference=False` no header is read: regions of layout A and grid positions stay unknown.
    Raises `DataError` if the root does not exist or holds no patch.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give the folder that holds the ROIs… folders")
    patches, unknown, duplicates, key = _list(root)
    if not patches:
        found = f"{len(unknown)} TIFF files with other names" if unknown else "no TIFF files"
        raise DataError(f"{root}: no SEN12MS or DFC2020 patches found ({found}); expected ROIs…/s1_…/….tif")
    frame = pd.DataFrame(patches.values())
    frame = frame.sort_values(["scene", "number"], kind="stable", ignore_index=True).drop(columns="number")
    frame = _locate(frame, root, key, georeference, workers)
    frame.attrs = {
        **_identity(root),
        "root": str(root),
        "unknown": unknown,
        "duplicates": duplicates,
        "state": key,
    }
    return frame


def _list(root: Path) -> tuple[dict[str, dict[str, Any]], list[str], list[str], str]:
    """Patches by id, files with unknown names, duplicate files, and a key for the state of the tree."""
    patches: dict[str, dict[str, Any]] = {}
    unknown, duplicates, state = [], [], hashlib.sha256()
    for folder, names, mtime in sorted(layouts.walk(root)):
        if names:
            state.update(f"{folder} {mtime} {len(names)}\n".encode())
        for filename in names:
            path = f"{folder}/{filename}" if folder else filename
            name = layouts.parse(filename)
            if name is None:
                unknown.append(path)
                continue
            patch = patches.get(name.id)
            if patch is None:
                fields = ("id", "dataset", "season", "scene", "region", "split", "number")
                patch = {k: getattr(name, k) for k in fields} | dict.fromkeys(layouts.SENSORS, "")
                patches[name.id] = patch
            if patch[name.sensor]:
                duplicates.append(path)
            else:
                patch[name.sensor] = path
    return patches, unknown, duplicates, state.hexdigest()


def _locate(
    frame: pd.DataFrame, root: Path, key: str, georeference: bool, workers: int | None
) -> pd.DataFrame:
    if georeference:
        # Any sensor will do: all of them show the same ground. The label map is the smallest file.
        paths = frame["dfc"].where(frame["dfc"] != "", frame["lc"])
        paths = paths.where(paths != "", frame["s1"]).where(lambda p: p != "", frame["s2"])
        table = georef.corners(root, paths.tolist(), key, workers)
    else:
        nan = float("nan")
        table = pd.DataFrame({"epsg": 0, "x": nan, "y": nan, "resolution": nan, "size": 0}, index=frame.index)
    table = table.set_index(frame.index)
    named = georef.regions(table)
    frame["region"] = frame["region"].where((frame["region"] != "") & (frame["dataset"] == "dfc2020"), named)
    frame["region"] = frame["region"].where(frame["region"] != "", frame["scene"])
    frame["group"] = georef.overlap_groups(table, frame["scene"])
    # Layout A calls every patch "scene 0"; its scenes are its regions.
    layout_a = (frame["dataset"] == "dfc2020") & frame["split"].isin(["train", "test"])
    frame["scene"] = frame["scene"].where(~layout_a, frame["scene"] + "/" + frame["region"])
    frame["row"], frame["col"] = georef.grid(table, frame["scene"])
    frame = frame.join(table[["epsg", "x", "y", "resolution"]])
    return frame[list(COLUMNS)]


def _identity(root: Path) -> dict[str, Any]:
    """Name, version and S2 offset as `dataset.json` gives them; real data sets have no such file."""
    path = root / "dataset.json"
    described = files.read_json(path) if path.exists() else {}
    if not isinstance(described, dict):
        raise DataError(f"{path}: expected a JSON object with name and version")
    return {
        "name": str(described.get("name", root.resolve().name)),
        "version": str(described.get("version", "")),
        "s2_offset": described.get("s2_offset"),
        "simulated": described.get("name") == "simulated",
    }
