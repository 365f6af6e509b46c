"""The estimate counts what a run trains and measures a little of it, without data, without a GPU, leaving nothing."""

import os
from pathlib import Path

import pytest
import torch

from eo_ssl.course import estimate
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
    """The trainings whose name holds `part`."""
    there = estimate.sizes(profile, "simulated")
    return [one for one in estimate.trainings(profile, there, run_dir) if part in one.name]


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda p: p.name)
def test_every_pretraining_and_every_cell_is_counted_once(profile):
    cells = [cell for cell in make_grid(profile.name).cells if not METHODS[cell.method].members]
    kinds = {(m.pretraining, m.family) for m in (METHODS[c.method] for c in cells) if m.pretraining}
    assert len(named("pretrain ", profile)) == len(kinds) * len(profile.pretrain_seeds)
    assert len(named("", profile)) == len(cells) + len(named("pretrain ", profile))


def test_samples_are_updates_times_batch():
    plan, there = get_plan("smoke").classify, estimate.sizes(SMOKE, "simulated").patches
    (dual,), config = named("pretrain dual"), preset("dual-simclr", "smoke")
    assert dual.trained == config.epochs * (there["pretrain"] // config.batch_size) * config.batch_size
    for one in named("single s1"):
        assert one.trained == plan.updates * plan.batch_size
        assert one.looked == plan.evaluations * there["val"] + there["test"]


def test_what_the_run_folder_holds_is_not_counted_again(tmp_path):
    folder = tmp_path / "pretrain" / "dual-simclr-resnet_nano-seed0"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    key = next(cell.key for cell in make_grid("smoke").cells if cell.method == "s1")
    append_result(tmp_path / "results.jsonl", {"key": key})
    assert [one.done for one in named("pretrain dual", run_dir=tmp_path)] == [True]
    assert sorted(one.done for one in named("single s1", run_dir=tmp_path)) == [False, True]


def test_without_data_paper_is_counted_with_the_published_numbers():
    there = estimate.sizes(get_profile("paper"), "simulated").patches
    assert there["pretrain"] + there["pretrain_val"] == 180_662 and there["test"] == 5_128


def test_a_data_root_is_counted_from_its_file_names(tmp_path):
    root = simulate(tmp_path / "set", "smoke", seed=0, workers=1)
    found, planned = (estimate.sizes(SMOKE, data) for data in (str(root), "simulated"))
    for splits in (("pretrain", "pretrain_val"), ("train", "val"), ("test",)):
        counts = [sum(one.patches[split] for split in splits) for one in (found, planned)]
        assert counts[0] == counts[1] > 0, splits
    assert found.width == planned.width == 64
    for path in root.rglob("*_test_*"):
        path.unlink()
    with pytest.raises(DataError, match="no patches for test; see `eo-ssl data check"):
        estimate.estimate(SMOKE, str(root), NOWHERE, lambda _: None)


def test_hours_are_samples_times_seconds_and_add_up(monkeypatch):
    monkeypatch.setattr(estimate, "cost", lambda config, timed: (0.1, 0.0, 1_000))
    hours = sum(one.trained + one.looked / 3 for one in named("")) * 0.1 / 3600
    said = []
    text = estimate.estimate(SMOKE, "simulated", NOWHERE, said.append)
    assert f"time: {hours:.3g} hours" in text and "measured" not in text and "no GPU" not in text
    assert len(said) == len({one.name for one in named("")})


def test_where_the_gpu_is_missing_hours_come_from_counted_operations_and_say_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    asked = []
    monkeypatch.setattr(estimate, "cost", lambda _, timed: asked.append(timed) or (1e-3, 0.0, 1_000))
    assert "assumed at 50 TFLOP/s: no GPU here" in estimate.estimate(
        get_profile("paper"), "simulated", NOWHERE, lambda _: None
    )
    assert set(asked) == {False}


CONFIGS = [preset(name, "smoke", batch_size=8) for name in ("dual-simclr", "mma", "simclr", "swin-pair")]
CONFIGS += [FinetuneConfig(model="late", backbone="resnet_nano", image_size=32, batch_size=4)]
CONFIGS += [FinetuneConfig(model="unet", task="segment", unet_width=4, image_size=32, batch_size=4)]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: getattr(c, "name", None) or c.model)
def test_every_training_is_counted_from_shapes_and_measured_on_noise(config):
    counted, measured = estimate.cost(config, False), estimate.cost(config, True)
    assert counted[0] > 1e5 / estimate.ASSUMED_FLOPS and measured[0] > 0
    assert counted[2] == measured[2] > 1e3


def test_counted_operations_are_those_of_forward_and_backward(monkeypatch):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(10, 5)

        def forward(self, views):
            return self.layer(views["x"])

    # The gradient of the input counts, as inside a network.
    monkeypatch.setattr(estimate, "_model", lambda *_: (Net(), {"x": torch.randn(2, 10, requires_grad=True)}))
    seconds, _, parameters = estimate.cost("a config of its own", False)
    assert seconds * estimate.ASSUMED_FLOPS == pytest.approx(3 * 2 * 10 * 5) and parameters == 55


@pytest.mark.parametrize("profile", [PROFILES["laptop"], PROFILES["gpu"]], ids=lambda p: p.name)
def test_the_disk_asked_for_is_that_of_the_estimate(profile, monkeypatch):
    real = estimate.cost
    monkeypatch.setattr(estimate, "cost", lambda config, timed: (0.0, 0.0, real(config, False)[2]))
    text = estimate.estimate(profile, "simulated", NOWHERE, lambda _: None)
    (gigabytes,) = (float(line.split()[1]) for line in text.splitlines() if line.startswith("disk: "))
    assert gigabytes - 0.05 <= profile.run_mb / 1e3 <= 2.1 * gigabytes


class Disks:
    """Folders on disks of their own, with this many bytes free on each."""

    def __init__(self, monkeypatch, same, **free):
        def stat(path, *args, **kwargs):
            found = real(path, *args, **kwargs)
            device = 1 if same or "cache" in str(path) else 2
            return os.stat_result([*found[:2], device, *found[3:]])

        real = os.stat
        monkeypatch.setattr(estimate.os, "stat", stat)
        usage = lambda path: type("Usage", (), {"free": free["cache" if "cache" in str(path) else "run"]})()  # noqa: E731
        monkeypatch.setattr("shutil.disk_usage", usage)


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
    folders = {"run": tmp_path / "run", "cache": tmp_path / "cache"}
    for folder in folders.values():
        folder.mkdir(exist_ok=True)
    Disks(monkeypatch, same, run=run, cache=cache)
    if refused is None:
        estimate.require_disk(get_profile("gpu"), "simulated", 0, folders["run"])
        return
    with pytest.raises(DataError, match=f"{folders[refused]}: a run at gpu"):
        estimate.require_disk(get_profile("gpu"), "simulated", 0, folders["run"])


def test_plans_and_profiles_and_presets_know_the_same_names():
    assert set(PLANS) == set(PROFILES) == set(presets.PROFILES)
