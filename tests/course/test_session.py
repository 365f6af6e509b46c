"""`setup`: checks first, opens late, and says under which conditions the run happens."""

import os

import pytest
import torch

from eo_ssl.course import session, setup
from eo_ssl.course.plan import make_plan
from eo_ssl.errors import ConfigError, DataError
from eo_ssl.profiles import PROFILES


def test_setup_creates_the_run_folder_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "simulated", lambda *_: pytest.fail("simulated too early"))
    run = setup("smoke", run_dir=str(tmp_path / "run"))
    assert os.environ["EO_SSL_FIGURES"] == str(run.root / "figures")
    assert [p.name for p in run.root.iterdir()] == ["figures"]


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"profile": "lapdop"}, ConfigError, "did you mean laptop"),
        ({"data": "simulate"}, DataError, "did you mean simulated"),
        ({"data": "/no/such/folder"}, DataError, "SEN12MS or DFC2020"),
        ({"seed": -1}, ConfigError, "whole number"),
        ({"run_dir": f"{__file__}/run"}, ConfigError, "cannot write there"),
    ],
)
def test_setup_refuses_what_does_not_fit(tmp_path, settings, error, words):
    with pytest.raises(error, match=words) as caught:
        setup(**{"profile": "smoke", "run_dir": str(tmp_path / "run"), **settings})
    assert "\n" not in str(caught.value)


def test_other_data_and_other_seeds_have_run_folders_of_their_own(tmp_path, monkeypatch, folder, write):
    """So that nothing is trained again over what an earlier run has made."""
    alike = [tmp_path / name / "my data, 2\n" for name in "ab"]
    for data in (tmp_path / "cache" / "data" / "ben-ge-800", *alike):
        data.mkdir(parents=True)
    write("00_first")
    monkeypatch.setattr(session, "project_root", lambda: tmp_path)
    real, choices = {"data": "ben-ge-800"}, [{}, {"seed": 3}]
    choices += [real, real | {"seed": 3}, *({"data": str(data)} for data in alike)]
    roots = [setup("smoke", **choice).root for choice in choices]
    assert roots == [make_plan(folder, "smoke", **choice).run.root for choice in choices]
    names = [root.relative_to(tmp_path / "runs").name for root in roots]
    assert names[:4] == ["smoke", "smoke-seed3", "smoke-ben-ge-800", "smoke-ben-ge-800-seed3"]
    assert names[4] != names[5] and all(name.startswith("smoke-my-data-2-") for name in names[4:])


def test_the_status_line_tells_the_conditions_and_smoke_is_no_evidence(tmp_path):
    smoke, laptop = setup("smoke", run_dir=str(tmp_path)), setup("laptop", run_dir=str(tmp_path))
    for words in ("profile smoke", "device ", "seeds ", "data simulated", "commit "):
        assert words in repr(smoke)
    assert session.NO_EVIDENCE in repr(smoke) and session.NO_EVIDENCE in smoke._repr_html_()
    assert session.NO_EVIDENCE not in repr(laptop) + laptop._repr_html_()
    assert session.MINUTES in smoke._repr_html_()


def test_a_chapter_begins_with_the_threads_that_suit_the_moment_or_the_users(tmp_path, monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setattr(session, "fitting_threads", lambda: 2)
    for said, profile, threads in (("", "laptop", 2), ("", "smoke", 1), ("3", "laptop", 3)):
        monkeypatch.setenv("OMP_NUM_THREADS", said)
        setup(profile, run_dir=str(tmp_path))
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)


def test_the_data_version_is_read_from_the_card_of_a_data_set(tmp_path):
    run = setup("smoke", str(tmp_path), tmp_path / "run")
    assert run.data_version == tmp_path.name
    (tmp_path / "dataset.json").write_text('{"name": "sen12ms", "version": "2"}')
    assert run.data_version == "sen12ms 2"


def test_simulated_data_is_made_once_for_each_profile_and_seed(monkeypatch):
    made = []

    def simulate(out, profile, seed):
        made.append(out)
        out.mkdir(parents=True)
        (out / "dataset.json").write_text("{}")

    monkeypatch.setattr("eo_ssl.simulate.simulate", simulate)
    for seed in (0, 0, 1):
        session.simulated(PROFILES["smoke"], seed)
    assert len(made) == 2 and len(set(made)) == 2
