"""The band and decibel explorer of chapter 01: all logic runs in the browser, no kernel and no network."""

import base64
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

from eo_ssl.data.samples import Pair
from eo_ssl.errors import ConfigError
from eo_ssl.sensors import S1, S2
from eo_ssl.show.composites import PRESETS

_ESM = Path(__file__).parent / "esm" / "bands.js"
_DB = (-45.0, 6.0)  # dB of byte 0 and byte 255: steps of 0.2 dB
_LARGEST = 1_500_000  # characters: a page with more would load slowly on a telephone


class BandExplorer(anywidget.AnyWidget):
    """Pick any three bands and any stretch; see the spectrum under the pointer; made by `band_explorer`."""

    _esm = _ESM.read_text(encoding="utf-8")
    spec = traitlets.Dict().tag(sync=True)
    payload = traitlets.Unicode().tag(sync=True)


def band_explorer(pairs: Sequence[Pair], titles: Sequence[str] = ()) -> BandExplorer:
    """Explorer of some pairs; about 100 kB each for 120 × 120 px, stored in 256 steps a band.

    All pairs must have the same Sentinel-2 bands; `ConfigError` otherwise, and when there are too many.
    """
    if not pairs or len({pair.s2_bands for pair in pairs}) != 1:
        raise ConfigError("band_explorer needs one pair or more, all with the same Sentinel-2 bands")
    places, blocks = [], []
    for pair, title in zip(pairs, [*titles, *(p.name for p in pairs[len(titles) :])]):
        place, block = _encode(pair)
        places.append({"title": title, **place})
        blocks.append(block)
    payload = base64.b64encode(zlib.compress(b"".join(blocks), 9)).decode()
    if len(payload) > _LARGEST:
        raise ConfigError(f"{len(pairs)} pairs make {len(payload) / 1e6:.1f} MB in the page; show fewer")
    return BandExplorer(spec=_spec(pairs[0].s2_bands, places), payload=payload)


def _spec(names: tuple[str, ...], places: list[dict[str, Any]]) -> dict[str, Any]:
    known = {band.name: band for band in S2}
    bands = [
        {"name": n, "centre": known[n].centre, "width": known[n].width, "sees": known[n].sees} for n in names
    ]
    # A list, because notebooks are saved with the keys of a dict in alphabetical order.
    presets = [[name, list(three)] for name, three in PRESETS.items() if set(three) <= set(names)]
    radar = [{"name": band.name, "sees": band.sees} for band in S1]
    return {"bands": bands, "radar": radar, "presets": presets, "places": places, "db": list(_DB)}


def _encode(pair: Pair) -> tuple[dict[str, Any], bytes]:
    """Bytes of all bands, row by row as differences to the left neighbour, which compress to about half."""
    low = pair.s2.min((1, 2))
    high = np.maximum(pair.s2.max((1, 2)), low + 1e-6)
    scaled = (pair.s2 - low[:, None, None]) / (high - low)[:, None, None]  # (B, H, W) in [0, 1]
    power = (pair.s1 - _DB[0]) / (_DB[1] - _DB[0])  # (2, H, W)
    steps = np.round(np.clip(np.concatenate([scaled, power]), 0, 1) * 255).astype(np.uint8)
    change = np.diff(steps, axis=-1, prepend=np.zeros_like(steps[..., :1]))  # wraps around, and back
    facts = {
        "height": int(steps.shape[1]),
        "width": int(steps.shape[2]),
        "low": [round(float(v), 5) for v in low],
        "high": [round(float(v), 5) for v in high],
    }
    return facts, change.tobytes()
