"""False negatives: patches that show the same ground must not be pushed apart."""

from collections.abc import Callable

import torch
from torch import Tensor

from eo_ssl.errors import ConfigError
from eo_ssl.losses.gather import gather, rank, world_size

Drop = Callable[[Tensor], Tensor]


def same_group(group: Tensor) -> Tensor:
    """True where two *different* patches belong to one group of overlapping patches.

    Shape: (N,) integers → (N, N) bool.

    >>> same_group(torch.tensor([7, 8, 7])).int().tolist()
    [[0, 0, 1], [0, 0, 0], [1, 0, 0]]
    """
    return (group[:, None] == group[None, :]).fill_diagonal_(False)


def false_negative_rows(false_negatives: Tensor, pairs: int) -> Drop:
    """A function from patch numbers (C,) of this process to their rows of the mask, (C, N) bool.

    `false_negatives` is a symmetric (N, N) bool mask (with several processes this rank's rows of it,
    (n, world·n)), or an (n,) integer vector of groups: compared block by block, in memory linear in N.
    A patch and itself are never marked: they are the positive pair.
    """
    first, total = rank() * pairs, world_size() * pairs
    is_mask = false_negatives.dtype == torch.bool
    if (
        false_negatives.shape != ((pairs, total) if is_mask else (pairs,))
        or false_negatives.is_floating_point()
    ):
        raise ConfigError(
            f"false_negatives must be ({pairs}, {total}) bool or ({pairs},) integer groups, "
            f"got {false_negatives.dtype} {tuple(false_negatives.shape)}"
        )
    everyone = None if is_mask else gather(false_negatives)  # (N,)

    def rows(patches: Tensor) -> Tensor:
        if everyone is None:
            mask = false_negatives[patches]
        else:
            mask = false_negatives[patches, None] == everyone[None, :]
        return mask.scatter_(1, first + patches[:, None], False)  # (C, N)

    return rows
