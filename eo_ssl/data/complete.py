"""Does a data root hold everything that training needs? Answered from file names, in seconds."""

from collections.abc import Iterator
from pathlib import Path

from eo_ssl.data import layouts
from eo_ssl.errors import DataError

LOOKED_AT = 3  # names per folder: a folder holds one sensor of one scene
# What must be there, as (what a reader calls it, how it is known by dataset and sensor).
NEEDED = {
    "SEN12MS radar images (s1)": ("sen12ms", "s1"),
    "SEN12MS optical images (s2)": ("sen12ms", "s2"),
    "DFC2020 radar images (s1)": ("dfc2020", "s1"),
    "DFC2020 optical images (s2)": ("dfc2020", "s2"),
    "DFC2020 labels (dfc)": ("dfc2020", "dfc"),
}


def require_complete(root: Path) -> None:
    """Raise `DataError` that names which part of SEN12MS or DFC2020 is missing below `root`."""
    missing = missing_parts(root)
    if missing:
        raise DataError(
            f"{root}: no {', no '.join(missing)}; pretraining needs SEN12MS, fine-tuning DFC2020: put or link both "
            f"into one folder (`eo-ssl data check {root}` lists what is there)"
        )


def missing_parts(root: Path) -> list[str]:
    """The parts of `NEEDED`, and of the test set of DFC2020, that are not below `root`; [] if it is complete."""
    found, splits = set(), set()
    for dataset, sensor, split in _seen(root):
        found.add((dataset, sensor))
        if dataset == "dfc2020":
            splits.add(split)
        if found >= set(NEEDED.values()) and _tested(splits):
            return []
    missing = [name for name, key in NEEDED.items() if key not in found]
    if splits and not _tested(splits):
        one = "test" if "train" in splits else "validation"
        missing.append(f"DFC2020 {one} patches (ROIs0000_{one})")
    return missing


def _tested(splits: set[str]) -> bool:
    """Layout A names both splits; layout B names none, and cities are drawn for each."""
    return "" in splits or {"train", "test"} <= splits


def _seen(root: Path) -> Iterator[tuple[str, str, str]]:
    """Dataset, sensor and split of some of the files in every folder."""
    from eo_ssl.data.store import is_store

    if is_store(root):
        import pandas as pd

        catalog = pd.read_parquet(root / "catalog.parquet")
        for sensor in layouts.SENSORS:
            rows = catalog[catalog[sensor] != ""].drop_duplicates(["dataset", "split"])
            yield from ((row.dataset, sensor, row.split) for row in rows.itertuples())
        return
    for _, names, _ in layouts.walk(root):
        for filename in names[:LOOKED_AT]:
            name = layouts.parse(filename)
            if name is not None:
                yield name.dataset, name.sensor, name.split
