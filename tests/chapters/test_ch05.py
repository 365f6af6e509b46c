"""Chapter 05: agreement and overlap say what they show, and the page quotes the method as it is."""

from pathlib import Path

import numpy as np
import pytest

from chapters import ch05
from eo_ssl import dual_simclr


def test_strangers_share_no_ground():
    overlap = np.zeros((3, 3), dtype=bool)
    overlap[0, 1] = overlap[1, 0] = True
    cosine = np.where(overlap, 100.0, 0.2) + 0.5 * np.eye(3)
    assert ch05.agreement(cosine, overlap) == pytest.approx((0.7, 0.2))
    assert ch05.agreement(np.eye(2), ~np.eye(2, dtype=bool)) == (1.0, 1.0)  # all overlap: no gap
    assert "partners 0.70, strangers 0.20" in ch05.matrices({"after": cosine}, overlap).eo_alt


def test_the_framed_ground_is_the_same_in_both_patches():
    fig = ch05.overlapping(np.zeros((8, 8, 3)), np.ones((8, 8, 3)), shift=2)
    frames = [ax.patches[-1].get_bbox() for ax in fig.axes]
    assert [(f.x0, f.x1) for f in frames] == [(1.5, 7.5), (-0.5, 5.5)] and "75% of each" in fig.eo_alt


def test_pieces_of_the_page_are_read_from_their_file():
    text = Path(dual_simclr.__file__).read_text(encoding="utf-8")
    first, *middle, last = ch05.source_of(dual_simclr.DualSimCLR, dual_simclr.train).data.splitlines()
    assert (first, last) == ("```python", "```") and set(middle) <= set(text.splitlines())
    assert "class DualSimCLR(nn.Module):" in middle and "def train(" in middle
