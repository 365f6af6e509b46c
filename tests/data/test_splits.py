from itertools import pairwise

import fake_patches as fake
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eo_ssl.data import catalog, splits
from eo_ssl.errors import ConfigError, DataError


def frame(scenes, dataset="sen12ms", split="pretrain", region=None, group=None, each=5):
    """A catalog without files: `each` patches a scene."""
    rows = [
        {
            "id": f"{scene}_p{i}", "dataset": dataset, "scene": scene, "season": "", "split": split,
            "region": region[k] if region else scene, "group": group[k] if group else scene, "x": float(k * 100 + i),
        }
        for k, scene in enumerate(scenes)
        for i in range(each)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def parts(found):
    return {name: set(part.index) for name, part in found.groupby("split")}


def test_pretraining_is_split_by_whole_scenes():
    found = splits.assign(frame([f"s{k}" for k in range(30)]))
    assert (found.groupby("scene")["split"].nunique() == 1).all()
    share = (found["split"] == "pretrain_val").mean()
    assert 0.05 <= share <= 0.2


def test_scenes_on_the_same_ground_stay_on_one_side():
    names = [f"s{k}" for k in range(20)]
    for seed in range(10):
        found = splits.assign(frame(names, group=[f"g{k // 2}" for k in range(20)]), seed)
        assert (found.groupby("group")["split"].nunique() == 1).all()


def test_the_official_list_decides_where_it_is_given(tmp_path):
    root = fake.make(tmp_path / "data", fake.sen12ms() + fake.sen12ms(scene=63, epsg=32633))
    (tmp_path / "holdout.txt").write_text("ROIs1158_spring/s1_63\n")
    found = splits.assign(catalog.find(root), holdout=tmp_path / "holdout.txt")
    held = found[found["split"] == "pretrain_val"]
    assert set(held["scene"]) == {"ROIs1158_spring_63"} and len(held) == 4


def test_a_list_that_names_no_scene_of_the_data_is_an_error(tmp_path):
    (tmp_path / "holdout.txt").write_text("ROIs2017_winter/s1_1\n")
    with pytest.raises(DataError, match="none of its scenes"):
        splits.assign(frame(["ROIs1158_spring_8", "b"]), holdout=tmp_path / "holdout.txt")


def test_validation_is_other_regions_than_training(tmp_path):
    found = splits.assign(catalog.find(fake.world(tmp_path)))
    train, val = (found[found["split"] == name] for name in ("train", "val"))
    assert len(train) and len(val) and not set(train["region"]) & set(val["region"])
    assert set(found[found["split"] == "test"]["id"].str.split("_").str[1]) == {"test"}


def test_one_training_region_gives_a_validation_end_of_it_and_says_so():
    groups = [f"g{k}" for k in range(10)]
    found = splits.assign(frame(groups, "dfc2020", "train", region=["one"] * 10, group=groups))
    train, val = (found[found["split"] == name] for name in ("train", "val"))
    assert len(val) == 10 and val["x"].min() > train["x"].max()
    assert "one training region only" in " ".join(found.attrs["notes"])


def test_training_patches_that_overlap_the_test_set_are_left_out():
    both = pd.concat(
        [
            frame(["a", "b", "c"], "dfc2020", "train", group=["g1", "g2", "g3"]),
            frame(["t"], "dfc2020", "test", group=["g1"]),
        ],
        ignore_index=True,
    )
    found = splits.assign(both)
    assert not set(found[found["split"].isin(["train", "val"])]["scene"]) & {"a"}
    assert "share pixels" in " ".join(found.attrs["notes"])


@pytest.mark.parametrize("ground", ["val", "test"])
def test_pretraining_never_sees_the_ground_of_validation_or_test(ground):
    labelled = published(["a", "b", "c"], ["z"])
    chosen = splits.assign(labelled)["split"] == ground
    scenes = [f"s{k}" for k in range(6)]
    shared = str(labelled["group"][chosen].iloc[0])
    both = pd.concat([frame(scenes, group=[shared, *scenes[1:]]), labelled], ignore_index=True)
    found = splits.assign(both)
    assert set(found["split"][found["scene"] == "s0"]) == {""}
    assert f"share pixels with {ground} and were left out" in " ".join(found.attrs["notes"])
    assert len(found[found["split"] == "pretrain"]) >= 20


def test_layout_b_is_split_by_city_and_says_that_it_is_not_the_papers_split(tmp_path):
    found = splits.assign(catalog.find(fake.make(tmp_path, fake.layout_b())))
    assert (found.groupby("region")["split"].nunique() == 1).all()
    assert set(found["split"]) == {"train", "val", "test"}
    assert "not the papers' split" in " ".join(found.attrs["notes"])


def test_leaks_are_detected():
    found = frame(["a", "b"])
    found["split"] = ["train"] * 5 + ["test"] * 5
    splits.check_disjoint(found, "train", "test")
    found["group"] = "same"
    with pytest.raises(DataError, match="share group"):
        splits.check_disjoint(found, "train", "test")


def test_a_region_on_both_sides_is_a_leak_though_no_pixel_is_shared():
    found = frame(["a", "b", "c"], "dfc2020", "train", region=["one", "one", "two"])
    for left, right in (("train", "val"), ("val", "test"), ("train", "test")):
        found["split"] = [left] * 5 + [right] * 10
        with pytest.raises(DataError, match=f"splits {left} and {right} share region one; give all its"):
            splits.check_disjoint(found, left, right)
    found["split"] = ["train"] * 10 + ["val"] * 5
    splits.check_disjoint(found, "train", "val")


def test_a_scene_on_both_sides_of_pretraining_is_a_leak():
    found = frame(["a"], group=None).assign(group=[f"g{k}" for k in range(5)])
    found["split"] = ["pretrain"] * 3 + ["pretrain_val"] * 2
    with pytest.raises(DataError, match="share scene a"):
        splits.check_disjoint(found, "pretrain", "pretrain_val")


def published(train, test):
    """Layout A as published, by the regions of its scenes."""
    names = [
        f"{part}{k}" for part, regions in (("train", train), ("test", test)) for k in range(len(regions))
    ]
    found = frame(names, "dfc2020", "", region=[*train, *test])
    return found.assign(split=["train"] * 5 * len(train) + ["test"] * 5 * len(test))


def test_validation_takes_a_region_that_is_not_tested_where_there_is_one():
    for seed in range(5):
        found = splits.assign(published(["a", "b", "c"], ["a", "b", "z"]), seed)
        assert set(found["region"][found["split"] == "val"]) == {"c"}
        assert found.attrs["shared_regions"] == {"train/test": ["a", "b"]}
        assert "trains and tests in the same region: a, b" in " ".join(found.attrs["notes"])


def test_where_every_training_region_is_tested_the_notes_say_so():
    found = splits.assign(published(["a", "b"], ["a", "b"]))
    (held,) = set(found["region"][found["split"] == "val"])
    assert found.attrs["shared_regions"]["val/test"] == [held]
    assert "every training region is tested" in " ".join(found.attrs["notes"])
    assert held not in set(found["region"][found["split"] == "train"])


def test_one_training_region_is_excused_and_no_other():
    groups = [f"g{k}" for k in range(10)]
    found = splits.assign(frame(groups, "dfc2020", "train", region=["one"] * 10, group=groups))
    assert found.attrs["shared_regions"] == {"train/val": ["one"]}
    found["region"] = "another"
    with pytest.raises(DataError, match="share region another"):
        splits.check_disjoint(found, "train", "val")


def test_a_catalog_that_is_split_already_passes_again():
    groups = [f"g{k}" for k in range(10)]
    once = splits.assign(frame(groups, "dfc2020", "train", region=["one"] * 10, group=groups))
    assert parts(splits.assign(once)) == parts(once)


@settings(max_examples=60, deadline=None)
@given(
    regions=st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=16),
    tested=st.sets(st.sampled_from("abcdefgh")),
    layout_b=st.booleans(),
    seed=st.integers(0, 3),
)
def test_no_region_is_on_two_sides_unless_the_data_leave_no_choice(regions, tested, layout_b, seed):
    test = [] if layout_b else sorted(tested)
    found = published(regions, test)
    found = splits.assign(found.assign(split="") if layout_b else found, seed)
    sides = {name: set(found["region"][found["split"] == name]) for name in ("train", "val", "test")}
    assert not sides["train"] & sides["test"] - set(regions) & set(test)
    if len(set(regions)) > 2 or (not layout_b and len(set(regions)) > 1):
        assert sides["val"] and not sides["train"] & sides["val"]
    if set(regions) - set(test):
        assert not sides["val"] & sides["test"]


