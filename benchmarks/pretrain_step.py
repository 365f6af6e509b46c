"""One pretraining step against its peer: an fp32, channels-first, eager loop over the published architectures.

    python benchmarks/pretrain_step.py                       # this machine: a GPU if there is one, else the CPU
    python benchmarks/pretrain_step.py --cases resnet50 --pairs 16 --turns 5 --json step.json

Cases: a ResNet-50 pair at 128 px and a Swin-T pair at 224 px (2 and 13 bands), Dual-SimCLR. A step is forward,
loss, backward and update on batches that are already in memory. The peer does it in the published form: float32,
channels first, timm's network as it is, NT-Xent by gathering positives and negatives with boolean masks.
Ours is the step of `eo_ssl.train`: bf16 where the device computes in it, channels last for convolutions, chunked
loss, fused update, on a GPU compiled as well.

The two take turns in one process, so that a busy machine slows both; the ratio is that of the best turns. With
one thread (OMP_NUM_THREADS=1) the clock is CPU time, which other programs disturb least. Achieved FLOP/s count the
multiplications and additions of forward and backward (3 × forward); their ceiling is the best matrix product
and, for ResNets, the best 3×3 convolution measured here in the same precision, whichever is higher.
Targets: ≥ 2.5 × on a CPU with bf16, ≥ 4 × on an H100.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from eo_ssl.data.transforms import Statistics
from eo_ssl.train.config import DualSimCLRConfig, PretrainConfig, SwinPairConfig
from eo_ssl.train.devices import has_bf16, make_fabric, prepare
from eo_ssl.train.loop import make_optimizer
from eo_ssl.train.methods import make_method
from eo_ssl.train.step import backward_pass

CASES: dict[str, PretrainConfig] = {
    "resnet50": DualSimCLRConfig(backbone="resnet50", image_size=128),
    "swin-t": SwinPairConfig(backbone="swin_tiny_patch4_window7_224", image_size=224),
}
Step = Callable[[], None]


class PublishedPair(nn.Module):
    """Two networks of timm and two projections, nothing else."""

    def __init__(self, config: PretrainConfig) -> None:
        super().__init__()
        self.s1 = timm.create_model(config.backbone, in_chans=2, num_classes=0)
        self.s2 = timm.create_model(config.backbone, in_chans=13, num_classes=0)
        self.head1, self.head2 = (
            nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Linear(d, 128)) for d in [self.s1.num_features] * 2
        )

    def forward(self, views: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        return self.head1(self.s1(views["s1"])), self.head2(self.s2(views["s2"]))


def published_loss(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """NT-Xent with positives and negatives gathered by boolean masks, as published."""
    n = len(z1)
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    labels = torch.arange(n, device=z.device).repeat(2)
    same = labels[:, None] == labels[None, :]
    diagonal = torch.eye(2 * n, dtype=torch.bool, device=z.device)
    similarity, same = (z @ z.T)[~diagonal].view(2 * n, -1), same[~diagonal].view(2 * n, -1)
    logits = torch.cat([similarity[same].view(2 * n, -1), similarity[~same].view(2 * n, -1)], 1)
    return F.cross_entropy(logits / temperature, torch.zeros(2 * n, dtype=torch.long, device=z.device))


def peer_step(config: PretrainConfig, views: dict[str, Tensor], device: str) -> tuple[Step, nn.Module]:
    model = PublishedPair(config).to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5)

    def step() -> None:
        loss = published_loss(*model(views), config.temperature)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step, model


def our_step(config: PretrainConfig, views: dict[str, Tensor], device: str) -> Step:
    fabric = make_fabric(config.precision, accelerator=device)
    zeros, ones = (0.0,), (1.0,)
    method = make_method(config, Statistics(zeros * 2, ones * 2, zeros * 13, ones * 13))
    optimizer = make_optimizer(config, method.model)
    model, optimizer = fabric.setup(prepare(config, method.model, fabric, device == "cuda"), optimizer)
    model.train()
    never = torch.zeros(len(views["s1"]), len(views["s1"]), dtype=torch.bool, device=device)

    def step() -> None:
        backward_pass(fabric, model, method.loss, views, never if config.mask_overlaps else None)
        fabric.clip_gradients(model, optimizer, max_norm=config.clip_norm, error_if_nonfinite=False)
        optimizer.step()
        optimizer.zero_grad()

    return step


def seconds(step: Step, repeats: int) -> float:
    alone = torch.get_num_threads() == 1 and not torch.cuda.is_available()
    clock = time.process_time if alone else time.perf_counter
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    begin = clock()
    for _ in range(repeats):
        step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (clock() - begin) / repeats


def ceiling(device: str, dtype: torch.dtype, turns: int) -> float:
    """Best FLOP/s of a large matrix product or convolution."""
    n, c, side = (8192, 512, 64) if device == "cuda" else (1536, 128, 16)
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    image, weight = (
        torch.randn(*shape, device=device, dtype=dtype) for shape in ((64, c, side, side), (c, c, 3, 3))
    )
    works = {
        2 * n**3: lambda: a @ b,
        2 * 64 * 9 * (c * side) ** 2: lambda: F.conv2d(image, weight, padding=1),
    }
    best, repeats = 0.0, 20 if device == "cuda" else 2
    for flops, work in works.items():
        seconds(work, 2)
        best = max(best, flops / min(seconds(work, repeats) for _ in range(turns)))
    return best


def step_flops(model: nn.Module, views: dict[str, Tensor]) -> float:
    """Multiplications and additions of forward and backward: 3 × those of the forward pass."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(views)
    return 3.0 * counter.get_total_flops()


