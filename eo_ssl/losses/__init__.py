"""Contrastive losses: NT-Xent, CLIP and MMA, in chunks, in float32, over one process or many."""

from eo_ssl.losses.clip import clip_loss
from eo_ssl.losses.common import NonFiniteError, chance_level, gather, mean_over_ranks
from eo_ssl.losses.mma import map_similarity, mma_loss
from eo_ssl.losses.nt_xent import nt_xent

__all__ = [
    "NonFiniteError",
    "chance_level",
    "clip_loss",
    "gather",
    "map_similarity",
    "mean_over_ranks",
    "mma_loss",
    "nt_xent",
]
