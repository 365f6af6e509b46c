"""Fine-tuning: frozen is frozen, validation chooses, a killed run ends with the same weights."""

import json
from itertools import count

import numpy as np
import pytest
import torch
from toy_labels import ToyLabels

from eo_ssl.data.dataset import PatchDataset
from eo_ssl.errors import CheckpointError, ConfigError, DataError, EOError
from eo_ssl.evaluate.predict import TilePredictions
from eo_ssl.train import finetune as module
from eo_ssl.train.checkpoint import load_dual, save_pretrained
from eo_ssl.train.config import SELECT_BY, FinetuneConfig, preset
from eo_ssl.train.downstream import Downstream, build, ensemble, load_trained
from eo_ssl.train.finetune import finetune, test_trained
from eo_ssl.train.labelled import (
    LabelledData,
    crop_labels,
    cross_entropy,
    draw_patches,
    load_patches,
    score_tiles,
    symmetries,
)
from eo_ssl.train.methods import make_method

SMALL = {
    "backbone": "resnet_nano", "image_size": 8, "updates": 6, "evaluations": 3, "batch_size": 8,
    "precision": "32", "unet_width": 2,
}  # fmt: skip


def config(**changes):
    return FinetuneConfig(**SMALL | changes)


@pytest.fixture(scope="module")
def data():
    return LabelledData(ToyLabels(), "toy")


def pretrained(folder, backbone="resnet_nano", size=8, method="dual-simclr", seed=0):
    """A checkpoint as pretraining leaves it, with random weights."""
    torch.manual_seed(seed)
    settings = preset(method, "smoke", backbone=backbone, image_size=size)
    return str(save_pretrained(make_method(settings), ToyLabels().stats("train"), folder))


def run(changes, data, folder=None, **options):
    return finetune(config(**changes), data, folder, accelerator="cpu", **options)


def kept(changes, data, folder, name="kept", **options):
    """The line of a run, and its model as it is read from the disk."""
    line = run(changes, data, folder, name=name, keep=True, **options)
    return line, load_trained(folder / "models" / name)[0]


@pytest.mark.parametrize("model", ["s1", "s2", "early", "late"])
@pytest.mark.parametrize("task", ["single", "multi"])
def test_every_classifier_gives_a_complete_line(model, task, data):
    line = run({"model": model, "task": task, "fraction": 0.3}, data)
    assert 0 <= line["test"][SELECT_BY[task]] <= 1 and line["seconds"] > 0 and line["n_labels"] == 8
    assert line["best_update"] in {2, 4, 6} and len(line["history"]) == 3 and line["test_reads"] == 1


@pytest.mark.parametrize(
    ("model", "task", "backbone", "size"),
    [
        ("late", "multi", "resnet_nano", 8),
        ("late", "single", "swin_nano", 16),
        ("swin-unet", "segment", "swin_nano", 16),
    ],
)
def test_a_frozen_backbone_is_bit_identical_after_training(model, task, backbone, size, data, tmp_path):
    """And the cached features and the folded standardisation describe the very model that is saved."""
    init = pretrained(tmp_path / "init", backbone, size)
    changes = {"model": model, "task": task, "backbone": backbone, "image_size": size, "init": init}
    line, down = kept(changes | {"mode": "frozen"}, data, tmp_path)
    live = test_trained("live", [tmp_path / "models" / "kept"], data, tmp_path, accelerator="cpu")
    floats = {name: value for name, value in line["test"].items() if isinstance(value, float)}
    assert floats == pytest.approx({name: live["test"][name] for name in floats}, abs=1e-5)
    before, after = load_dual(init)[0].state_dict(), down.model.backbone.state_dict()
    torch.testing.assert_close(after, before, rtol=0, atol=0)  # running means are where frozen models drift


def test_fine_tuning_does_change_the_backbone_and_at_its_own_rate(data, tmp_path):
    init = pretrained(tmp_path / "init")
    before = load_dual(init)[0].s1.net.conv1[0].weight
    for rate in (0.0, 1e-3):
        _, down = kept({"init": init, "lr_backbone": rate, "weight_decay": 0.0}, data, tmp_path)
        assert torch.equal(down.model.backbone.s1.net.conv1[0].weight, before) == (rate == 0.0)


def test_features_are_computed_once_for_all_cells(data, tmp_path, monkeypatch):
    init = pretrained(tmp_path / "init")
    first = run({"init": init, "mode": "frozen"}, data, tmp_path, name="a")
    monkeypatch.setattr("eo_ssl.train.frozen.FeatureStream._encoded", lambda *a: pytest.fail("encoded again"))
    again = run({"init": init, "mode": "frozen"}, data, tmp_path, name="b")
    other = run({"init": init, "mode": "frozen", "seed": 1, "fraction": 0.5}, data, tmp_path, name="c")
    assert first["test"] == again["test"] and other["n_labels"] == 12


