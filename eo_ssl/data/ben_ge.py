"""Two real data sets in the layouts in which they are published: ben-ge, and DFC2020 as Copernicus-Bench splits it.

    ben-ge-8k_meta.csv                      patch_id, patch_id_s1, lon, lat of the centre, and more
    splits/ben-ge-8k_{train,val,test}.csv   ids of a random split (ben-ge-800: the order of the rows, 500/150/150)
    sentinel-1/<id_s1>/<id_s1>_VV.tif       dB, one file a band
    sentinel-2/<id>/<id>_B8A.tif            digital numbers of L2A, 12 bands, each at its own resolution
    esaworldcover/<id>_esaworldcover.tif    ESA WorldCover at 10 m

    {s1,s2,dfc}/ROIs0000_test_{s1,s2,dfc}_0_p17.tif     DFC2020: the names of the contest in flat folders
    dfc-{train,val,test}-new.csv                        names of the label maps of each split

Both are found with or without the folder that their archives pack them in. Here they become rows of the catalog
(`eo_ssl.data.catalog`); which patches of ben-ge are for training is drawn in `eo_ssl.data.splits`.

Source: Mommert et al. (2023), ben-ge, IGARSS; Wang et al. (2025), Copernicus-Bench, ICCV.
"""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eo_ssl.errors import DataError

NAME = "ben-ge"
LEVEL = "L2A"
FOLDERS = {"s1": "sentinel-1", "s2": "sentinel-2", "dfc": "esaworldcover"}
COLUMNS = {"patch_id": str, "patch_id_s1": str, "lon": float, "lat": float}
SPLITS = ("train", "val", "test")
IN_ORDER = (500, 650)  # rows of ben-ge-800 at which its usual validation and test sets begin


def table_below(root: Path) -> Path | None:
    """The meta file of ben-ge in `root` or one folder below it; None if this is another data set.

    Raises `DataError` if there are two.
    """
    found = sorted(p for p in (*root.glob("ben-ge*_meta.csv"), *root.glob("*/ben-ge*_meta.csv")))
    if len(found) > 1:
        raise DataError(f"{root}: two data sets ({found[0].name}, {found[1].name}); give the folder of one")
    return found[0] if found else None


def patches(root: Path, table: Path) -> dict[str, dict[str, Any]]:
    """What the meta file and the folders say of each patch, by id; a missing part is "".

    Region is the MGRS tile in the name of the radar patch (where there is none, the degree of longitude and latitude),
    scene the tile on one day. `published` is the random split that others use. Raises `DataError` that names the file
    and column that is missing or wrong, `OSError` that names a folder that is missing.
    """
    said = _read_table(table)
    there = {sensor: set(os.listdir(table.parent / folder)) for sensor, folder in FOLDERS.items()}
    published = _published(table, said["patch_id"].tolist())
    found: dict[str, dict[str, Any]] = {}
    for number, row in enumerate(said.itertuples()):
        name, radar = row.patch_id, row.patch_id_s1
        tile = re.search(r"_T?(\d{2}[A-Z]{3})_", radar)
        region = tile[1] if tile else f"{np.floor(row.lat):+03.0f}{np.floor(row.lon):+04.0f}"
        day = re.search(r"\d{8}", name)
        about = {"id": name, "dataset": NAME, "scene": f"{region}_{day[0]}" if day else region}
        about |= {"region": region, "split": "", "number": number}
        about |= {"s1": "", "s2": "", "lc": "", "dfc": ""}
        for sensor, part in (("s1", radar), ("s2", name), ("dfc", f"{name}_esaworldcover.tif")):
            if part in there[sensor]:
                about[sensor] = str(table.parent.relative_to(root) / FOLDERS[sensor] / part)
        found[name] = about | {"lon": row.lon, "lat": row.lat, "published": published.get(name, "")}
    return found


def _read_csv(path: Path, **options: Any) -> pd.DataFrame:
    try:
        return pd.read_csv(path, **options)
    except (OSError, ValueError) as error:  # ValueError: not CSV, or not UTF-8
        raise DataError(f"{path}: cannot be read ({error}); unpack the archive again") from error


def _read_table(path: Path) -> pd.DataFrame:
    table = _read_csv(path, dtype=COLUMNS)
    if missing := [name for name in COLUMNS if name not in table]:
        raise DataError(f"{path}: no column {', '.join(missing)}; its columns are {', '.join(table)}")
    for name in ("patch_id", "patch_id_s1"):
        # A name leads to a folder: one with a slash in it would lead elsewhere.
        wrong = ~table[name].fillna("").str.fullmatch(r"\w[\w.-]*") | table[name].duplicated()
        if wrong.any():
            raise DataError(f"{path}: {name} {table[name][wrong].iloc[0]!r} is no name, or there twice")
    return table


def _published(table: Path, ids: list[str]) -> dict[str, str]:
    """Split of each patch as others use it: from the lists, or for ben-ge-800 from the order of the rows."""
    stem = table.name.removesuffix("_meta.csv")
    lists = {name: table.parent / "splits" / f"{stem}_{name}.csv" for name in SPLITS}
    if all(path.is_file() for path in lists.values()):
        rows = {name: _read_csv(path, header=None, dtype=str)[0] for name, path in lists.items()}
        return {patch: name for name, listed in rows.items() for patch in listed}
    if stem != "ben-ge-800":
        return {}
    return {patch: SPLITS[sum(i >= start for start in IN_ORDER)] for i, patch in enumerate(ids)}


def listed(root: Path) -> dict[str, str]:
    """Split of each label map that the three lists of Copernicus-Bench name, by file name; {} without lists.

    Raises `DataError` if one of the three is missing or a map is in two of them.
    """
    paths = [*root.glob("dfc-*-new.csv"), *root.glob("*/dfc-*-new.csv")]
    lists = {path.name.split("-")[1]: path for path in paths}
    if not lists:
        return {}
    if missing := [name for name in SPLITS if name not in lists]:
        name = f"dfc-{missing[0]}-new.csv"
        raise DataError(f"{root}: no {name} beside the other lists; unpack the archive again")
    found: dict[str, str] = {}
    for name in SPLITS:
        for line in _read_csv(lists[name], header=None, dtype=str)[0]:
            if (other := found.setdefault(line.strip(), name)) != name:
                raise DataError(f"{lists[name]}: {line} is in {other}, too; the lists are not whole")
    return found
