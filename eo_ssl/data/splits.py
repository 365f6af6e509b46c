"""Splits that do not leak: scene-disjoint for pretraining, region-disjoint for the labelled patches."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from eo_ssl.data.catalog import scene_of
from eo_ssl.data.fetch import FACTS
from eo_ssl.errors import ConfigError, DataError
from eo_ssl.sensors import IGNORE

NAMES = ("pretrain", "pretrain_val", "train", "val", "test")
PRETRAIN_VAL = 0.1  # share of the patches held out of pretraining
VAL = 0.2  # share of the training regions' patches that validates
TEST = 0.5  # share that tests where the layout names no test set (DFC2020 layout B)
TILES = 0.2  # share of ben-ge that tests, and that validates
APART = 5.0  # km between patches of ben-ge in different splits
EARTH = 6371.0  # km


def assign(catalog: pd.DataFrame, seed: int = 0, holdout: str | Path | None = None) -> pd.DataFrame:
    """Copy of the catalog of `find` with the column `split` filled in, asserted to be disjoint.

    Pretraining rows become "pretrain" or "pretrain_val": the scenes of the `holdout` list (one a line, as in
    SEN12MS_holdOutScenes.txt), or else whole scenes drawn with `seed`, about 10 % of the patches. DFC2020 layout A keeps
    train and test as published, and whole regions, about 20 % of the training patches, become "val"; of layout B, which
    names no test set, cities are drawn; a data set that lists its splits keeps them. ben-ge is split by MGRS tiles, with
    at least 5 km between the splits and the same for every seed; patches named in `holdout` are left out.

    Scenes that share pixels stay together; pretraining patches that share pixels with validation or test patches are
    left out. `attrs["notes"]` says what was done and left out, `attrs["shared_regions"]` which regions are on both
    sides because the data leave no choice.
    """
    catalog = catalog.copy()
    catalog.attrs |= {"notes": [], "shared_regions": {}}
    rng = np.random.default_rng([seed, 20])
    _split_tiles(catalog, holdout)
    _split_pretraining(catalog, rng, holdout)
    if (catalog["split"] == "val").any() or (catalog["dataset"] == "ben-ge").any():
        _keep_lists(catalog)
    else:
        _split_layout_b(catalog, rng)
        _keep_apart(catalog, "train", "test")
        _excuse(catalog, "train", "test", "the published split trains and tests in the same region")
        _carve_validation(catalog, rng)
    for other in ("val", "test"):
        for name in ("pretrain", "pretrain_val"):
            _keep_apart(catalog, name, other)
            check_disjoint(catalog, name, other)
    for left, right in (("pretrain", "pretrain_val"), ("train", "val"), ("train", "test"), ("val", "test")):
        check_disjoint(catalog, left, right)
    return catalog


def _units(rows: pd.DataFrame, by: str) -> pd.Series:
    """Sets of rows that stay together, by their first name: scenes or regions, joined where they share pixels."""
    name, names = pd.factorize(rows[by])
    group, groups = pd.factorize(rows["group"])
    nodes = len(names) + len(groups)  # a scene and an overlap group are joined by a patch of both
    graph = coo_array((np.ones(len(rows)), (name, group + len(names))), shape=(nodes, nodes))
    joined = connected_components(graph, directed=False)[1][: len(names)]
    first = pd.Series(names).groupby(joined).first()
    return pd.Series(first[joined[name]].to_numpy(), index=rows.index)


def _split_pretraining(catalog: pd.DataFrame, rng: np.random.Generator, holdout: str | Path | None) -> None:
    rows = catalog[catalog["split"] == "pretrain"]
    if rows.empty:
        return
    if holdout is not None:
        held = rows["scene"].isin({scene_of(line) for line in Path(holdout).read_text("utf-8").splitlines()})
        if not held.any():
            raise DataError(f"{holdout}: none of its scenes is in the data")
        catalog.attrs["notes"].append(f"pretraining hold-out as listed in {Path(holdout).name}")
    else:
        units = _units(rows, "scene")
        held = units.isin(_draw(units, PRETRAIN_VAL, rng))
        catalog.attrs["notes"].append("pretraining hold-out: whole scenes")
    catalog.loc[rows.index[held], "split"] = "pretrain_val"
    _keep_apart(catalog, "pretrain", "pretrain_val")


def _draw(units: pd.Series, share: float, rng: np.random.Generator, leave: int = 1) -> list[str]:
    """Units that hold about `share` of the rows: at least one, and `leave` or more are left."""
    sizes, total = units.value_counts().sort_index(), len(units)
    names = sizes.index.tolist()
    if len(names) <= leave:
        return []
    if len(names) <= 12:  # few enough to look at all subsets
        chosen = np.arange(1, 2 ** len(names))[:, None] >> np.arange(len(names)) & 1  # (subsets, names)
        chosen = chosen[len(names) - chosen.sum(1) >= leave]
        error = np.abs(chosen @ sizes.to_numpy() / total - share)
        near = np.flatnonzero(error <= max(error.min() * 1.5, 0.05))
        return sizes.index[chosen[rng.choice(near)] == 1].tolist()
    order = sizes[rng.permutation(names)]
    before = order.cumsum() - order
    drawn = order[(before + order / 2 <= share * total).cummin()]
    return drawn.index.tolist() or [str(sizes.idxmin())]


def _split_layout_b(catalog: pd.DataFrame, rng: np.random.Generator) -> None:
    rows = catalog[(catalog["dataset"] == "dfc2020") & (catalog["split"] == "")]
    if rows.empty:
        return
    units = _units(rows, "region")
    leave = min(2, units.nunique() - 1)  # two: one of them validates
    test = units.isin(_draw(units, TEST, rng, leave))
    catalog.loc[rows.index, "split"] = np.where(test, "test", "train")
    cities = ", ".join(sorted(rows["region"][test].unique()))
    note = f"DFC2020 layout B names no test set; tested on {cities} (not the papers' split)"
    catalog.attrs["notes"].append(note)


def _carve_validation(catalog: pd.DataFrame, rng: np.random.Generator) -> None:
    rows = catalog[catalog["split"] == "train"]
    if rows.empty:
        return
    units = _units(rows, "region")
    tested = rows["region"].isin(catalog["region"][catalog["split"] == "test"])
    free = units[~units.isin(units[tested])]  # validation in a tested region would choose for that region
    if units.nunique() > 1:
        pool = free if len(free) else units
        leave = int(pool.nunique() == units.nunique())
        held = units.isin(_draw(pool, VAL * len(rows) / len(pool), rng, leave))
        catalog.loc[rows.index[held], "split"] = "val"
        regions = sorted(rows["region"][held].unique())
        catalog.attrs["notes"].append(f"validation regions: {', '.join(regions)}")
    else:
        order = rows.assign(x=rows["x"].fillna(0)).groupby("group")["x"].min().sort_values(kind="stable")
        size = rows["group"].value_counts()[order.index].cumsum()
        held = rows["group"].isin(size.index[size > (1 - VAL) * len(rows)]) & (len(order) > 1)
        catalog.loc[rows.index[held], "split"] = "val"
        why = "one training region only: validation is its eastern end, not another region"
        _excuse(catalog, "train", "val", why)
    if free.empty:
        _excuse(catalog, "val", "test", "every training region is tested, validation's too")


def _split_tiles(catalog: pd.DataFrame, holdout: str | Path | None) -> None:
    rows = catalog[catalog["dataset"] == "ben-ge"]
    if rows.empty:
        return
    unseen = set(FACTS["places"]) | set(FACTS["benv2"])  # the small real patches, which some chapters look at
    if holdout is not None:
        unseen |= {line.strip() for line in Path(holdout).read_text("utf-8").splitlines()}
    rows = rows[~rows["id"].isin(unseen)]
    rng = np.random.default_rng(2023)  # not that of the run: it is one split for all
    test = rows["region"].isin(_draw(rows["region"], TILES, rng, 2))
    val = rows["region"].isin(_draw(rows["region"][~test], TILES * len(rows) / (~test).sum(), rng))
    catalog.loc[rows.index, "split"] = np.select([test, val], ["test", "val"], "train")
    left_out = 0
    for keep, others in (("train", ["val", "test"]), ("val", ["test"])):
        near = _near(catalog, catalog["split"] == keep, catalog["split"].isin(others))
        catalog.loc[near, "split"] = ""
        left_out += int(near.sum())
    note = f"whole MGRS tiles train, validate and test, at least {APART:.0f} km apart: {left_out} patches between them"
    catalog.attrs["notes"].append(f"{note} were left out (others use a random split of this data set)")


def _near(catalog: pd.DataFrame, left: pd.Series, right: pd.Series) -> pd.Series:
    """Which rows of `left` have one of `right` less than `APART` km away; masks (N,) bool."""
    degrees = np.radians(catalog[["lon", "lat"]].to_numpy(float))  # (N, 2)
    lon, lat = degrees.T
    globe = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], 1)  # (N, 3)
    found = left.copy()
    if left.any() and right.any():
        chord = 2 * np.sin(APART / EARTH / 2)
        found[left] = cKDTree(globe[right]).query(globe[left])[0] < chord
    return found & right.any()


def _keep_lists(catalog: pd.DataFrame) -> None:
    """Note what cannot be known of splits that a data set lists, and leave out what is known to leak."""
    rows = catalog[catalog["split"].isin(["train", "val", "test"]) & (catalog["dataset"] == "dfc2020")]
    if len(rows):
        unknown = "; where the patches lie is not known, so nothing shows whether training ground is tested"
        note = f"split as the lists of the data set say{unknown if rows['x'].isna().any() else ''}"
        catalog.attrs["notes"].append(note)
    for keep, other in (("train", "test"), ("train", "val"), ("val", "test")):
        _keep_apart(catalog, keep, other)
        catalog.attrs["shared_regions"][f"{keep}/{other}"] = sorted(_common(rows, keep, other, "region"))


def evenly(rows: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of the rows: an even choice over all of them, the same every time.

    >>> evenly(np.arange(10), 4).tolist(), evenly(np.arange(3), 4).tolist()
    ([0, 3, 6, 9], [0, 1, 2])
    """
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(int)]


