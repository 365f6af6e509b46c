"""The dry run counts what a run trains and measures a little of it, without data, without a GPU, leaving nothing."""

from pathlib import Path

import pytest
import torch

from eo_ssl.course import estimate as dryrun, workload
from eo_ssl.data.simulate import simulate
from eo_ssl.errors import DataError
from eo_ssl.evaluate.grids import PLANS, get_plan, make_grid
from eo_ssl.evaluate.methods import METHODS
from eo_ssl.evaluate.results import append_result
from eo_ssl.profiles import PROFILES, get_profile
from eo_ssl.train.finetune_config import FinetuneConfig
from eo_ssl.train.measure import Measured, count, measure_finetuning, measure_pretraining
from eo_ssl.train.noise import NoiseSource
from eo_ssl.train.presets import preset

SMOKE = get_profile("smoke")
NOWHERE = Path("/nowhere")


def of(profile, part, run_dir=NOWHERE):
    there = workload.sizes(profile, "simulated")
    return [work for work in workload.workload(profile, there, run_dir) if work.part == part]


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda p: p.name)
def test_every_pretraining_and_every_cell_is_counted_once(profile):
    cells = make_grid(profile.name).cells
    assert sum(work.runs for work in of(profile, "downstream")) == sum(
        not METHODS[cell.method].members for cell in cells
    )
    kinds = {(m.pretraining, m.family) for m in (METHODS[c.method] for c in cells) if m.pretraining}
    pretrainings = of(profile, "pretraining")
    assert len(pretrainings) == len(kinds)
    assert all(work.runs == len(profile.pretrain_seeds) for work in pretrainings)


