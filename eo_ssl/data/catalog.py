"""Finds the patches of SEN12MS, DFC2020 (layouts A and B) and the simulated set: one row a patch.

    SEN12MS            ROIs1158_spring/s2_8/ROIs1158_spring_s2_8_p100.tif
    DFC2020 layout A   ROIs0000_test/s2_0/ROIs0000_test_s2_0_p17.tif
                       ROIs0000_validation/s2_validation/ROIs0000_validation_s2_0_p17.tif
    DFC2020 layout B   ROIs0000_autumn/s2_Mumbai/ROIs0000_autumn_s2_Mumbai_p741.tif

and, by `eo_ssl.data.ben_ge`, those of ben-ge and of Copernicus-Bench's DFC2020.

Only file names are read, never folder names. The p number counts patches of a scene with gaps; where they lie is known
from the georeferencing alone.
"""

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import reduce
from operator import xor
from pathlib import Path
from typing import Any

import pandas as pd

from eo_ssl import files
from eo_ssl.data import ben_ge, georef
from eo_ssl.errors import DataError, nearest
from eo_ssl.sensors import LEVELS, s2_band

SENSORS = ("s1", "s2", "lc", "dfc")
SEASONS = ("spring", "summer", "fall", "winter")
DFC_SPLITS = {"validation": "train", "test": "test"}  # the papers train on "validation" and test on "test"
# Known to be damaged in the published SEN12MS: NaN in the radar image.
KNOWN_BROKEN = frozenset({"ROIs1868_summer_146_p202"})
Stamps = dict[str, tuple[int, int]]  # path below the root -> bytes, modification time in ns

_NAME = re.compile(r"(ROIs(\d+)_([a-z]+))_(s1|s2|lc|dfc)_([A-Za-z0-9]+)_p(\d+)\.tiff?", re.IGNORECASE)
_IMAGES = {"s1": "radar images", "s2": "optical images", "dfc": "labels"}
_DEPTH = 5


@dataclass(frozen=True)
class Card:
    """What `dataset.json` in the root says of a data set where its files do not; every reader goes by it.

    `s1_scale`: dB per step of integer S1 files. `s1_unit`: "dB", or "power" for linear backscatter. `s2_offset`: what
    was added to the S2 digital numbers (0 or 1000), for all or by scene or patch id. `s2_bands`: order of the bands
    in S2 files that do not name them. `level`: of the S2 product, "L1C" or "L2A". `holdout`: list of held-out scenes, a
    path below the root.
    """

    name: str = ""
    version: str = ""
    s1_scale: float | None = None
    s1_unit: str = "dB"
    s2_offset: int | dict[str, int] | None = None
    s2_bands: tuple[str, ...] = ()
    level: str = "L1C"
    holdout: str = ""

    def offset(self, patch: dict[str, Any], declared: int) -> int:
        """S2 offset of a patch (a row of the catalog): what the card says, otherwise what the file declared."""
        if isinstance(self.s2_offset, dict):
            names = (patch["id"], patch["scene"], patch["scene"].partition("/")[0])
            return next((self.s2_offset[name] for name in names if name in self.s2_offset), declared)
        return declared if self.s2_offset is None else self.s2_offset

    def holdout_below(self, root: Path) -> Path | None:
        """The list of held-out scenes of the data in `root`, None where the card names none."""
        return root / self.holdout if self.holdout else None

    def units(self) -> dict[str, Any]:
        """The options that change pixels, ready for JSON."""
        return {k: v for k, v in asdict(self).items() if k not in ("name", "version", "level", "holdout")}


def _are_bands(names: Any) -> bool:
    bands = [s2_band(str(name)) for name in names] if isinstance(names, list) else [""]
    return all(bands) and len(set(bands)) == len(bands)


def _are_offsets(said: Any) -> bool:
    offsets = said.values() if isinstance(said, dict) else [said]
    return all(isinstance(offset, int) for offset in offsets)


