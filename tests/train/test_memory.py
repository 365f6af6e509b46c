"""Out of memory: the update is made again in smaller pieces, as if it had been made so at once, and says so."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from lightning.fabric import Fabric
from safetensors.torch import load_file
from test_step import METHODS, assert_equal, built, views_of
from torch import nn
from toy_labels import ToyLabels
from toy_pairs import ToySource

from eo_ssl.errors import ConfigError
from eo_ssl.train import loop as epochs
from eo_ssl.train.checkpoint import read_meta
from eo_ssl.train.config import DualSimCLRConfig
from eo_ssl.train.finetune import finetune
from eo_ssl.train.config import FinetuneConfig
from eo_ssl.train.memory import agree, frugal_backward, rehearse
from eo_ssl.train.methods import Method
from eo_ssl.train.config import preset
from eo_ssl.train.pretrain import pretrain
from eo_ssl.train.checkpoint import load_state
from eo_ssl.train.step import backward_pass, seeded

FABRIC = Fabric(accelerator="cpu", devices=1)


@contextmanager
def room_for(model: nn.Module, samples: int, backward: bool = False) -> Iterator[list[int]]:
    """A computer whose memory ends at so many samples, at the end of the forward or of the backward pass."""
    failed: list[int] = []
    first = next(module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d))

    def burst(size: int) -> None:
        failed.append(size)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    def check(_module: nn.Module, _inputs: object, output: torch.Tensor | tuple) -> None:
        size = len(output[0] if isinstance(output, tuple) else output)
        if size > samples and not backward:
            burst(size)
        if size > samples and backward and output.requires_grad:
            output.register_hook(lambda gradient: burst(size))

    handle = (first if backward else model).register_forward_hook(check)
    try:
        yield failed
    finally:
        handle.remove()


def update(method: Method, samples: int, micro_batch: int = 0, backward: bool = False) -> tuple:
    """Loss and gradients of one update, the micro-batch it took, what was said, and the next random number."""
    method.model.zero_grad()
    said: list[str] = []
    with seeded(5), room_for(method.model, samples, backward):
        module = FABRIC.setup_module(method.model)
        views = views_of(method, 12)
        loss, micro = frugal_backward(FABRIC, module, method.loss, views, None, micro_batch, said.append)
        following = torch.rand(1)
    gradients = {k: p.grad.clone() for k, p in method.model.named_parameters() if p.grad is not None}
    return (float(loss), gradients), micro, said, following


@pytest.mark.parametrize("name", METHODS)
def test_the_gradient_is_that_of_the_whole_batch(name: str) -> None:
    method = built(METHODS[name])
    found, micro, said, _ = update(method, samples=4)
    assert micro == 3  # 12, 6, 3
    expected, whole, silent, _ = update(method, samples=99)
    assert whole == 0 and not silent
    assert_equal(found, expected)
    assert len(said) == 2 and "micro-batches of 6" in said[0] and "batch of 12" in said[1]


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_a_failed_try_leaves_no_trace(backward: bool) -> None:
    config = DualSimCLRConfig(backbone="resnet_nano", image_size=16, epochs=9)  # BatchNorm with statistics
    tried, direct = built(config), built(config)
    found, micro, _, following = update(tried, 3, backward=backward)
    assert micro == 3
    expected, _, _, wanted = update(direct, 99, micro_batch=3)
    assert found[0] == expected[0] and torch.equal(following, wanted)
    assert all(torch.equal(found[1][name], value) for name, value in expected[1].items())
    buffers = dict(direct.model.named_buffers())
    assert all(torch.equal(value, buffers[name]) for name, value in tried.model.named_buffers())


def test_two_samples_that_do_not_fit_are_an_error_with_a_way_out() -> None:
    with pytest.raises(ConfigError, match="image_size or backbone"):
        update(built(METHODS["swin-pair"]), samples=1)


def fill_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """From its sixth update on, training has memory for four pairs."""
    real, calls = epochs.frugal_backward, []

    def limited(fabric, model, *rest):
        calls.append(1)
        with room_for(model, 4 if len(calls) > 5 else 99):
            return real(fabric, model, *rest)

    monkeypatch.setattr(epochs, "frugal_backward", limited)


@pytest.mark.filterwarnings("ignore:epoch .*features collapse:RuntimeWarning", "ignore:.*micro-batches of 8")
def test_a_run_says_it_notes_it_and_keeps_the_smaller_size_when_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = preset("dual-simclr", "smoke", image_size=16, batch_size=16, epochs=3, precision="32")
    options = {"accelerator": "cpu", "progress": False}
    fill_up(monkeypatch)
    with pytest.warns(RuntimeWarning, match="micro-batches of 4; the batch of 16"):
        whole = pretrain(config, ToySource(), tmp_path / "whole", **options)
    assert read_meta(whole.folder)[0]["micro_batch"] == 4
    assert "micro_batch" in (whole.folder / "metrics.csv").read_text().splitlines()[0]
    monkeypatch.undo()
    fill_up(monkeypatch)
    with pytest.warns(RuntimeWarning, match="micro-batches of 4"):
        for _ in range(2):
            part = pretrain(config, ToySource(), tmp_path / "parts", max_minutes=0, **options)
    assert load_state(part.folder / "resume")[2]["micro_batch"] == 4
    monkeypatch.undo()  # there is room again, but the run goes on as it was
    part = pretrain(config, ToySource(), tmp_path / "parts", **options)
    first, second = (load_file(r.folder / "model.safetensors") for r in (whole, part))
    assert all(torch.equal(first[name], second[name]) for name in first)


FINETUNE = {"image_size": 16, "updates": 4, "evaluations": 2, "batch_size": 8, "precision": "32", "seed": 1}


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "late", "backbone": "swin_nano"},
        {"model": "late", "backbone": "swin_nano", "task": "multi"},
        {"model": "swin-unet", "backbone": "swin_nano", "task": "segment", "dice": 1.0},
    ],
    ids=["single", "multi", "segment with Dice"],
)
def test_fine_tuning_keeps_its_effective_batch(changes: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    from eo_ssl.train import finetune as finetune_fit

    config = FinetuneConfig(**FINETUNE | changes)
    plain = finetune(config, ToyLabels(), accelerator="cpu", test=False)
    real = finetune_fit.frugal_backward

    def limited(fabric, model, *rest):
        with room_for(model, 4):
            return real(fabric, model, *rest)

    monkeypatch.setattr(finetune_fit, "frugal_backward", limited)
    with pytest.warns(RuntimeWarning, match="micro-batches of 4; the batch of 8"):
        frugal = finetune(config, ToyLabels(), accelerator="cpu", test=False)
    assert "micro_batch" not in plain and frugal["micro_batch"] == 4
    assert frugal["val_score"] == pytest.approx(plain["val_score"], abs=0.02)
    assert frugal["history"][0][0] == plain["history"][0][0]


def test_a_trial_leaves_no_trace_and_its_result_is_the_largest_that_fits() -> None:
    config = DualSimCLRConfig(backbone="resnet_nano", image_size=16, epochs=9)
    method = built(config)
    views = views_of(method, 12)
    before = {name: value.clone() for name, value in method.model.state_dict().items()}
    state = torch.get_rng_state()
    with room_for(method.model, 5) as failed:
        found = agree(FABRIC, lambda n: rehearse(FABRIC, method.model, views, n), 0, 12)
    assert found == 3 and failed == [12, 6]
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in method.model.state_dict().items())
    assert all(p.grad is None for p in method.model.parameters())


def test_a_single_output_is_cut_like_a_pair() -> None:
    """Micro-batches of a classifier: the loss is a mean over *labelled* samples, however they are cut."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = model

        def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            return self.net(batch["x"])

    label = torch.tensor([0, 1, 255, 2, 255, 255])
    batch = {"x": torch.randn(6, 12), "label": label}

    def loss(logits: torch.Tensor, _: None) -> torch.Tensor:
        return nn.functional.cross_entropy(logits, label, ignore_index=255)

    module, found = FABRIC.setup_module(Whole()), []
    for micro in (0, 2, 4):
        model.zero_grad()
        backward_pass(FABRIC, module, loss, batch, None, micro)
        found.append(model[1].weight.grad.clone())
    torch.testing.assert_close(found[1], found[0])
    torch.testing.assert_close(found[2], found[0])
