"""What a pretrained checkpoint knows before any fine-tuning: linear probe, neighbours, and how alike its branches are."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from eo_ssl.evaluate.cka import linear_cka
from eo_ssl.evaluate.predict import tiles
from eo_ssl.evaluate.probe import average_accuracy, knn, linear_probe

if TYPE_CHECKING:
    from eo_ssl.train.labelled import LabelledData

Embedded = dict[str, Tensor]


@torch.no_grad()
def embed_tiles(
    dual: Any, prepare: Any, patches: Any, side: int, limit: int = 1, batch_size: int = 128
) -> Embedded:
    """Pooled features per sensor that the checkpoint has, with labels.

    Shape: {"s1": (T, d1), "s2": (T, d2), "label": (T,), "patch": (T,)} for `limit` tiles a patch (0: all).
    """
    parts: dict[str, list[Tensor]] = {}
    dual.eval()
    for where in tiles(len(patches), patches.size, side, limit).split(batch_size):
        batch = patches.cut(where[:, 0], where[:, 1], where[:, 2], side)
        inputs = prepare(batch)
        found = {name: e(inputs[name]).float() for name, e in dual.encoders().items() if e is not None}
        for name, value in {**found, "label": batch["label"], "patch": where[:, 0]}.items():
            parts.setdefault(name, []).append(value.cpu())
    return {name: torch.cat(values) for name, values in parts.items()}


def probe_checkpoint(
    folder: str | Path, data: "LabelledData", device: str = "cpu", limit: int = 1
) -> dict[str, float]:
    """AA on the test set of a linear probe and of kNN, their settings chosen on validation; CKA of the branches.

    CKA (debiased) needs both sensors and no labels; it is taken on the validation patches.
    """
    from eo_ssl.data.transforms import Statistics
    from eo_ssl.train.checkpoint import load_dual
    from eo_ssl.train.downstream import Prepare

    dual, meta = load_dual(folder)
    rgb = meta.get("config", {}).get("bands") == "rgb"
    prepare = Prepare(Statistics.from_dict(meta["statistics"]), torch.device(device), rgb)
    dual.to(device)
    side = int(meta["image_size"])
    train, val = (embed_tiles(dual, prepare, part, side, limit) for part in (data.train, data.val))
    probes = [fitted(_xy(train), _xy(val)) for fitted in (linear_probe, knn)]
    x, y = _xy(embed_tiles(dual, prepare, data.test, side, limit))
    line: dict[str, float] = {}
    for probe in probes:
        line[f"{probe.name}_aa"] = average_accuracy(y, probe.predict(x))
        line[f"{probe.name}_val_aa"], line[f"{probe.name}_chosen"] = probe.val_aa, probe.chosen
    if {"s1", "s2"} <= set(val):
        line["cka"] = linear_cka(val["s1"], val["s2"], debiased=True)
    return line


def _xy(found: Embedded) -> tuple[Any, Any]:
    features = torch.cat([found[name] for name in ("s1", "s2") if name in found], 1)
    return features.numpy(), found["label"].numpy()
