"""Chapter 05: agreement and overlap say what they show; right answers pass, known mistakes are told what they are."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from chapters import ch05
from eo_ssl import dual_simclr
from eo_ssl.files import write_json


def test_strangers_share_no_ground():
    overlap = np.zeros((3, 3), dtype=bool)
    overlap[0, 1] = overlap[1, 0] = True
    cosine = np.where(overlap, 100.0, 0.2) + 0.5 * np.eye(3)
    assert ch05.agreement(cosine, overlap) == pytest.approx((0.7, 0.2))
    assert ch05.agreement(np.eye(2), ~np.eye(2, dtype=bool)) == (1.0, 1.0)  # all overlap: no gap
    assert "partners 0.70, strangers 0.20" in ch05.matrices({"after": cosine}, overlap).eo_alt


def test_the_framed_ground_is_the_same_in_both_patches_and_a_path_names_its_ends():
    fig = ch05.overlapping(np.zeros((8, 8, 3)), np.ones((8, 8, 3)), shift=2)
    frames = [ax.patches[-1].get_bbox() for ax in fig.axes]
    assert [(f.x0, f.x1) for f in frames] == [(1.5, 7.5), (-0.5, 5.5)] and "75% of each" in fig.eo_alt
    history = pd.DataFrame({"epoch": [1, 2], "val_alignment": [1.0, 0.5], "val_uniformity": [-0.5, -2.5]})
    assert (
        "from alignment 1.00, uniformity -0.50 to 0.50 and -2.50" in ch05.alignment_uniformity(history).eo_alt
    )


def test_pieces_of_the_page_are_read_from_their_file_and_choices_are_a_table(tmp_path):
    text = Path(dual_simclr.__file__).read_text(encoding="utf-8")
    first, *middle, last = ch05.source_of(dual_simclr.DualSimCLR, dual_simclr.train).data.splitlines()
    assert (first, last) == ("```python", "```") and set(middle) <= set(text.splitlines())
    assert "class DualSimCLR(nn.Module):" in middle and "def train(" in middle
    row = {"scenes": 37, "pairs": 1813, "head_grid": 1, "val_loss": 7.1, "val_top1": 0.05, "val_top5": 0.13}
    row |= {"val_chance_top5": 0.026, "held_out": 196, "held_out_scenes": 4, "guessing": 5.97}
    write_json(tmp_path / "some.json", {"date": "2026-01-02", "epochs": 13, "rows": [row]})
    table = repr(ch05.choices(tmp_path / "some.json"))
    assert "pooled, as published | 37 | 1,813 | 7.10 | 5% | 13%" in table
    assert "196 held-out pairs from 4 scenes; guessing costs 5.97" in table