_OPTIONS: dict[str, tuple[Callable[[Any], bool], str]] = {  # what fits, in code and in words
    "s1_scale": (lambda said: isinstance(said, int | float), "a number"),
    "s1_unit": (lambda said: said in ("dB", "power"), '"dB" or "power"'),
    "s2_offset": (_are_offsets, "0 or 1000, or one by scene or patch"),
    "s2_bands": (_are_bands, "a list of B01 to B12, each at most once"),
    "level": (lambda said: said in LEVELS, " or ".join(LEVELS)),
    "holdout": (lambda said: isinstance(said, str), "a path below the folder"),
}


def read_card(root: Path) -> Card:
    """The card of a data root; raises `DataError` for options that do not exist or cannot be."""
    path = root / "dataset.json"
    said = files.read_json(path) if path.exists() else {}
    if not isinstance(said, dict):
        raise DataError(f"{path}: expected a JSON object with name and version")
    known = {field.name for field in fields(Card)}
    for key in said.keys() - known:
        if key.startswith(("s1_", "s2_", "hold")):
            raise DataError(f"{path}: no option {key}{nearest(key, known)}")
    given = {key: said[key] for key in known & said.keys() if said[key] is not None}
    for key, (fits, what) in _OPTIONS.items():
        if key in given and not fits(given[key]):
            raise DataError(f"{path}: {key} {given[key]!r}; expected {what}")
    usual = {"level": ben_ge.LEVEL} if ben_ge.table_below(root) else {}
    given["name"] = str(given.get("name") or root.resolve().name)
    given["version"] = str(given.get("version", ""))
    given["s2_bands"] = tuple(s2_band(str(name)) for name in given.get("s2_bands", ()))
    return Card(**usual | given)


def find(root: str | Path) -> pd.DataFrame:
    """Catalog of a data root, sorted by scene and patch number; `DataError` if it cannot be read or holds no patch.

    Columns: `id` (unique), `dataset`, `scene`, `region`, `split` ("pretrain", "train", "test" or ""), `row`, `col`
    (position in the scene in stride units, -1 if unknown), `group` (patches that share pixels have the same one; the
    scene where unknown), `s1`, `s2`, `lc`, `dfc` (paths below the root, "" if absent), `epsg`, `x`, `y`, `resolution`
    (upper-left corner in CRS units, NaN if unknown), `reason` (why the headers say that the files are no patch, or "").
    `attrs`: `name`, `version`, `level`, `card`, `size` (pixels of most patches), `simulated`, `state` (the `identity`),
    `unknown` (TIFF files with other names), `duplicates` (second files for a patch and sensor).
    """
    root = Path(root)
    patches, stamps, unknown, duplicates = _scan(root)
    if not patches:
        found = f"{len(unknown)} TIFF files with other names" if unknown else "no TIFF files"
        raise DataError(f"{root}: no SEN12MS or DFC2020 patches found ({found}); expected ROIs…/s1_…/….tif")
    card = read_card(root)
    simulated = card.name == "simulated"
    frame = pd.DataFrame(patches.values()).sort_values(["scene", "number"], kind="stable", ignore_index=True)
    frame, size = _locate(frame, root, stamps, simulated)
    if isinstance(card.s2_offset, dict):
        known = {*frame["id"], *frame["scene"], *frame["scene"].str.partition("/")[0]}
        if lost := sorted(card.s2_offset.keys() - known):
            such = f"names {lost[0]!r}, no patch and no scene here; a scene is {frame['scene'].iloc[0]!r}"
            raise DataError(f"{root / 'dataset.json'}: s2_offset {such}")
    about = {"name": card.name, "version": card.version, "level": card.level, "simulated": simulated}
    found = {"state": _state(root, stamps, card), "unknown": unknown, "duplicates": duplicates}
    frame.attrs = about | {"card": card, "size": size} | found
    return frame


def identity(root: str | Path) -> str:
    """24 hex digits that tell this state of a data root or store from any other, from file names, sizes and times.

    Sizes and times of a simulated set count only where they are later than its `dataset.json`, written last. A packed
    store is known by the checksums of its patches.
    """
    root = Path(root)
    if (root / "store.json").is_file():
        return files.sha256(root / "store.json")[:24]
    return _state(root, _scan(root)[1], read_card(root))