def for_pretraining(split: pd.Series) -> pd.Series:
    """Splits as pretraining sees them: without patches of its own it takes the training patches, labels unseen.

    >>> for_pretraining(pd.Series(["train", "val", "test"])).tolist()
    ['pretrain', 'pretrain_val', 'test']
    """
    if (split == "pretrain").any():
        return split
    return split.replace({"train": "pretrain", "val": "pretrain_val"})


def _keep_apart(catalog: pd.DataFrame, keep: str, other: str) -> None:
    """Leave rows of `keep` that share pixels with rows of `other` out of every split."""
    leak = (catalog["split"] == keep) & catalog["group"].isin(_common(catalog, keep, other, "group"))
    if leak.any():
        catalog.loc[leak, "split"] = ""
        note = f"{int(leak.sum())} {keep} patches share pixels with {other} and were left out"
        catalog.attrs["notes"].append(note)


def _excuse(catalog: pd.DataFrame, left: str, right: str, why: str) -> None:
    """Put down the regions that two splits share because the data leave no choice."""
    shared = sorted(_common(catalog, left, right, "region"))
    if shared:
        catalog.attrs["shared_regions"][f"{left}/{right}"] = shared
        catalog.attrs["notes"].append(f"{why}: {', '.join(shared)}")


def _common(catalog: pd.DataFrame, left: str, right: str, column: str) -> set[str]:
    a, b = (set(catalog[column][catalog["split"] == name]) for name in (left, right))
    return a & b


