"""Losses of pairs: NT-Xent, CLIP, MMA, sigmoid and Barlow Twins, in float32, over one process or many."""

from eo_ssl.losses.barlow import barlow_loss, cross_correlation
from eo_ssl.losses.clip import clip_loss
from eo_ssl.losses.common import NonFiniteError, chance_level, gather, mean_over_ranks
from eo_ssl.losses.mma import map_similarity, mma_loss
from eo_ssl.losses.nt_xent import nt_xent
from eo_ssl.losses.siglip import siglip_loss

__all__ = [
    "NonFiniteError",
    "barlow_loss",
    "chance_level",
    "clip_loss",
    "cross_correlation",
    "gather",
    "map_similarity",
    "mean_over_ranks",
    "mma_loss",
    "nt_xent",
    "siglip_loss",
]
