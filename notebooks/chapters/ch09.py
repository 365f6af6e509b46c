"""Checks of chapter 09: windows cut from a rolled grid, and the mask that keeps strangers apart."""

from collections.abc import Callable

import torch
from torch import Tensor

from eo_ssl.course.checks import exercise, expect, expect_close, expect_shape
from eo_ssl.show.swin import groups


def _cut(x: Tensor, size: int) -> Tensor:
    b, h, w, c = x.shape
    x = x.view(b, h // size, size, w // size, size, c).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(-1, size * size, c)


@exercise("windows", praise="A roll, a view, a permute: shifted windows cost no extra attention.")
def check_windows(cut_windows: Callable) -> None:
    x = torch.arange(2 * 8 * 8 * 3).float().view(2, 8, 8, 3)
    plain = cut_windows(x.clone(), 4, 0)
    expect(isinstance(plain, Tensor), f"Return a torch tensor, not a {type(plain).__name__}.")
    expect_shape(plain, (8, 16, 3), "The windows of two grids of 8 × 8 tokens, 4 × 4 each")
    straight = x.reshape(8, 16, 3)
    turned = x.view(2, 2, 4, 2, 4, 3).permute(0, 3, 1, 2, 4, 5).reshape(8, 16, 3)
    tokens = {tuple(token) for token in x.reshape(-1, 3).tolist()}
    expect(
        all(tuple(token) in tokens for token in plain.reshape(-1, 3).tolist()),
        "The channels of one token must stay together, in their order: keep C as the last axis when you permute.",
    )
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
    "attention mask",
    praise="Neighbours on the rolled grid, strangers on the ground: now they do not see each other.",
)
def check_mask(attention_mask: Callable) -> None:
    got = attention_mask(8, 4, 2)
    expect(isinstance(got, Tensor), f"Return a torch tensor, not a {type(got).__name__}.")
    expect(got.dtype == torch.bool, f"The mask should be boolean, but it is {got.dtype}.")
    expect_shape(got, (4, 16, 16), "The mask of 4 windows of 16 tokens")
    _expect_mask(got, _mask(8, 4, 2))
    expect(
        bool((attention_mask(6, 3, 1) == _mask(6, 3, 1)).all()),
        "The mask is wrong for windows of 3 tokens and a shift of 1.",
    )
    expect(
        bool(attention_mask(8, 4, 0).all()),
        "Without a shift nobody is a stranger: the mask should be True everywhere.",
    )


def _expect_mask(got: Tensor, wanted: Tensor) -> None:
    """The mask of 8 × 8 tokens, windows of 4 and a shift of 2, window by window."""
    expect(
        not bool((got == ~wanted).all()),
        "The mask is turned around: True means that a token *may* look at the other.",
    )
    expect(
        bool(got.diagonal(dim1=1, dim2=2).all()), "Every token may look at itself: the diagonal must be True."
    )
    expect(
        bool(got[0].all()),
        "The first window of the rolled grid lies whole inside the image: all its tokens may see each other. "
        "Number the regions by the *shifted* windows, then roll the numbers as you roll the tokens.",
    )
    expect(
        not bool(got[1].all()),
        "The window at the right border holds two strips from opposite sides of the image: they must not see each other.",
    )
    expect(
        not bool(got[2].all()),
        "The window at the bottom holds strips from opposite sides, too: cut the rows as well as the columns.",
    )
    expect(
        int(got[3].sum()) == int(wanted[3].sum()),
        f"The last window holds four corners of the image, 4 tokens each: {int(wanted[3].sum())} pairs are "
        f"allowed, not {int(got[3].sum())}.",
    )
    expect(
        bool((got == wanted).all()),
        "Some pairs are wrong. Number the regions first, then roll and cut the numbers as you cut tokens.",
    )
