"""What GDAL's metadata in a GeoTIFF say of its values: scale, offset, band names, processing baseline."""

import re
from typing import Any

from eo_ssl.sensors import BASELINE_0400_OFFSET

_ITEM = re.compile(r'<Item name="([^"]+)"[^>]*>([^<]*)</Item>')
_BAND = re.compile(r'<Item name="DESCRIPTION" sample="(\d+)"[^>]*>([^<]*)</Item>')


def described(nodata: float | None, metadata: str) -> dict[str, Any]:
    """No-data value, scale and offset of the values, band names and S2 offset from GDAL's XML metadata.

    Raises `ValueError` where one of them is not a number.
    """
    items = dict(_ITEM.findall(metadata)) if metadata else {}
    names = {int(band): name for band, name in _BAND.findall(metadata)} if metadata else {}
    return {
        "nodata": nodata,
        "scale": float(items.get("SCALE", 1.0)),
        "offset": float(items.get("OFFSET", 0.0)),
        "bands": [names.get(band, "") for band in range(max(names, default=-1) + 1)],
        "s2_offset": s2_offset(items),
    }


def s2_offset(tags: dict[str, str]) -> int:
    """The offset added to every S2 digital number, as the product's own metadata state it.

    >>> s2_offset({"PROCESSING_BASELINE": "05.09"}), s2_offset({"RADIO_ADD_OFFSET": "-1000"}), s2_offset({})
    (1000, 1000, 0)
    """
    for name in ("RADIO_ADD_OFFSET", "BOA_ADD_OFFSET"):
        if name in tags:
            return -round(float(tags[name]))
    baseline = tags.get("PROCESSING_BASELINE", "0")
    return BASELINE_0400_OFFSET if float(baseline.lstrip("Nn") or 0) >= 4.0 else 0
