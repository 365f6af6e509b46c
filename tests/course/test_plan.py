"""Everything a user can get wrong is found before anything runs, in one line that says what would fit."""

import pytest
import torch

from eo_ssl.course import session as places
from eo_ssl.course.plan import make_plan
from eo_ssl.errors import ConfigError, DataError
from eo_ssl.profiles import PROFILES


@pytest.fixture(autouse=True)
def chapters(write):
    write("00_first", "1 + 1")
    write(
        "01_second",
        "epochs",
        parameters='profile = "laptop"\ndata = "simulated"\nrun_dir = ""\nseed = 0\nepochs = 3',
    )


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"profile": "laptp"}, ConfigError, "did you mean laptop"),
        ({"profile": ""}, ConfigError, "smoke, laptop, gpu, paper"),
        ({"seed": -1}, ConfigError, "whole number"),
        ({"seed": True}, ConfigError, "whole number"),
        ({"data": "simulatd"}, DataError, "did you mean simulated"),
        ({"data": "/no/such/folder"}, DataError, "SEN12MS or DFC2020"),
        ({"only": ["secnd"]}, ConfigError, "did you mean 01_second"),
        ({"only": ["42"]}, ConfigError, "there are 00_first, 01_second"),
        ({"extra": {"epoch": "4"}}, ConfigError, "did you mean epochs"),
        ({"extra": {"epochs": "many"}}, ConfigError, "takes a int such as 3"),
        ({"extra": {"seed": "4"}}, ConfigError, "--seed"),
    ],
)
def test_a_setting_that_does_not_fit_is_named_with_what_would(folder, tmp_path, settings, error, words):
    with pytest.raises(error, match=words) as caught:
        make_plan(folder, **{"profile": "smoke", "run_dir": tmp_path / "run", **settings})
    assert "\n" not in str(caught.value)


def test_an_extra_parameter_gets_the_type_of_its_default_and_goes_only_where_it_belongs(folder, tmp_path):
    plan = make_plan(folder, "smoke", run_dir=tmp_path / "run", extra={"epochs": "7"})
    first, second = plan.chapters
    assert second.parameters["epochs"] == 7
    assert "epochs" not in first.parameters


def test_a_run_folder_that_cannot_be_written_is_refused(folder, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ConfigError, match="cannot write there"):
        make_plan(folder, "smoke", run_dir=tmp_path / "file" / "run")


def test_a_full_disk_is_noticed_before_the_run(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10**6})())
    with pytest.raises(DataError, match="free some space"):
        make_plan(folder, "smoke", run_dir=tmp_path / "run")


FILES = {
    "sen12ms": (
        "ROIs1158_spring/s1_8/ROIs1158_spring_s1_8_p1.tif",
        "ROIs1158_spring/s2_8/ROIs1158_spring_s2_8_p1.tif",
    ),
    "train": tuple(
        f"ROIs0000_validation/{s}_validation/ROIs0000_validation_{s}_0_p1.tif" for s in ("s1", "s2", "dfc")
    ),
    "test": tuple(f"ROIs0000_test/{s}_0/ROIs0000_test_{s}_0_p1.tif" for s in ("s1", "s2", "dfc")),
}


@pytest.fixture
def data_root(tmp_path):
    """`data_root(leave_out)` makes a root of empty files in both layouts, but for names that hold these words."""

    def make(*leave_out):
        root = tmp_path / "data"
        for name in (name for names in FILES.values() for name in names):
            if not any(word in name for word in leave_out):
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).touch()
        return root

    return make


@pytest.mark.parametrize("profile", [p for p in PROFILES.values() if p.requires_gpu], ids=lambda p: p.name)
def test_a_profile_that_needs_a_gpu_says_so_where_there_is_none(
    folder, tmp_path, monkeypatch, profile, data_root
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10**12})())
    settings = {"run_dir": tmp_path / "run", "data": str(data_root())}
    with pytest.raises(ConfigError, match="needs a CUDA GPU"):
        make_plan(folder, profile.name, **settings)
    assert make_plan(folder, profile.name, **settings, dry=True).profile is profile
    monkeypatch.setenv("EO_SSL_ALLOW_CPU", "1")
    assert make_plan(folder, profile.name, **settings).profile is profile


