"""Fine-tuning: frozen is frozen, the test set is read once, a killed run ends with the same weights."""

import numpy as np
import pytest
import torch
from toy_labels import ToyLabels

from eo_ssl.data.dataset import PatchDataset
from eo_ssl.errors import CheckpointError, ConfigError, DataError, EOError
from eo_ssl.evaluate.once import TestOnce, TestReadTwice
from eo_ssl.train import finetune as module
from eo_ssl.train.checkpoint import base_meta, save_pretrained
from eo_ssl.train.finetune import finetune, inside, test_trained
from eo_ssl.train.labelled import LabelledData
from eo_ssl.train.config import FinetuneConfig
from eo_ssl.train.labelled import crop_labels, draw_patches, load_patches, symmetries
from eo_ssl.train.downstream import load_trained
from eo_ssl.train.labelled import cross_entropy, dice_loss
from eo_ssl.train.methods import make_method
from eo_ssl.train.config import preset

SMALL = {
    "backbone": "resnet_nano", "image_size": 8, "updates": 6, "evaluations": 3, "batch_size": 8,
    "precision": "32", "unet_width": 2,
}  # fmt: skip


def config(**changes):
    return FinetuneConfig(**SMALL | changes)


@pytest.fixture(scope="module")
def data():
    return LabelledData(ToyLabels(), "toy")


def pretrained(folder, backbone="resnet_nano", size=8, method="dual-simclr"):
    """A checkpoint as pretraining leaves it, with random weights."""
    torch.manual_seed(0)
    settings = preset(method, "smoke", backbone=backbone, image_size=size)
    meta = base_meta(settings, ToyLabels().stats("train"))
    return str(save_pretrained(make_method(settings), folder, meta))


def run(changes, data, folder=None, **options):
    return finetune(config(**changes), data, folder, accelerator="cpu", **options)


ALL = [
    {"model": "s1"},
    {"model": "s2", "task": "multi"},
    {"model": "early", "balanced": False},
    {"model": "late", "fraction": 0.3},
    {"model": "unet", "task": "segment", "image_size": 16},
    {"model": "swin-unet", "task": "segment", "image_size": 16, "backbone": "swin_nano", "dice": 1.0},
]


@pytest.mark.parametrize("changes", ALL, ids=lambda c: f"{c['model']}-{c.get('task', 'single')}")
def test_every_model_gives_a_complete_line_with_one_look_at_the_test_set(changes, data):
    before = data.test.reads.total()
    line = run(changes, data, name=str(changes))
    assert line["test_reads"] == 1 and data.test.reads.total() == before + 1
    assert set(data.test.reads.values()) == {1}
    assert 0 <= line["test"][config(**changes).select_by] <= 1 and line["seconds"] > 0
    assert line["n_labels"] == (24 if changes.get("fraction") is None else 8)
    assert line["best_update"] in {2, 4, 6} and len(line["history"]) == 3


def test_it_learns_what_is_easy_to_learn(data):
    line = run({"model": "s1", "updates": 80, "lr_head": 1e-2, "image_size": 10}, data, name="learns")
    assert line["test"]["aa"] > 0.8


FROZEN = [
    ("late", "single", "resnet_nano", 8),
    ("late", "multi", "resnet_nano", 8),
    ("late", "single", "swin_nano", 16),
    ("swin-unet", "segment", "swin_nano", 16),
]


@pytest.mark.parametrize("model, task, backbone, size", FROZEN)
def test_a_frozen_backbone_is_bit_identical_after_training(model, task, backbone, size, data, tmp_path):
    init = pretrained(tmp_path / "init", backbone, size)
    changes = {
        "model": model,
        "task": task,
        "backbone": backbone,
        "image_size": size,
        "init": init,
        "mode": "frozen",
    }
    run(changes, data, tmp_path, name="frozen", keep=True)
    model_after = load_trained(tmp_path / "models" / "frozen")[0].model
    before, _ = load_pretrained(init)
    after = {
        k.removeprefix("backbone."): v
        for k, v in model_after.state_dict().items()
        if k.startswith("backbone.")
    }
    assert after.keys() == before.keys()
    for (
        name,
        value,
    ) in before.items():  # buffers too: running means of batch norm are where frozen models drift
        assert torch.equal(after[name], value), name


