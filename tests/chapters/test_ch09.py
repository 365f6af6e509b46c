"""Chapter 09: the geometry of windows is that of the network, figures say what they show, and the browser agrees."""

import json
import shutil
import subprocess
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from chapters import ch09
from eo_ssl import show
from eo_ssl.models.encoders import make_encoder
from eo_ssl.show.explore import window_explorer

PICTURE = np.random.default_rng(0).random((64, 64, 3))
ESM = Path(show.__file__).parent / "esm" / "windows.js"


@pytest.mark.parametrize("token", [(0, 0), (5, 14)])
@pytest.mark.parametrize(("blocks", "order"), [(1, (0,)), (2, (0, 2)), (3, (0, 2, "merge", 0))])
def test_exactly_the_pixels_within_reach_influence_a_token(token, blocks, order):
    torch.manual_seed(0)
    encoder = make_encoder("swin_mini", 2, 64).eval()
    found = ch09.influence(encoder, torch.randn(1, 2, 64, 64), blocks, token)
    expected = ch09.reach(16, 4, order, token).repeat(4, 0).repeat(4, 1)
    assert np.array_equal(found > 0, expected)


def test_without_shifts_no_depth_leaves_the_window():
    assert ch09.reach(16, 4, (0,) * 9, (7, 7)).sum() == 16
    assert ch09.reach(16, 4, (0, 2), (7, 7)).sum() == 64
    assert ch09.reach(4, 4, (2,), (0, 0)).all()  # one window only: nothing to shift


def test_figures_carry_their_numbers_in_words():
    alt = ch09.windows(PICTURE, 4, 4, 2).eo_alt
    assert "16 windows" in alt and "25 windows" in alt
    seen = {"2 blocks": ch09.reach(16, 4, (0, 2), (7, 7))}
    assert "64 of 256 tokens (25%)" in ch09.reaches(PICTURE, seen, (7, 7), 4).eo_alt
    half = np.tile([0.0, 1.0], (64, 32))
    assert "x 50%" in ch09.influences({"x": half}, (7, 7), 4).eo_alt
    assert "stage 3: 4 × 4 tokens" in ch09.merging(PICTURE, 4, 4).eo_alt


def test_the_explorer_counts_tokens_and_metres():
    widget = window_explorer(PICTURE, 4, 4, "here")
    assert [widget.spec[name] for name in ("side", "window", "shift", "metres")] == [16, 4, 2, 40.0]


@pytest.mark.skipif(not shutil.which("node"), reason="needs node")
def test_the_browser_and_python_agree_on_what_is_seen(tmp_path):
    script = tmp_path / "ask.mjs"
    cases = [*product(range(16), (1, 2, 3), (True, False), (True, False))]
    ask = "map(([a, n, s, m]) => seenAlong(a, 16, 4, order(n, 2, s, m)))"
    script.write_text(f"{ESM.read_text()}console.log(JSON.stringify({json.dumps(cases)}.{ask}))")
    answer = subprocess.run(["node", script], capture_output=True, text=True, check=True).stdout
    for (at, count, shifted, merged), found in zip(cases, json.loads(answer), strict=True):
        blocks = [2 if shifted and i % 2 else 0 for i in range(count)]
        if merged and count > 2:
            blocks.insert(2, "merge")
        rows = np.flatnonzero(ch09.reach(16, 4, blocks, (at, at)).any(1))
        assert found == [rows[0], rows[-1] + 1]
