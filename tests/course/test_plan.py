"""Everything a user can get wrong is found before anything runs, in one line that says what would fit."""

import pytest
import torch

from eo_ssl.course import plan as plans
from eo_ssl.course.plan import make_plan
from eo_ssl.errors import ConfigError, DataError
from eo_ssl.files import write_text


@pytest.fixture(autouse=True)
def chapters(write):
    write("00_first", "1 + 1")
    write("01_second", "2 + 2")


@pytest.fixture
def made(folder, tmp_path):
    """`made(…)`: the plan of the notebooks of the test, at smoke unless another profile is named."""

    def make(profile="smoke", run_dir="run", **settings):
        return make_plan(folder, profile, run_dir=tmp_path / run_dir, **settings)

    return make


def test_a_full_disk_is_noticed_before_the_run(made, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10**6})())
    with pytest.raises(DataError, match="free some space"):
        made()


@pytest.fixture
def data_root(tmp_path):
    """A root of empty files in both layouts."""
    names = [f"ROIs1158_spring/{s}_8/ROIs1158_spring_{s}_8_p1.tif" for s in ("s1", "s2")]
    for s in ("s1", "s2", "dfc"):
        names.append(f"ROIs0000_validation/{s}_validation/ROIs0000_validation_{s}_0_p1.tif")
        names.append(f"ROIs0000_test/{s}_0/ROIs0000_test_{s}_0_p1.tif")
    for path in (tmp_path / "data" / name for name in names):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "data"


def test_a_gpu_or_real_data_are_asked_for_where_the_profile_needs_them(made, monkeypatch, data_root):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10**12})())
    with pytest.raises(ConfigError, match="SEN12MS and DFC2020; paper-rehearsal goes the same way"):
        made("paper")
    assert made("paper", dry=True).run.data == "simulated" and made("paper-rehearsal")
    with pytest.raises(ConfigError, match="needs a CUDA GPU"):
        made("paper", data=str(data_root))
    monkeypatch.setenv("EO_SSL_ALLOW_CPU", "1")
    assert made("paper", data=str(data_root)).run.data == str(data_root)


def test_half_a_data_root_is_named_with_what_is_missing(made, write, data_root):
    write("03_learning", "1")  # from here on all parts are needed
    for path in data_root.rglob("*_spring_s2_*"):
        path.unlink()
    with pytest.raises(DataError, match="no SEN12MS optical images") as caught:
        made(data=str(data_root))
    assert "\n" not in str(caught.value) and "eo-ssl data check" in str(caught.value)
    assert made(data=str(data_root), only=["01"])


def test_notebooks_that_are_none_or_lack_the_parameters_are_named(made, folder, write, tmp_path):
    path = write("02_third", parameters='profile = "laptop"')
    with pytest.raises(DataError, match=r"02_third\.ipynb.*lacks data, run_dir, seed"):
        made()
    path.write_text("{")
    with pytest.raises(DataError, match=r"02_third\.ipynb: not a readable notebook"):
        made()
    with pytest.raises(DataError, match="no notebooks"):
        make_plan(tmp_path, "smoke", run_dir=tmp_path / "run")


@pytest.fixture
def keys(made):
    return lambda **settings: [chapter.key for chapter in made(**settings).chapters]


def test_keys_depend_on_the_settings_and_the_real_patches_and_not_on_the_run_folder(keys, monkeypatch):
    before = keys()
    assert keys(run_dir="other") == before
    for after in (keys(seed=1), keys(profile="laptop")):
        assert all(a != b for a, b in zip(before, after, strict=True))
    monkeypatch.setattr("eo_ssl.data.fetch.available", lambda: {"benv2": "ready"})
    assert keys() != before


FILES = {
    "eo_ssl/__init__.py": "",
    "eo_ssl/losses/__init__.py": "",
    "eo_ssl/losses/clip.py": "def clip():\n    from eo_ssl import deep\n",
    "eo_ssl/deep.py": "x = 1",
    "eo_ssl/course/book.py": "y = 1",
    "eo_ssl/course/recipes.py": "v = 1",
    "book/results/encoders/mma/model.safetensors": "1",
    "eo_ssl/show/explore.js": "1",
    "notebooks/chapters/ch01.py": "from eo_ssl.losses import clip\nFILE = 'a.json'",
    "notebooks/chapters/ch02.py": "z = 1",
    "notebooks/chapters/a.json": "{}",
    "notebooks/images/windows.svg": "<svg/>",
}


@pytest.mark.parametrize(
    ("name", "text", "stale"),
    [
        ("notebooks/chapters/ch01.py", "from eo_ssl.losses import clip\nCOLOUR = 'a.json'", {"01_second"}),
        ("notebooks/chapters/ch02.py", "z = 2", {"02_third"}),
        ("notebooks/chapters/ch02.py", "'A docstring.'\nz  =  1  # and a comment", set()),
        ("notebooks/chapters/a.json", "{1}", {"01_second"}),
        ("notebooks/images/windows.svg", "<svg></svg>", {"02_third"}),
        ("eo_ssl/losses/clip.py", "def clip():\n    return 1\n", {"01_second"}),
        ("eo_ssl/deep.py", "x = 2", {"01_second"}),
        ("eo_ssl/course/book.py", "y = 2", set()),
        ("book/results/encoders/mma/model.safetensors", "2", {"01_second"}),
        ("eo_ssl/show/explore.js", "2", {"00_first", "01_second", "02_third"}),
    ],
)
def test_a_chapter_goes_stale_by_the_code_it_reaches_and_by_no_other(
    folder, write, tmp_path, monkeypatch, name, text, stale
):
    for path, code in FILES.items():
        write_text(tmp_path / path, code)
    monkeypatch.setattr(plans, "PACKAGE", tmp_path / "eo_ssl")
    write("01_second", "from chapters import ch01\nfrom eo_ssl.course import recipes")
    write("02_third", "%matplotlib inline\nif 1:\n    !ls\nfrom chapters import ch02\nprint('windows.svg')")
    before = plans.sources_of(folder)
    write_text(tmp_path / name, text)
    after = plans.sources_of(folder)
    assert {path.stem for path in before if before[path] != after[path]} == stale
