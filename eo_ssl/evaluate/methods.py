"""The methods that are compared: name, label in tables, model, pretraining, and what is trained."""

from dataclasses import dataclass

from eo_ssl.errors import ConfigError, nearest


@dataclass(frozen=True)
class Method:
    """One row of the tables.

    `family` is "resnet", "deep", "swin" or "vgg" (the profile names the network), `pretraining` a method of
    `eo_ssl.train.config.METHODS` or "" from scratch; `members` are the methods an ensemble averages.
    """

    name: str
    label: str
    model: str
    family: str = "resnet"
    pretraining: str = ""
    mode: str = "finetune"
    members: tuple[str, ...] = ()


def _pair(name: str, label: str, model: str, family: str, pretraining: str) -> list[Method]:
    """The frozen and the fine-tuned version of a pretrained method."""
    return [
        Method(f"{name}-frozen", f"{label}, frozen", model, family, pretraining, "frozen"),
        Method(f"{name}-finetune", f"{label}, fine-tuned", model, family, pretraining),
    ]


_ALL = [
    Method("s1", "Only S1", "s1"),
    Method("s2", "Only S2", "s2"),
    Method("early", "Early fusion", "early"),
    Method("late", "Late fusion", "late"),
    *_pair("simclr", "SimCLR", "s2", "resnet", "simclr"),
    *_pair("simclr-rgb", "SimCLR (RGB)", "s2", "resnet", "simclr-rgb"),
    *_pair("dual", "Dual-SimCLR", "late", "resnet", "dual-simclr"),
    *_pair("mma", "MMA", "late", "vgg", "mma"),
    Method("swin-scratch", "Swin from scratch", "late", "swin"),
    *_pair("swin", "Swin pair", "late", "swin", "swin-pair"),
    # The network that Swin is compared with: the same crops, Dual-SimCLR, a ResNet of about the same cost.
    Method("resnet50-scratch", "ResNet-50 from scratch", "late", "deep"),
    *_pair("resnet50", "ResNet-50 pair", "late", "deep", "dual-simclr"),
    Method("unet", "UNet", "unet", "swin"),
    Method("swinunet-scratch", "SwinUNet from scratch", "swin-unet", "swin"),
    *_pair("swinunet", "SwinUNet", "swin-unet", "swin", "swin-pair"),
    Method("ensemble", "UNet + SwinUNet", "ensemble", "swin", members=("unet", "swinunet-finetune")),
]
METHODS: dict[str, Method] = {method.name: method for method in _ALL}


def get_method(name: str) -> Method:
    """The method called `name`; raises `ConfigError` with the nearest name.

    >>> get_method("dual-finetune").label
    'Dual-SimCLR, fine-tuned'
    """
    if name not in METHODS:
        raise ConfigError(f"no method called {name!r}{nearest(name, METHODS)}")
    return METHODS[name]