def measure(name: str, pairs: int, turns: int, device: str) -> dict[str, Any]:
    config = CASES[name].with_(batch_size=pairs, precision="auto")
    size = config.image_size
    views = {k: torch.randn(pairs, c, size, size, device=device) for k, c in (("s1", 2), ("s2", 13))}
    peer, model = peer_step(config, views, device)
    flops, ours = step_flops(model, views), our_step(config, views, device)
    repeats = 10 if device == "cuda" else 1
    for step in (peer, ours):
        seconds(step, 3 if device == "cuda" else 1)
    times = [(seconds(peer, repeats), seconds(ours, repeats)) for _ in range(turns)]
    best_peer, best_ours = (min(column) for column in zip(*times))
    half = has_bf16(device)
    top32, top16 = (
        ceiling(device, torch.float32, turns),
        ceiling(device, torch.bfloat16, turns) if half else 0.0,
    )
    return {
        "case": name, "pairs": pairs, "peer_s": best_peer, "ours_s": best_ours, "ratio": best_peer / best_ours,
        "median_ratio": sorted(a / b for a, b in times)[turns // 2], "ours_pairs_per_s": pairs / best_ours,
        "peer_tflops": flops / best_peer / 1e12, "ours_tflops": flops / best_ours / 1e12,
        "peer_share_of_fp32_ceiling": flops / best_peer / top32,
        "ours_share_of_ceiling": flops / best_ours / (top16 or top32),
        "fp32_ceiling_tflops": top32 / 1e12, "bf16_ceiling_tflops": top16 / 1e12,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--pairs", type=int, help="default: 64 (Swin-T 16) on a CPU, 128 on a GPU")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", help="write the figures here, too")
    options = parser.parse_args()
    few = {"resnet50": 64, "swin-t": 16}
    where = torch.cuda.get_device_name() if options.device == "cuda" else platform.processor() or "CPU"
    print(
        f"torch {torch.__version__}, {where}, {torch.get_num_threads()} threads, bf16 {has_bf16(options.device)}"
    )
    results = [
        measure(
            name,
            options.pairs or (128 if options.device == "cuda" else few[name]),
            options.turns,
            options.device,
        )
        for name in options.cases
    ]
    for result in results:
        print("  ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in result.items()))
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=2)


if __name__ == "__main__":
    main()