EIGHT = {"updates": 8, "evaluations": 4}


@pytest.fixture
def killed(data, tmp_path, monkeypatch):
    """`killed(name, **changes)`: a run that dies in its sixth update, a state written at every look; and from then on
    the numbers of the updates that are made."""

    def die(name, **changes):
        made, calls, real = [], count(1), module.update
        last = 6 + EIGHT["updates"] * ("init" in changes)  # of pretrained models the head comes first

        def update(*args):
            if next(calls) == last:
                raise KeyboardInterrupt
            made.append(args[-1])
            return real(*args)

        monkeypatch.setattr(module, "update", update)
        with pytest.raises(KeyboardInterrupt):
            run(EIGHT | changes, data, tmp_path, name=name, save_seconds=0)
        assert (tmp_path / "state" / f"{name}.pt").is_file()
        made.clear()
        return made

    return die


def test_a_killed_run_goes_on_and_ends_with_the_same_weights(data, tmp_path, killed):
    whole, a = kept(EIGHT, data, tmp_path, "whole")
    steps = killed("halves")
    halves, b = kept(EIGHT, data, tmp_path, "halves", save_seconds=0)
    torch.testing.assert_close(a.state_dict(), b.state_dict(), rtol=0, atol=0)
    assert whole["history"] == halves["history"] and whole["test"] == halves["test"]
    assert steps == [4, 5, 6, 7]  # it did go on
    assert list((tmp_path / "state").iterdir()) == []  # and leaves nothing


@pytest.mark.parametrize("other", ["settings", "data", "weights", "code"])
def test_a_state_of_something_else_under_the_same_name_is_not_gone_on_from(
    other, data, tmp_path, killed, monkeypatch
):
    """A cell whose settings changed once wrote its old model under the new name."""
    start = {"init": pretrained(tmp_path / "init")}
    steps = killed("cell", **start)
    changes = {**EIGHT, **start} | ({"lr_head": 3e-2} if other == "settings" else {})
    if other == "weights":
        pretrained(tmp_path / "init", seed=1)
    if other == "code":
        monkeypatch.setattr(module, "training_code", lambda: "an edited loss")
    source = LabelledData(ToyLabels(seed=1)) if other == "data" else data
    run(changes, source, tmp_path, name="cell", test=False)
    assert steps == [*range(8), *range(8)]  # those of the head, then all


def test_splits_that_share_a_patch_and_training_patches_without_a_label_are_refused_in_words():
    source = ToyLabels()
    source.catalog.loc[0, "group"] = source.catalog["group"].iloc[-1]
    with pytest.raises(DataError, match="share group"):
        LabelledData(source)
    source = ToyLabels()
    source.masks[:] = 255
    with pytest.raises(DataError, match="no training patch has a label"):
        LabelledData(source)


def test_an_ensemble_averages_probabilities_of_models_with_their_own_statistics(data, tmp_path):
    init = pretrained(tmp_path / "init", "swin_nano", 16)
    same = {"task": "segment", "backbone": "swin_nano", "image_size": 16}
    _, u = kept({**same, "model": "unet"}, data, tmp_path, "u")
    _, w = kept({**same, "model": "swin-unet", "init": init}, data, tmp_path, "w")
    folders = [tmp_path / "models" / name for name in ("u", "w")]
    line = test_trained("both", folders, data, tmp_path, accelerator="cpu", val=True)
    assert line["test_reads"] == 1 and 0 <= line["val_score"] <= 1
    batch = load_patches(data.source, data.train.rows[:1]).cut(*[torch.zeros(1, dtype=torch.int64)] * 3, 16)
    mean = sum(m.model(m.prepare(batch)).softmax(1) for m in (u, w)) / 2
    assert torch.allclose(ensemble([u, w])(batch).exp(), mean, atol=1e-6)


def test_crop_labels_agree_with_the_data_set_and_the_loss_of_none_is_zero_with_a_gradient():
    batch = PatchDataset(ToyLabels(), range(44), 16, "centre", labels=True).__getitems__(range(44))
    label, multilabel = crop_labels(batch["mask"])
    assert torch.equal(label, batch["label"]) and torch.equal(multilabel, batch["multilabel"])
    nothing, none = crop_labels(torch.full((1, 4, 4), 255))
    assert nothing.tolist() == [255] and none.sum() == 0
    logits = torch.randn(2, 8, 4, 4, requires_grad=True)
    cross_entropy(logits, torch.full((2, 4, 4), 255)).backward()
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_batches_draw_every_class_as_often():
    labels, settings = torch.tensor([0] * 90 + [1] * 10 + [255] * 5), config(batch_size=50)
    drawn = torch.cat([labels[draw_patches(labels, settings, step)[0]] for step in range(40)])
    assert 255 not in drawn and 0.4 < (drawn == 1).float().mean() < 0.6


