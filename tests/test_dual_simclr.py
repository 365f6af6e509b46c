"""The method on one page computes what the engine computes, and what it saves the engine reads."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from lightning_fabric import Fabric
from toy_pairs import ToySource

from eo_ssl import dual_simclr
from eo_ssl.dual_simclr import DualSimCLR, SameGround
from eo_ssl.losses import nt_xent
from eo_ssl.train import step
from eo_ssl.train.checkpoint import load_method
from eo_ssl.train.config import preset, pretrain_folder
from eo_ssl.train.loop import Overlaps
from eo_ssl.train.methods import make_method
from eo_ssl.train.pretrain import finished, keep, pretrain

CONFIG = preset("dual-simclr", "smoke", image_size=16, batch_size=16, epochs=3, weight_decay=0.05)
FIELDS = ("epochs", "batch_size", "lr", "warmup_epochs", "weight_decay", "temperature", "seed")
SETTINGS = {name: getattr(CONFIG, name) for name in FIELDS}


def fresh():
    with step.seeded(CONFIG.seed):
        return DualSimCLR(CONFIG.backbone, CONFIG.image_size)


@pytest.fixture(scope="module")
def source():
    return ToySource()


@pytest.fixture(scope="module")
def trained(source):
    model = fresh()
    return model, dual_simclr.train(model, source, **SETTINGS)


def test_one_seed_draws_the_weights_of_the_engine():
    with step.seeded(CONFIG.seed):
        theirs = make_method(CONFIG).model.state_dict()
    ours = fresh().state_dict()
    assert ours.keys() == theirs.keys() and all(ours[name].equal(theirs[name]) for name in ours)


def test_loss_and_gradient_equal_those_of_the_engine():
    views = {"s1": torch.randn(12, 2, 64, 64), "s2": torch.randn(12, 13, 64, 64)}
    mask = torch.arange(12)[:, None] // 2 == torch.arange(12) // 2
    ours, method = fresh(), make_method(CONFIG)
    method.model.load_state_dict(ours.state_dict())
    loss = nt_xent(*ours(**views), CONFIG.temperature, mask)
    loss.backward()
    fabric = Fabric(accelerator="cpu", devices=1)
    expected = step.backward_pass(fabric, fabric.setup(method.model), method.loss, views, mask)
    assert loss.item() == expected.item()
    for (name, a), b in zip(ours.named_parameters(), method.model.parameters(), strict=True):
        assert a.grad.equal(b.grad), name
    assert ours.encoder["s1"].net.conv1[0].weight.grad.abs().max() > 0


def test_weights_and_history_after_all_updates_equal_those_of_the_engine(trained, source, tmp_path):
    model, history = trained
    result = pretrain(CONFIG, source, tmp_path, accelerator="cpu", progress=False)
    theirs = load_method(result.folder)[0].model.state_dict()
    ours, first = model.state_dict(), fresh().state_dict()
    # Twelve updates: sums may be taken in another order, nothing more.
    torch.testing.assert_close(dict(ours), dict(theirs), rtol=1e-5, atol=1e-6)
    assert not ours["head1.layers.0.weight"].equal(first["head1.layers.0.weight"])
    table = pd.read_csv(result.folder / "metrics.csv")
    for column in history.columns.drop("seconds"):
        np.testing.assert_allclose(history[column], table[column], rtol=1e-5, err_msg=column)


def test_what_it_saves_is_a_finished_run_of_the_engine_until_the_code_is_another(
    trained, source, tmp_path, monkeypatch
):
    model, history = trained
    assert not finished(CONFIG, source, tmp_path)
    dual_simclr.save(model, pretrain_folder(tmp_path, CONFIG.name, CONFIG.backbone, CONFIG.seed))
    folder = keep(CONFIG, source, tmp_path, history)
    assert finished(CONFIG, source, tmp_path) and not finished(CONFIG.with_(lr=0.01), source, tmp_path)
    result = pretrain(CONFIG, source, tmp_path, accelerator="cpu", progress=False)
    assert result.folder == folder and result.metrics["val_mrr"] == history["val_mrr"].max()
    method, statistics = load_method(folder)
    assert statistics == source.stats("pretrain")
    assert all(value.equal(model.state_dict()[name]) for name, value in method.model.state_dict().items())
    monkeypatch.setattr("eo_ssl.train.pretrain.training_code", lambda: "another")
    assert not finished(CONFIG, source, tmp_path)


@pytest.mark.parametrize("known", [True, False])
def test_the_mask_of_shared_ground_is_that_of_the_engine(source, known):
    catalog = source.catalog if known else source.catalog.assign(row=-1, col=-1)
    index = torch.randperm(len(catalog), generator=torch.Generator().manual_seed(0))[:40]
    mask = SameGround(catalog)(index)
    assert mask.equal(Overlaps(catalog)(index)) and 0 < mask.float().mean() < 1


def test_it_is_one_page_that_asks_nothing_of_the_engine():
    text = Path(dual_simclr.__file__).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert not any(f"eo_ssl.{room}" in text.split('"""', 2)[2] for room in ("train", "course", "show"))
