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


def archive(path: Path, **files: str) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo("package/" + name.replace("_", "/", 1) + ".js")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return path


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """An npm that gives out one archive, and counts how often it is asked."""
    source = archive(tmp_path / "given.tgz", dist_main="main", dist_other="other", src_main="source")
    asked = []

    def run(command, cwd, **_):
        asked.append(command)
        if source.exists():
            (Path(cwd) / "thing-1.0.0.tgz").write_bytes(source.read_bytes())
            return subprocess.CompletedProcess(command, 0, "", "")
        return subprocess.CompletedProcess(command, 1, "", "npm error\nnpm error network")

    monkeypatch.setattr(vendor.subprocess, "run", run)
    package = {
        "name": "@scope/thing",
        "version": "1.0.0",
        "integrity": vendor.integrity(source),
        "files": {"dist/main.js": "thing.js"},
    }
    return source, package, asked


def test_a_package_is_fetched_once_and_only_the_wanted_files_are_taken(registry, tmp_path):
    source, package, asked = registry
    pins = tmp_path / "vendor.json"
    pins.write_text(json.dumps([package]))
    out = tmp_path / "vendor"
    vendor.provide(pins, out)
    assert sorted(p.name for p in out.iterdir()) == ["anywidget.js", "stamp.txt", "thing.js"]
    assert (out / "thing.js").read_text() == "main"
    source.unlink()
    (out / "stamp.txt").unlink()
    vendor.provide(pins, out)
    assert len(asked) == 1, "the second build must do without the network"


def test_a_wrong_checksum_is_refused_and_nothing_is_kept(registry, tmp_path):
    source, package, _ = registry
    archive(source, dist_main="changed")
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
    pins = tmp_path / "vendor.json"
    pins.write_text(json.dumps([{**package, "files": {"lib/*.js": "lib/"}}]))
    with pytest.raises(DataError, match="none of the files wanted"):
        vendor.provide(pins, tmp_path / "vendor")
    assert not (tmp_path / "vendor" / "stamp.txt").exists()


def test_every_pin_has_an_exact_version_a_checksum_and_a_licence():
    for package in json.loads(PINS.read_text()):
        assert package["version"].replace(".", "").isdigit()
        assert package["integrity"].startswith("sha512-")
        assert package["licence"] and package["files"]
