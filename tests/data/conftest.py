"""Makes `fake_patches` importable, and keeps caches out of the home folder."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("EO_SSL_CACHE", str(tmp_path_factory.mktemp("cache")))
