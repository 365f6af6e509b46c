"""Figures and geometry of chapter 09: windows, shifts, merging, and what they let a token see."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from eo_ssl.errors import ConfigError
from eo_ssl.models.encoders import Encoder
from eo_ssl.show.figure import FAINT, describe

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
    return describe(
        fig,
        f"One satellite picture four times. First cut into {side} by {side} tokens of {patch} pixels; then into "
        f"{int(one.max()) + 1} windows of {window} by {window} tokens; then into {cut} windows shifted by {shift} tokens, "
        f"those at the border smaller; last rolled by {shift} tokens, where the plain windows fall on the shifted places "
        "and a dashed seam shows where opposite borders meet.",
    )


def reaches(
    picture: np.ndarray, masks: Mapping[str, np.ndarray], token: tuple[int, int], patch: int
) -> Figure:
    """The picture (H, H, 3) once per mask (side, side), with all that a token cannot see greyed out."""
    fig, axes = plt.subplots(1, len(masks), figsize=(2.45 * len(masks), 2.8), squeeze=False)
    said = []
    for ax, (name, mask) in zip(axes[0], masks.items()):
        large = mask.repeat(patch, 0).repeat(patch, 1)[..., None]
        grey = 0.25 * picture.mean(-1, keepdims=True) + 0.62
        _panel(ax, np.where(large, picture, grey), f"{name}: {mask.mean():.0%}")
        ax.add_patch(
            plt.Rectangle((token[1] * patch, token[0] * patch), patch, patch, ec=OWN, fc="none", lw=1.8)
        )
        said.append(f"{name}: {int(mask.sum())} of {mask.size} tokens ({mask.mean():.0%})")
    return describe(fig, f"What the token in row {token[0]}, column {token[1]} can see. {'; '.join(said)}.")


def influences(maps: Mapping[str, np.ndarray], token: tuple[int, int], patch: int) -> Figure:
    """Gradient maps (H, H) of a token, on a logarithmic scale of four decades; exact zeros are black."""
    fig, axes = plt.subplots(1, len(maps), figsize=(2.45 * len(maps), 2.8), squeeze=False)
    said = []
    for ax, (name, found) in zip(axes[0], maps.items()):
        scaled = np.log10(np.maximum(found / found.max(), 1e-4)) + 4
        _panel(ax, np.where(found > 0, 0.6 + scaled, 0), name)
        ax.add_patch(
            plt.Rectangle((token[1] * patch, token[0] * patch), patch, patch, ec="#66ddff", fc="none", lw=1.5)
        )
        said.append(f"{name}: {(found > 0).mean():.0%} of the pixels have an influence")
    return describe(
        fig, f"Influence of each pixel on the token in row {token[0]}, column {token[1]}. {'; '.join(said)}."
    )


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
    return describe(fig, f"Tokens shown by their mean colour. {'; '.join(said)}.")


def bias_tables(tables: Mapping[str, np.ndarray]) -> Figure:
    """Relative position biases, (2w − 1, 2w − 1) each, on one scale; the centre is the token itself."""
    fig, axes = plt.subplots(1, len(tables), figsize=(1.75 * len(tables) + 0.6, 2.2), squeeze=False)
    top = max(float(np.abs(t).max()) for t in tables.values())
    said = []
    for ax, (name, values) in zip(axes[0], tables.items()):
        r = len(values) // 2
        image = ax.imshow(
            values, cmap="RdBu_r", vmin=-top, vmax=top, extent=(-r - 0.5, r + 0.5, r + 0.5, -r - 0.5)
        )
        ax.set_title(name, fontsize=8.5)
        ax.set(xticks=(-r, 0, r), yticks=(-r, 0, r))
        said.append(f"{name} from {values.min():.2f} to {values.max():.2f}")
    fig.colorbar(image, ax=axes[0].tolist(), shrink=0.8).outline.set_edgecolor(FAINT)
    return describe(fig, f"Bias added for each offset in rows and columns: {'; '.join(said)}.")
