"""Chapter 10: sentences and small tables follow the numbers they are made from."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from eo_ssl.course.lessons import pixels
from eo_ssl.data.pair import Pair
from eo_ssl.experiments.results import read_results
from eo_ssl.show import segmentation_text


def _pair(country: str, *classes: int) -> Pair:
    eight = np.isin(np.arange(8), classes)
    bands = np.zeros((2, 4, 4), np.float32)
    return Pair(name=country, s1=bands, s2=bands, s2_bands=("B04", "B03"), labels=("x",), country=country,
                source="test", eight=eight, date=None, s1_date=None)  # fmt: skip


def test_the_size_and_the_seeds_of_unet_stand_beside_the_claim(write_model, tmp_path):
    write_model("unet", 3, task="segment")
    write_model("swinunet-finetune", 9, task="segment")
    results = read_results(tmp_path / "results.jsonl")
    results["test.iou_per_class"] = [[0.1 * (i % 3), *[0.5] * 7] for i in range(len(results))]
    sizes = {"unet": 500_000, "swinunet-finetune": 3_500_000}
    said = segmentation_text.against_unet(results, tmp_path, sizes, evidence=True)
    assert "**is ahead of** UNet" in said
    assert "**3.5 million**" in said and "**0.5 million**" in said
    assert "IoU of forest from 0 to 20%" in said
    assert "no evidence" in segmentation_text.against_unet(results, tmp_path, sizes, evidence=False)


@pytest.mark.parametrize(("lacking", "words"), [(3, "3 of 4 lack a class"), (0, "hold every class")])
def test_batches_without_a_value_are_counted_and_the_widest_mean_is_named(lacking, words):
    table = pd.DataFrame(
        {
            "batches": [4, 1],
            "without a value": [lacking, 0],
            "mean of the rest": [0.5, 0.6],
            "sorted by class": [0.4, 0.6],
        },
        index=["batches of 4", "pooled over the set"],
    )
    said = segmentation_text.batches(table)
    assert words in said and "up to 20 points below the pooled 60.0%" in said


def test_the_table_of_batches_ends_with_the_pooled_score_whatever_the_order():
    counts = np.zeros((8, 8, 8), dtype=int)
    for i in range(8):
        counts[i, i % 2, 0] = 10  # class 0 always right, class 1 never
    table = pixels.batch_table(counts, (2,))
    assert (
        table.loc["batches of 2", "mean of the rest"] == 0.5 == table.loc["batches of 2", "sorted by class"]
    )
    assert table.loc["batches of 2", "batches"] == 4
    assert table.loc["pooled over the set", ["mean of the rest", "sorted by class"]].tolist() == [0.5, 0.5]


def test_a_map_is_only_as_good_as_a_blind_guess_allows():
    pairs = [_pair("A", 0, 1), _pair("B", 2, 3)]
    maps = np.stack([np.zeros((4, 4), int), np.zeros((4, 4), int)])
    said = segmentation_text.abroad(pairs, maps, {"these": 0.3, "validation": 0.5}, True)
    assert "in 1 of these 2 patches" in said and "names 2.0 of the 8" in said and "fits in 25%" in said


def test_pairs_are_chosen_to_show_what_is_missing():
    pairs = [_pair("A", 0), _pair("A", 0), _pair("B", 1, 2)]
    assert [p.country for p in pixels.various(pairs, 2)] == ["B", "A"]
    assert len(pixels.various(pairs, 9)) == 3
    assert len(pixels.various([replace(p, country="C") for p in pairs], 0)) == 0


def test_two_copies_agree_everywhere_and_unlabelled_pixels_do_not_count():
    one = torch.rand(2, 8, 4, 4, generator=torch.Generator().manual_seed(0)).softmax(1)
    truth = one.argmax(1)
    truth[0, 0] = 255
    agree, table = pixels.agreement({"a": one, "b": one.clone()}, truth)
    assert agree == 1.0 and table["all pixels"].tolist() == [1.0] * 3
    assert table["where they disagree"].isna().all()


def test_weights_that_doubled_moved_by_their_own_length():
    before, after = nn.Linear(3, 3), nn.Linear(3, 3)
    after.load_state_dict({k: 2 * v for k, v in before.state_dict().items()})
    assert pixels.moved([before], [before]) == 0
    assert pixels.moved([before], [after]) == pytest.approx(1)
