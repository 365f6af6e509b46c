"""Explorers of chapters 04 to 06: all logic runs in the browser, so they move in a book with no kernel."""

import base64
from collections.abc import Sequence
from typing import Any

import anywidget
import numpy as np
import traitlets

from eo_ssl.errors import ConfigError
from eo_ssl.show.browser import colour_table, cosines, data_url, script, thumbnail


class TemperatureExplorer(anywidget.AnyWidget):
    """Softmax shares of one partner and N negatives under sliders for τ, N and the partner's cosine."""

    _esm = script("temperature")
    negatives = traitlets.List(traitlets.Float()).tag(sync=True)
    positive = traitlets.Float(0.7).tag(sync=True)
    temperature = traitlets.Float(0.1).tag(sync=True)
    count = traitlets.Int(30).tag(sync=True)


def temperature_explorer(
    negatives: np.ndarray, positive: float, temperature: float = 0.1, count: int = 30
) -> TemperatureExplorer:
    """Explorer of one anchor: cosines of its negatives (K,), cosine of its partner; at most 256 are kept."""
    ordered = np.sort(np.asarray(negatives, dtype=float))[::-1]
    if len(ordered) > 256:
        ordered = np.quantile(ordered, np.linspace(1, 0, 256))
    if len(ordered) < 2:
        raise ConfigError("the temperature explorer needs at least 2 negatives")
    return TemperatureExplorer(
        negatives=[round(float(x), 4) for x in ordered],
        positive=round(float(positive), 2), temperature=temperature, count=min(count, len(ordered)),
    )  # fmt: skip


class SimilarityExplorer(anywidget.AnyWidget):
    """A matrix of cosines, radar by optical; the cell under the pointer shows its two patches."""

    _esm = script("similarity")
    size = traitlets.Int().tag(sync=True)
    thumb = traitlets.Int(52).tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    matrices = traitlets.List(traitlets.Unicode()).tag(sync=True)
    overlap = traitlets.Unicode().tag(sync=True)
    sprite = traitlets.Unicode().tag(sync=True)
    colours = traitlets.Unicode().tag(sync=True)


def similarity_explorer(
    matrices: dict[str, np.ndarray],
    overlap: np.ndarray,
    radar: Sequence[np.ndarray],
    optical: Sequence[np.ndarray],
) -> SimilarityExplorer:
    """Explorer of matrices {name: (N, N)}; `overlap` (N, N) bool; pictures radar[i], optical[i] (H, W, 3)."""
    size = len(overlap)
    for name, matrix in matrices.items():
        if np.shape(matrix) != (size, size):
            raise ConfigError(f"the matrix {name!r} must be {size} × {size}, got {np.shape(matrix)}")
    sheet = np.concatenate([np.concatenate([thumbnail(p) for p in row], axis=1) for row in (radar, optical)])
    return SimilarityExplorer(
        size=size, names=list(matrices), matrices=[cosines(np.asarray(m)) for m in matrices.values()],
        overlap=base64.b64encode(np.asarray(overlap, dtype=np.uint8).tobytes()).decode(),
        sprite=data_url(sheet), colours=colour_table("RdBu_r"),
    )  # fmt: skip


class OffsetExplorer(anywidget.AnyWidget):
    """A smaller map dragged over a larger one; the surface of mean cosines fills in as it goes."""

    _esm = script("offsets")
    large = traitlets.Int().tag(sync=True)
    small = traitlets.Int().tag(sync=True)
    cases = traitlets.List(traitlets.Dict()).tag(sync=True)
    colours = traitlets.Unicode().tag(sync=True)
    heat = traitlets.Unicode().tag(sync=True)


def offset_explorer(cases: Sequence[dict[str, Any]]) -> OffsetExplorer:
    """Explorer of cases with keys name, maps large (E, H, H) and small (E, h, h), pictures radar and optical,
    and truth: the offset (y, x) at which the small crop was cut, or None where it shows another place.
    """
    sides = {(c["large"].shape[-1], c["small"].shape[-1]) for c in cases}
    if len(sides) != 1:
        raise ConfigError(f"all cases of the offset explorer need the same map sizes, got {sorted(sides)}")
    ((large, small),) = sides
    return OffsetExplorer(
        large=large, small=small, cases=[_case(c, large - small + 1) for c in cases],
        colours=colour_table("RdBu_r"), heat=colour_table("viridis"),
    )  # fmt: skip


def _case(case: dict[str, Any], offsets: int) -> dict[str, Any]:
    large, small = (np.asarray(case[k], dtype=np.float32) for k in ("large", "small"))  # (E, H, H), (E, h, h)
    large, small = (m / np.maximum(np.linalg.norm(m, axis=0), 1e-12) for m in (large, small))
    every = np.einsum("eyx,evu->yxvu", large, small)  # (H, H, h, h): each place with each place
    truth = case.get("truth")
    return {
        "name": case["name"],
        "cosine": cosines(every),
        "radar": data_url(case["radar"], 192),
        "optical": data_url(case["optical"], 192),
        "truth": -1 if truth is None else int(truth[0]) * offsets + int(truth[1]),
    }
