"""The forecast counts what a run trains and measures a little of it here, without data, leaving nothing."""

import os
from contextlib import nullcontext
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eo_ssl.course import forecast, notebooks, session
from eo_ssl.course.forecast import expected
from eo_ssl.course.session import Run
from eo_ssl.errors import DataError
from eo_ssl.experiments.plan import METHODS, PLANS, get_plan, make_grid
from eo_ssl.experiments.results import append_result
from eo_ssl.profiles import PROFILES, get_profile
from eo_ssl.train import config as presets
from eo_ssl.train.config import FinetuneConfig, preset

SMOKE = get_profile("smoke")


def run_of(profile=SMOKE, root=Path("/nowhere"), data="simulated"):
    return Run(profile, data, root, 0)


@cache
def chapters():
    folder = session.project_root() / "notebooks"
    return {path.stem: notebooks.read(path) for path in notebooks.sources(folder)}


def trainings(profile=SMOKE, root=Path("/nowhere")):
    """The trainings of the real course, by chapter."""
    return dict(forecast._first(run_of(profile, root), chapters()))


@pytest.mark.parametrize("name", ["laptop", "paper-rehearsal"])
def test_every_pretraining_and_every_model_is_counted_once_in_the_first_chapter_that_asks_for_it(name):
    profile = get_profile(name)
    found = trainings(profile)
    grid = make_grid(profile.name).cells
    cells = {c.key for c in grid if c.usual and not c.chosen and not METHODS[c.method].members}
    keys = [one.key for some in found.values() for one in some]
    pretrained = [one for some in found.values() for one in some if one.alone]
    assert len(keys) == len(set(keys)) and cells <= set(keys) and len(keys) == len(cells) + len(pretrained)
    # At the rehearsal's size the deep ResNet is the usual one: one pretraining serves both.
    kinds = {
        (name, getattr(profile, f)): profile.seeds_of(name, f)
        for name, f in make_grid(profile.name).pretrainings
    }
    assert len(pretrained) == sum(map(len, kinds.values()))
    simclr = [one.config.name for one in found["04_simclr"]]
    assert "simclr" in simclr and not found["01_two_ways_of_seeing"]


def test_samples_are_updates_times_batch_and_what_the_run_folder_holds_is_done(tmp_path):
    plan, there = get_plan("smoke").classify, forecast.sizes(SMOKE, "simulated")[0]
    config = preset("dual-simclr", "smoke")

    def named(part):
        found = trainings(root=tmp_path).values()
        return [one for some in found for one in some if part in one.key]

    (dual,), pairs = named("dual-simclr-"), there["pretrain"] // config.batch_size * config.batch_size
    assert dual.samples == pytest.approx(config.epochs * (pairs + there["pretrain_val"] / 3))
    looked = plan.evaluations * there["val"] + there["test"]
    s1 = named("single s1")
    assert s1 and {one.samples for one in s1} == {plan.updates * plan.batch_size + looked / 3}
    assert not dual.done and not any(one.done for one in s1)
    folder = tmp_path / "pretrain" / "dual-simclr-resnet_nano-seed0"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    append_result(tmp_path / "results.jsonl", {"key": s1[0].key})
    assert named("dual-simclr-")[0].done and [one.done for one in named("single s1")].count(True) == 1


def test_plans_profiles_and_presets_know_the_same_names_and_paper_has_the_published_numbers():
    there, _ = forecast.sizes(get_profile("paper"), "simulated")
    assert there["pretrain"] + there["pretrain_val"] == 180_662 and there["test"] == 5_128
    assert set(PLANS) == set(PROFILES) == set(presets.PROFILES)


def test_a_data_root_is_counted_from_its_files(simulated):
    found, planned = (forecast.sizes(SMOKE, data) for data in (str(simulated), "simulated"))
    assert found == planned and all(found[0].values())


# ---- minutes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["smoke", "paper"])
def test_without_a_release_minutes_are_samples_times_seconds_and_a_missing_gpu_is_said(monkeypatch, name):
    asked, said, run = set(), [], run_of(get_profile(name))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(forecast, "cost", lambda _, timed, threads: asked.add(timed) or 0.1)
    found = forecast.forecast(run, chapters(), say=said.append)
    for stem, some in trainings(get_profile(name)).items():
        assert found.counted[stem] == pytest.approx(sum(one.samples for one in some) * 0.1 / 60)
        assert found.minutes[stem] == pytest.approx(found.counted[stem] + forecast.OTHER)
    text = forecast.table(found, run, current=["00_preflight"])
    assert ("assumed at 50 TFLOP/s: no GPU here" in text) == (name == "paper")
    assert text.count("up to date") == 1 and asked == {name == "smoke"} and len(said) == len(set(said))


counts = st.lists(st.floats(0.5, 20), min_size=3, max_size=12)


@given(counts, st.floats(0.2, 10), st.floats(0.5, 3))
def test_on_another_machine_every_chapter_takes_its_released_minutes_at_the_pace_of_the_networks(
    there, pace, share
):
    """Whatever share of a chapter's time the count explains."""
    counted = {f"{n:02d}": value for n, value in enumerate(there)} | {"99": 0.0}
    minutes = {stem: share * value + (not value) for stem, value in counted.items()}
    here = {stem: pace * value for stem, value in counted.items()}
    found = expected(here, here, {"minutes": minutes, "counted": counted})
    assert found == pytest.approx({stem: pace * value for stem, value in minutes.items()})
    half = expected(here, {s: v / 2 for s, v in here.items()}, {"minutes": minutes, "counted": counted})
    assert half == pytest.approx({s: m if s == "99" else m / 2 for s, m in found.items()})


CONFIGS = [preset(name, "smoke", batch_size=8) for name in ("mma", "simclr")]
CONFIGS += [FinetuneConfig(model="unet", task="segment", unet_width=4, image_size=32, batch_size=4)]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: getattr(c, "name", None) or c.model)
def test_every_training_is_counted_from_shapes_and_measured_on_noise(config):
    before = torch.get_num_threads()
    assert forecast.cost(config, False) > 1e5 / forecast.ASSUMED_FLOPS and forecast.cost(config, True) > 0
    assert torch.get_num_threads() == before


# ---- disk --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("same", "wanted"), [(False, nullcontext()), (True, pytest.raises(DataError))])
def test_a_disk_that_holds_run_and_data_needs_room_for_both(tmp_path, monkeypatch, same, wanted):
    def stat(path, *args, **kwargs):
        found = real(path, *args, **kwargs)
        return os.stat_result([*found[:2], same or "cache" in str(path), *found[3:]])

    (tmp_path / "cache").mkdir()
    real, run = os.stat, run_of(get_profile("gpu"), tmp_path / "run")
    largest = max(forecast.disk_needs(run).values())
    monkeypatch.setattr(forecast.os, "stat", stat)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": largest})())
    with wanted:
        forecast.require_disk(run)
