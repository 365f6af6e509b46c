"""Explorer of chapter 03: average against overall accuracy when classes are unequal."""

from collections.abc import Mapping

import anywidget
import numpy as np
import traitlets

from eo_ssl.errors import ConfigError
from eo_ssl.sensors import CLASSES
from eo_ssl.show.browser import script


class MetricExplorer(anywidget.AnyWidget):
    """One slider per class for its recall, class shares to choose from; AA and OA follow at once."""

    _esm = script("metrics")
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    colours = traitlets.List(traitlets.Unicode()).tag(sync=True)
    recall = traitlets.List(traitlets.Float()).tag(sync=True)
    splits = traitlets.List(traitlets.Unicode()).tag(sync=True)
    shares = traitlets.List(traitlets.List(traitlets.Float())).tag(sync=True)


def metric_explorer(recall: np.ndarray, shares: Mapping[str, np.ndarray]) -> MetricExplorer:
    """Explorer that starts from a model's recall per class (8,) and offers class shares (8,) by name.

    A class that the model was never asked about (NaN) starts at 0.
    """
    recall = np.nan_to_num(np.asarray(recall, dtype=float))
    if recall.shape != (len(CLASSES),) or any(np.shape(s) != (len(CLASSES),) for s in shares.values()):
        raise ConfigError(f"recall and every share need {len(CLASSES)} values, one per class")
    return MetricExplorer(
        names=[c.name for c in CLASSES],
        colours=[c.colour for c in CLASSES],
        recall=[round(float(r), 2) for r in recall],
        splits=list(shares),
        shares=[[round(float(v), 4) for v in s] for s in shares.values()],
    )
