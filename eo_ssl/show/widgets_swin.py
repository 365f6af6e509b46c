"""Explorer of chapter 09: a token, its windows, and what has reached it after one, two or three blocks."""

import anywidget
import numpy as np
import traitlets

from eo_ssl.errors import ConfigError
from eo_ssl.show.browser import data_url, script
from eo_ssl.show.swin import groups


class WindowExplorer(anywidget.AnyWidget):
    """A picture of side × side tokens; made by `window_explorer`."""

    _esm = script("windows")
    side = traitlets.Int().tag(sync=True)
    window = traitlets.Int().tag(sync=True)
    shift = traitlets.Int().tag(sync=True)
    metres = traitlets.Float().tag(sync=True)
    picture = traitlets.Unicode().tag(sync=True)
    title = traitlets.Unicode().tag(sync=True)


def window_explorer(
    picture: np.ndarray, patch: int, window: int, title: str, metres: float = 10
) -> WindowExplorer:
    """Explorer of a picture (H, H, 3) in [0, 1] cut into tokens of `patch` pixels of `metres` each.

    Raises `ConfigError` unless windows fill the token grid before and after one merging.
    """
    height, width = picture.shape[:2]
    side = height // patch
    if height != width or side * patch != height or side % (2 * window):
        raise ConfigError(
            f"a picture of {height} × {width} px has no even number of windows of {window} tokens"
        )
    groups(side, window, window // 2)
    large = picture.repeat(max(1, 384 // height), 0).repeat(max(1, 384 // height), 1)  # keeps pixels square
    return WindowExplorer(
        side=side,
        window=window,
        shift=window // 2,
        metres=float(metres * patch),
        picture=data_url(large),
        title=title,
    )
