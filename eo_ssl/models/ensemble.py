"""Several models, one answer: the mean of their probabilities."""

import torch
from torch import Tensor, nn

from eo_ssl.errors import ConfigError
from eo_ssl.models.dual import Batch


class Ensemble(nn.Module):
    """Mean of the class probabilities of its models, given as log-probabilities.

    Log-probabilities are logits too: softmax and argmax of them give the mean back. Without gradient.
    Shape: as its models, (B, K) or (B, K, H, W).
    """

    def __init__(self, *models: nn.Module) -> None:
        super().__init__()
        if not models:
            raise ConfigError("an ensemble needs at least one model")
        self.models = nn.ModuleList(models)

    @torch.no_grad()
    def forward(self, batch: Batch) -> Tensor:
        mean = torch.stack([model(batch).float().softmax(1) for model in self.models]).mean(0)
        return mean.clamp_min(torch.finfo(mean.dtype).tiny).log()
