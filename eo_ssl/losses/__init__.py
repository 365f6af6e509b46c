"""Contrastive losses: NT-Xent, CLIP and MMA, in chunks, in float32, over one process or many."""

from eo_ssl.losses.clip import CLIPLoss, clip_loss
from eo_ssl.losses.gather import gather, mean_over_ranks
from eo_ssl.losses.inputs import NonFiniteError
from eo_ssl.losses.masks import same_group
from eo_ssl.losses.mma import MMALoss, map_similarity, mma_loss
from eo_ssl.losses.nt_xent import NTXent, nt_xent

__all__ = [
    "CLIPLoss",
    "MMALoss",
    "NTXent",
    "NonFiniteError",
    "clip_loss",
    "gather",
    "map_similarity",
    "mean_over_ranks",
    "mma_loss",
    "nt_xent",
    "same_group",
]
