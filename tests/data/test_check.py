import json
import re
import shutil
from pathlib import Path

import fake_patches as fake
import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

from eo_ssl.data.catalog import KNOWN_BROKEN
from eo_ssl.data.check import FATAL, LEFT_OUT, WARNING, check, require_trainable
from eo_ssl.data.cli import app
from eo_ssl.data.dataset import open_source
from eo_ssl.errors import ConfigError, DataError
from eo_ssl.sensors import S2_BANDS


@pytest.fixture
def run():
    return lambda *args: CliRunner().invoke(app, [str(a) for a in args], catch_exceptions=True)


def rewrite(root, patch, sensors, change, **place):
    """Write files of a patch again, changed."""
    for sensor in sensors:
        fake.put(root, patch, sensor, change(fake.images(patch)[sensor]), **place)


def found(report, kind, severity=None):
    return [p for p in report.problems if p.kind == kind and severity in (None, p.severity)]


def with_nan(rows):
    return lambda a: np.where(np.arange(16)[:, None] < rows, np.nan, a).astype(np.float32)


WRONG = [
    ("bands", FATAL, ["lc"], lambda a: a[:2], {}),
    ("type", FATAL, ["s2"], lambda a: np.minimum(a // 16, 255).astype(np.uint8), {}),
    ("range", FATAL, ["s1"], lambda a: 10 ** (-a), {}),
    ("power", FATAL, ["s1"], lambda a: 10 ** (a / 10), {}),
    ("labels", FATAL, ["lc"], lambda a: a * 0 + 77, {}),
    ("NaN", WARNING, ["s1"], with_nan(1), {}),
    ("NaN", LEFT_OUT, ["s1"], with_nan(8), {}),
    ("no pair", LEFT_OUT, ["s1"], lambda a: a, {"x": 1.0}),
    ("no CRS", WARNING, ["s1", "s2", "lc"], lambda a: a, {"epsg": None}),
    ("no pair", LEFT_OUT, ["s2"], lambda a: a[:, :8, :8], {}),  # smaller than the other files of the patch
    ("no pair", LEFT_OUT, ["s1", "s2", "lc"], lambda a: a[:, :8, :8], {}),  # than the other patches
]


def test_what_is_wrong_with_a_patch_is_named_and_said_how_bad_it_is(tmp_path):
    patches = fake.sen12ms(numbers=range(30, 60), across=6)
    root = fake.make(tmp_path, patches)
    for patch, (_, _, sensors, change, place) in zip(patches, WRONG):
        rewrite(root, patch, sensors, change, **place)
    *rest, gone, empty, text = patches
    (root / gone.pattern.format("s1")).unlink()
    (root / empty.pattern.format("s2")).write_bytes(b"")
    (root / text.pattern.format("s2")).write_bytes(b"this is no image")
    (root / "copy").mkdir()
    shutil.copy(root / rest[-1].pattern.format("s1"), root / "copy")
    (root / "other.tif").write_text("")
    report = check(root)
    wrong = {patch.id: case[:2] for patch, case in zip(patches, WRONG)}
    wrong |= {gone.id: ("missing partner", LEFT_OUT)}
    wrong |= dict.fromkeys((empty.id, text.id), ("unreadable", FATAL))
    assert {p.id: (p.kind, p.severity) for p in report.problems if p.id in wrong} == wrong
    others = [p for p in report.problems if p.id not in wrong]
    assert {p.kind for p in others} == {"duplicate id", "unknown name", "splits"}
    assert Path(empty.pattern.format("s2")).name in found(report, "unreadable")[0].message


def test_the_known_broken_patch_is_listed_and_not_fatal(root):
    patches = fake.sen12ms("ROIs1868_summer", 146, numbers=(201, 202, 203, 204), epsg=32650)
    fake.make(root, patches)
    rewrite(root, patches[1], ["s1"], with_nan(1))
    report = check(root)
    assert report.ok and [p.id for p in found(report, "no pair", LEFT_OUT)] == list(KNOWN_BROKEN)
    source = open_source(root)
    assert list(source.left_out) == list(KNOWN_BROKEN) and "" in set(source.catalog["split"])


def test_digital_numbers_that_look_offset_are_pointed_out_patch_by_patch(tmp_path):
    root = fake.make(tmp_path, fake.two_scenes())
    assert not found(check(root), "S2 offset")
    card = root / "dataset.json"
    card.write_text('{"s2_offset": 1000}')
    assert len(found(check(root), "S2 offset", FATAL)) == 8  # declared but not there
    offset = fake.two_scenes()[:3]
    for patch in offset:
        rewrite(root, patch, ["s2"], lambda data: data + np.uint16(1000))
    report = check(root)
    assert not report.ok and len(found(report, "S2 offset", FATAL)) == 5
    card.unlink()
    unsaid = found(check(root), "S2 offset", WARNING)
    assert [p.id for p in unsaid] == [patch.id for patch in offset]
    assert "looks offset" in unsaid[0].message and '"s2_offset": 1000 in dataset.json' in unsaid[0].message
    card.write_text(json.dumps({"s2_offset": {p.id: 1000 for p in unsaid}}))
    assert check(root).ok and not found(check(root), "S2 offset")


EUROSAT = [*range(8), *range(9, 13), 8]  # B8A comes last


@pytest.mark.parametrize(
    ("sensor", "change", "option"),
    [
        ("s1", lambda a: 10 ** (a / 10), {"s1_unit": "power"}),
        ("s1", lambda a: np.rint(a * 100).astype(np.int16), {"s1_scale": 0.01}),
        ("s2", lambda a: a[EUROSAT], {"s2_bands": [S2_BANDS[i] for i in EUROSAT]}),
    ],
)
def test_other_units_are_named_with_the_option_of_the_card_that_reads_them(tmp_path, sensor, change, option):
    root = fake.make(tmp_path, fake.two_scenes())
    for patch in fake.two_scenes():
        rewrite(root, patch, [sensor], change)
    (name,) = option
    assert sum(f'"{name}"' in p.message for p in check(root).problems) == 8
    (root / "dataset.json").write_text(json.dumps(option))
    assert check(root).problems == []
    patch, images = open_source(root).read(0), fake.images(fake.two_scenes()[0])
    np.testing.assert_allclose(patch["s1"], images["s1"], atol=0.0051)
    np.testing.assert_allclose(patch["s2"] * 1e4, images["s2"], atol=0.01)


UNTRAINABLE = {  # files by a part of their name, and what they become: None for no file
    "only ignored classes": ("_dfc_", lambda data: np.full_like(data, 3)),
    "no training labels": ("validation_dfc_", None),
    "all NaN": ("_s1_", lambda data: data * np.nan),
    "no pair": ("_s1_", None),
    "one scene": ("ROIs1868|ROIs1158_spring_.*_9_p", None),
    "few good": (r"_s2_.*_p(?!30\.)", lambda data: data * 0),
}


@pytest.mark.parametrize("damage", UNTRAINABLE)
def test_the_verdict_is_as_strict_as_what_training_needs(root, tmp_path, run, damage):
    pattern, change = UNTRAINABLE[damage]
    for path in [path for path in root.rglob("*.tif") if re.search(pattern, path.name)]:
        with rasterio.open(path) as file:
            data, epsg, corner = file.read(), file.crs.to_epsg(), file.transform
        if change:
            fake.write(path, change(data), epsg, corner.c, corner.f)
        else:
            path.unlink()
    assert not check(root).ok
    with pytest.raises(DataError) as caught:
        source = open_source(root)
        for task in ("pretrain", "single"):
            require_trainable(source, 8, task)
    assert str(root) in str(caught.value) and "\n" not in str(caught.value)
    assert run("pack", root, tmp_path / "store").exit_code != 0


def test_the_verdict_goes_by_the_holdout_of_the_card(root):
    (root / "dataset.json").write_text('{"holdout": "held.txt"}')
    assert "held.txt" in found(check(root), "splits", FATAL)[0].message
    (root / "held.txt").write_text("ROIs1158_spring/s1_9\n")
    assert "pretraining hold-out as listed in held.txt" in check(root).notes


def test_sound_data_can_be_trained_on_with_crops_that_fit(source):
    for task in ("pretrain", "single", "multi", "segment"):
        require_trainable(source, 16, task)
        with pytest.raises(ConfigError, match="crops of 128 px are larger than the patches"):
            require_trainable(source, 128, task)
    with pytest.raises(DataError, match="at least 999 patches"):
        require_trainable(source, pairs=999)


def test_the_command_prints_a_table_or_json_and_its_status_says_whether_training_can_start(root, run):
    result = run("check", root, "--json")
    report = json.loads(result.stdout[result.stdout.index("{") : result.stdout.rindex("}") + 1])
    assert report["ok"] is True and report["checked"] == 36 and report["problems"] == []
    assert "36 patches, 3 opened" in run("check", root, "--sample", 3).stdout
    next(root.rglob("ROIs1158_spring_s2_8_p30.tif")).write_bytes(b"")
    result = run("check", root)
    assert result.exit_code == 1 and "ROIs1158_spring_8_p30" in result.stdout and "fatal" in result.stdout


def test_a_store_is_packed_by_the_command_and_compared_with_its_checksums(root, run, tmp_path):
    store = tmp_path / "store"
    result = run("pack", root, store)
    assert result.exit_code == 0 and "MB" in result.stdout
    assert run("check", store).exit_code == 0
    labels = np.load(store / "labels.npy", mmap_mode="r+")
    labels[3] += 1
    labels.flush()
    result = run("check", store)
    assert result.exit_code == 1 and "does not match" in result.stdout
    assert json.loads(run("check", store, "--json").stdout)["ok"] is False
