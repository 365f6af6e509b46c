"""Cross-modal Barlow Twins: no negatives; each dimension has to say the same for both sensors, and nothing twice."""

import torch
from torch import Tensor

from eo_ssl.errors import ConfigError
from eo_ssl.losses.common import check_pairs, checked, full_precision, gather

EPS = 1e-5  # as in batch normalisation: a dimension that never changes is no division by zero


def cross_correlation(z1: Tensor, z2: Tensor) -> Tensor:
    r"""Correlation over the batch of every dimension of S1 with every dimension of S2.

        C(a, b) = 1/N Σᵢ ẑ1ᵢₐ ẑ2ᵢᵦ,   ẑ standardised over the N patches of all processes

    Shape: z1, z2 (N, D) → (D, D), values in [−1, 1].
    """
    with full_precision(z1):
        both = (gather(z if z.dtype == torch.float64 else z.float()) for z in (z1, z2))  # (N, D) each
        first, second = ((z - z.mean(0)) / (z.var(0, correction=0) + EPS).sqrt() for z in both)
        return first.T @ second / len(first)


def barlow_loss(z1: Tensor, z2: Tensor, weight: float = 0.005, common: int | None = None) -> Tensor:
    r"""Bring the cross-correlation C of both sensors to the identity.

        loss = Σₐ (1 − C(a, a))² + λ Σ_{a ≠ b} C(a, b)²,   λ = `weight`

    With `common` = K the two sensors agree in their first K dimensions only, and the rest is theirs: C(a, a) goes to 1
    for a < K and to 0 beyond, and squares between the two parts do not count. The unique dimensions need a loss within
    each sensor beside this one, or nothing keeps them from becoming constant.

    Shape: z1, z2 (N, D) → (). Raises `ConfigError` for inputs that do not pair up, `NonFiniteError` for NaN.
    Source: Zbontar et al. (2021), "Barlow Twins", eq. 1; Wang et al. (2024), "Decoupling common and unique
    representations for multimodal self-supervised learning" (DeCUR), eq. 2–5.

    >>> z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> round(barlow_loss(z, z).item(), 2), round(barlow_loss(z, -z).item(), 2)
    (0.0, 8.0)
    """
    check_pairs(z1, z2, 1.0)
    dim = z1.shape[1]
    common = dim if common is None else common
    if not 0 < common <= dim or not weight >= 0:
        raise ConfigError(f"common must lie in 1 to {dim} and weight be 0 or more, got {common} and {weight}")
    c = cross_correlation(z1, z2)
    shared = torch.arange(dim, device=c.device) < common  # (D,)
    diagonal = (c.diagonal() - shared.to(c.dtype)).square().sum()
    counted = (shared[:, None] == shared).fill_diagonal_(False)  # (D, D)
    # Each of W processes holds the whole C, so that `gather` brings W times the gradient, which DDP averages.
    return checked(diagonal + weight * (c.square() * counted).sum())