def load_pretrained(folder):
    from eo_ssl.train.checkpoint import load_dual

    dual, meta = load_dual(folder)
    return {k: v for k, v in dual.state_dict().items() if k.startswith(("s1.", "s2."))}, meta


def test_fine_tuning_does_change_the_backbone_and_at_its_own_rate(data, tmp_path):
    init = pretrained(tmp_path / "init")
    moved = {}
    for rate in (0.0, 1e-3):
        run(
            {"init": init, "lr_backbone": rate, "weight_decay": 0.0},
            data,
            tmp_path,
            name=f"r{rate}",
            keep=True,
        )
        after = load_trained(tmp_path / "models" / f"r{rate}")[0].model.state_dict()
        before, _ = load_pretrained(init)
        name = "s1.net.conv1.0.weight"
        moved[rate] = float((after[f"backbone.{name}"] - before[name]).abs().max())
    assert moved[0.0] == 0.0 and moved[1e-3] > 0


def test_a_frozen_classifier_equals_the_same_head_on_live_features(data, tmp_path):
    """The cached features and the folded standardisation describe the very model that is saved."""
    init = pretrained(tmp_path / "init")
    line = run({"init": init, "mode": "frozen"}, data, tmp_path, name="cached", keep=True)
    live = test_trained("live", [tmp_path / "models" / "cached"], data, tmp_path, accelerator="cpu")
    assert live["test"]["aa"] == pytest.approx(line["test"]["aa"])
    assert live["test"]["ece"] == pytest.approx(line["test"]["ece"], abs=1e-5)


def test_features_are_computed_once_for_all_cells(data, tmp_path, monkeypatch):
    init = pretrained(tmp_path / "init")
    first = run({"init": init, "mode": "frozen"}, data, tmp_path, name="a")
    monkeypatch.setattr("eo_ssl.train.finetune_streams.encode_crops", lambda *a: pytest.fail("encoded again"))
    again = run({"init": init, "mode": "frozen"}, data, tmp_path, name="b")
    other = run({"init": init, "mode": "frozen", "seed": 1, "fraction": 0.5}, data, tmp_path, name="c")
    assert first["test"] == again["test"] and other["n_labels"] == 12


def test_a_killed_run_goes_on_and_ends_with_the_same_weights(data, tmp_path, monkeypatch):
    changes = {"updates": 8, "evaluations": 4}
    whole = run(changes, data, tmp_path, name="whole", keep=True)
    real, calls = module.loss_function, []

    def dies_in_update_6(found):
        def loss(logits, batch):
            calls.append(1)
            if len(calls) == 6:
                raise KeyboardInterrupt
            return real(found)(logits, batch)

        return loss

    monkeypatch.setattr(module, "loss_function", dies_in_update_6)
    with pytest.raises(KeyboardInterrupt):
        run(changes, data, tmp_path, name="halves", keep=True, save_seconds=0)
    monkeypatch.setattr(module, "loss_function", real)
    halves = run(changes, data, tmp_path, name="halves", keep=True, save_seconds=0)
    a, b = (load_trained(tmp_path / "models" / name)[0].model.state_dict() for name in ("whole", "halves"))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert whole["history"] == halves["history"] and whole["test"] == halves["test"]


def test_early_stopping_keeps_the_best_look_and_spares_the_rest(data, monkeypatch):
    scores = iter([0.5, 0.7, 0.6, 0.6, 0.9, 0.9])
    real = module.PatchStream.evaluate

    def scored(self, forward, patches, limit, keep_maps=0):
        found = real(self, forward, patches, limit, keep_maps)
        if patches is data.val:
            found.metrics["aa"] = next(scores)
        return found

    monkeypatch.setattr(module.PatchStream, "evaluate", scored)
    line = run({"updates": 12, "evaluations": 6, "patience": 2}, data, name="stops")
    assert line["best_update"] == 4 and line["updates"] == 8 and line["val_score"] == 0.7


