"""The claims of the two papers, each as comparisons that a run can make."""

from collections.abc import Sequence
from dataclasses import dataclass

Entry = tuple[str, float]  # a method and its share of the labels
SUPERVISED = ("s1", "s2", "early", "late")
CURVE = (0.01, 0.1, 0.5, 1.0)


@dataclass(frozen=True)
class Claim:
    """A published sentence and the comparisons, first ahead of second, that it stands for; `note` says what differs.

    `published` is False for a question of ours that the paper raises and gives no number for.
    """

    text: str
    paper: str
    task: str
    parts: tuple[tuple[Entry, Entry], ...]
    metric: str = "aa"
    note: str = ""
    published: bool = True


def _against(first: Entry, methods: Sequence[str], fraction: float = 1.0) -> tuple[tuple[Entry, Entry], ...]:
    return tuple((first, (method, fraction)) for method in methods)


def _at(first: str, second: str, fractions: Sequence[float] = CURVE) -> tuple[tuple[Entry, Entry], ...]:
    return tuple(((first, f), (second, f)) for f in fractions)


_OTHERS = (*SUPERVISED, "simclr-rgb-finetune", "mma-finetune")
_ENSEMBLE = tuple((("ensemble", 1.0), (m, 1.0)) for m in ("unet", "swinunet-finetune"))
CLAIMS = (
    Claim("With 10% of the labels, Dual-SimCLR is ahead of every supervised model with all of them",
          "fusion", "single", _against(("dual-finetune", 0.1), SUPERVISED)),
    Claim("With all labels, Dual-SimCLR is ahead of every other method",
          "fusion", "single", _against(("dual-finetune", 1.0), _OTHERS)),
    Claim("With several labels per patch, too",
          "fusion", "multi", _against(("dual-finetune", 1.0), _OTHERS), "f1_macro"),
    Claim("With 1% of the labels, MMA is ahead of Dual-SimCLR and of both fusions",
          "fusion", "single", _against(("mma-finetune", 0.01), ("dual-finetune", "early", "late"), 0.01)),
    Claim("With 1% of the labels, late fusion is ahead of Dual-SimCLR", "fusion", "single",
          _at("late", "dual-finetune", (0.01,))),
    Claim("With 10% of the labels, MMA does not reach the fusions with all of them", "fusion", "single",
          tuple(((m, 1.0), ("mma-finetune", 0.1)) for m in ("early", "late"))),
    Claim("SimCLR alone stays below every supervised model", "fusion", "single",
          tuple(((m, 1.0), ("simclr-rgb-finetune", 1.0)) for m in SUPERVISED),
          note="published with three bands of Sentinel-2; here with all 13 where RGB was not run"),
    Claim("Both fusions are ahead of both single sensors", "fusion", "single",
          tuple(((f, 1.0), (s, 1.0)) for f in ("early", "late") for s in ("s1", "s2"))),
    Claim("A linear layer on frozen features: Dual-SimCLR is ahead of MMA", "fusion", "single",
          _at("dual-frozen", "mma-frozen", (1.0,))),
    Claim("Swin, pretrained and fine-tuned, is ahead of Swin from scratch", "transformers", "single",
          _at("swin-finetune", "swin-scratch")),
    Claim("The ResNet pair, pretrained and fine-tuned, is ahead of the one from scratch", "transformers", "single",
          _at("dual-finetune", "late")),
    Claim("From 10% of the labels on, frozen Swin is ahead of fine-tuned", "transformers", "single",
          _at("swin-frozen", "swin-finetune", (0.1, 0.5, 1.0))),
    Claim("With 1% of the labels, fine-tuned Swin is ahead of frozen", "transformers", "single",
          _at("swin-finetune", "swin-frozen", (0.01,))),
    Claim("Frozen Swin is ahead of the frozen ResNet pair", "transformers", "single", _at("swin-frozen", "dual-frozen")),
    Claim("SwinUNet, pretrained and fine-tuned, is ahead of SwinUNet from scratch", "transformers", "segment",
          _at("swinunet-finetune", "swinunet-scratch")),
    Claim("With all labels, fine-tuned SwinUNet is ahead of frozen", "transformers", "segment",
          _at("swinunet-finetune", "swinunet-frozen", (1.0,)),
          note="the published frozen encoders were not frozen"),
    Claim("With 1% and 10% of the labels, it is the other way round", "transformers", "segment",
          _at("swinunet-frozen", "swinunet-finetune", (0.01, 0.1)), note="the published frozen encoders were not frozen"),
    Claim("Not a published claim, but a question that its figure of maps raises: is the ensemble ahead of both members?",
          "transformers", "segment", _ENSEMBLE, "miou", published=False),
)  # fmt: skip
