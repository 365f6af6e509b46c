import json
import shutil

import fake_patches as fake
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from eo_ssl.data import catalog as layouts
from eo_ssl.data.check import check
from eo_ssl.data.cli import register
from eo_ssl.data.check import FATAL, LEFT_OUT, WARNING
from eo_ssl.errors import DataError

SCENE = "ROIs1158_spring"


@pytest.fixture
def root(tmp_path):
    return fake.world(tmp_path / "data")


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
        ("s2", lambda a: a[:, :8, :8], "size"),
        ("s1", lambda a: 10 ** (-a), "range"),
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


def test_few_nan_are_a_warning_and_many_leave_the_patch_out(root):
    data = image("s1")
    data[0, 0, 0] = np.nan
    rewrite(root, "s1", data)
    assert found(check(root), "NaN", WARNING) and check(root).ok
    data[:, :8] = np.nan
    rewrite(root, "s1", data)
    assert found(check(root), "NaN", LEFT_OUT) and check(root).ok


def test_the_known_broken_patch_is_listed_and_not_fatal(tmp_path):
    root = fake.world(tmp_path)
    broken = fake.sen12ms("ROIs1868_summer", 146, numbers=(201, 202, 203, 204), epsg=32650)
    fake.make(root, broken)
    path = root / "ROIs1868_summer/s1_146/ROIs1868_summer_s1_146_p202.tif"
    data = fake.images(broken[1])["s1"]
    data[0, 3, 3] = np.nan
    fake.write(path, data, broken[1].epsg, broken[1].x, broken[1].y)
    report = check(root)
    assert report.ok
    assert [p.id for p in found(report, "NaN", LEFT_OUT)] == list(layouts.KNOWN_BROKEN)


def test_files_of_a_patch_that_show_other_places_are_fatal(root):
    rewrite(root, "s1", image("s1"), epsg=32633)
    assert found(check(root), "CRS mismatch", FATAL)
    rewrite(root, "s1", image("s1"), x=patch().x + 10)
    assert found(check(root), "CRS mismatch", FATAL)


def test_missing_georeferencing_is_reported(root):
    rewrite(root, "s1", image("s1"), epsg=None)
    assert "s1" in found(check(root), "no CRS", WARNING)[0].message


def test_duplicates_are_fatal_and_unknown_names_listed(root):
    (root / "copy").mkdir()
    shutil.copy(file(root, "s1"), root / "copy")
    (root / "other.tif").write_text("")
    report = check(root)
    assert found(report, "duplicate id", FATAL) and found(report, "unknown name", WARNING)


def test_a_patch_of_another_size_than_the_rest_is_fatal(root):
    for sensor in ("s1", "s2", "lc"):
        rewrite(root, sensor, image(sensor)[:, :8, :8])
    assert [p.id for p in found(check(root), "size", FATAL)] == [f"{SCENE}_8_p30"]


def test_digital_numbers_that_look_offset_are_pointed_out(tmp_path):
    patches = fake.sen12ms() + fake.sen12ms(scene=9, epsg=32633)
    fake.make(tmp_path, patches)
    assert not found(check(tmp_path), "S2 offset")
    for p in patches:
        data = fake.images(p)["s2"] + np.uint16(1000)
        fake.write(tmp_path / p.pattern.format("s2"), data, p.epsg, p.x, p.y)
    assert "look offset" in found(check(tmp_path), "S2 offset", WARNING)[0].message
    assert not found(check(tmp_path, s2_offset=1000), "S2 offset")


def test_an_offset_declared_but_not_there_is_pointed_out(tmp_path):
    fake.make(tmp_path, fake.sen12ms() + fake.sen12ms(scene=9, epsg=32633))
    assert "declared" in found(check(tmp_path, s2_offset=1000), "S2 offset", WARNING)[0].message


def test_a_sample_opens_only_so_many(root):
    report = check(root, sample=5)
    assert (report.patches, report.checked) == (36, 5)


def test_training_patches_without_labels_leave_nothing(tmp_path):
    root = fake.make(tmp_path, fake.layout_a())
    shutil.rmtree(root / "ROIs0000_validation/dfc_validation")
    report = check(root)
    assert not report.ok and found(report, "nothing left", FATAL)


@pytest.fixture
def run():
    app = typer.Typer()
    register(app)
    return lambda *args: CliRunner().invoke(app, [str(a) for a in args])


def test_the_command_prints_a_table_and_its_status_says_whether_training_can_start(root, run):
    result = run("check", root)
    assert result.exit_code == 0 and "training can start" in result.stdout
    file(root, "s2").write_bytes(b"")
    result = run("check", root)
    assert result.exit_code == 1 and f"{SCENE}_8_p30" in result.stdout and "fatal" in result.stdout


def test_the_command_prints_json(root, run):
    result = run("check", root, "--json", "--sample", 3)
    report = json.loads(result.stdout[result.stdout.index("{") : result.stdout.rindex("}") + 1])
    assert report["ok"] is True and report["checked"] == 3


def test_a_store_is_packed_by_the_command_and_compared_with_its_checksums(root, run, tmp_path):
    store = tmp_path / "store"
    result = run("pack", root, store, "--verify")
    assert result.exit_code == 0 and "MB" in result.stdout
    assert run("check", store).exit_code == 0
    next((store / "shards").glob("*.labels")).write_bytes(b"damaged")
    result = run("check", store)
    assert result.exit_code == 1 and "does not match" in result.stdout
    assert json.loads(run("check", store, "--json").stdout)["ok"] is False


def test_a_folder_without_patches_is_a_clear_error(tmp_path):
    with pytest.raises(DataError, match="no SEN12MS or DFC2020 patches"):
        check(tmp_path)