def test_the_same_seed_gives_the_same_split_and_another_one_another():
    names = [f"s{k}" for k in range(40)]
    assert parts(splits.assign(frame(names), 3)) == parts(splits.assign(frame(names), 3))
    assert len({frozenset(parts(splits.assign(frame(names), seed))["pretrain_val"]) for seed in range(5)}) > 1


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 255]), min_size=1, max_size=300),
    seed=st.integers(0, 5),
    copies=st.integers(1, 3),
)
def test_label_fractions_are_nested_unique_and_stratified(labels, seed, copies):
    rows = list(range(100, 100 + len(labels)))
    drawn = [splits.label_fraction(rows * copies, labels * copies, f, seed) for f in (0.01, 0.1, 0.5, 1.0)]
    for small, large in pairwise(drawn):
        assert set(small) <= set(large)
    usable = [row for row, label in zip(rows, labels) if label != 255]
    assert drawn[-1] == usable
    for part, fraction in zip(drawn, (0.01, 0.1, 0.5, 1.0)):
        assert len(part) == len(set(part))
        for label in set(labels) - {255}:
            have = labels.count(label)
            got = sum(labels[row - 100] == label for row in part)
            assert got == max(1, np.floor(have * fraction + 0.5))


def test_another_seed_draws_other_patches():
    draws = {tuple(splits.label_fraction(range(200), [0] * 200, 0.1, seed)) for seed in range(4)}
    assert len(draws) == 4


@pytest.mark.parametrize("fraction", [0, -0.1, 1.5])
def test_impossible_fractions_are_refused(fraction):
    with pytest.raises(ConfigError):
        splits.label_fraction([1], [0], fraction, 0)
