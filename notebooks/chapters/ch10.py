"""Checks of chapter 10: patch expand, mIoU from a confusion matrix."""

from collections.abc import Callable

import numpy as np
import torch

from eo_ssl.course.checks import exercise, expect, expect_close, expect_shape
from eo_ssl.evaluate.metrics import segmentation_metrics


@exercise("patch expand", praise="Channels became places, and no number was lost.")
def check_patch_expand(patch_expand: Callable) -> None:
    x = torch.arange(2 * 8 * 2 * 3, dtype=torch.float32).reshape(2, 8, 2, 3)
    got = patch_expand(x)
    expect_shape(got, (2, 2, 4, 6), "The expanded map of a (2, 8, 2, 3) input")
    expect(
        bool(torch.equal(got.flatten().sort().values, x.flatten())),
        "Patch expand moves numbers, it does not make any: every value must appear exactly once.",
    )
    block = got[:, :, :2, :2]  # the four fine pixels of the coarse pixel (0, 0): (2, 2, 2, 2)
    expect(
        all(set(block[b].flatten().tolist()) == set(x[b, :, 0, 0].tolist()) for b in range(2)),
        "The four fine pixels in the upper left corner must come from the *one* coarse pixel there. A plain reshape or view "
        "mixes neighbours; split the channels first, then move the new axes beside H and W (permute), then reshape.",
    )
    b, c, h, w = x.shape
    wanted = x.reshape(b, 2, 2, c // 4, h, w).permute(0, 3, 4, 1, 5, 2).reshape(b, c // 4, 2 * h, 2 * w)
    turned = x.reshape(b, 2, 2, c // 4, h, w).permute(0, 3, 4, 2, 5, 1).reshape(b, c // 4, 2 * h, 2 * w)
    shuffled = torch.nn.functional.pixel_shuffle(x, 2)
    expect_close(
        got, wanted, "The expanded map",
        mistakes={
            "rows and columns of the little squares are exchanged: the first of the two axes of 2 goes beside H": turned,
            "the channels were split as (C/4, 2, 2), a pixel shuffle; the package has (2, 2, C/4)": shuffled,
        },
    )  # fmt: skip


@exercise("mIoU", praise="Every pixel of the set counts once, whatever batch it came in.")
def check_mean_iou(mean_iou: Callable) -> None:
    confusion = np.array([[6, 2, 0], [1, 3, 0], [0, 2, 10]])  # rows: truth
    first = mean_iou(confusion)
    expect(
        np.ndim(first) == 0,
        "That is a number for each class; the mean over the classes is still to be taken.",
    )
    expect_close(
        first, (6 / 9 + 3 / 8 + 10 / 12) / 3, "mIoU of three classes",
        mistakes={
            "that is average accuracy: the union also holds what was wrongly given to the class (its column)":
                (6 / 8 + 3 / 4 + 10 / 12) / 3,
            "the hits were counted twice in the union: row sum + column sum − hits": (6 / 15 + 3 / 11 + 10 / 22) / 3,
            "that is precision: the union also holds what was missed (its row)": (6 / 7 + 3 / 7 + 1) / 3,
            "that is overall accuracy: divide each class by its own union, then take the mean": 19 / 24,
            "all classes were put into one ratio: divide each class by its own union, then take the mean": 19 / 29,
        },
    )  # fmt: skip
    absent = np.array([[6, 2, 0], [0, 0, 0], [0, 2, 6]])
    got = float(mean_iou(absent))
    expect(np.isfinite(got), "A class that never occurs in the truth gave NaN (0 divided by 0).")
    expect_close(
        got, (6 / 8 + 6 / 8) / 2, "mIoU where class 1 is predicted but never true",
        mistakes={"the class that never occurs in the truth was counted as 0: leave it out of the mean": (6 / 8 + 6 / 8) / 3},
    )  # fmt: skip
    rng = np.random.default_rng(0)
    random = rng.integers(0, 30, (8, 8))
    random[3] = 0
    wanted = segmentation_metrics(torch.from_numpy(random))["miou"]
    expect_close(mean_iou(random), wanted, "mIoU of a random confusion matrix")
