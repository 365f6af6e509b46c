"""A sentence says what its interval says: the winner first, signs that agree, names as they are."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eo_ssl.evaluate.intervals import Interval
from eo_ssl.show import words

SHARES = st.floats(-1, 1).map(lambda x: round(x, 3))


@given(st.tuples(SHARES, SHARES, SHARES).map(sorted))
def test_value_and_interval_agree_in_sign_and_the_winner_stands_first(three):
    low, value, high = three
    said = words.verdict("Only S2", "Late fusion", Interval(value, low, high))
    if low > 0:
        assert said.startswith("**Only S2 is ahead of Late fusion**")
    elif high < 0:
        assert said.startswith("**Late fusion is ahead of Only S2**")
    else:
        assert said.startswith("**Only S2 and Late fusion cannot be told apart**")
    numbers = re.findall(r"(?<= )-?\+?\d+\.\d", said.replace("−", "-"))
    middle, bottom, top = map(float, numbers)
    assert bottom <= middle <= top and "−0.0" not in said
    assert middle == pytest.approx(100 * (-value if high < 0 else value), abs=0.051)


def test_only_numbers_get_a_true_minus_and_nan_settles_nothing():
    assert words.minus("-8.5 to -10 dB, 2017-06-12, B-3, x-1") == "−8.5 to −10 dB, 2017-06-12, B-3, x-1"
    assert words.settled((np.nan, np.nan, np.nan)) == 0


@pytest.mark.parametrize(
    "changed, expected",
    [
        ({}, ["went from 3.90 to **3.10**", "epoch 2 of 2", "**30%**", "kept apart (spread 0.60)"]),
        ({"val_loss": [4.0, 4.2]}, ["**no better than guessing** (4.00)", "**overfits**"]),
        (
            {"val_loss": [4.0, 4.2], "train_loss": [4.0, 3.9]},
            ["**no better than guessing** (4.00); the partner"],
        ),
        ({"val_spread": [0.5, 0.01]}, ["**collapsed**"]),
    ],
)
def test_what_pretraining_reached_is_worded_by_its_numbers(changed, expected):
    rows = {"epoch": [1, 2], "train_loss": [4.0, 3.0], "val_loss": [3.9, 3.1], "val_mrr": [0.2, 0.4], "val_top1": [0.1, 0.3],
            "val_top5": [0.3, 0.6], "val_chance_top5": [0.1, 0.1], "val_spread": [0.5, 0.6]}  # fmt: skip
    said = words.trained(pd.DataFrame(rows | changed), 4.0)
    assert all(part in said for part in expected), said
