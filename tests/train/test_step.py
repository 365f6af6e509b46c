"""Cached gradients equal plain ones; batches with running statistics behave as documented."""

from collections.abc import Callable

import pytest
import torch
from lightning.fabric import Fabric
from torch import nn

from eo_ssl.losses import same_group
from eo_ssl.train.config import DualSimCLRConfig, MMAConfig, PretrainConfig, SimCLRConfig, SwinPairConfig
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
    generator = torch.Generator().manual_seed(0)
    batch = {
        "s1": torch.randn(pairs, 2, 16, 16, generator=generator),
        "s2": torch.randn(pairs, 13, 16, 16, generator=generator),
    }
    return method.views(batch, generator)


def gradients(method: Method, micro_batch: int, mask: torch.Tensor | None = None) -> tuple[float, dict]:
    method.model.zero_grad()
    with seeded(5):  # the same drop-path
        loss = backward_pass(
            FABRIC, FABRIC.setup_module(method.model), method.loss, views_of(method, 12), mask, micro_batch
        )
    found = {name: p.grad.clone() for name, p in method.model.named_parameters() if p.grad is not None}
    return float(loss), found


def assert_equal(found: tuple[float, dict], expected: tuple[float, dict]) -> None:
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    assert found[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-4, atol=1e-5 * scale + 1e-9, msg=name)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("micro_batch", [4, 5])
def test_cached_gradients_equal_those_of_the_whole_batch(name: str, micro_batch: int) -> None:
    method = built(METHODS[name])
    assert_equal(gradients(method, micro_batch), gradients(method, 0))


def test_cached_gradients_respect_the_mask_of_false_negatives() -> None:
    method = built(METHODS["swin-pair"])
    mask = same_group(torch.arange(12) // 3)
    assert_equal(gradients(method, 4, mask), gradients(method, 0, mask))
    assert gradients(method, 4, mask)[0] < gradients(method, 4)[0]


class Noisy(nn.Module):
    """An embedding with dropout: both passes must drop the same units."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Flatten(), nn.Linear(2 * 256, 8), nn.Dropout(0.5))

    def forward(self, views: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        return self.layer(views["s1"]), self.layer(views["s1"] + 1)


def test_dropout_draws_the_same_numbers_in_both_passes() -> None:
    seen: list[torch.Tensor] = []

    def loss(z1: torch.Tensor, z2: torch.Tensor, mask: None) -> torch.Tensor:
        return (z1 * z2).sum()

    model = Noisy()
    model.register_forward_hook(lambda _m, _i, output: seen.append(output[0].detach()))
    with seeded(1):
        backward_pass(FABRIC, FABRIC.setup_module(model), loss, {"s1": torch.randn(6, 2, 16, 16)}, None, 3)
    first, second, first_again, second_again = seen
    assert torch.equal(first, first_again)
    assert torch.equal(second, second_again)
    assert not torch.equal(first == 0, second == 0)


def test_running_statistics_move_once_per_micro_batch_not_twice() -> None:
    config = DualSimCLRConfig(backbone="resnet_nano", **SMALL)
    cached, plain = built(config), built(config)
    views = views_of(cached, 12)
    backward_pass(FABRIC, FABRIC.setup_module(cached.model), cached.loss, views, None, 6)
    with torch.no_grad():
        for part in ({k: x[:6] for k, x in views.items()}, {k: x[6:] for k, x in views.items()}):
            plain.model(part)
    expected = dict(plain.model.named_buffers())
    for name, buffer in cached.model.named_buffers():
        if "running" in name:
            torch.testing.assert_close(buffer, expected[name])


def test_frozen_statistics_do_not_move() -> None:
    method = built(METHODS["dual-simclr"])
    before = {name: buffer.clone() for name, buffer in method.model.named_buffers()}
    gradients(method, 4)
    assert all(torch.equal(buffer, before[name]) for name, buffer in method.model.named_buffers())


@pytest.mark.parametrize("draw", [lambda: torch.rand(3), lambda: torch.randint(9, (2,))])
def test_seeded_blocks_leave_the_callers_random_numbers_alone(draw: Callable[[], torch.Tensor]) -> None:
    torch.manual_seed(0)
    expected = draw()
    torch.manual_seed(0)
    with seeded(7):
        draw()
    assert torch.equal(draw(), expected)