def parse(filename: str) -> dict[str, Any] | None:
    """What a file name says of its patch and sensor ("" where it says nothing); None if it is no patch.

    >>> parse("ROIs1158_spring_s1_8_p100.tif")["scene"]
    'ROIs1158_spring_8'
    >>> parse("ROIs0000_autumn_dfc_Mumbai_p741.tif")["region"], parse("ROIs0000_validation_s2_0_p17.tif")["split"]
    ('Mumbai', 'train')
    """
    match = _NAME.fullmatch(filename)
    if match is None:
        return None
    prefix, code, label, sensor, part, number = match.groups()
    label, scene = label.lower(), f"{prefix}_{part}"
    if int(code) == 0:
        split = DFC_SPLITS.get(label, "")
        said = {"dataset": "dfc2020", "region": "" if split else part, "split": split}
    elif label in SEASONS:
        said = {"dataset": "sen12ms", "region": "", "split": "pretrain"}
    else:
        return None
    said |= {"id": f"{scene}_p{int(number)}", "number": int(number), "sensor": sensor.lower()}
    return {"scene": scene, **said}


def scene_of(line: str) -> str | None:
    """The scene named by a line of a split list, in any of the spellings in use.

    >>> scene_of("ROIs1158_spring/s1_63"), scene_of("ROIs1158_spring_s2_63_p30.tif")
    ('ROIs1158_spring_63', 'ROIs1158_spring_63')
    """
    match = re.search(r"(ROIs\d+_[a-z]+)[/_](?:(?:s1|s2|lc)_)?([A-Za-z0-9]+)", line)
    return f"{match[1]}_{match[2]}" if match else None


def require_complete(root: Path) -> None:
    """Raise `DataError` that names which part of SEN12MS or DFC2020 is missing below `root`, from names alone."""
    if (root / "store.json").is_file():
        frame = pd.read_parquet(root / "catalog.parquet")
    else:
        frame = pd.DataFrame(_scan(root)[0].values(), columns=["dataset", "split", *SENSORS])
    labelled = ben_ge.NAME if (frame["dataset"] == ben_ge.NAME).any() else "dfc2020"
    needed = [(labelled, sensor) for sensor in _IMAGES]
    if labelled == "dfc2020" and not (frame["split"] == "val").any():  # otherwise training patches serve both
        needed = [("sen12ms", "s1"), ("sen12ms", "s2"), *needed]
    there = {sensor: set(frame["dataset"][frame[sensor] != ""]) for sensor in _IMAGES}
    missing = [f"{n.upper()} {_IMAGES[sensor]} ({sensor})" for n, sensor in needed if n not in there[sensor]]
    parts = set(frame["split"][frame["dataset"] == "dfc2020"])
    # Layout A names both parts; layout B names none, and cities are drawn for each.
    if parts and not parts & {"", "val"} and not {"train", "test"} <= parts:
        one = "test" if "train" in parts else "validation"
        missing.append(f"DFC2020 {one} patches (ROIs0000_{one})")
    if missing:
        both = "pretraining needs SEN12MS, fine-tuning DFC2020: put or link both into one folder"
        raise DataError(f"{root}: no {', no '.join(missing)}; {both} (see `eo-ssl data check {root}`)")


