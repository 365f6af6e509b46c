"""Dual-SimCLR on one page: two encoders, two heads, one loss, one loop.

The two are trained until the radar patch of a place finds its optical patch among all others of the
batch, and the reverse. Source: Scheibenreif et al. (2022), "Contrastive self-supervised data fusion for
satellite imagery". `eo_ssl.train` does the same, with resume, many GPUs and less memory.
"""

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm

from eo_ssl.data.dataset import Loader, PatchDataset
from eo_ssl.data.splits import evenly
from eo_ssl.evaluate.retrieval import embedding_metrics, retrieval_metrics
from eo_ssl.losses import nt_xent
from eo_ssl.models.encoders import make_encoder
from eo_ssl.models.heads import ProjectionHead


class DualSimCLR(nn.Module):
    """An encoder and a projection head for each sensor.

    The head reads the last map of its encoder, averaged to 2 × 2 places, so that it sees in which
    quarter of the patch a thing lies. It is dropped after training: the encoder remains, a function from
    an image to one vector. Shape: standardised s1 (N, 2, H, W), s2 (N, 13, H, W) → z1, z2 (N, width).
    """

    def __init__(self, backbone: str, image_size: int, width: int = 128) -> None:
        super().__init__()
        radar, optical = (make_encoder(backbone, bands, image_size) for bands in (2, 13))  # of timm
        self.encoder = nn.ModuleDict({"s1": radar, "s2": optical})
        self.head1 = ProjectionHead(4 * radar.channels[-1], width, width)  # Linear – ReLU – Linear
        self.head2 = ProjectionHead(4 * optical.channels[-1], width, width)

    def forward(self, s1: Tensor, s2: Tensor) -> tuple[Tensor, Tensor]:
        h1 = F.adaptive_avg_pool2d(self.encoder["s1"].maps(s1), 2)  # → (N, dim, 2, 2)
        h2 = F.adaptive_avg_pool2d(self.encoder["s2"].maps(s2), 2)
        return self.head1(h1.flatten(1)), self.head2(h2.flatten(1))  # (N, 4 · dim) → (N, width)


class SameGround:
    """Which patches of a batch show partly the same ground, and must not be pushed apart.

    Patches were cut with a stride of half a patch: two of one scene overlap when they are less than two
    steps apart in both directions. Shape: rows of the catalogue (N,) → (N, N) bool, the diagonal True.
    """

    def __init__(self, catalog: pd.DataFrame) -> None:
        scene, _ = pd.factorize(catalog["scene"].astype(str) + catalog["group"].astype(str))
        self.places = torch.tensor(np.stack([scene, catalog["row"], catalog["col"]]).astype(np.int64))

    def __call__(self, index: Tensor) -> Tensor:
        scene, row, col = self.places.to(index.device)[:, index]  # (N,) each
        near = ((row[:, None] - row).abs() < 2) & ((col[:, None] - col).abs() < 2)
        return near & (scene[:, None] == scene)


def learning_rate(update: int, updates: int, warmup: int, peak: float, floor: float = 1e-6) -> float:
    """Up in a straight line during the first `warmup` updates, then down along half a cosine."""
    if update < warmup:
        return peak * (update + 1) / warmup
    t = (update - warmup) / max(1, updates - warmup - 1)  # 0 … 1
    return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * t))


def train(
    model: DualSimCLR,
    source: Any,
    epochs: int = 26,
    batch_size: int = 128,
    lr: float = 2e-3,
    warmup_epochs: float = 2.0,
    weight_decay: float = 0.05,
    temperature: float = 0.1,
    seed: int = 0,
) -> pd.DataFrame:
    """Train on the pretraining scenes of a data source; a row per epoch says what held-out pairs say.

    The model ends with the weights of the epoch in which held-out partners found each other best.
    """
    size, statistics, split = model.encoder["s1"].image_size, source.stats("pretrain"), source.rows
    crops = PatchDataset(source, split("pretrain"), size, "random", seed=seed, statistics=statistics)
    others = PatchDataset(source, evenly(split("pretrain_val"), 1024), size, "centre", statistics=statistics)
    loader = Loader(crops, batch_size, shuffle=True, drop_last=True, seed=seed)
    held_out = Loader(others, 128, shuffle=False)
    same_ground, history, began = SameGround(source.catalog), [], time.perf_counter()
    kernels, rest = (  # biases and norms do not decay
        [p for p in model.parameters() if (p.ndim > 1) == decays] for decays in (True, False)
    )
    groups = [{"params": kernels, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1.0, fused=True)  # times what the schedule says
    updates, warmup = epochs * len(loader), round(warmup_epochs * len(loader))
    schedule = LambdaLR(optimizer, lambda update: learning_rate(update, updates, warmup, lr))
    for epoch in tqdm(range(epochs), "Dual-SimCLR", unit="epoch", disable=None):
        model.train()
        loader.set_epoch(epoch)  # another order, other windows of the patches
        losses = []
        for batch in loader:
            z1, z2, index = embed(model, batch)
            loss = nt_xent(z1, z2, temperature, same_ground(index))
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        row = {"epoch": epoch + 1, "train_loss": sum(losses) / len(losses)}
        row |= examine(model, held_out, same_ground, temperature)
        if row["val_mrr"] > max((earlier["val_mrr"] for earlier in history), default=-1.0):
            best = {name: value.clone() for name, value in model.state_dict().items()}
        history.append(row | {"seconds": time.perf_counter() - began})
    model.load_state_dict(best)
    return pd.DataFrame(history)


def embed(model: DualSimCLR, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings of both sensors, (N, width) each, and the rows of the patches, where the model is."""
    s1, s2, index = (batch[k].to(next(model.parameters()).device) for k in ("s1", "s2", "index"))
    return *model(s1, s2), index


@torch.no_grad()
def examine(model: DualSimCLR, held_out: Loader, same_ground: SameGround, tau: float) -> dict[str, float]:
    """Held-out pairs: their loss, how well partners find each other, how far patches lie apart."""
    model.eval()
    parts = [embed(model, batch) for batch in held_out]
    z1, z2, index = (torch.cat(part) for part in zip(*parts))
    shared = same_ground(index)
    cosine = F.normalize(z1, dim=1) @ F.normalize(z2, dim=1).T  # (N, N): radar by optical
    found = {"loss": float(nt_xent(z1, z2, tau, shared)), **embedding_metrics(z1, z2)}
    found |= retrieval_metrics(cosine, ignore=shared.fill_diagonal_(False))
    return {f"val_{name}": value for name, value in found.items()}


def save(model: DualSimCLR, folder: Path) -> None:
    """Write the weights without pickle: the encoders, and the heads, which only retrieval needs."""
    heads = {name: value for name, value in model.state_dict().items() if name.startswith("head")}
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in (("model", model.encoder.state_dict()), ("heads", heads)):
        save_file({k: v.cpu().contiguous() for k, v in part.items()}, folder / f"{name}.safetensors")
