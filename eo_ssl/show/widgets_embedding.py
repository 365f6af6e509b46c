"""The explorer of chapter 07: patches in the plane, the one under the pointer shown with its nearest neighbours."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import anywidget
import numpy as np
import traitlets

from eo_ssl.errors import ConfigError
from eo_ssl.show.browser import data_url, script, thumbnail

_THUMB = 52
_MOST = 500


class EmbeddingExplorer(anywidget.AnyWidget):
    """Layouts of the same patches under several encoders; made by `embedding_explorer`."""

    _esm = script("embedding")
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    planes = traitlets.List(traitlets.Unicode()).tag(sync=True)
    near = traitlets.List().tag(sync=True)
    k = traitlets.Int().tag(sync=True)
    items = traitlets.List(traitlets.Dict()).tag(sync=True)
    groups = traitlets.List(traitlets.Dict()).tag(sync=True)
    optical = traitlets.Unicode().tag(sync=True)
    radar = traitlets.Unicode().tag(sync=True)
    thumb = traitlets.Int(_THUMB).tag(sync=True)
    columns = traitlets.Int().tag(sync=True)


def embedding_explorer(
    planes: Mapping[str, np.ndarray],
    near: Mapping[str, np.ndarray],
    items: Sequence[dict[str, Any]],
    groups: Sequence[dict[str, Any]],
    optical: Sequence[np.ndarray],
    radar: Sequence[np.ndarray],
) -> EmbeddingExplorer:
    """Explorer of N patches under named encoders.

    planes: (N, 2) in [0, 1] each; near: (N, k) positions each; items: label, where, real of each patch; groups: ways to
    colour, with name, labels, colours and codes (N,); pictures optical[i], radar[i] (H, W, 3). At most 500 patches.
    """
    count = len(items)
    sizes = {
        len(v) for v in (*planes.values(), *near.values(), optical, radar, *(g["codes"] for g in groups))
    }
    if sizes != {count} or planes.keys() != near.keys():
        raise ConfigError(
            f"the embedding explorer needs the same {count} patches everywhere, got {sorted(sizes)}"
        )
    if count > _MOST:
        raise ConfigError(f"{count} patches are too many for one page; show {_MOST} at most")
    columns = int(np.ceil(np.sqrt(count)))
    return EmbeddingExplorer(
        names=list(planes), planes=[_bytes(p) for p in planes.values()], near=[np.asarray(v).tolist() for v in near.values()],
        k=int(next(iter(near.values())).shape[1]), items=list(items), groups=[_plain(g) for g in groups],
        optical=_sheet(optical, columns), radar=_sheet(radar, columns), columns=columns,
    )  # fmt: skip


def _bytes(plane: np.ndarray) -> str:
    return base64.b64encode(np.round(np.clip(plane, 0, 1) * 255).astype(np.uint8).tobytes()).decode()


def _plain(group: dict[str, Any]) -> dict[str, Any]:
    return {**group, "codes": np.asarray(group["codes"]).tolist()}


def _sheet(pictures: Sequence[np.ndarray], columns: int) -> str:
    """All pictures on one sheet, `columns` a row, row by row."""
    thumbs = [thumbnail(p, _THUMB) for p in pictures]
    thumbs += [np.ones_like(thumbs[0])] * (-len(thumbs) % columns)
    return data_url(np.concatenate([np.concatenate(thumbs[i : i + columns], axis=1)
                                    for i in range(0, len(thumbs), columns)]))  # fmt: skip