def test_the_same_seed_gives_the_same_model_and_another_seed_another(data):
    lines = [run({"seed": s, "fraction": 0.5}, data, name=f"{s} {i}") for i, s in enumerate((0, 0, 1))]
    assert lines[0]["test"] == lines[1]["test"] != lines[2]["test"]


def test_the_test_set_cannot_be_read_twice_by_one_model(data, tmp_path):
    run({}, data, tmp_path, name="greedy", keep=True, test=False)
    folders = [tmp_path / "models" / "greedy"]
    test_trained("greedy", folders, data, tmp_path, accelerator="cpu")
    with pytest.raises(TestReadTwice, match="greedy"):
        test_trained("greedy", folders, data, tmp_path, accelerator="cpu")


def test_training_again_makes_another_model_that_may_be_tested(data):
    assert run({}, data, name="again")["test"] == run({}, data, name="again")["test"]


def test_choosing_a_learning_rate_never_opens_the_test_set():
    closed = LabelledData(ToyLabels())
    line = run({}, closed, test=False)
    assert "test" not in line and not closed.test.reads


def test_the_guard_notices_a_model_that_was_never_tested():
    guard = TestOnce(lambda: 1)
    with pytest.raises(TestReadTwice, match="0 times"):
        guard.require_one("m")


def test_splits_that_share_a_patch_are_refused():
    source = ToyLabels()
    source.catalog.loc[0, "group"] = source.catalog["group"].iloc[-1]
    with pytest.raises(DataError, match="share group"):
        LabelledData(source)


def test_validation_train_and_test_come_from_different_regions(data):
    regions = [
        set(data.source.catalog["region"].iloc[part.rows])
        for part in (data.train, data.val, data.test.read("r"))
    ]
    assert not (regions[0] & regions[1] or regions[0] & regions[2] or regions[1] & regions[2])


def test_label_fractions_are_nested_and_drawn_by_the_seed(data):
    small, large, other = (set(data.fraction(f, s)) for f, s in ((0.2, 0), (0.6, 0), (0.2, 1)))
    assert small < large and small != other


def test_an_ensemble_averages_probabilities_of_models_with_their_own_statistics(data, tmp_path):
    init = pretrained(tmp_path / "init", "swin_nano", 16)
    for name, changes in {"u": {"model": "unet"}, "w": {"model": "swin-unet", "init": init}}.items():
        changes |= {"task": "segment", "backbone": "swin_nano", "image_size": 16}
        run(changes, data, tmp_path, name=name, keep=True)
    folders = [tmp_path / "models" / name for name in ("u", "w")]
    line = test_trained("both", folders, data, tmp_path, accelerator="cpu", val=True)
    assert line["test_reads"] == 1 and 0 <= line["val_score"] <= 1
    (u, _), (w, _) = (load_trained(folder) for folder in folders)
    patches = load_patches(data.source, data.train.rows[:1])
    zero = torch.zeros(1, dtype=torch.int64)
    batch = patches.cut(zero, zero, zero, 16)
    from eo_ssl.train.downstream import TrainedEnsemble

    mean = sum(m.model(m.prepare(batch)).softmax(1) for m in (u, w)) / 2
    assert torch.allclose(TrainedEnsemble([u, w])(batch).exp(), mean, atol=1e-6)


def test_invalid_pixels_do_not_reach_the_model():
    line = run({}, LabelledData(ToyLabels(gaps=True)), name="gaps")
    assert np.isfinite(line["test"]["aa"])


def test_rgb_pretraining_sees_only_rgb(data, tmp_path):
    from eo_ssl.train.downstream import build

    init = pretrained(tmp_path / "init", method="simclr-rgb")
    down = build(config(model="s2", init=init), data.source, torch.device("cpu"))
    s2 = down.prepare({"s2": torch.rand(1, 13, 8, 8)})["s2"]
    assert s2.abs().amax((0, 2, 3)).nonzero().flatten().tolist() == [1, 2, 3]


