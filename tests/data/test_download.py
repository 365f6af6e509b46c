"""Fetching through pip: the user's configuration counts, the checksum decides, no code of a package runs."""

import functools
import http.server
import io
import tarfile
import threading
import zipfile
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from eo_ssl import files
from eo_ssl.data import fetch as sample_archives
from eo_ssl.data.download import Archive, download
from eo_ssl.errors import DataError

SETUP = """
from pathlib import Path
Path({marker!r}).write_text("this code ran")
from setuptools import setup
setup(name="fakescene", version="1.0")
"""


@pytest.fixture(autouse=True)
def own_pip_configuration(monkeypatch, tmp_path):
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("EO_SSL_CACHE", str(tmp_path / "cache"))


def describe(path: Path, name: str, members: tuple[str, ...] = ("*.txt",)) -> Archive:
    size = path.stat().st_size
    return Archive(name, "1.0", path.name, files.sha256(path), size, 10_000, members)


def make_wheel(folder: Path) -> Archive:
    path = folder / "fakeben-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("fakeben/hello.txt", "hello")
        wheel.writestr(
            "fakeben-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: fakeben\nVersion: 1.0\n"
        )
        wheel.writestr("fakeben-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("fakeben-1.0.dist-info/RECORD", "")
    return describe(path, "fakeben")


def make_sdist(folder: Path, marker: Path) -> Archive:
    path = folder / "fakescene-1.0.tar.gz"
    contents = {"setup.py": SETUP.format(marker=str(marker)), "data/hello.txt": "hello"}
    contents["PKG-INFO"] = "Metadata-Version: 1.0\nName: fakescene\nVersion: 1.0\n"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in contents.items():
            info = tarfile.TarInfo(f"fakescene-1.0/{name}")
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return describe(path, "fakescene")


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index on this machine, over HTTP, as the user's pip is told about it."""
    root = tmp_path / "index"
    root.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
    yield root
    server.shutdown()


def publish(index: Path, make, *args) -> Archive:
    folder = index / "simple" / "tmp"
    folder.mkdir(parents=True)
    archive = make(folder, *args)
    folder = folder.rename(folder.parent / archive.name)
    (folder / "index.html").write_text(f'<a href="{archive.filename}">{archive.filename}</a>')
    return archive


def test_a_wheel_comes_through_the_configured_index(index, tmp_path):
    archive = publish(index, make_wheel)
    path = download(archive, tmp_path / "out")
    assert files.sha256(path) == archive.sha256
    assert [p.name for p in (tmp_path / "out").iterdir()] == [archive.filename]  # nothing else is left


def test_a_source_archive_comes_without_running_its_code(index, tmp_path):
    marker = tmp_path / "marker"
    archive = publish(index, make_sdist, marker)
    assert download(archive, tmp_path / "out").exists()
    assert not marker.exists()


def test_another_file_under_the_same_name_is_refused(index, tmp_path):
    archive = replace(publish(index, make_wheel), sha256="0" * 64)
    with pytest.raises(DataError, match="another checksum"):
        download(archive, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("how", [{"PIP_NO_INDEX": "1"}, {"PIP_INDEX_URL": "http://127.0.0.1:9/simple"}])
def test_offline_says_so_in_one_line_and_leaves_nothing(tmp_path, monkeypatch, how):
    archive = make_wheel(tmp_path)
    for name, value in how.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(DataError) as caught:
        download(archive, tmp_path / "out")
    message = str(caught.value)
    assert "offline" in message and archive.filename in message and str(tmp_path / "out") in message
    assert "\n" not in message and "\x1b" not in message
    assert list((tmp_path / "out").iterdir()) == []


def test_a_full_disk_is_noticed_before_fetching(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(10, 9, 1)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match=r"needs .* MB .* free some space"):
        download(make_wheel(tmp_path), tmp_path / "out")


@pytest.fixture
def one_archive(index, monkeypatch):
    archive = publish(index, make_wheel)
    monkeypatch.setattr(sample_archives, "ARCHIVES", {"fake": archive})
    return archive


def test_fetch_unpacks_once_and_then_reads_the_cache(one_archive, index):
    folder = sample_archives.fetch(["fake"])["fake"]
    assert (folder / "fakeben/hello.txt").read_text() == "hello"
    assert not (sample_archives.folder() / one_archive.filename).exists()  # the archive itself is not kept
    assert sample_archives.available() == {"fake": "ready"}
    for page in index.rglob("index.html"):
        page.unlink()
    assert sample_archives.fetch(["fake"])["fake"] == folder


def test_an_archive_put_there_by_hand_needs_no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    sample_archives.folder().mkdir(parents=True)
    archive = make_wheel(sample_archives.folder())
    monkeypatch.setattr(sample_archives, "ARCHIVES", {"fake": archive})
    assert (sample_archives.fetch(["fake"])["fake"] / "fakeben/hello.txt").exists()


def test_a_damaged_archive_put_there_by_hand_is_not_unpacked(monkeypatch):
    sample_archives.folder().mkdir(parents=True)
    archive = make_wheel(sample_archives.folder())
    monkeypatch.setattr(sample_archives, "ARCHIVES", {"fake": archive})
    path = sample_archives.folder() / archive.filename
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"checksum .* delete it and fetch again"):
        sample_archives.fetch(["fake"])
    assert sample_archives.available()["fake"].startswith("not fetched")
    assert {p.name for p in sample_archives.folder().iterdir()} == {".lock", archive.filename}


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("EO_SSL_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="set EO_SSL_CACHE"):
        sample_archives.fetch(["bigearthnet"])
