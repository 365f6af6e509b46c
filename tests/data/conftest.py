"""Keeps caches out of the home folder, makes the sets many tests use."""

import shutil
from pathlib import Path

import fake_patches as fake
import numpy as np
import pytest

# Tests of these modules write caches; the others may use what is in the user's cache.
_CACHING = {"catalog", "splits", "check", "store", "dataset", "source", "ben_ge"}


@pytest.fixture(autouse=True)
def _own_cache(request, tmp_path_factory, monkeypatch):
    if request.module.__name__.rpartition("test_")[2] in _CACHING:
        monkeypatch.setenv("EO_SSL_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """GeoTIFF root of all layouts side by side; do not change it."""
    return fake.world(tmp_path_factory.mktemp("data"))


@pytest.fixture
def root(world, tmp_path):
    """A copy of it that may be changed."""
    return Path(shutil.copytree(world, tmp_path / world.name))


@pytest.fixture(scope="session")
def store(world, tmp_path_factory):
    """The world packed."""
    from eo_ssl.data import store as pack

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EO_SSL_CACHE", str(tmp_path_factory.mktemp("cache")))
        return pack.pack(world, tmp_path_factory.mktemp("store"))


@pytest.fixture(params=["geotiff", "store"])
def source(request, world, store):
    """The same, opened from files and from the store."""
    from eo_ssl.data.dataset import open_source

    return open_source(store if request.param == "store" else world)


@pytest.fixture
def holes(tmp_path):
    """One scene: patch 0 has an invalid radar pixel, patch 1 no optical data in a corner, patch 2 is a quarter NaN."""
    patches = fake.sen12ms(numbers=(1, 2, 3, 4))
    root = fake.make(tmp_path / "data", patches)
    first, second, third = (fake.images(patch) for patch in patches[:3])
    first["s1"][1, 8, 8] = np.nan
    second["s2"][:, 0, 0] = 0
    third["s1"][:, :4] = np.nan
    for patch, images, sensor in zip(patches, (first, second, third), ("s1", "s2", "s1")):
        fake.put(root, patch, sensor, images[sensor])
    return root
