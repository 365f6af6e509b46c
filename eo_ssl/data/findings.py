"""Opens one patch and says what is wrong with it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eo_ssl.data import geotiff, layouts
from eo_ssl.data.source import LEAST_VALID
from eo_ssl.data.tiff_source import valid_pixels
from eo_ssl.errors import DataError

FATAL, LEFT_OUT, WARNING = "fatal", "left out", "warning"
IGBP_CODES = {*range(18), 255}
DFC_CODES = {*range(11), 255}
USUAL_DB = (-60.0, 40.0)
USUAL_DN = 30_000  # three times a white surface
Say = Callable[[str, str, str], None]  # kind, severity, message


@dataclass(frozen=True)
class Problem:
    """One finding: `kind` in one or two words, `severity` "fatal", "left out" or "warning"."""

    id: str
    kind: str
    severity: str
    message: str


@dataclass
class Findings:
    """Findings of one patch, and the lowest first percentile of its optical bands."""

    problems: list[Problem]
    darkest: float = np.nan
    size: int = 0
    offset: int = 0


def check_patch(root: Path, patch: dict[str, Any], s1_scale: float | None) -> Findings:
    """Read all files of a patch (a row of the catalog as a dict) and note what is wrong; raises nothing."""
    result = Findings([])

    def say(kind: str, severity: str, message: str) -> None:
        result.problems.append(Problem(patch["id"], kind, severity, message))

    arrays: dict[str, np.ndarray] = {}
    for sensor in layouts.SENSORS:
        if not patch[sensor]:
            continue
        try:
            arrays[sensor] = _read(root / patch[sensor], sensor, s1_scale, result)
        except geotiff.PatchError as error:
            say(error.kind, FATAL, str(error))
        except DataError as error:
            say("unreadable", FATAL, str(error))
    _check_values(patch, arrays, say)
    _check_places(root, patch, arrays, say)
    if "s2" in arrays:
        result.size = arrays["s2"].shape[-1]
        result.darkest = float(np.percentile(arrays["s2"][:, ::4, ::4], 1, axis=(1, 2)).min())
    return result


def _read(path: Path, sensor: str, s1_scale: float | None, result: Findings) -> np.ndarray:
    if sensor == "s1":
        return geotiff.read_s1(path, scale=s1_scale)
    if sensor == "s2":
        numbers, result.offset = geotiff.read_s2(path)
        return numbers
    return geotiff.read_labels(path)


def _check_values(patch: dict[str, Any], arrays: dict[str, np.ndarray], say: Say) -> None:
    if "s1" in arrays and np.isfinite(arrays["s1"]).any():
        low, high = np.nanmin(arrays["s1"]), np.nanmax(arrays["s1"])
        if low < USUAL_DB[0] or high > USUAL_DB[1]:
            say("range", WARNING, f"{patch['s1']}: backscatter from {low:.0f} to {high:.0f} dB")
    if "s2" in arrays and arrays["s2"].max() > USUAL_DN:
        say("range", WARNING, f"{patch['s2']}: digital numbers up to {arrays['s2'].max()}")
    for sensor, codes in (("lc", IGBP_CODES), ("dfc", DFC_CODES)):
        other = set(np.unique(arrays[sensor]).tolist()) - codes if sensor in arrays else set()
        if other:
            say("labels", FATAL, f"{patch[sensor]}: codes {sorted(other)[:5]} are not in the legend")
    if {"s1", "s2"} <= set(arrays) and arrays["s1"].shape[1:] == arrays["s2"].shape[1:]:
        valid = valid_pixels(arrays["s1"], arrays["s2"])
        share = 1.0 if valid is None else float(valid.mean())
        if valid is not None:
            known = " (known)" if patch["id"] in layouts.KNOWN_BROKEN else ""
            severity = LEFT_OUT if share < LEAST_VALID or known else WARNING
            say("NaN", severity, f"{1 - share:.2%} of the pixels are NaN or no-data{known}")


def _check_places(root: Path, patch: dict[str, Any], arrays: dict[str, np.ndarray], say: Say) -> None:
    """All files of a patch must show the same pixels."""
    sizes = {sensor: array.shape[-2:] for sensor, array in arrays.items()}
    if len(set(sizes.values())) > 1:
        say("size", FATAL, "sizes differ: " + ", ".join(f"{s} {h}×{w}" for s, (h, w) in sizes.items()))
    try:
        places = {sensor: geotiff.place(root / patch[sensor]) for sensor in arrays}
    except geotiff.PatchError as error:
        return say("unreadable", FATAL, str(error))
    known = {sensor: place for sensor, place in places.items() if place is not None}
    missing = sorted(set(places) - set(known))
    if missing and known:
        say("no CRS", WARNING, f"no georeferencing in {', '.join(missing)}")
    if len(set(known.values())) > 1:
        said = ", ".join(f"{s} EPSG:{e} at {x:.0f}, {y:.0f}" for s, (e, x, y, _) in known.items())
        say("CRS mismatch", FATAL, f"files do not show the same place: {said}")