def test_paper_is_not_run_on_simulated_data_and_its_rehearsal_is(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("EO_SSL_ALLOW_CPU", "1")
    with pytest.raises(ConfigError, match="SEN12MS and DFC2020; paper-rehearsal goes the same way"):
        make_plan(folder, "paper", run_dir=tmp_path / "run")
    assert make_plan(folder, "paper", run_dir=tmp_path / "run", dry=True).profile.name == "paper"
    assert not make_plan(folder, "paper-rehearsal", run_dir=tmp_path / "run").profile.is_evidence


@pytest.mark.parametrize(
    ("leave_out", "words"),
    [
        (
            ["spring"],
            "no SEN12MS radar images .s1., no SEN12MS optical images .s2.; pretraining needs SEN12MS",
        ),
        (["ROIs0000"], "no DFC2020 radar images .s1., no DFC2020 optical images .s2., no DFC2020 labels"),
        (["_test_"], "no DFC2020 test patches .ROIs0000_test."),
        (["dfc"], "no DFC2020 labels .dfc."),
        (["spring_s2"], "no SEN12MS optical images"),
    ],
)
def test_half_a_data_root_is_named_with_what_is_missing(
    folder, tmp_path, monkeypatch, write, data_root, leave_out, words
):
    write("03_learning", "1")  # from here on all parts are needed
    root = str(data_root(*leave_out))
    with pytest.raises(DataError, match=words) as caught:
        make_plan(folder, "smoke", data=root, run_dir=tmp_path / "run")
    assert "\n" not in str(caught.value) and "eo-ssl data check" in str(caught.value)
    assert make_plan(folder, "smoke", data=root, run_dir=tmp_path / "run", only=["01"])


def test_a_notebook_without_the_parameters_is_named(folder, tmp_path, write):
    write("02_third", parameters='profile = "laptop"')
    with pytest.raises(DataError, match=r"02_third\.ipynb.*lacks data, run_dir, seed"):
        make_plan(folder, "smoke", run_dir=tmp_path / "run")


def test_an_empty_folder_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no notebooks"):
        make_plan(tmp_path / "empty", "smoke", run_dir=tmp_path / "run")


def test_a_file_that_is_no_notebook_is_named(folder, tmp_path):
    (folder / "02_broken.ipynb").write_text("{")
    with pytest.raises(DataError, match=r"02_broken\.ipynb: not a readable notebook"):
        make_plan(folder, "smoke", run_dir=tmp_path / "run")


def keys(folder, tmp_path, **settings):
    plan = make_plan(folder, **{"profile": "smoke", "run_dir": tmp_path / "run", **settings})
    return [chapter.key for chapter in plan.chapters]


def test_keys_do_not_depend_on_the_run_folder(folder, tmp_path):
    assert keys(folder, tmp_path) == keys(folder, tmp_path, run_dir=tmp_path / "other")


@pytest.mark.parametrize("settings", [{"seed": 1}, {"profile": "laptop"}])
def test_keys_depend_on_the_settings(folder, tmp_path, settings):
    before, after = keys(folder, tmp_path), keys(folder, tmp_path, **settings)
    assert all(a != b for a, b in zip(before, after, strict=True))


def test_code_changes_a_chapter_and_all_later_ones_and_prose_changes_none(folder, tmp_path, write):
    before = keys(folder, tmp_path)
    write("00_first", "1 + 1", prose="New words.")
    assert keys(folder, tmp_path) == before
    write("00_first", "1 + 2")
    assert all(a != b for a, b in zip(before, keys(folder, tmp_path), strict=True))
    write("00_first", "1 + 1")
    write("01_second", "epochs + 1", parameters='profile = ""\ndata = ""\nrun_dir = ""\nseed = 0\nepochs = 3')
    after = keys(folder, tmp_path)
    assert after[0] == before[0] and after[1] != before[1]


def test_keys_depend_on_the_package_source(folder, tmp_path, monkeypatch):
    before = keys(folder, tmp_path)
    monkeypatch.setattr(places, "package_hash", lambda: "another package")
    assert keys(folder, tmp_path) != before


def test_keys_depend_on_whether_the_real_patches_are_there(folder, tmp_path, monkeypatch):
    before = keys(folder, tmp_path)
    monkeypatch.setattr("eo_ssl.data.sample_archives.available", lambda: {"benv2": "ready"})
    assert keys(folder, tmp_path) != before
