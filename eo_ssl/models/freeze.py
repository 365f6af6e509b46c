"""Frozen means frozen: no gradients, no batch-norm drift, no drop-path."""

from typing import Self

from torch import nn


class Freezable(nn.Module):
    """A module that stays as it is once `freeze()` was called, even under `.train()`."""

    frozen = False

    def freeze(self) -> Self:
        """Take gradients off all parameters and stay in eval mode until `unfreeze()`."""
        self.frozen = True
        self.requires_grad_(False)
        return self.train(self.training)

    def unfreeze(self) -> Self:
        """Undo `freeze()`; the module is then in training mode."""
        self.frozen = False
        self.requires_grad_(True)
        return self.train()

    def train(self, mode: bool = True) -> Self:
        """Training mode, unless frozen: statistics of batch-norm would drift, drop-path would stay on."""
        return super().train(mode and not self.frozen)
