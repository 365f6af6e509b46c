"""Chapter 09: windows, shifts and merging, what they let a token see, and the checks of its exercises."""

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from eo_ssl import show
from eo_ssl.course.checks import booleans, exercise, expect, expect_close, expect_shape, numbers
from eo_ssl.models.encoders import Encoder

OWN, FIRST, SECOND = "#ffdd33", "#ffffff", "#ff7722"  # token, window, shifted window on a photograph


def groups(side: int, window: int, shift: int = 0) -> np.ndarray:
    """Which window each token of a square grid belongs to: (side, side) numbers, row after row.

    A shifted window that would reach around the edge is cut there, as the attention mask does.

    >>> groups(4, 2, 1)[0].tolist(), int(groups(4, 2, 1).max()) + 1
    ([0, 1, 1, 2], 9)
    """
    along = (np.arange(side) - shift) // window
    along -= along[0]
    return along[:, None] * (along.max() + 1) + along[None]


def reach(side: int, window: int, blocks: Sequence[int | str], token: tuple[int, int]) -> np.ndarray:
    """Which first tokens can have reached a token after some blocks: (side, side) bool.

    `blocks` holds the shift of each attention block in order, and "merge" where 2 × 2 tokens become one;
    `token` (row, column) is given on the first grid. Worked out backwards, from the last block to the image.
    """
    grid = side // 2 ** list(blocks).count("merge")
    seen = np.zeros((grid, grid), dtype=bool)
    seen[token[0] * grid // side, token[1] * grid // side] = True
    for block in reversed(blocks):
        if block == "merge":
            seen = seen.repeat(2, 0).repeat(2, 1)  # (2n, 2n)
        elif len(seen) <= window:  # one window only: nothing to shift
            seen[:] = True
        else:
            own = groups(len(seen), window, int(block))
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


def _rule(ax: Axes, own: np.ndarray, patch: int, colour: str, width: float) -> None:
    """Lines between tokens of different groups (side, side), and around the grid."""
    edges = np.flatnonzero(np.diff(own[0], prepend=-1, append=-1)) * patch - 0.5
    for line in (ax.hlines, ax.vlines):
        line(edges, edges[0], edges[-1], color=colour, lw=width, clip_on=False)


def windows(picture: np.ndarray, patch: int, window: int, shift: int) -> Figure:
    """Four views of one picture (H, H, 3): tokens, windows, shifted windows, and the rolled picture."""
    side = len(picture) // patch
    whole, cut = groups(side, window), groups(side, window, shift)
    rolled = np.roll(picture, (-shift * patch, -shift * patch), axis=(0, 1))
    titles = [f"{side} × {side} tokens of {patch} px", f"windows of {window} × {window} tokens"]
    titles += [f"shifted by {shift} tokens", "the same, by rolling"]
    fig = show.grid([picture, picture, picture, rolled], titles, cell=2.35)
    _rule(fig.axes[0], groups(side, 1), patch, FIRST, 0.35)
    _rule(fig.axes[1], whole, patch, FIRST, 1.5)
    _rule(fig.axes[2], cut, patch, SECOND, 1.5)
    _rule(fig.axes[3], whole, patch, SECOND, 1.5)
    seam = len(picture) - shift * patch - 0.5
    fig.axes[3].axvline(seam, color=OWN, lw=1.3, ls="--")
    fig.axes[3].axhline(seam, color=OWN, lw=1.3, ls="--")
    alt = f"""One satellite picture four times. First cut into {side} by {side} tokens of {patch} pixels; then into
    {whole.max() + 1} windows of {window} by {window} tokens; then into {cut.max() + 1} windows shifted by {shift} tokens,
    those at the border smaller; last rolled by {shift} tokens, where the plain windows fall on the shifted places and
    a dashed seam shows where opposite borders meet."""
    return show.describe(fig, " ".join(alt.split()))


def _framed(fig: Figure, token: tuple[int, int], size: int, colour: str) -> Figure:
    """Frame a token of `size` pixels (row, column) in every picture."""
    for ax in fig.axes:
        corner = token[1] * size - 0.5, token[0] * size - 0.5
        ax.add_patch(plt.Rectangle(corner, size, size, ec=colour, fc="none", lw=1.7, clip_on=False))
    return fig


def reaches(
    picture: np.ndarray, masks: Mapping[str, np.ndarray], token: tuple[int, int], patch: int
) -> Figure:
    """The picture (H, H, 3) once per mask (side, side), with all that a token cannot see greyed out."""
    grey = 0.25 * picture.mean(-1, keepdims=True) + 0.62
    wide = [mask.repeat(patch, 0).repeat(patch, 1)[..., None] for mask in masks.values()]
    titles = [f"{name}: {mask.mean():.0%}" for name, mask in masks.items()]
    fig = show.grid([np.where(mask, picture, grey) for mask in wide], titles, cell=2.45)
    said = (f"{name}: {m.sum()} of {m.size} tokens ({m.mean():.0%})" for name, m in masks.items())
    alt = f"What the token in row {token[0]}, column {token[1]} can see. {'; '.join(said)}."
    return show.describe(_framed(fig, token, patch, OWN), alt)


def influences(maps: Mapping[str, np.ndarray], token: tuple[int, int], patch: int) -> Figure:
    """Gradient maps (H, H) of a token, on a logarithmic scale of four decades; exact zeros are black."""
    scaled = [np.log10(np.maximum(found / found.max(), 1e-4)) + 4.6 for found in maps.values()]
    shown = [np.where(found > 0, one, 0) for found, one in zip(maps.values(), scaled)]
    fig = show.grid(shown, list(maps), cell=2.45, cmap="magma")
    seen = show.listed({name: (found > 0).mean() for name, found in maps.items()})
    alt = f"Share of the pixels that influence the token in row {token[0]}, column {token[1]}: {seen}."
    return show.describe(_framed(fig, token, patch, "#66ddff"), alt)


def merging(picture: np.ndarray, patch: int, window: int) -> Figure:
    """The token grid at each of three stages on the picture (H, H, 3), one window emphasised."""
    pictures, titles, sizes = [], [], (patch, 2 * patch, 4 * patch)
    for stage, size in enumerate(sizes, 1):
        side = len(picture) // size
        blocks = picture.reshape(side, size, side, size, 3).mean((1, 3))
        pictures.append(blocks.repeat(size, 0).repeat(size, 1))
        titles.append(f"stage {stage}: {side} × {side} tokens")
    fig = show.grid(pictures, titles, cell=2.6)
    widths = [min(window * size, len(picture)) for size in sizes]
    for ax, width in zip(fig.axes, widths):
        ax.add_patch(plt.Rectangle((-0.5, -0.5), width, width, ec=SECOND, fc="none", lw=2.2, clip_on=False))
    said = f"{'; '.join(titles)}; their windows are {', '.join(map(str, widths))} pixels wide"
    return show.describe(fig, f"Tokens shown by their mean colour. {said}.")


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
    own = torch.from_numpy(groups(side, size, shift)).view(1, side, side, 1)
    own = _cut(torch.roll(own, (-shift, -shift), (1, 2)), size)[..., 0]  # (n, size²)
    return own[:, :, None] == own[:, None, :]


@exercise(
    "attention mask", praise="Neighbours on the rolled grid who are strangers on the ground no longer meet."
)
def check_mask(attention_mask: Callable) -> None:
    got, wanted = booleans(attention_mask(8, 4, 2), "The mask"), _mask(8, 4, 2).numpy()
    expect_shape(got, (4, 16, 16), "The mask of 4 windows of 16 tokens")
    inside, right, bottom, corner = got
    may = "True means that a token *may* look at the other"
    expect((got != ~wanted).any(), f"The mask is turned around: {may}.")
    itself = got.diagonal(axis1=1, axis2=2).all()
    expect(itself, "Every token may look at itself: the diagonal must be True.")
    order = (
        "Number the regions by the *shifted* windows, then roll and cut the numbers as you cut the tokens."
    )
    expect(inside.all(), f"In the first window, whole inside the image, all may see each other. {order}")
    expect(not right.all(), "The window at the right border holds strips from opposite sides: strangers.")
    expect(not bottom.all(), "The window at the bottom holds strangers, too: cut the rows as well.")
    expect(corner.sum() == 4 * 4**2, "The last window holds four corners of the image, 4 tokens each.")
    expect((got == wanted).all(), f"Some pairs are wrong. {order}")
    other = booleans(attention_mask(6, 3, 1)) == _mask(6, 3, 1).numpy()
    expect(other.all(), "The mask is wrong for windows of 3 and a shift of 1.")
    plain = booleans(attention_mask(8, 4, 0))
    expect(plain.all(), "Without a shift nobody is a stranger: the mask is True everywhere.")
