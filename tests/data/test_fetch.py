"""Fetching: the user's pip counts, the checksum decides, only wanted files are written, all of them or none."""

import contextlib
import functools
import http.server
import io
import lzma
import os
import signal
import stat
import subprocess
import sys
import tarfile
import threading
import zipfile
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eo_ssl import files
from eo_ssl.data import fetch as module
from eo_ssl.data.fetch import Archive, cached, fetch, folder, safe_name, unpack
from eo_ssl.errors import DataError

ANY = ("*",)
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


def make_zip(path: Path, members: dict[str, bytes], mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return path


def make_tar(
    path: Path, members: dict[str, bytes], mode: str = "w:bz2", kind: bytes = tarfile.REGTYPE
) -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(content), kind, "/etc/passwd"
            archive.addfile(info, io.BytesIO(content))
    return path


def describe(path: Path, name: str) -> Archive:
    return Archive(
        name, "1.0", path.name, files.sha256(path), path.stat().st_size, 10_000, ("*.txt", "*.tar.bz2")
    )


def make_wheel(where: Path) -> Archive:
    nested = make_tar(where / "n", {"inner/a.json": b"{}", "inner/a.py": b"code"}).read_bytes()
    about = {"METADATA": b"Metadata-Version: 2.1\nName: fakeben\nVersion: 1.0\n", "RECORD": b""}
    about["WHEEL"] = b"Wheel-Version: 1.0\nTag: py3-none-any\n"
    content = {f"fakeben-1.0.dist-info/{name}": text for name, text in about.items()}
    content |= {"fakeben/hello.txt": b"hello", "fakeben/code.py": b"code", "fakeben/set.tar.bz2": nested}
    (where / "n").unlink()
    return describe(make_zip(where / "fakeben-1.0-py3-none-any.whl", content), "fakeben")


def make_sdist(where: Path, marker: Path) -> Archive:
    about = b"Metadata-Version: 1.0\nName: fakescene\nVersion: 1.0\n"
    content = {"setup.py": SETUP.format(str(marker)).encode(), "data/hello.txt": b"hello", "PKG-INFO": about}
    path = where / "fakescene-1.0.tar.gz"
    return describe(
        make_tar(path, {f"fakescene-1.0/{k}": v for k, v in content.items()}, "w:gz"), "fakescene"
    )


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Publish an archive on a package index on this machine, as the user's pip is told about it."""
    root = tmp_path / "index"

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")

    def put(make, *args, **changes):
        page = (
            root
            / "simple"
            / make.__name__.replace("make_wheel", "fakeben").replace("make_sdist", "fakescene")
        )
        page.mkdir(parents=True)
        archive = make(page, *args)
        (page / "index.html").write_text(f'<a href="{archive.filename}">{archive.filename}</a>')
        monkeypatch.setattr(module, "ARCHIVES", {"fake": replace(archive, **changes)})
        return page

    yield put
    server.shutdown()


def names(where: Path) -> set[str]:
    return {str(p.relative_to(where)) for p in where.rglob("*") if not p.is_dir()}


def test_a_wheel_is_fetched_once_and_only_its_data_are_kept(publish):
    page = publish(make_wheel)
    assert module.available() == {"fake": "not fetched (0 MB)"}
    where = fetch(["fake"])["fake"]
    assert names(where) == {"fakeben/hello.txt", "inner/a.json"}
    assert module.available() == {"fake": "ready"}
    assert {p.name for p in folder().iterdir()} - {".lock"} == {where.name}  # nothing else is left
    (page / "index.html").unlink()
    assert fetch(["fake"])["fake"] == where


def test_a_source_archive_comes_without_running_its_code(publish, tmp_path):
    publish(make_sdist, tmp_path / "marker")
    assert (fetch(["fake"])["fake"] / "fakescene-1.0/data/hello.txt").read_text() == "hello"
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    ("environment", "changes", "said"),
    [
        ({}, {"sha256": "0" * 64}, "another checksum"),
        ({}, {"size": 10**18}, r"needs .* MB .* free some space"),
        (
            {"PIP_NO_INDEX": "1"},
            {},
            r"fakeben-1\.0-py3-none-any\.whl .*offline.* put the file into .*samples by hand",
        ),
        ({"PIP_INDEX_URL": "http://127.0.0.1:9/simple"}, {}, "are you offline"),
    ],
)
def test_what_cannot_be_fetched_is_one_line_and_leaves_nothing(
    publish, monkeypatch, environment, changes, said
):
    publish(make_wheel, **changes)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(DataError, match=said) as caught:
        fetch(["fake"])
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)
    assert {p.name for p in folder().iterdir()} <= {".lock"}


@pytest.mark.parametrize("damaged", [False, True])
def test_an_archive_put_there_by_hand_needs_no_network_and_is_verified(monkeypatch, damaged):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    folder().mkdir(parents=True)
    archive = make_wheel(folder())
    monkeypatch.setattr(module, "ARCHIVES", {"fake": archive})
    path = folder() / archive.filename
    if damaged:
        path.write_bytes(path.read_bytes()[:-5])
        with pytest.raises(DataError, match=r"checksum .* delete it and fetch again"):
            fetch(["fake"])
        assert {p.name for p in folder().iterdir()} - {".lock"} == {archive.filename}
    else:
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


