"""A run learns, resumes bit for bit, is not repeated, and stops with words instead of a traceback."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from toy_pairs import ToySource

from eo_ssl.errors import CheckpointError, ConfigError, DataError
from eo_ssl.losses.common import checked
from eo_ssl.train import loop
from eo_ssl.train.checkpoint import FILES, read_meta
from eo_ssl.train.config import PretrainConfig, preset
from eo_ssl.train.devices import prepare
from eo_ssl.train.loop import Overlaps, Trainer, filled_up
from eo_ssl.train.methods import Method, make_method
from eo_ssl.train.pretrain import PretrainResult, pretrain

# A few epochs of MMA on toy data end with features that still lie close together.
pytestmark = pytest.mark.filterwarnings("ignore:epoch .*features collapse:RuntimeWarning")
TIMES = {"seconds", "pairs_per_s", "waiting"}  # no two runs agree in these
TINY = {"image_size": 16, "batch_size": 16, "epochs": 3, "precision": "32"}


def tiny(method: str = "dual-simclr", **changes: object) -> PretrainConfig:
    crop = {"second_crop": 8} if method == "mma" else {}
    return preset(method, "smoke", **TINY | crop | changes)


def run(config: PretrainConfig, folder: Path, **options: object) -> PretrainResult:
    source = options.pop("source", None) or ToySource()
    return pretrain(config, source, folder, accelerator="cpu", progress=False, **options)


def weights(result: PretrainResult) -> dict[str, torch.Tensor]:
    return load_file(result.folder / "model.safetensors") | load_file(result.folder / "heads.safetensors")


def assert_same_bits(a: PretrainResult, b: PretrainResult) -> None:
    torch.testing.assert_close(weights(a), weights(b), rtol=0, atol=0)


@pytest.mark.parametrize("method", ["simclr", "simclr-rgb", "dual-simclr", "mma", "swin-pair"])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit_and_leaves_model_and_table(method, tmp_path):
    """Whatever the number of threads that read."""
    config = tiny(method)
    whole = run(config, tmp_path / "whole")
    parts = [run(config, tmp_path / "parts", max_minutes=0, workers=k) for k in range(3)]
    assert [part.done for part in parts] == [False, False, True]
    assert_same_bits(whole, parts[-1])
    timeless = [{k: v for k, v in r.metrics.items() if k not in TIMES} for r in (whole, parts[-1])]
    assert timeless[0] == timeless[1]
    assert run(config, tmp_path / "whole", workers=-1) == whole  # is not trained again
    files = {path.name for path in whole.folder.iterdir()}
    assert {*FILES, "metrics.csv"} <= files and "resume.pt" not in files
    table = pd.read_csv(whole.folder / "metrics.csv")
    val = {f"val_{name}" for name in ("loss", "top1", "top5", "mrr", "alignment", "uniformity", "spread")}
    assert {"train_loss", "lr", *val} <= set(table) and list(table["epoch"]) == [1, 2, 3]
    assert table["waiting"].between(0, 1).all() and (table["pairs_per_s"] > 1).all()
    if method == "simclr-rgb":  # leaves the other bands without weight
        first = next(x for x in weights(whole).values() if x.ndim == 4 and x.shape[1] == 13)
        assert first.abs().amax((0, 2, 3)).nonzero().flatten().tolist() == [1, 2, 3]


def test_a_run_goes_on_in_smaller_pieces_and_another_precision(tmp_path):
    """As out of memory advises: neither decides which model comes out."""
    whole = run(tiny("swin-pair"), tmp_path / "whole")
    assert not run(tiny("swin-pair"), tmp_path / "parts", max_minutes=0).done
    parts = run(tiny("swin-pair", micro_batch=4, precision="auto"), tmp_path / "parts")
    torch.testing.assert_close(weights(parts), weights(whole), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("finished", [True, False])
def test_a_run_of_other_code_is_trained_afresh_and_says_so(finished, tmp_path, monkeypatch, capsys):
    for module in ("checkpoint", "pretrain"):
        monkeypatch.setattr(f"eo_ssl.train.{module}.training_code", lambda: "an edited loss")
    run(tiny(), tmp_path, max_minutes=None if finished else 0)
    monkeypatch.undo()
    assert "afresh" not in capsys.readouterr().out
    result = run(tiny(), tmp_path)
    assert "made by other code (an edited loss, now" in capsys.readouterr().out
    assert read_meta(result.folder)["code"] != "an edited loss"
    assert_same_bits(result, run(tiny(), tmp_path / "b"))
    assert "afresh" not in capsys.readouterr().out


def test_other_settings_and_data_in_the_same_folder_are_refused_by_name(tmp_path):
    run(tiny(), tmp_path, max_minutes=0)
    with pytest.raises(CheckpointError, match=r"lr is 0.001, not 0.002; choose another run_dir"):
        run(tiny(lr=2e-3), tmp_path)
    finished = run(tiny(), tmp_path)
    with pytest.raises(CheckpointError, match="temperature"):
        run(tiny(temperature=0.5), tmp_path)
    assert run(tiny(temperature=0.5), tmp_path, resume=False).folder == finished.folder
    again = run(tiny(temperature=0.7), tmp_path, replace_other=True)
    assert read_meta(again.folder)["config"]["temperature"] == 0.7
    corrected = ToySource()  # under the same name and version, and as many
    corrected.s1 += 0.5
    with pytest.raises(CheckpointError, match="data is toy 0"):
        run(tiny(temperature=0.7), tmp_path, source=corrected)


def test_a_loss_that_is_not_finite_stops_and_names_the_patches(tmp_path):
    source = ToySource()
    source.s1[5] = np.nan
    with pytest.raises(DataError, match=r"not finite at epoch 1, update .*precision 32"):
        run(tiny(), tmp_path, source=source)
    report = json.loads(next(tmp_path.rglob("nonfinite-batch.json")).read_text())
    assert "patch5" in report["patches"] and len(report["patches"]) == 16


def test_a_gpus_losses_are_looked_at_once_in_many_updates_and_still_name_the_batch(tmp_path, monkeypatch):
    """On a GPU the loss itself does not look (it would have to be waited for); the loop does, now and then."""
    on_gpu = SimpleNamespace(device=torch.device("cuda"))
    assert checked(on_gpu) is on_gpu
    batches, looks, real = [], [], loop._require_finite

    def silent(self: Method, z1: torch.Tensor, z2: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        batches.append(len(z1))
        return (z1 * z2).sum() * (torch.nan if len(batches) == 2 else 1.0)

    monkeypatch.setattr(Method, "loss", silent)
    monkeypatch.setattr(loop, "_require_finite", lambda *args: (looks.append(1), real(*args)))
    with pytest.raises(DataError, match="epoch 1, update 2;"):
        run(tiny(), tmp_path)
    assert looks == [1] and len(batches) == 4  # an epoch has four updates
    order = np.random.default_rng([0, 0, 10]).permutation(64)
    report = json.loads(next(tmp_path.rglob("nonfinite-batch.json")).read_text())
    assert report["patches"] == [f"patch{row}" for row in order[16:32]]


@pytest.mark.gpu
def test_a_batch_reaches_a_gpu_as_it_was_though_its_copy_is_only_ordered():
    batch, busy = {"s2": torch.zeros(64, 13, 64, 64)}, torch.randn(4096, 4096, device="cuda")

    def loader():
        for number in range(20):
            busy @ busy  # the copy has to wait for it
            batch["s2"].fill_(number)  # the same memory again
            yield batch

    found = list(loop.on_device(loader(), torch.device("cuda")))
    assert all(bool((copy["s2"] == number).all()) for number, copy in enumerate(found))


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"batch_size": 128}, {}, "do not fill one batch of 128"),
        ({"image_size": 32}, {}, "image_size 32 is larger than the patches"),
        ({"batch_size": 15}, {"devices": 2}, "not a multiple of 2 devices"),
        ({"batch_norm": "sync"}, {"devices": 2}, "batch_norm=sync needs GPUs"),
    ],
)
def test_bad_input_fails_before_training(changes, options, message, tmp_path):
    with pytest.raises((ConfigError, DataError), match=message):
        run(tiny(**changes), tmp_path, **options)
    assert not list(tmp_path.rglob("metrics.csv"))


def test_overlapping_patches_are_masked_and_known_by_their_grid_positions():
    index = torch.tensor([0, 1, 2, 5, 8])  # scene 0: (0,0) (0,1) (0,2) (1,1), scene 1: (0,0)
    assert Overlaps(ToySource().catalog)(index).int().tolist() == [
        [1, 1, 0, 1, 0],
        [1, 1, 1, 1, 0],
        [0, 1, 1, 1, 0],
        [1, 1, 1, 1, 0],
        [0, 0, 0, 0, 1],
    ]


def test_a_patch_that_fills_up_a_batch_is_no_negative_of_itself():
    """Also where patches that share ground are not masked (preset "paper")."""
    index = filled_up({"index": torch.tensor([8, 0, 5])}, 5)["index"]
    ddp = SimpleNamespace(world_size=2)
    trainer = Trainer(ddp, SimpleNamespace(config=tiny(mask_overlaps=False)), *[None] * 6)
    mask = trainer.false_negatives(index)
    assert mask.fill_diagonal_(False).nonzero().tolist() == [[0, 3], [1, 4], [3, 0], [4, 1]]


@pytest.mark.parametrize(
    ("device", "world", "batch_norm", "shared"),
    [("cuda", 2, "auto", True), ("cuda", 2, "local", False), ("cuda", 1, "auto", False), ("cpu", 2, "auto", False)],
)  # fmt: skip
def test_batch_norm_shares_its_statistics_on_several_gpus(device, world, batch_norm, shared):
    config = tiny(batch_norm=batch_norm)
    fabric = SimpleNamespace(device=torch.device(device), world_size=world)
    model = prepare(config, make_method(config).model, fabric)
    assert any(isinstance(m, torch.nn.SyncBatchNorm) for m in model.modules()) == shared


def test_pairs_learn_to_find_each_other_and_what_prevents_it_is_warned_about(tmp_path):
    result = run(tiny(epochs=12, lr=1e-2, temperature=0.2), tmp_path / "learns")
    assert result.metrics["val_top5"] > 0.8 > 1.5 * result.metrics["val_chance_top5"]
    assert result.metrics["val_mrr"] > 0.5
    source = ToySource()
    source.s1[:] = -12.0  # all radar images are alike
    with pytest.warns(RuntimeWarning, match="features collapse"):
        run(tiny(warmup_epochs=0), tmp_path / "flat", source=source)
    with pytest.warns(RuntimeWarning, match="BatchNorm takes its statistics from a micro-batch"):
        run(tiny(micro_batch=8), tmp_path / "micro", max_minutes=0)
