"""The worked example of chapter 04: NT-Xent of a few pairs in four steps, with every number on screen."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eo_ssl.show.figure import COLOURS, FAINT, INK, PALETTE, describe

PARTNER = PALETTE[2]


def worked_example(
    similarity: np.ndarray, logits: np.ndarray, share: np.ndarray, pictures: Sequence[np.ndarray]
) -> Figure:
    """The four steps of NT-Xent for N pairs: cosines, logits, softmax of each row, and the partner's −log share.

    Shape: similarity, logits, share (2N, 2N), logits with −inf on the diagonal; 2N pictures (H, W, 3).
    """
    n2 = len(similarity)
    partner = (np.arange(n2) + n2 // 2) % n2
    fig, axes = plt.subplots(2, 2, figsize=(7.8, 8.1))
    _table(axes[0, 0], similarity, "1 · cosine of every view with every other", "RdBu_r", (-1, 1), "{:.1f}")
    _table(axes[0, 1], logits, "2 · divided by τ, own view masked", "RdBu_r", _even(logits), "{:z.0f}")
    _table(axes[1, 0], share, "3 · softmax of each row: shares", "Greens", (0, 1), "{:.2f}")
    for ax in axes.flat[:3]:
        for i, j in enumerate(partner):
            ax.add_patch(plt.Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, edgecolor=INK, linewidth=1.6))
        _beside(ax, pictures)
    own = share[np.arange(n2), partner]
    _losses(axes[1, 1], own, np.log(n2 - 1))
    return describe(
        fig,
        f"Four steps for {n2 // 2} pairs of views: a {n2} by {n2} table of cosines; the same divided by the "
        f"temperature with the diagonal masked; softmax shares by row with each partner's cell outlined "
        f"(from {own.min():.2f} to {own.max():.2f}); and minus the logarithm of those shares as bars, "
        f"mean {-np.log(own).mean():.2f}, against a chance level of {np.log(n2 - 1):.2f}",
    )


def _even(values: np.ndarray) -> tuple[float, float]:
    top = float(np.abs(values[np.isfinite(values)]).max())
    return -top, top


def _table(ax: Axes, values: np.ndarray, title: str, cmap: str, span: tuple[float, float], form: str) -> None:
    """A small matrix with its numbers; masked cells are hatched."""
    shown = np.where(np.isfinite(values), values, np.nan)
    ax.imshow(shown, cmap=cmap, vmin=span[0], vmax=span[1])
    for (i, j), value in np.ndenumerate(values):
        if not np.isfinite(value):
            ax.add_patch(
                plt.Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor="#eeeeee", edgecolor="#aaaaaa",
                              hatch="///", linewidth=0)
            )  # fmt: skip
            continue
        strong = abs(value) > 0.62 * max(abs(span[0]), abs(span[1]))
        text = form.format(value).replace("-", "−").replace("−0.0", "0.0")
        ax.text(j, i, text, ha="center", va="center", fontsize=7.5, color="white" if strong else INK)
    ax.set(xticks=[], yticks=[], title=title)
    ax.spines[:].set_visible(False)


def _beside(ax: Axes, pictures: Sequence[np.ndarray]) -> None:
    """Thumbnails of the views left of the rows and below the columns."""
    count = len(pictures)
    for k, picture in enumerate(pictures):
        for box in (
            (-0.13, 1 - (k + 0.94) / count, 0.11, 0.88 / count),
            ((k + 0.06) / count, -0.13, 0.88 / count, 0.11),
        ):
            inset = ax.inset_axes(box)
            inset.imshow(picture, aspect="auto")
            inset.set_axis_off()


def _losses(ax: Axes, own: np.ndarray, chance: float) -> None:
    """−log of the partner's share per anchor, their mean and the chance level."""
    loss = -np.log(own)
    ax.barh(np.arange(len(loss)), loss, color=PARTNER, height=0.7)
    ax.axvline(loss.mean(), color=INK, linewidth=1.5)
    ax.axvline(chance, color=COLOURS["chance"], linestyle="--", linewidth=1.5)
    ax.text(loss.mean(), -0.75, f" mean {loss.mean():.2f}", fontsize=8, color=INK)
    ax.text(chance, len(loss) - 0.35, f"chance {chance:.2f} ", fontsize=8, color=FAINT, ha="right")
    ax.set(yticks=range(len(loss)), yticklabels=[f"view {i + 1}" for i in range(len(loss))])
    ax.set(title="4 · −log of the partner's share", ylim=(len(loss) - 0.2, -1.1))
    ax.set_xlim(0, 1.08 * max(chance, float(loss.max())))
