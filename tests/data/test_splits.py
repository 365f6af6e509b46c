from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eo_ssl.data import splits
from eo_ssl.errors import ConfigError, DataError


def frame(scenes, dataset="sen12ms", split="pretrain", region=None, group=None, each=5):
    """A catalog without files: `each` patches a scene."""
    names = np.repeat(scenes, each)
    found = pd.DataFrame({"id": [f"{name}_p{i}" for i, name in enumerate(names)], "dataset": dataset})
    regions, groups = (np.repeat(given or scenes, each) for given in (region, group))
    return found.assign(scene=names, split=split, region=regions, group=groups, x=np.arange(len(names)) * 1.0)


def published(train, test):
    """Layout A as published, by the regions of its scenes."""
    names = [*(f"train{k}" for k in range(len(train))), *(f"test{k}" for k in range(len(test)))]
    split = np.repeat(["train", "test"], [5 * len(train), 5 * len(test)])
    return frame(names, "dfc2020", split, region=[*train, *test])


def of(found, name, column="region"):
    return set(found[column][found["split"] == name])


def notes(found):
    return " ".join(found.attrs["notes"])


def test_pretraining_is_split_by_whole_scenes_that_share_no_ground():
    names = [f"s{k}" for k in range(30)]
    for seed in range(10):
        found = splits.assign(frame(names, group=[f"g{k // 2}" for k in range(30)]), seed)
        assert (found.groupby("group")["split"].nunique() == 1).all()
        assert 0.05 <= (found["split"] == "pretrain_val").mean() <= 0.2


def test_the_official_list_decides_where_it_is_given(tmp_path):
    scenes, listed = frame(["ROIs1158_spring_8", "ROIs1158_spring_63"]), tmp_path / "holdout.txt"
    listed.write_text("ROIs1158_spring/s1_63\n")
    assert of(splits.assign(scenes, holdout=listed), "pretrain_val", "scene") == {"ROIs1158_spring_63"}
    listed.write_text("ROIs2017_winter/s1_1\n")
    with pytest.raises(DataError, match="none of its scenes"):
        splits.assign(scenes, holdout=listed)


def test_one_training_region_gives_a_validation_end_of_it_and_excuses_no_other():
    groups = [f"g{k}" for k in range(10)]
    found = splits.assign(frame(groups, "dfc2020", "train", region=["one"] * 10, group=groups))
    assert len(found[found["split"] == "val"]) == 10
    assert min(of(found, "val", "x")) > max(of(found, "train", "x"))
    assert "one training region only" in notes(found)
    assert found.attrs["shared_regions"] == {"train/val": ["one"]}
    found["region"] = "another"
    with pytest.raises(DataError, match="share region another"):
        splits.check_disjoint(found, "train", "val")


def test_training_patches_that_overlap_the_test_set_are_left_out():
    found = published(["a", "b", "c"], ["t"])
    found["group"] = found["group"].replace("test0", "train0")
    found = splits.assign(found)
    assert "train0" not in of(found, "train", "scene") | of(found, "val", "scene")
    assert "share pixels" in notes(found)


@pytest.mark.parametrize("ground", ["val", "test"])
def test_pretraining_never_sees_the_ground_of_validation_or_test(ground):
    labelled = published(["a", "b", "c"], ["z"])
    chosen = splits.assign(labelled)["split"] == ground
    scenes = [f"s{k}" for k in range(6)]
    shared = str(labelled["group"][chosen].iloc[0])
    both = pd.concat([frame(scenes, group=[shared, *scenes[1:]]), labelled], ignore_index=True)
    found = splits.assign(both)
    assert set(found["split"][found["scene"] == "s0"]) == {""}
    assert f"share pixels with {ground} and were left out" in notes(found)
    assert len(found[found["split"] == "pretrain"]) >= 20


@pytest.mark.parametrize(
    ("left", "right", "unit"),
    [("train", "val", "region"), ("val", "test", "region"), ("pretrain", "pretrain_val", "scene")],
)
def test_a_shared_group_region_or_scene_is_a_leak(left, right, unit):
    found = frame(["a", "b"])
    found["split"] = [left] * 5 + [right] * 5
    splits.check_disjoint(found, left, right)
    for column in ("group", unit):  # though no pixel is shared
        with pytest.raises(DataError, match=f"splits {left} and {right} share {column} one; give all its"):
            splits.check_disjoint(found.assign(**{column: "one"}), left, right)


def test_validation_takes_a_region_that_is_not_tested_and_where_there_is_none_the_notes_say_so():
    for seed in range(5):
        found = splits.assign(published(["a", "b", "c"], ["a", "b", "z"]), seed)
        assert of(found, "val") == {"c"}
        assert found.attrs["shared_regions"] == {"train/test": ["a", "b"]}
        assert "trains and tests in the same region: a, b" in notes(found)
    found = splits.assign(published(["a", "b"], ["a", "b"]))
    assert found.attrs["shared_regions"]["val/test"] == list(of(found, "val"))
    assert "every training region is tested" in notes(found)
    assert not of(found, "val") & of(found, "train")


@settings(max_examples=30, deadline=None)
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
    sides = {name: of(found, name) for name in ("train", "val", "test")}
    assert not sides["train"] & sides["test"] - set(regions) & set(test)
    assert ("not the papers' split" in notes(found)) == layout_b
    if len(set(regions)) > 2 or (not layout_b and len(set(regions)) > 1):
        assert sides["val"] and not sides["train"] & sides["val"]
    if set(regions) - set(test):
        assert not sides["val"] & sides["test"]


def test_the_same_seed_gives_the_same_split_and_another_one_another():
    names = frame([f"s{k}" for k in range(40)])
    pd.testing.assert_frame_equal(splits.assign(names, 3), splits.assign(names, 3))
    held = {frozenset(of(splits.assign(names, seed), "pretrain_val", "scene")) for seed in range(5)}
    assert len(held) > 1


@settings(max_examples=30, deadline=None)
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
    assert drawn[-1] == [row for row, label in zip(rows, labels) if label != 255]
    for part, fraction in zip(drawn, (0.01, 0.1, 0.5, 1.0)):
        assert len(part) == len(set(part))
        for label in set(labels) - {255}:
            got = sum(labels[row - 100] == label for row in part)
            assert got == max(1, np.floor(labels.count(label) * fraction + 0.5))


def test_another_seed_draws_other_patches_and_impossible_fractions_are_refused():
    draws = {tuple(splits.label_fraction(range(200), [0] * 200, 0.1, seed)) for seed in range(4)}
    assert len(draws) == 4
    for fraction in (0, -0.1, 1.5):
        with pytest.raises(ConfigError):
            splits.label_fraction([1], [0], fraction, 0)
