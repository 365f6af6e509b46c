"""Browser files: checked before they are unpacked, kept for the next time, and never half there."""

import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from eo_ssl.course import vendor
from eo_ssl.errors import DataError

PINS = Path(__file__).parents[2] / "book" / "vendor.json"


def archive(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name in names:
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(name)
            tar.addfile(info, io.BytesIO(name.encode()))
    return path


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """An npm that gives out one archive, and counts how often it is asked."""
    source = archive(tmp_path / "given.tgz", "dist/main.js", "dist/other.js", "src/main.js")
    asked = []

    def run(command, cwd, **_):
        asked.append(command)
        if source.exists():
            (Path(cwd) / "thing-1.0.0.tgz").write_bytes(source.read_bytes())
            return subprocess.CompletedProcess(command, 0, "", "")
        return subprocess.CompletedProcess(command, 1, "", "npm error\nnpm error network")

    monkeypatch.setattr(vendor.subprocess, "run", run)
    files = {"dist/main.js": "thing.js"}
    about = {"name": "@scope/thing", "version": "1.0.0", "integrity": vendor.integrity(source)}
    return source, {**about, "files": files}, asked


def provide(package, folder):
    (folder / "vendor.json").write_text(json.dumps([package]))
    vendor.provide(folder / "vendor.json", folder / "vendor")
    return folder / "vendor"


def test_a_package_is_fetched_once_and_only_the_wanted_files_are_taken(registry, tmp_path):
    source, package, asked = registry
    out = provide(package, tmp_path)
    assert sorted(p.name for p in out.iterdir()) == ["anywidget.js", "thing.js"]
    assert (out / "thing.js").read_text() == "dist/main.js"
    source.unlink()
    provide(package, tmp_path)
    assert len(asked) == 1, "the second build must do without the network"


def test_a_wrong_checksum_is_refused_and_nothing_is_kept(registry, tmp_path):
    source, package, _ = registry
    archive(source, "dist/changed.js")
    with pytest.raises(DataError, match=r"@scope/thing@1\.0\.0: checksum differs"):
        vendor.fetch(package)
    assert not list((tmp_path / "cache").rglob("*.tgz"))


def test_a_damaged_file_in_the_cache_is_fetched_again(registry):
    _, package, asked = registry
    vendor.fetch(package).write_bytes(b"damaged")
    assert vendor.integrity(vendor.fetch(package)) == package["integrity"]
    assert len(asked) == 2


def test_no_network_is_one_line_that_says_what_to_do(registry):
    source, package, _ = registry
    source.unlink()
    with pytest.raises(DataError, match=r"npm error network.*go online") as caught:
        vendor.fetch(package)
    assert "\n" not in str(caught.value)


def test_an_archive_without_the_files_is_refused(registry, tmp_path):
    _, package, _ = registry
    with pytest.raises(DataError, match="none of the files wanted"):
        provide({**package, "files": {"lib/*.js": "lib/"}}, tmp_path)


def test_every_pin_has_an_exact_version_a_checksum_and_a_licence():
    for package in json.loads(PINS.read_text()):
        assert package["version"].replace(".", "").isdigit()
        assert package["integrity"].startswith("sha512-")
        assert package["licence"] and package["files"]
