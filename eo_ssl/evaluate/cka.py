"""Centred kernel alignment: how alike are two representations of the same patches?"""

from torch import Tensor


def _hsic(k: Tensor, l: Tensor, debiased: bool) -> Tensor:
    """Hilbert–Schmidt independence criterion of two Gram matrices (N, N), up to a common factor."""
    n = len(k)
    if not debiased:
        centred = k - k.mean(0) - k.mean(1, keepdim=True) + k.mean()
        return (centred * l).sum()
    k, l = k - k.diag().diag(), l - l.diag().diag()  # Song et al. 2012, eq. 5: without the diagonals
    cross = (k.sum(0) * l.sum(0)).sum()
    return (k * l).sum() + k.sum() * l.sum() / ((n - 1) * (n - 2)) - 2 * cross / (n - 2)


def linear_cka(x: Tensor, y: Tensor, debiased: bool = False) -> float:
    """Linear CKA between features of the same N samples: 1 for a rotation, about 0 for unrelated ones.

    CKA = HSIC(XXᵀ, YYᵀ) / √(HSIC(XXᵀ, XXᵀ) · HSIC(YYᵀ, YYᵀ)) (Kornblith et al. 2019, eq. 6). With fewer
    samples than dimensions the plain estimate is too high even for noise; `debiased` removes that
    (Nguyen et al. 2021).
    Returns nan when a representation is constant: there is nothing to align.

    Shape: x (N, D1), y (N, D2), N >= 4 when debiased.

    >>> import torch
    >>> x = torch.tensor([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0]])
    >>> round(linear_cka(x, 5 * x.flip(1)), 6)
    1.0
    """
    if len(x) != len(y) or len(x) < (4 if debiased else 2):
        raise ValueError(f"CKA compares the same samples twice, got {len(x)} and {len(y)}")
    x, y = _centred(x), _centred(y)
    k, l = x @ x.T, y @ y.T  # (N, N)
    scale = (_hsic(k, k, debiased) * _hsic(l, l, debiased)).sqrt()
    return float(_hsic(k, l, debiased) / scale) if scale > 0 else float("nan")


def _centred(x: Tensor) -> Tensor:
    """Columns without their mean, scaled to unit norm; exactly zero when the rows are all the same."""
    x = x.double()
    centred = x - x.mean(0)
    norm = centred.norm()
    return centred / norm if norm > 1e-7 * x.norm() else centred * 0
