"""Everything a user can get wrong is found before anything runs, in one line that says what would fit."""

import pytest
import torch

from eo_ssl.course import plan as plans
from eo_ssl.course.plan import make_plan
from eo_ssl.errors import ConfigError, DataError
from eo_ssl.profiles import PROFILES


@pytest.fixture(autouse=True)
def chapters(write):
    write("00_first", "1 + 1")
    write("01_second", "2 + 2")


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
    ],
)
def test_a_setting_that_does_not_fit_is_named_with_what_would(folder, tmp_path, settings, error, words):
    with pytest.raises(error, match=words) as caught:
        make_plan(folder, **{"profile": "smoke", "run_dir": tmp_path / "run", **settings})
    assert "\n" not in str(caught.value)


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
    write("01_second", "2 + 3")
    after = keys(folder, tmp_path)
    assert after[0] == before[0] and after[1] != before[1]


@pytest.fixture
def modules(folder, write, tmp_path, monkeypatch):
    """Three chapters over a small package of their own; `modules(name, text)` writes one of its files."""

    def put(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    monkeypatch.setattr(plans, "PACKAGE", tmp_path / "eo_ssl")
    put("eo_ssl/__init__.py", "")
    put("eo_ssl/losses/__init__.py", "")
    put("eo_ssl/losses/clip.py", "def clip():\n    from eo_ssl import deep\n")
    put("eo_ssl/deep.py", "x = 1")
    put("eo_ssl/course/__init__.py", "")
    put("eo_ssl/course/book.py", "y = 1")
    put("eo_ssl/show/explore.js", "1")
    put("notebooks/chapters/ch01.py", "from eo_ssl.losses import clip\nFILE = 'published.json'")
    put("notebooks/chapters/ch02.py", "z = 1")
    put("notebooks/chapters/published.json", "{}")
    put("notebooks/images/windows.svg", "<svg/>")
    write("01_second", "from chapters import ch01")
    write("02_third", "from chapters import ch02\nprint('windows.svg')")
    return put


@pytest.mark.parametrize(
    ("name", "text", "stale"),
    [
        (
            "notebooks/chapters/ch01.py",
            "from eo_ssl.losses import clip\nCOLOUR = 'published.json'",
            {"01_second"},
        ),
        ("notebooks/chapters/ch02.py", "z = 2", {"02_third"}),
        ("notebooks/chapters/ch02.py", "'A docstring.'\nz  =  1  # and a comment", set()),
        ("notebooks/chapters/published.json", "{1}", {"01_second"}),
        ("notebooks/images/windows.svg", "<svg></svg>", {"02_third"}),
        ("eo_ssl/losses/clip.py", "def clip():\n    return 1\n", {"01_second"}),
        ("eo_ssl/losses/__init__.py", "w = 1", {"01_second"}),
        ("eo_ssl/deep.py", "x = 2", {"01_second"}),
        ("eo_ssl/deep.py", "x = 1  # one", set()),
        ("eo_ssl/course/book.py", "y = 2", set()),
        ("eo_ssl/show/explore.js", "2", {"00_first", "01_second", "02_third"}),
    ],
)
def test_a_chapter_goes_stale_by_the_code_it_reaches_and_by_no_other(folder, modules, name, text, stale):
    before = plans.sources_of(folder)
    modules(name, text)
    after = plans.sources_of(folder)
    assert {path.stem for path in before if before[path] != after[path]} == stale


def test_of_the_real_course_tooling_is_no_matter_of_a_chapter_and_training_is(monkeypatch):
    from eo_ssl.course import session

    reached = {}
    real = plans._reached
    monkeypatch.setattr(
        plans,
        "_reached",
        lambda code, folder: reached.setdefault(len(reached), dict(real(code, folder))).items(),
    )
    stems = [path.stem for path in plans.sources_of(session.project_root() / "notebooks")]
    few_labels = reached[stems.index("08_few_labels")]
    assert {
        "eo_ssl.course.recipes",
        "eo_ssl.train.pretrain",
        "eo_ssl.losses.nt_xent",
        "chapters.ch08",
    } <= set(few_labels)
    tooling = {
        f"eo_ssl.course.{name}" for name in ("run", "plan", "cli", "book", "vendor", "student", "estimate")
    }
    assert not tooling & set(few_labels) and "chapters.ch05" not in few_labels


def test_keys_depend_on_whether_the_real_patches_are_there(folder, tmp_path, monkeypatch):
    before = keys(folder, tmp_path)
    monkeypatch.setattr("eo_ssl.data.fetch.available", lambda: {"benv2": "ready"})
    assert keys(folder, tmp_path) != before