def test_the_eight_symmetries_are_different_and_move_images_and_labels_together():
    s2 = torch.arange(13 * 9.0).reshape(1, 13, 3, 3).repeat(8, 1, 1, 1)
    batch = {"s2": s2, "s1": s2[:, :2].clone(), "mask": s2[:, 0].long()}
    turned = symmetries({k: v.clone() for k, v in batch.items()}, torch.arange(8))
    assert len({tuple(x.flatten().tolist()) for x in turned["mask"]}) == 8
    assert torch.equal(turned["s2"][:, 0].long(), turned["mask"])
    assert torch.equal(turned["s1"], turned["s2"][:, :2])


def test_a_kept_model_is_read_by_the_hub_and_one_of_the_first_edition_refused_in_one_line(data, tmp_path):
    _, down = kept({"model": "s1"}, data, tmp_path)
    folder, settings = tmp_path / "models" / "kept", down.config
    batch = data.val.cut(*[torch.zeros(1, dtype=torch.int64)] * 3, 8)
    for again in (Downstream.from_pretrained(folder), load_trained(folder)[0]):
        assert torch.equal(again(batch), down(batch)) and again.config == settings
    assert "s1 · single" in (folder / "README.md").read_text()
    facts = json.loads((folder / "config.json").read_text())
    old = {**facts, "config": facts["settings"]}
    old.pop("settings")
    (folder / "config.json").write_text(json.dumps(old))
    with pytest.raises(CheckpointError, match=r"does not load .*settings.*; train or fetch it"):
        load_trained(folder)


def test_a_crop_larger_than_the_patches_is_one_line_before_any_work():
    source = ToyLabels()
    source.fill = lambda *args: pytest.fail("the data were read")
    with pytest.raises(ConfigError, match=r"image_size 128 is larger than the patches .16 px.; lower it"):
        finetune(FinetuneConfig(backbone="resnet_nano"), source, accelerator="cpu")


def test_runs_learn_repeat_themselves_and_open_the_test_set_only_when_asked(data):
    """Also that a choice of a learning rate never opens the test set, and that divergence has its own words."""
    fast = {"model": "s1", "updates": 80, "lr_head": 1e-2, "image_size": 10}
    assert run(fast, data, name="learns")["test"]["aa"] > 0.8
    lines = [run({"seed": s, "fraction": 0.5}, data, name=f"{s} {i}") for i, s in enumerate((0, 0, 1))]
    assert lines[0]["test"] == lines[1]["test"] != lines[2]["test"]
    closed = LabelledData(ToyLabels())
    assert "test" not in run({}, closed, test=False) and closed._test is None
    assert np.isfinite(run({}, LabelledData(ToyLabels(gaps=True)), name="gaps")["test"]["aa"])
    with pytest.raises((EOError, ValueError), match="learning rate"):
        run({"lr_head": 1e30}, data)


def test_a_checkpoint_without_the_needed_sensor_or_with_another_backbone_is_refused(data, tmp_path):
    init = pretrained(tmp_path / "init", method="simclr-rgb")
    with pytest.raises(CheckpointError, match="no encoder for s1"):
        run({"init": init}, data)
    with pytest.raises(CheckpointError, match="resnet_nano, not resnet_mini"):
        run({"init": init, "model": "s2", "backbone": "resnet_mini"}, data)
    down = build(config(model="s2", init=init), data.source, torch.device("cpu"))
    s2 = down.prepare({"s2": torch.rand(1, 13, 8, 8)})["s2"]  # what was pretrained on RGB sees only RGB
    assert s2.abs().amax((0, 2, 3)).nonzero().flatten().tolist() == [1, 2, 3]


def test_several_labels_of_a_crop_without_any_label_are_not_known():
    logits, label = torch.randn(4, 8), torch.tensor([0, 255, 3, 255])
    batch = {"multilabel": torch.randint(2, (4, 8)).float(), "label": label}
    known = label != 255
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits[known], batch["multilabel"][known])
    torch.testing.assert_close(module.task_loss("multi", batch, logits), expected)
    nothing = {name: value[~known] for name, value in batch.items()}
    assert module.task_loss("multi", nothing, logits[~known]) == 0
    tiles = TilePredictions(logits, label, batch["multilabel"], torch.tensor([0, 0, 1, 1]))
    found = score_tiles(config(task="multi"), tiles, 2)
    fewer = score_tiles(config(task="multi"), TilePredictions(*(x[known] for x in tiles)), 2)
    assert found.counts.equal(fewer.counts) and found.metrics == fewer.metrics