def test_a_disk_that_fills_up_is_not_called_a_broken_archive(tmp_path, monkeypatch):
    source = make_zip(tmp_path / "a.zip", {"a": b"x"})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.shutil, "copyfileobj", full)
    with pytest.raises(DataError, match=r"cannot be written \(No space left on device\); make room"):
        cached(tmp_path / "cache" / "set", lambda work: unpack(source, work, ANY, 1000))
    assert not (tmp_path / "cache" / "set").exists()


_KILL_ME = """
import sys, time
from pathlib import Path
from eo_ssl.data.fetch import cached
def fill(work):
    (work / "half").write_text("half")
    print("ready", flush=True)
    time.sleep(float(sys.argv[2]))
cached(Path(sys.argv[1]), fill)
"""


def start(target: Path, seconds: float) -> subprocess.Popen:
    child = subprocess.Popen(
        [sys.executable, "-c", _KILL_ME, str(target), str(seconds)], stdout=subprocess.PIPE
    )
    assert child.stdout.readline() == b"ready\n"
    return child


@pytest.mark.kill
def test_a_kill_frees_the_lock_and_leaves_no_half_set(tmp_path):
    child = start(tmp_path / "set", 600)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not (tmp_path / "set").exists()
    cached(tmp_path / "set", lambda work: (work / "whole").touch())
    assert names(tmp_path / "set") == {"whole"} and not list(tmp_path.glob(".*.partial"))


def test_waiting_for_another_process_is_said_and_its_set_is_used(tmp_path, capsys):
    child = start(tmp_path / "set", 3)
    assert cached(tmp_path / "set", lambda work: pytest.fail("made twice")) == tmp_path / "set"
    assert "another process is about to fetch" in capsys.readouterr().err
    child.wait()


@pytest.fixture
def target(tmp_path) -> Path:
    path = tmp_path / "outer" / "target"
    path.mkdir(parents=True)
    return path


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "..", "a\\b", "C:x", "", "."])
def test_names_that_leave_the_folder_are_refused(name):
    with pytest.raises(DataError, match="outside its folder"):
        safe_name(name)


@given(st.text(min_size=1, max_size=30))
def test_every_accepted_name_stays_inside(name):
    with contextlib.suppress(DataError):
        inside = os.path.normpath(os.path.join("/root/target", str(safe_name(name))))
        assert inside.startswith("/root/target/") and ".." not in PurePosixPath(inside).parts


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize("escape", ["../evil.txt", "/tmp/eo-ssl-evil.txt", "a/../../evil.txt"])
def test_escaping_members_write_nothing_outside(tmp_path, target, make, escape):
    with pytest.raises(DataError, match="refused"):
        unpack(make(tmp_path / "a", {escape: b"x"}), target, ANY, 1000)
    assert names(tmp_path) == {"a"} and not Path("/tmp/eo-ssl-evil.txt").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, None])
def test_links_and_devices_are_refused(tmp_path, target, kind):
    make = functools.partial(make_tar, kind=kind) if kind else functools.partial(make_zip, mode=stat.S_IFLNK)
    with pytest.raises(DataError, match="link or a device"):
        unpack(make(tmp_path / "a", {"link": b""}), target, ANY, 1000)


def test_a_bomb_stops_at_the_limit_and_only_wanted_members_are_written(tmp_path, target):
    source = make_zip(tmp_path / "a.zip", {"keep/a.tif": bytes(900), "code.py": bytes(900)})
    with pytest.raises(DataError, match="more bytes"):
        unpack(source, target, ("*.py",), 1000)
    unpack(source, target, ("*.tif",), 1800)
    assert names(target) == {"keep/a.tif"}


@pytest.mark.parametrize("mode", ["zip", "w:bz2", "w:gz", "w:xz"])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_damaged_archive_is_a_data_error_that_names_it_and_never_escapes(tmp_path_factory, mode, data):
    where = tmp_path_factory.mktemp("damage")
    (where / "target").mkdir()
    content = {"a/b.bin": bytes(range(256)) * 8}
    source = make_zip(where / "a", content) if mode == "zip" else make_tar(where / "a", content, mode)
    raw = bytearray(source.read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    if data.draw(st.booleans()):
        raw[at] ^= data.draw(st.integers(1, 255))
    else:
        del raw[at:]
    source.write_bytes(raw)
    try:
        unpack(source, where / "target", ANY, 10_000)
    except DataError as error:
        assert str(source) in str(error) or "archive member" in str(error)
    assert {p.name for p in where.iterdir()} == {"target", "a"}


@pytest.mark.parametrize("content", [b"<html>blocked by the proxy</html>", lzma.compress(b"x" * 4096)[:40]])
def test_what_is_no_archive_is_one_line(tmp_path, target, content):
    (tmp_path / "a.whl").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.whl: broken archive .* fetch again") as caught:
        unpack(tmp_path / "a.whl", target, ANY, 1000)
    assert "\n" not in str(caught.value)