def test_samples_are_updates_times_batch():
    plan, there = get_plan("smoke"), workload.sizes(SMOKE, "simulated")
    dual = next(work for work in of(SMOKE, "pretraining") if "dual" in work.name)
    config = preset("dual-simclr", "smoke")
    assert dual.trained == config.epochs * (there.pairs // config.batch_size) * config.batch_size
    s1 = next(work for work in of(SMOKE, "downstream") if work.name.startswith("classify s1"))
    # One rate is tried, and the model it gives is the one that is tested: trained once.
    assert s1.runs == 2 and s1.trained == plan.classify.updates * plan.classify.batch_size
    assert s1.looked == plan.classify.evaluations * there.val + there.test


def test_what_the_run_folder_holds_is_not_counted_again(tmp_path):
    folder = tmp_path / "pretrain" / "dual-simclr-resnet_nano-seed0"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    append_result(tmp_path / "results.jsonl", {"key": "single s1 f=1 s=0 lr=0.001"})
    dual = next(work for work in of(SMOKE, "pretraining", tmp_path) if "dual" in work.name)
    assert (dual.runs, dual.planned, dual.trained) == (0, 1, 0)
    s1 = next(w for w in of(SMOKE, "downstream", tmp_path) if w.name.startswith("classify s1"))
    assert (s1.runs, s1.planned, s1.trained) == (1, 2, 0)


def test_without_data_paper_is_counted_with_the_published_numbers():
    there = workload.sizes(get_profile("paper"), "simulated")
    assert there.pairs + there.held_out == 180_662 and there.test == 5_128


def test_a_data_root_is_counted_from_its_file_names(tmp_path):
    root = simulate(tmp_path / "set", "smoke", seed=0, workers=1)
    found, planned = workload.sizes(SMOKE, str(root)), workload.sizes(SMOKE, "simulated")
    assert found.pairs + found.held_out == planned.pairs + planned.held_out == 108
    assert (found.train + found.val, found.test, found.patch) == (48, 48, 64)
    assert dryrun.reading_rate(root) > 1
    text = "\n".join(dryrun._reading(str(root), found, []))
    assert text.startswith("reading: ") and "pack" not in text
    row = dryrun.Row("pretraining", "x", 1, 1, 1.0, 1.0, 1e12, 1.0, 0, 0)  # faster than any disk
    assert f"eo-ssl data pack {root}" in "\n".join(dryrun._reading(str(root), found, [row]))


def test_a_root_without_what_is_needed_is_named(tmp_path):
    with pytest.raises(DataError, match="no patches for pairs, test"):
        dryrun._require(workload.Sizes(0, 1, 1, 1, 0, 64, "x"), "/data")


@pytest.fixture
def quick(monkeypatch):
    """No measuring: 10 samples in a second, a million operations each."""
    asked = []
    caches = (dryrun._measured, dryrun._counted)
    for cached in caches:  # of tests in this process that measured for real
        cached.cache_clear()

    def measured(config, *_, **__):
        asked.append(config)
        return Measured(0.1 * config.batch_size, config.batch_size, 1e6, 0, 1_000)

    monkeypatch.setattr("eo_ssl.train.measure.measure_pretraining", measured)
    monkeypatch.setattr("eo_ssl.train.measure.measure_finetuning", measured)
    monkeypatch.setattr("eo_ssl.train.measure.count", lambda c: Measured(0.0, c.batch_size, 1e6, 0, 1_000))
    yield asked
    for cached in caches:
        cached.cache_clear()


def test_measured_hours_are_samples_over_rate_and_add_up(quick):
    works = [*of(SMOKE, "pretraining"), *of(SMOKE, "downstream")]
    hours = sum(work.trained + work.looked / 3 for work in works) / 10 / 3600
    said = []
    text = dryrun.estimate(SMOKE, "simulated", NOWHERE, said.append)
    last = next(line for line in text.splitlines() if line.startswith("all  "))
    assert f" {dryrun._short(hours)} " in last + " "
    assert len(said) == len(works) and "measured on" in text and "no GPU" not in text


def test_where_the_gpu_is_missing_hours_come_from_counted_operations_and_say_so(quick, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    paper = get_profile("paper")
    works = [*of(paper, "pretraining"), *of(paper, "downstream")]
    hours = sum(work.trained + work.looked / 3 for work in works) * 1e6 / dryrun.ASSUMED_FLOPS / 3600
    text = dryrun.estimate(paper, "simulated", NOWHERE, lambda _: None)
    assert "nothing was timed" in text and "assumed 50 TFLOP/s" in text
    assert f" {dryrun._short(hours)} " in next(line for line in text.splitlines() if line.startswith("all  "))
    assert not quick


@pytest.mark.parametrize("method", ["dual-simclr", "mma", "simclr", "swin-pair"])
def test_a_pretraining_is_measured_on_noise(method):
    config = preset(method, "smoke", batch_size=8)
    found = measure_pretraining(config, NoiseSource(28, 40), accelerator="cpu")
    assert found.rate > 0 and found.flops > 1e5 and found.parameters > 1e3 and found.batch == 8


@pytest.mark.parametrize(
    "changes", [{"model": "late"}, {"model": "unet", "task": "segment", "unet_width": 4}]
)
def test_a_downstream_model_is_measured_on_noise(changes):
    config = FinetuneConfig(backbone="resnet_nano", image_size=32, batch_size=4, precision="32", **changes)
    found = measure_finetuning(config, 40, accelerator="cpu")
    assert found.rate > 0 and found.flops > 1e5 and found.parameters > 1e3


@pytest.mark.parametrize("method", ["dual-simclr", "mma", "simclr"])
def test_operations_counted_from_shapes_are_those_of_a_real_update(method):
    config = preset(method, "smoke", batch_size=8)
    real = measure_pretraining(config, NoiseSource(28, 40), accelerator="cpu")
    found = count(config)
    assert found.flops == real.flops and found.parameters == real.parameters and found.rate == 0


def test_counted_operations_are_those_of_forward_and_backward():
    from eo_ssl.train.measure import flops_of

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(10, 5)

        def forward(self, views):
            return self.layer(views["x"])

    x = torch.randn(
        4, 10, requires_grad=True
    )  # so that the gradient of the input counts, as inside a network
    assert flops_of(Net(), {"x": x}) == 3 * 2 * 10 * 5


def test_plans_and_profiles_and_presets_know_the_same_names():
    from eo_ssl.train import presets

    assert set(PLANS) == set(PROFILES) == set(presets.PROFILES)
