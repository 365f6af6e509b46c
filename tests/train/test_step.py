"""Cached gradients equal plain ones, running statistics behave as documented, rates move with every update."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from eo_ssl.errors import ConfigError
from eo_ssl.train.config import (
    DualSimCLRConfig,
    FinetuneConfig,
    MMAConfig,
    PretrainConfig,
    SimCLRConfig,
    SwinPairConfig,
)
from eo_ssl.train.devices import make_fabric, prepare
from eo_ssl.train.downstream import architecture, parameter_groups
from eo_ssl.train.loop import make_optimizer, set_learning_rate
from eo_ssl.train.methods import Method, make_method
from eo_ssl.train.step import backward_pass, freeze_statistics, seeded

FABRIC = Fabric(accelerator="cpu", devices=1)
SMALL = {"image_size": 16, "epochs": 9}
METHODS: dict[str, PretrainConfig] = {
    "swin-pair": SwinPairConfig(backbone="swin_nano", **SMALL),
    "dual-simclr": DualSimCLRConfig(backbone="resnet_nano", batch_norm="frozen", **SMALL),
    "simclr": SimCLRConfig(backbone="resnet_nano", batch_norm="frozen", **SMALL),
    "mma": MMAConfig(backbone="vgg_mma_mini", second_crop=8, temperature=0.1, batch_norm="frozen", **SMALL),
}


def built(config: PretrainConfig) -> Method:
    with seeded(3):
        method = make_method(config)
    method.model.train()
    if config.batch_norm == "frozen":
        freeze_statistics(method.model)
    return method


def views_of(method: Method, pairs: int) -> dict[str, torch.Tensor]:
    generator, size = torch.Generator().manual_seed(0), method.config.image_size
    bands = {"s1": 2, "s2": 13}
    batch = {name: torch.randn(pairs, n, size, size, generator=generator) for name, n in bands.items()}
    return method.views(batch, generator)


def gradients(
    method: Method,
    micro_batch: int = 0,
    mask: torch.Tensor | None = None,
    fabric: Fabric = FABRIC,
    compile: bool = False,
) -> tuple[float, dict]:
    method.model.zero_grad()
    model = fabric.setup_module(prepare(method.config, method.model, fabric, compile))
    views = {name: view.to(fabric.device) for name, view in views_of(method, 12).items()}
    with seeded(5):  # the same drop-path
        loss = backward_pass(fabric, model, method.loss, views, mask, micro_batch)
    found = {name: p.grad.clone() for name, p in method.model.named_parameters() if p.grad is not None}
    return float(loss), found


def assert_equal(found: tuple[float, dict], expected: tuple[float, dict]) -> None:
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    assert found[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-4, atol=1e-5 * scale + 1e-9, msg=name)


@pytest.mark.parametrize("name", METHODS)
def test_cached_gradients_equal_those_of_the_whole_batch_with_its_mask_of_false_negatives(name):
    method, group = built(METHODS[name]), torch.arange(12) // 3
    mask = group[:, None] == group
    before = {name: buffer.clone() for name, buffer in method.model.named_buffers()}
    assert_equal(gradients(method, 5, mask), gradients(method, 0, mask))
    assert all(torch.equal(buffer, before[name]) for name, buffer in method.model.named_buffers())
    assert gradients(method, 5, mask)[0] < gradients(method, 5)[0]


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions of a GPU in all bits of float32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", METHODS)
def test_bf16_gives_the_loss_and_the_direction_of_the_gradient_of_fp32(name, device, exact):
    # Not 16 pixels: the last block would see 1×1, where oneDNN on a processor with AMX writes the gradient of
    # one tap of nine and returns for the others whatever the memory held.
    config = replace(METHODS[name], image_size=32)
    (loss, half), (expected, full) = (
        gradients(built(config), fabric=make_fabric(precision, accelerator=device))
        for precision in ("bf16", "32")
    )
    assert loss == pytest.approx(expected, rel=0.03) and loss != expected
    a, b = (torch.cat([gradient.flatten() for gradient in g.values()]).double() for g in (half, full))
    assert torch.cosine_similarity(a, b, dim=0) > 0.95
    assert float(a.norm()) == pytest.approx(float(b.norm()), rel=0.15)


@pytest.mark.gpu
@pytest.mark.parametrize("name", METHODS)
def test_cached_gradients_on_a_gpu_drop_the_same_paths_in_both_passes(name, exact):
    method, fabric = built(METHODS[name]), make_fabric("32", accelerator="cuda")
    assert_equal(gradients(method, 5, fabric=fabric), gradients(method, fabric=fabric))


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["dual-simclr", "swin-pair"])
def test_a_compiled_model_has_the_loss_and_gradients_of_a_plain_one(name, exact):
    method, fabric = built(METHODS[name]), make_fabric("32", accelerator="cuda")
    method.model.eval()  # a compiler draws dropped paths in its own way
    assert_equal(gradients(method, fabric=fabric, compile=True), gradients(method, fabric=fabric))


def test_running_statistics_move_once_per_micro_batch_not_twice():
    config = DualSimCLRConfig(backbone="resnet_nano", **SMALL)
    cached, plain = built(config), built(config)
    views = views_of(cached, 12)
    backward_pass(FABRIC, FABRIC.setup_module(cached.model), cached.loss, views, None, 6)
    with torch.no_grad():
        for part in ({k: x[:6] for k, x in views.items()}, {k: x[6:] for k, x in views.items()}):
            plain.model(part)
    found, expected = (
        {name: buffer for name, buffer in method.model.named_buffers() if "running" in name}
        for method in (cached, plain)
    )
    torch.testing.assert_close(found, expected)


class Whole(nn.Module):
    """A classifier that fits `samples` samples into memory."""

    def __init__(self, samples: int = 99) -> None:
        super().__init__()
        self.net, self.samples = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), samples

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        if len(batch["x"]) > self.samples:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.net(batch["x"])


LABEL = torch.tensor([0, 1, 255, 2, 255, 255])


def classify(logits: torch.Tensor, _: None) -> torch.Tensor:
    return nn.functional.cross_entropy(logits, LABEL, ignore_index=255)


def test_a_single_output_is_cut_like_a_pair():
    """Micro-batches of a classifier: the loss is a mean over *labelled* samples, however they are cut."""
    batch, model, found = {"x": torch.randn(6, 12), "label": LABEL}, Whole(), []
    for micro in (0, 4):
        model.zero_grad()
        backward_pass(FABRIC, FABRIC.setup_module(model), classify, batch, None, micro)
        found.append(model.net[1].weight.grad.clone())
    torch.testing.assert_close(*found)


def test_dropout_draws_the_same_numbers_in_both_passes():
    model, seen = Whole(), []
    model.net.append(nn.Dropout(0.5))
    model.register_forward_hook(lambda _m, _i, output: seen.append(output.detach() == 0))
    with seeded(1):
        backward_pass(FABRIC, FABRIC.setup_module(model), classify, {"x": torch.randn(6, 12)}, None, 3)
    first, second, first_again, second_again = seen
    assert torch.equal(first, first_again) and torch.equal(second, second_again)
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    ("micro", "message"),
    [
        (5, "with 5 samples at a time: set micro_batch=2 and start again"),
        (2, "take a smaller image_size or backbone"),
    ],
)
def test_out_of_memory_is_one_line_that_names_the_micro_batch(micro, message):
    model = FABRIC.setup_module(Whole(1))
    with pytest.raises(ConfigError, match=message):
        backward_pass(FABRIC, model, classify, {"x": torch.randn(6, 12)}, None, micro)


def test_the_rate_rises_linearly_and_falls_as_a_cosine_with_every_update():
    config = DualSimCLRConfig(epochs=3, warmup_epochs=1, lr=1.0, min_lr=0.1)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.0)
    rates = [set_learning_rate(optimizer, config, step, per_epoch=4) for step in range(12)]
    assert rates[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert all(a > b for a, b in pairwise(rates[4:])) and rates[-1] == pytest.approx(0.1)
    assert optimizer.param_groups[0]["lr"] == rates[-1]


def test_pretraining_and_fine_tuning_decay_the_same_weights_and_the_papers_adam_everything():
    """Matrices and kernels; no biases, norms and position tables."""
    small = {"backbone": "swin_nano", "image_size": 16, "weight_decay": 0.1}
    model = architecture(FinetuneConfig(**small))
    rules = [
        make_optimizer(SwinPairConfig(**small), model).param_groups,
        parameter_groups(model, FinetuneConfig(**small)),
        parameter_groups(model, FinetuneConfig(**small, init="somewhere", lr_backbone=1e-5)),
    ]
    decayed = [{id(p) for group in rule if group["weight_decay"] for p in group["params"]} for rule in rules]
    assert decayed[0] == decayed[1] == decayed[2]
    counts = [sum(len(group["params"]) for group in rule) for rule in rules]
    assert counts == 3 * [len(list(model.parameters()))]
    for name, parameter in model.named_parameters():
        assert (id(parameter) in decayed[0]) == (parameter.ndim > 1 and "position_bias" not in name), name
    optimizer = make_optimizer(DualSimCLRConfig(optimizer="adam", weight_decay=1e-4), nn.Linear(2, 2))
    assert type(optimizer) is torch.optim.Adam
    assert [group["weight_decay"] for group in optimizer.param_groups] == [1e-4]
