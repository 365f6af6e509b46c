"""Refuse features that are no numbers, by the rows they stand in."""

import numpy as np
import torch
from torch import Tensor

from eo_ssl.errors import DataError

SHOWN = 5


def require_finite(what: str, values: Tensor | np.ndarray, used: np.ndarray | None = None) -> None:
    """Raise `DataError` that names the rows of `values` (N, ...) with NaN or infinity, among the `used` ones (N,).

    A NaN loses every comparison: it would pass for a poor match instead of a broken encoder.

    >>> require_finite("embeddings", np.array([[0.0, 1.0], [np.nan, 1.0]]))
    Traceback (most recent call last):
    eo_ssl.errors.DataError: embeddings: 1 of 2 rows hold NaN or infinity (row 1); check encoder and statistics
    """
    finite = torch.isfinite(torch.as_tensor(values)).flatten(1).all(1).cpu().numpy()  # (N,)
    broken = np.flatnonzero(~finite if used is None else ~finite & used)
    if len(broken):
        rows = ", ".join(map(str, broken[:SHOWN])) + (" …" if len(broken) > SHOWN else "")
        word = "row" if len(broken) == 1 else "rows"
        raise DataError(
            f"{what}: {len(broken)} of {len(finite)} rows hold NaN or infinity ({word} {rows}); "
            "check encoder and statistics"
        )
