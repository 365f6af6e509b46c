"""Frozen means frozen: no gradients, no batch-norm drift, no drop-path."""

from typing import Self

from torch import nn
from torch.nn import Parameter


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


class BackboneModel(nn.Module):
    """A model with a pretrained part, `backbone` (or None), and the rest, its head.

    The two have learning rates of their own, and only the backbone can be frozen.
    """

    backbone: Freezable | None

    def freeze(self) -> Self:
        """Freeze the backbone (see `Freezable`); the head still learns."""
        if self.backbone is not None:
            self.backbone.freeze()
        return self

    def backbone_parameters(self) -> list[Parameter]:
        """Parameters of the backbone; none where there is no backbone."""
        return [] if self.backbone is None else list(self.backbone.parameters())

    def head_parameters(self) -> list[Parameter]:
        """All other parameters."""
        backbone = {id(parameter) for parameter in self.backbone_parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in backbone]
