"""The packed store: exact as stated, finished after any interruption, and honest about damage."""

import itertools
import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import fake_patches as fake
import forked
import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from typer.testing import CliRunner

from eo_ssl import files
from eo_ssl.data import catalog, dataset, geotiff
from eo_ssl.data import store as module
from eo_ssl.data.cli import app
from eo_ssl.data.source import TiffSource
from eo_ssl.data.store import StoreSource, pack, verify
from eo_ssl.errors import DataError


@pytest.fixture
def out(store, tmp_path):
    """The root packed."""
    return Path(shutil.copytree(store, tmp_path / "store"))


@pytest.fixture
def encoded(monkeypatch):
    """Ids of the patches that are packed from here on."""
    ids, encode = [], module.encode
    monkeypatch.setattr(
        module, "encode", lambda patch, **how: ids.append(patch["id"]) or encode(patch, **how)
    )
    return ids


def contents(folder):
    """Every file of a store and its bytes."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != ".lock")
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths}


def test_packing_again_or_by_threads_or_a_cluster_gives_the_same_bytes(root, out, tmp_path):
    first = contents(out)
    assert contents(pack(root, out)) == first
    with ThreadPoolExecutor(3) as pool:
        assert contents(pack(root, tmp_path / "threads", pool)) == first
    distributed = pytest.importorskip("distributed")
    threads = {"n_workers": 1, "threads_per_worker": 2, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**threads) as cluster:
        command = ["pack", str(root), str(tmp_path / "a"), "--scheduler", cluster.scheduler_address]
        result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert contents(tmp_path / "a") == first


def test_sound_rows_are_kept_and_damaged_ones_made_again(root, out, encoded):
    before = contents(out)
    for row, part in enumerate(("s1", "s2", "labels")):
        data = np.load(out / f"{part}.npy", mmap_mode="r+")
        data[row].reshape(-1)[7] ^= 1
        data.flush()
    ids = catalog.find(root)["id"].tolist()
    assert verify(out) == [f"{patch}: does not match its checksum" for patch in ids[:3]]
    assert contents(pack(root, out)) == before and verify(out) == []
    assert encoded == ids[:3]


@pytest.mark.parametrize("part", ["s1.npy", "rows.npy", "catalog.parquet"])
def test_a_part_that_is_lost_or_cut_is_named_and_made_again(root, out, part):
    before = contents(out)
    for change in (lambda path: os.truncate(path, 50), lambda path: path.unlink()):
        change(out / part)
        assert "missing or damaged" in verify(out)[0]
        with pytest.raises(DataError, match=f"{part}: missing or damaged"):
            dataset.open_source(out)
        assert contents(pack(root, out)) == before


def test_only_changed_source_files_are_packed_again_and_the_store_is_another(root, out, encoded):
    before = catalog.identity(out)
    assert catalog.identity(pack(root, out)) == before and not encoded
    patch = catalog.find(root).iloc[0]
    darker = geotiff.read_s1(root / patch["s1"]) - 5
    fake.write(root / patch["s1"], darker, int(patch["epsg"]), patch["x"], patch["y"])
    source = StoreSource(pack(root, out))
    assert np.abs(source.read(0)["s1"] - darker).max() < 0.003 and encoded == [patch["id"]]
    assert catalog.identity(out) != before


def test_patches_that_are_gone_or_lost_a_partner_disappear(root, out):
    shutil.rmtree(root / "ROIs1868_summer")
    lost = catalog.find(root).iloc[3]
    (root / lost["s2"]).unlink()
    source = StoreSource(pack(root, out))
    ids = source.catalog["id"]
    assert len(ids) == 27 and lost["id"] not in set(ids) and not ids.str.startswith("ROIs1868").any()
    assert verify(out) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"format": "something else"}', "does not describe a packed store"),
        ('{"format": "eo_ssl store", "version": 1}', "store version 1, this program reads 2; pack again"),
    ],
)
def test_a_store_of_another_kind_or_edition_is_refused_and_replaced(root, out, text, said):
    (out / "store.json").write_text(text)
    with pytest.raises(DataError, match=said):
        dataset.open_source(out)
    assert said in verify(out)[0]
    assert verify(pack(root, out)) == []


def test_an_unreadable_file_stops_packing_by_name_and_what_was_packed_is_no_store(root, tmp_path):
    found = catalog.find(root)
    path = root / found["s2"][5]
    for damage in (
        lambda: fake.write(path, np.ones((13, 8, 8), np.uint16)),  # smaller than its header was
        lambda: path.write_bytes(b"nonsense"),
    ):
        damage()
        with pytest.raises(DataError, match=path.name):
            pack(root, tmp_path / "store", catalog=found)
    assert not module.is_store(tmp_path / "store")
    with pytest.raises(DataError):
        dataset.open_source(tmp_path / "store")


def test_waiting_for_another_process_is_said_and_ends(world, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "locked", partial(files.locked, timeout=0.2))
    (tmp_path / "store").mkdir()
    with FileLock(tmp_path / "store/.lock"), pytest.raises(DataError, match="still held by another process"):
        pack(world, tmp_path / "store")


def test_a_full_disk_is_an_error_before_anything_is_packed(world, tmp_path, monkeypatch):
    full = OSError(28, "No space left on device")
    monkeypatch.setattr(os, "posix_fallocate", Mock(side_effect=full), raising=False)
    with pytest.raises(DataError, match="No space left on device; free some space"):
        pack(world, tmp_path / "store")
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(DataError, match="free"):
        pack(world, tmp_path / "other")


def test_a_simulated_root_is_packed_on_opening_and_found_again(root, encoded, monkeypatch):
    files.write_json(root / "dataset.json", {"name": "simulated", "version": "1"})
    assert isinstance(dataset.open_source(root), StoreSource) and len(encoded) == 36
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # it may be written no longer
    assert dataset.open_source(root).path == root / ".store" and len(encoded) == 36
    assert isinstance(dataset.open_source(root, packed=False), TiffSource)


def pack_and_die(root, out, left):
    """Pack, and end as by kill -9 before the step that comes after `left` others."""
    done = itertools.count()

    def counted(step):
        def call(*args, **named):
            if next(done) == left:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(*args, **named)

        return call

    for name in ("encode", "_checksum", "_finish"):
        setattr(module, name, counted(getattr(module, name)))
    pack(root, out)


@pytest.mark.kill
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_run_killed_at_any_step_ends_like_an_uninterrupted_one(root, out, tmp_path, encoded):
    expected, again = contents(out), tmp_path / "killed"
    for step in (0, 40, 41, 90, 108):  # 36 rows are looked at, 36 read and checked, and the end is written
        process = forked.start(pack_and_die, root, again, step)
        process.join()
        assert process.exitcode == -signal.SIGKILL and not module.is_store(again)
        assert contents(pack(root, again)) == expected and verify(again) == []
        shutil.rmtree(again)
    assert len(encoded) == 36 + 34 + 34 + 9 + 0  # what was packed is kept


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="this system does not list what is mapped")
def test_a_store_that_was_unmapped_keeps_no_file_open_and_reads_on(out):
    source = StoreSource(out)
    before = source.read(0)
    source.unmap()
    assert str(out) not in Path("/proc/self/maps").read_text()
    assert all(np.array_equal(source.read(0)[name], value, equal_nan=True) for name, value in before.items())


def test_files_that_were_not_packed_here_are_left_alone(root, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "s1.npy").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"holds a s1\.npy that was not packed here"):
        pack(root, tmp_path / "mine")
    assert contents(tmp_path / "mine") == {"s1.npy": b"mine"}


def test_a_changed_catalog_is_told_by_its_checksum(out):
    table = pd.read_parquet(out / "catalog.parquet")
    table.assign(majority=0).to_parquet(out / "catalog.parquet")
    assert verify(out) == [f"{out / 'catalog.parquet'}: does not match its checksum; pack the data again"]
