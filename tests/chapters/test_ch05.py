"""Chapter 05: agreement and overlap say what they show; right answers pass, known mistakes are told what they are."""

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from chapters import ch05
from eo_ssl.course.checks import ExerciseFailed
from eo_ssl.evaluate.retrieval import uniformity


def mask_of(scene, row, col):
    near = (scene[:, None] == scene) & ((row[:, None] - row).abs() < 2) & ((col[:, None] - col).abs() < 2)
    return near & ~torch.eye(len(scene), dtype=torch.bool)


def mask_by_loops(scene, row, col):
    n = range(len(scene))
    share = [
        [i != j and scene[i] == scene[j] and max(abs(row[i] - row[j]), abs(col[i] - col[j])) < 2 for j in n]
        for i in n
    ]
    return torch.tensor(share)


def with_the_diagonal(z):
    unit = F.normalize(z, dim=1)
    return (-2 * torch.cdist(unit, unit) ** 2).exp().mean().log()


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        (ch05.check_false_negatives, mask_of),
        (ch05.check_false_negatives, mask_by_loops),
        (ch05.check_uniformity, lambda z: uniformity(F.normalize(z, dim=1))),
        (ch05.check_uniformity, lambda z: float(uniformity(F.normalize(z, dim=1)))),
    ],
)
def test_right_answers_pass_in_any_style(check, answer):
    assert "Correct" in repr(check(answer))


@pytest.mark.parametrize(
    ("check", "answer", "message"),
    [
        (ch05.check_false_negatives, lambda *_: None, "nothing is there yet"),
        (
            ch05.check_false_negatives,
            lambda s, r, c: mask_of(s, r, c) | torch.eye(len(s), dtype=torch.bool),
            "diagonal",
        ),
        (ch05.check_false_negatives, lambda s, r, c: mask_of(s * 0, r, c), "in different scenes"),
        (
            ch05.check_false_negatives,
            lambda s, r, c: mask_of(s, r, c) & (r[:, None] == r),
            "diagonal neighbours",
        ),
        (ch05.check_false_negatives, lambda s, r, c: mask_of(s, r * 0, c), "six rows apart"),
        (ch05.check_uniformity, with_the_diagonal, "leave the diagonal out"),
    ],
)
def test_a_known_mistake_is_told_what_it_is(check, answer, message):
    with pytest.raises(ExerciseFailed, match=message):
        check(answer)


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


def test_the_path_names_its_ends():
    history = pd.DataFrame({"epoch": [1, 2], "val_alignment": [1.0, 0.5], "val_uniformity": [-0.5, -2.5]})
    assert (
        "from alignment 1.00, uniformity -0.50 to 0.50 and -2.50" in ch05.alignment_uniformity(history).eo_alt
    )