def test_a_checkpoint_without_the_needed_sensor_or_with_another_backbone_is_refused(data, tmp_path):
    init = pretrained(tmp_path / "init", method="simclr")
    with pytest.raises(CheckpointError, match="no encoder for s1"):
        run({"init": init}, data)
    with pytest.raises(CheckpointError, match="resnet_nano, not resnet_mini"):
        run({"init": init, "model": "s2", "backbone": "resnet_mini"}, data)


def test_a_diverged_run_says_so(data):
    with pytest.raises((EOError, ValueError), match="learning rate"):
        run({"lr_head": 1e30}, data)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"fraction": 1.5}, "fraction"),
        ({"task": "segment"}, "does not do"),
        ({"mode": "frozen"}, "pretrained"),
        ({"model": "unet", "task": "segment", "init": "x"}, "scratch"),
        ({"updates": 0}, "updates"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        config(**changes)


def test_an_unknown_setting_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean updates"):
        FinetuneConfig.from_dict({"update": 3})


def test_crop_labels_agree_with_the_data_set():
    source = ToyLabels()
    batch = PatchDataset(source, range(44), 16, "centre", labels=True).__getitems__(range(44))
    label, multilabel = crop_labels(batch["mask"])
    assert torch.equal(label, batch["label"]) and torch.equal(multilabel, batch["multilabel"])
    nothing, none = crop_labels(torch.full((1, 4, 4), 255))
    assert nothing.tolist() == [255] and none.sum() == 0


def test_balanced_batches_draw_rare_classes_as_often_as_frequent_ones():
    labels = torch.tensor([0] * 90 + [1] * 10 + [255] * 5)
    drawn = torch.cat([labels[draw_patches(labels, 50, True, 0, step)] for step in range(40)])
    assert 255 not in drawn and 0.4 < (drawn == 1).float().mean() < 0.6


def test_plain_batches_pass_over_every_patch_before_any_comes_again():
    labels = torch.zeros(10, dtype=torch.long)
    drawn = torch.cat([draw_patches(labels, 4, False, 3, step) for step in range(5)])
    assert sorted(drawn[:10].tolist()) == sorted(drawn[10:].tolist()) == list(range(10))
    assert drawn[:10].tolist() != drawn[10:].tolist()


def test_the_eight_symmetries_are_different_and_move_images_and_labels_together():
    s2 = torch.arange(13 * 9.0).reshape(1, 13, 3, 3).repeat(8, 1, 1, 1)
    batch = {"s2": s2, "s1": s2[:, :2].clone(), "mask": s2[:, 0].long()}
    turned = symmetries({k: v.clone() for k, v in batch.items()}, torch.arange(8))
    assert len({tuple(x.flatten().tolist()) for x in turned["mask"]}) == 8
    assert torch.equal(turned["s2"][:, 0].long(), turned["mask"]) and torch.equal(
        turned["s1"], turned["s2"][:, :2]
    )


def test_losses_of_unlabelled_batches_are_zero_with_a_gradient():
    logits = torch.randn(2, 8, 4, 4, requires_grad=True)
    nothing = torch.full((2, 4, 4), 255)
    (cross_entropy(logits, nothing) + dice_loss(logits, nothing)).backward()
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_dice_is_zero_for_a_perfect_map_and_one_for_a_wrong_one():
    truth = torch.randint(0, 2, (1, 6, 6), generator=torch.Generator().manual_seed(0))
    sure = 50.0 * torch.nn.functional.one_hot(truth, 8).movedim(-1, 1)
    assert dice_loss(sure, truth) < 1e-6 and dice_loss(sure.flip(1), truth) > 0.99


def test_names_become_file_names():
    assert inside(None, "models", "a") is None
    from pathlib import Path

    assert inside(Path("r"), "models", "single late f=0.1 s=2").name == "single_late_f=0.1_s=2"
