import json
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

SCENE = "ROIs1158_spring"


@pytest.fixture
def run():
    return lambda *args: CliRunner().invoke(app, [str(a) for a in args], catch_exceptions=True)


@pytest.fixture
def root(world, tmp_path):
    return Path(shutil.copytree(world, tmp_path / "data"))


def file(root, sensor, number=30):
    return root / f"{SCENE}/{sensor}_8/{SCENE}_{sensor}_8_p{number}.tif"


def patch():
    return next(p for p in fake.sen12ms() if p.number == 30)


def rewrite(root, sensor, array, **options):
    place = {"epsg": 32609, "x": patch().x, "y": patch().y} | options
    return fake.write(file(root, sensor), array, **place)


def image(sensor):
    p = fake.Patch(patch().pattern, 32609, patch().x, patch().y, 30, False)
    return fake.images(p)[sensor].copy()


def found(report, kind, severity=None):
    return [p for p in report.problems if p.kind == kind and severity in (None, p.severity)]


def test_sound_data_have_no_problem_and_training_can_start(root):
    report = check(root)
    assert report.ok and report.problems == []
    assert report.patches == report.checked == 36
    assert report.counts["usable pretrain"] and report.counts["usable val"] and report.counts["usable test"]


@pytest.mark.parametrize(
    ("sensor", "change", "kind"),
    [
        ("s1", lambda a: a[:1], "bands"),
        ("s2", lambda a: a[:10], "bands"),
        ("lc", lambda a: a[:2], "bands"),
        ("s1", lambda a: a.astype(np.uint8), "type"),
        ("s2", lambda a: a.astype(np.float32), "type"),
        ("s2", lambda a: np.minimum(a // 16, 255).astype(np.uint8), "type"),
        ("s1", lambda a: 10 ** (-a), "range"),
        ("s1", lambda a: 10 ** (a / 10), "power"),
        ("lc", lambda a: a * 0 + 77, "labels"),
        ("lc", lambda a: a.astype(np.int32) - 40, "labels"),
    ],
)
def test_what_would_stop_training_is_fatal_and_named(root, sensor, change, kind):
    rewrite(root, sensor, change(image(sensor)))
    report = check(root)
    problems = found(report, kind, FATAL)
    assert problems and not report.ok
    assert {p.id for p in problems} == {f"{SCENE}_8_p30"}


def test_unreadable_files_are_fatal_and_named(root):
    for content in (b"", b"this is no image"):
        file(root, "s2").write_bytes(content)
        report = check(root)
        assert not report.ok
        assert file(root, "s2").name in found(report, "unreadable", FATAL)[0].message


def test_a_missing_partner_leaves_the_patch_out(root):
    file(root, "s1").unlink()
    report = check(root)
    assert report.ok and [p.id for p in found(report, "missing partner", LEFT_OUT)] == [f"{SCENE}_8_p30"]


@pytest.mark.parametrize(("rows", "severity"), [(1, WARNING), (8, LEFT_OUT)])
def test_few_nan_are_a_warning_and_many_leave_the_patch_out(root, rows, severity):
    data = image("s1")
    data[:, :rows] = np.nan
    rewrite(root, "s1", data)
    report = check(root)
    assert found(report, "NaN", severity) and report.ok


def test_the_known_broken_patch_is_listed_and_not_fatal(root):
    broken = fake.sen12ms("ROIs1868_summer", 146, numbers=(201, 202, 203, 204), epsg=32650)
    fake.make(root, broken)
    data = fake.images(broken[1])["s1"]
    data[0, 3, 3] = np.nan
    fake.write(root / broken[1].pattern.format("s1"), data, 32650, broken[1].x, broken[1].y)
    report = check(root)
    assert report.ok and [p.id for p in found(report, "NaN", LEFT_OUT)] == list(KNOWN_BROKEN)


@pytest.mark.parametrize(
    ("place", "kind", "severity", "said"),
    [
        ({"epsg": 32633}, "CRS mismatch", LEFT_OUT, "place"),
        ({"x": 500_010}, "CRS mismatch", LEFT_OUT, "place"),
        ({"epsg": None}, "no CRS", WARNING, "no georeferencing in s1"),
    ],
)
def test_files_of_a_patch_that_show_other_or_no_places_are_named(root, place, kind, severity, said):
    rewrite(root, "s1", image("s1"), **place)
    report = check(root)
    assert report.ok and said in found(report, kind, severity)[0].message


def test_duplicates_are_fatal_and_unknown_names_listed(root):
    (root / "copy").mkdir()
    shutil.copy(file(root, "s1"), root / "copy")
    (root / "other.tif").write_text("")
    report = check(root)
    assert found(report, "duplicate id", FATAL) and found(report, "unknown name", WARNING)


def test_a_patch_of_another_size_than_the_rest_is_left_out(root):
    rewrite(root, "s2", image("s2")[:, :8, :8])
    assert "sizes differ" in found(check(root), "size", LEFT_OUT)[0].message
    for sensor in ("s1", "s2", "lc"):
        rewrite(root, sensor, image(sensor)[:, :8, :8])
    assert "most patches 16" in found(check(root), "size", LEFT_OUT)[0].message


def scenes():
    return fake.sen12ms() + fake.sen12ms(scene=9, epsg=32633)


def offset_by(root, patches, amount=1000):
    for p in patches:
        data = fake.images(p)["s2"] + np.uint16(amount)
        fake.write(root / p.pattern.format("s2"), data, p.epsg, p.x, p.y)


def test_digital_numbers_that_look_offset_are_pointed_out(tmp_path):
    fake.make(tmp_path, scenes())
    assert not found(check(tmp_path), "S2 offset")
    assert len(found(check(tmp_path, s2_offset=1000), "S2 offset", FATAL)) == 8  # declared but not there
    offset_by(tmp_path, scenes())
    report = check(tmp_path)
    assert "looks offset" in found(report, "S2 offset", WARNING)[0].message
    assert report.options == {"s2_offset": 1000}
    assert not found(check(tmp_path, s2_offset=1000), "S2 offset")


@pytest.mark.parametrize("some", [slice(0, 4), slice(0, 3)], ids=["a scene", "some of a scene"])
def test_the_offsets_of_a_mixed_set_are_judged_patch_by_patch_and_fixed(tmp_path, run, some):
    root = fake.make(tmp_path, scenes())
    offset_by(root, scenes()[some])
    count = len(scenes()[some])
    assert len(found(check(root), "S2 offset", WARNING)) == count
    everywhere = check(root, s2_offset=1000)
    assert not everywhere.ok and len(found(everywhere, "S2 offset", FATAL)) == 8 - count
    assert run("check", root, "--fix").exit_code == 0
    assert not found(check(root), "S2 offset")
    for row, p in enumerate(scenes()):
        np.testing.assert_allclose(open_source(root).read(row)["s2"], fake.images(p)["s2"] / 1e4, atol=1e-6)


def test_units_that_all_files_agree_on_are_written_into_the_card(tmp_path, run):
    root = fake.make(tmp_path, scenes())
    order = [*range(8), *range(9, 13), 8]  # B8A last, as in EuroSAT
    for k, p in enumerate(scenes()):
        power = 10 ** (fake.images(p)["s1"] / 10)
        fake.write(root / p.pattern.format("s1"), power, p.epsg, p.x, p.y)
        fake.write(root / p.pattern.format("s2"), fake.images(p)["s2"][order], p.epsg, p.x, p.y)
        assert check(root).options.get("s1_unit") == ("power" if k == 7 else None)
    report = check(root)
    assert not report.ok and "another order" in found(report, "S2 bands", WARNING)[0].message
    assert run("check", root, "--fix").exit_code == 0
    patch = open_source(root).read(0)
    np.testing.assert_allclose(patch["s1"], fake.images(scenes()[0])["s1"], atol=1e-4)
    np.testing.assert_allclose(patch["s2"] * 1e4, fake.images(scenes()[0])["s2"], atol=0.01)


def test_the_step_of_integer_radar_files_is_found(tmp_path, run):
    root = fake.make(tmp_path, scenes())
    for p in scenes():
        steps = np.rint(fake.images(p)["s1"] * 100).astype(np.int16)
        fake.write(root / p.pattern.format("s1"), steps, p.epsg, p.x, p.y)
    assert not check(root).ok and check(root).options == {"s1_scale": 0.01}
    assert run("check", root, "--fix").exit_code == 0
    np.testing.assert_allclose(open_source(root).read(0)["s1"], fake.images(scenes()[0])["s1"], atol=0.0051)


def only_ignored(root):
    for path in root.rglob("*_dfc_*.tif"):
        rewrite_in_place(path, lambda data: np.full_like(data, 3))  # savanna: not among the eight


def unlabelled(root):
    shutil.rmtree(root / "ROIs0000_validation/dfc_validation")


def all_nan(root):
    for path in root.rglob("*_s1_*.tif"):
        rewrite_in_place(path, lambda data: data * np.nan)


def no_pair(root):
    for path in root.rglob("*_s1_*.tif"):
        path.unlink()


def one_scene(root):
    shutil.rmtree(root / "ROIs1868_summer")
    for path in root.rglob("ROIs1158_spring_*_9_*.tif"):
        path.unlink()


def few_good(root):
    for path in root.rglob("*_s2_*.tif"):
        if not path.name.endswith("_p30.tif"):
            rewrite_in_place(path, lambda data: data * 0)


def oblong(root):
    for path in root.rglob("*.tif"):
        rewrite_in_place(path, lambda data: data[:, :8])


def rewrite_in_place(path, change):
    with rasterio.open(path) as file:
        data, epsg, corner = file.read(), file.crs.to_epsg(), file.transform
    fake.write(path, change(data), epsg, corner.c, corner.f)


@pytest.mark.parametrize("damage", [only_ignored, unlabelled, all_nan, no_pair, one_scene, few_good, oblong])
def test_the_verdict_is_as_strict_as_what_training_needs(root, tmp_path, run, damage):
    damage(root)
    assert not check(root).ok
    refused = 0
    for packed in (False, True):
        for task in ("pretrain", "single"):
            try:
                require_trainable(open_source(root, packed=packed), 8, task)
            except DataError as error:
                refused += 1
                assert str(root) in str(error) and "\n" not in str(error)
    assert refused >= 2
    assert run("pack", root, tmp_path / "store").exit_code != 0


@pytest.mark.parametrize("packed", [False, True])
def test_sound_data_can_be_trained_on_with_crops_that_fit(root, packed):
    source = open_source(root, packed=packed)
    for task in ("pretrain", "single", "multi", "segment"):
        require_trainable(source, 16, task)
        with pytest.raises(ConfigError, match="crops of 128 px are larger than the patches"):
            require_trainable(source, 128, task)
    with pytest.raises(DataError, match="at least 999 patches"):
        require_trainable(source, pairs=999)


def test_the_command_prints_a_table_or_json_and_its_status_says_whether_training_can_start(root, run):
    result = run("check", root, "--json", "--sample", 3)
    report = json.loads(result.stdout[result.stdout.index("{") : result.stdout.rindex("}") + 1])
    assert report["ok"] is True and report["checked"] == 3
    file(root, "s2").write_bytes(b"")
    result = run("check", root)
    assert result.exit_code == 1 and f"{SCENE}_8_p30" in result.stdout and "fatal" in result.stdout


def test_a_store_is_packed_by_the_command_and_compared_with_its_checksums(root, run, tmp_path):
    store = tmp_path / "store"
    result = run("pack", root, store, "--verify")
    assert result.exit_code == 0 and "MB" in result.stdout
    assert run("check", store).exit_code == 0
    labels = np.load(store / "labels.npy", mmap_mode="r+")
    labels[3] += 1
    labels.flush()
    result = run("check", store)
    assert result.exit_code == 1 and "does not match" in result.stdout
    assert json.loads(run("check", store, "--json").stdout)["ok"] is False


def test_a_folder_without_patches_is_a_clear_error(tmp_path):
    with pytest.raises(DataError, match="no SEN12MS or DFC2020 patches"):
        check(tmp_path)