def _scan(root: Path) -> tuple[dict[str, dict[str, Any]], Stamps, list[str], list[str]]:
    """Patches by id, stamps of their files, TIFF files with other names, and second files for a patch and sensor.

    Links to folders are followed, `_DEPTH` levels deep; a file that is reached on two ways counts once.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give the folder that holds the ROIs… folders")

    def refuse(error: OSError) -> None:
        raise error

    if table := ben_ge.table_below(root):
        patches = ben_ge.patches(root, table)
        paths = [str(table.relative_to(root)), *(p[s] for p in patches.values() for s in SENSORS if p[s])]
        return patches, {path: stamp(root / path) for path in paths}, [], []
    patches: dict[str, dict[str, Any]] = {}
    stamps, unknown, duplicates, seen = {}, [], [], set()
    for folder, below, names in os.walk(root, onerror=refuse, followlinks=True):
        inside = Path(folder).relative_to(root)
        below[:] = sorted(name for name in below if name[0] != "." and len(inside.parts) < _DEPTH)
        for name in sorted(n for n in names if n[0] != "." and n.lower().endswith((".tif", ".tiff"))):
            path = str(inside / name)
            try:
                state = os.stat(root / path)
                file, seal = (state.st_dev, state.st_ino), (state.st_size, state.st_mtime_ns)
            except OSError:  # a link that leads nowhere: named when it is read
                file, seal = path, (0, 0)
            if file in seen:
                continue
            seen.add(file)
            said = parse(name)
            if said is None:
                unknown.append(path)
                continue
            sensor = said.pop("sensor")
            patch = patches.setdefault(said["id"], said | dict.fromkeys(SENSORS, ""))
            if patch[sensor]:
                duplicates.append(path)
            else:
                patch[sensor], stamps[path] = path, seal
    if listed := ben_ge.listed(root):
        split = {said["id"]: part for name, part in listed.items() if (said := parse(name))}
        for patch in patches.values():
            if patch["dataset"] == "dfc2020":
                patch["split"] = split.get(patch["id"], "")
    return patches, stamps, unknown, duplicates


def stamp(path: Path) -> tuple[int, int]:
    """Bytes and modification time (ns) of a file; of a folder those of its files together, of which each counts."""
    states = [file.stat() for file in (path.iterdir() if path.is_dir() else [path])]
    return sum(s.st_size for s in states), reduce(xor, (s.st_mtime_ns for s in states), 0)


def _state(root: Path, stamps: Stamps, card: Card) -> str:
    """Hash of names, sizes and times of the files, of the card and of the hold-out list."""
    digest, described = hashlib.sha256(), root / "dataset.json"
    for path in (described, root / card.holdout):
        if path.is_file():
            digest.update(path.read_bytes())
    made = card.name == "simulated" and described.is_file()
    since = described.stat().st_mtime_ns if made else -1
    for path, (size, mtime) in sorted(stamps.items()):
        digest.update(f"{path} {(size, mtime) if mtime > since else ''}\n".encode())
    return digest.hexdigest()[:24]


def _locate(frame: pd.DataFrame, root: Path, stamps: Stamps, alike: bool) -> tuple[pd.DataFrame, int]:
    """The catalog with what headers say, and the width of most patches, 0 if unknown.

    Of a set that is known to be `alike` in all sensors only the headers of the label maps are read.
    """
    paths = frame[["dfc", "lc", "s1", "s2"]]
    ground = paths.mask(paths == "").bfill(axis=1)["dfc"]
    wanted = set(ground if alike else paths.to_numpy().ravel())
    headers = georef.headers(root, {path: s for path, s in stamps.items() if path in wanted})
    table = headers.reindex(ground).set_index(frame.index).fillna({"epsg": 0}).astype({"epsg": int})
    known = {path: georef.Header(*header) for path, *header in headers.itertuples()}
    widths = headers["width"][headers["width"] > 0]
    usual = 0 if widths.empty else int(widths.mode().min())
    frame["reason"] = [
        georef.contradiction({sensor: known[p] for sensor, p in zip(SENSORS, patch) if p in known}, usual)
        for patch in frame[list(SENSORS)].itertuples(index=False)
    ]
    for fallback in (georef.regions(table), frame["scene"]):
        frame["region"] = frame["region"].where(frame["region"] != "", fallback)
    frame["group"] = georef.overlap_groups(table, frame["scene"])
    if (frame["split"] == "val").any():  # listed, and nothing is known of which patches share pixels
        frame["group"] = frame["group"].where(table["x"].notna() | (frame["split"] == ""), frame["id"])
    # Layout A calls every patch "scene 0"; its scenes are its regions.
    layout_a = (frame["dataset"] == "dfc2020") & (frame["split"] != "")
    frame["scene"] = frame["scene"].where(~layout_a, frame["scene"] + "/" + frame["region"])
    frame["row"], frame["col"] = georef.grid(table, frame["scene"])
    frame.loc[frame["dataset"] == ben_ge.NAME, ["row", "col"]] = -1  # single patches, drawn at random
    return frame.join(table[["epsg", "x", "y", "resolution"]]).drop(columns="number"), usual
