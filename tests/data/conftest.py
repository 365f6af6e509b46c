"""Makes `fake_patches` importable, keeps caches out of the home folder, makes the sets many tests use."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


# Tests of these modules write caches; the others may use what is in the user's cache.
_CACHING = {"catalog", "splits", "check", "store", "dataset", "source", "fuzz"}


@pytest.fixture(autouse=True)
def _own_cache(request, tmp_path_factory, monkeypatch):
    if request.module.__name__.rpartition("test_")[2] in _CACHING:
        monkeypatch.setenv("EO_SSL_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """GeoTIFF root of all layouts side by side; do not change it."""
    import fake_patches as fake

    return fake.world(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def store(world, tmp_path_factory):
    """The same, packed."""
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
    """A root of one scene where patch 0 has one invalid radar pixel, patch 1 no optical data in a corner
    and patch 2 is a quarter NaN."""
    import fake_patches as fake
    import numpy as np

    patches = fake.sen12ms(numbers=(1, 2, 3, 4))
    root = fake.make(tmp_path / "data", patches)
    s1 = [fake.images(p)["s1"] for p in patches]
    s1[0][1, 8, 8] = np.nan
    s1[2][:, :4] = np.nan
    for p, data in zip(patches, s1):
        fake.write(root / p.pattern.format("s1"), data, p.epsg, p.x, p.y)
    s2 = fake.images(patches[1])["s2"]
    s2[:, 0, 0] = 0
    fake.write(root / patches[1].pattern.format("s2"), s2, patches[1].epsg, patches[1].x, patches[1].y)
    return root
