"""Chapter 09: the geometry of windows is that of the network, figures say what they show, words follow intervals."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from chapters import ch09
from eo_ssl.course.checks import ExerciseFailed
from eo_ssl.errors import ConfigError
from eo_ssl.experiments.results import read_results
from eo_ssl.models.encoders import make_encoder
from eo_ssl.show import swin, swin_text
from eo_ssl.show.widgets_swin import window_explorer

PICTURE = np.random.default_rng(0).random((64, 64, 3))
ESM = Path(swin.__file__).parent / "esm" / "windows.js"


@pytest.mark.parametrize("token", [(0, 0), (7, 7), (5, 14), (15, 2)])
@pytest.mark.parametrize(("blocks", "order"), [(1, (0,)), (2, (0, 2)), (3, (0, 2, "merge", 0))])
def test_exactly_the_pixels_within_reach_influence_a_token(token, blocks, order):
    torch.manual_seed(0)
    encoder = make_encoder("swin_mini", 2, 64).eval()
    found = swin.influence(encoder, torch.randn(1, 2, 64, 64), blocks, token)
    expected = swin.reach(16, 4, order, token).repeat(4, 0).repeat(4, 1)
    assert np.array_equal(found > 0, expected)


def test_without_shifts_no_depth_leaves_the_window():
    assert swin.reach(16, 4, (0,) * 9, (7, 7)).sum() == 16
    assert swin.reach(16, 4, (0, 2), (7, 7)).sum() == 64
    assert swin.reach(4, 4, (2,), (0, 0)).all()  # one window only: nothing to shift


@pytest.mark.parametrize("wrong", [(15, 4, 0), (16, 4, 4), (16, 0, 0)])
def test_windows_that_do_not_fit_are_refused(wrong):
    with pytest.raises(ConfigError, match="do not fit"):
        swin.groups(*wrong)


def test_figures_carry_their_numbers_in_words():
    assert "16 windows" in swin.windows(PICTURE, 4, 4, 2).eo_alt
    assert "25 windows" in swin.windows(PICTURE, 4, 4, 2).eo_alt
    seen = {"2 blocks": swin.reach(16, 4, (0, 2), (7, 7))}
    assert "64 of 256 tokens (25%)" in swin.reaches(PICTURE, seen, (7, 7), 4).eo_alt
    half = np.tile([0.0, 1.0], (64, 32))
    assert "50% of the pixels" in swin.influences({"x": half}, (7, 7), 4).eo_alt
    assert "stage 3 has 4 by 4 tokens" in swin.merging(PICTURE, 4, 4).eo_alt
    assert "head 1 from -1.00 to 1.00" in swin.bias_tables({"head 1": np.eye(7) * 2 - 1}).eo_alt


def test_the_explorer_refuses_a_picture_that_windows_do_not_fill():
    widget = window_explorer(PICTURE, 4, 4, "here")
    assert (widget.side, widget.window, widget.shift, widget.metres) == (16, 4, 2, 40.0)
    with pytest.raises(ConfigError, match="even number of windows"):
        window_explorer(PICTURE[:48], 4, 4, "here")


@pytest.mark.skipif(not shutil.which("node"), reason="needs node")
def test_the_browser_and_python_agree_on_what_is_seen(tmp_path):
    script = tmp_path / "ask.mjs"
    calls = (
        "const cases = [...Array(16).keys()].flatMap(a => [1, 2, 3].flatMap(n =>"
        " [true, false].flatMap(s => [true, false].map(m => [a, n, s, m]))));"
        "console.log(JSON.stringify(cases.map(([a, n, s, m]) => seenAlong(a, 16, 4, order(n, 2, s, m)))))"
    )
    script.write_text(ESM.read_text() + calls)
    answer = subprocess.run(["node", script], capture_output=True, text=True, check=True).stdout
    found = iter(json.loads(answer))
    for at in range(16):
        for count in (1, 2, 3):
            for shifted in (True, False):
                for merged in (True, False):
                    blocks = [2 if shifted and i % 2 else 0 for i in range(count)]
                    if merged and count > 2:
                        blocks.insert(2, "merge")
                    rows = np.flatnonzero(swin.reach(16, 4, blocks, (at, at)).any(1))
                    assert next(found) == [rows[0], rows[-1] + 1]


@pytest.mark.parametrize(("right", "words"), [(9, "ahead of"), (2, "behind"), (6, "cannot be told from")])
def test_the_verdict_follows_the_interval(write_model, tmp_path, right, words):
    write_model("swin-frozen", right)
    write_model("dual-frozen", 6)
    results = read_results(tmp_path / "results.jsonl")
    said = swin_text.compared(results, tmp_path, "swin-frozen", "dual-frozen", evidence=True)
    assert f"**{words}**" in said and "no evidence" not in said
    assert "no evidence" in swin_text.compared(
        results, tmp_path, "swin-frozen", "dual-frozen", evidence=False
    )


def test_every_shared_fraction_has_its_verdict(write_model, tmp_path):
    for fraction, right in ((0.1, 9), (1.0, 6)):
        write_model("swin-frozen", right, fraction)
        write_model("dual-frozen", 6, fraction)
    write_model("dual-frozen", 6, 0.5)  # the rival alone: no verdict
    results = read_results(tmp_path / "results.jsonl")
    said = swin_text.verdicts(results, tmp_path, [("swin-frozen", "dual-frozen")], True)
    few, all_labels = said.split("With ")[1:]
    assert "10%" in few and "**ahead of**" in few
    assert "100%" in all_labels and "**cannot be told from**" in all_labels


@pytest.mark.parametrize(("losses", "words"), [((4.0, 4.1), "Both pairs had learned"),
                                               ((6.4, 4.1), "the loss of the Swin pair is **no better"),
                                               ((6.4, 7.5), "both losses are **no better")])  # fmt: skip
def test_a_pair_that_is_hardly_pretrained_is_called_so(losses, words):
    histories = {
        name: pd.DataFrame(
            {
                "val_mrr": [0.1, 0.2],
                "val_top5": [0.02, 0.08],
                "val_loss": [5.9, loss],
                "val_chance_top5": [0.03] * 2,
            }
        )
        for name, loss in zip(("Swin pair", "ResNet pair"), losses)
    }
    said = swin_text.starting_points(histories, 5.9, True)
    assert words in said and "**8%**" in said and "guessing finds 3%" in said


def _windows(x, size, shift=0):
    b, h, w, c = torch.roll(x, (-shift, -shift), (1, 2)).shape
    x = torch.roll(x, (-shift, -shift), (1, 2)).view(b, h // size, size, w // size, size, c)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, size * size, c)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda x, size, shift=0: _windows(x, size, size // 2), "although the shift is 0"),
        (
            lambda x, size, shift=0: x.unfold(1, size, size).unfold(2, size, size).reshape(-1, 16, 3),
            "stay together",
        ),
        (lambda x, size, shift=0: _windows(x, size), "the shift is ignored"),
    ],
)
def test_known_mistakes_in_cutting_windows_are_explained(answer, hint):
    with pytest.raises(ExerciseFailed, match=hint):
        ch09.check_windows(answer)
