"""Folder and file names of SEN12MS and DFC2020: what a patch file's name says, and what it does not.

    SEN12MS            ROIs1158_spring/s2_8/ROIs1158_spring_s2_8_p100.tif
    DFC2020 layout A   ROIs0000_test/s2_0/ROIs0000_test_s2_0_p17.tif
                       ROIs0000_validation/s2_validation/ROIs0000_validation_s2_0_p17.tif
    DFC2020 layout B   ROIs0000_autumn/s2_Mumbai/ROIs0000_autumn_s2_Mumbai_p741.tif

Only file names are read, never folder names, so nested or renamed folders do no harm. The p number
counts patches within a scene with gaps where a patch was rejected; the position on the ground
is known from the georeferencing alone.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SENSORS = ("s1", "s2", "lc", "dfc")
SEASONS = ("spring", "summer", "fall", "winter")
DFC_SPLITS = {"validation": "train", "test": "test"}  # the papers train on "validation" and test on "test"
# Known to be damaged in the published SEN12MS: NaN in the radar image.
KNOWN_BROKEN = frozenset({"ROIs1868_summer_146_p202"})

_NAME = re.compile(r"(ROIs(\d+)_([a-z]+))_(s1|s2|lc|dfc)_([A-Za-z0-9]+)_p(\d+)\.tiff?", re.IGNORECASE)
_DEPTH = 5


@dataclass(frozen=True, slots=True)
class Name:
    """What one file name says about its patch; `region` and `split` are "" where it says nothing."""

    id: str
    dataset: str
    season: str
    scene: str
    region: str
    split: str
    sensor: str
    number: int


def parse(filename: str) -> Name | None:
    """Read a file name; None if it is not a patch of a known layout.

    >>> parse("ROIs1158_spring_s1_8_p100.tif").scene
    'ROIs1158_spring_8'
    >>> parse("ROIs0000_autumn_dfc_Mumbai_p741.tif").region
    'Mumbai'
    >>> parse("ROIs0000_validation_s2_0_p17.tif").split
    'train'
    """
    match = _NAME.fullmatch(filename)
    if match is None:
        return None
    prefix, code, label, sensor, scene, number = match.groups()
    label, sensor = label.lower(), sensor.lower()
    full_scene = f"{prefix}_{scene}"
    patch_id = f"{full_scene}_p{int(number)}"
    if int(code) == 0:
        split = DFC_SPLITS.get(label, "")
        season = "" if split else label.replace("autumn", "fall")
        region = "" if split else scene
        return Name(patch_id, "dfc2020", season, full_scene, region, split, sensor, int(number))
    if label not in SEASONS:
        return None
    return Name(patch_id, "sen12ms", label, full_scene, full_scene, "pretrain", sensor, int(number))


def scene_of(line: str) -> str | None:
    """The scene named by a line of a split list, in any of the spellings in use.

    >>> scene_of("ROIs1158_spring/s1_63"), scene_of("ROIs1158_spring_s2_63_p30.tif")
    ('ROIs1158_spring_63', 'ROIs1158_spring_63')
    """
    match = re.search(r"(ROIs\d+_[a-z]+)[/_](?:(?:s1|s2|lc)_)?([A-Za-z0-9]+)", line.strip())
    return f"{match.group(1)}_{match.group(2)}" if match else None


def walk(root: Path) -> Iterator[tuple[str, list[str], int]]:
    """List a tree by directory entries alone: (folder relative to root, TIFF file names, folder mtime in ns).

    No file is opened or stat-ed, so a network disk with half a million files is listed in seconds.
    Symbolic links to folders are followed (large sets are often linked together), `_DEPTH` levels deep.
    """
    stack = [("", 0)]
    while stack:
        relative, depth = stack.pop()
        files, folder = [], root / relative
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.name.lower().endswith((".tif", ".tiff")):
                    files.append(entry.name)
                elif depth < _DEPTH and entry.is_dir():
                    stack.append((os.path.join(relative, entry.name), depth + 1))
        yield relative, sorted(files), folder.stat().st_mtime_ns
