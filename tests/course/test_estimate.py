"""The estimate counts what a run trains and measures a little of it, without data, without a GPU, leaving nothing."""

import os
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from eo_ssl.course import estimate
from eo_ssl.course.session import Run
from eo_ssl.errors import DataError
from eo_ssl.experiments.plan import METHODS, PLANS, get_plan, make_grid
from eo_ssl.experiments.results import append_result
from eo_ssl.profiles import PROFILES, get_profile
from eo_ssl.simulate import simulate
from eo_ssl.train import config as presets
from eo_ssl.train.config import FinetuneConfig, preset

SMOKE = get_profile("smoke")
NOWHERE = Path("/nowhere")


def named(part, profile=SMOKE, run_dir=NOWHERE):
    """The trainings left whose name holds `part`."""
    there = estimate.sizes(profile, "simulated")
    return [one for one in estimate.works(profile, there, run_dir) if part in one.name]


def estimated(profile, data="simulated", say=lambda _: None):
    return estimate.estimate(Run(profile, data, NOWHERE, 0), say)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda p: p.name)
def test_every_pretraining_and_every_cell_is_counted_once(profile):
    cells = [cell for cell in make_grid(profile.name).cells if not METHODS[cell.method].members]
    kinds = {(m.pretraining, m.family) for m in (METHODS[c.method] for c in cells) if m.pretraining}
    assert len(named("pretrain ", profile)) == len(kinds) * len(profile.pretrain_seeds)
    assert len(named("", profile)) == len(cells) + len(named("pretrain ", profile))


def test_samples_are_updates_times_batch_and_what_the_run_folder_holds_is_not_counted(tmp_path):
    plan, there = get_plan("smoke").classify, estimate.sizes(SMOKE, "simulated").patches
    (dual,), config = named("pretrain dual"), preset("dual-simclr", "smoke")
    pairs = there["pretrain"] // config.batch_size * config.batch_size
    assert dual.samples == pytest.approx(config.epochs * (pairs + there["pretrain_val"] / 3))
    looked = plan.evaluations * there["val"] + there["test"]
    assert [one.samples for one in named("single s1")] == [plan.updates * plan.batch_size + looked / 3] * 2
    folder = tmp_path / "pretrain" / "dual-simclr-resnet_nano-seed0"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    key = next(cell.key for cell in make_grid("smoke").cells if cell.method == "s1")
    append_result(tmp_path / "results.jsonl", {"key": key})
    assert not named("pretrain dual", run_dir=tmp_path) and len(named("single s1", run_dir=tmp_path)) == 1


def test_without_data_paper_is_counted_with_the_published_numbers():
    there = estimate.sizes(get_profile("paper"), "simulated").patches
    assert there["pretrain"] + there["pretrain_val"] == 180_662 and there["test"] == 5_128


def test_a_data_root_is_counted_from_its_file_names(tmp_path):
    root = simulate(tmp_path / "set", "smoke", seed=0, workers=1)
    found, planned = (estimate.sizes(SMOKE, data) for data in (str(root), "simulated"))
    assert found[:2] == planned[:2] and all(found.patches.values())
    for path in root.rglob("*_test_*"):
        path.unlink()
    with pytest.raises(DataError, match="no patches for test; see `eo-ssl data check"):
        estimated(SMOKE, str(root))


@pytest.mark.parametrize("name", ["smoke", "paper"])
def test_hours_are_samples_times_seconds_and_where_the_gpu_is_missing_the_text_says_so(monkeypatch, name):
    asked, said = [], []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(estimate, "cost", lambda _, timed: asked.append(timed) or (0.1, 0.0, 1_000))
    text, works = estimated(get_profile(name), say=said.append), named("", get_profile(name))
    assert f"time: {sum(one.samples for one in works) * 0.1 / 3600:.3g} hours" in text
    assert ("assumed at 50 TFLOP/s: no GPU here" in text) == (name == "paper")
    assert set(asked) == {name == "smoke"} and len(said) == len({one.name for one in works})


CONFIGS = [preset(name, "smoke", batch_size=8) for name in ("dual-simclr", "mma", "simclr")]
CONFIGS += [FinetuneConfig(model="late", backbone="resnet_nano", image_size=32, batch_size=4)]
CONFIGS += [FinetuneConfig(model="unet", task="segment", unet_width=4, image_size=32, batch_size=4)]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: getattr(c, "name", None) or c.model)
def test_every_training_is_counted_from_shapes_and_measured_on_noise(config):
    counted, measured = estimate.cost(config, False), estimate.cost(config, True)
    assert counted[0] > 1e5 / estimate.ASSUMED_FLOPS and measured[0] > 0
    assert counted[2] == measured[2] > 1e3


@pytest.mark.parametrize("profile", [PROFILES["laptop"], PROFILES["gpu"]], ids=lambda p: p.name)
def test_the_disk_asked_for_is_that_of_the_estimate(profile, monkeypatch):
    real = estimate.cost
    monkeypatch.setattr(estimate, "cost", lambda config, timed: (0.0, 0.0, real(config, False)[2]))
    (gigabytes,) = (
        float(line.split()[1]) for line in estimated(profile).splitlines() if line.startswith("disk: ")
    )
    assert gigabytes - 0.05 <= profile.run_mb / 1e3 <= 2.1 * gigabytes


@pytest.mark.parametrize(
    ("same", "run", "cache", "refused"),
    [
        (False, 20e9, 50e9, None),
        (False, 5e9, 50e9, "run"),
        (False, 20e9, 25e9, "cache"),
        (True, 60e9, 60e9, None),
        (True, 45e9, 45e9, "run"),
    ],
)
def test_each_disk_is_asked_for_what_its_folder_needs(tmp_path, monkeypatch, same, run, cache, refused):
    def stat(path, *args, **kwargs):
        found = real(path, *args, **kwargs)
        return os.stat_result([*found[:2], 1 if same or "cache" in str(path) else 2, *found[3:]])

    def usage(path):
        return type("Usage", (), {"free": cache if "cache" in str(path) else run})()

    for name in ("run", "cache"):
        (tmp_path / name).mkdir(exist_ok=True)
    real = os.stat
    monkeypatch.setattr(estimate.os, "stat", stat)
    monkeypatch.setattr("shutil.disk_usage", usage)
    wanted = (
        pytest.raises(DataError, match=f"{tmp_path / refused}: a run at gpu") if refused else nullcontext()
    )
    with wanted:
        estimate.require_disk(Run(get_profile("gpu"), "simulated", tmp_path / "run", 0))


def test_plans_and_profiles_and_presets_know_the_same_names():
    assert set(PLANS) == set(PROFILES) == set(presets.PROFILES)
