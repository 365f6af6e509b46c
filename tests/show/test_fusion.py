"""The explorer of chapter 03 refuses odd input."""

import numpy as np
import pytest

from eo_ssl.errors import ConfigError
from eo_ssl.show.widgets_fusion import metric_explorer


def test_the_explorer_needs_one_value_per_class():
    widget = metric_explorer(np.array([np.nan, *[0.5] * 7]), {"testing": np.full(8, 1 / 8)})
    assert widget.recall[0] == 0.0 and len(widget.names) == 8
    with pytest.raises(ConfigError, match="one per class"):
        metric_explorer(np.ones(7), {"testing": np.full(8, 1 / 8)})
