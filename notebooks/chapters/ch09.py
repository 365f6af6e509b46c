"""Chapter 09: windows, shifts and merging, what they let a token see, and the checks of its exercises."""

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from eo_ssl import show
from eo_ssl.course.checks import booleans, exercise, expect, expect_close, expect_shape, numbers
from eo_ssl.errors import ConfigError
from eo_ssl.models.encoders import Encoder

MERGE = "merge"
OWN, FIRST, SECOND = "#ffdd33", "#ffffff", "#ff7722"  # token, window, shifted window on a photograph


def groups(side: int, window: int, shift: int = 0) -> np.ndarray:
    """Which window each token of a square grid belongs to: (side, side) numbers, row after row.

    A shifted window that would reach around the edge is cut there, as the attention mask does.

    >>> groups(4, 2, 1)[0].tolist(), int(groups(4, 2, 1).max()) + 1
    ([0, 1, 1, 2], 9)
    """
    if window < 1 or side % window or not 0 <= shift < window:
        raise ConfigError(f"windows of {window} with shift {shift} do not fit a grid of {side} tokens")
    along = (np.arange(side) + window - shift) // window if shift else np.arange(side) // window
    return along[:, None] * (along.max() + 1) + along[None]


def reach(side: int, window: int, blocks: Sequence[int | str], token: tuple[int, int]) -> np.ndarray:
    """Which first tokens can have reached a token after some blocks: (side, side) bool.

    `blocks` holds the shift of each attention block in order, and "merge" where 2 × 2 tokens become one;
    `token` (row, column) is given on the first grid. Worked out backwards, from the last block to the image.
    """
    levels = [side // 2 ** list(blocks[:i]).count(MERGE) for i in range(len(blocks) + 1)]
    scale = side // levels[-1]
    seen = np.zeros((levels[-1],) * 2, dtype=bool)
    seen[token[0] // scale, token[1] // scale] = True
    for block, grid in zip(reversed(blocks), reversed(levels[:-1])):
        if block == MERGE:
            seen = seen.repeat(2, 0).repeat(2, 1)  # (2n, 2n)
            continue
        own = groups(grid, min(window, grid), 0 if grid <= window else int(block))
        seen = np.isin(own, own[seen])
    return seen


def influence(encoder: Encoder, image: Tensor, blocks: int, token: tuple[int, int]) -> np.ndarray:
    """How strongly each pixel moves one token after `blocks` blocks: summed |gradient|, (H, W).

    `image` is (1, C, H, W). A merge happens where the network has one; `token` is given on the first grid.
    """
    image = image.detach().clone().requires_grad_(True)
    x, done = encoder.net.patch_embed(image), 0  # (1, h, w, D)
    side = x.shape[1]
    for stage in encoder.net.layers:
        if done < blocks:
            x = stage.downsample(x)
        for block in stage.blocks[: max(0, blocks - done)]:
            x, done = block(x), done + 1
    scale = side // x.shape[1]
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(x.shape[-1], generator=generator)  # so that nothing cancels
    (x[0, token[0] // scale, token[1] // scale] * weights).sum().backward()
    return image.grad[0].abs().sum(0).numpy()


def _outline(ax: Axes, own: np.ndarray, size: float, colour: str, width: float, **style: object) -> None:
    """Lines between neighbouring tokens of different groups, and around the grid."""
    n = len(own)
    for i in range(n):
        for j in range(n + 1):
            if j in (0, n) or own[i, j - 1] != own[i, j]:
                ax.plot([j * size] * 2, [i * size, (i + 1) * size], color=colour, lw=width, **style)
            if j in (0, n) or own[j - 1, i] != own[j, i]:
                ax.plot([i * size, (i + 1) * size], [j * size] * 2, color=colour, lw=width, **style)


def _panel(ax: Axes, picture: np.ndarray, title: str) -> None:
    h, w = picture.shape[:2]
    ax.imshow(picture, extent=(0, w, h, 0), cmap="magma")
    ax.set(xlim=(-0.6, w + 0.6), ylim=(h + 0.6, -0.6))
    ax.set_title(title, fontsize=9)
    ax.set_axis_off()


def windows(picture: np.ndarray, patch: int, window: int, shift: int) -> Figure:
    """Four views of one picture (H, H, 3): tokens, windows, shifted windows, and the rolled picture."""
    side = len(picture) // patch
    fig, axes = plt.subplots(1, 4, figsize=(9.4, 2.7))
    tokens, one = np.arange(side * side).reshape(side, side), groups(side, window)
    rolled = np.roll(picture, (-shift * patch, -shift * patch), axis=(0, 1))
    _panel(axes[0], picture, f"{side} × {side} tokens of {patch} px")
    _outline(axes[0], tokens, patch, FIRST, 0.35)
    _panel(axes[1], picture, f"windows of {window} × {window} tokens")
    _outline(axes[1], one, patch, FIRST, 1.5)
    _panel(axes[2], picture, f"shifted by {shift} tokens")
    _outline(axes[2], groups(side, window, shift), patch, SECOND, 1.5)
    _panel(axes[3], rolled, "the same, by rolling")
    _outline(axes[3], one, patch, SECOND, 1.5)
    seam = len(picture) - shift * patch
    axes[3].axvline(seam, color=OWN, lw=1.3, ls="--")
    axes[3].axhline(seam, color=OWN, lw=1.3, ls="--")
    cut = int(groups(side, window, shift).max()) + 1
    alt = f"""One satellite picture four times. First cut into {side} by {side} tokens of {patch} pixels; then into
    {int(one.max()) + 1} windows of {window} by {window} tokens; then into {cut} windows shifted by {shift} tokens,
    those at the border smaller; last rolled by {shift} tokens, where the plain windows fall on the shifted places and
    a dashed seam shows where opposite borders meet."""
    return show.describe(fig, " ".join(alt.split()))


def _token_in(pictures: Mapping[str, np.ndarray], token: tuple[int, int], patch: int, colour: str) -> Figure:
    """Pictures with the place of one token framed."""
    fig, axes = plt.subplots(1, len(pictures), figsize=(2.45 * len(pictures), 2.8), squeeze=False)
    for ax, (name, picture) in zip(axes[0], pictures.items()):
        _panel(ax, picture, name)
        place = token[1] * patch, token[0] * patch
        ax.add_patch(plt.Rectangle(place, patch, patch, ec=colour, fc="none", lw=1.7))
    return fig


def reaches(
    picture: np.ndarray, masks: Mapping[str, np.ndarray], token: tuple[int, int], patch: int
) -> Figure:
    """The picture (H, H, 3) once per mask (side, side), with all that a token cannot see greyed out."""
    grey = 0.25 * picture.mean(-1, keepdims=True) + 0.62
    seen = {
        f"{name}: {mask.mean():.0%}": np.where(
            mask.repeat(patch, 0).repeat(patch, 1)[..., None], picture, grey
        )
        for name, mask in masks.items()
    }
    said = (f"{name}: {m.sum()} of {m.size} tokens ({m.mean():.0%})" for name, m in masks.items())
    alt = f"What the token in row {token[0]}, column {token[1]} can see. {'; '.join(said)}."
    return show.describe(_token_in(seen, token, patch, OWN), alt)


def influences(maps: Mapping[str, np.ndarray], token: tuple[int, int], patch: int) -> Figure:
    """Gradient maps (H, H) of a token, on a logarithmic scale of four decades; exact zeros are black."""
    scaled = {name: np.log10(np.maximum(found / found.max(), 1e-4)) + 4.6 for name, found in maps.items()}
    shown = {name: np.where(found > 0, scaled[name], 0) for name, found in maps.items()}
    said = (
        f"{name}: {(found > 0).mean():.0%} of the pixels have an influence" for name, found in maps.items()
    )
    alt = f"Influence of each pixel on the token in row {token[0]}, column {token[1]}. {'; '.join(said)}."
    return show.describe(_token_in(shown, token, patch, "#66ddff"), alt)


def merging(picture: np.ndarray, patch: int, window: int, levels: int = 3) -> Figure:
    """The token grid at each stage on the picture (H, H, 3), one window emphasised."""
    fig, axes = plt.subplots(1, levels, figsize=(2.6 * levels, 2.9))
    said = []
    for level, ax in enumerate(axes):
        size = patch * 2**level
        side = len(picture) // size
        blocks = picture.reshape(side, size, side, size, 3).mean((1, 3))
        _panel(ax, blocks.repeat(size, 0).repeat(size, 1), f"stage {level + 1}: {side} × {side} tokens")
        wide = min(window, side) * size
        ax.add_patch(plt.Rectangle((0, 0), wide, wide, ec=SECOND, fc="none", lw=2.2))
        said.append(f"stage {level + 1} has {side} by {side} tokens and a window is {wide} pixels wide")
    return show.describe(fig, f"Tokens shown by their mean colour. {'; '.join(said)}.")


def starting_points(histories: Mapping[str, pd.DataFrame], chance: float) -> str:
    """How much each pretraining had learned before the comparison begins, on held-out pairs, against guessing.

    `histories` holds the metrics per epoch under each name; `chance` is the loss of guessing.
    """
    best = pd.DataFrame({name: show.words.exported(history) for name, history in histories.items()}).T
    found = "finds the partner among the first five for"
    said = "; ".join(
        f"the {name} {found} **{row['val_top5']:.0%}** of the held-out patches, at a loss of {row['val_loss']:.2f}"
        for name, row in best.iterrows()
    )
    guess = f"guessing finds {best['val_chance_top5'].iloc[0]:.0%}, at {chance:.2f}"
    text = f"How far had pretraining come? On pairs it had not seen, {said}; {guess}. "
    weak = best.index[best["val_loss"] > chance - 0.05]
    if weak.empty:
        return text + "Both pairs had learned what carries over to new scenes."
    what = "both losses are" if len(weak) == len(best) else f"the loss of the {weak[0]} is"
    return f"""{text}So {what} **no better than guessing**, and the {best["val_top5"].idxmin()} brings the least along:
where it is behind below, that says as much about this short pretraining as about the kind of network."""


# --- Exercise checks ---


def _cut(x: Tensor, size: int) -> Tensor:
    b, h, w, c = x.shape
    x = x.view(b, h // size, size, w // size, size, c).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(-1, size * size, c)


@exercise("windows", praise="A roll, a view, a permute: shifted windows cost no extra attention.")
def check_windows(cut_windows: Callable) -> None:
    x = torch.arange(2 * 8 * 8 * 3).float().view(2, 8, 8, 3)
    plain = numbers(cut_windows(x.clone(), 4, 0))
    expect_shape(plain, (8, 16, 3), "The windows of two grids of 8 × 8 tokens, 4 × 4 each")
    straight = x.reshape(8, 16, 3)
    turned = x.view(2, 2, 4, 2, 4, 3).permute(0, 3, 1, 2, 4, 5).reshape(8, 16, 3)
    whole = all(token in x.reshape(-1, 3).tolist() for token in plain.reshape(-1, 3).tolist())
    expect(whole, "The channels of one token must stay together, in their order: keep C as the last axis.")
    expect_close(plain, _cut(x, 4), "The windows without a shift", mistakes={
        "the grid is rolled although the shift is 0: roll by `shift`": _cut(torch.roll(x, (-2, -2), (1, 2)), 4),
        "a bare reshape cuts strips of two rows, not squares: permute the window axes first": straight,
        "the windows run down the columns; go along the rows first": turned,
    })  # fmt: skip
    shifted = cut_windows(x.clone(), 4, 1)
    expect_shape(shifted, (8, 16, 3), "The windows with a shift of 1")
    expect_close(shifted, _cut(torch.roll(x, (-1, -1), (1, 2)), 4), "The windows with a shift of 1", mistakes={
        "the shift is ignored": _cut(x, 4),
        "the grid is rolled the other way: windows move down and right when the tokens move up and left (a negative shift)":
            _cut(torch.roll(x, (1, 1), (1, 2)), 4),
        "only the rows are rolled": _cut(torch.roll(x, -1, 1), 4),
        "only the columns are rolled": _cut(torch.roll(x, -1, 2), 4),
        "dimensions 0 and 1 are rolled; those of the grid are 1 and 2": _cut(torch.roll(x, (-1, -1), (0, 1)), 4),
    })  # fmt: skip


def _mask(side: int, size: int, shift: int) -> Tensor:
    own = torch.from_numpy(groups(side, size, shift)).float().view(1, side, side, 1)
    own = _cut(torch.roll(own, (-shift, -shift), (1, 2)), size)[..., 0]  # (n, size²)
    return own[:, :, None] == own[:, None, :]


@exercise(
    "attention mask", praise="Neighbours on the rolled grid who are strangers on the ground no longer meet."
)
def check_mask(attention_mask: Callable) -> None:
    got = booleans(attention_mask(8, 4, 2), "The mask")
    expect_shape(got, (4, 16, 16), "The mask of 4 windows of 16 tokens")
    wanted = _mask(8, 4, 2).numpy()
    order = "Number the regions by the *shifted* windows, then roll and cut the numbers as you cut the tokens"
    for right, hint in (
        (
            not (got == ~wanted).all(),
            "The mask is turned around: True means that a token *may* look at the other.",
        ),
        (got.diagonal(axis1=1, axis2=2).all(), "Every token may look at itself: the diagonal must be True."),
        (
            got[0].all(),
            f"In the first window, whole inside the image, all tokens may see each other. {order}.",
        ),
        (not got[1].all(), "The window at the right border holds strips from opposite sides: strangers."),
        (
            not got[2].all(),
            "The window at the bottom holds strangers, too: cut the rows as well as the columns.",
        ),
        (got[3].sum() == wanted[3].sum(), "The last window holds four corners of the image, 4 tokens each."),
        ((got == wanted).all(), f"Some pairs are wrong. {order}."),
        (
            (booleans(attention_mask(6, 3, 1)) == _mask(6, 3, 1).numpy()).all(),
            "The mask is wrong for windows of 3 and a shift of 1.",
        ),
        (
            booleans(attention_mask(8, 4, 0)).all(),
            "Without a shift nobody is a stranger: the mask is True everywhere.",
        ),
    ):
        expect(right, hint)