def check_disjoint(catalog: pd.DataFrame, left: str, right: str) -> None:
    """Raise `DataError` if two splits share a patch id, an overlap group, or a scene (where labelled: a region).

    Regions that `assign` had to leave on both sides pass.
    """
    whole = "region" if {left, right} <= {"train", "val", "test"} else "scene"
    excused = catalog.attrs.get("shared_regions", {}).get(f"{left}/{right}", ())
    for column in ("id", "group", whole):
        shared = _common(catalog, left, right, column) - set(excused if column == "region" else ())
        if shared:
            raise DataError(
                f"splits {left} and {right} share {column} {min(shared)}; give all its patches to one of them"
            )


def label_fraction(rows: Iterable[int], labels: Sequence[int], fraction: float, seed: int) -> list[int]:
    """Draw a share of the labelled patches: unique, stratified by majority class, nested, sorted.

    `labels[i]` is the majority class of `rows[i]`; patches without one (255) cannot be drawn. In each class
    n_c · fraction patches are taken, rounded, at least one: the first ones of an order that depends on seed
    and class only, so that with the same seed 1 % ⊂ 10 % ⊂ 50 % ⊂ 100 %. The true count is the length.

    >>> small = label_fraction(range(200), [0] * 150 + [1] * 50, 0.1, seed=0)
    >>> len(small), set(small) <= set(label_fraction(range(200), [0] * 150 + [1] * 50, 0.5, seed=0))
    (20, True)
    """
    if not 0 < fraction <= 1:
        raise ConfigError(f"label fraction {fraction}: must lie in (0, 1]")
    unique = pd.Series({int(row): int(label) for row, label in zip(rows, labels, strict=True)}, dtype=int)
    drawn: list[int] = []
    for label, members in unique[unique != IGNORE].sort_index().groupby(unique):
        order = np.random.default_rng([seed, label, 30]).permutation(members.index)
        drawn += order[: max(1, int(np.floor(len(members) * fraction + 0.5)))].tolist()
    return sorted(drawn)
