"""Figures of chapter 07 say what they show."""

import numpy as np
import pandas as pd

from eo_ssl.evaluate.intervals import Interval
from eo_ssl.show import embedding


def test_patches_without_a_single_class_have_a_colour_of_their_own():
    group = embedding.class_group(np.array([0, 255]))
    assert group["labels"][group["codes"][1]] == embedding.NO_CLASS and len(group["colours"]) == 9


def test_sentences_say_what_the_interval_says():
    clear, unclear = Interval(0.1, 0.02, 0.2), Interval(0.1, -0.02, 0.2)
    assert "**Dual-SimCLR is ahead of untrained**" in embedding.ahead(
        "Dual-SimCLR", "untrained", clear, "kNN", True
    )
    said = embedding.ahead("MMA", "untrained", Interval(-0.1, -0.2, -0.02), "kNN", True)
    assert "**untrained is ahead of MMA**" in said and "+10.0 points, 95% interval +2.0 to +20.0" in said
    said = embedding.ahead("Dual-SimCLR", "MMA", unclear, "kNN", False)
    assert "cannot be told apart" in said and said.startswith("*Smoke run") and "−2.0 to +20.0" in said


def test_the_branches_are_compared_with_the_untrained_pair():
    said = embedding.branches(pd.Series({"untrained": 0.2, "MMA": 0.5}), True)
    assert "raised it on simulated patches" in said and "MMA to 0.50" in said
    low = embedding.branches(pd.Series({"untrained": -0.03, "MMA": -0.04}), True)
    assert "next to nothing in common (−0.03)" in low and "did not raise it" in low


def test_figures_bring_alt_text_with_their_numbers():
    plane, real = np.random.default_rng(0).random((6, 2)), np.arange(6) > 3
    assert (
        "2 of them are real"
        in embedding.planes({"a": plane, "b": plane}, embedding.class_group(np.arange(6)), real).eo_alt
    )
    assert len(embedding.place_group(["x", "y", "x"])["labels"]) == 2
    columns = [f"{way}_recall@{k}" for way in ("s1_to_s2", "s2_to_s1") for k in (1, 5)]
    table = pd.DataFrame(
        [[0.4, 0.8, 0.3, 0.7], [0.1, 0.5, 0.1, 0.5]], index=["MMA", "guessing"], columns=columns
    )
    assert "held out, MMA: 40% at 1, 80% at 5" in embedding.recall_curves({"held out": table}, (1, 5)).eo_alt
    picture = np.zeros((4, 4, 3))
    found = embedding.gallery(
        [picture] * 2, [[picture] * 3] * 2, [[False, True, False], [False] * 3], [["q", "a", "b", "c"]] * 2
    )
    assert "among them 1 times" in found.eo_alt
    scores = pd.DataFrame({"a": [0.5, 0.7], "b": [0.6, 0.4]})
    assert "best on A has 70.0% there and 40.0% on B" in embedding.selection(scores).eo_alt
