"""What splits must not share: patches, pixels, scenes, regions; and the regions that the data leave on both sides."""

import pandas as pd

from eo_ssl.errors import DataError


def check_disjoint(catalog: pd.DataFrame, left: str, right: str) -> None:
    """Raise `DataError` if two splits share a patch id, an overlap group or, where labelled, a region.

    Pretraining splits must not share a scene. Regions that `assign` had to leave on both sides pass; they are
    listed in `attrs["shared_regions"]` and spoken of in the notes.
    """
    whole = "region" if {left, right} <= {"train", "val", "test"} else "scene"
    excused = catalog.attrs.get("shared_regions", {}).get(f"{left}/{right}", ())
    for column in ("id", "group", whole):
        shared = common(catalog, left, right, column) - set(excused if column == "region" else ())
        if shared:
            raise DataError(
                f"splits {left} and {right} share {column} {min(shared)}; give all its patches to one of them"
            )


def common(catalog: pd.DataFrame, left: str, right: str, column: str) -> set[str]:
    """What two splits have in common; nothing where the catalog lacks the column."""
    if column not in catalog:
        return set()
    a, b = (set(catalog[column][catalog["split"] == name]) for name in (left, right))
    return a & b


def excuse(
    catalog: pd.DataFrame, left: str, right: str, why: str, notes: list[str], where: pd.Series | None = None
) -> None:
    """Put down the regions that two splits share among the rows `where`, because the data leave no choice."""
    shared = sorted(common(catalog if where is None else catalog[where], left, right, "region"))
    if shared:
        catalog.attrs["shared_regions"][f"{left}/{right}"] = shared
        notes.append(f"{why}: {', '.join(shared)}")
